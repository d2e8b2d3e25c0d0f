//! What a thief gets from copied cookies, and does not.

use sealed_session::{Origin, Refusal, RevocationList, Session};

use crate::client::*;
use crate::support::*;

/// Somebody with a copy of all cookies, and a device of his own.
fn thief_of(visitor: &Visitor) -> Visitor {
    Visitor {
        device: device(9),
        bound: None,
        ..visitor.clone()
    }
}

fn with_list() -> Service {
    Service::with(|builder| builder.revocations(RevocationList::new()))
}

#[test]
fn a_copied_jar_works_until_the_proof_is_over_and_then_is_worth_nothing() {
    let service = Service::new();
    let mut visitor = Visitor::bound(&service);
    let thief = thief_of(&visitor);
    assert_eq!(user(&thief.load()), Some(42));
    service.clock.forward(10 * MINUTE - SECOND);
    // The browser has forgotten the proof; the thief sends it to its last second.
    let mut headers = http::HeaderMap::new();
    let pairs = [NAME, PROOF].map(|name| {
        let kept = thief.jar.iter().find(|kept| kept.name == name).unwrap();
        format!("{name}={}", kept.value)
    });
    headers.insert("cookie", pairs.join("; ").parse().unwrap());
    assert_eq!(user(&service.load(&headers)), Some(42));
    service.clock.forward(SECOND);
    let session = service.load(&headers);
    assert_eq!(user(&session), None);
    assert_eq!(session.subject(), None);
    assert_eq!(session.origin(), refused(Refusal::Unproven));
    // The browser goes on.
    visitor.visit(|session| assert_eq!(user(session), Some(42)));
}

#[test]
fn a_session_that_only_reads_is_protected_an_hour_after_its_login() {
    for service in [Service::new(), with_list(), Service::in_memory(|it| it)] {
        let mut visitor = Visitor::logged_in(&service);
        for _ in 0..6 {
            service.clock.forward(10 * MINUTE);
            visitor.visit(|session| assert_eq!(user(session), Some(42)));
        }
        let thief = thief_of(&visitor);
        service.clock.forward(10 * MINUTE);
        assert_eq!(user(&thief.load()), None);
        assert_eq!(thief.load().origin(), refused(Refusal::Unproven));
    }
}

#[test]
fn the_thief_gets_no_proof_without_the_key() {
    let service = Service::new();
    let visitor = Visitor::bound(&service);
    let mut thief = thief_of(&visitor);
    thief.bound = visitor.bound.clone();
    service.clock.forward(10 * MINUTE);
    // He signs with a key of his own, in a refresh and in a registration, and brings it along.
    let challenge = thief.asked();
    let own = registration(&thief.device, &challenge);
    for jwt in [proof(&thief.device, &challenge), own] {
        for path in [REFRESH, REGISTER] {
            let answer = thief.post(path, From::Here, &[("secure-session-response", &jwt)]);
            assert!(sets_no_cookie(answer.headers()), "{path}");
        }
    }
    thief.refresh(From::Here);
    assert_eq!(user(&thief.load()), None);
}

#[test]
fn a_proof_made_for_one_binding_is_worth_nothing_for_another() {
    let service = Service::new();
    let visitor = Visitor::bound(&service);
    // The thief has an account of his own, with a key of his own.
    let mut thief = Visitor::new(&service);
    thief.device = device(9);
    thief.visit(|session| {
        session.log_in().unwrap();
        session.set_subject("eve").unwrap();
        session.insert("user_id", 666).unwrap();
    });
    thief.visit(|_| {});
    thief.set(NAME, visitor.cookie(NAME).unwrap(), "/");
    assert_eq!(user(&thief.load()), None);
    // His key proves nothing for her session, with her key's cookie beside it or without.
    for keys in [vec![KEY], vec![]] {
        let mut thief = thief.clone();
        for name in keys {
            let mut theirs = visitor.jar.iter().filter(|kept| kept.name == name).cloned();
            thief.jar.extend(theirs.next());
        }
        let answer = thief.refresh(From::Here);
        assert!(!sets(answer.headers(), PROOF));
        assert_eq!(user(&thief.load()), None);
    }
}

