//! What is left of the backend's expiry tells when a session was used; the deadline is inside the
//! seal.

use std::time::Duration;

use sealed_session::{ErrorKind, Origin, Refusal};

use crate::now::now;
use crate::site::Site;
use crate::support::*;

const TICK: Duration = Duration::from_millis(1);

#[test]
fn no_value_outlives_the_deadline_nor_the_idle_timeout() {
    let site = Site::visited(|builder| builder);
    assert_eq!(site.shelf.ttl(&site.shelf.only_key()), DAY);
    let site = Site::visited(|builder| builder.idle_timeout(HOUR));
    let key = site.shelf.only_key();
    assert_eq!(site.shelf.ttl(&key), 2 * HOUR, "an hour for requests");
    site.clock.forward(HOUR - TICK);
    assert_eq!(site.load().origin(), Origin::Opened);
    site.clock.forward(TICK);
    assert_eq!(site.load().origin(), refused(Refusal::Idle));
    site.clock.forward(HOUR - TICK);
    assert_eq!(site.load().origin(), refused(Refusal::Idle));
    site.clock.forward(TICK);
    assert_eq!(site.load().origin(), refused(Refusal::Gone));
}

#[test]
fn use_is_told_to_the_backend_when_a_tenth_of_the_timeout_has_passed() {
    let mut site = Site::visited(|builder| builder.idle_timeout(HOUR));
    let key = site.shelf.only_key();
    site.clock.forward(6 * MINUTE - TICK);
    assert!(sets_no_cookie(&site.visit(|_| ())));
    assert_eq!(site.calls(), ["load"]);
    site.clock.forward(TICK);
    let response = site.visit(|_| ());
    assert!(sets_no_cookie(&response), "the browser need not know");
    assert_eq!(site.calls(), ["load", "touch"]);
    assert_eq!(site.shelf.ttl(&key), 2 * HOUR);
    site.visit(|_| ());
    assert_eq!(site.calls(), ["load"], "and then counts anew");

    site.clock.forward(10 * MINUTE);
    site.visit(|session| session.insert("a", 1).unwrap());
    assert_eq!(site.calls(), ["load", "put"], "a put needs no touch");
    assert_eq!(site.shelf.ttl(&key), 2 * HOUR);
}

#[test]
fn no_use_extends_the_deadline() {
    let mut site = Site::visited(|builder| builder.idle_timeout(5 * HOUR));
    let (start, deadline) = (site.clock.now(), site.load().expires_at());
    for _ in 0..7 {
        site.clock.forward(3 * HOUR);
        site.visit(|_| ());
        assert_eq!(site.load().expires_at(), deadline);
    }
    site.calls();
    site.visit(|_| ());
    assert_eq!(site.calls(), ["load"], "it cannot get idle any more");
    site.clock.set(start + DAY - TICK);
    assert_eq!(site.load().origin(), Origin::Opened);
    let request = site.request();
    site.clock.forward(TICK);
    let session = now(site.store.load(&request)).unwrap();
    assert_eq!(session.origin(), refused(Refusal::Expired));
}

#[test]
fn a_stub_that_browsers_would_forget_before_its_session_ends_is_sent_anew_in_time() {
    const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);
    for idle in [None, Some(500 * DAY)] {
        let mut site = Site::visited(|builder| {
            let builder = builder.lifetime(1000 * DAY);
            match idle {
                Some(timeout) => builder.idle_timeout(timeout),
                None => builder,
            }
        });
        let (start, id) = (site.clock.now(), site.load().id());
        site.clock.forward(40 * DAY - TICK);
        assert!(sets_no_cookie(&site.visit(|_| ())), "rarely");
        site.clock.forward(TICK);
        assert_eq!(max_age(&site.visit(|_| ())), Some(LONGEST));
        assert!(sets_no_cookie(&site.visit(|_| ())), "and then counts anew");
        assert!(
            !site.calls().contains(&"put"),
            "the values are as they were"
        );
        // A change alone does not need another stub.
        site.clock.forward(39 * DAY);
        let response = site.visit(|session| session.insert("a", 1).unwrap());
        assert!(sets_no_cookie(&response));
        site.clock.forward(DAY);
        let response = site.visit(|session| session.insert("a", 2).unwrap());
        assert_eq!(max_age(&response), Some(LONGEST), "a change brings it too");
        site.clock.set(start + 479 * DAY);
        assert_eq!(max_age(&site.visit(|_| ())), Some(LONGEST));
        site.clock.set(start + 878 * DAY);
        assert_eq!(max_age(&site.visit(|_| ())), Some(122 * DAY));
        site.clock.set(start + 970 * DAY);
        let session = site.load();
        assert_eq!((session.id(), session.get("a")), (id, Ok(Some(2))));
        assert!(
            sets_no_cookie(&site.save(&session)),
            "it is kept to the end"
        );
    }
}

#[test]
fn a_backend_that_forgets_nothing_keeps_no_session_beyond_its_deadline() {
    let site = Site::visited(|builder| builder);
    let key = site.shelf.only_key();
    let value = site.shelf.slots()[&key].value.clone();
    let request = site.request();
    site.clock.forward(DAY);
    site.shelf.force(key, value.as_str(), DAY);
    let session = now(site.store.load(&request)).unwrap();
    assert_eq!(session.origin(), refused(Refusal::Expired));
}

