//! What counts as use of a session in a backend, when it is written down, and what a request that
//! takes its time does to its own session and to others.

use std::time::{Duration, SystemTime};

use sealed_session::server::{Memory, MemoryStore};
use sealed_session::{Event, Origin, Refusal, Session};

use crate::now::now;
use crate::shelf::{Incident, Shelf};
use crate::site::{Builder, Site};
use crate::support::*;

const TICK: Duration = Duration::from_millis(1);
const IDLE: Duration = Duration::from_secs(30 * 60);

fn idle(builder: Builder) -> Builder {
    builder.idle_timeout(IDLE)
}

/// The moment from which on it is refused, found by asking copies of the service at each minute.
fn ends(site: &Site) -> SystemTime {
    let start = site.clock.now();
    let minutes = (0..).map(|n| start + n * MINUTE);
    let is_over = |at: &SystemTime| {
        site.clock.set(*at);
        site.load().origin() != Origin::Opened
    };
    let end = minutes.clone().find(is_over);
    site.clock.set(start);
    end.unwrap()
}

#[test]
fn a_request_that_takes_longer_than_the_timeout_keeps_its_session_whatever_it_does() {
    type Handler = fn(&Session);
    let handlers: [(&str, Handler); 5] = [
        ("reads", |_| ()),
        ("changes", |session| session.insert("a", 1).unwrap()),
        ("renews", Session::renew),
        ("sets a deadline", |session| {
            let later = session.issued_at().unwrap() + 20 * HOUR;
            session.set_expiry(later).unwrap();
        }),
        ("forgets with the browser", |session| {
            session.remember(false);
        }),
    ];
    for (what, handler) in handlers {
        let mut site = Site::visited(idle);
        site.clock.forward(29 * MINUTE);
        let session = site.load();
        site.clock.forward(40 * MINUTE);
        assert_eq!(site.load().origin(), refused(Refusal::Idle), "{what}");
        handler(&session);
        let response = site.save(&session);
        site.receive(&response);
        let after = site.load();
        assert_eq!(after.origin(), Origin::Opened, "{what}");
        assert!(after.contains("count"), "{what}");
        let end = site.clock.now() + IDLE;
        assert_eq!(after.idle_expires_at(), Some(end), "{what}");
        assert_eq!(ends(&site), end, "the answer was use: {what}");
        let refused_meanwhile = Event::Expired(Refusal::Idle);
        assert!(
            site.events()
                .iter()
                .all(|event| *event == refused_meanwhile)
        );
    }
}

#[test]
fn a_request_that_catches_up_with_another_long_after_the_timeout_keeps_both_changes() {
    let site = Site::visited(idle);
    let session = site.load();
    session.insert("ours", 1).unwrap();
    let other = site.load();
    other.insert("theirs", 1).unwrap();
    site.save(&other);
    site.clock.forward(59 * MINUTE);
    site.save(&session);
    assert_eq!(site.events(), [Event::Replayed]);
    let session = site.load();
    assert_eq!(session.keys(), ["count", "name", "ours", "theirs"]);
}

#[test]
fn a_request_that_takes_longer_than_the_longest_finds_its_session_gone() {
    for (longest, taken, is_kept) in [
        (None, 59, true),
        (None, 60, false),
        (Some(Duration::ZERO), 0, true),
        (Some(5 * HOUR), 5 * 60 - 1, true),
        (Some(5 * HOUR), 5 * 60, false),
        (Some(Duration::MAX), 22 * 60, true),
    ] {
        let site = Site::visited(|builder| match longest {
            Some(longest) => idle(builder).longest_request(longest),
            None => idle(builder),
        });
        site.clock.forward(IDLE - TICK);
        let session = site.load();
        session.insert("a", 1).unwrap();
        site.clock.forward(taken * MINUTE + TICK);
        if longest == Some(Duration::ZERO) {
            site.clock.back(TICK);
        }
        let response = site.save(&session);
        assert!(
            sets_no_cookie(&response),
            "the browser may have another by now"
        );
        assert_eq!(is_kept, session.contains("a"), "{longest:?} {taken}");
    }
}

