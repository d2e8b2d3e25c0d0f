//! Stores and sealers follow managed keys.

use sealed_session::keys::KeyEvent;
use sealed_session::{
    CookieStore, Event, KeyRing, ManagedKeys, Origin, Refusal, SealError, Sealer,
};

use crate::shelf::{Clock, DAY, Fault, HOUR, MINUTE, Process, SECOND, Shelf, builder};

/// A cookie's pair for a user.
fn log_in(store: &CookieStore) -> String {
    let session = store.load_from::<str>([]);
    session.insert("user", 42).unwrap();
    let outgoing = store.respond(&session).unwrap();
    let cookie = outgoing.set_cookies().next().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn origin(store: &CookieStore, cookie: &str) -> Origin {
    store.load_from([cookie]).origin()
}

fn store(keys: &ManagedKeys, clock: &Clock) -> CookieStore {
    let clock = clock.clone();
    CookieStore::builder(keys)
        .clock(move || clock.now())
        .build()
        .unwrap()
}

#[test]
fn a_store_made_in_one_line_seals_and_opens() {
    let process = Process::start(&Shelf::default(), &Clock::new());
    let store = CookieStore::new(&process.keys);
    assert_eq!(origin(&store, &log_in(&store)), Origin::Opened);
}

#[test]
fn a_fleet_rotates_for_years_and_nobody_is_logged_out() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let fleet = [(); 3].map(|()| Process::start(&shelf, &clock));
    let stores = fleet.each_ref().map(|process| store(&process.keys, &clock));
    let mut cookie = log_in(&stores[0]);
    let mut sealed_under = std::collections::BTreeSet::new();
    for hour in 0..3 * 365 * 24_usize {
        clock.forward(HOUR);
        fleet[hour % 3].poll();
        sealed_under.extend(fleet[hour % 3].keys.seals());
        // Each node has asked once in three hours, and a key is a day on its way.
        assert_eq!(origin(&stores[hour % 3], &cookie), Origin::Opened, "{hour}");
        if hour % 20 == 0 {
            cookie = log_in(&stores[(hour / 20) % 3]);
        }
        assert!(fleet[hour % 3].keys.opens().len() <= 3);
    }
    assert_eq!(
        sealed_under.len(),
        13,
        "one, and twelve more in three years"
    );
    assert_eq!(
        shelf
            .text()
            .lines()
            .filter(|line| line.contains("base64:"))
            .count(),
        1
    );
}

#[test]
fn a_session_is_sealed_again_under_the_next_key() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let events = std::sync::Arc::<std::sync::Mutex<Vec<Event>>>::default();
    let seen = std::sync::Arc::clone(&events);
    let at = clock.clone();
    let store = CookieStore::builder(&process.keys)
        .clock(move || at.now())
        .on_event(move |event| seen.lock().unwrap().push(event))
        .build()
        .unwrap();
    process.live(90 * DAY - HOUR);
    let cookie = log_in(&store);
    process.live(2 * HOUR);
    let session = store.load_from([cookie.as_str()]);
    assert_eq!(session.origin(), Origin::Opened);
    assert!(
        store
            .respond(&session)
            .unwrap()
            .set_cookies()
            .next()
            .is_some()
    );
    assert_eq!(*events.lock().unwrap(), [Event::Resealed]);
}

#[test]
fn a_sealer_follows_and_says_how_long_its_tokens_live() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let at = clock.clone();
    let sealer = Sealer::new(&process.keys, "invitation")
        .unwrap()
        .clock(move || at.now());
    assert_eq!(sealer.longest_lifetime(), Some(DAY));
    let plain = sealer.seal(b"42").unwrap();
    let token = sealer.seal_for(b"42", DAY).unwrap();
    let refused = sealer.seal_for(b"42", DAY + SECOND).unwrap_err();
    assert!(
        matches!(refused, SealError::LongLived { lifetime, limit, .. }
        if lifetime == DAY + SECOND && limit == DAY)
    );
    assert!(refused.to_string().contains("longest_lifetime"));
    assert!(sealer.open(&token).is_ok() && sealer.open(&plain).is_ok());
    process.live(93 * DAY);
    assert_eq!(
        sealer.open(&plain).unwrap_err().reason(),
        Refusal::UnknownKey
    );
    assert!(sealer.seal(b"42").is_ok());
    let by_hand = Sealer::new(
        KeyRing::new(sealed_session::AppKey::generate().unwrap()),
        "x",
    );
    let by_hand = by_hand.unwrap();
    assert_eq!(by_hand.longest_lifetime(), None);
    assert!(by_hand.seal_for(b"42", 10_000 * DAY).is_ok());
}

