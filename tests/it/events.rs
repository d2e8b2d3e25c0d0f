//! Events: each noteworthy thing reaches the store's hook, once, under a bounded label.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sealed_session::{AppKey, CookieStore, Event, KeyRing, Refusal, Sealer, Session, Status};

type Seen = Arc<Mutex<Vec<Event>>>;

struct World {
    store: CookieStore,
    key: AppKey,
    seen: Seen,
    seconds: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        let key = AppKey::generate().unwrap();
        let (seen, seconds) = (Seen::default(), Arc::new(AtomicU64::new(1_000_000)));
        let (events, clock) = (Arc::clone(&seen), Arc::clone(&seconds));
        let store = CookieStore::builder(key.clone())
            .lifetime(Duration::from_secs(1000))
            .idle_timeout(Duration::from_secs(100))
            .clock(move || {
                SystemTime::UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed))
            })
            .on_event(move |event| events.lock().unwrap().push(event))
            .build()
            .unwrap();
        Self {
            store,
            key,
            seen,
            seconds,
        }
    }

    fn cookie(&self, session: &Session) -> String {
        let outgoing = self.store.respond(session).unwrap();
        let set_cookie = outgoing.set_cookies().next().unwrap();
        set_cookie.split(';').next().unwrap().to_owned()
    }

    fn new_cookie(&self) -> String {
        let session = self.store.load_from([""]);
        session.insert("n", 1).unwrap();
        self.cookie(&session)
    }

    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

#[test]
fn a_visit_without_incident_reports_nothing() {
    let world = World::new();
    let cookie = world.new_cookie();
    let session = world.store.load_from([&cookie]);
    session.insert("n", 2).unwrap();
    world.cookie(&session);
    session.destroy();
    world.cookie(&session);
    assert_eq!(world.take(), []);
}

#[test]
fn a_refused_token_is_reported_with_its_reason_and_an_expired_one_apart() {
    let world = World::new();
    let cookie = world.new_cookie();
    world.store.load_from(["__Host-session=junk"]);
    assert_eq!(world.take(), [Event::Refused(Refusal::Malformed)]);

    let other = Sealer::new(world.key.clone(), "__Host-session").unwrap();
    let token = other
        .seal(b"not a cookie, though of this name and key")
        .unwrap();
    world
        .store
        .load_from([format!("__Host-session={token}").as_str()]);
    assert_eq!(world.take(), [Event::Refused(Refusal::Forged)]);

    world.seconds.fetch_add(100, Ordering::Relaxed);
    world.store.load_from([&cookie]);
    assert_eq!(world.take(), [Event::Expired(Refusal::Idle)]);

    let fresh = world.new_cookie();
    world.seconds.fetch_add(1, Ordering::Relaxed);
    let now = world.seconds.load(Ordering::Relaxed);
    let cutoff = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
    world.store.set_not_before(cutoff);
    world.store.load_from([&fresh]);
    assert_eq!(world.take(), [Event::Expired(Refusal::Cutoff)]);

    world.seconds.fetch_add(900, Ordering::Relaxed);
    world.store.load_from([&cookie]);
    assert_eq!(world.take(), [Event::Expired(Refusal::Expired)]);
}

#[test]
fn two_sessions_in_one_request_are_reported() {
    let world = World::new();
    world
        .store
        .load_from([world.new_cookie(), world.new_cookie()].iter());
    assert_eq!(world.take(), [Event::Ambiguous]);
}

#[test]
fn a_session_that_moves_to_the_sealing_key_is_reported_and_one_that_ends_is_not() {
    let world = World::new();
    let cookie = world.new_cookie();
    let ring = KeyRing::new(AppKey::generate().unwrap());
    world
        .store
        .replace_keys(ring.accept(world.key.clone()).unwrap());

    let session = world.store.load_from([&cookie]);
    assert_eq!(world.take(), []);
    let sealed_again = world.cookie(&session);
    assert_eq!(world.take(), [Event::Resealed]);
    let end = |session: &Session| session.set_expiry(SystemTime::UNIX_EPOCH).unwrap();
    for end in [end, Session::destroy] {
        end(&session);
        world.cookie(&session);
        assert_eq!(world.take(), []);
    }
    let session = world.store.load_from([&sealed_again]);
    session.insert("n", 2).unwrap();
    world.cookie(&session);
    assert_eq!(world.take(), []);
}

