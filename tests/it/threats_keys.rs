//! Threats to app keys: guessable ones, printed ones, and two that share an id.

#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealed_session::{AppKey, KeyRing, Sealer, Token};

use crate::support::{key, ring};

fn bytes_of(key: &AppKey) -> Vec<u8> {
    let text = key.to_base64();
    STANDARD
        .decode(text.strip_prefix("base64:").unwrap())
        .unwrap()
}

fn base64(bytes: &[u8]) -> String {
    format!("base64:{}", STANDARD.encode(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("hex:{digits}")
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn refused(text: &str) -> String {
    text.parse::<AppKey>().unwrap_err().to_string()
}

#[test]
fn short_keys_and_keys_of_equal_bytes_are_refused_by_name() {
    let random = bytes_of(&key());
    for length in 0..32 {
        let short = &random[..length];
        let problem = format!("it has {length} bytes, 32 are needed");
        for error in [
            AppKey::from_bytes(short).unwrap_err().to_string(),
            refused(&base64(short)),
            refused(&hex(short)),
        ] {
            assert!(error.contains(&problem), "{error}");
        }
    }
    assert!(AppKey::from_bytes(&random).is_ok());
    for byte in [0x00, 0x2a, 0xff] {
        for equal in [vec![byte; 32], vec![byte; 64]] {
            let error = AppKey::from_bytes(&equal).unwrap_err().to_string();
            assert!(error.contains("all its bytes are equal"), "{error}");
            assert!(base64(&equal).parse::<AppKey>().is_err());
            assert!(hex(&equal).parse::<AppKey>().is_err());
        }
    }
}

/// The first five are the defaults of Airflow and Superset that CVE-2020-17526 and
/// CVE-2023-27524 are about.
#[test]
fn a_default_a_placeholder_and_a_passphrase_are_refused_by_name_in_every_form() {
    let secrets = [
        "temporary_key",
        "\x02\x01thisismyscretkey\x01\x02\\e\\y\\y\\h",
        "CHANGE_ME_TO_A_COMPLEX_RANDOM_SECRET",
        "thisISaSECRET_1234",
        "YOUR_OWN_RANDOM_GENERATED_SECRET_KEY",
        "secret",
        "changeme-changeme-changeme-changeme",
        "your-secret-key-at-least-32-bytes-long",
        "correct horse battery staple correct horse",
        "0123456789abcdef0123456789abcdef",
        "00000000000000000000000000000000",
    ];
    for secret in secrets {
        for (text, problems) in [
            (
                secret.to_owned(),
                &["starts with neither `base64:` nor `hex:`"][..],
            ),
            (
                base64(secret.as_bytes()),
                &["a passphrase", "32 are needed"],
            ),
            (hex(secret.as_bytes()), &["a passphrase", "32 are needed"]),
            (
                format!("base64:{secret}"),
                &["a placeholder", "not base64", "32 are needed"],
            ),
            (
                format!("hex:{secret}"),
                &["a placeholder", "not pairs of hex digits", "32 are needed"],
            ),
        ] {
            let error = refused(&text);
            let is_named = problems.iter().any(|problem| error.contains(problem));
            assert!(is_named, "{text:?}: {error}");
            assert!(error.contains("make one with `sealed-session keygen`"));
        }
    }
}

/// The test runs itself once more for each environment, in which it says what comes of it.
#[test]
fn a_wrong_key_in_the_environment_is_refused_by_the_name_of_variable_and_item() {
    const CHILD: &str = "SEALED_SESSION_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let outcome = KeyRing::from_env().map(|ring| ring.ids().count());
        panic!(
            "{}",
            outcome.map_or_else(|e| e.to_string(), |n| format!("{n} keys"))
        );
    }
    let (good, other) = (key().to_base64().to_string(), key().to_base64().to_string());
    let list = format!("{other},{good}");
    let second_is_short = format!("{other},base64:c2hvcnQ=");
    let stray_comma = format!("{other},");
    for (app_key, previous, expected) in [
        (None, None, "APP_KEY: it is not set; make one with"),
        (Some("secret"), None, "APP_KEY: it starts with neither"),
        (Some(""), None, "APP_KEY: it starts with neither"),
        (Some(&*good), None, "1 keys"),
        (Some(&*good), Some(""), "1 keys"),
        (Some(&*good), Some(&*list), "2 keys"),
        (
            Some(&*good),
            Some(&*second_is_short),
            "APP_PREVIOUS_KEYS, item 2: it has 5 bytes",
        ),
        (
            Some(&*good),
            Some(&*stray_comma),
            "APP_PREVIOUS_KEYS, item 2: it is empty",
        ),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--nocapture", "--exact"])
            .arg("threats_keys::a_wrong_key_in_the_environment_is_refused_by_the_name_of_variable_and_item")
            .env(CHILD, "1")
            .env("RUST_BACKTRACE", "0")
            .env_remove("APP_KEY")
            .env_remove("APP_PREVIOUS_KEYS")
            .envs(app_key.map(|text| ("APP_KEY", text)))
            .envs(previous.map(|text| ("APP_PREVIOUS_KEYS", text)));
        let printed = String::from_utf8(child.output().unwrap().stderr).unwrap();
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
}

/// Texts of the repository below `folder`, with what was built left out.
fn texts(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            texts(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.display().to_string(), text));
        }
    }
}