#[test]
fn a_captured_proof_buys_one_more_bound_cookie_within_a_minute_and_none_later() {
    let service = Service::new();
    let visitor = Visitor::bound(&service);
    let thief = thief_of(&visitor);
    let jwt = proof(&visitor.device, &visitor.asked());
    let replay = || thief.post(REFRESH, From::Here, &[("secure-session-response", &jwt)]);
    service.clock.forward(MINUTE + 59 * SECOND);
    assert!(
        sets(replay().headers(), PROOF),
        "a minute, and one for the clocks"
    );
    service.clock.forward(SECOND);
    let answer = replay();
    assert_eq!(answer.status(), 403);
    assert!(challenge(&answer).is_some());
    assert!(!sets(answer.headers(), PROOF));
}

#[test]
fn a_thief_who_renews_within_the_window_binds_no_key_of_his_own() {
    for service in [Service::new(), with_list(), Service::in_memory(|it| it)] {
        let visitor = Visitor::bound(&service);
        let mut thief = thief_of(&visitor);
        let response = thief.request(Session::renew).unwrap();
        assert!(offered(&response).is_none());
        assert!(!sets(&response, OFFER));
        let response = thief.request(login).unwrap();
        assert!(offered(&response).is_none());
        service.clock.forward(10 * MINUTE);
        assert_eq!(user(&thief.load()), None);
    }
}

#[test]
fn a_copy_from_before_the_binding_opens_to_its_deadline_without_a_list_and_ends_with_one() {
    for (service, is_open) in [
        (Service::new(), true),
        (with_list(), false),
        (Service::in_memory(|it| it), false),
    ] {
        let mut visitor = Visitor::new(&service);
        let response = visitor.request(login).unwrap();
        let thief = thief_of(&visitor);
        visitor.follow(&response);
        assert_eq!(
            user(&thief.load()),
            Some(42),
            "a lost answer must not log anybody out"
        );
        let id = visitor.load().id();
        visitor.visit(|_| {});
        assert_eq!(visitor.load().id(), id, "it keeps its id");
        assert_eq!(user(&thief.load()).is_some(), is_open);
        // Not even with a proof of his own: the first binding holds.
        let response = offered(&response).unwrap();
        let mut thief = thief;
        let answer = thief.register(&response, From::Here);
        thief.registered(&answer);
        assert_eq!(user(&thief.load()).is_some(), is_open);
        visitor.visit(|session| assert_eq!(user(session), Some(42)));
    }
}

#[test]
fn a_browsers_request_from_before_the_binding_still_gets_its_answer() {
    let service = with_list();
    let mut visitor = Visitor::logged_in(&service);
    // Both are on their way when the first proof arrives.
    let slow = visitor.load();
    visitor.visit(|_| {});
    slow.insert("cart", 1).unwrap();
    let response = service.save(&slow).unwrap();
    visitor.receive(&response);
    visitor.visit(|session| {
        assert!(session.is_device_bound());
        assert_eq!(session.get("cart").unwrap(), Some(1));
    });
}

#[test]
fn what_a_script_can_read_is_not_enough_to_register() {
    let service = Service::new();
    let mut visitor = Visitor::new(&service);
    let response = visitor.request(login).unwrap();
    let challenge = offered(&response).unwrap();
    // The header with the challenge, and a session, but not the offer's cookie.
    let mut thief = thief_of(&visitor);
    thief.forget(OFFER);
    assert_eq!(thief.register(&challenge, From::Here).status(), 403);
    // Nor another session's offer.
    let mut other = Visitor::new(&service);
    other.request(login).unwrap();
    thief
        .jar
        .extend(other.jar.iter().filter(|kept| kept.name == OFFER).cloned());
    assert_eq!(thief.register(&challenge, From::Here).status(), 403);
}

#[test]
fn an_offer_is_good_for_a_minute() {
    let service = Service::new();
    let mut visitor = Visitor::new(&service);
    let response = visitor.request(login).unwrap();
    let challenge = offered(&response).unwrap();
    let kept = visitor.jar.clone();
    service.clock.forward(2 * MINUTE);
    for cookie in kept.iter().filter(|kept| kept.name == OFFER) {
        visitor.set(OFFER, &cookie.value, "/.device-bound-session");
    }
    assert_eq!(visitor.register(&challenge, From::Here).status(), 403);
    service.clock.back(SECOND);
    assert_eq!(visitor.register(&challenge, From::Here).status(), 200);
}