#[test]
fn a_longer_lifetime_is_in_the_ring_before_anything_is_sealed_for_it() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let [one, other] = [(); 2].map(|()| Process::start(&shelf, &clock));
    assert!(shelf.text().contains("longest 86400000\n"));
    let at = clock.clone();
    let long = CookieStore::builder(&one.keys)
        .lifetime(60 * DAY)
        .clock(move || at.now())
        .build()
        .unwrap();
    assert!(
        shelf
            .text()
            .contains(&format!("longest {}\n", (60 * DAY).as_millis()))
    );
    other.poll();
    assert_eq!(other.keys.longest_lifetime(), 60 * DAY);
    one.live(90 * DAY - HOUR);
    let cookie = log_in(&long);
    let first = one.keys.seals().unwrap();
    one.live(59 * DAY);
    other.poll();
    assert_ne!(one.keys.seals(), Some(first));
    assert!(other.keys.opens().contains(&first));
    assert_eq!(origin(&long, &cookie), Origin::Opened);
}

#[test]
fn a_lifetime_that_the_ring_cannot_take_in_is_an_error_and_nothing_is_sealed_for_it() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let too_long = CookieStore::builder(&process.keys)
        .lifetime(3000 * DAY)
        .build()
        .unwrap_err();
    assert_eq!(too_long.setting(), "rotate_every");

    shelf.fault(Fault::Away);
    let away = CookieStore::builder(&process.keys)
        .lifetime(2 * DAY)
        .build()
        .unwrap_err();
    assert!(
        away.to_string().contains("shelf: it does not answer"),
        "{away}"
    );
    // Neither of these stores is there, so they are in nobody's way.
    let store = CookieStore::new(&process.keys);
    let session = store.load_from::<str>([]);
    session.insert("user", 42).unwrap();
    assert!(store.respond(&session).is_ok());
    shelf.fault(Fault::None);
    process.poll();
    assert_eq!(process.keys.longest_lifetime(), DAY);
    assert!(!process.events().contains(&KeyEvent::NoKey));
    let longer = CookieStore::builder(&process.keys).lifetime(2 * DAY);
    assert!(longer.build().is_ok());
    assert_eq!(process.keys.longest_lifetime(), 2 * DAY);
}

#[test]
fn a_store_that_is_made_without_a_builder_seals_nothing_until_the_ring_allows_it() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let short = builder(&shelf, &clock).longest_lifetime(HOUR);
    let process = Process::start_with(&clock, short);
    process.events();
    shelf.fault(Fault::Away);
    let store = CookieStore::new(&process.keys);
    assert!(process.events().contains(&KeyEvent::NoKey));
    let session = store.load_from::<str>([]);
    session.insert("user", 42).unwrap();
    let refused = store.respond(&session).unwrap_err().to_string();
    assert!(refused.contains("no key may seal now"), "{refused}");
    shelf.fault(Fault::None);
    process.poll();
    assert!(store.respond(&session).is_ok());
}

#[test]
fn a_store_outlives_the_handle_and_keys_end_with_the_last_that_has_them() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let at = clock.clone();
    let keys = ManagedKeys::builder(shelf.clone())
        .clock(move || at.now())
        .build()
        .unwrap();
    let store = CookieStore::new(&keys);
    drop(keys);
    let cookie = log_in(&store);
    assert_eq!(origin(&store, &cookie), Origin::Opened);
    drop(store);
    // The thread has ended with it: nobody else holds the shelf.
    assert_eq!(shelf.holders(), 1);
}

