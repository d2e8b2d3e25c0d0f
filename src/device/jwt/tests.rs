//! Tables of what is no JWT, and of what is one all the same.

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer;

use super::*;

const HEADER: &str = r#"{"alg":"ES256","typ":"dbsc+jwt"}"#;
const CLAIMS: &str = r#"{"jti":"challenge"}"#;

fn key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signature(header: &str, claims: &str) -> Signature {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    key().sign(signed.as_bytes())
}

fn jwt(header: &str, claims: &str) -> String {
    let signature = signature(header, claims);
    let parts = [
        encoded(header),
        encoded(claims),
        encoded(signature.to_bytes()),
    ];
    parts.join(".")
}

fn coordinates() -> [Vec<u8>; 2] {
    let point = key().verifying_key().to_sec1_point(false);
    [point.x().unwrap().to_vec(), point.y().unwrap().to_vec()]
}

/// A registration's header with these coordinates.
fn with_key(x: &[u8], y: &[u8]) -> String {
    let (x, y) = (encoded(x), encoded(y));
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    format!(r#"{{"alg":"ES256","jwk":{jwk},"typ":"dbsc+jwt"}}"#)
}

fn is_good(text: &str) -> bool {
    Jwt::read(text.as_bytes()).is_some_and(|jwt| jwt.is_signed_by(key().verifying_key()))
}

#[test]
fn a_jwt_is_read_bare_and_quoted() {
    let good = jwt(HEADER, CLAIMS);
    for text in [
        good.clone(),
        format!("\"{good}\""),
        format!(" {good}\t"),
        format!(" \"{good}\" "),
    ] {
        let read = Jwt::read(text.as_bytes()).unwrap();
        assert_eq!(read.challenge(), Some("challenge"), "{text}");
        assert!(read.is_signed_by(key().verifying_key()), "{text}");
        assert!(read.key().is_none());
    }
}

#[test]
fn unknown_members_and_another_order_do_no_harm() {
    for (header, claims) in [
        (
            r#"{"typ":"DBSC+JWT","kid":{"a":[1]},"alg":"ES256"}"#,
            CLAIMS,
        ),
        (r#" {"alg" : "ES256","typ":"dbsc+jwt"} "#, CLAIMS),
        (
            HEADER,
            r#"{"aud":"x","jti":"challenge","authorization":null,"iat":1.5}"#,
        ),
    ] {
        assert!(is_good(&jwt(header, claims)), "{header} {claims}");
    }
}

#[test]
fn only_es256_of_the_browsers_type_without_critical_extensions_is_read() {
    for header in [
        r#"{"typ":"dbsc+jwt"}"#,
        r#"{"alg":"none","typ":"dbsc+jwt"}"#,
        r#"{"alg":"None","typ":"dbsc+jwt"}"#,
        r#"{"alg":"","typ":"dbsc+jwt"}"#,
        r#"{"alg":"HS256","typ":"dbsc+jwt"}"#,
        r#"{"alg":"RS256","typ":"dbsc+jwt"}"#,
        r#"{"alg":"ES384","typ":"dbsc+jwt"}"#,
        r#"{"alg":"ES256K","typ":"dbsc+jwt"}"#,
        r#"{"alg":"es256","typ":"dbsc+jwt"}"#,
        r#"{"alg":["ES256"],"typ":"dbsc+jwt"}"#,
        r#"{"alg":null,"typ":"dbsc+jwt"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"alg":"ES256","typ":"JWT"}"#,
        r#"{"alg":"ES256","typ":"jwt"}"#,
        r#"{"alg":"ES256","typ":"dbsc+jwt","crit":[]}"#,
        r#"{"alg":"ES256","typ":"dbsc+jwt","crit":["b64"],"b64":false}"#,
        r#"{"alg":"ES256","typ":"dbsc+jwt","crit":null}"#,
        r#"{"alg":"none","alg":"ES256","typ":"dbsc+jwt"}"#,
        r#"{"alg":"ES256","alg":"ES256","typ":"dbsc+jwt"}"#,
        r#"[{"alg":"ES256","typ":"dbsc+jwt"}]"#,
        "",
        "{",
    ] {
        assert!(
            Jwt::read(jwt(header, CLAIMS).as_bytes()).is_none(),
            "{header}"
        );
    }
    for claims in [r#"{"jti":"a","jti":"challenge"}"#, "[]", "", "1"] {
        assert!(
            Jwt::read(jwt(HEADER, claims).as_bytes()).is_none(),
            "{claims}"
        );
    }
    for claims in ["{}", r#"{"jti":1}"#, r#"{"JTI":"challenge"}"#] {
        let text = jwt(HEADER, claims);
        assert_eq!(
            Jwt::read(text.as_bytes()).unwrap().challenge(),
            None,
            "{claims}"
        );
    }
}

#[test]
fn every_malformed_form_is_refused() {
    let good = jwt(HEADER, CLAIMS);
    let [header, claims, signed] = [0, 1, 2].map(|n| good.split('.').nth(n).unwrap().to_owned());
    let raw = signature(HEADER, CLAIMS).to_bytes().to_vec();
    // The last character of 64 bytes has four bits that stand for nothing.
    let mut cut = good.clone();
    let last = cut.pop().unwrap();
    let others = (b'A'..=b'z').map(char::from).filter(|other| *other != last);
    let others: Vec<String> = others.map(|other| format!("{cut}{other}")).collect();
    assert!(others.len() > 50);
    assert!(others.iter().all(|other| !is_good(other)), "loose bits");
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "\"".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!(".{claims}.{signed}"),
        format!("{header}..{signed}"),
        format!("{good}."),
        format!("{good}.{signed}"),
        format!("\"{good}"),
        format!("{good}\""),
        format!("'{good}'"),
        format!("{good}="),
        format!("{header}=.{claims}.{signed}"),
        format!("{header}.{claims}==.{signed}"),
        format!("{header} .{claims}.{signed}"),
        format!("{header}.\n{claims}.{signed}"),
        format!("{good}, {good}"),
        format!("{header}.{claims}.{}", encoded(&raw[..63])),
        format!("{header}.{claims}.{}", encoded([&raw[..], &[0]].concat())),
        format!("{header}.{claims}.{}", encoded([0; 64])),
        format!(
            "{header}.{claims}.{}",
            encoded([&[0; 32][..], &raw[32..]].concat())
        ),
        format!(
            "{header}.{claims}.{}",
            encoded([&raw[..32], &[0; 32]].concat())
        ),
        format!("{header}.{claims}.{}", encoded([0xff; 64])),
    ] {
        assert!(Jwt::read(bad.as_bytes()).is_none(), "{bad}");
    }
    let mut cut = good.clone();
    while cut.pop().is_some() {
        assert!(!is_good(&cut), "cut to {}", cut.len());
    }
}

#[test]
fn a_jwt_may_have_4096_characters_and_no_more() {
    let fill = |length| {
        let claims = format!(r#"{{"jti":"{}"}}"#, "x".repeat(length));
        jwt(HEADER, &claims)
    };
    let length = (2900..3100)
        .rev()
        .find(|length| fill(*length).len() <= MAX_LENGTH);
    let length = length.unwrap();
    assert!(is_good(&fill(length)));
    assert!(fill(length + 1).len() > MAX_LENGTH);
    assert!(!is_good(&fill(length + 1)));
}

#[test]
fn a_signature_of_another_key_or_over_anything_else_is_not_good() {
    let good = jwt(HEADER, CLAIMS);
    let other = SigningKey::from_slice(&[8; 32]).unwrap();
    let read = Jwt::read(good.as_bytes()).unwrap();
    assert!(!read.is_signed_by(other.verifying_key()));
    let parts: Vec<&str> = good.split('.').collect();
    let other = encoded(r#"{"jti":"another"}"#);
    assert!(!is_good(&[parts[0], &other, parts[2]].join(".")));
    let other = encoded(r#"{"alg":"ES256","typ":"dbsc+jwt","x":1}"#);
    assert!(!is_good(&[&other, parts[1], parts[2]].join(".")));
}

#[test]
fn a_high_s_is_as_good_as_a_low_one() {
    let signature = signature(HEADER, CLAIMS);
    let (r, s) = signature.split_scalars();
    let other = Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    assert_ne!(signature, other);
    for signature in [signature, other] {
        let text = [
            encoded(HEADER),
            encoded(CLAIMS),
            encoded(signature.to_bytes()),
        ]
        .join(".");
        assert!(is_good(&text));
    }
}

#[test]
fn a_registrations_key_is_read_and_survives_its_compression() {
    let [x, y] = coordinates();
    let text = jwt(&with_key(&x, &y), CLAIMS);
    let read = Jwt::read(text.as_bytes()).unwrap();
    let found = read.key().unwrap();
    assert!(read.is_signed_by(&found));
    let point = compressed(&found).unwrap();
    assert_eq!(decompressed(&point), Some(found));
}

#[test]
fn a_key_that_is_no_point_of_the_curve_is_refused() {
    let [x, y] = coordinates();
    let mut off = y.clone();
    off[31] ^= 1;
    let jwk = |jwk: &str| format!(r#"{{"alg":"ES256","jwk":{jwk},"typ":"dbsc+jwt"}}"#);
    let (x64, y64) = (encoded(&x), encoded(&y));
    for header in [
        with_key(&x, &off),
        with_key(&y, &x),
        with_key(&[0; 32], &[0; 32]),
        with_key(&[0xff; 32], &y),
        with_key(&x[1..], &y),
        with_key(&x, &[&[0][..], &y].concat()),
        with_key(&[], &y),
        jwk("null"),
        jwk("{}"),
        jwk("\"EC\""),
        jwk(&format!(r#"{{"crv":"P-256","kty":"EC","x":"{x64}"}}"#)),
        jwk(&format!(
            r#"{{"crv":"P-384","kty":"EC","x":"{x64}","y":"{y64}"}}"#
        )),
        jwk(&format!(
            r#"{{"crv":"P-256","kty":"OKP","x":"{x64}","y":"{y64}"}}"#
        )),
        jwk(&format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{x64}=","y":"{y64}"}}"#
        )),
        jwk(&format!(
            r#"{{"crv":"P-256","kty":"EC","x":1,"y":"{y64}"}}"#
        )),
        HEADER.to_owned(),
    ] {
        let text = jwt(&header, CLAIMS);
        let read = Jwt::read(text.as_bytes()).unwrap();
        assert!(read.key().is_none(), "{header}");
    }
}
