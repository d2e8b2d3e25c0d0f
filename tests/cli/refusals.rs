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

/// What an operator does to a token on the way, and the words that name it.
#[test]
fn what_was_done_to_a_token_is_named() {
    let key = keygen();
    let fresh = sealed_ago(&key, Duration::ZERO, |_| {});
    let token = value_of(&fresh);
    let (start, end) = token.split_at(token.len() / 2);
    for (input, named) in [
        (format!("\"{token}\""), "a quote around it"),
        (format!("'{token}'"), "a quote around it"),
        (
            format!("__Host-session=\"{token}\"; Path=/"),
            "a quote around it",
        ),
        (format!("{start}\n{end}"), "a line end in it"),
        (format!("{start}\r\n  {end}"), "a line end in it"),
        (format!("{start} {end}"), "white space in it"),
        (format!("{start}%2D{end}"), "a percent sign"),
        (format!("{start}…"), "cut short"),
        (format!("{start}..."), "cut short"),
        (format!("{token}="), "base64 of another kind"),
        (format!("{start}+{end}"), "base64 of another kind"),
        (
            format!("{start}é{end}"),
            "a character in it that no token has",
        ),
        ("AQ".to_owned(), "shorter than any token"),
    ] {
        for command in ["open", "inspect"] {
            let error = fails(1, &[command], &[("APP_KEY", &key)], &input);
            assert!(
                error.contains(named) && error.ends_with("(malformed)"),
                "{error}"
            );
            assert!(!error.contains(start.split_at(8).0), "{error}");
        }
    }
    let (truncated, _) = token.split_at(token.len() / 4 * 4 - 4);
    let error = fails(1, &["open"], &[("APP_KEY", &key)], truncated);
    assert!(error.contains("it may be cut short"), "{error}");
}

#[test]
fn the_name_the_context_and_the_key_that_are_wrong_are_named() {
    let (key, other) = (keygen(), keygen());
    let id = |key: &str| key.parse::<AppKey>().unwrap().id().to_string();
    let ring = [("APP_KEY", key.as_str())];
    let token = ok(&["seal", "--cookie", "id"], &ring, "{}");
    let error = fails(1, &["open"], &ring, &token);
    let told = "another cookie than `__Host-session` (see --cookie) or with a context";
    assert!(error.contains(told), "{error}");
    let staging = ["open", "--cookie", "id", "--context", "hunter2"];
    let error = fails(1, &staging, &ring, &token);
    assert!(error.contains("another cookie than `id`"), "{error}");
    assert!(error.contains("another context or none"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");

    let rings = [("APP_KEY", key.as_str()), ("APP_PREVIOUS_KEYS", &other)];
    let lost = keygen();
    let token = ok(&["seal"], &[("APP_KEY", &lost)], "{}");
    let error = fails(1, &["open"], &rings, &token);
    let told = format!(
        "the token has {}, the ring {}, {}; add that key to APP_PREVIOUS_KEYS (`inspect` shows a \
         token's key id, `keys` those of the ring) (unknown_key)",
        id(&lost),
        id(&key),
        id(&other)
    );
    assert!(error.ends_with(&told), "{error}");
    assert!(ok(&["inspect"], &[], &token).contains(&id(&lost)));
}

#[test]
fn a_name_that_is_not_ours_and_both_forms_of_one_are_refused() {
    let key = keygen();
    for (variable, setting) in [
        (
            ("SESSION_MAXAGE", "5m"),
            "SESSION_MAXAGE: nothing reads it; set `SESSION_MAX_AGE`",
        ),
        (
            ("SESSION_LIFETIME", "8h"),
            "SESSION_LIFETIME: nothing reads it; set ",
        ),
        (
            ("APP_PREVIOUS_KEY", "x"),
            "APP_PREVIOUS_KEY: nothing reads it; set `APP_PREVIOUS_KEYS`",
        ),
        (
            ("SESSION_MAX_AGE", "30M"),
            "SESSION_MAX_AGE: it must be a length of time",
        ),
        (
            ("APP_KEY_FILE", "/nowhere"),
            "APP_KEY_FILE: it and `APP_KEY` are both set",
        ),
    ] {
        let variables = [("APP_KEY", key.as_str()), variable];
        for command in ["seal", "open"] {
            let error = fails(2, &[command], &variables, "{}");
            assert!(error.starts_with(setting), "{error}");
        }
    }
    let error = fails(2, &["keys"], &[("APP_KEY_FILE", "/nowhere/key")], "");
    assert!(
        error.starts_with("APP_KEY_FILE: \"/nowhere/key\": "),
        "{error}"
    );
}

#[test]
fn a_key_that_is_refused_is_named_and_not_shown() {
    let key = keygen();
    let two = format!("{key},base64:hunter2hunter2");
    let passphrase = "base64:Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZSBjb3JyZWN0";
    for (variables, place) in [
        (&[][..], "APP_KEY: it is not set"),
        (&[("APP_KEY", "")], "APP_KEY: it is empty"),
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
        ("", "", &["open", "--cookie", "hunter2;"], "--cookie: "),
        ("", "", &["open", "--cookie", ""], "--cookie: "),
        (
            "",
            "",
            &["seal", "--context", &"hunter2".repeat(40)],
            "--context: ",
        ),
        ("", "", &["seal", "--lifetime", "hunter2"], "--lifetime: "),
        (
            "",
            "",
            &["seal", "--lifetime", "99999999999999y"],
            "--lifetime: ",
        ),
        ("", "", &["seal", "--lifetime", "0s"], "--lifetime: "),
        (
            "SESSION_MAX_LIFETIME",
            "1h",
            &["seal", "--lifetime", "2h"],
            "--lifetime: it is longer than `SESSION_MAX_LIFETIME`",
        ),
        (
            "SESSION_CONTEXT",
            &"hunter2".repeat(40),
            &["seal", "--lifetime", "2h"],
            "SESSION_CONTEXT: ",
        ),
        (
            "SESSION_NOT_BEFORE",
            "2999-01-01T00:00:00Z",
            &["seal", "--lifetime", "2h"],
            "the session is over already; give it a longer lifetime, and see SESSION_NOT_BEFORE",
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
