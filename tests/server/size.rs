//! How large a session may be in a backend: checked where it grows.

use sealed_session::ErrorKind;

use crate::shelf::Shelf;
use crate::site::Site;
use crate::support::*;

const ENTRIES: usize = 1024;

#[test]
fn a_session_larger_than_max_size_is_an_error_at_the_call_to_the_byte() {
    let mut site = Site::with(|builder| builder.max_size(10_000));
    site.visit(|session| {
        let error = session.insert("a", "x".repeat(10_000)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let (size, limit) = error.sizes().unwrap();
        assert_eq!(limit, 10_000);
        let fits = 10_000 - (size - limit);
        session.insert("a", "x".repeat(fits)).unwrap();
        let error = session.insert("a", "x".repeat(fits + 1)).unwrap_err();
        assert_eq!(error.sizes(), Some((limit + 1, limit)));
        assert!(session.flash("f", 1).is_err());
        assert!(session.set_subject("ada").is_err());
    });
    let response = site.visit(|session| {
        let text: String = session.get("a").unwrap().unwrap();
        session.insert("a", &text[1..]).unwrap();
    });
    assert!(sets_no_cookie(&response));
}

#[test]
fn a_megabyte_is_the_limit_by_default_and_less_than_a_cookie_cannot_be_set() {
    let mut site = Site::new();
    site.visit(|session| {
        let error = session.insert("a", "x".repeat(1 << 20)).unwrap_err();
        assert_eq!(error.sizes().unwrap().1, 1 << 20);
        session.insert("a", "x".repeat((1 << 20) - 100)).unwrap();
    });
    let read: Option<String> = site.load().get("a").unwrap();
    assert_eq!(read.unwrap().len(), (1 << 20) - 100);
    for (bytes, is_possible) in [(0, false), (4095, false), (4096, true)] {
        let clock = Clock::at(std::time::SystemTime::now());
        let builder = crate::site::Store::builder(
            key(),
            sealed_session::server::conformance::Spy::new(Shelf::new(&clock)),
        );
        let built = builder.max_size(bytes).build();
        assert_eq!(built.is_ok(), is_possible, "{bytes}");
        assert!(is_possible || built.unwrap_err().setting() == "max_size");
    }
}

#[test]
fn a_session_of_more_entries_than_can_be_read_is_an_error_at_the_call() {
    let mut site = Site::new();
    let session = site.load();
    for n in 0..ENTRIES {
        session.insert(&n.to_string(), n).unwrap();
    }
    let error = session.insert("one more", 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.sizes(), Some((ENTRIES + 1, ENTRIES)));
    assert!(error.to_string().contains("1025 entries"), "{error}");
    assert!(!session.contains("one more"));
    session
        .insert("0", "what is there already may change")
        .unwrap();
    session.remove("1");
    session.insert("another", 1).unwrap();
    for n in 0..ENTRIES {
        session.flash(&n.to_string(), n).unwrap();
    }
    let error = session.flash("one more", 1).unwrap_err();
    assert_eq!(error.sizes(), Some((ENTRIES + 1, ENTRIES)));
    let other = site.load();
    other.insert("one more", 1).unwrap();
    assert!(session.merge(&other).is_err());
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().len(), ENTRIES);
}

#[test]
fn two_requests_that_fill_a_session_together_are_an_error_of_the_later_one() {
    let mut site = Site::visited(|builder| builder);
    site.overtaken("put", |session| {
        for n in 0..600 {
            session.insert(&format!("theirs {n}"), n).unwrap();
        }
    });
    let session = site.load();
    for n in 0..600 {
        session.insert(&format!("ours {n}"), n).unwrap();
    }
    let error = site.try_save(&session).unwrap_err();
    assert!(error.to_string().contains("1202 entries"), "{error}");
    assert_eq!(site.load().len(), 602, "what was acknowledged is there");
    for n in 0..178 {
        session.remove(&format!("ours {n}"));
    }
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().len(), 1024);
}

#[test]
fn two_requests_that_are_too_large_together_are_an_error_of_the_later_one() {
    let site = Site::visited(|builder| builder.max_size(10_000));
    site.overtaken("put", |session| {
        session.insert("theirs", "x".repeat(6000)).unwrap();
    });
    let session = site.load();
    session.insert("ours", "x".repeat(6000)).unwrap();
    let error = site.try_save(&session).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
    assert_eq!(site.load().keys(), ["count", "name", "theirs"]);
    session.remove("theirs");
    site.save(&session);
    assert_eq!(site.load().keys(), ["count", "name", "ours"]);
}
