//! Days on which the store or a process does what it should not: each has an outcome in
//! docs/keys.md.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sealed_session::keys::{KeyEvent, KeyStore, KeyStoreError, KeyStoreErrorKind, Zeroizing};
use sealed_session::{CookieStore, ManagedKeys};

use crate::shelf::{Clock, DAY, Fault, HOUR, MINUTE, Process, SECOND, Shelf, builder};

/// A ring whose key has been rotated once, and the text before it was.
fn rotated(shelf: &Shelf, clock: &Clock) -> (Process, Vec<u8>) {
    let process = Process::start(shelf, clock);
    let before = shelf.bytes().unwrap();
    process.live(91 * DAY);
    process.events();
    (process, before)
}

#[test]
fn a_store_that_is_away_at_the_start_is_an_error_that_names_it() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    shelf.fault(Fault::Away);
    let error = builder(&shelf, &clock).build().unwrap_err();
    assert_eq!(error.to_string(), "shelf: it does not answer");
}

#[test]
fn a_store_that_goes_away_later_changes_nothing_and_is_told_once() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let before = (process.keys.seals(), process.keys.opens());
    process.events();
    shelf.fault(Fault::Away);
    for _ in 0..3 {
        clock.forward(MINUTE);
        let error = process.keys.refresh().unwrap_err();
        assert_eq!(error.kind(), KeyStoreErrorKind::Unavailable);
        assert_eq!((process.keys.seals(), process.keys.opens()), before);
    }
    assert_eq!(process.events(), [KeyEvent::StoreFailed]);
    shelf.fault(Fault::None);
    process.poll();
    assert_eq!(process.events(), [KeyEvent::Recovered]);
}

#[test]
fn what_was_lost_is_put_back_whole() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let (process, before) = rotated(&shelf, &clock);
    let good = shelf.bytes();
    for lost in [None, Some(before)] {
        shelf.put(lost);
        process.poll();
        assert_eq!(shelf.bytes(), good);
        assert_eq!(process.events(), [KeyEvent::Restored]);
    }
}

#[test]
fn a_process_that_meets_an_emptied_store_first_makes_a_key_and_joins_the_others() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let (old, _) = rotated(&shelf, &clock);
    let sealing = old.keys.seals();
    shelf.put(None);
    let new = Process::start(&shelf, &clock);
    let made = new.keys.seals().unwrap();
    assert_eq!(
        new.events(),
        [KeyEvent::Created(made), KeyEvent::Seals(made)]
    );
    old.poll();
    new.poll();
    for process in [&old, &new] {
        assert!(process.keys.opens().contains(&made));
        assert!(process.keys.opens().contains(&sealing.unwrap()));
    }
    assert_eq!(old.keys.seals(), new.keys.seals());
}

#[test]
fn a_ring_that_must_exist_is_never_made() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let error = builder(&shelf, &clock).must_exist().build().unwrap_err();
    assert!(
        error.to_string().contains("there is no ring of keys"),
        "{error}"
    );
    assert_eq!(shelf.bytes(), None);
    Process::start(&shelf, &clock);
    assert!(builder(&shelf, &clock).must_exist().build().is_ok());
}

#[test]
fn what_is_torn_or_altered_is_an_error_at_the_start_and_later_the_last_good_ring_stays() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let (good, keys) = (shelf.text(), process.keys.opens());
    process.events();
    for end in 0..good.len() {
        shelf.put(Some(good.as_bytes()[..end].to_vec()));
        let error = process.keys.refresh().unwrap_err();
        assert_eq!(error.kind(), KeyStoreErrorKind::Damaged, "{end}");
        assert!(error.to_string().starts_with("shelf: line "), "{error}");
        assert!(builder(&shelf, &clock).build().is_err());
        assert_eq!(process.keys.opens(), keys);
    }
    assert_eq!(process.events(), [KeyEvent::StoreDamaged]);
    assert_eq!(shelf.writes(), 1, "nothing was written over it");
    shelf.put(Some(good.into_bytes()));
    process.poll();
    assert_eq!(process.events(), [KeyEvent::Recovered]);
}

#[test]
fn two_processes_that_rotate_at_once_make_one_key() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let fleet = [(); 10].map(|()| Process::start(&shelf, &clock));
    assert_eq!(shelf.writes(), 1);
    clock.forward(89 * DAY);
    std::thread::scope(|scope| {
        for process in &fleet {
            scope.spawn(|| process.poll());
        }
    });
    assert_eq!(shelf.writes(), 2);
    assert_eq!(fleet[0].keys.opens().len(), 2);
}

