//! What each command refuses: how it ends, what it names, and that it shows nothing secret.

use std::process::Command;
use std::time::{Duration, SystemTime};

use sealed_session::{AppKey, CookieStore, KeyRing, Sealer};

use crate::{fails, keygen, ok, sealed_ago, value_of};

#[test]
fn a_token_that_does_not_open_ends_with_1_and_the_reason() {
    let (key, other) = (keygen(), keygen());
    let day = Duration::from_secs(86_400);
    let fresh = sealed_ago(&key, Duration::ZERO, |_| {});
    let fresh = value_of(&fresh);
    let (start, rest) = fresh.split_at(fresh.len() / 2);
    let (one, end) = rest.split_at(1);
    let altered = format!("{start}{}{end}", if one == "A" { "B" } else { "A" });
    // A multiple of four, so that it is base64.
    let (truncated, _) = fresh.split_at(fresh.len() / 4 * 4 - 4);
    let expired = sealed_ago(&key, day, |_| {});
    let hour_old = sealed_ago(&key, Duration::from_secs(3600), |_| {});
    let of_other = sealed_ago(&other, Duration::ZERO, |_| {});
    let ring = || KeyRing::new(key.parse::<AppKey>().unwrap());
    let no_session = Sealer::new(ring(), "__Host-session")
        .unwrap()
        .seal(b"x")
        .unwrap();
    let future = {
        let store = CookieStore::builder(ring()).clock(move || SystemTime::now() + day);
        let store = store.build().unwrap();
        let session = store.load_from::<str>([]);
        session.insert("user_id", 42).unwrap();
        let outgoing = store.respond(&session).unwrap();
        outgoing.set_cookies().next().unwrap().to_owned()
    };
    for (input, variable, reason) in [
        (altered.as_str(), ("", ""), "corrupt"),
        (truncated, ("", ""), "forged"),
        (&format!("{fresh}="), ("", ""), "malformed"),
        (&format!("{fresh}AAAA"), ("", ""), "forged"),
        ("hunter2", ("", ""), "malformed"),
        (&"A".repeat(5000), ("", ""), "too_long"),
        (&"A".repeat(200), ("", ""), "unknown_version"),
        (&of_other, ("", ""), "unknown_key"),
        (&no_session, ("", ""), "forged"),
        (&expired, ("", ""), "expired"),
        (&future, ("", ""), "future"),
        (&hour_old, ("SESSION_MAX_AGE", "30m"), "expired"),
        (&hour_old, ("SESSION_MAX_LIFETIME", "1h"), "expired"),
        (&hour_old, ("SESSION_IDLE_TIMEOUT", "30m"), "idle"),
        (
            &hour_old,
            ("SESSION_NOT_BEFORE", "9999-01-01T00:00:00Z"),
            "cutoff",
        ),
    ] {
        let variables = [("APP_KEY", key.as_str()), variable];
        let set = if variable.0.is_empty() {
            &variables[..1]
        } else {
            &variables
        };
        let error = fails(1, &["open"], set, input);
        assert!(error.starts_with("the token does not open: "), "{error}");
        assert!(error.ends_with(&format!("({reason})")), "{error}");
        assert!(!error.contains(input.split_at(7).0), "{error}");
    }
    ok(&["open"], &[("APP_KEY", &key)], hour_old);
}

#[test]
fn a_key_that_is_refused_is_named_and_not_shown() {
    let key = keygen();
    let two = format!("{key},base64:hunter2hunter2");
    let passphrase = "base64:Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZSBjb3JyZWN0";
    for (variables, place) in [
        (&[][..], "APP_KEY: it is not set"),
        (&[("APP_KEY", "")], "APP_KEY: it starts with neither"),
        (&[("APP_KEY", "hunter2")], "APP_KEY: it starts with neither"),
        (
            &[("APP_KEY", passphrase)],
            "APP_KEY: it decodes to printable text",
        ),
        (
            &[("APP_KEY", &key), ("APP_PREVIOUS_KEYS", ",")],
            "APP_PREVIOUS_KEYS, item 1: ",
        ),
        (
            &[("APP_KEY", &key), ("APP_PREVIOUS_KEYS", &two)],
            "APP_PREVIOUS_KEYS, item 2: ",
        ),
    ] {
        for command in ["seal", "open", "keys"] {
            let error = fails(2, &[command], variables, "{}");
            assert!(error.starts_with(place), "{error}");
            for secret in ["hunter2", key.strip_prefix("base64:").unwrap(), "Y29y"] {
                assert!(!error.contains(secret), "{error}");
            }
        }
    }
}

