//! Threats to app keys: guessable ones, printed ones, and two that share an id.

#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealed_session::{AppKey, KeyRing, Sealer, Token};
use sha2::{Digest, Sha256};

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

fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(order).collect()
}

/// What people write where a key should be: each is long enough, and none is plain ASCII in one
/// line. The second column is what the error says.
#[test]
fn what_a_person_wrote_is_refused_in_every_form_and_by_what_it_looks_like() {
    // As random, and the same in every run: 32 different bytes.
    let mut random: Vec<u8> = Vec::new();
    for byte in Sha256::digest("a key")
        .into_iter()
        .chain(Sha256::digest("a second key"))
    {
        if random.len() < 32 && !random.contains(&byte) {
            random.push(byte);
        }
    }
    assert!(base64(&random).parse::<AppKey>().is_ok());
    let random = &random[..];
    let fox = "The quick brown fox jumps over the lazy dog";
    let with = |start: &str, bytes: &[u8]| [start.as_bytes(), bytes].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a line end", format!("{fox}\n").into(), "a passphrase"),
        (
            "a line end of Windows",
            format!("{fox}\r\n").into(),
            "a passphrase",
        ),
        (
            "lines and tabs",
            "correct horse\n\tbattery staple\n\x0b\x0c\n".into(),
            "a passphrase",
        ),
        (
            "text with an accent",
            "Nous sommes tous allés à la pêche".into(),
            "a passphrase",
        ),
        (
            "another alphabet",
            "правильная лошадь батарейка".into(),
            "a passphrase",
        ),
        (
            "another script",
            "正しい馬の電池のホッチキス".into(),
            "a passphrase",
        ),
        (
            "pictures",
            "🐴🔋📎 correct horse battery 🐴🔋".into(),
            "a passphrase",
        ),
        (
            "a byte order mark",
            format!("\u{feff}{fox}").into(),
            "a passphrase",
        ),
        (
            "an older encoding",
            b"Zw\xf6lf gro\xdfe B\xe4ren tanzen \xfcbers Eis".into(),
            "a passphrase",
        ),
        (
            "one odd byte",
            with("!correct-horse_battery+staple#1", &random[..1]),
            "a passphrase",
        ),
        (
            "padded with NUL",
            b"correct horse battery staple\0\0\0\0".into(),
            "a passphrase",
        ),
        (
            "a few random bytes behind",
            with("correct horse battery staple", &random[..4]),
            "a passphrase",
        ),
        (
            "a few random bytes before",
            [&random[..5], b"correct horse battery staple"].concat(),
            "a passphrase",
        ),
        (
            "a keyboard's rows",
            b"qwertyuiop[]asdfghjkl;'zxcvbnm,./\n".into(),
            "a passphrase",
        ),
        (
            "hex once more",
            b"f3a94c0e77d1528b6a9e01c4d85b3f26\n".into(),
            "a passphrase",
        ),
        (
            "base64 once more",
            with(key().to_base64().get(7..).unwrap(), b"\n"),
            "a passphrase",
        ),
        (
            "a whole key once more",
            with(&key().to_base64(), b"\n"),
            "a passphrase",
        ),
        (
            "UTF-16",
            utf16("correct horse battery", u16::to_le_bytes),
            "a passphrase",
        ),
        (
            "UTF-16, the other way",
            utf16("correct horse battery", u16::to_be_bytes),
            "a passphrase",
        ),
        (
            "UTF-16 of another alphabet",
            utf16("правильная лошадь батарейка скрепка", u16::to_le_bytes),
            "every second byte",
        ),
        (
            "the same, the other way",
            utf16("σωστό άλογο μπαταρία συνδετήρας", u16::to_be_bytes),
            "every second byte",
        ),
        (
            "UTF-32",
            "ключи секрета"
                .chars()
                .flat_map(|c| (c as u32).to_be_bytes())
                .collect(),
            "distinct bytes",
        ),
        ("a half twice", random[..16].repeat(2), "comes twice"),
        ("a whole key twice", random.repeat(2), "comes twice"),
        (
            "a quarter four times",
            random[..8].repeat(4),
            "distinct bytes",
        ),
        (
            "twenty bytes and a part of them",
            [&random[..20], &random[..12]].concat(),
            "comes twice",
        ),
        (
            "a part in two places",
            [&random[..12], &random[20..30], &random[..10]].concat(),
            "comes twice",
        ),
        (
            "a half and its mirror",
            random[..16]
                .iter()
                .chain(random[..16].iter().rev())
                .copied()
                .collect(),
            "comes twice",
        ),
        (
            "zeros and a few bytes",
            [&[0; 26][..], &random[..6]].concat(),
            "distinct bytes",
        ),
        (
            "padded with zeros",
            [&random[..16], &[0; 16]].concat(),
            "comes twice",
        ),
        ("counted", (0..32).collect(), "count up or down"),
        ("counted from one", (1..=40).collect(), "count up or down"),
        ("counted down", (0..64).rev().collect(), "count up or down"),
        (
            "in steps",
            (0..32).map(|n: u8| n.wrapping_mul(17)).collect(),
            "count up or down",
        ),
        (
            "in odd steps",
            (0..32).map(|n: u8| n.wrapping_mul(7)).collect(),
            "count up or down",
        ),
        (
            "in two steps",
            (0..32).map(|n: u8| n.wrapping_mul(9) ^ 1).collect(),
            "count up or down",
        ),
        (
            "squares",
            (0..32).map(|n: u8| n.wrapping_mul(n)).collect(),
            "count up or down",
        ),
        (
            "counted in two places",
            (0..32).map(|n: u8| n / 2 + 100 * (n % 2)).collect(),
            "count up or down",
        ),
        (
            "in order",
            {
                let mut bytes = random.to_vec();
                bytes.sort_unstable();
                bytes
            },
            "count up or down",
        ),
        (
            "in order, with wide steps",
            (0..30)
                .map(|n: u8| {
                    if n.is_multiple_of(2) {
                        16 - n / 2
                    } else {
                        n / 2 % 7 + 1
                    }
                })
                .chain([1, 1])
                .scan(0, |sum, step: u8| Some(std::mem::replace(sum, *sum + step)))
                .collect(),
            "in order",
        ),
        (
            "digits as bytes",
            random.iter().map(|byte| byte % 10).collect(),
            "distinct bytes",
        ),
        (
            "two values",
            random.iter().map(|byte| 1 << (byte % 2)).collect(),
            "distinct bytes",
        ),
    ];
    for (what, bytes, problem) in cases {
        for text in [
            base64(&bytes),
            base64(&bytes).replace('+', "-").replace('/', "_"),
            hex(&bytes),
            hex(&bytes).to_uppercase().replace("HEX", "hex"),
            format!(" {}\r\n", base64(&bytes)),
        ] {
            let error = refused(&text);
            assert!(error.contains(problem), "{what}: {error}");
            assert!(
                error.contains("make one with `sealed-session keygen`"),
                "{error}"
            );
            assert!(!error.contains(&text[8..20]), "{what}: {error}");
        }
    }
}

