use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cookie::CookieConfig;
use crate::cookie::DEFAULT_NAME;
use crate::envelope::{AppKey, Envelope, KeyRing, Kind, Use, os_random};
use crate::error::{RandomError, SaveError, SaveErrorKind};
use crate::event::Events;
use crate::flow::{Flow, InCookie, Outgoing};
use crate::limit::Limit;
use crate::policy::Policy;
use crate::record::{Optional, Record};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> Millis {
    Millis::from_raw(1_700_000_000_000)
}

fn flow() -> Flow<InCookie> {
    let cookie = CookieConfig::default();
    let used_for = Use {
        kind: Kind::Cookie,
        name: cookie.name().to_owned(),
        context: String::new(),
    };
    let ring = KeyRing::new(AppKey::generate().unwrap());
    let policy = Policy::new(DAY, DAY, None, Millis::default());
    let envelope = Envelope::new(&ring, used_for);
    Flow::new(
        envelope,
        policy,
        cookie.into(),
        &[],
        Events::default(),
        InCookie,
    )
}

fn fresh(flow: &Flow<InCookie>) -> Session {
    flow.session([], now())
}

/// The value of a Cookie header, with these bytes sealed in a genuine token.
fn cookie_of(flow: &Flow<InCookie>, plaintext: &[u8]) -> String {
    let mut cookie = format!("{DEFAULT_NAME}=");
    let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(plaintext);
    flow.envelope
        .seal_into(&mut cookie, plaintext.len(), write, &mut os_random)
        .unwrap();
    cookie
}

/// A record whose values have these bytes.
fn record_with(values: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(&[0xab; 16]);
    for millis in [now(), now(), now().plus(DAY)] {
        bytes.extend_from_slice(&millis.to_be_bytes());
    }
    bytes.extend_from_slice(&[0, u8::try_from(values.len()).unwrap()]);
    for (key, value) in values {
        bytes.extend(postcard::to_allocvec(&(key, value)).unwrap());
    }
    bytes.push(0);
    bytes
}

fn reopened(flow: &Flow<InCookie>, outgoing: &Outgoing) -> Session {
    let pair = outgoing.set_cookies().next().unwrap();
    let pair = pair.split(';').next().unwrap();
    flow.session([pair.as_bytes()], now())
}

/// A random source that writes the number of the call, and fails at one call.
fn fails_at(call: u8) -> impl FnMut(&mut [u8]) -> Result<(), RandomError> {
    let mut calls = 0;
    move |bytes| {
        calls += 1;
        bytes.fill(calls);
        if calls == call {
            Err(RandomError(()))
        } else {
            Ok(())
        }
    }
}

#[test]
fn id_and_nonce_come_from_the_random_source_and_from_nowhere_else() {
    let flow = flow();
    let session = fresh(&flow);
    session.insert("a", 1).unwrap();
    let first = flow.outgoing(&session, now(), &mut fails_at(0)).unwrap();
    assert_eq!(session.id().unwrap().as_bytes(), &[1; 16]);
    let second = flow.outgoing(&session, now(), &mut fails_at(0)).unwrap();
    assert_eq!(session.id().unwrap().as_bytes(), &[1; 16], "drawn once");
    assert_eq!(reopened(&flow, &first).id(), session.id());
    assert_eq!(reopened(&flow, &second).id(), session.id());
    session.renew();
    let mut random = |bytes: &mut [u8]| {
        bytes.fill(7);
        Ok(())
    };
    let third = flow.outgoing(&session, now(), &mut random).unwrap();
    assert_eq!(reopened(&flow, &third).id().unwrap().as_bytes(), &[7; 16]);
}

#[test]
fn a_random_source_that_fails_is_an_error_and_leaves_the_session_as_it_was() {
    for call in [1, 2] {
        let flow = flow();
        let session = fresh(&flow);
        session.insert("a", 1).unwrap();
        let error = flow
            .outgoing(&session, now(), &mut fails_at(call))
            .unwrap_err();
        assert_eq!(error, SaveError(SaveErrorKind::Random(RandomError(()))));
        assert!(std::error::Error::source(&error).is_some());
        assert_eq!(session.id(), None);
        assert_eq!(session.expires_at(), None);

        session.remove("a");
        assert_eq!(session.status(), Status::Unmodified, "nothing was sent");
        session.insert("a", 2).unwrap();
        let outgoing = flow.outgoing(&session, now(), &mut os_random).unwrap();
        assert_eq!(reopened(&flow, &outgoing).get("a").unwrap(), Some(2));
    }
}

#[test]
fn a_removal_needs_no_random_bytes() {
    let flow = flow();
    let session = fresh(&flow);
    session.destroy();
    let outgoing = flow.outgoing(&session, now(), &mut fails_at(1)).unwrap();
    assert_eq!(outgoing.set_cookies().count(), 1);
}

