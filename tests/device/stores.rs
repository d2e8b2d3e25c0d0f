//! Where a bound session is kept: in its cookie, in a backend, and on the way between them.

use sealed_session::{Refusal, Session, StoreBuilder};

use crate::client::*;
use crate::support::*;

fn grow(session: &Session) {
    session.insert("large", "x".repeat(5000)).unwrap();
}

fn shrink(session: &Session) {
    session.remove("large");
}

fn is_bound(visitor: &Visitor) -> bool {
    let mut thief = visitor.clone();
    let before = user(&visitor.load());
    thief.forget(PROOF);
    assert_eq!(before, Some(42));
    thief.load().origin() == refused(Refusal::Unproven)
}

#[test]
fn a_session_in_a_backend_is_bound_by_its_record_and_not_by_its_cookie() {
    let service = Service::in_memory(|builder| builder);
    let mut visitor = Visitor::logged_in(&service);
    let before = visitor.cookie(NAME).unwrap().to_owned();
    visitor.visit(|_| {});
    assert_ne!(
        visitor.cookie(NAME),
        Some(&*before),
        "its cookie says so too"
    );
    let mut thief = visitor.clone();
    thief.set(NAME, &before, "/");
    thief.forget(PROOF);
    assert_eq!(user(&thief.load()), None);
    assert!(is_bound(&visitor));
    // The browser lost the answer with the new cookie: it gets another.
    visitor.set(NAME, &before, "/");
    let response = visitor.request(|session| assert!(session.is_device_bound()));
    assert!(sets(&response.unwrap(), NAME));
    assert!(sets_no_cookie(&visitor.request(|_| {}).unwrap()));
}

#[test]
fn a_move_to_the_backend_and_back_keeps_the_binding_and_is_offered_none() {
    let service = Service::in_memory(StoreBuilder::small_in_cookie);
    let mut visitor = Visitor::bound(&service);
    for _ in 0..3 {
        for change in [grow, shrink] {
            let id = visitor.load().id();
            let response = visitor.visit(change);
            assert!(offered(&response).is_none());
            assert_ne!(visitor.load().id(), id, "it has moved");
            assert!(is_bound(&visitor));
            service.clock.forward(9 * MINUTE);
            visitor.visit(|session| assert_eq!(user(session), Some(42)));
        }
    }
}

#[test]
fn a_move_between_the_login_and_the_binding_is_offered_again() {
    for service in [
        Service::in_memory(StoreBuilder::small_in_cookie),
        Service::in_memory(StoreBuilder::adopt_cookies),
    ] {
        let mut visitor = Visitor::new(&service);
        visitor.request(login).unwrap();
        let response = visitor.request(grow).unwrap();
        if offered(&response).is_none() {
            continue;
        }
        visitor.follow(&response);
        visitor.visit(|session| assert!(session.is_device_bound()));
    }
    let service = Service::in_memory(StoreBuilder::small_in_cookie);
    let mut visitor = Visitor::logged_in(&service);
    let response = visitor.visit(grow);
    assert!(
        offered(&response).is_none(),
        "the request that moves it brought its proof"
    );
    assert!(is_bound(&visitor));
}

#[test]
fn a_change_and_the_binding_are_one_save() {
    for service in [
        Service::new(),
        Service::in_memory(|builder| builder),
        Service::in_memory(StoreBuilder::small_in_cookie),
    ] {
        let mut visitor = Visitor::logged_in(&service);
        visitor.visit(|session| session.insert("n", 1).unwrap());
        assert!(is_bound(&visitor));
        assert_eq!(visitor.load().get("n").unwrap(), Some(1));
    }
}

#[test]
fn a_session_that_fills_its_cookie_has_room_for_its_binding() {
    for service in [Service::new(), Service::in_memory(|builder| builder)] {
        let mut visitor = Visitor::new(&service);
        let response = visitor
            .request(|session| {
                login(session);
                let mut length = 4000;
                while session.insert("x", "x".repeat(length)).is_err() {
                    length -= 1;
                }
            })
            .unwrap();
        visitor.follow(&response);
        visitor.visit(|_| {});
        assert!(is_bound(&visitor));
    }
}

#[test]
fn a_session_from_before_that_is_too_full_to_be_bound_goes_on() {
    let app_key = key();
    let clock = start();
    let before = Service::of(&clock, app_key.clone(), |builder| builder);
    let mut visitor = Visitor::new(&before);
    visitor
        .request(|session| {
            session.log_in().unwrap();
            session.insert("user_id", 42).unwrap();
            let mut length = 4000;
            while session.insert("x", "x".repeat(length)).is_err() {
                length -= 1;
            }
        })
        .unwrap();
    visitor.service = Service::of(&clock, app_key, |builder| {
        builder.device_bound(sealed_session::DeviceBound::default())
    });
    // With the new id it gets an offer.
    let response = visitor.request(|session| {
        session.renew();
        assert_eq!(user(session), Some(42));
    });
    visitor.follow(&response.unwrap());
    for _ in 0..2 {
        visitor.visit(|session| {
            assert_eq!(user(session), Some(42));
            assert!(session.is_device_bound());
        });
    }
    visitor.visit(|session| session.remove("x"));
    visitor.visit(|_| {});
    assert!(is_bound(&visitor));
}