#[test]
fn stores_and_sealers_that_are_gone_take_no_memory() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let come_and_go = |times: u32| {
        allocation_counter::measure(|| {
            for _ in 0..times {
                drop(CookieStore::new(&process.keys));
                drop(Sealer::new(&process.keys, "invitation").unwrap());
            }
        })
    };
    come_and_go(100);
    let left = come_and_go(1000).bytes_current;
    assert!(left <= 0, "{left} bytes");
}

#[test]
fn the_thread_follows_by_itself_and_is_stopped() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let one = Process::start(&shelf, &clock);
    let (found, is_found) = std::sync::mpsc::channel();
    let at = clock.clone();
    let other = ManagedKeys::builder(shelf.clone())
        .poll(MINUTE / 6000)
        .clock(move || at.now())
        .on_event(move |event| {
            let _ = found.send(event);
        })
        .build()
        .unwrap();
    let key = one.keys.add_waiting().unwrap().unwrap();
    assert!(is_found.iter().any(|event| event == KeyEvent::Found(key)));
    other.stop();
    let loads = shelf.loads();
    other.stop();
    assert_eq!(shelf.loads(), loads);
    assert!(other.refresh().is_ok());
}

#[test]
fn a_token_of_an_unknown_key_has_the_store_asked_but_junk_does_not_again() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let one = Process::start(&shelf, &clock);
    let (found, is_found) = std::sync::mpsc::channel();
    let at = clock.clone();
    // It would not ask by itself before the day is over.
    let other = ManagedKeys::builder(shelf.clone())
        .poll(20 * SECOND)
        .clock(move || at.now())
        .on_event(move |event| {
            let _ = found.send(event);
        })
        .build()
        .unwrap();
    let fresh = one
        .keys
        .revoke(one.keys.seals().unwrap())
        .unwrap()
        .fresh
        .unwrap();
    let store = CookieStore::new(&other);
    let cookie = log_in(&CookieStore::new(&one.keys));
    assert_eq!(
        origin(&store, &cookie),
        Origin::Refused(Refusal::UnknownKey)
    );
    assert!(is_found.iter().any(|event| event == KeyEvent::Found(fresh)));
    while origin(&store, &cookie) != Origin::Opened {
        std::thread::yield_now();
    }
}

#[test]
fn keys_that_have_not_been_looked_up_for_too_long_open_and_seal_nothing() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start_with(&clock, builder(&shelf, &clock).max_staleness(MINUTE));
    let store = store(&process.keys, &clock);
    let cookie = log_in(&store);
    clock.forward(MINUTE);
    assert_eq!(origin(&store, &cookie), Origin::Opened);
    // As after a suspended machine: nobody has polled, and no thread has noticed.
    clock.forward(SECOND);
    assert_eq!(origin(&store, &cookie), Origin::Refused(Refusal::StaleKeys));
    let session = store.load_from([cookie.as_str()]);
    session.insert("user", 43).unwrap();
    assert!(store.respond(&session).is_err());
    process.poll();
    assert_eq!(origin(&store, &cookie), Origin::Opened);
    shelf.fault(Fault::Away);
    clock.set(clock.now() - DAY);
    assert!(process.keys.refresh().is_err());
    assert_eq!(origin(&store, &cookie), Origin::Refused(Refusal::StaleKeys));
}

#[test]
fn no_debug_text_and_no_error_shows_a_key() {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let process = Process::start(&shelf, &clock);
    let text = shelf.text();
    let key = text.split("material base64:").nth(1).unwrap();
    let key = &key[..20];
    let mut damaged = text.clone();
    damaged = damaged.replace("made", "mode");
    shelf.put(Some(damaged.into_bytes()));
    let error = process.keys.refresh().unwrap_err();
    assert!(error.to_string().starts_with("shelf: line 8: "), "{error}");
    for shown in [
        format!("{:?}", process.keys),
        format!("{:?}", CookieStore::builder(&process.keys)),
        format!("{:?}", CookieStore::new(&process.keys)),
        format!("{:?}", builder(&shelf, &clock)),
        format!("{error:?} {error}"),
        format!("{:?}", process.events()),
    ] {
        assert!(!shown.contains(key), "{shown}");
    }
}