#[test]
fn a_full_session_is_reported_by_every_method_that_fills_it() {
    let world = World::new();
    let session = world.store.load_from([""]);
    let large = "x".repeat(4000);
    let half = "x".repeat(2000);
    session.insert("large", &half).unwrap();
    let other = Session::new();
    other.insert("other", &half).unwrap();
    session.insert("a", &large).unwrap_err();
    session.flash("a", &large).unwrap_err();
    session
        .update("a", |_: Option<String>| large.clone())
        .unwrap_err();
    session.merge(&other).unwrap_err();
    session.continue_as(&other).unwrap_err();
    assert_eq!(session.keys(), ["large"]);
    assert_eq!(world.take(), [Event::TooLarge; 5]);
}

#[test]
fn a_value_of_another_type_is_removed_and_reported_only_if_it_is_given_up() {
    let world = World::new();
    let session = world.store.load_from([""]);
    session.insert("basket", ["pear"]).unwrap();
    let session = world.store.load_from([&world.cookie(&session)]);
    session.get::<u32>("basket").unwrap_err();
    session.take::<u32>("basket").unwrap_err();
    assert_eq!(session.get_or_remove::<u32>("none"), None);
    let basket = session.get_or_remove::<Vec<String>>("basket");
    assert_eq!(basket.unwrap(), ["pear"]);
    assert_eq!(world.take(), []);
    assert_eq!(session.status(), Status::Unmodified);

    assert_eq!(session.get_or_remove::<u32>("basket"), None);
    assert_eq!(world.take(), [Event::EntryGivenUp]);
    session
        .update("basket", |n: Option<u32>| n.unwrap_or(0) + 1)
        .unwrap();
    let session = world.store.load_from([&world.cookie(&session)]);
    assert_eq!(session.get_or_remove("basket"), Some(1));

    // One that this request has set is given up too, which leaves nothing.
    session.insert("basket", "text").unwrap();
    assert_eq!(session.get_or_remove::<u32>("basket"), None);
    assert!(session.is_empty());
    assert_eq!(world.take(), [Event::EntryGivenUp]);
}

#[test]
fn a_hook_may_use_the_session_that_the_event_is_about() {
    let session = Arc::new(Mutex::new(Session::new()));
    let hooked = Arc::clone(&session);
    let store = CookieStore::builder(AppKey::generate().unwrap())
        .on_event(move |_| hooked.lock().unwrap().insert("full", true).unwrap())
        .build()
        .unwrap();
    let loaded = store.load_from([""]);
    *session.lock().unwrap() = loaded.clone();
    loaded.insert("a", "x".repeat(4000)).unwrap_err();
    assert_eq!(loaded.get("full").unwrap(), Some(true));
}

#[test]
fn labels_are_short_constant_names() {
    for (event, label, reason) in [
        (Event::Refused(Refusal::Forged), "refused", Some("forged")),
        (Event::Expired(Refusal::Idle), "expired", Some("idle")),
        (Event::Ambiguous, "ambiguous", None),
        (Event::Resealed, "resealed", None),
        (Event::TooLarge, "too_large", None),
        (Event::EntryGivenUp, "entry_given_up", None),
        (Event::ChangedTooLate, "changed_too_late", None),
        (Event::Unsaved, "unsaved", None),
        (Event::LoadFailed, "load_failed", None),
        (Event::CallFailed, "call_failed", None),
        (Event::SaveFailed, "save_failed", None),
    ] {
        assert_eq!((event.as_str(), event.reason()), (label, reason));
    }
}
