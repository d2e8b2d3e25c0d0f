//! Keys that look after themselves, while sessions are bound.

use std::collections::BTreeSet;

use sealed_session::{DeviceBound, ManagedKeys, Refusal};

use crate::client::*;
use crate::shelf::Shelf;
use crate::support::*;

/// A service, and the keys that it follows.
fn start_both() -> (Service, ManagedKeys) {
    let clock = start();
    let asked = clock.clone();
    let keys = ManagedKeys::builder(Shelf::default())
        .without_thread()
        .rotate_every(20 * DAY)
        .clock(move || asked.now())
        .build()
        .unwrap();
    let service = Service::of(&clock, &keys, |builder| {
        builder
            .lifetime(100 * DAY)
            .device_bound(DeviceBound::default())
    });
    (service, keys)
}

fn is_refused_without_proof(visitor: &Visitor) -> bool {
    let mut thief = visitor.clone();
    thief.forget(PROOF);
    thief.load().origin() == refused(Refusal::Unproven)
}

#[test]
fn a_session_stays_bound_while_keys_rotate_by_themselves() {
    let (service, keys) = start_both();
    let mut visitor = Visitor::bound(&service);
    let mut sealed_under = BTreeSet::new();
    for hour in 0..99 * 24 {
        service.clock.forward(HOUR);
        keys.refresh().unwrap();
        sealed_under.extend(keys.seals());
        if hour % 7 == 0 {
            visitor.visit(|session| {
                assert_eq!(user(session), Some(42), "{hour}");
                assert!(session.is_device_bound(), "{hour}");
            });
            assert!(is_refused_without_proof(&visitor), "{hour}");
        }
    }
    assert_eq!(sealed_under.len(), 5, "one, and four more in 99 days");
    assert!(visitor.bound.is_some());
}

#[test]
fn a_browser_that_was_away_for_weeks_proves_its_key_under_the_next_ones() {
    let (service, keys) = start_both();
    let mut visitor = Visitor::bound(&service);
    for _ in 0..90 * 24 {
        service.clock.forward(HOUR);
        keys.refresh().unwrap();
    }
    visitor.visit(|session| assert_eq!(user(session), Some(42)));
    assert!(is_refused_without_proof(&visitor));
}

#[test]
fn a_revoked_key_ends_bound_sessions_and_the_next_login_is_bound_again() {
    let (service, keys) = start_both();
    let mut visitor = Visitor::bound(&service);
    keys.revoke(keys.seals().unwrap()).unwrap();
    let thief = visitor.clone();
    assert_eq!(user(&thief.load()), None);
    visitor.forget(PROOF);
    visitor.visit(|session| assert_eq!(user(session), None));
    visitor.visit(login);
    visitor.visit(|session| {
        assert_eq!(user(session), Some(42));
        assert!(session.is_device_bound());
    });
    assert!(is_refused_without_proof(&visitor));
    assert_eq!(user(&thief.load()), None);
}
