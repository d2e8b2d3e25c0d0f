//! Settings as text: each is understood or refused by its name, and what is understood makes a
//! store that works and sends headers that no setting can split.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sealed_session::{AppKey, ConfigError, CookieStore, Origin, Settings};
use serde::Deserialize;
use serde::de::value::{Error, MapDeserializer};

const FIELDS: [&str; 23] = [
    "driver",
    "cookie_name",
    "max_age",
    "max_lifetime",
    "idle_timeout",
    "refresh_after",
    "secure",
    "http_only",
    "same_site",
    "domain",
    "path",
    "partitioned",
    "persistent",
    "context",
    "not_before",
    "max_size",
    "empty_if_unavailable",
    "adopt_cookies",
    "small_in_cookie",
    "memory_max_bytes",
    "file_path",
    "redis_url",
    "redis_prefix",
];

static KEY: LazyLock<AppKey> = LazyLock::new(|| AppKey::generate().expect("a random source"));

/// `data`: lines, each a letter that names a field and the field's text.
pub fn settings(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n');
    let pairs: Vec<(&str, &str)> = lines
        .filter_map(|line| {
            let (letter, text) = line.split_first()?;
            let field = FIELDS.get(usize::from(letter.wrapping_sub(b'a')));
            Some((
                *field.unwrap_or(&"no_such_field"),
                str::from_utf8(text).ok()?,
            ))
        })
        .collect();
    let read = Settings::deserialize(MapDeserializer::<_, Error>::new(pairs.iter().copied()));
    match read {
        Err(error) => is_told_well(&error.to_string()),
        Ok(settings) => match store(&settings) {
            Err(error) => is_told_well(&error.to_string()),
            Ok(store) => works(&store, &settings),
        },
    }
    for (_, text) in pairs {
        understands_a_length(text);
    }
}

/// A text as a length of time, against a slow reading of the same rule.
fn understands_a_length(text: &str) {
    let pair = [("max_age", text)];
    let read = Settings::deserialize(MapDeserializer::<_, Error>::new(pair.into_iter()));
    let max_age = match read {
        Ok(settings) if settings.max_age.is_none() => return assert!(text.trim().is_empty()),
        read => read.ok().and_then(|settings| settings.max_age),
    };
    assert_eq!(max_age, length(text.trim()).map(Duration::from_secs));
}

/// Seconds.
fn length(text: &str) -> Option<u64> {
    if text.chars().all(|c| c.is_ascii_digit()) {
        return text.parse().ok();
    }
    let names = [
        "w week weeks",
        "d day days",
        "h hr hrs hour hours",
        "m min mins minute minutes",
        "s sec secs second seconds",
    ];
    let (mut seconds, mut rest) = (0_u128, text);
    for (names, of_unit) in names.into_iter().zip([604_800_u128, 86_400, 3_600, 60, 1]) {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, behind) = rest.split_at(digits);
        let behind = behind.trim_start();
        let letters = behind.len()
            - behind
                .trim_start_matches(|c: char| c.is_ascii_lowercase())
                .len();
        let (name, behind) = behind.split_at(letters);
        if digits > 0 && names.split(' ').any(|known| known == name) {
            seconds += u128::from(number.parse::<u64>().ok()?) * of_unit;
            rest = behind.trim_start();
        }
    }
    let is_whole = rest.is_empty() && !text.is_empty();
    u64::try_from(seconds).ok().filter(|_| is_whole)
}

fn store(settings: &Settings) -> Result<CookieStore, ConfigError> {
    let builder = settings.builder(KEY.clone())?;
    builder
        .clock(|| UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        .build()
}

/// An error names a field, and shows nothing of what was given: that may have any letters, and
/// the messages have those of English.
fn is_told_well(error: &str) {
    let named = error.split(':').next().unwrap_or_default();
    let is_by_serde = error.contains("field `");
    assert!(FIELDS.contains(&named) || is_by_serde, "{error}");
    assert!(error.is_ascii(), "{error}");
}

fn works(store: &CookieStore, settings: &Settings) {
    let session = store.load_from::<str>([]);
    session.insert("a", 1).expect("a small session");
    let outgoing = store.respond(&session).expect("a random source");
    let set_cookie = outgoing.set_cookies().next().expect("a new session");
    let cookie = settings.cookie().expect("a cookie that was built");
    assert!(
        set_cookie.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{cookie:?}"
    );

    let mut parts = set_cookie.split("; ");
    let pair = parts.next().unwrap_or_default();
    if pair.ends_with('=') {
        // Whatever is issued now would be refused.
        assert!(
            settings
                .not_before
                .is_some_and(|from| from > SystemTime::now())
        );
        return;
    }
    let attributes: Vec<(&str, &str)> = parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .collect();
    let has = |name: &str| {
        attributes
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    };
    let is_set = |setting: Option<bool>| setting.unwrap_or(true);
    assert_eq!(pair.split('=').next(), Some(cookie.name()));
    assert_eq!(has("Path"), settings.path.as_deref().or(Some("/")));
    let domain = settings.domain.as_deref().map(str::to_ascii_lowercase);
    assert_eq!(has("Domain"), domain.as_deref());
    assert_eq!(has("Secure").is_some(), is_set(settings.secure));
    assert_eq!(has("HttpOnly").is_some(), is_set(settings.http_only));
    assert_eq!(has("Max-Age").is_some(), is_set(settings.persistent));
    assert_eq!(
        has("Partitioned").is_some(),
        settings.partitioned == Some(true)
    );
    let known = [
        "Path",
        "Domain",
        "Secure",
        "HttpOnly",
        "Max-Age",
        "Partitioned",
        "SameSite",
    ];
    assert!(
        attributes.iter().all(|(name, _)| known.contains(name)),
        "{cookie:?}"
    );

    match store.load_from([pair]).origin() {
        Origin::Opened => {}
        origin => panic!("{origin:?}"),
    }
}
