//! A backend that is away, answers too late or not at all, at each step.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::HeaderMap;
use sealed_session::server::BackendErrorKind;
use sealed_session::{Event, Origin, Refusal, Session, Status};

use crate::now::now;
use crate::shelf::{Incident, Shelf, away};
use crate::site::Site;
use crate::support::*;

#[test]
fn loading_fails_closed_with_an_error_that_says_what_failed() {
    let site = Site::visited(|builder| builder);
    site.shelf.plan("load", Incident::Fails);
    let error = site.try_load().unwrap_err();
    assert_eq!(error.backend(), Some(&away()));
    assert_eq!(
        error.backend().unwrap().kind(),
        BackendErrorKind::Unavailable
    );
    assert!(
        error
            .to_string()
            .starts_with("the session's backend failed; ")
    );
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the shelf is away");
    assert_eq!(site.load().origin(), Origin::Opened, "and then it is back");
}

#[test]
fn a_store_that_goes_on_without_its_backend_gives_an_empty_session_that_cannot_be_saved() {
    let mut site = Site::visited(sealed_session::StoreBuilder::empty_if_unavailable);
    site.shelf.plan("load", Incident::Fails);
    let session = site.load();
    assert_eq!(session.origin(), refused(Refusal::Unavailable));
    assert!(session.is_empty() && session.is_new());
    let events = [Event::BackendFailed, Event::Refused(Refusal::Unavailable)];
    assert_eq!(site.events(), events);
    site.calls();
    assert!(sets_no_cookie(&site.save(&session)));

    // The backend is back, and a change must not take the place of the session that is there.
    type Handler = fn(&Session);
    let handlers: [Handler; 3] = [
        |session| session.insert("guest", 1).unwrap(),
        |session| session.destroy(),
        |session| session.set_subject("eve").unwrap(),
    ];
    for handler in handlers {
        site.shelf.plan("load", Incident::Fails);
        let session = site.load();
        handler(&session);
        site.calls();
        let error = site.try_save(&session).unwrap_err();
        assert_eq!(
            error.backend().unwrap().kind(),
            BackendErrorKind::Unavailable
        );
        assert!(!error.is_conflict());
        assert_eq!(site.calls(), [""; 0]);
    }
    assert_eq!(site.load().keys(), ["count", "name"]);

    site.browser = Browser::default();
    site.visit(|session| session.insert("guest", 1).unwrap());
    assert_eq!(
        site.load().keys(),
        ["guest"],
        "a guest needs nothing that is away"
    );
}

/// What is saved, the calls that it makes, and how it comes about.
type Save = (&'static str, &'static [&'static str], fn(&Session));

const SAVES: [Save; 5] = [
    ("changed", &["put"], |session| {
        session.insert("a", 1).unwrap();
    }),
    ("renewed", &["put", "put"], |session| {
        session.insert("a", 1).unwrap();
        session.renew();
    }),
    ("destroyed", &["remove"], Session::destroy),
    ("begun anew", &["put", "put"], |session| {
        session.destroy();
        session.insert("a", 1).unwrap();
    }),
    ("reported", &["put"], |session| session.remember(false)),
];

#[test]
fn a_save_that_fails_at_any_step_is_an_error_and_can_be_tried_again() {
    for (what, calls, change) in SAVES {
        for failing in 0..calls.len() {
            for is_done in [false, true] {
                let what = format!("{what}, call {failing}, done: {is_done}");
                let mut site = Site::visited(|builder| builder);
                let session = site.load();
                change(&session);
                let expected = session.to_map().unwrap();
                site.calls();
                let call = calls[failing];
                for earlier in &calls[..failing] {
                    site.shelf.plan(earlier, Incident::Passes);
                }
                let incident = if is_done {
                    Incident::FailsAfter
                } else {
                    Incident::Fails
                };
                site.shelf.plan(call, incident);
                let outcome = site.try_save(&session);
                let is_mark = failing == 1 && call == "put" && calls[0] == "put";
                if is_mark && is_done {
                    // It has asked, and nothing is missing.
                    let response = outcome.unwrap();
                    site.receive(&response);
                } else {
                    let error = outcome.unwrap_err();
                    assert_eq!(error.backend(), Some(&away()), "{what}");
                    assert!(
                        error
                            .to_string()
                            .starts_with("the session's backend failed; ")
                    );
                    assert_eq!(session.to_map().unwrap(), expected, "{what}");
                    let response = site.save(&session);
                    site.receive(&response);
                }
                let loaded = site.load();
                assert_eq!(loaded.to_map().unwrap(), expected, "{what}");
                assert_eq!(loaded.is_new(), expected.is_empty(), "{what}");
                assert!(site.shelf.is_as_planned());
            }
        }
    }
}

#[test]
fn a_save_that_fails_before_it_is_done_leaves_what_was_acknowledged() {
    for (what, calls, change) in SAVES {
        let site = Site::visited(|builder| builder);
        let session = site.load();
        change(&session);
        site.shelf.plan_for_ever(calls[0], || Incident::Fails);
        for _ in 0..2 {
            assert!(site.try_save(&session).is_err(), "{what}");
            assert_eq!(site.load().keys(), ["count", "name"], "{what}");
        }
    }
}

#[test]
fn an_error_while_catching_up_is_an_error_of_the_save() {
    let mut site = Site::visited(|builder| builder);
    site.overtaken("put", |session| session.insert("theirs", 1).unwrap());
    let session = site.load();
    session.insert("ours", 1).unwrap();
    site.shelf.plan("load", Incident::Passes);
    site.shelf.plan("load", Incident::Fails);
    let error = site.try_save(&session).unwrap_err();
    assert_eq!(error.backend(), Some(&away()));
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().keys(), ["count", "name", "ours", "theirs"]);
}

#[test]
fn a_new_session_whose_first_save_got_lost_on_its_way_is_saved_by_the_next() {
    let mut site = Site::new();
    let session = site.load();
    session.insert("a", 1).unwrap();
    site.shelf.plan("put", Incident::FailsAfter);
    assert!(site.try_save(&session).is_err());
    session.insert("b", 2).unwrap();
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().keys(), ["a", "b"]);
    assert_eq!(site.shelf.slots().len(), 1);
}

