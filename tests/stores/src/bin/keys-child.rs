//! A process that serves sessions under managed keys: from a file, or from Redis.
//!
//! It reads `new`, `load COOKIE`, `seals` or `revoke` on each line of its input, and answers on one
//! line each: `revoke` with the key that it has revoked. The keys rotate every few seconds.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use sealed_session::keys::{KeyFile, KeyRedis, ManagedKeysBuilder};
use sealed_session::{AppKey, CookieStore, ManagedKeys, Origin, Session};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A disk that others keep busy takes longer to write than Redis does, and the schedule allows for
/// no more than the timeout.
fn builder(place: &str, root: Option<&str>) -> Result<ManagedKeysBuilder, Box<dyn Error>> {
    Ok(match root {
        None => {
            let file = KeyFile::owned(place).timeout(1000 * MILLISECOND);
            ManagedKeys::builder(file).rotate_every(4300 * MILLISECOND)
        }
        Some(root) => {
            let redis = KeyRedis::open(place)?.timeout(300 * MILLISECOND);
            let keys = ManagedKeys::builder(redis).rotate_every(1600 * MILLISECOND);
            keys.root(root.parse::<AppKey>()?)
        }
    })
}

/// Tries again, as an operator does who meets a store on a busy machine.
fn patiently<T, E>(act: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let mut outcome = act();
    for _ in 0..100 {
        if outcome.is_ok() {
            break;
        }
        outcome = act();
    }
    outcome
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (place, root) = (arguments.next().unwrap_or_default(), arguments.next());
    let keys = patiently(|| {
        builder(&place, root.as_deref())?
            .poll(20 * MILLISECOND)
            .clock_tolerance(10 * MILLISECOND)
            .longest_lifetime(Duration::from_secs(2))
            .make_ahead(MILLISECOND)
            .remove_after(MILLISECOND)
            .build()
            .map_err(Box::<dyn Error>::from)
    })?;
    let store = CookieStore::builder(&keys)
        .lifetime(Duration::from_secs(2))
        .build()?;
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (command, cookie) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match command {
            "new" => {
                let session = Session::new();
                session.insert("user_id", 42)?;
                match store.respond(&session) {
                    Ok(outgoing) => {
                        let header = outgoing.set_cookies().next().unwrap_or_default();
                        header.split(';').next().unwrap_or_default().to_owned()
                    }
                    // The disk has kept the keys from following for longer than they may.
                    Err(_) => "none".to_owned(),
                }
            }
            "load" => match store.load_from([cookie]).origin() {
                Origin::Opened => "opened".to_owned(),
                origin => format!("{origin:?}"),
            },
            "seals" => keys.seals().map_or("none".to_owned(), |id| id.to_string()),
            "revoke" => {
                let leaked = keys.seals().ok_or("no key seals")?;
                patiently(|| keys.revoke(leaked))?;
                leaked.to_string()
            }
            _ => return Err("an unknown command".into()),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
