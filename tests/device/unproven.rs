//! A bound session whose device is missing: it counts as absent, and its cookies are left alone.

use sealed_session::{Event, Origin, Refusal, RevocationList, Session, Status, StoreBuilder};

use crate::client::*;
use crate::support::*;

type Handler = fn(&Session);

fn services() -> [(&'static str, Service); 4] {
    [
        ("cookie", Service::new()),
        (
            "list",
            Service::with(|it| it.revocations(RevocationList::new())),
        ),
        ("backend", Service::in_memory(|it| it)),
        (
            "small in a cookie",
            Service::in_memory(StoreBuilder::small_in_cookie),
        ),
    ]
}

/// A visitor whose session is bound, and whose proof is over.
fn unproven(service: &Service) -> Visitor {
    let visitor = Visitor::bound(service);
    service.clock.forward(10 * MINUTE);
    service.events.lock().unwrap().clear();
    visitor
}

#[test]
fn nothing_of_it_can_be_read() {
    for (name, service) in services() {
        let visitor = unproven(&service);
        let session = visitor.load();
        assert_eq!(session.origin(), refused(Refusal::Unproven), "{name}");
        assert_eq!(Refusal::Unproven.as_str(), "unproven");
        let events = service.events.lock().unwrap().clone();
        assert_eq!(events, [Event::Refused(Refusal::Unproven)], "{name}");
        assert_eq!(user(&session), None);
        assert!(session.is_new() && session.is_empty());
        assert!(!session.contains("user_id") && !session.is_device_bound());
        assert!(session.keys().is_empty() && session.to_map().unwrap().is_empty());
        assert_eq!((session.id(), session.subject()), (None, None));
        assert_eq!((session.issued_at(), session.expires_at()), (None, None));
        assert_eq!(session.take_flash::<u64>("user_id").unwrap(), None);
        assert_eq!(session.status(), Status::Unmodified);
        let other = Session::new();
        other.merge(&session).unwrap();
        assert!(other.is_empty(), "{name}");
    }
}

#[test]
fn a_page_that_reads_leaves_its_cookies_alone() {
    for (name, service) in services() {
        let mut visitor = unproven(&service);
        let response = visitor.request(|session| assert_eq!(user(session), None));
        assert!(sets_no_cookie(&response.unwrap()), "{name}");
        visitor.visit(|session| assert_eq!(user(session), Some(42), "{name}"));
    }
}

#[test]
fn a_proof_that_is_over_is_taken_away_from_a_browser_whose_clock_is_behind() {
    for (name, service) in services() {
        let mut visitor = Visitor::bound(&service);
        visitor.clock = Clock::at(service.clock.now());
        service.clock.forward(10 * MINUTE);
        assert!(visitor.cookie(PROOF).is_some());
        let response = visitor.request(|session| assert_eq!(user(session), None));
        let response = response.unwrap();
        assert!(removes(&response, PROOF), "{name}");
        assert_eq!(response.get_all("set-cookie").iter().count(), 1, "{name}");
        visitor.visit(|session| assert_eq!(user(session), Some(42), "{name}"));
    }
}

#[test]
fn whatever_is_written_but_a_login_is_a_conflict() {
    let writes: [(&str, Handler); 6] = [
        ("a CSRF token", |session| {
            session.insert("csrf", "x").unwrap();
        }),
        ("a flash", |session| session.flash("note", "x").unwrap()),
        ("a subject", |session| session.set_subject("eve").unwrap()),
        ("an update", |session| {
            session
                .update("n", |n: Option<u32>| n.unwrap_or(0) + 1)
                .unwrap();
        }),
        ("cleared, then written", |session| {
            session.clear();
            session.insert("csrf", "x").unwrap();
        }),
        ("remembered, and written", |session| {
            session.remember(false);
            session.insert("csrf", "x").unwrap();
        }),
    ];
    for (name, service) in services() {
        for (what, write) in writes {
            let mut visitor = unproven(&service);
            let error = visitor.request(write).unwrap_err();
            assert!(error.is_conflict(), "{name}: {what}");
            assert!(error.to_string().contains("device"), "{error}");
            visitor.visit(|session| {
                assert_eq!(user(session), Some(42), "{name}: {what}");
                assert_eq!(session.len(), 1, "{name}: {what}");
                assert_eq!(session.subject().as_deref(), Some("ada"));
            });
        }
    }
}

#[test]
fn a_change_without_any_content_does_nothing() {
    let changes: [fn(&Session); 4] = [
        Session::renew,
        Session::clear,
        |session| session.remember(false),
        |session| session.remove("user_id"),
    ];
    for (name, service) in services() {
        for change in changes {
            let mut visitor = unproven(&service);
            assert!(sets_no_cookie(&visitor.request(change).unwrap()), "{name}");
            visitor.visit(|session| assert_eq!(user(session), Some(42), "{name}"));
        }
    }
}

#[test]
fn a_login_begins_a_new_session_which_is_offered_a_registration() {
    for (name, service) in services() {
        let mut visitor = unproven(&service);
        let before = visitor.clone();
        visitor.device = device(2);
        visitor.bound = None;
        let response = visitor
            .request(|session| {
                session.insert("user_id", 7).unwrap();
                session.set_subject("eve").unwrap();
                session.log_in().unwrap();
            })
            .unwrap();
        assert!(sets(&response, NAME), "{name}");
        assert!(
            removes(&response, PROOF) && removes(&response, KEY),
            "{name}"
        );
        visitor.follow(&response);
        assert!(visitor.bound.is_some(), "{name}");
        visitor.visit(|session| {
            assert!(session.is_device_bound());
            assert_eq!(user(session), Some(7), "{name}: nothing of the old one");
        });
        // The session that it replaces has ended, where a session can.
        let mut before = before;
        before.hold_back();
        let is_over = user(&before.load()).is_none();
        assert_eq!(
            is_over,
            !matches!(name, "cookie" | "small in a cookie"),
            "{name}"
        );
    }
}

#[test]
fn a_logout_ends_the_real_session_and_removes_all_four_cookies() {
    for (name, service) in services() {
        let mut visitor = unproven(&service);
        let before = visitor.clone();
        let response = visitor.request(Session::destroy).unwrap();
        for cookie in [NAME, PROOF, KEY, OFFER] {
            assert!(removes(&response, cookie), "{name}: {cookie}");
        }
        assert!(
            visitor.jar.iter().all(|kept| kept.value.is_empty()),
            "{name}"
        );
        // A copy with a proof, made in time, does not open either.
        let mut before = before;
        before.hold_back();
        let is_open = user(&before.load()).is_some();
        assert_eq!(
            is_open,
            matches!(name, "cookie" | "small in a cookie"),
            "{name}"
        );
    }
}

#[test]
fn a_logout_with_a_farewell_is_a_logout() {
    for (name, service) in services() {
        let mut visitor = unproven(&service);
        let response = visitor.request(|session| {
            session.destroy();
            session.flash("note", "goodbye").unwrap();
        });
        let response = response.unwrap();
        assert!(sets(&response, NAME), "{name}");
        assert!(
            removes(&response, PROOF) && removes(&response, KEY),
            "{name}"
        );
        assert!(offered(&response).is_none(), "{name}");
        visitor.bound = None;
        visitor.visit(|session| {
            assert_eq!(user(session), None, "{name}");
            assert_eq!(
                session.take_flash::<String>("note").unwrap().unwrap(),
                "goodbye"
            );
        });
    }
}

#[test]
fn a_proof_can_be_asked_for_at_once() {
    let service = Service::new();
    let mut visitor = Visitor::bound(&service);
    service.clock.forward(5 * MINUTE);
    let response = visitor.request(|session| {
        assert!(session.is_device_bound());
        assert!(!session.is_device_proven_within(MINUTE));
        assert!(session.is_device_proven_within(5 * MINUTE));
        session.ask_for_device_proof();
    });
    let response = response.unwrap();
    assert!(removes(&response, PROOF) && !sets(&response, NAME));
    // What the browser has signed before is too old: it is told what to sign now.
    let field = response["secure-session-challenge"].to_str().unwrap();
    assert!(field.ends_with("\";id=\"session\""), "{field}");
    visitor.visit(|session| {
        assert!(session.is_device_proven_within(SECOND));
        assert_eq!(session.device_proven_at(), Some(service.clock.now()));
    });
    // Who has no proof is asked for none.
    let mut other = Visitor::new(&service);
    let response = other.request(Session::ask_for_device_proof);
    assert!(sets_no_cookie(&response.unwrap()));
}

#[test]
fn a_proof_is_as_old_as_what_was_signed_and_not_as_its_cookie() {
    let service = Service::new();
    let mut visitor = Visitor::bound(&service);
    let asked_at = service.clock.now();
    let jwt = proof(&visitor.device, &visitor.asked());
    service.clock.forward(MINUTE);
    // Browsers show again what they have signed lately.
    let answer = visitor.post(REFRESH, From::Here, &[("secure-session-response", &jwt)]);
    visitor.receive(answer.headers());
    let session = visitor.load();
    assert_eq!(session.device_proven_at(), Some(asked_at));
    assert!(!session.is_device_proven_within(59 * SECOND));
    assert!(session.is_device_proven_within(MINUTE));
}

#[test]
fn an_unbound_session_is_not_touched_by_any_of_this() {
    let service = Service::new();
    let mut visitor = Visitor::new(&service);
    let response = visitor.request(login).unwrap();
    assert!(offered(&response).is_some());
    // A browser that does not know the header goes on as ever.
    for _ in 0..23 {
        service.clock.forward(HOUR);
        let response = visitor.request(|session| {
            assert_eq!(session.origin(), Origin::Opened);
            assert_eq!(user(session), Some(42));
        });
        assert!(sets_no_cookie(&response.unwrap()));
    }
}