#[test]
fn a_wrong_setting_is_named_and_not_shown() {
    let key = keygen();
    for (variable, content, arguments, setting) in [
        (
            "SESSION_MAX_AGE",
            "hunter2",
            &["seal"][..],
            "SESSION_MAX_AGE: ",
        ),
        ("SESSION_SECURE", "false", &["open"], "SESSION_SECURE: "),
        ("SESSION_DRIVER", "hunter2", &["open"], "SESSION_DRIVER: "),
        (
            "SESSION_COOKIE_NAME",
            "hunter2;",
            &["inspect"],
            "SESSION_COOKIE_NAME: ",
        ),
        ("", "", &["open", "--cookie", "hunter2;"], "cookie name: "),
        ("", "", &["open", "--cookie", ""], "cookie name: "),
        (
            "",
            "",
            &["seal", "--context", &"hunter2".repeat(40)],
            "context: ",
        ),
        ("", "", &["seal", "--lifetime", "hunter2"], "--lifetime: "),
        (
            "",
            "",
            &["seal", "--lifetime", "99999999999999y"],
            "--lifetime: ",
        ),
        ("", "", &["seal", "--lifetime", "0s"], "lifetime: "),
        (
            "SESSION_MAX_LIFETIME",
            "1h",
            &["seal", "--lifetime", "2h"],
            "lifetime: ",
        ),
    ] {
        let variables = [("APP_KEY", key.as_str()), (variable, content)];
        let set = if variable.is_empty() {
            &variables[..1]
        } else {
            &variables
        };
        let error = fails(2, arguments, set, "{}");
        assert!(error.starts_with(setting), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn input_that_cannot_be_sealed_ends_with_2_and_is_not_shown() {
    let key = keygen();
    let large = format!(r#"{{"note": "{}"}}"#, "hunter2".repeat(600));
    let deep = format!(
        r#"{{"deep": {}"hunter2"{}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    let abyss = format!(r#"{{"deep": {}"#, "[".repeat(100_000));
    let endless = vec![b' '; (1 << 20) + 1];
    for (input, problem) in [
        (&b""[..], "standard input is not JSON: EOF"),
        (
            b"hunter2",
            "standard input is not JSON: expected value at line 1",
        ),
        (br#"{"a": "hunter2"#, "standard input is not JSON: EOF"),
        (
            br#"{"a": 1} hunter2"#,
            "standard input is not JSON: trailing characters",
        ),
        (
            br#"{"a": 1e999}"#,
            "standard input is not JSON: number out of range",
        ),
        (
            br#""hunter2""#,
            "standard input has JSON of another kind (string); an object is needed",
        ),
        (
            br#"["hunter2"]"#,
            "standard input has JSON of another kind (list); an object is needed",
        ),
        (
            b"{\"a\": \"\xff hunter2\"}",
            "standard input is not UTF-8 text",
        ),
        (
            large.as_bytes(),
            "\"note\": the cookie's or header's name and value would be ",
        ),
        (
            deep.as_bytes(),
            "\"deep\": it is nested deeper than 32 levels",
        ),
        (
            abyss.as_bytes(),
            "standard input is not JSON: recursion limit",
        ),
        (&endless, "standard input has more than 1048576 bytes"),
    ] {
        let error = fails(2, &["seal"], &[("APP_KEY", &key)], input);
        assert!(error.starts_with(problem), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for command in ["open", "inspect"] {
        for input in [&b"hunter2 \xff"[..], &endless] {
            let error = fails(2, &[command], &[("APP_KEY", &key)], input);
            assert!(error.starts_with("standard input "), "{error}");
        }
    }
}

#[test]
fn wrong_usage_ends_with_2_and_what_was_typed_is_not_shown() {
    for arguments in [
        &[][..],
        &["hunter2"],
        &["open", "hunter2"],
        &["open", "--hunter2"],
        &["keys", "--cookie", "hunter2"],
        &["inspect", "--context", "hunter2"],
        &["seal", "--lifetime"],
        &["open", "--cookie", "a", "--cookie", "hunter2"],
    ] {
        let error = fails(2, arguments, &[], "");
        assert!(error.ends_with("; see `sealed-session --help`"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_ends_with_2() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sealed-session"))
        .arg("keygen")
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        output
            .stderr
            .starts_with(b"sealed-session: standard output: ")
    );
}
