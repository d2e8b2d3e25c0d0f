//! What browsers with device-bound sessions send: JWTs against a slow reader, tokens for one
//! encoding, and the endpoints for what they may never do.

use std::sync::LazyLock;

use sealed_session::fuzzing::{DEVICE_TOKENS, device_token, read_jwt};
use sealed_session::{AppKey, CookieStore, DeviceBound};
use serde_json::Value;

use crate::reference::base64url;

static STORE: LazyLock<CookieStore> = LazyLock::new(|| {
    let key: Vec<u8> = (0..32).map(|n| n * 3).collect();
    let key = AppKey::from_bytes(&key).expect("32 bytes");
    let builder = CookieStore::builder(key).device_bound(DeviceBound::default());
    builder.build().expect("the default cookie")
});

/// `data`: a header's value; the three parts of a JWT, each to be encoded; and what is in a token.
pub fn device(data: &[u8]) {
    field(data);
    let parts: Vec<&[u8]> = data.splitn(3, |byte| *byte == b'.').collect();
    let parts: Vec<String> = parts.iter().map(|part| encoded(part)).collect();
    field(parts.join(".").as_bytes());
    for kind in 0..DEVICE_TOKENS {
        if let Some(again) = device_token(kind, data) {
            assert_eq!(again, data, "whatever decodes has one encoding");
        }
    }
}

fn field(field: &[u8]) {
    match (read_jwt(field), slowly(field)) {
        (Some((challenge, point)), Some(expected)) => {
            assert_eq!(challenge.as_deref(), expected.as_deref());
            assert!(point.is_none_or(|point| matches!(point, [2 | 3, ..])));
        }
        // The slow reader knows no curve.
        (None, Some(_)) => assert!(field.len() > 64, "no signature is so short"),
        (None, None) => {}
        (Some(_), None) => panic!("it is no JWT for browsers"),
    }
    for path in [
        "/.device-bound-session/register",
        "/.device-bound-session/refresh",
    ] {
        let headers = [
            ("sec-fetch-site", &b"same-origin"[..]),
            ("secure-session-response", field),
            ("cookie", field),
        ];
        let answer = STORE
            .device_answer("POST", path, headers)
            .expect("an endpoint");
        let set = answer.headers().get_all("set-cookie").iter();
        let are_removals = set.map(|cookie| cookie.to_str().unwrap_or_default());
        assert!(are_removals.into_iter().all(|cookie| cookie.contains("=;")));
    }
    let skipped = [("secure-session-skipped", field), ("cookie", field)];
    assert!(STORE.device_answer("GET", "/", skipped).is_none());
}

/// The challenge, if there is one, of what may be a JWT of the right form.
fn slowly(field: &[u8]) -> Option<Option<String>> {
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches([' ', '\t', '\n', '\r', '\x0c']);
    let is_quoted = text.len() > 1 && text.starts_with('"') && text.ends_with('"');
    let text = if is_quoted {
        &text[1..text.len() - 1]
    } else {
        text
    };
    let parts: Vec<&str> = text.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return None;
    };
    let read = |part: &str| serde_json::from_slice::<Value>(&base64url(part.as_bytes())?).ok();
    let (header, claims) = (read(header)?, read(claims)?);
    let typ = header["typ"].as_str()?.to_ascii_lowercase();
    let is_known = header["alg"] == "ES256" && typ == "dbsc+jwt" && header.get("crit").is_none();
    let is_signed = base64url(signature.as_bytes())?.len() == 64;
    let is_short = text.len() <= 4096;
    (is_known && is_signed && is_short && claims.is_object())
        .then(|| claims["jti"].as_str().map(str::to_owned))
}

fn encoded(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three
            .iter()
            .fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
        let number = number << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            let digit = number >> (18 - 6 * place) & 63;
            text.push(char::from(ALPHABET[digit as usize]));
        }
    }
    text
}