#[test]
fn ten_processes_that_start_at_once_make_one_key() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let ids: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
        let start = || Process::start(&shelf, &clock).keys.seals();
        let started = [(); 10].map(|()| scope.spawn(start));
        started.map(|it| it.join().unwrap()).into_iter().collect()
    });
    assert_eq!((ids.len(), shelf.writes()), (1, 1));
}

#[test]
fn an_answer_that_is_lost_never_makes_a_second_key() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    clock.forward(89 * DAY);
    shelf.fault(Fault::AnswerLost);
    assert!(process.keys.refresh().is_err());
    assert_eq!(shelf.writes(), 2);
    shelf.fault(Fault::None);
    process.poll();
    assert_eq!((shelf.writes(), process.keys.opens().len()), (2, 2));
    // Nor is the key that arrived taken for the one after it.
    process.live(90 * DAY);
    assert!(shelf.text().contains("end 3"));

    // It was not only the answer: what was written is gone too. The same key comes again.
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let before = shelf.bytes();
    clock.forward(89 * DAY);
    shelf.fault(Fault::AnswerLost);
    assert!(process.keys.refresh().is_err());
    let first = shelf.text();
    shelf.put(before);
    shelf.fault(Fault::None);
    clock.forward(MINUTE);
    process.poll();
    let ids = |text: &str| -> Vec<String> {
        let keys = text.lines().filter(|line| line.starts_with("key "));
        keys.map(|line| line[..12].to_owned()).collect()
    };
    assert_eq!(ids(&shelf.text()), ids(&first));
}

#[test]
fn a_full_disk_delays_a_rotation_and_breaks_nothing() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let sealing = process.keys.seals();
    process.events();
    clock.forward(89 * DAY);
    shelf.fault(Fault::Full);
    let error = process.keys.refresh().unwrap_err();
    assert_eq!(error.kind(), KeyStoreErrorKind::Full);
    clock.forward(10 * DAY);
    assert!(process.keys.refresh().is_err());
    assert_eq!(process.keys.seals(), sealing);
    assert_eq!(process.events(), [KeyEvent::StoreFailed]);
    shelf.fault(Fault::None);
    process.poll();
    process.live(DAY + HOUR);
    assert_ne!(process.keys.seals(), sealing);
}

#[test]
fn a_clock_that_is_a_year_off_writes_nothing_and_destroys_nothing() {
    for is_ahead in [true, false] {
        let (shelf, clock) = (Shelf::default(), Clock::new());
        clock.forward(1000 * DAY);
        let (healthy, _) = rotated(&shelf, &clock);
        let (text, sealing) = (shelf.text(), healthy.keys.seals());
        let wrong = Clock::new();
        if is_ahead {
            wrong.set(clock.now() + 365 * DAY);
        } else {
            wrong.set(clock.now() - 365 * DAY);
        }
        let process = Process::start(&shelf, &wrong);
        process.poll();
        assert_eq!(
            process
                .events()
                .iter()
                .filter(|event| **event == KeyEvent::ClockImplausible)
                .count(),
            1
        );
        assert_eq!(shelf.text(), text, "{is_ahead}");
        if is_ahead {
            assert_eq!(process.keys.seals(), sealing);
        }
        // What it knows, it may put back, and whole.
        shelf.put(None);
        process.poll();
        assert_eq!(shelf.text(), text);
        let other = Shelf::default();
        Process::start(&other, &clock);
        shelf.put(other.bytes());
        process.poll();
        let there = shelf.text();
        let mut keys = text.lines().filter(|line| line.starts_with("key "));
        assert!(keys.all(|key| there.lines().any(|line| line == key)));
    }
}

#[test]
fn what_a_clock_some_weeks_ahead_has_removed_comes_back_and_stays() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let healthy = Process::start(&shelf, &clock);
    healthy.live(90 * DAY + HOUR);
    let good = shelf.text();
    let ahead = Clock::new();
    ahead.set(clock.now() + 20 * DAY);
    let ahead = Process::start(&shelf, &ahead);
    assert_ne!(shelf.text(), good);
    healthy.poll();
    assert_eq!(shelf.text(), good);
    let writes = shelf.writes();
    for _ in 0..3 {
        ahead.poll();
        healthy.poll();
    }
    assert_eq!((shelf.text(), shelf.writes()), (good, writes));
    let removed = |event: &KeyEvent| matches!(event, KeyEvent::Removed(_));
    assert_eq!(ahead.events().into_iter().filter(removed).count(), 1);
}

