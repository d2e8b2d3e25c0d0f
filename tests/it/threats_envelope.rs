//! Threats to tokens: altered, spliced, spelled otherwise, or carried to another use. Through the
//! public API and real headers; what needs derived keys or a chosen nonce stands in
//! `src/envelope/tests`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use sealed_session::{
    AppKey, CookieConfig, CookieStore, KeyRing, Origin, Refusal, Sealer, Session, Token,
};

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn ring() -> KeyRing {
    AppKey::generate().unwrap().into()
}

fn store(ring: &KeyRing, cookie: &str, context: &str) -> CookieStore {
    CookieStore::builder(ring.clone())
        .cookie(CookieConfig::builder().name(cookie).build().unwrap())
        .context(context)
        .build()
        .unwrap()
}

/// The token of a session with an everyday value.
fn sealed(store: &CookieStore) -> String {
    let session = store.load(&HeaderMap::new());
    session.insert("user_id", 42).unwrap();
    let mut response = HeaderMap::new();
    store.save(&session, &mut response).unwrap();
    let set_cookie = response.get(SET_COOKIE).unwrap().to_str().unwrap();
    let (_, value) = set_cookie.split_once('=').unwrap();
    value.split(';').next().unwrap().to_owned()
}

/// What the store makes of a request with this cookie; the value may be any bytes that a header
/// can have.
fn load(store: &CookieStore, name: &str, value: &[u8]) -> Session {
    let field = [name.as_bytes(), b"=", value].concat();
    let mut request = HeaderMap::new();
    request.insert(COOKIE, HeaderValue::from_bytes(&field).unwrap());
    store.load(&request)
}

#[track_caller]
fn assert_opens(store: &CookieStore, name: &str, token: &str) {
    let session = load(store, name, token.as_bytes());
    assert_eq!(session.origin(), Origin::Opened);
    assert_eq!(session.get("user_id"), Ok(Some(42)));
}

#[track_caller]
fn assert_refused(store: &CookieStore, name: &str, value: &[u8], expected: &[Refusal]) {
    let session = load(store, name, value);
    let Origin::Refused(reason) = session.origin() else {
        panic!("{:?}: {}", session.origin(), value.escape_ascii());
    };
    assert!(
        expected.contains(&reason),
        "{reason:?}: {}",
        value.escape_ascii()
    );
    assert!(session.is_empty() && session.id().is_none());
}

/// What becomes of a token that comes in.
type Open = Box<dyn Fn(&[u8]) -> Result<(), Refusal>>;

/// A token in a cookie and two of a Sealer, and who opens them.
fn targets() -> [(String, Open); 3] {
    let ring = ring();
    let store = store(&ring, "__Host-session", "");
    let cookie = sealed(&store);
    let by_store = move |value: &[u8]| match load(&store, "__Host-session", value).origin() {
        Origin::Opened => Ok(()),
        Origin::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    };
    let sealer = Sealer::new(ring, "invitation").unwrap();
    let plain = sealer.seal(b"user 42").unwrap();
    let timed = sealer
        .seal_for(b"user 42", Duration::from_secs(900))
        .unwrap();
    let by_sealer = move |value: &[u8]| {
        let text = String::from_utf8_lossy(value);
        sealer.open(&text).map(drop).map_err(|error| error.reason())
    };
    [
        (cookie, Box::new(by_store)),
        (plain, Box::new(by_sealer.clone())),
        (timed, Box::new(by_sealer)),
    ]
}

#[test]
fn every_single_bit_flipped_is_refused() {
    for (token, open) in targets() {
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let reason = open(URL_SAFE_NO_PAD.encode(flipped).as_bytes()).unwrap_err();
            let ciphertext = 29..bytes.len() - 48;
            let expected = match bit / 8 {
                0 => Refusal::UnknownVersion,
                1..5 => Refusal::UnknownKey,
                byte if ciphertext.contains(&byte) => Refusal::Corrupt,
                _ => Refusal::Forged,
            };
            assert_eq!(reason, expected, "bit {bit}");
        }
        assert_eq!(open(token.as_bytes()), Ok(()));
    }
}

