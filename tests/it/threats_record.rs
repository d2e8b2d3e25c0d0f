//! Attacks on what is inside a token, and defects of other libraries there.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use sealed_session::{AppKey, CookieConfig, ErrorKind, KeyRing, Origin, Value};
use serde::{Serialize, Serializer};

use crate::support::*;

/// Cookies sealed by another program under printed keys; see `tests/vectors`.
fn refused_vectors(reasons: &[&str]) -> Vec<BTreeMap<String, serde_json::Value>> {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/refused.json")).unwrap();
    let vectors: Vec<BTreeMap<String, serde_json::Value>> =
        serde_json::from_value(file["vectors"].clone()).unwrap();
    let of_cookies = vectors.into_iter().filter(|vector| {
        vector["kind"] == "cookie" && reasons.contains(&vector["reason"].as_str().unwrap())
    });
    of_cookies.collect()
}

/// The site that a vector is for, and the request that brings it.
fn site_of(vector: &BTreeMap<String, serde_json::Value>) -> (Site, http::HeaderMap) {
    let text = |field: &str| vector[field].as_str().unwrap();
    let keys: Vec<AppKey> = vector["ring"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| AppKey::from_bytes(&unhex(key.as_str().unwrap())).unwrap())
        .collect();
    let keys: KeyRing = ring(&keys.iter().collect::<Vec<_>>());
    let cookie = CookieConfig::builder()
        .name(text("cookie"))
        .build()
        .unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(vector["now_ms"].as_u64().unwrap());
    let clock = Clock::at(now);
    let store = store(&clock, keys, |builder| {
        builder.cookie(cookie).context(text("context"))
    });
    let request = cookies(&[format!("{}={}", text("cookie"), text("token"))]);
    (Site::of(&clock, store), request)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A list in a list in a list, made while it is written.
struct Nested(usize);

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.checked_sub(1).map(Nested))
    }
}

#[test]
fn ten_thousand_levels_on_a_small_stack_are_an_error_and_leave_the_session_as_it_was() {
    let on_a_small_stack = || {
        let mut site = Site::new();
        site.visit(|session| {
            session.insert("deep", Nested(31)).unwrap();
        });
        let session = site.load();
        assert!(session.get::<Value>("deep").unwrap().is_some());
        let deep = || (0..10_000).fold(Value::Null, |inner, _| Value::from(vec![inner]));
        for error in [
            session.insert("deep", Nested(10_000)).unwrap_err(),
            session.insert("deep", deep()).unwrap_err(),
            session.flash("deep", deep()).unwrap_err(),
            session
                .update("deep", |_: Option<Value>| deep())
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotStorable);
            assert_eq!(
                error.to_string(),
                "\"deep\": it is nested deeper than 32 levels; store it as text, or as a simpler type"
            );
        }
        assert!(sets_no_cookie(&site.save(&session)));
    };
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(on_a_small_stack)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn a_record_that_promises_what_is_not_there_costs_no_more_memory_than_its_token_has() {
    for vector in refused_vectors(&["bad_record"]) {
        let (site, request) = site_of(&vector);
        let token = vector["token"].as_str().unwrap().len();
        let used_by = |request: &http::HeaderMap| {
            let load = || drop(site.store.load(request));
            allocation_counter::measure(load).bytes_max
        };
        let bound = u64::try_from(token).unwrap() + used_by(&http::HeaderMap::new());
        let used = used_by(&request);
        assert!(used <= bound, "{}: {used} bytes", vector["name"]);
    }
}

#[test]
fn what_is_no_canonical_record_is_refused_and_the_cookie_left_alone() {
    let vectors = refused_vectors(&["bad_record", "newer"]);
    for reason in ["bad_record", "newer"] {
        assert!(vectors.iter().any(|vector| vector["reason"] == reason));
    }
    for vector in vectors {
        let (site, request) = site_of(&vector);
        let session = site.store.load(&request);
        let Origin::Refused(reason) = session.origin() else {
            panic!("{} is accepted", vector["name"]);
        };
        assert_eq!(reason.as_str(), vector["reason"], "{}", vector["name"]);
        assert!(session.is_empty() && session.id().is_none());
        assert!(sets_no_cookie(&site.save(&session)));
    }
}