#[test]
fn what_one_process_has_removed_no_other_brings_back() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let first = Process::start(&shelf, &clock);
    let old = first.keys.seals().unwrap();
    let later = builder(&shelf, &clock).remove_after(30 * DAY);
    let later = Process::start_with(&clock, later);
    while !first.events().contains(&KeyEvent::Removed(old)) {
        later.poll();
        clock.forward(HOUR);
        first.poll();
    }
    let without = shelf.text();
    later.events();
    later.poll();
    assert_eq!(shelf.text(), without);
    assert_eq!(later.events(), []);
}

#[test]
fn a_clock_that_differs_from_the_stores_own_rotates_nothing() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let stores = Clock::new();
    shelf.time(&stores);
    clock.forward(89 * DAY);
    process.poll();
    assert_eq!(process.keys.opens().len(), 1);
    assert!(process.events().contains(&KeyEvent::ClockImplausible));
    stores.forward(89 * DAY - MINUTE);
    process.poll();
    assert_eq!(process.keys.opens().len(), 2);
}

#[test]
fn a_process_that_was_suspended_for_a_week_catches_up_with_its_first_poll() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let other = Process::start(&shelf, &clock);
    other.live(88 * DAY);
    let suspended = Process::start(&shelf, &clock);
    other.live(7 * DAY);
    suspended.poll();
    assert_eq!(suspended.keys.seals(), other.keys.seals());
    assert_eq!(suspended.keys.opens(), other.keys.opens());
}

#[test]
fn a_process_that_is_cut_off_during_a_rotation_ends_to_seal_before_it_does_harm() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    process.live(89 * DAY);
    assert_eq!(
        process.keys.opens().len(),
        2,
        "it has seen the next key, once"
    );
    process.events();
    shelf.fault(Fault::Away);
    let old = process.keys.seals();
    clock.forward(DAY + 54 * SECOND);
    assert!(process.keys.refresh().is_err());
    assert_eq!(process.keys.seals(), old);
    clock.forward(2 * SECOND);
    assert!(process.keys.refresh().is_err());
    assert_eq!(process.keys.seals(), None);
    assert_eq!(process.events(), [KeyEvent::StoreFailed, KeyEvent::NoKey]);
    clock.forward(DAY + MINUTE + 20 * SECOND);
    assert!(process.keys.refresh().is_err());
    assert_eq!(
        process.keys.opens().len(),
        1,
        "the old key is over, store or no store"
    );
    shelf.fault(Fault::None);
    process.poll();
    assert!(process.keys.seals().is_some_and(|key| Some(key) != old));
}

#[test]
fn unequal_settings_are_joined_or_refused() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let often = builder(&shelf, &clock).rotate_every(10 * DAY);
    let often = Process::start_with(&clock, often);
    let seldom = Process::start_with(&clock, builder(&shelf, &clock).rotate_every(50 * DAY));
    let by_hand = Process::start_with(&clock, builder(&shelf, &clock).rotate_by_hand());
    let mut sealed_under = std::collections::BTreeSet::new();
    for _ in 0..29 {
        for process in [&by_hand, &seldom, &often] {
            clock.forward(8 * HOUR);
            process.poll();
        }
        by_hand.poll();
        seldom.poll();
        sealed_under.extend(by_hand.keys.seals());
        assert_eq!(by_hand.keys.seals(), often.keys.seals());
    }
    assert_eq!(sealed_under.len(), 3, "the shortest of them counts");

    let slow = builder(&shelf, &clock)
        .poll(21 * SECOND)
        .build()
        .unwrap_err();
    assert_eq!(slow.setting(), "poll");
    assert!(builder(&shelf, &clock).poll(SECOND).build().is_ok());
    let far = builder(&shelf, &clock).propagation(MINUTE).build().unwrap();
    assert_eq!(far.allowed().propagation, MINUTE);
    often.poll();
    assert_eq!(often.keys.allowed().propagation, MINUTE);
    let hasty = builder(&shelf, &clock).rotate_every(6 * MINUTE).build();
    assert_eq!(hasty.unwrap_err().setting(), "rotate_every");
    let restless = builder(&shelf, &clock).max_staleness(39 * SECOND).build();
    assert_eq!(restless.unwrap_err().setting(), "max_staleness");
}