#[test]
fn a_slow_answer_does_not_take_from_who_clicked_meanwhile() {
    for reads_only in [true, false] {
        let mut site = Site::visited(idle);
        let slow = site.load();
        for _ in 0..9 {
            site.clock.forward(5 * MINUTE);
            site.visit(|_| ());
        }
        let end = ends(&site);
        if !reads_only {
            slow.insert("a", 1).unwrap();
        }
        let response = site.save(&slow);
        assert!(sets_no_cookie(&response));
        assert_eq!(ends(&site), end, "{reads_only}");
    }
}

#[test]
fn a_slow_answer_does_not_shorten_a_deadline_that_was_set_meanwhile() {
    let start = SystemTime::UNIX_EPOCH + 20_000 * DAY;
    let mut site = Site::with(|builder| idle(builder).lifetime(2 * HOUR).max_lifetime(DAY));
    site.visit(|session| session.insert("a", 1).unwrap());
    let slow = site.load();
    site.clock.forward(10 * MINUTE);
    site.visit(|session| session.set_expiry(start + DAY).unwrap());
    site.clock.forward(10 * MINUTE);
    site.save(&slow);
    assert_eq!(ends(&site), site.clock.now() + IDLE);
    assert_eq!(site.load().expires_at(), Some(start + DAY));
}

#[test]
fn what_was_ended_meanwhile_stays_ended_however_slow_a_request_is() {
    for reads_only in [true, false] {
        let mut site = Site::visited(idle);
        let slow = site.load();
        let request = site.request();
        site.visit(Session::destroy);
        site.clock.forward(40 * MINUTE);
        if !reads_only {
            slow.insert("a", 1).unwrap();
        }
        site.save(&slow);
        let copy = now(site.store.load(&request)).unwrap();
        assert_eq!(copy.origin(), refused(Refusal::Gone));
        assert!(site.shelf.slots().is_empty());
    }
}

#[test]
fn nothing_is_sent_that_would_be_refused_if_the_deadline_or_a_cutoff_came_meanwhile() {
    type Handler = fn(&Session);
    let handlers: [(&str, Handler, bool); 3] = [
        ("reads", |_| (), true),
        ("changes", |session| session.insert("a", 1).unwrap(), false),
        ("remembers", |session| session.remember(false), false),
    ];
    for (what, handler, is_nothing) in handlers {
        for by_cutoff in [true, false] {
            let site = Site::visited(idle);
            let session = site.load();
            handler(&session);
            if by_cutoff {
                site.clock.forward(20 * MINUTE);
                site.store.set_not_before(site.clock.now());
            } else {
                site.clock.forward(DAY);
            }
            let response = site.save(&session);
            assert!(
                response
                    .iter()
                    .all(|(name, value)| name != "set-cookie" || {
                        let value = value.to_str().unwrap();
                        value.starts_with("__Host-session=;")
                    }),
                "{what} {by_cutoff}"
            );
            assert_eq!(sets_no_cookie(&response), is_nothing, "{what} {by_cutoff}");
        }
    }
}

#[test]
fn a_stub_that_a_late_answer_sends_is_not_sent_if_the_use_cannot_be_written_down() {
    let site = Site::visited(idle);
    let (first, second) = (site.load(), site.load());
    first.remember(false);
    site.save(&first);
    // Its cookie is due, because another request has changed what the browser is to do with it.
    let late = site.load();
    drop(second);
    site.clock.forward(40 * MINUTE);
    site.shelf.plan("put", Incident::Fails);
    assert!(site.try_save(&late).is_err());
    let response = site.save(&late);
    let request = cookies(&[pair(&response)]);
    let session = now(site.store.load(&request)).unwrap();
    assert_eq!(session.origin(), Origin::Opened);
}