/// Behind the prefix, where the text was never made by a program.
#[test]
fn what_a_person_typed_behind_the_prefix_is_refused() {
    for (text, problem) in [
        (
            "base64:somethinglongthatiamabletorememberallmylifes",
            "nearly all letters of one case",
        ),
        (
            "base64:MyownkeyforallthesessionsofthisOneSmallshops",
            "nearly all letters of one case",
        ),
        (
            "base64:THISISTHEKEYOFALLOURSESSIONSANDNOBODYMAYKNOW",
            "nearly all letters of one case",
        ),
        (
            "base64:my-shopkeywhich-nobodyelse-mayever-knowpleas",
            "nearly all letters of one case",
        ),
        (
            "base64:Tr0ub4dor3Horse9xTr0ub4dor3Horse9xTr0ub4dor3Hors",
            "comes twice",
        ),
        (
            "base64:ThisIsMySuperSecretKeyForProductionUseOnly12",
            "a placeholder",
        ),
        (
            "hex:3141592653589793238462643383279502884197169399375105820974944592",
            "all decimal",
        ),
        (
            "hex:deadbeefbadcab1edeadfacecafebabeb0bafe77deadbea7facade5adec0deba",
            "hex digits are",
        ),
        (
            "hex:deadbeeffadedcabfacebeadcafebabeadeedbedfadeddeafbabeefacadebace",
            "hex digits are",
        ),
        (
            "hex:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "comes twice",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(problem), "{text}: {error}");
    }
}

/// Drawn from a hash, so that every run sees the same ones.
#[test]
fn twenty_thousand_random_keys_are_accepted_in_every_form() {
    let mut state = [0x5e_u8; 32];
    for n in 0..20_000_u32 {
        let mut bytes = Vec::with_capacity(64);
        for half in 0..2 {
            let digest = Sha256::new()
                .chain_update(state)
                .chain_update(n.to_be_bytes())
                .chain_update([half]);
            state = digest.finalize().into();
            bytes.extend(state);
        }
        let length = [32, 33, 48, 64][n as usize % 4];
        let text = if n % 8 < 4 {
            base64(&bytes[..length])
        } else {
            hex(&bytes[..length])
        };
        assert!(text.parse::<AppKey>().is_ok(), "{text}");
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
        (Some(""), None, "APP_KEY: it is empty; make one with"),
        (Some(" \n"), None, "APP_KEY: it is empty; make one with"),
        (
            Some(&*list),
            None,
            "APP_KEY: what follows `base64:` is not base64; look for white space, a comma",
        ),
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
