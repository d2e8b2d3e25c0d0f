//! A ring that is sealed under a root key.

use sealed_session::keys::KeyStoreErrorKind;
use sealed_session::{AppKey, KeyRing};

use crate::shelf::{Clock, DAY, Process, Shelf, builder};

fn key() -> AppKey {
    AppKey::generate().unwrap()
}

fn process(shelf: &Shelf, clock: &Clock, root: impl Into<KeyRing>) -> Process {
    Process::start_with(clock, builder(shelf, clock).root(root))
}

#[test]
fn the_store_holds_one_token_and_no_date_and_no_key_id() {
    let (shelf, clock, root) = (Shelf::default(), Clock::new(), key());
    let process = process(&shelf, &clock, root.clone());
    let token = sealed_session::Token::parse(shelf.text().trim_end()).unwrap();
    assert_eq!(token.key_id(), root.id());
    assert_ne!(process.keys.seals(), Some(root.id()));
}

#[test]
fn nothing_but_the_same_root_name_and_context_opens_it() {
    let (shelf, clock, root) = (Shelf::default(), Clock::new(), key());
    process(&shelf, &clock, root.clone());
    let with = |root: &AppKey| builder(&shelf, &clock).root(root.clone());
    assert!(with(&root).build().is_ok());
    for other in [
        with(&key()),
        with(&root).name("other"),
        with(&root).context("stage"),
        builder(&shelf, &clock),
    ] {
        let error = other.build().unwrap_err().to_string();
        assert!(error.starts_with("shelf: it "), "{error}");
        assert!(error.contains("root key"), "{error}");
    }
}

#[test]
fn what_is_altered_stripped_or_unsealed_is_refused_and_the_last_good_ring_stays() {
    let (shelf, clock, root) = (Shelf::default(), Clock::new(), key());
    let process = process(&shelf, &clock, root);
    let (good, opens) = (shelf.text(), process.keys.opens());
    let plain = Shelf::default();
    Process::start(&plain, &clock);
    let mut bad = vec![plain.text(), String::new(), "\n".to_owned(), good.repeat(2)];
    bad.push(good[..good.len() - 2].to_owned());
    for at in (0..good.len() - 1).step_by(7) {
        let mut altered = good.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        bad.push(String::from_utf8(altered).unwrap());
    }
    for bad in bad {
        shelf.put(Some(bad.clone().into_bytes()));
        let error = process.keys.refresh().unwrap_err();
        assert_eq!(error.kind(), KeyStoreErrorKind::NotOpened, "{bad:.40}");
        assert_eq!(process.keys.opens(), opens);
        assert_eq!(shelf.text(), bad);
    }
}

#[test]
fn writers_keep_the_root_key_that_is_there_until_it_is_rewrapped() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let (old, new) = (key(), key());
    let under = || {
        sealed_session::Token::parse(shelf.text().trim_end())
            .unwrap()
            .key_id()
    };
    let first = process(&shelf, &clock, old.clone());
    // All processes accept the new one; whichever seals first there, the old one stays.
    let both = KeyRing::new(new.clone()).accept(old.clone()).unwrap();
    let second = process(&shelf, &clock, both);
    second.live(95 * DAY);
    assert_eq!(under(), old.id());
    first.poll();
    assert_eq!(first.keys.seals(), second.keys.seals());
    assert!(second.keys.rewrap().unwrap());
    assert!(!second.keys.rewrap().unwrap());
    assert_eq!(under(), new.id());
    let error = first.keys.refresh().unwrap_err();
    assert_eq!(error.kind(), KeyStoreErrorKind::NotOpened);
    let third = process(&shelf, &clock, new);
    assert_eq!(third.keys.seals(), second.keys.seals());
    let plain = Process::start(&Shelf::default(), &clock);
    assert_eq!(
        plain.keys.rewrap().unwrap_err().kind(),
        KeyStoreErrorKind::Refused
    );
}

#[test]
fn an_old_backup_brings_no_revoked_key_back() {
    let (shelf, clock, root) = (Shelf::default(), Clock::new(), key());
    let process = process(&shelf, &clock, root);
    let backup = shelf.bytes();
    let leaked = process.keys.seals().unwrap();
    process.keys.revoke(leaked).unwrap();
    shelf.put(backup);
    process.poll();
    assert!(!process.keys.opens().contains(&leaked));
}
