//! What an operator does, and what a fleet makes of it.

use sealed_session::keys::{Allowed, KeyEvent, KeyState, KeyStoreErrorKind};
use sealed_session::{AppKey, CookieStore, KeyRing, Origin};

use crate::shelf::{Clock, DAY, Fault, HOUR, Process, SECOND, Shelf, builder};

fn by_hand(shelf: &Shelf, clock: &Clock) -> Process {
    Process::start_with(clock, builder(shelf, clock).rotate_by_hand())
}

fn states(process: &Process) -> Vec<KeyState> {
    let keys = process.keys.list().unwrap();
    keys.iter().map(|key| key.state).collect()
}

#[test]
fn a_key_goes_through_its_life() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = by_hand(&shelf, &clock);
    assert_eq!(states(&process), [KeyState::Sealing]);
    let next = process.keys.add().unwrap().unwrap();
    assert_eq!(process.keys.add().unwrap(), None, "one is on its way");
    assert_eq!(states(&process), [KeyState::Sealing, KeyState::Coming]);
    let list = process.keys.list().unwrap();
    assert_eq!(list[0].seals_until, list[1].seals_from);
    assert_eq!(list[1].id, next);
    process.live(DAY + HOUR);
    assert_eq!(process.keys.seals(), Some(next));
    assert_eq!(states(&process), [KeyState::Opening, KeyState::Sealing]);
    process.live(DAY + HOUR);
    assert_eq!(states(&process), [KeyState::Over, KeyState::Sealing]);
    let events = process.events();
    assert!(events.contains(&KeyEvent::Seals(next)));
    assert!(events.contains(&KeyEvent::Closed(list[0].id)));
    process.live(DAY);
    assert!(!process.keys.list().unwrap()[0].has_material);
    assert!(process.events().contains(&KeyEvent::Removed(list[0].id)));
}

#[test]
fn a_waiting_key_is_promoted_and_dates_are_told() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = by_hand(&shelf, &clock);
    let waiting = process.keys.add_waiting().unwrap().unwrap();
    process.live(100 * DAY);
    assert_eq!(states(&process), [KeyState::Sealing, KeyState::Waiting]);
    assert_eq!(process.keys.promote(waiting).unwrap(), clock.now());
    assert_eq!(process.keys.promote(waiting).unwrap(), clock.now());
    assert_eq!(process.keys.seals(), Some(waiting));
}

#[test]
fn a_disabled_key_is_not_promoted_and_one_that_was_seals_once_every_process_has_heard() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let [process, other] = [(); 2].map(|()| by_hand(&shelf, &clock));
    let waiting = process.keys.add_waiting().unwrap().unwrap();
    process.live(100 * DAY);
    process.keys.disable(waiting).unwrap();
    other.poll();
    let told = process.keys.promote(waiting).unwrap_err().to_string();
    assert!(told.ends_with("is disabled, and would not seal; enable it first"));
    // It is in nobody's way.
    assert!(process.keys.add_waiting().unwrap().is_some());

    process.keys.enable(waiting).unwrap();
    let seals_from = process.keys.promote(waiting).unwrap();
    assert!(seals_from > clock.now() + process.keys.promise());
    assert_ne!(
        process.keys.seals(),
        Some(waiting),
        "the other would refuse its tokens"
    );
    other.poll();
    clock.set(seals_from);
    process.poll();
    assert_eq!(process.keys.seals(), Some(waiting));
    assert!(other.keys.opens().contains(&waiting));
}

#[test]
fn a_revocation_reaches_every_node_within_the_promise_and_takes_the_next_key_with_it() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let [one, other] = [(); 2].map(|()| Process::start(&shelf, &clock));
    one.live(89 * DAY);
    other.poll();
    assert_eq!(other.keys.opens().len(), 2);
    let leaked = one.keys.seals().unwrap();
    let store = CookieStore::new(&other.keys);
    let session = store.load_from::<str>([]);
    session.insert("user", 42).unwrap();
    let cookie = store.respond(&session).unwrap();
    let cookie = cookie.set_cookies().next().unwrap().to_owned();
    let revoked = one.keys.revoke(leaked).unwrap();
    assert_eq!((revoked.revoked.len(), revoked.surviving.len()), (2, 0));
    assert_eq!(revoked.dead_by, clock.now() + 30 * SECOND);
    assert_eq!(one.keys.seals(), revoked.fresh);
    for key in one.keys.list().unwrap() {
        // The ends that were planned are in the future.
        assert_eq!((key.seals_until, key.opens_until), (None, None), "{key:?}");
    }
    clock.set(revoked.dead_by);
    other.events();
    other.poll();
    assert_eq!(other.keys.opens(), Vec::from_iter(revoked.fresh));
    let events = other.events();
    for dead in revoked.revoked {
        assert!(events.contains(&KeyEvent::Revoked(dead)));
        assert!(events.contains(&KeyEvent::Closed(dead)));
    }
    let pair = cookie.split(';').next().unwrap();
    assert_ne!(store.load_from([pair]).origin(), Origin::Opened);
    let again = other.keys.revoke(leaked).unwrap();
    assert_eq!((again.revoked.len(), again.fresh), (0, None));
    assert_eq!(again.surviving, other.keys.opens());
}

#[test]
fn a_revocation_of_one_key_says_what_survives() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    process.live(90 * DAY + HOUR);
    let list = process.keys.list().unwrap();
    let revoked = process.keys.revoke_only(list[0].id).unwrap();
    assert_eq!(revoked.revoked, [list[0].id]);
    assert_eq!(revoked.surviving, [list[1].id]);
    assert_eq!(revoked.fresh, None);
}

