//! The recipe of docs/keys.md that leads back from managed keys to `APP_KEY`, followed to the letter.

use std::fs;

use sealed_session::keys::{KeyFile, KeyState};
use sealed_session::{AppKey, CookieStore, KeyRing, ManagedKeys, Origin};

use crate::shelf::{Clock, DAY, HOUR};

fn store(keys: impl Into<sealed_session::Keys>, clock: &Clock) -> CookieStore {
    let clock = clock.clone();
    let builder = CookieStore::builder(keys).clock(move || clock.now());
    builder.build().unwrap()
}

fn log_in(store: &CookieStore) -> String {
    let session = store.load_from::<str>([]);
    session.insert("user", 42).unwrap();
    let outgoing = store.respond(&session).unwrap();
    let cookie = outgoing.set_cookies().next().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn opens(store: &CookieStore, cookies: &[String]) {
    for cookie in cookies {
        assert_eq!(store.load_from([cookie]).origin(), Origin::Opened);
    }
}

/// The key of a line of the file.
fn material(text: &str, id: &str) -> AppKey {
    let begins = format!("key {id} ");
    let line = text.lines().find(|line| line.starts_with(&begins));
    let (_, material) = line.unwrap().split_once(" material ").unwrap();
    material.parse().unwrap()
}

#[test]
fn from_managed_keys_back_to_app_keys_and_nobody_is_logged_out() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::new());
    let path = folder.path().join("session.keys");
    let keys = || {
        let clock = clock.clone();
        let builder = ManagedKeys::builder(KeyFile::owned(&path)).without_thread();
        builder.clock(move || clock.now()).build().unwrap()
    };
    let managed = keys();
    let before = store(&managed, &clock);
    // To the day after the first rotation, with one more key that is about to seal.
    let mut cookies = Vec::new();
    for _ in 0..(90 * 24 + 6) {
        clock.forward(HOUR);
        managed.refresh().unwrap();
        cookies.push(log_in(&before));
        let expired = cookies.len().saturating_sub(23);
        cookies.drain(..expired);
    }
    managed.add().unwrap().unwrap();

    let text = fs::read_to_string(&path).unwrap();
    let list = managed.list().unwrap();
    let mut ring = None;
    let mut others = Vec::new();
    for key in list.iter().filter(|key| key.has_material) {
        let found = material(&text, &key.id.to_string());
        match key.state {
            KeyState::Sealing => ring = Some(KeyRing::new(found)),
            _ => others.push(found),
        }
    }
    assert_eq!(others.len(), 2, "one still opens, and one is about to seal");
    let accept = |ring: KeyRing, key| ring.accept(key).unwrap();
    let ring = others.into_iter().fold(ring.unwrap(), accept);

    let after = store(ring, &clock);
    opens(&after, &cookies);
    // While the deploy goes on, both kinds of processes serve the same visitors.
    opens(&before, &[log_in(&after)]);
    opens(&after, &[log_in(&before)]);
    // Even if it takes until the next key seals.
    clock.forward(DAY + HOUR);
    managed.refresh().unwrap();
    assert_eq!(managed.seals(), Some(list.last().unwrap().id));
    opens(&after, &[log_in(&before)]);
    opens(&before, &[log_in(&after)]);
}