#[test]
fn a_clock_moved_back_by_a_minute_is_borne_and_by_more_refuses() {
    let mut site = Site::new();
    site.visit(|session| session.insert("a", 1).unwrap());
    let start = site.clock.now();
    for (back, origin) in [
        (59 * SECOND, Origin::Opened),
        (60 * SECOND, Origin::Opened),
        (61 * SECOND, refused(sealed_session::Refusal::Future)),
        (DAY, refused(sealed_session::Refusal::Future)),
    ] {
        site.clock.set(start - back);
        assert_eq!(site.load().origin(), origin, "{back:?}");
    }
}

#[test]
fn a_session_written_by_a_node_whose_clock_is_behind_stays_seen_when_it_was_seen() {
    let mut site = Site::with(|builder| builder.idle_timeout(10 * MINUTE));
    site.visit(|session| session.insert("a", 1).unwrap());
    site.clock.back(59 * SECOND);
    site.visit(|session| session.insert("a", 2).unwrap());
    site.clock.forward(59 * SECOND + 10 * MINUTE - SECOND);
    assert_eq!(site.load().get("a").unwrap(), Some(2));
}

#[test]
fn no_time_makes_anything_panic() {
    let epoch = SystemTime::UNIX_EPOCH;
    let times = [
        epoch - DAY * 1_000_000,
        epoch - SECOND,
        epoch,
        epoch + Duration::from_millis(1),
        epoch + 20_000 * DAY,
        epoch + Duration::from_millis((1 << 48) - 1),
        epoch + Duration::from_millis(1 << 48),
        epoch + Duration::from_secs(i64::MAX.unsigned_abs()),
    ];
    for lifetime in [Duration::from_millis(1), DAY, Duration::MAX] {
        let mut site = Site::with(|builder| {
            builder
                .lifetime(lifetime)
                .idle_timeout(Duration::MAX)
                .not_before(times[0])
        });
        for first in times {
            for second in times {
                site.clock.set(first);
                site.visit(|session| {
                    session.insert("a", 1).unwrap();
                    let _ = session.set_expiry(second);
                });
                site.clock.set(second);
                site.visit(|session| {
                    let _ = (session.origin(), session.issued_at(), session.expires_at());
                    let _ = session.set_expiry(first);
                    session.renew();
                });
                site.store.set_not_before(second);
                site.visit(|_| ());
                site.store.set_not_before(first);
            }
        }
    }
}

#[test]
fn a_thousand_refreshes_do_not_move_the_deadline() {
    let mut site = Site::with(|builder| builder.idle_timeout(10 * MINUTE));
    site.visit(|session| session.insert("a", 1).unwrap());
    let (start, first) = (site.clock.now(), site.load());
    for _ in 0..1000 {
        site.clock.forward(80 * SECOND);
        let response = site.visit(|_| ());
        let rest = DAY - site.clock.now().duration_since(start).unwrap();
        assert_eq!(max_age(&response), Some(rest));
    }
    let last = site.load();
    assert_eq!(last.id(), first.id());
    assert_eq!(last.issued_at(), first.issued_at());
    assert_eq!(last.expires_at(), Some(start + DAY));
    let cookie = site.browser.send(site.clock.now());
    site.clock.set(start + DAY);
    assert_eq!(
        site.store.load(&cookie).origin(),
        refused(sealed_session::Refusal::Expired)
    );
}

#[test]
fn a_replay_after_the_deadline_is_refused_whatever_max_age_said() {
    let by_default = || CookieConfig::builder().persistent(false).build().unwrap();
    for (lasting, config) in [(true, CookieConfig::default()), (false, by_default())] {
        let mut site = Site::with(|builder| builder.cookie(config).lifetime(HOUR));
        let response = site.visit(|session| session.insert("a", 1).unwrap());
        assert_eq!(max_age(&response), lasting.then_some(HOUR));
        let replay = cookies(&[pair(&response)]);
        site.clock.forward(HOUR - Duration::from_millis(1));
        assert_eq!(site.store.load(&replay).origin(), Origin::Opened);
        site.clock.forward(Duration::from_millis(1));
        assert_eq!(
            site.store.load(&replay).origin(),
            refused(sealed_session::Refusal::Expired)
        );
    }
}
