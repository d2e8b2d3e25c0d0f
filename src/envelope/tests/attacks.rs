//! Attacks on keys and tokens that need the parts from which both are made.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt};
use proptest::prelude::*;
use std::error::Error;
use xaes_256_gcm::Xaes256Gcm;

use super::derive::{info, subkey};
use super::token::Parts;
use super::*;
use crate::cookie::CookieConfig;
use crate::error::RandomError;
use crate::event::Events;
use crate::flow::{Flow, InCookie};
use crate::policy::Policy;
use crate::session::{Session, Status};
use crate::time::Millis;
use crate::vectors::{File, vectors};

const LABELS: [&str; 3] = ["enc", "mac", "tag"];
const KINDS: [Kind; 5] = [
    Kind::Cookie,
    Kind::Header,
    Kind::Store,
    Kind::Token,
    Kind::Timed,
];

/// Reads derivation input back.
fn parts(mut info: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let [high, low, rest @ ..] = info {
        let (part, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        parts.push(part);
        info = rest;
    }
    assert!(info.is_empty());
    parts
}

/// A label and a use whose name and context are always the same text, cut somewhere.
fn label_and_use(text: &'static str) -> impl Strategy<Value = (&'static str, Use)> {
    let label = prop::sample::select(&LABELS[..]);
    (label, prop::sample::select(&KINDS[..]), 0..=text.len()).prop_map(|(label, kind, at)| {
        let (name, context) = text.split_at(at);
        let (name, context) = (name.to_owned(), context.to_owned());
        (
            label,
            Use {
                kind,
                name,
                context,
            },
        )
    })
}

proptest! {
    #[test]
    fn derivation_input_tells_its_parts_so_that_no_two_lists_of_parts_share_it(
        list in prop::collection::vec("(.|\0|\u{1}|\u{2}){0,60}", 0..6)
    ) {
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        let bytes: Vec<&[u8]> = list.iter().map(|part| part.as_bytes()).collect();
        let info = info(&list);
        prop_assert_eq!(parts(&info), bytes);
    }

    #[test]
    fn two_different_uses_never_share_a_key(
        (label, used_for) in label_and_use("\0\u{3}tag\0\u{5}token\0\u{1}"),
        (other_label, other) in label_and_use("\0\u{3}tag\0\u{5}token\0\u{1}"),
    ) {
        let key = AppKey::from_bytes(&(0..32).collect::<Vec<u8>>()).unwrap();
        let is_same = (label, used_for.kind, &used_for.name) == (other_label, other.kind, &other.name);
        let keys = (subkey(key.prk(), label, &used_for), subkey(key.prk(), other_label, &other));
        prop_assert_eq!(is_same, keys.0 == keys.1);
    }
}

#[test]
fn a_gcm_collision_under_two_known_keys_is_refused_by_the_mac_though_gcm_opens_it() {
    let file: File = vectors!("collision.json");
    assert_eq!((file.vectors.len(), file.refused.len()), (4, 4));
    for (genuine, refused) in file.vectors.iter().zip(&file.refused) {
        assert_eq!(genuine.token, refused.token);
        let used_for = refused.used_for();
        let (sealed_by, ring) = (genuine.app_key(), refused.ring());
        let reader = ring.sealing();
        assert_eq!(sealed_by.id(), reader.id(), "{refused}");
        assert!(!sealed_by.is_same_as(reader), "{refused}");

        let mut token = Token::parse(&refused.token).unwrap();
        let parts = Parts::of(token.bytes_mut()).unwrap();
        let enc = subkey(reader.prk(), "enc", &used_for);
        let is_opened_by_gcm = [&sealed_by, reader].iter().any(|key| {
            let mut tag = Array(*parts.tag);
            Aes256::new(&Array(*subkey(key.prk(), "tag", &used_for))).decrypt_block(&mut tag);
            let sealed = Sealed {
                ciphertext: parts.ciphertext.to_vec(),
                tag: tag.into(),
            };
            let opened = sealed.open::<Xaes256Gcm>(&enc[..], parts.nonce, parts.head);
            opened.is_some_and(|plaintext| plaintext != *genuine.plaintext)
        });
        assert!(is_opened_by_gcm, "{refused}");
        assert_eq!(refused.open().map(drop), Err(Refusal::Forged), "{refused}");
    }
}

#[test]
fn one_ciphertext_opens_under_two_keys_with_gcm_alone() {
    let file: File = vectors!("collision.json");
    assert_eq!(file.xaes_256_gcm.len(), 4);
    for pair in file.xaes_256_gcm.chunks(2) {
        for vector in pair {
            let sealed = Sealed {
                ciphertext: vector.ciphertext.to_vec(),
                tag: vector.gcm_tag[..].try_into().unwrap(),
            };
            let opened = sealed.open::<Xaes256Gcm>(&vector.key, &vector.nonce, &vector.aad);
            assert_eq!(
                opened.as_deref(),
                Some(&*vector.plaintext),
                "{}",
                vector.name
            );
        }
        assert_eq!(pair[0].ciphertext, pair[1].ciphertext);
        assert_ne!(pair[0].plaintext, pair[1].plaintext);
    }
}

/// A random source that fails at the draw with this number, from 0.
fn failing_at(failing: usize) -> impl FnMut(&mut [u8]) -> Result<(), RandomError> {
    let mut draws = 0..;
    move |bytes| match draws.next() {
        Some(draw) if draw < failing => os_random(bytes),
        _ => Err(RandomError(())),
    }
}

#[test]
fn a_failing_random_source_gives_a_typed_error_no_token_and_a_session_as_it_was() {
    let ring = KeyRing::new(AppKey::generate().unwrap());
    let used_for = Use {
        kind: Kind::Cookie,
        name: "__Host-session".to_owned(),
        context: String::new(),
    };
    let envelope = Envelope::new(&ring, used_for.clone());
    let mut out = "kept".to_owned();
    let sealed = envelope.seal_into(&mut out, 0, |_| {}, &mut failing_at(0));
    assert_eq!((sealed, &*out), (Err(RandomError(()).into()), "kept"));

    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let policy = Policy::new(day, day, None, Millis::default());
    let flow = Flow::new(
        envelope,
        policy,
        CookieConfig::default().into(),
        &[],
        Events::default(),
        InCookie,
    );
    let now = Millis::from_raw(1_000_000);
    let save = |session: &Session, failing| flow.outgoing(session, now, &mut failing_at(failing));
    let fails = |session: &Session, failing| {
        let before = (session.id(), session.issued_at(), session.status());
        let error = save(session, failing).unwrap_err();
        let source = error.source().unwrap();
        assert!(source.downcast_ref::<RandomError>().is_some(), "{failing}");
        let after = (session.id(), session.issued_at(), session.status());
        assert_eq!(before, after, "{failing}");
    };

    let session = flow.session([], now);
    session.insert("user_id", 42).unwrap();
    fails(&session, 0);
    fails(&session, 1);
    let sent = save(&session, 2).unwrap();
    let cookie = sent
        .set_cookies()
        .next()
        .unwrap()
        .split(';')
        .next()
        .unwrap();

    let session = flow.session([cookie.as_bytes()], now);
    assert_eq!(session.get("user_id"), Ok(Some(42)));
    session.insert("user_id", 43).unwrap();
    fails(&session, 0);
    session.renew();
    fails(&session, 0);
    fails(&session, 1);
    assert_eq!(session.status(), Status::Modified);
    assert!(save(&session, 2).is_ok());
}

#[test]
fn debug_of_what_holds_derived_keys_shows_none_of_them() {
    let key = AppKey::generate().unwrap();
    let used_for = Use {
        kind: Kind::Cookie,
        name: "__Host-session".to_owned(),
        context: "shop".to_owned(),
    };
    let envelope = Envelope::new(&key.clone().into(), used_for.clone());
    let mut shown = format!("{envelope:?} {envelope:#?}");
    shown.retain(|c| !c.is_whitespace());
    assert!(shown.contains("__Host-session") && shown.contains(&key.id().to_string()));
    let mut secrets = LABELS
        .map(|label| subkey(key.prk(), label, &used_for))
        .to_vec();
    secrets.push(zeroize::Zeroizing::new(*key.prk()));
    for secret in secrets {
        let [a, b, c, d, ..] = *secret;
        for spelling in [
            format!("{a},{b},{c},{d}"),
            format!("{a:02x}{b:02x}{c:02x}{d:02x}"),
        ] {
            assert!(!shown.contains(&spelling));
        }
    }
}