/// The same in the text of the token. What a header cannot carry does not reach the store.
#[test]
fn every_single_bit_flipped_in_the_text_is_refused() {
    for (token, open) in targets() {
        let mut refused = 0;
        for bit in 0..token.len() * 8 {
            let mut flipped = token.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if HeaderValue::from_bytes(&flipped).is_ok() {
                assert!(open(&flipped).is_err(), "bit {bit}");
                refused += 1;
            }
        }
        assert!(refused > token.len() * 6, "{refused}");
    }
}

#[test]
fn every_truncation_is_refused_at_both_ends() {
    for (token, open) in targets() {
        for at in 0..token.len() {
            assert!(
                open(&token.as_bytes()[..at]).is_err(),
                "first {at} characters"
            );
            if at > 0 {
                assert!(
                    open(&token.as_bytes()[at..]).is_err(),
                    "from character {at}"
                );
            }
        }
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for at in 0..bytes.len() {
            let shorter = URL_SAFE_NO_PAD.encode(&bytes[..at]);
            let expected = if at < 77 {
                Refusal::Malformed
            } else {
                Refusal::Forged
            };
            assert_eq!(open(shorter.as_bytes()), Err(expected), "first {at} bytes");
        }
        assert_eq!(open(token.as_bytes()), Ok(()));
    }
}

#[test]
fn every_appended_byte_is_refused() {
    for (token, open) in targets() {
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for byte in 0..=255 {
            let longer = URL_SAFE_NO_PAD.encode([&bytes[..], &[byte]].concat());
            assert_eq!(open(longer.as_bytes()), Err(Refusal::Forged), "{byte}");
            let longer = URL_SAFE_NO_PAD.encode([&[byte], &bytes[..]].concat());
            assert!(open(longer.as_bytes()).is_err(), "{byte} in front");
        }
        for character in ALPHABET.bytes() {
            assert!(open(&[token.as_bytes(), &[character]].concat()).is_err());
            assert!(open(&[&[character], token.as_bytes()].concat()).is_err());
        }
    }
}

#[test]
fn a_cookie_sealed_for_one_name_never_opens_under_another() {
    let ring = ring();
    let names = [
        "__Host-session",
        "__Host-sessions",
        "__Host-Session",
        "__Secure-session",
        "s",
    ];
    for name in names {
        let token = sealed(&store(&ring, name, ""));
        for other in names {
            let reader = store(&ring, other, "");
            if name == other {
                assert_opens(&reader, other, &token);
            } else {
                assert_refused(&reader, other, token.as_bytes(), &[Refusal::Forged]);
            }
        }
    }
}

/// The record of format.md's example, with another lifetime: what a cookie holds, to the byte.
fn record(expires_in: Duration) -> Vec<u8> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let millis = |time: Duration| time.as_millis().to_be_bytes()[10..].to_vec();
    [
        &[1, 0][..],
        &[0x5e; 16],
        &millis(now),
        &millis(now),
        &millis(now + expires_in),
        b"\x00\x01\x07user_id\x02\x02\x2a\x00",
    ]
    .concat()
}

#[test]
fn a_sealer_whose_purpose_is_a_cookies_name_and_the_cookie_open_none_of_each_others_tokens() {
    let ring = ring();
    for (name, context) in [("__Host-session", ""), ("sid", "shop")] {
        let store = store(&ring, name, context);
        let sealer = Sealer::with_context(ring.clone(), name, context).unwrap();
        let cookie = sealed(&store);
        assert_opens(&store, name, &cookie);
        let reason = sealer.open(&cookie).unwrap_err().reason();
        assert_eq!(reason, Refusal::Forged);

        let hour = Duration::from_secs(3600);
        let record = record(hour);
        let genuine = Token::parse(&cookie).unwrap().plaintext_len();
        assert_eq!(record.len(), genuine);
        for token in [
            sealer.seal(&record).unwrap(),
            sealer.seal_for(&record, hour).unwrap(),
        ] {
            assert!(sealer.open(&token).is_ok());
            assert_refused(&store, name, token.as_bytes(), &[Refusal::Forged]);
        }
    }
}