#[test]
fn a_timeout_that_is_raised_lowered_introduced_or_dropped_acts_with_the_next_use() {
    let app_key = key();
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let shelf = crate::shelf::Shelf::new(&clock);
    let mut site = Site::of(&clock, &shelf, app_key.clone(), |builder| builder);
    site.visit(|session| session.insert("a", 1).unwrap());
    let key = shelf.only_key();
    for (timeout, left) in [
        (Some(HOUR), 2 * HOUR),
        (Some(2 * HOUR), 3 * HOUR),
        (Some(HOUR), 2 * HOUR),
        (None, DAY),
    ] {
        let mut site = site.rebuilt(app_key.clone(), |builder| match timeout {
            Some(timeout) => builder.idle_timeout(timeout),
            None => builder,
        });
        site.visit(|_| ());
        assert_eq!(site.calls(), ["load", "put"], "{timeout:?}");
        assert_eq!(shelf.ttl(&key), left, "{timeout:?}");
        site.visit(|_| ());
        assert_eq!(site.calls(), ["load"], "{timeout:?}");
    }
}

#[test]
fn without_an_idle_timeout_nothing_is_touched_up_to_the_last_moment() {
    let mut site = Site::visited(|builder| builder);
    for before in [12 * HOUR, HOUR, 10 * SECOND, TICK] {
        let deadline = site.load().expires_at().unwrap();
        site.clock.set(deadline - before);
        site.calls();
        site.visit(|_| ());
        assert_eq!(site.calls(), ["load"], "{before:?} before the end");
    }
}

#[test]
fn a_touch_that_fails_does_not_fail_the_request() {
    let mut site = Site::visited(|builder| builder.idle_timeout(HOUR));
    site.clock.forward(30 * MINUTE);
    site.shelf.plan("touch", crate::shelf::Incident::Fails);
    site.visit(|_| ());
    assert_eq!(site.events(), [sealed_session::Event::BackendFailed]);
    assert_eq!(site.shelf.ttl(&site.shelf.only_key()), 90 * MINUTE);
}

#[test]
fn lowering_the_longest_lifetime_acts_at_once() {
    let app_key = key();
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let shelf = crate::shelf::Shelf::new(&clock);
    let mut site = Site::of(&clock, &shelf, app_key.clone(), |builder| builder);
    site.visit(|session| session.insert("a", 1).unwrap());
    let site = site.rebuilt(app_key, |builder| builder.max_lifetime(HOUR));
    clock.forward(HOUR - TICK);
    let session = site.load();
    session.insert("a", 2).unwrap();
    site.save(&session);
    assert_eq!(shelf.ttl(&shelf.only_key()), TICK);
    clock.forward(TICK);
    assert_eq!(site.load().origin(), refused(Refusal::Expired));
    session.insert("a", 3).unwrap();
    assert!(is_removal(set_cookie(&site.save(&session))));
    assert!(shelf.slots().is_empty());
}

#[test]
fn a_deadline_that_is_set_is_the_backends_too() {
    let mut site = Site::with(|builder| builder.lifetime(HOUR).max_lifetime(DAY));
    let start = site.clock.now();
    site.visit(|session| {
        session.insert("a", 1).unwrap();
        session.set_expiry(start + 2 * HOUR).unwrap();
    });
    let key = site.shelf.only_key();
    assert_eq!(site.shelf.ttl(&key), 2 * HOUR);
    let session = site.load();
    let error = session.set_expiry(start + DAY + TICK).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLongLived);
    let response = site.visit(|session| session.set_expiry(start + DAY).unwrap());
    assert_eq!(max_age(&response), Some(DAY));
    assert_eq!(site.shelf.ttl(&key), DAY);
    assert_eq!(site.load().expires_at(), Some(start + DAY));
}

#[test]
fn a_cutoff_ends_sessions_in_the_backend_before_it_is_asked() {
    let site = Site::visited(|builder| builder);
    let session = site.load();
    session.insert("late", 1).unwrap();
    site.store.clone().set_not_before(site.clock.now() + TICK);
    site.calls();
    assert_eq!(site.load().origin(), refused(Refusal::Cutoff));
    assert_eq!(site.calls(), [""; 0]);
}

#[test]
fn a_cutoff_or_a_shorter_lifetime_ends_a_session_that_a_save_catches_up_with() {
    let site = Site::visited(|builder| builder);
    let (store, later) = (site.store.clone(), site.clock.now() + TICK);
    site.overtaken("put", move |session| {
        session.insert("theirs", 1).unwrap();
        store.set_not_before(later);
    });
    let session = site.load();
    session.insert("ours", 1).unwrap();
    assert!(sets_no_cookie(&site.save(&session)));
    assert_eq!(site.events(), [sealed_session::Event::Lost]);
    assert!(session.is_empty());
}

#[test]
fn a_session_of_a_clock_that_is_ahead_is_refused() {
    let site = Site::visited(|builder| builder);
    site.clock.back(60 * SECOND);
    assert_eq!(site.load().origin(), Origin::Opened);
    site.clock.back(TICK);
    assert_eq!(site.load().origin(), refused(Refusal::Future));
}

#[test]
fn the_shortest_lifetime_is_a_millisecond_in_the_backend_too() {
    let mut site = Site::with(|builder| builder.lifetime(TICK));
    site.visit(|session| session.insert("a", 1).unwrap());
    assert_eq!(site.shelf.ttl(&site.shelf.only_key()), TICK);
    site.clock.forward(TICK);
    assert!(site.shelf.slots().is_empty());
    assert_eq!(site.load().origin(), refused(Refusal::Expired));
}
