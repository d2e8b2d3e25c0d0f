//! Ending many sessions: one subject's, those that match, those before a moment.

use std::time::Duration;

use sealed_session::server::{
    Backend, BackendError, BackendErrorKind, Entry, Outcome, Promise, ServerStore, StoreKey,
    Stored, Value,
};
use sealed_session::{Event, Origin, Refusal, RevocationList, Session, SessionId};

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
    site.visit(Session::renew);
    site.shelf
        .force(StoreKey::from_bytes([7; 32]), "junk", HOUR);
    site.clock.forward(SECOND);
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
fn no_session_escapes_by_getting_a_new_id_while_those_that_match_are_ended() {
    let mut site = Site::new();
    let mut browsers = log_in(&mut site, &["eve"; 20]);
    let mut is_first = true;
    // While the first is looked at, all others get a new id, which may be on an earlier page.
    let ended = now(site.store.retain(|_| {
        for browser in std::mem::take(&mut is_first)
            .then_some(&mut browsers)
            .into_iter()
            .flatten()
        {
            let session = now(site.store.load(&browser.send(site.clock.now()))).unwrap();
            session.renew();
            browser.receive(&site.save(&session), site.clock.now());
        }
        false
    }));
    assert_eq!(ended, Ok(20));
    assert_eq!(are_in(&site, &browsers), [false; 20]);

    // One gets its new id between the look at it and its end.
    let browsers = log_in(&mut site, &["eve"]);
    site.overtaken("remove", Session::renew);
    assert_eq!(now(site.store.retain(|_| false)), Ok(1));
    assert_eq!(are_in(&site, &browsers), [false]);
    assert_eq!(now(site.store.retain(|_| panic!("one is left"))), Ok(0));
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
        now(store.end_all_of_sid("s1")).unwrap_err(),
        now(store.end_others_of("ada", &Session::new())).unwrap_err(),
        now(store.sessions_of("ada")).unwrap_err(),
        now(store.retain(|_| true)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), BackendErrorKind::Unsupported);
        assert_eq!(error.kind().as_str(), "unsupported");
    }
}

/// The browsers of ada's devices, with a label each, in the order of their last use.
fn devices(site: &mut Site, labels: &[&str]) -> Vec<Browser> {
    let mut browsers = Vec::new();
    for label in labels {
        site.clock.forward(MINUTE);
        site.browser = Browser::default();
        site.visit(|session| {
            session.log_in().unwrap();
            session.set_subject("ada").unwrap();
            session.set_label(*label).unwrap();
        });
        browsers.push(site.browser.clone());
    }
    browsers
}

fn labels(site: &Site) -> Vec<String> {
    let listed = now(site.store.sessions_of("ada")).unwrap();
    listed.into_iter().filter_map(|info| info.label).collect()
}

#[test]
fn the_sessions_of_one_subject_are_listed_and_nobody_elses_are_read() {
    let mut site = Site::new();
    log_in(&mut site, &["eve", "bob", ""]);
    let start = site.clock.now();
    let browsers = devices(&mut site, &["phone", "laptop"]);
    site.clock.forward(HOUR);
    site.browser = browsers[0].clone();
    site.visit(|session| {
        session.renew();
        session.insert("a", 1).unwrap();
    });
    let own = site.load();
    site.calls();
    let listed = now(site.store.sessions_of("ada")).unwrap();
    let calls = site.calls();
    assert_eq!(calls[0], "tagged");
    assert!(calls.len() <= 4, "{calls:?}");
    assert_eq!(listed.len(), 2);
    let [phone, laptop] = &listed[..] else {
        unreachable!()
    };
    assert_eq!(Some(phone.id), own.id());
    assert_eq!(phone.label.as_deref(), Some("phone"));
    assert_eq!(phone.issued_at, site.clock.now());
    assert_eq!(phone.last_seen_at, site.clock.now());
    assert_eq!(phone.logged_in_at, Some(start + MINUTE));
    assert_eq!(phone.expires_at, start + MINUTE + DAY);
    assert_eq!(laptop.label.as_deref(), Some("laptop"));
    assert_eq!(laptop.issued_at, start + 2 * MINUTE);
    assert_eq!(laptop.last_seen_at, start + 2 * MINUTE);
    let shown = format!("{listed:?}");
    assert!(!shown.contains("phone") && !shown.contains(&phone.id.to_string()));

    assert_eq!(now(site.store.sessions_of("")), Ok(vec![]));
    assert_eq!(now(site.store.sessions_of("ad")), Ok(vec![]));
    site.clock.forward(DAY - HOUR - MINUTE);
    assert_eq!(labels(&site), ["laptop"], "the other has expired");
    for call in ["tagged", "load"] {
        site.shelf.plan(call, Incident::Fails);
        assert_eq!(now(site.store.sessions_of("ada")), Err(away()), "{call}");
    }
}

