//! sessions.json: tokens that open to the session that is stated, and come from it again.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::{Contents, File, Typed, Vector, given, vectors};
use crate::envelope::Kind;
use crate::error::Origin;
use crate::policy::Policy;
use crate::record::{BindingId, Body, Header, Names, Record, SessionId};
use crate::session::Status;
use crate::time::Millis;
use crate::value::{self, Value};

fn sessions() -> Vec<Vector> {
    let file: File = vectors!("sessions.json");
    assert_eq!(file.vectors.len(), 56);
    file.vectors
}

fn time(millis: u64) -> SystemTime {
    Millis::from_raw(millis).into()
}

impl Contents {
    fn id(&self) -> SessionId {
        SessionId::random(&mut given([&*self.id])).unwrap()
    }

    fn header(&self) -> Header {
        let kept_for = (self.flags & 4 != 0).then(|| Duration::from_millis(self.seen_at));
        let seen_at = kept_for.map_or(self.seen_at, |_| self.issued_at);
        Header {
            id: self.id(),
            issued_at: Millis::from_raw(self.issued_at),
            seen_at: Millis::from_raw(seen_at),
            expires_at: Millis::from_raw(self.expires_at),
            transient: self.flags & 2 != 0,
            in_backend: false,
            kept_for,
            logged_in_at: self.logged_in_at.map(Millis::from_raw),
            binding: self
                .binding
                .as_ref()
                .map(|binding| BindingId::from_bytes(binding[..].try_into().unwrap())),
        }
    }

    fn names(&self) -> Names<'_> {
        Names {
            subject: &self.subject,
            label: self.label.as_deref().unwrap_or_default(),
            sid: self.sid.as_deref().unwrap_or_default(),
        }
    }
}

fn encode(entries: &BTreeMap<String, Typed>) -> Vec<(&str, Zeroizing<Vec<u8>>)> {
    let bytes = |typed| value::encode(&Value::from(typed)).unwrap();
    entries
        .iter()
        .map(|(key, typed)| (key.as_str(), bytes(typed)))
        .collect()
}

#[test]
fn every_token_opens_to_the_record_that_is_stated() {
    for vector in sessions() {
        let stated = vector.session.as_ref().unwrap();
        let plaintext = vector.open().unwrap().plaintext;
        let record = match vector.kind {
            Kind::Store => Record::decode_stored(plaintext).unwrap(),
            _ => Record::decode(plaintext).unwrap(),
        };

        assert_eq!(*record.header(), stated.header(), "{vector}");
        assert_eq!(record.names(), stated.names(), "{vector}");
        for (entries, stated) in [
            (record.values(), &stated.values),
            (record.flashes(), &stated.flashes),
        ] {
            assert_eq!(entries.iter().count(), stated.len(), "{vector}");
            for (key, bytes) in entries.texts() {
                let value: Value = value::decode(bytes).unwrap();
                assert_eq!(Typed::from(&value), stated[key], "{vector}, {key}");
            }
        }
        assert_eq!(
            vector.policy().admit(record.header(), vector.now()),
            Ok(()),
            "{vector}"
        );
    }
}

#[test]
fn every_cookie_gives_a_handler_the_session_that_is_stated() {
    let mut cookies = 0;
    for vector in sessions() {
        if vector.kind != Kind::Cookie {
            continue;
        }
        cookies += 1;
        let stated = vector.session.as_ref().unwrap();
        let flow = vector.flow(&vector.ring(), vector.policy());
        let session = flow.session([vector.cookie_field().as_bytes()], vector.now());

        assert_eq!(session.origin(), Origin::Opened, "{vector}");
        assert_eq!(session.status(), Status::Unmodified, "{vector}");
        assert_eq!(session.id(), Some(stated.id()), "{vector}");
        assert_eq!(
            session.issued_at(),
            Some(time(stated.issued_at)),
            "{vector}"
        );
        let lifetime = vector.max_lifetime_ms.unwrap_or(24 * 60 * 60 * 1000);
        let began_at = stated.logged_in_at.unwrap_or(stated.issued_at);
        let deadline = stated.expires_at.min(began_at + lifetime);
        assert_eq!(session.expires_at(), Some(time(deadline)), "{vector}");
        assert_eq!(session.subject().unwrap_or_default(), stated.subject);
        assert_eq!(
            session.label(),
            stated.label.clone().filter(|it| !it.is_empty())
        );
        assert_eq!(
            session.sid(),
            stated.sid.clone().filter(|it| !it.is_empty())
        );
        assert_eq!(session.logged_in_at(), stated.logged_in_at.map(time));
        let values = session.to_map().unwrap();
        let values = values
            .iter()
            .map(|(key, value)| (key.clone(), value.into()))
            .collect();
        let is_something = |typed: &Typed| *typed != Typed::Null(());
        let mut somethings = stated.values.clone();
        somethings.retain(|_, typed| is_something(typed));
        assert_eq!(somethings, values, "{vector}");
        for (key, typed) in &stated.flashes {
            let flash: Option<Value> = session.take_flash(key).unwrap();
            let flash = flash.map(|flash| Typed::from(&flash));
            let expected = Some(typed.clone()).filter(is_something);
            assert_eq!(flash, expected, "{vector}, {key}");
        }
        assert_eq!(
            session.first().unwrap().under_old_key,
            vector.opened_under == "accepted",
            "{vector}"
        );
    }
    assert_eq!(cookies, 50);
}