#[test]
fn nothing_is_decoded_until_it_is_asked_for_and_one_bad_value_does_not_spoil_the_others() {
    let flow = flow();
    let seven = value::encode(&7).unwrap();
    let record = record_with(&[("bad", b"\xff\xff"), ("good", &seven)]);
    let session = flow.session([cookie_of(&flow, &record).as_bytes()], now());
    assert_eq!(session.origin(), Origin::Opened);
    assert_eq!(session.get("good").unwrap(), Some(7));
    assert_eq!(session.keys(), ["bad", "good"]);
    for error in [
        session.get::<u8>("bad").unwrap_err(),
        session.to_map().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::WrongType);
        assert!(error.to_string().starts_with("\"bad\": "), "{error}");
    }
    session.insert("good", 8).unwrap();
    let outgoing = flow.outgoing(&session, now(), &mut os_random).unwrap();
    let session = reopened(&flow, &outgoing);
    assert!(session.contains("bad"), "it is passed on as it is");
    session.remove("bad");
    assert_eq!(session.to_map().unwrap().len(), 1);
}

#[test]
fn a_null_that_another_program_has_stored_is_no_entry_and_nothing_writes_one() {
    let flow = flow();
    let mut bytes = record_with(&[("gone", &[0]), ("good", &[2, 7])]);
    bytes.pop();
    bytes.extend_from_slice(&[1, 4]);
    bytes.extend_from_slice(b"gone");
    bytes.extend_from_slice(&[1, 0]);
    let cookie = cookie_of(&flow, &bytes);
    let load = || flow.session([cookie.as_bytes()], now());

    // No method returns the null, whether the session was changed before or not.
    for is_touched in [false, true] {
        let session = load();
        if is_touched {
            session.insert("new", 1).unwrap();
            session.remove("new");
        }
        assert!(!session.contains("gone"));
        assert_eq!(session.get::<u64>("gone"), Ok(None));
        assert_eq!(session.take::<u64>("gone"), Ok(None));
        assert_eq!(session.take_flash::<u64>("gone"), Ok(None));
        assert_eq!(session.keys(), ["good"]);
        assert_eq!((session.len(), session.is_empty()), (1, false));
        assert_eq!(session.to_map().unwrap().len(), 1);
        session.remove("gone");
        session.insert("gone", ()).unwrap();
        session.insert("gone", None::<u64>).unwrap();
        session.flash("gone", Value::Null).unwrap();
        session
            .update("gone", |old: Option<Option<u64>>| old.flatten())
            .unwrap();
        assert_eq!(session.status(), Status::Unmodified);
    }

    // Merging it into another session overwrites nothing.
    let other = Session::new();
    other.insert("gone", 1).unwrap();
    other.merge(&load()).unwrap();
    assert_eq!(other.get("gone"), Ok(Some(1)));

    // A save drops it, and a null in place of a value removes that value.
    let session = load();
    session.insert("new", 1).unwrap();
    session
        .update("good", |_: Option<Option<u64>>| None)
        .unwrap();
    session.flash("hint", "there").unwrap();
    session.flash("hint", None::<&str>).unwrap();
    let session = reopened(
        &flow,
        &flow.outgoing(&session, now(), &mut os_random).unwrap(),
    );
    let record = &session.first().unwrap().record;
    let keys: Vec<_> = record.values().texts().map(|(key, _)| key).collect();
    assert_eq!((keys, record.flashes().iter().count()), (vec!["new"], 0));
}