#[test]
fn a_ring_of_a_newer_format_is_followed_and_left_alone() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let newer = shelf
        .text()
        .replace("sealed-session keys 1", "sealed-session keys 2")
        .replace("end 1", "colour green\nend 1");
    shelf.put(Some(newer.clone().into_bytes()));
    process.events();
    process.live(100 * DAY);
    assert_eq!(process.events(), [KeyEvent::NewerFormat]);
    let fresh = Process::start(&shelf, &clock);
    assert_eq!(fresh.keys.seals(), process.keys.seals());
    assert_eq!(
        process.keys.add().unwrap_err().kind(),
        KeyStoreErrorKind::Refused
    );
    assert_eq!(shelf.text(), newer);
}

#[test]
fn the_ring_of_another_application_in_the_place_of_ours_is_refused_when_it_does_not_fit() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let ours = Process::start(&shelf, &clock);
    let many = Shelf::default();
    for _ in 0..16 {
        let other = Shelf::default();
        let one = Process::start(&other, &clock);
        drop(one);
        let Some(text) = many.bytes().map(|_| many.text()) else {
            many.put(other.bytes());
            continue;
        };
        let line = other.text().lines().nth(7).unwrap().to_owned();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.insert(lines.len() - 1, line);
        let count = lines.len() - 8;
        *lines.last_mut().unwrap() = format!("end {count}");
        lines[7..7 + count].sort();
        many.put(Some((lines.join("\n") + "\n").into_bytes()));
    }
    let (before, theirs) = (ours.keys.opens(), many.bytes());
    shelf.put(theirs.clone());
    let error = ours.keys.refresh().unwrap_err();
    assert_eq!(error.kind(), KeyStoreErrorKind::Damaged, "{error}");
    assert_eq!((ours.keys.opens(), shelf.bytes()), (before, theirs));
}

/// A key store whose code is the application's, and not right.
struct Panicking(Shelf, Arc<AtomicBool>);

impl KeyStore for Panicking {
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        assert!(!self.1.load(Relaxed), "a panic of the store");
        self.0.load()
    }

    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError> {
        self.0.replace(there, with)
    }

    fn describe(&self) -> String {
        "panicking".to_owned()
    }

    fn is_private(&self) -> bool {
        true
    }
}

#[test]
fn a_store_that_panics_is_one_that_fails_and_the_process_goes_on() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let panics = Arc::new(AtomicBool::new(false));
    let store = || Panicking(shelf.clone(), Arc::clone(&panics));
    let keys = ManagedKeys::builder(store()).without_thread();
    let process = Process::start_with(&clock, keys);
    process.events();
    panics.store(true, Relaxed);
    let error = process.keys.refresh().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("panicking: its code has panicked")
    );
    assert_eq!(process.events(), [KeyEvent::StoreFailed]);
    assert!(ManagedKeys::builder(store()).build().is_err());
    panics.store(false, Relaxed);
    process.poll();
    assert_eq!(process.events(), [KeyEvent::Recovered]);
}

#[test]
fn what_the_store_says_counts_even_if_nothing_can_be_written() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let keys = builder(&shelf, &clock).max_staleness(MINUTE);
    let process = Process::start_with(&clock, keys);
    process.live(91 * DAY);
    let by_hand = builder(&shelf, &clock).rotate_by_hand().build().unwrap();
    let old = *process
        .keys
        .opens()
        .iter()
        .find(|id| Some(**id) != process.keys.seals())
        .unwrap();
    clock.forward(89 * DAY);
    by_hand.revoke_only(old).unwrap();
    // Now the next key is due, and there is no room for it.
    shelf.fault(Fault::Full);
    assert_eq!(
        process.keys.refresh().unwrap_err().kind(),
        KeyStoreErrorKind::Full
    );
    assert!(process.events().contains(&KeyEvent::Revoked(old)));
    let store = CookieStore::new(&process.keys);
    for _ in 0..5 {
        clock.forward(20 * SECOND);
        assert!(process.keys.refresh().is_err());
    }
    let session = store.load_from::<str>([]);
    session.insert("user", 42).unwrap();
    assert!(store.respond(&session).is_ok(), "it was read a moment ago");
}

#[test]
fn settings_at_the_ends_of_time_are_refused_or_never_come_due() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let never = builder(&shelf, &clock)
        .rotate_every(Duration::MAX)
        .make_ahead(Duration::MAX)
        .remove_after(Duration::MAX);
    let process = Process::start_with(&clock, never);
    process.live(10 * DAY);
    assert_eq!(process.keys.list().unwrap().len(), 1);
    let seldom = builder(&shelf, &clock).poll(Duration::MAX);
    let refused = seldom.max_staleness(MINUTE).build().unwrap_err();
    assert_eq!(refused.setting(), "max_staleness");
}