#[test]
fn the_parts_of_every_session_make_its_plaintext_to_the_byte() {
    for vector in sessions() {
        let stated = vector.session.as_ref().unwrap();
        let (values, flashes) = (encode(&stated.values), encode(&stated.flashes));
        let contents = Body::new(
            stated.names(),
            values
                .iter()
                .map(|(key, bytes)| (key.as_bytes(), &bytes[..])),
            flashes
                .iter()
                .map(|(key, bytes)| (key.as_bytes(), &bytes[..])),
        );
        let mut plaintext = Vec::new();
        contents.append_to(&mut plaintext, &stated.header());
        assert_eq!(plaintext, vector.plaintext.0, "{vector}");
        assert_eq!(
            contents.len(stated.header().optional()),
            plaintext.len(),
            "{vector}"
        );
    }
}

/// Builds each session that one request can make, by the public methods and a save. The vector's id
/// and nonce take the place of randomness.
#[test]
fn a_handler_that_fills_a_new_session_sends_the_very_token() {
    let mut sealed = 0;
    for vector in sessions() {
        let stated = vector.session.as_ref().unwrap();
        let in_one_request = stated.seen_at == stated.issued_at
            && stated.expires_at > stated.issued_at
            && stated.logged_in_at.is_none_or(|at| at == stated.issued_at)
            && stated.binding.is_none()
            && vector.kind == Kind::Cookie;
        // An empty new session is not worth a cookie.
        let is_empty =
            stated.values.is_empty() && stated.flashes.is_empty() && stated.names().is_empty();
        // A session takes no null as an entry.
        let mut values = stated.values.values().chain(stated.flashes.values());
        let has_null = values.any(|typed| *typed == Typed::Null(()));
        if is_empty || has_null || !in_one_request {
            continue;
        }
        sealed += 1;
        let long = Duration::from_secs(365 * 24 * 60 * 60);
        let policy = Policy::new(long, long, None, Millis::default());
        let flow = vector.flow(&vector.app_key().into(), policy);
        let now = Millis::from_raw(stated.issued_at);
        let session = flow.session([], now);
        for (key, typed) in &stated.values {
            session.insert(key, Value::from(typed)).unwrap();
        }
        for (key, typed) in &stated.flashes {
            session.flash(key, Value::from(typed)).unwrap();
        }
        session.set_subject(&*stated.subject).unwrap();
        session.set_label(stated.names().label).unwrap();
        session.set_sid(stated.names().sid).unwrap();
        if stated.logged_in_at.is_some() {
            session.log_in().unwrap();
        }
        session.set_expiry(time(stated.expires_at)).unwrap();
        session.remember(stated.flags & 2 == 0);

        let saved = flow.outgoing(&session, now, &mut given([&*stated.id, &vector.nonce]));
        let saved = saved.unwrap();
        let set_cookie = saved.set_cookies().next().unwrap();
        let (pair, attributes) = set_cookie.split_once(';').unwrap();
        assert_eq!(pair, vector.cookie_field(), "{vector}");
        assert_eq!(
            attributes.contains("Max-Age"),
            stated.flags & 2 == 0,
            "{vector}"
        );
    }
    assert_eq!(sealed, 28);
}

/// Without this test, the page's example could go stale unnoticed.
#[test]
fn the_worked_example_of_the_format_page_is_the_first_vector() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/format.md"));
    let (_, example) = page.split_once("## Worked example").unwrap();
    let (example, _) = example.split_once("## Vectors").unwrap();
    let dense: String = example.split_whitespace().collect();
    let first = &sessions()[0];
    for bytes in [
        &first.app_key,
        &first.prk,
        &first.key_id,
        &first.subkeys["enc"],
        &first.subkeys["mac"],
        &first.subkeys["tag"],
        &first.nonce,
        &first.xaes_key,
        &first.gcm_tag,
        &first.session.as_ref().unwrap().id,
    ] {
        assert!(dense.contains(&format!("{bytes:?}")), "{bytes:?}");
    }
    assert!(dense.contains(&first.token));
}