#[test]
fn a_store_that_went_back_does_not_forget_a_revocation() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let before = shelf.bytes();
    let leaked = process.keys.seals().unwrap();
    process.keys.revoke(leaked).unwrap();
    let after = shelf.bytes();
    shelf.put(before);
    process.poll();
    assert_eq!(shelf.bytes(), after);
    assert!(!process.keys.opens().contains(&leaked));
}

#[test]
fn what_would_do_harm_is_refused_and_says_what_to_do_instead() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let sealing = process.keys.seals().unwrap();
    for (refused, hint) in [
        (
            process.keys.disable(sealing).unwrap_err(),
            "revoke this one",
        ),
        (
            process.keys.drop_key(sealing).unwrap_err(),
            "disable it first",
        ),
        (
            process
                .keys
                .revoke(AppKey::generate().unwrap().id())
                .unwrap_err(),
            "keys list",
        ),
    ] {
        assert_eq!(refused.kind(), KeyStoreErrorKind::Refused);
        assert!(refused.to_string().contains(hint), "{refused}");
    }
    shelf.fault(Fault::Away);
    assert!(process.keys.add().is_err());
    assert_eq!(shelf.writes(), 1);
}

#[test]
fn a_fleet_allows_more_by_hand() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let mut more = Allowed::default();
    more.poll = 60 * SECOND;
    assert!(process.keys.allow(more).unwrap());
    assert!(!process.keys.allow(more).unwrap());
    assert_eq!(process.keys.allowed().poll, 60 * SECOND);
    assert_eq!(process.keys.allowed().longest_lifetime, DAY);
    assert!(builder(&shelf, &clock).poll(60 * SECOND).build().is_ok());
}

#[test]
fn what_this_process_could_not_rotate_with_is_not_allowed() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let before = process.keys.allowed();
    let mut lifetime = before;
    lifetime.longest_lifetime = 3650 * DAY;
    let mut poll = before;
    poll.poll = std::time::Duration::MAX;
    for more in [lifetime, poll] {
        let refused = process.keys.allow(more).unwrap_err();
        assert_eq!(refused.kind(), KeyStoreErrorKind::Refused);
        assert!(
            refused.to_string().starts_with("rotate_every: "),
            "{refused}"
        );
        assert_eq!(process.keys.allowed(), before);
        assert!(
            builder(&shelf, &clock).build().is_ok(),
            "it can start again"
        );
    }
}

#[test]
fn a_key_that_no_ring_can_hold_is_not_taken_over() {
    let random = |length| {
        let mut bytes = vec![0; length];
        getrandom::fill(&mut bytes).unwrap();
        AppKey::from_bytes(&bytes).unwrap()
    };
    let (long, counting) = (
        random(256),
        std::array::from_fn::<u8, 32, _>(|n| n as u8 * 7),
    );
    let counting = AppKey::from_bytes(&counting).unwrap();
    for (key, problem) in [
        (long, "more than the 255 bytes"),
        (counting, "count up or down"),
    ] {
        for ring in [
            KeyRing::new(key.clone()),
            KeyRing::new(random(32)).accept(key.clone()).unwrap(),
        ] {
            let (shelf, clock) = (Shelf::default(), Clock::new());
            let refused = builder(&shelf, &clock).adopt(ring).build().unwrap_err();
            assert_eq!(refused.setting(), "adopt");
            assert!(refused.to_string().contains(problem), "{refused}");
            assert_eq!(shelf.bytes(), None);
        }
    }
    let (shelf, clock) = (Shelf::default(), Clock::new());
    assert!(builder(&shelf, &clock).adopt(random(255)).build().is_ok());
    assert!(
        builder(&shelf, &clock).build().is_ok(),
        "others can read it"
    );
}

#[test]
fn from_app_keys_to_managed_ones_and_nobody_is_logged_out() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let [present, previous] = [(); 2].map(|()| AppKey::generate().unwrap());
    let at = |ring: KeyRing| {
        let clock = clock.clone();
        let store = CookieStore::builder(ring).clock(move || clock.now());
        store.build().unwrap()
    };
    let log_in = |store: &CookieStore| {
        let session = store.load_from::<str>([]);
        session.insert("user", 42).unwrap();
        let cookie = store.respond(&session).unwrap();
        let cookie = cookie.set_cookies().next().unwrap().to_owned();
        cookie.split(';').next().unwrap().to_owned()
    };
    let ring = KeyRing::new(present.clone())
        .accept(previous.clone())
        .unwrap();
    let by_env = at(ring.clone());
    let cookies = [log_in(&by_env), log_in(&at(previous.clone().into()))];
    let adopts = || builder(&shelf, &clock).adopt(ring.clone());
    let process = Process::start_with(&clock, adopts());
    assert_eq!(process.keys.seals(), Some(present.id()));
    let time = clock.clone();
    let managed = CookieStore::builder(&process.keys).clock(move || time.now());
    let managed = managed.build().unwrap();
    for cookie in &cookies {
        assert_eq!(
            managed.load_from([cookie.as_str()]).origin(),
            Origin::Opened
        );
    }
    // A node that still has the variables reads what the others write.
    let cookie = log_in(&managed);
    assert_eq!(by_env.load_from([cookie.as_str()]).origin(), Origin::Opened);
    process.live(2 * DAY);
    Process::start_with(&clock, adopts());
    assert!(!process.keys.opens().contains(&previous.id()));
    process.live(89 * DAY);
    assert_ne!(process.keys.seals(), Some(present.id()));
    process.live(3 * DAY);
    // Left in the variables by mistake, it does not come back.
    let again = Process::start_with(&clock, adopts());
    assert_eq!(again.keys.opens().len(), 1);
}