#[test]
fn a_timeout_that_was_changed_judges_by_the_last_use_and_logs_out_nobody_who_was_there() {
    let app_key = key();
    for (before, after, is_kept) in [
        (Some((IDLE, HOUR)), Some((IDLE, 10 * HOUR)), true),
        (Some((IDLE, 10 * HOUR)), Some((IDLE, Duration::ZERO)), true),
        (Some((IDLE, HOUR)), Some((11 * MINUTE, HOUR)), true),
        (Some((IDLE, HOUR)), Some((10 * MINUTE, 9 * HOUR)), false),
        (Some((IDLE, HOUR)), Some((5 * HOUR, HOUR)), true),
        (Some((5 * HOUR, HOUR)), Some((10 * MINUTE, HOUR)), false),
        (Some((IDLE, HOUR)), None, true),
        (None, Some((5 * MINUTE, HOUR)), true),
    ] {
        let set = |terms: Option<(Duration, Duration)>| {
            move |builder: Builder| match terms {
                Some((timeout, longest)) => builder.idle_timeout(timeout).longest_request(longest),
                None => builder,
            }
        };
        let clock = Clock::at(SystemTime::UNIX_EPOCH + 20_000 * DAY);
        let shelf = Shelf::new(&clock);
        let mut site = Site::of(&clock, &shelf, app_key.clone(), set(before));
        site.visit(|session| session.insert("a", 1).unwrap());
        clock.forward(20 * MINUTE);
        site.visit(|_| ());
        clock.forward(10 * MINUTE);
        let mut site = site.rebuilt(app_key.clone(), set(after));
        let session = site.load();
        let what = format!("{before:?} to {after:?}");
        assert_eq!(session.origin() == Origin::Opened, is_kept, "{what}");
        if is_kept {
            let response = site.save(&session);
            site.receive(&response);
            let expected = after.map_or(DAY - IDLE, |(timeout, _)| timeout);
            assert_eq!(ends(&site), clock.now() + expected, "{what}");
            site.calls();
            site.visit(|_| ());
            assert_eq!(site.calls(), ["load"], "{what}");
        }
    }
}

#[test]
fn a_backend_that_keeps_whole_seconds_ends_a_session_a_second_early_at_most_and_writes_no_more() {
    let mut site = Site::visited(idle);
    let key = site.shelf.only_key();
    let coarse = |site: &Site| {
        let slot = site.shelf.slots()[&key].clone();
        let left = site.shelf.ttl(&key);
        let left = Duration::from_secs(left.as_secs() - 1);
        site.shelf.force(key, slot.value.as_str(), left);
    };
    coarse(&site);
    site.calls();
    site.visit(|_| ());
    assert_eq!(site.calls(), ["load"]);
    site.clock.forward(IDLE - SECOND - TICK);
    assert_eq!(site.load().origin(), Origin::Opened);
    site.clock.forward(TICK);
    assert_eq!(site.load().origin(), refused(Refusal::Idle));
}

#[test]
fn who_lists_or_ends_sessions_counts_none_that_was_idle_for_too_long() {
    let mut site = Site::visited(idle);
    let slow = site.load();
    slow.insert("a", 1).unwrap();
    site.clock.forward(IDLE);
    let mut seen = 0;
    let ended = now(site.store.retain(|_| {
        seen += 1;
        true
    }));
    assert_eq!((ended, seen), (Ok(0), 0));
    assert_eq!(now(site.store.end_all_of("somebody else")), Ok(0));
    assert_eq!(site.shelf.slots().len(), 1, "it is not theirs");
    assert_eq!(now(site.store.end_all_of("ada")), Ok(0));
    assert!(
        site.shelf.slots().is_empty(),
        "a slow request might save it"
    );
    site.save(&slow);
    assert!(site.shelf.slots().is_empty());
    assert!(site.load().is_new());
    site.visit(|session| session.insert("a", 1).unwrap());
}

