//! What each command does when all is well.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use proptest::collection::btree_map;
use proptest::prelude::*;
use sealed_session::{AppKey, CookieStore, TypedSession, Value};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{fails, keygen, moment, ok, parsed, run, sealed_ago, spawn, value_of};

#[test]
fn every_key_of_keygen_is_a_new_one_and_is_accepted() {
    let (one, other) = (keygen(), keygen());
    assert!(one.starts_with("base64:"));
    assert_ne!(one, other);
    let id = one.parse::<AppKey>().unwrap().id();
    assert_eq!(
        ok(&["keys"], &[("APP_KEY", &one)], ""),
        format!("{id} seals and opens")
    );
}

#[test]
fn what_is_sealed_opens_again_with_its_values_times_and_key() {
    let key = keygen();
    let ring = [("APP_KEY", key.as_str())];
    let values = json!({
        "user_id": 42, "": [null], "näme \"q\" \\": "Zoë ☃ 99999999999999999999",
        "cart": [{ "sku": "a-1", "n": 2 }, []], "on": true,
    });
    let before = SystemTime::now() - Duration::from_millis(1);
    let token = ok(&["seal"], &ring, values.to_string());
    let opened = parsed(&ok(&["open"], &ring, &token));
    let mut fields: Vec<_> = opened.as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(
        fields,
        ["expires_at", "id", "issued_at", "key_id", "values"]
    );
    assert_eq!(opened["values"], values);
    assert_eq!(
        opened["key_id"],
        key.parse::<AppKey>().unwrap().id().to_string()
    );
    let id = opened["id"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let issued_at = moment(&opened, "issued_at");
    assert!(before <= issued_at && issued_at <= SystemTime::now());
    assert_eq!(
        moment(&opened, "expires_at"),
        issued_at + Duration::from_secs(86_400)
    );
}

#[test]
fn a_member_that_is_null_is_no_entry() {
    let key = keygen();
    let ring = [("APP_KEY", key.as_str())];
    let token = ok(&["seal"], &ring, r#"{"a": null, "b": {"c": null}}"#);
    let opened = parsed(&ok(&["open"], &ring, &token));
    assert_eq!(opened["values"], json!({ "b": { "c": null } }));
}

#[test]
fn the_library_opens_what_the_command_seals() {
    let key = keygen();
    let token = ok(&["seal"], &[("APP_KEY", &key)], r#"{"user_id": 42}"#);
    let store = CookieStore::new(key.parse::<AppKey>().unwrap());
    let session = store.load_from([format!("__Host-session={token}").as_str()]);
    assert_eq!(session.get::<u64>("user_id").unwrap(), Some(42));
}

#[test]
fn what_the_command_seals_from_json_and_what_rust_writes_read_the_same() {
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    struct Visit {
        address: IpAddr,
        ratio: f32,
        scores: BTreeMap<u64, Option<u8>>,
        last: Option<SystemTime>,
        #[serde(flatten)]
        step: Step,
    }
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    #[serde(tag = "step")]
    enum Step {
        Begun { from: SocketAddr, after: Duration },
    }
    let visit = Visit {
        address: "::1".parse().unwrap(),
        ratio: 0.1,
        scores: [(7, None), (u64::MAX, Some(1))].into(),
        last: None,
        step: Step::Begun {
            from: "127.0.0.1:80".parse().unwrap(),
            after: Duration::from_millis(1500),
        },
    };
    let key = keygen();
    let ring = [("APP_KEY", key.as_str())];
    let store = CookieStore::new(key.parse::<AppKey>().unwrap());
    let load = |token: &str| {
        let session = store.load_from([format!("__Host-session={token}").as_str()]);
        TypedSession::<Visit>::from(session)
    };
    let json = serde_json::to_string(&visit).unwrap();
    let by_the_command = ok(&["seal"], &ring, &json);
    assert_eq!(load(&by_the_command).get().unwrap(), visit);

    let typed = TypedSession::<Visit>::from(store.load_from([""]));
    typed.set(&visit).unwrap();
    let outgoing = store.respond(typed.session()).unwrap();
    let pair = outgoing.set_cookies().next().unwrap().split(';').next();
    let by_rust = pair.unwrap().split_once('=').unwrap().1;
    assert_eq!(load(by_rust).get().unwrap(), visit);

    let shown = |token: &str| {
        let mut values = parsed(&ok(&["open"], &ring, token))["values"].take();
        let ratio: f32 = serde_json::from_value(values["ratio"].take()).unwrap();
        (values, ratio)
    };
    assert_eq!(shown(by_rust), shown(&by_the_command));
    // And the command's session is one that Rust goes on with.
    let typed = load(&by_the_command);
    typed.update(|visit| visit.ratio = 0.2).unwrap();
    assert_eq!(typed.get().unwrap().ratio, 0.2);
}

#[test]
fn numbers_are_exact_to_the_last_digit() {
    let key = keygen();
    let ring = [("APP_KEY", key.as_str())];
    for number in [
        "0",
        "9007199254740993",
        "9223372036854775808",
        "18446744073709551615",
        "-1",
        "-9223372036854775808",
        "0.1",
        "-0.0",
        "1.7976931348623157e308",
        "5e-324",
        "122.416294033786585",
    ] {
        let token = ok(&["seal"], &ring, format!(r#"{{"n": [{number}]}}"#));
        let opened = ok(&["open"], &ring, token);
        let shown = parsed(&opened)["values"]["n"][0].clone();
        let wanted = parsed(number);
        assert!(opened.contains(&wanted.to_string()), "{opened}");
        assert_eq!(shown, wanted);
    }
    for number in [
        "18446744073709551616",
        "-9223372036854775809",
        "100000000000000000000000",
    ] {
        for json in [
            format!(r#"{{"n":{number}}}"#),
            format!(r#"{{"a":"\"","n":[1,{{"b":{number} }}]}}"#),
        ] {
            let error = fails(2, &["seal"], &ring, json);
            assert_eq!(
                error,
                "standard input has an integer beyond 64 bits; write it as text"
            );
        }
    }
}

/// Other readers of JSON keep the last of them.
#[test]
fn a_key_that_comes_twice_is_an_error_and_nothing_is_lost() {
    let key = keygen();
    let ring = [("APP_KEY", key.as_str())];
    for json in [r#"{"a":1,"a":2}"#, r#"{"a":[{"b":1,"c":2,"b":1}]}"#] {
        let error = fails(2, &["seal"], &ring, json);
        let told = "standard input cannot be sealed: a map has one key twice at line 1";
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn what_json_lacks_is_shown_as_the_help_says() {
    let key = keygen();
    let pair = sealed_ago(&key, Duration::ZERO, |session| {
        session.set_subject("user 42").unwrap();
        session
            .insert("bytes", Value::Bytes(vec![0, 0xff, 0x10]))
            .unwrap();
        session
            .insert("floats", vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY])
            .unwrap();
        session.flash("notice", "not shown").unwrap();
    });
    let opened = ok(&["open"], &[("APP_KEY", &key)], value_of(&pair));
    let opened = parsed(&opened);
    assert_eq!(opened["subject"], "user 42");
    assert_eq!(
        opened["values"],
        json!({
            "user_id": 42,
            "bytes": { "$bytes": "AP8Q" },
            "floats": [{ "$float": "NaN" }, { "$float": "inf" }, { "$float": "-inf" }],
        })
    );
}

#[test]
fn an_object_without_any_entry_is_a_session_too() {
    let key = keygen();
    let ring = [("APP_KEY", key.as_str())];
    for empty in ["{}", "\u{feff}{}", r#"{"a": null, "b": null}"#] {
        let token = ok(&["seal"], &ring, empty);
        let opened = parsed(&ok(&["open"], &ring, token));
        assert_eq!(opened["values"], json!({}), "{empty}");
        assert_eq!(opened.get("subject"), None, "{empty}");
    }
}

#[test]
fn the_lifetime_is_the_option_or_the_variable() {
    let key = keygen();
    for (arguments, variable, seconds) in [
        (&["seal", "--lifetime", "1h 30m"][..], "", 5400),
        (&["seal", "--lifetime", "30d"], "", 2_592_000),
        (&["seal", "--lifetime", "2w"], "", 1_209_600),
        (&["seal", "--lifetime", "90"], "", 90),
        (&["seal"], "7200", 7200),
        (&["seal", "--lifetime", "1h"], "2h", 3600),
    ] {
        let ring = [("APP_KEY", key.as_str()), ("SESSION_MAX_AGE", variable)];
        let token = ok(arguments, &ring, "{}");
        let opened = parsed(&ok(&["open"], &ring[..1], token));
        let lifetime = moment(&opened, "expires_at").duration_since(moment(&opened, "issued_at"));
        assert_eq!(lifetime.unwrap(), Duration::from_secs(seconds));
    }
    let ring = [("APP_KEY", key.as_str())];
    let token = ok(&["seal", "--lifetime", "3250725d"], &ring, "{}");
    let opened = parsed(&ok(&["open"], &ring, token));
    assert_eq!(opened["expires_at"], "9999-12-31T23:59:59.999Z");
}

#[test]
fn a_cookie_opens_only_under_its_name_and_context() {
    let key = keygen();
    let ring = [("APP_KEY", key.as_str())];
    let used_for = ["--cookie", "id", "--context", "staging"];
    let seal = [&["seal"], &used_for[..]].concat();
    let open = [&["open"], &used_for[..]].concat();
    let token = ok(&seal, &ring, r#"{"a": 1}"#);
    ok(&open, &ring, &token);
    for open in [
        &["open"][..],
        &["open", "--cookie", "id"],
        &["open", "--context", "staging"],
        &["open", "--cookie", "id", "--context", "production"],
    ] {
        let error = fails(1, open, &ring, &token);
        assert!(error.ends_with("(forged)"), "{error}");
    }
    let service = [
        ("APP_KEY", key.as_str()),
        ("SESSION_COOKIE_NAME", "id"),
        ("SESSION_CONTEXT", "staging"),
        ("SESSION_SECURE", "false"),
    ];
    ok(&["open"], &service, &token);
    let sealed_by_service = ok(&["seal"], &service, "{}");
    ok(&open, &ring, sealed_by_service);
}

#[test]
fn a_rotated_key_still_opens_what_it_sealed() {
    let (old, new) = (keygen(), keygen());
    let id = |key: &str| key.parse::<AppKey>().unwrap().id().to_string();
    let token = ok(&["seal"], &[("APP_KEY", &old)], r#"{"user_id": 42}"#);
    let rotated = [("APP_KEY", new.as_str()), ("APP_PREVIOUS_KEYS", &old)];
    let opened = parsed(&ok(&["open"], &rotated, &token));
    assert_eq!(opened["values"]["user_id"], 42);
    assert_eq!(opened["key_id"], id(&old));
    let sealed_now = ok(&["seal"], &rotated, "{}");
    let opened = parsed(&ok(&["open"], &rotated, sealed_now));
    assert_eq!(opened["key_id"], id(&new));
    assert_eq!(
        ok(&["keys"], &rotated, ""),
        format!("{} seals and opens\n{} opens", id(&new), id(&old))
    );
    let error = fails(1, &["open"], &[("APP_KEY", &new)], token);
    assert!(error.ends_with("(unknown_key)"), "{error}");
}

#[test]
fn inspect_needs_no_key_and_tells_the_sizes_on_the_wire() {
    let key = keygen();
    let token = ok(&["seal"], &[("APP_KEY", &key)], r#"{"user_id": 42}"#);
    let shown = parsed(&ok(&["inspect"], &[], &token));
    let bytes = token.len() * 3 / 4;
    assert_eq!(
        shown,
        json!({
            "version": 1,
            "key_id": key.parse::<AppKey>().unwrap().id().to_string(),
            "characters": token.len(),
            "bytes": bytes,
            "plaintext_bytes": bytes - 77,
        })
    );
    for (input, reason) in [
        ("hunter2", "(malformed)"),
        (&"A".repeat(200), "(unknown_version)"),
        (&"A".repeat(100_000), "(too_long)"),
    ] {
        let error = fails(1, &["inspect"], &[], input);
        assert!(error.ends_with(reason), "{error}");
    }
}

#[test]
fn a_pasted_line_is_taken_as_well_as_a_value() {
    let key = keygen();
    let ring = [("APP_KEY", key.as_str())];
    let pair = sealed_ago(&key, Duration::ZERO, |_| {});
    let token = value_of(&pair);
    for line in [
        format!("{token}\r\n"),
        format!("{token}; Path=/; Secure"),
        pair.clone(),
        format!("{pair}; HttpOnly; Path=/\n"),
        format!("Cookie: a=b; {pair}; c=\"d\"\n"),
        format!("cookie:{pair};{pair}"),
        format!("Set-Cookie: {pair}; HttpOnly; SameSite=Lax; Path=/; Max-Age=86400\n"),
        format!("< HTTP/2 200\r\n< set-cookie: a=b; Path=/\r\n< set-cookie: {pair}; Path=/\r\n"),
        format!("> GET / HTTP/1.1\n> Host: a.example\n> Cookie: {pair}\n>\n"),
        format!("\u{feff}{token}\r\n"),
    ] {
        ok(&["open"], &ring, &line);
        let shown = parsed(&ok(&["inspect"], &[], &line));
        assert_eq!(shown["characters"], token.len());
    }
    for (line, problem) in [
        (
            format!("Cookie: a={token}"),
            "standard input has no cookie named `__Host-session`",
        ),
        (
            format!("Cookie: {pair}; {pair}x"),
            "standard input has several cookies named",
        ),
        (
            format!("Cookie: a=b; id={token}"),
            "standard input has no cookie named `__Host-session`, but `id` has a token; ",
        ),
        (
            format!("id={token}; Path=/"),
            "standard input has no cookie named `__Host-session`, but `id` has a token; ",
        ),
        (" \r\n".to_owned(), "standard input is empty"),
    ] {
        for command in ["open", "inspect"] {
            let error = fails(2, &[command], &ring, &line);
            assert!(error.starts_with(problem), "{error}");
        }
    }
}

/// What a service's environment has beside keys.
const REDIS: [(&str, &str); 3] = [
    ("SESSION_DRIVER", "redis"),
    ("SESSION_REDIS_URL", "redis://:hunter2@nowhere.invalid/"),
    ("SESSION_MAX_SIZE", "65536"),
];

#[test]
fn it_works_in_the_environment_of_a_service_with_any_driver() {
    let key = keygen();
    let alone = ("APP_KEY", key.as_str());
    let token = ok(&["seal"], &[alone], r#"{"user_id": 42}"#);
    for (driver, switch) in [
        ("redis", ("SESSION_ADOPT_COOKIES", "1")),
        ("redis", ("SESSION_SMALL_IN_COOKIE", "on")),
        ("file", ("SESSION_SMALL_IN_COOKIE", "yes")),
        ("Memory", ("SESSION_ADOPT_COOKIES", "true")),
        ("cookie", ("SESSION_REDIS_PREFIX", "shop:")),
    ] {
        let service = [alone, ("SESSION_DRIVER", driver), switch];
        let sealed = ok(&["seal"], &service, r#"{"user_id": 42}"#);
        for token in [&token, &sealed] {
            let opened = parsed(&ok(&["open"], &service, token));
            assert_eq!(opened["values"]["user_id"], 42);
        }
        ok(&["keys"], &service, "");
        ok(&["inspect"], &service[1..], &token);
    }
    // A service that has all sessions in Redis would not take the cookie.
    let service = [&[alone], &REDIS[..]].concat();
    for (arguments, input) in [(["seal"], "{}"), (["open"], &token)] {
        let ran = run(&arguments, &service, input);
        assert_eq!(ran.status, 0, "{}", ran.err);
        assert!(!ran.out.is_empty());
        let note = "sealed-session: note: the values are in the cookie, and with \
                    SESSION_DRIVER=redis the service refuses that unless ";
        assert!(ran.err.starts_with(note), "{}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
}

#[cfg(feature = "server")]
#[test]
fn of_a_session_in_a_store_it_shows_what_the_cookie_has_and_says_what_it_cannot_see() {
    use pollster::block_on;
    use sealed_session::MemoryStore;

    let key = keygen();
    let ring = key.parse::<AppKey>().unwrap();
    let store = MemoryStore::new(ring.clone(), Default::default());
    let session = block_on(store.load_from::<str>([])).unwrap();
    session.insert("user_id", 42).unwrap();
    let outgoing = block_on(store.respond(&session)).unwrap();
    let header = outgoing.set_cookies().next().unwrap();
    let token = value_of(header.split(';').next().unwrap());
    let alone = ("APP_KEY", key.as_str());
    let cookie = ("SESSION_DRIVER", "cookie");
    for (variables, refused) in [
        (vec![alone], false),
        ([&[alone], &REDIS[..]].concat(), false),
        (vec![alone, cookie], true),
    ] {
        let ran = run(&["open"], &variables, token);
        assert_eq!(ran.status, 0, "{}", ran.err);
        let opened = parsed(&ran.out);
        assert_eq!(opened["values"], json!(null));
        assert_eq!(opened["id"], session.id().unwrap().to_string());
        assert_eq!(opened["key_id"], ring.id().to_string());
        assert!(moment(&opened, "expires_at") > moment(&opened, "issued_at"));
        assert!(ran.err.starts_with("sealed-session: note: "), "{}", ran.err);
        assert!(ran.err.contains("which is not asked"), "{}", ran.err);
        let told = ran
            .err
            .contains("with SESSION_DRIVER=cookie the service refuses it");
        assert_eq!(told, refused, "{}", ran.err);
    }
    // A stub is judged like any other cookie.
    let cutoff = ("SESSION_NOT_BEFORE", "9999-01-01T00:00:00Z");
    let error = fails(1, &["open"], &[alone, cutoff], token);
    assert!(error.ends_with("(cutoff)"), "{error}");
}

#[test]
fn keys_and_the_url_may_be_in_files() {
    let (key, old) = (keygen(), keygen());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let sealing = file("key", &format!("{key}\n"));
    let previous = file("previous", &format!("{old}\r\n{key}\r\n"));
    let url = file("url", "redis://:hunter2@nowhere.invalid/\n");
    let service = [
        ("APP_KEY_FILE", sealing.as_str()),
        ("APP_PREVIOUS_KEYS_FILE", &previous),
        ("SESSION_DRIVER", "redis"),
        ("SESSION_SMALL_IN_COOKIE", "1"),
        ("SESSION_REDIS_URL_FILE", &url),
    ];
    let id = |key: &str| key.parse::<AppKey>().unwrap().id().to_string();
    assert_eq!(
        ok(&["keys"], &service, ""),
        format!("{} seals and opens\n{} opens", id(&key), id(&old))
    );
    let token = ok(&["seal"], &[("APP_KEY", &old)], r#"{"user_id": 42}"#);
    assert_eq!(parsed(&ok(&["open"], &service, token))["key_id"], id(&old));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Of names and values, text of all kinds and with much that a terminal acts on.
    #[test]
    fn what_is_opened_is_the_same_json_and_does_nothing_to_a_terminal(
        entries in btree_map(
            r#"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}a"\\]{0,12}"#,
            r#"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{L}"\\]{0,24}|\PC{0,24}"#,
            0..8,
        ),
    ) {
        static KEY: LazyLock<String> = LazyLock::new(keygen);
        let ring = [("APP_KEY", KEY.as_str())];
        let token = ok(&["seal"], &ring, json!(entries).to_string());
        let shown = ok(&["open"], &ring, token);
        prop_assert_eq!(&parsed(&shown)["values"], &json!(entries));
        let acts = |c: char| c.is_control() && c != '\n' || is_invisible(c);
        prop_assert!(!shown.contains(acts), "{shown:?}");
    }
}

fn is_invisible(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xe000..=0xf8ff
            | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0x10_ffff
    )
}

#[test]
fn control_and_format_characters_are_written_as_escapes() {
    let key = keygen();
    let pair = sealed_ago(&key, Duration::ZERO, |session| {
        session.set_subject("u\u{7f}\u{202e}").unwrap();
        session
            .insert("k\u{9b}31m", "v\u{e0041}\u{1b}]0;x\u{7}")
            .unwrap();
    });
    let shown = ok(&["open"], &[("APP_KEY", &key)], value_of(&pair));
    for written in [
        r#""subject": "u\u007f\u202e""#,
        r#""k\u009b31m": "v\udb40\udc41\u001b]0;x\u0007""#,
    ] {
        assert!(shown.contains(written), "{shown}");
    }
    assert_eq!(
        parsed(&shown)["values"]["k\u{9b}31m"],
        "v\u{e0041}\u{1b}]0;x\u{7}"
    );
    // On standard error too, whatever names what.
    let large = json!({ "k\u{9b}\u{202e}": "x".repeat(4000) }).to_string();
    let error = fails(2, &["seal"], &[("APP_KEY", &key)], large);
    assert!(error.starts_with(r#""k\u{9b}\u{202e}": "#), "{error}");
    let path = "/nowhere/\u{202e}\u{9b}\n";
    let error = fails(2, &["keys"], &[("APP_KEY_FILE", path)], "");
    assert!(
        error.starts_with(r#"APP_KEY_FILE: "/nowhere/\u{202e}\u{9b}\n": "#),
        "{error}"
    );
    let foreign = format!("Cookie: \u{202e}\u{7f}={}", value_of(&pair));
    let error = fails(2, &["open"], &[("APP_KEY", &key)], foreign);
    assert!(
        error.contains(r"but `\u{202e}\u{7f}` has a token"),
        "{error}"
    );
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = ok(&["--help"], &[], "");
    for command in ["keygen", "seal", "open", "inspect", "keys"] {
        assert!(help.contains(&format!("\n  {command}  ")), "{command}");
        ok(&[command, "--help"], &[], "");
    }
    assert_eq!(
        ok(&["--version"], &[], ""),
        format!("sealed-session {}", env!("CARGO_PKG_VERSION"))
    );
}

#[cfg(unix)]
#[test]
fn the_example_of_the_help_runs_as_it_stands() {
    let help = ok(&["--help"], &[], "");
    let example = help.split_once("Example:\n").unwrap().1;
    let script: String = example
        .lines()
        .map(|line| line.strip_prefix("  $ ").unwrap().to_owned() + "\n")
        .collect();
    let command = std::path::Path::new(env!("CARGO_BIN_EXE_sealed-session"));
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("help");
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new("/bin/sh")
        .args(["-e", "-c", &script])
        .current_dir(&folder)
        .env_clear()
        .env("PATH", command.parent().unwrap())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!(shown.matches("\"user_id\": 42").count(), 2, "{shown}");
    let keys = shown.lines().filter(|line| line.ends_with(" opens"));
    assert_eq!(keys.count(), 2, "{shown}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let key = keygen();
    let mut child = spawn(&["seal"], &[("APP_KEY", &key)]);
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"{}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), &output.stderr[..]),
        (Some(0), &b""[..])
    );
}
