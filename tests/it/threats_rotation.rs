//! Threats to the rotation of app keys, through real headers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use sealed_session::{
    AppKey, CookieStore, Event, KeyId, Origin, Refusal, Sealer, Session, Status, Token,
};

use crate::support::{key, ring};

fn save(store: &CookieStore, session: &Session) -> HeaderMap {
    let mut response = HeaderMap::new();
    store.save(session, &mut response).unwrap();
    response
}

/// The cookie's value in a response.
fn token(response: &HeaderMap) -> &str {
    let set_cookie = response[SET_COOKIE].to_str().unwrap();
    let (pair, _) = set_cookie.split_once(';').unwrap();
    pair.strip_prefix("__Host-session=").unwrap()
}

/// What the browser sends after a response.
fn request(response: &HeaderMap) -> HeaderMap {
    let pair = format!("__Host-session={}", token(response));
    HeaderMap::from_iter([(COOKIE, pair.parse().unwrap())])
}

fn sealed_under(token: &str) -> KeyId {
    Token::parse(token).unwrap().key_id()
}

#[test]
fn only_the_sealing_key_ever_seals() {
    let (new, old, older) = (key(), key(), key());
    let store = CookieStore::new(ring(&[&new, &old, &older]));
    let mut tokens = Vec::new();
    let mut sent = |response: HeaderMap| tokens.push(token(&response).to_owned());

    for sealed_by in [&new, &old, &older] {
        let single = CookieStore::new(sealed_by.clone());
        let session = single.load(&HeaderMap::new());
        session.insert("user_id", 42).unwrap();
        let cookie = request(&save(&single, &session));

        let load = || {
            let session = store.load(&cookie);
            assert_eq!(session.origin(), Origin::Opened);
            session
        };
        let read = load();
        assert_eq!(read.get("user_id"), Ok(Some(42)));
        let response = save(&store, &read);
        assert_eq!(
            response.contains_key(SET_COOKIE),
            sealed_by.id() != new.id()
        );
        if response.contains_key(SET_COOKIE) {
            sent(response);
        }
        let changed = load();
        changed.insert("theme", "dark").unwrap();
        sent(save(&store, &changed));
        let renewed = load();
        renewed.renew();
        sent(save(&store.clone(), &renewed));
        let begun_anew = load();
        begun_anew.destroy();
        begun_anew.insert("user_id", 43).unwrap();
        sent(save(&store, &begun_anew));
    }

    // A ring that changes while a request runs.
    let store = CookieStore::new(old.clone());
    let session = store.load(&HeaderMap::new());
    session.insert("user_id", 42).unwrap();
    let sealer = Sealer::new(old.clone(), "invitation").unwrap();
    let clone = sealer.clone();
    store.replace_keys(ring(&[&new, &old]));
    sealer.replace_keys(ring(&[&new, &old]));
    sent(save(&store, &session));
    for sealer in [&sealer, &clone] {
        tokens.push(sealer.seal(b"42").unwrap());
        tokens.push(sealer.seal_for(b"42", Duration::from_secs(60)).unwrap());
    }

    assert_eq!(tokens.len(), 2 + 3 * 3 + 1 + 4);
    for token in tokens {
        assert_eq!(sealed_under(&token), new.id());
    }
}

#[test]
fn three_rotations_leave_size_id_issue_time_and_deadline_as_they_were() {
    const HOUR: u64 = 3600;
    let keys: [AppKey; 4] = std::array::from_fn(|_| key());
    let at = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * HOUR);
    let hours = Arc::new(AtomicU64::new(500_000));
    let clock = Arc::clone(&hours);
    let store = CookieStore::builder(keys[0].clone())
        .clock(move || at(clock.load(Ordering::Relaxed)))
        .build()
        .unwrap();

    let session = store.load(&HeaderMap::new());
    session.insert("user_id", 42).unwrap();
    let first = save(&store, &session);
    let mut response = first.clone();
    for n in 1..=3 {
        hours.fetch_add(1, Ordering::Relaxed);
        store.replace_keys(ring(&[&keys[n], &keys[n - 1]]));
        let rotated = store.load(&request(&response));
        assert_eq!(rotated.get("user_id"), Ok(Some(42)));
        assert_eq!(rotated.status(), Status::Unmodified);
        let next = save(&store, &rotated);

        assert_ne!(token(&next), token(&response));
        assert_eq!(token(&next).len(), token(&first).len());
        assert_eq!(sealed_under(token(&next)), keys[n].id());
        let again = store.load(&request(&next));
        assert_eq!(again.id(), session.id());
        assert_eq!(again.issued_at(), Some(at(500_000)));
        assert_eq!(again.expires_at(), Some(at(500_024)));
        let max_age = format!("; Max-Age={}", (24 - n) * 3600);
        assert!(next[SET_COOKIE].to_str().unwrap().ends_with(&max_age));
        assert!(!save(&store, &again).contains_key(SET_COOKIE));
        response = next;
    }
    hours.store(500_024, Ordering::Relaxed);
    let late = store.load(&request(&response));
    assert_eq!(late.origin(), Origin::Refused(Refusal::Expired));
}