#[test]
fn a_request_that_leaves_its_session_idle_writes_nothing_and_a_change_in_it_counts() {
    let mut site = Site::visited(idle);
    let end = site.clock.now() + IDLE;
    for _ in 0..29 {
        site.clock.forward(MINUTE);
        site.calls();
        let response = site.visit(|session| {
            session.leave_idle();
            assert_eq!(session.get("count"), Ok(Some(1)));
            assert_eq!(session.idle_expires_at(), Some(end));
        });
        assert!(sets_no_cookie(&response));
        assert_eq!(site.calls(), ["load"]);
    }
    let session = site.load();
    session.clone().leave_idle();
    session.insert("seen", 1).unwrap();
    assert_eq!(session.idle_expires_at(), Some(site.clock.now() + IDLE));
    site.save(&session);
    assert_eq!(site.load().get("seen"), Ok(Some(1)));
    assert_eq!(ends(&site), site.clock.now() + IDLE);

    site.clock.forward(29 * MINUTE);
    let session = site.load();
    session.leave_idle();
    site.clock.forward(MINUTE);
    site.save(&session);
    assert_eq!(site.load().origin(), refused(Refusal::Idle));
}

#[test]
fn without_an_idle_timeout_a_request_cannot_leave_a_session_idle() {
    let app_key = key();
    let clock = Clock::at(SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let shelf = Shelf::new(&clock);
    let mut site = Site::of(&clock, &shelf, app_key.clone(), |builder| builder);
    site.visit(|session| session.insert("a", 1).unwrap());
    let new = key();
    let mut site = site.rebuilt(ring(&[&new, &app_key]), |builder| builder);
    site.visit(|session| {
        session.leave_idle();
        assert_eq!(session.idle_expires_at(), None);
    });
    assert_eq!(site.events(), [Event::Resealed]);
}

#[test]
fn sessions_that_stay_in_their_cookies_go_by_the_same_rules() {
    for adopts in [true, false] {
        let mut site = Site::with(|builder| {
            let builder = idle(builder);
            if adopts {
                builder.adopt_cookies()
            } else {
                builder.small_in_cookie()
            }
        });
        site.visit(|session| session.insert("a", 1).unwrap());
        site.clock.forward(20 * MINUTE);
        let session = site.load();
        site.clock.forward(40 * MINUTE);
        let response = site.save(&session);
        assert_eq!(sets_no_cookie(&response), adopts, "{adopts}");
        site.receive(&response);
        assert_eq!(ends(&site), site.clock.now() + IDLE);
        site.clock.forward(20 * MINUTE);
        assert!(sets_no_cookie(&site.visit(Session::leave_idle)));
        assert_eq!(ends(&site), site.clock.now() + 10 * MINUTE);
    }
}

#[test]
fn one_handle_that_is_saved_all_day_takes_no_more_than_at_its_first_saves() {
    const SIZE: usize = 20_000;
    let memory = Memory::new();
    let builder = MemoryStore::builder(key(), memory).clock(|| SystemTime::UNIX_EPOCH + DAY);
    let store = builder.build().unwrap();
    let session = now(store.load(&http::HeaderMap::new())).unwrap();
    let save = |n: usize| {
        session
            .insert("large", ["a", "b", "c"][n % 3].repeat(SIZE))
            .unwrap();
        session.flash(&*format!("note {n}"), n).unwrap();
        session.remove(&*format!("note {n}"));
        let taken = format!("note {}", n.wrapping_sub(1));
        assert_eq!(session.take_flash::<usize>(&*taken), Ok(None));
        let mut response = http::HeaderMap::new();
        now(store.save(&session, &mut response)).unwrap();
        assert_eq!(session.get::<String>("large").unwrap().unwrap().len(), SIZE);
        session.clear();
    };
    (0..20).for_each(save);
    let early = allocation_counter::measure(|| save(20));
    let many = allocation_counter::measure(|| (21..200).for_each(save));
    let late = allocation_counter::measure(|| save(200));
    assert!(many.bytes_current.abs() < 1000, "{many:?}");
    assert!(
        many.bytes_max < early.bytes_max + 1000,
        "{many:?} {early:?}"
    );
    assert_eq!(late.count_total, early.count_total, "{late:?} {early:?}");
}