#[test]
fn a_save_that_is_cancelled_at_any_step_can_be_made_again() {
    for (what, calls, change) in SAVES {
        for stopped in 0..calls.len() {
            for is_done in [false, true] {
                let mut site = Site::visited(|builder| builder);
                let session = site.load();
                change(&session);
                let expected = session.to_map().unwrap();
                for earlier in &calls[..stopped] {
                    site.shelf.plan(earlier, Incident::Passes);
                }
                let incident = if is_done {
                    Incident::WaitsAfter
                } else {
                    Incident::Waits
                };
                site.shelf.plan(calls[stopped], incident);
                let mut response = HeaderMap::new();
                let mut context = Context::from_waker(Waker::noop());
                let polled = pin!(site.store.save(&session, &mut response)).poll(&mut context);
                assert!(polled.is_pending());
                assert!(response.is_empty());
                let what = format!("{what}, call {stopped}, done: {is_done}");
                assert_eq!(session.to_map().unwrap(), expected, "{what}");
                let saved = site.try_save(&session);
                let is_mark = stopped == 1 && calls[0] == "put";
                if is_mark && is_done {
                    // Nobody can tell this from a renewal by another request.
                    let error = saved.unwrap_err();
                    assert!(error.to_string().contains("new id"), "{error}");
                    continue;
                }
                site.receive(&saved.unwrap());
                assert_eq!(site.load().to_map().unwrap(), expected, "{what}");
            }
        }
    }
}

#[test]
fn a_process_that_dies_in_a_renewal_leaves_the_session_under_one_id() {
    for (passes, incident, is_old) in [
        (0, Incident::WaitsAfter, true),
        (1, Incident::Waits, true),
        (1, Incident::WaitsAfter, false),
    ] {
        let site = Site::visited(|builder| builder);
        let session = site.load();
        session.renew();
        for _ in 0..passes {
            site.shelf.plan("put", Incident::Passes);
        }
        site.shelf.plan("put", incident);
        let mut response = HeaderMap::new();
        let mut context = Context::from_waker(Waker::noop());
        let polled = pin!(site.store.save(&session, &mut response)).poll(&mut context);
        assert!(matches!(polled, Poll::Pending));
        let expected = if is_old {
            Origin::Opened
        } else {
            refused(Refusal::Moved)
        };
        assert_eq!(site.load().origin(), expected);
    }
}

#[test]
fn a_load_that_is_cancelled_has_changed_nothing() {
    let site = Site::visited(|builder| builder.idle_timeout(HOUR));
    site.clock.forward(30 * MINUTE);
    site.shelf.plan("load", Incident::WaitsAfter);
    let request = site.request();
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        pin!(site.store.load(&request))
            .poll(&mut context)
            .is_pending()
    );
    assert_eq!(site.shelf.ttl(&site.shelf.only_key()), 90 * MINUTE);
    assert_eq!(site.load().status(), Status::Unmodified);
}

#[test]
fn a_backend_that_was_emptied_ends_all_sessions_and_takes_new_ones() {
    let mut site = Site::visited(|builder| builder);
    let session = site.load();
    site.shelf = Shelf::new(&site.clock);
    let app_key = key();
    let mut fresh = site.rebuilt(app_key, |builder| builder);
    assert_eq!(fresh.load().origin(), refused(Refusal::UnknownKey));
    fresh.visit(|session| session.insert("a", 1).unwrap());
    assert_eq!(fresh.load().keys(), ["a"]);
    drop(session);
    let lost = Site::visited(|builder| builder);
    let session = lost.load();
    session.insert("b", 2).unwrap();
    lost.shelf.lose(&lost.shelf.only_key());
    assert_eq!(lost.load().origin(), refused(Refusal::Gone));
    assert!(sets_no_cookie(&lost.save(&session)));
    assert!(lost.shelf.slots().is_empty());
    assert!(now(lost.store.load(&HeaderMap::new())).unwrap().is_new());
}