#[test]
fn a_node_that_has_not_heard_of_the_new_key_leaves_the_cookie_alone() {
    let (new, old) = (key(), key());
    let ahead = CookieStore::new(ring(&[&new, &old]));
    let behind = CookieStore::new(old);
    let session = ahead.load(&HeaderMap::new());
    session.insert("user_id", 42).unwrap();
    let cookie = request(&save(&ahead, &session));

    let unheard_of = behind.load(&cookie);
    assert_eq!(unheard_of.origin(), Origin::Refused(Refusal::UnknownKey));
    assert_eq!(unheard_of.get::<u64>("user_id"), Ok(None));
    let answer = save(&behind, &unheard_of);
    assert!(!answer.contains_key(SET_COOKIE));
    assert_eq!(ahead.load(&cookie).get("user_id"), Ok(Some(42)));
}

/// A session that somebody with the key has made up, as a request holds it.
fn held(store: &CookieStore) -> Session {
    let session = store.load(&HeaderMap::new());
    session.insert("admin", true).unwrap();
    let held = store.load(&request(&save(store, &session)));
    assert_eq!(held.origin(), Origin::Opened);
    held
}

#[test]
fn a_request_that_takes_long_seals_no_session_of_a_leaked_key_under_the_next_one() {
    let (leaked, next) = (key(), key());
    let events: Arc<std::sync::Mutex<Vec<Event>>> = Arc::default();
    for handler in [
        |session: &Session| session.insert("user_id", 42).unwrap(),
        |session: &Session| session.log_in().unwrap(),
        Session::renew,
        |session: &Session| session.flash("note", "hello").unwrap(),
        |session: &Session| session.remember(false),
    ] {
        let seen = Arc::clone(&events);
        let store = CookieStore::builder(leaked.clone())
            .on_event(move |event| seen.lock().unwrap().push(event))
            .build()
            .unwrap();
        let held = held(&store);
        store.replace_keys(next.clone());
        handler(&held);
        assert!(!save(&store, &held).contains_key(SET_COOKIE));
        assert_eq!(std::mem::take(&mut *events.lock().unwrap()), [Event::Lost]);
    }
}

#[test]
fn a_refresh_seals_no_session_of_a_leaked_key_under_the_next_one() {
    let ahead = Arc::new(AtomicU64::new(0));
    let asked = Arc::clone(&ahead);
    let store = CookieStore::builder(key())
        .idle_timeout(Duration::from_secs(600))
        .clock(move || SystemTime::now() + Duration::from_secs(asked.load(Ordering::Relaxed)))
        .build()
        .unwrap();
    let held = held(&store);
    ahead.store(500, Ordering::Relaxed);
    store.replace_keys(key());
    assert!(!save(&store, &held).contains_key(SET_COOKIE));
}

#[test]
fn a_logout_goes_through_while_the_key_of_its_session_is_dropped() {
    let store = CookieStore::new(key());
    let session = store.load(&HeaderMap::new());
    session.insert("user_id", 42).unwrap();
    let cookie = request(&save(&store, &session));
    let held = store.load(&cookie);
    store.replace_keys(key());
    held.destroy();
    assert_eq!(token(&save(&store, &held)), "");
}

#[test]
fn a_session_whose_key_only_stops_sealing_is_saved_while_a_request_holds_it() {
    let (old, new) = (key(), key());
    let store = CookieStore::new(old.clone());
    let session = store.load(&HeaderMap::new());
    session.insert("user_id", 42).unwrap();
    let cookie = request(&save(&store, &session));
    let held = store.load(&cookie);
    store.replace_keys(ring(&[&new, &old]));
    held.insert("theme", "dark").unwrap();
    assert_eq!(sealed_under(token(&save(&store, &held))), new.id());
}