/// What could be pasted as an app key: all that stands behind `base64:` or `hex:`, and the
/// hexadecimal digits on lines about app keys.
fn printed_keys(text: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for prefix in ["base64:", "hex:"] {
        for (at, _) in text.match_indices(prefix) {
            let rest = &text[at + prefix.len()..];
            let is_key = |c: char| c.is_ascii_alphanumeric() || "+/-_=".contains(c);
            let end = rest.find(|c| !is_key(c)).unwrap_or(rest.len());
            keys.insert(format!("{prefix}{}", &rest[..end]));
        }
    }
    let is_about_keys = |line: &&str| {
        let line = line.to_lowercase();
        ["app_key", "app key", "app_previous_keys", "\"ring\""]
            .iter()
            .any(|word| line.contains(word))
    };
    for line in text.lines().filter(is_about_keys) {
        let runs = line.split(|c: char| !c.is_ascii_hexdigit());
        for digits in runs.filter(|run| run.len() >= 64 && run.len() % 2 == 0) {
            let bytes = unhex(digits);
            keys.extend([hex(&bytes), base64(&bytes)]);
        }
    }
    keys
}

#[test]
fn every_key_printed_in_the_repository_is_refused() {
    let mut files = Vec::new();
    texts(Path::new(env!("CARGO_MANIFEST_DIR")), &mut files);
    let keys_in = |ending: &str| -> usize {
        let files = files.iter().filter(|(path, _)| path.ends_with(ending));
        let keys: BTreeSet<_> = files.flat_map(|(_, text)| printed_keys(text)).collect();
        keys.iter().filter(|key| key.len() > 50).count()
    };
    assert!(keys_in("sessions.json") >= 2 * 4);
    assert!(keys_in("collision.json") >= 2 * 2);
    assert!(keys_in("format.md") >= 2);
    for (path, text) in &files {
        for printed in printed_keys(text) {
            assert!(printed.parse::<AppKey>().is_err(), "{path}: {printed}");
        }
    }

    // A usable key would have been found, however it was printed.
    let good = key();
    let digits = hex(&bytes_of(&good));
    for text in [
        format!("export APP_KEY={}\n", *good.to_base64()),
        format!("run with `{digits}`."),
        format!("app key     {}", &digits["hex:".len()..]),
        format!("\"ring\": [\"{}\"]", &digits["hex:".len()..]),
    ] {
        let keys = printed_keys(&text);
        assert!(
            keys.iter().any(|key| key.parse::<AppKey>().is_ok()),
            "{keys:?}"
        );
    }
}

/// A real pair: two keys of the vectors, which lead to one id.
#[test]
fn two_keys_with_one_id_are_refused_by_accept() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/collision.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let printed: BTreeSet<&str> = vectors
        .iter()
        .map(|vector| vector["app_key"].as_str().unwrap())
        .collect();
    let keys: Vec<AppKey> = printed
        .iter()
        .map(|digits| AppKey::from_bytes(&unhex(digits)).unwrap())
        .collect();
    let [one, other] = &keys[..] else {
        panic!("{} keys", keys.len());
    };
    assert_eq!(one.id(), other.id());
    assert_ne!(*one.to_base64(), *other.to_base64());
    let error = KeyRing::new(one.clone()).accept(other.clone()).unwrap_err();
    let problem = format!("another key of the ring has the same key id {}", one.id());
    assert!(error.to_string().contains(&problem), "{error}");
    let between = ring(&[&key(), one]);
    assert!(between.accept(other.clone()).is_err());
}

#[test]
fn one_key_listed_twice_counts_once_in_its_sealing_role() {
    let (a, b) = (key(), key());
    let doubled = ring(&[&a, &a, &b, &b, &a]);
    assert_eq!(doubled.ids().collect::<Vec<_>>(), [a.id(), b.id()]);
    let sealer = Sealer::new(doubled, "invitation").unwrap();
    let token = sealer.seal(b"42").unwrap();
    assert_eq!(Token::parse(&token).unwrap().key_id(), a.id());
}