#[test]
fn tossed_keys_of_another_session_keep_nobody_out() {
    let service = Service::new();
    let mut others: Vec<Visitor> = (3..6)
        .map(|seed| {
            let mut other = Visitor::new(&service);
            other.device = device(seed);
            other.visit(login);
            other
        })
        .collect();
    let mut visitor = Visitor::bound(&service);
    for other in &mut others {
        let theirs = other.jar.iter().find(|kept| kept.name == KEY).cloned();
        // First, as those with a longer path or an earlier date are.
        visitor.jar.insert(0, theirs.unwrap());
    }
    for from in [From::Here, From::Elsewhere] {
        service.clock.forward(9 * MINUTE);
        visitor.refresh(from);
        assert!(visitor.cookie(PROOF).is_some(), "{from:?}");
        assert_eq!(user(&visitor.load()), Some(42), "{from:?}");
    }
}

#[test]
fn what_a_browser_says_of_skipping_excuses_nothing() {
    let service = Service::new();
    let visitor = Visitor::bound(&service);
    service.clock.forward(10 * MINUTE);
    service.device_events();
    for (said, skip) in [
        ("quota_exceeded", sealed_session::DeviceSkip::Quota),
        ("unreachable", sealed_session::DeviceSkip::Unreachable),
        ("server_error", sealed_session::DeviceSkip::ServerError),
        ("whatever", sealed_session::DeviceSkip::Other),
    ] {
        let event = sealed_session::Event::DeviceSkipped(skip);
        let other = "quota_exceeded;session_identifier=\"admin\"".to_owned();
        let ours = format!("{said};session_identifier=\"session\"");
        for fields in [
            vec![ours.clone()],
            vec![format!("{other}, {ours}")],
            vec![other, ours],
        ] {
            let mut headers = visitor.headers("/", From::Here);
            for field in &fields {
                headers.append("secure-session-skipped", field.parse().unwrap());
            }
            assert!(service.answer("GET", "/", &headers).is_none());
            assert_eq!(service.device_events(), [event], "{fields:?}");
            assert_eq!(user(&service.load(&headers)), None, "{fields:?}");
        }
    }
    let mut headers = visitor.headers("/", From::Here);
    for other in [
        "quota_exceeded;session_identifier=\"admin\"",
        "quota_exceeded",
        "",
    ] {
        headers.insert("secure-session-skipped", other.parse().unwrap());
        assert!(service.answer("GET", "/", &headers).is_none());
        assert!(service.device_events().is_empty(), "{other}");
    }
}

#[test]
fn an_end_from_before_the_present_login_does_not_reach_its_key() {
    let list = RevocationList::new();
    let service = Service::with(|builder| builder.revocations(list.clone()));
    let mut visitor = Visitor::bound(&service);
    let first = visitor.load().id().unwrap();
    service.clock.forward(HOUR);
    visitor.visit(login);
    // What was issued before the login ends, and its first id, but not the session.
    list.revoke_all(service.clock.now() - MINUTE);
    list.revoke(first, service.clock.now() + DAY);
    for _ in 0..3 {
        service.clock.forward(9 * MINUTE + SECOND);
        visitor.visit(|session| assert_eq!(user(session), Some(42)));
    }
    // Without the session, the key is over.
    visitor.forget(NAME);
    list.revoke_all(service.clock.now() + SECOND);
    let answer = visitor.refresh(From::Here);
    assert!(is_end(&answer));
}

#[test]
fn a_key_is_worth_nothing_once_its_session_was_ended() {
    let list = RevocationList::new();
    let listed = list.clone();
    let service = Service::with(move |builder| builder.revocations(listed));
    let mut visitor = Visitor::bound(&service);
    let before = visitor.clone();
    visitor.visit(Session::destroy);
    let answer = before.post(REFRESH, From::Elsewhere, &[]);
    assert!(is_end(&answer));
    for name in [KEY, PROOF] {
        assert!(removes(answer.headers(), name), "{name}");
    }
    // A renewal ends an id too, and is no end of the session.
    let mut visitor = Visitor::bound(&service);
    visitor.visit(login);
    service.clock.forward(9 * MINUTE);
    assert!(sets(visitor.refresh(From::Elsewhere).headers(), PROOF));
    // All sessions from before now end.
    service.clock.forward(MINUTE);
    list.revoke_all(service.clock.now());
    assert!(is_end(&visitor.post(REFRESH, From::Elsewhere, &[])));
    assert_eq!(visitor.load().origin(), Origin::Refused(Refusal::Cutoff));
}
