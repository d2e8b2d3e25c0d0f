//! Ending many sessions: one subject's, those that match, those before a moment.

use std::time::Duration;

use sealed_session::server::{
    Backend, BackendError, BackendErrorKind, Entry, Outcome, Promise, ServerStore, StoreKey,
    Stored, Value,
};
use sealed_session::{Event, Origin, Refusal};

use crate::now::now;
use crate::shelf::{Incident, away};
use crate::site::Site;
use crate::support::*;

/// The browsers of visitors of whom each has logged in.
fn log_in(site: &mut Site, subjects: &[&str]) -> Vec<Browser> {
    let mut browsers = Vec::new();
    for subject in subjects {
        site.browser = Browser::default();
        site.visit(|session| {
            session.set_subject(*subject).unwrap();
            session.insert("who", subject).unwrap();
        });
        browsers.push(site.browser.clone());
    }
    browsers
}

fn are_in(site: &Site, browsers: &[Browser]) -> Vec<bool> {
    let now_is = site.clock.now();
    let is_in = |browser: &Browser| {
        let session = now(site.store.load(&browser.send(now_is))).unwrap();
        session.origin() == Origin::Opened
    };
    browsers.iter().map(is_in).collect()
}

#[test]
fn all_sessions_of_one_subject_end_and_no_others() {
    let mut site = Site::new();
    let browsers = log_in(&mut site, &["ada", "eve", "ada", "", "ada"]);
    site.calls();
    assert_eq!(now(site.store.end_all_of("ada")), Ok(3));
    assert_eq!(are_in(&site, &browsers), [false, true, false, true, false]);
    assert_eq!(now(site.store.end_all_of("ada")), Ok(0));
    assert_eq!(
        now(site.store.end_all_of("")),
        Ok(0),
        "nobody's are not anybody's"
    );
    assert_eq!(are_in(&site, &browsers), [false, true, false, true, false]);
}

#[test]
fn sessions_that_were_put_under_an_old_key_end_too() {
    let (old, new) = (key(), key());
    let mut site = Site::new().rebuilt(old.clone(), |builder| builder);
    let browsers = log_in(&mut site, &["ada"]);
    site.store.replace_keys(ring(&[&new, &old]));
    let more = log_in(&mut site, &["ada"]);
    assert_eq!(now(site.store.end_all_of("ada")), Ok(2));
    assert_eq!(are_in(&site, &browsers), [false]);
    assert_eq!(are_in(&site, &more), [false]);
}

#[test]
fn a_session_that_renews_or_is_saved_while_all_end_does_not_escape() {
    for call in ["tagged", "load", "remove"] {
        for renews in [true, false] {
            let mut site = Site::new();
            log_in(&mut site, &["ada"]);
            // The other request holds the session already.
            let session = site.load();
            let store = site.store.clone();
            let held = session.clone();
            site.shelf.plan(
                call,
                Incident::Before(Box::new(move || {
                    if renews {
                        held.renew();
                    }
                    held.insert("a", 1).unwrap();
                    now(store.save(&held, &mut http::HeaderMap::new())).unwrap();
                })),
            );
            now(site.store.end_all_of("ada")).unwrap();
            assert!(site.shelf.is_as_planned());
            let response = site.save(&session);
            site.receive(&response);
            session.insert("b", 1).unwrap();
            let saved = site.try_save(&session);
            assert!(saved.is_ok_and(|response| sets_no_cookie(&response)));
            assert_ne!(site.load().origin(), Origin::Opened, "{call} {renews}");
        }
    }
}

#[test]
fn who_is_no_longer_meant_is_spared() {
    let mut site = Site::new();
    let browsers = log_in(&mut site, &["ada"]);
    site.overtaken("load", |session| session.set_subject("eve").unwrap());
    assert_eq!(now(site.store.end_all_of("ada")), Ok(0));
    assert_eq!(are_in(&site, &browsers), [true]);
}

#[test]
fn sessions_that_do_not_match_end() {
    let mut site = Site::new();
    let browsers = log_in(&mut site, &["ada", "eve", "bob", "eve", "kim"]);
    site.browser = browsers[0].clone();
    site.visit(sealed_session::Session::renew);
    site.shelf
        .force(StoreKey::from_bytes([7; 32]), "junk", HOUR);
    let mut seen = Vec::new();
    let ended = now(site.store.retain(|session| {
        seen.push(session.get::<String>("who").unwrap().unwrap());
        session.insert("who", "nobody").unwrap();
        session.subject().as_deref() != Some("eve")
    }));
    assert_eq!(ended, Ok(2));
    seen.sort();
    assert_eq!(seen, ["ada", "bob", "eve", "eve", "kim"]);
    assert_eq!(are_in(&site, &browsers[1..]), [false, true, false, true]);
    assert_eq!(site.load().get("who"), Ok(Some("ada".to_owned())));
}

#[test]
fn a_cutoff_ends_all_that_were_issued_before() {
    let mut site = Site::new();
    let browsers = log_in(&mut site, &["ada", "eve"]);
    site.clock.forward(SECOND);
    site.store.set_not_before(site.clock.now());
    let later = log_in(&mut site, &["ada"]);
    site.events();
    assert_eq!(are_in(&site, &browsers), [false, false]);
    assert_eq!(are_in(&site, &later), [true]);
    assert_eq!(site.events(), [Event::Expired(Refusal::Cutoff); 2]);
    assert_eq!(now(site.store.retain(|_| true)), Ok(0));
}

#[test]
fn errors_of_the_backend_are_told() {
    let mut site = Site::new();
    log_in(&mut site, &["ada"]);
    for call in ["tagged", "load", "remove"] {
        site.shelf.plan(call, Incident::Fails);
        assert_eq!(now(site.store.end_all_of("ada")), Err(away()), "{call}");
    }
    for call in ["scan", "load", "remove"] {
        site.shelf.plan(call, Incident::Fails);
        assert_eq!(now(site.store.retain(|_| false)), Err(away()), "{call}");
    }
    assert_eq!(now(site.store.retain(|_| false)), Ok(1));
}

/// A backend that has neither tags nor a way to list its keys.
struct Plain;

impl Backend for Plain {
    const PROMISE: Promise = Promise::Upsert;

    async fn load(&self, _: &StoreKey) -> Result<Option<Stored>, BackendError> {
        Ok(None)
    }

    async fn put(&self, _: &StoreKey, _: &Entry) -> Result<Outcome, BackendError> {
        Ok(Outcome::Stored)
    }

    async fn touch(&self, _: &StoreKey, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    async fn remove(&self, _: &StoreKey) -> Result<Option<Value>, BackendError> {
        Ok(None)
    }
}

#[test]
fn a_backend_that_cannot_find_sessions_says_so() {
    let store = ServerStore::new(key(), Plain);
    for error in [
        now(store.end_all_of("ada")).unwrap_err(),
        now(store.retain(|_| true)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), BackendErrorKind::Unsupported);
        assert_eq!(error.kind().as_str(), "unsupported");
    }
}