#[test]
fn a_session_that_is_idle_for_too_long_or_has_another_subject_by_now_is_not_listed() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    let browsers = devices(&mut site, &["phone", "laptop", "tablet"]);
    site.browser = browsers[0].clone();
    site.visit(|session| session.set_subject("eve").unwrap());
    site.clock.forward(HOUR - MINUTE);
    site.browser = browsers[2].clone();
    site.visit(|_| ());
    let used = site.clock.now();
    site.clock.forward(MINUTE);
    let listed = now(site.store.sessions_of("ada")).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].label.as_deref(), Some("tablet"));
    assert_eq!(listed[0].last_seen_at, used);
}

#[test]
fn all_sessions_but_this_one_end_whatever_its_request_does_besides() {
    type Also = fn(&Session);
    let besides: [(&str, Also); 4] = [
        ("nothing", |_| ()),
        ("renews", Session::renew),
        ("logs in", |session| session.log_in().unwrap()),
        ("writes", |session| session.insert("a", 1).unwrap()),
    ];
    for (what, also) in besides {
        for order in ["before", "saved before", "after"] {
            let mut site = Site::new();
            let others = log_in(&mut site, &["ada", "eve", "ada"]);
            devices(&mut site, &["phone"]);
            let session = site.load();
            if order != "after" {
                also(&session);
            }
            if order == "saved before" {
                let response = site.save(&session);
                site.receive(&response);
            }
            assert_eq!(now(site.store.end_others_of("ada", &session)), Ok(2));
            if order == "after" {
                also(&session);
            }
            let response = site.save(&session);
            site.receive(&response);
            assert_eq!(labels(&site), ["phone"], "{what} {order}");
            assert_eq!(
                site.load().label().as_deref(),
                Some("phone"),
                "{what} {order}"
            );
            assert_eq!(are_in(&site, &others), [false, true, false]);
        }
    }
}

#[test]
fn a_session_that_another_request_has_just_renewed_is_kept_too() {
    let mut site = Site::new();
    let others = log_in(&mut site, &["ada"]);
    devices(&mut site, &["phone"]);
    let session = site.load();
    site.visit(Session::renew);
    assert_eq!(now(site.store.end_others_of("ada", &session)), Ok(1));
    assert_eq!(site.load().label().as_deref(), Some("phone"));
    assert_eq!(are_in(&site, &others), [false]);
}

#[test]
fn sessions_in_cookies_end_by_the_list_and_this_one_stays() {
    let list = RevocationList::new();
    let mut site = Site::with(|builder| builder.small_in_cookie().revocations(list.clone()));
    let others = devices(&mut site, &["laptop", "tablet"]);
    devices(&mut site, &["phone"]);
    assert!(site.shelf.slots().is_empty());
    site.clock.forward(MINUTE);
    let session = site.load();
    assert_eq!(now(site.store.end_others_of("ada", &session)), Ok(0));
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().label().as_deref(), Some("phone"));
    assert_eq!(are_in(&site, &others), [false, false]);

    // One that is in the backend now, and goes back into its cookie later.
    site.visit(|session| session.insert("large", "x".repeat(5000)).unwrap());
    site.clock.forward(MINUTE);
    let session = site.load();
    assert_eq!(now(site.store.end_others_of("ada", &session)), Ok(0));
    let response = site.save(&session);
    site.receive(&response);
    site.visit(|session| session.remove("large"));
    assert_eq!(site.load().label().as_deref(), Some("phone"));
}