#[test]
fn two_applications_with_one_key_and_different_contexts_open_none_of_each_others_tokens() {
    let ring = ring();
    // The last two join to the same bytes.
    let uses = [
        ("ab", ""),
        ("ab", "shop"),
        ("ab", "Shop"),
        ("ab", "c"),
        ("a", "bc"),
    ];
    for (name, context) in uses {
        let cookie = sealed(&store(&ring, name, context));
        let sealer = Sealer::with_context(ring.clone(), name, context).unwrap();
        let token = sealer.seal(b"42").unwrap();
        let timed = sealer.seal_for(b"42", Duration::from_secs(60)).unwrap();
        for (other, other_context) in uses {
            let reader = store(&ring, other, other_context);
            let opener = Sealer::with_context(ring.clone(), other, other_context).unwrap();
            let opened = [&token, &timed].map(|token| opener.open(token));
            if (name, context) == (other, other_context) {
                assert_opens(&reader, other, &cookie);
                assert!(opened.iter().all(Result::is_ok));
            } else {
                assert_refused(&reader, other, cookie.as_bytes(), &[Refusal::Forged]);
                let reasons = opened.map(|opened| opened.unwrap_err().reason());
                assert_eq!(reasons, [Refusal::Forged; 2]);
            }
        }
    }
}

#[test]
fn every_version_but_the_one_that_is_listed_is_refused() {
    for (token, open) in targets() {
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        let mut opened = Vec::new();
        for version in 0..=255 {
            bytes[0] = version;
            match open(URL_SAFE_NO_PAD.encode(&bytes).as_bytes()) {
                Ok(()) => opened.push(version),
                Err(reason) => assert_eq!(reason, Refusal::UnknownVersion, "{version}"),
            }
        }
        assert_eq!(opened, [1]);
    }
}

#[test]
fn a_token_has_one_spelling() {
    let ring = ring();
    let store = store(&ring, "__Host-session", "");
    let sealer = Sealer::new(ring, "invitation").unwrap();
    let mut loose = 0;
    for length in 0..6 {
        let session = store.load(&HeaderMap::new());
        session.insert("user_id", 42).unwrap();
        session.insert("x", "x".repeat(length)).unwrap();
        let outgoing = store.respond(&session).unwrap();
        let set_cookie = outgoing.set_cookies().next().unwrap();
        let cookie = set_cookie.split(['=', ';']).nth(1).unwrap().to_owned();
        assert_opens(&store, "__Host-session", &cookie);

        let token = sealer.seal(&vec![b'x'; length]).unwrap();
        let open_cookie = |text: &str| {
            let opened = load(&store, "__Host-session", text.as_bytes()).origin();
            assert_eq!(opened, Origin::Refused(Refusal::Malformed), "{text}");
        };
        let open_token = |text: &str| {
            let reason = sealer.open(text).unwrap_err().reason();
            assert_eq!(reason, Refusal::Malformed, "{text}");
        };
        for (token, refuse) in [
            (cookie, &open_cookie as &dyn Fn(&str)),
            (token, &open_token),
        ] {
            let (front, back) = token.split_at(token.len() / 2);
            let (rest, last) = token.split_at(token.len() - 1);
            for text in [
                format!("{token}="),
                format!("{token}=="),
                format!("{front}={back}"),
                format!("\"{token}\""),
                format!("\"{token}"),
                format!("{token}\""),
                format!("'{token}'"),
                format!("{front} {back}"),
                format!("{front}\t{back}"),
                format!("{front}.{back}"),
                format!("{front},{back}"),
                format!("{front}+{}", back.split_at(1).1),
                format!("{front}/{}", back.split_at(1).1),
                format!("{front}%{}", back.split_at(1).1),
                format!("{rest}%{:02X}", last.as_bytes()[0]),
                format!("%41{token}"),
                format!("{front}\u{e9}{back}"),
                format!("\u{2000}{token}"),
                format!("{token}\u{a0}"),
            ] {
                refuse(&text);
            }
            // Other last characters that a loose decoder takes for the same bytes.
            let at = ALPHABET.find(last).unwrap();
            let free = [0, 0, 16, 4][token.len() % 4];
            for other in (at..at + free).skip(1) {
                let other = ALPHABET.get(other..=other).unwrap();
                refuse(&format!("{rest}{other}"));
                loose += 1;
            }
        }
        for blank in [" ", "\t", "\n", "\r\n", "\0", "\u{feff}"] {
            let token = sealer.seal(b"42").unwrap();
            open_token(&format!("{token}{blank}"));
            open_token(&format!("{blank}{token}"));
        }
    }
    // Two lengths of each remainder, in cookies and in a Sealer's tokens.
    assert_eq!(loose, 2 * 2 * (15 + 3));
}
