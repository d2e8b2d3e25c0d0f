//! Every malformed proof, at both endpoints: none is let in, and none ends a session.

use crate::client::*;

/// JWTs that are nearly right, each with what is wrong. `{}` is the challenge.
fn malformed(device: &p256::ecdsa::SigningKey, challenge: &str) -> Vec<(&'static str, String)> {
    let key = jwk(device);
    let claims = format!(r#"{{"jti":"{challenge}"}}"#);
    let with = |header: &str, claims: &str| signed(device, header, claims);
    let header = |alg: &str| format!(r#"{{"alg":{alg},"jwk":{key},"typ":"dbsc+jwt"}}"#);
    let good = with(&header("\"ES256\""), &claims);
    let parts: Vec<&str> = good.split('.').collect();
    vec![
        ("none", with(&header("\"none\""), &claims)),
        (
            "none, unsigned",
            format!("{}.{}.", encoded(header("\"none\"")), parts[1]),
        ),
        ("RS256", with(&header("\"RS256\""), &claims)),
        ("HS256", with(&header("\"HS256\""), &claims)),
        ("ES384", with(&header("\"ES384\""), &claims)),
        ("no algorithm", with(&header("null"), &claims)),
        (
            "alg twice",
            with(&header("\"none\",\"alg\":\"ES256\""), &claims),
        ),
        (
            "critical",
            with(&header("\"ES256\",\"crit\":[\"x\"],\"x\":1"), &claims),
        ),
        (
            "another type",
            with(&header("\"ES256\"").replace("dbsc+", ""), &claims),
        ),
        (
            "jti twice",
            with(
                &header("\"ES256\""),
                &format!(r#"{{"jti":"x","jti":"{challenge}"}}"#),
            ),
        ),
        ("no jti", with(&header("\"ES256\""), "{}")),
        ("jti is no text", with(&header("\"ES256\""), r#"{"jti":1}"#)),
        ("jti is empty", with(&header("\"ES256\""), r#"{"jti":""}"#)),
        (
            "jti and more",
            with(
                &header("\"ES256\""),
                &format!(r#"{{"jti":"{challenge}A"}}"#),
            ),
        ),
        (
            "jti cut",
            with(
                &header("\"ES256\""),
                &format!(r#"{{"jti":"{}"}}"#, &challenge[1..]),
            ),
        ),
        ("unsigned", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.{}", parts[2])),
        ("padded", format!("{good}=")),
        (
            "standard base64",
            good.replace('-', "+").replace('_', "/") + "+",
        ),
        (
            "JSON serialization",
            format!(r#"{{"payload":"{}","signature":"{}"}}"#, parts[1], parts[2]),
        ),
        (
            "zero signature",
            format!("{}.{}.{}", parts[0], parts[1], encoded([0; 64])),
        ),
        (
            "DER-like length",
            format!("{}.{}.{}", parts[0], parts[1], encoded([48; 70])),
        ),
        (
            "a short signature",
            format!("{}.{}.{}", parts[0], parts[1], encoded([1; 63])),
        ),
        (
            "another's claims",
            format!("{}.{}.{}", parts[0], encoded(r#"{"jti":"x"}"#), parts[2]),
        ),
        ("64 KiB", format!("{good}{}", "A".repeat(65_536))),
        ("empty", String::new()),
        ("quotes", "\"\"".to_owned()),
    ]
}

#[test]
fn no_malformed_proof_registers_or_refreshes_or_ends_a_session() {
    let service = Service::new();
    let mut registering = Visitor::new(&service);
    let response = registering.request(login).unwrap();
    let challenge = offered(&response).unwrap();
    for (what, jwt) in malformed(&registering.device, &challenge) {
        let answer = registering.post(REGISTER, From::Here, &[("secure-session-response", &jwt)]);
        assert_eq!(answer.status(), 403, "{what}");
        assert!(
            !sets(answer.headers(), KEY) && !sets(answer.headers(), PROOF),
            "{what}"
        );
    }
    let good = registering.register(&challenge, From::Here);
    assert_eq!(good.status(), 200, "and it was good all the time");

    let mut visitor = Visitor::bound(&service);
    let challenge = visitor.asked();
    for (what, jwt) in malformed(&visitor.device, &challenge) {
        let answer = visitor.post(REFRESH, From::Here, &[("secure-session-response", &jwt)]);
        assert!(matches!(answer.status().as_u16(), 200 | 403), "{what}");
        assert!(!is_end(&answer), "{what}");
        assert!(!sets(answer.headers(), PROOF), "{what}");
    }
    service.clock.forward(9 * crate::support::MINUTE);
    visitor.visit(|session| assert_eq!(user(session), Some(42)));
}

#[test]
fn every_byte_of_a_proof_counts() {
    let service = Service::new();
    let visitor = Visitor::bound(&service);
    let jwt = proof(&visitor.device, &visitor.asked());
    for at in 0..jwt.len() {
        let mut bytes = jwt.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let jwt = String::from_utf8(bytes).unwrap();
        let answer = visitor.post(REFRESH, From::Here, &[("secure-session-response", &jwt)]);
        assert!(!sets(answer.headers(), PROOF), "{at}");
    }
}

#[test]
fn every_byte_of_a_cookie_counts() {
    let service = Service::new();
    let visitor = Visitor::bound(&service);
    let fresh = proof(&visitor.device, &visitor.asked());
    for (name, path) in [(PROOF, "/"), (KEY, "/.device-bound-session")] {
        let good = visitor.cookie(name).unwrap().to_owned();
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let mut other = visitor.clone();
            other.set(name, &String::from_utf8(bytes).unwrap(), path);
            if name == PROOF {
                assert_eq!(user(&other.load()), None, "{at}");
            } else {
                let answer =
                    other.post(REFRESH, From::Here, &[("secure-session-response", &fresh)]);
                assert!(!sets(answer.headers(), PROOF), "{at}");
            }
        }
    }
}