#[test]
fn one_session_ends_by_its_id_if_it_is_the_visitors() {
    let mut site = Site::new();
    let browsers = devices(&mut site, &["phone", "laptop"]);
    let eve = log_in(&mut site, &["eve", ""]);
    site.browser = browsers[0].clone();
    let id = site.load().id().unwrap();
    let unknown = SessionId::from_hex(&"0".repeat(32)).unwrap();
    for (subject, id) in [("eve", id), ("", id), ("ada", unknown)] {
        assert_eq!(now(site.store.end_one_of(subject, id)), Ok(false));
    }
    site.browser = eve[1].clone();
    let nobodys = site.load().id().unwrap();
    assert_eq!(now(site.store.end_one_of("", nobodys)), Ok(false));
    assert_eq!(are_in(&site, &browsers), [true, true]);

    // It gets a new id while the page is open.
    site.browser = browsers[0].clone();
    site.visit(Session::renew);
    assert_eq!(now(site.store.end_one_of("eve", id)), Ok(false));
    assert_eq!(now(site.store.end_one_of("ada", id)), Ok(true));
    assert_ne!(site.load().origin(), Origin::Opened);
    assert_eq!(now(site.store.end_one_of("ada", id)), Ok(false));
    assert_eq!(labels(&site), ["laptop"]);
    assert_eq!(are_in(&site, &eve), [true, true]);
}

#[test]
fn the_identity_provider_ends_the_sessions_of_one_of_its_logins() {
    let (old, new) = (key(), key());
    let mut site = Site::new().rebuilt(old.clone(), |builder| builder);
    let mut browsers = Vec::new();
    for (subject, sid) in [
        ("ada", "s1"),
        ("ada", "s2"),
        ("ada", ""),
        ("s1", ""),
        ("eve", "s1"),
    ] {
        site.browser = Browser::default();
        site.visit(|session| {
            session.log_in().unwrap();
            session.set_subject(subject).unwrap();
            session.set_sid(sid).unwrap();
        });
        browsers.push(site.browser.clone());
    }
    site.store.replace_keys(ring(&[&new, &old]));
    site.browser = browsers[0].clone();
    site.visit(Session::renew);
    browsers[0] = site.browser.clone();
    assert_eq!(now(site.store.end_all_of_sid("")), Ok(0));
    assert_eq!(now(site.store.end_all_of_sid("s1")), Ok(2));
    assert_eq!(are_in(&site, &browsers), [false, true, true, true, false]);
    assert_eq!(now(site.store.end_all_of_sid("s1")), Ok(0));
    for subject in ["s1", "ada"] {
        now(site.store.end_all_of(subject)).unwrap();
    }
    assert_eq!(are_in(&site, &browsers), [false; 5]);
}

#[test]
fn the_identity_provider_ends_sessions_in_cookies_by_the_list() {
    let list = RevocationList::new();
    let mut site = Site::with(|builder| builder.small_in_cookie().revocations(list.clone()));
    site.visit(|session| session.set_sid("s1").unwrap());
    let browser = site.browser.clone();
    site.clock.forward(SECOND);
    assert_eq!(now(site.store.end_all_of_sid("s2")), Ok(0));
    assert_eq!(are_in(&site, std::slice::from_ref(&browser)), [true]);
    assert_eq!(now(site.store.end_all_of_sid("s1")), Ok(0));
    assert_eq!(are_in(&site, &[browser]), [false]);
    assert_eq!(list.len(), 2);
}

#[test]
fn a_sid_is_hidden_from_the_backend_as_a_subject_is() {
    let mut site = Site::new();
    site.visit(|session| {
        session.set_subject("same text").unwrap();
        session.set_sid("same text").unwrap();
    });
    let slots = site.shelf.slots();
    let tags = &slots.values().next().unwrap().tags;
    assert_eq!(tags.len(), 2);
    assert_ne!(tags[0], tags[1]);
    site.visit(|session| session.set_subject("").unwrap());
    let slots = site.shelf.slots();
    assert_eq!(slots.values().next().unwrap().tags, [tags[1]]);
}