#[test]
fn a_genuine_token_that_nests_a_thousand_levels_opens_and_its_value_is_refused() {
    let on_a_small_stack = || {
        let flow = flow();
        let deep = [7, 1].repeat(1000);
        let cookie = cookie_of(&flow, &record_with(&[("deep", &deep)]));
        let session = flow.session([cookie.as_bytes()], now());
        assert_eq!(session.origin(), Origin::Opened);
        assert!(session.get::<Value>("deep").is_err());
        assert!(session.get::<serde_json::Value>("deep").is_err());
        assert!(session.take::<()>("deep").is_err());
        session.remove("deep");
        assert!(session.is_empty());
    };
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(on_a_small_stack)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn a_session_that_is_too_large_already_may_shrink_and_may_not_grow() {
    let bytes = [0].repeat(4000);
    let text = value::encode(&"x".repeat(2000)).unwrap();
    let record = record_with(&[("a", &bytes), ("b", &text)]);
    let bounds = Bounds {
        store: StoreId::next(),
        claims: Claims::InCookie,
        limit: Limit::Cookie {
            name: DEFAULT_NAME.len(),
        },
        max_lifetime: DAY,
        idle: None,
        may_bind: false,
        events: Events::default(),
    };
    let session = Session::opened(loaded(record), now(), bounds);
    session.insert("b", "x".repeat(1999)).unwrap();
    let too_large = |outcome: Result<(), SessionError>| {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(session.get::<String>("b").unwrap().unwrap().len(), 1999);
    };
    too_large(session.insert("b", "x".repeat(2000)));
    too_large(session.insert("c", 1));
    too_large(session.set_subject("me"));
    session.remove("a");
    session.insert("b", "x".repeat(2000)).unwrap();
    session.insert("c", 1).unwrap();
}

/// A save writes exactly as many bytes as the session was counted for, whatever happened to it
/// before.
#[derive(Clone, Debug)]
enum Op {
    Insert(String, usize),
    Remove(String),
    Flash(String, usize),
    TakeFlash(String),
    Claim(String),
    Clear,
    Destroy,
    Merge(String, usize),
    /// Another request's record takes the place of this session's.
    #[cfg(feature = "server")]
    Rebase(Vec<(String, usize)>),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || "[a-c]{1,2}";
    let length = || 0_usize..300;
    let op = prop_oneof![
        8 => (key(), length()).prop_map(|(key, length)| Op::Insert(key, length)),
        4 => key().prop_map(Op::Remove),
        4 => (key(), length()).prop_map(|(key, length)| Op::Flash(key, length)),
        2 => key().prop_map(Op::TakeFlash),
        2 => key().prop_map(Op::Claim),
        1 => Just(Op::Clear),
        1 => Just(Op::Destroy),
        2 => (key(), length()).prop_map(|(key, length)| Op::Merge(key, length)),
    ];
    #[cfg(feature = "server")]
    let op = prop_oneof![
        8 => op,
        1 => prop::collection::btree_map(key(), length(), 0..6)
            .prop_map(|entries| Op::Rebase(entries.into_iter().collect())),
    ];
    prop::collection::vec(op, 0..40)
}

fn loaded_with(entries: &[(String, usize)]) -> Loaded {
    let values: Vec<_> = entries
        .iter()
        .map(|(key, length)| (key.as_str(), encode(key, &"x".repeat(*length)).unwrap()))
        .collect();
    let values: Vec<_> = values
        .iter()
        .map(|(key, value)| (*key, &value[..]))
        .collect();
    let mut record = record_with(&values);
    record.pop();
    record.extend(postcard::to_allocvec(&[("a", [1, 1].as_slice())][..]).unwrap());
    loaded(record)
}

fn loaded(record: Vec<u8>) -> Loaded {
    Loaded {
        record: Record::decode(crate::envelope::Plaintext::from_vec(record)).unwrap(),
        key: AppKey::generate().unwrap().id(),
        under_old_key: false,
        #[cfg(feature = "server")]
        cookie_is_due: false,
        #[cfg(feature = "server")]
        held: None,
    }
}

proptest! {
    #[test]
    fn a_session_is_written_as_long_as_it_was_measured(
        first in prop::collection::btree_map("[a-c]{1,2}", 0_usize..300, 0..6),
        ops in ops(),
    ) {
        let flow = flow();
        let first: Vec<_> = first.into_iter().collect();
        let session = flow.opened(loaded_with(&first), now());
        for op in ops {
            let text = |length| "x".repeat(length);
            match &op {
                Op::Insert(key, length) => { let _ = session.insert(key, text(*length)); }
                Op::Remove(key) => session.remove(key),
                Op::Flash(key, length) => { let _ = session.flash(key, text(*length)); }
                Op::TakeFlash(key) => { let _ = session.take_flash::<Value>(key); }
                Op::Claim(key) => session.lock(|changes, record| changes.claim(record, key)),
                Op::Clear => session.clear(),
                Op::Destroy => session.destroy(),
                Op::Merge(key, length) => {
                    let other = Session::new();
                    other.insert(key, text(*length)).unwrap();
                    other.flash(key, text(*length)).unwrap();
                    let _ = session.merge(&other);
                }
                #[cfg(feature = "server")]
                Op::Rebase(entries) => {
                    let planned = session.lock(|changes, _| changes.revision);
                    session.rebase(planned, loaded_with(entries));
                }
            }
            session.view(|view| {
                let body = view.body();
                let header = *loaded_with(&[]).record.header();
                let mut written = Vec::new();
                body.append_to(&mut written, &header);
                assert_eq!(written.len(), body.len(Optional::default()), "{op:?}");
                let count = view.values().count().max(view.flashes().count());
                assert_eq!(count, body.entries(), "{op:?}");
                let record = loaded(written).record;
                assert!(record.values().iter().eq(view.values()), "{op:?}");
                assert!(record.flashes().iter().eq(view.flashes()), "{op:?}");
            });
        }
    }
}

#[cfg(all(feature = "device-bound", feature = "server"))]
#[test]
fn what_comes_during_a_login_without_the_device_takes_nothing_from_its_record() {
    let of = |key: &str| loaded_with(&[(key.to_owned(), 5)]);
    let device = Device {
        is_missing: true,
        ..Device::default()
    };
    let bounds = flow().bounds.clone();
    let session = device.session(of("theirs"), now(), bounds);
    session.log_in().unwrap();
    session.insert("mine", "xxxxx").unwrap();
    let planned = session.lock(|changes, _| changes.revision);
    session.insert("later", 7).unwrap();
    session.acknowledge(planned, Some(of("mine")));
    assert_eq!(session.get::<String>("theirs"), Ok(None));
    assert_eq!(session.get("mine"), Ok(Some("xxxxx".to_owned())));
    assert_eq!(session.get("later"), Ok(Some(7)));
}
