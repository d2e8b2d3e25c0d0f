//! The threat of a key, token or value that gets into a log: through `Debug` of any public type,
//! through an error, through a panic's message.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use sealed_session::{
    AppKey, CookieConfig, CookieStore, DeviceRefusal, DeviceSkip, Event, Field, HostStores,
    InCookie, KeyRing, Keys, RandomError, RevocationList, SameSite, Sealer, SiteData, Token,
    Transport, TypedSession, Value,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const TEXT: &str = "correct horse battery staple";
const NUMBER: u64 = 4_711_081_500_815;
const BYTES: [u8; 12] = [
    0xde, 0xad, 0xbe, 0xef, 0x00, 0x07, 0x9b, 0x22, 0xc0, 0xff, 0xee, 0x11,
];

/// Every way in which 6 bytes of a secret would show, without white space.
fn spellings(secret: &[u8]) -> BTreeSet<String> {
    let mut spellings = BTreeSet::new();
    for piece in secret.windows(6) {
        let each = |spell: fn(&u8) -> String| piece.iter().map(spell).collect::<Vec<_>>();
        spellings.insert(each(|byte| format!("{byte:02x}")).concat());
        spellings.insert(each(|byte| format!("{byte:02X}")).concat());
        spellings.insert(each(u8::to_string).join(","));
        spellings.insert(each(|byte| format!("0x{byte:02x}")).join(","));
        spellings.insert(piece.escape_ascii().to_string());
        spellings.insert(STANDARD.encode(piece));
        spellings.insert(URL_SAFE_NO_PAD.encode(piece));
    }
    without_white_space(spellings)
}

fn without_white_space(texts: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let dense = |text: String| text.split_whitespace().collect();
    texts.into_iter().map(dense).collect()
}

/// What was printed, and by what.
#[derive(Default)]
struct Log(Vec<(&'static str, String)>);

impl Log {
    fn show<T: Debug>(&mut self, name: &'static str, value: T) -> T {
        self.0.push((name, format!("{value:?} {value:#?}")));
        value
    }

    /// Also as text, with its sources, and in the panic of an `unwrap`.
    fn fail<T, E: std::error::Error + 'static>(
        &mut self,
        name: &'static str,
        result: Result<T, E>,
    ) {
        let error = self.show(name, result.as_ref().err().unwrap());
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            self.0.push((name, format!("{error} {error:?}")));
            cause = error.source();
        }
        let unwrap = AssertUnwindSafe(|| drop(result.unwrap()));
        let panic = catch_unwind(unwrap).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("called `Result::unwrap()`"), "{message}");
        self.0.push((name, message.clone()));
    }

    fn leaks(&self, secret: &[u8]) -> Vec<&'static str> {
        let spellings = spellings(secret);
        assert!(!spellings.is_empty());
        let is_leak = |(_, shown): &&(&str, String)| {
            let shown: String = shown.split_whitespace().collect();
            spellings.iter().any(|spelling| shown.contains(spelling))
        };
        self.0
            .iter()
            .filter(is_leak)
            .map(|(name, _)| *name)
            .collect()
    }
}

/// A caller's type whose own errors tell what it holds.
struct Telltale;

impl Serialize for Telltale {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(TEXT))
    }
}

impl<'de> Deserialize<'de> for Telltale {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(String::deserialize(deserializer)?))
    }
}

#[derive(Debug, Deserialize)]
enum Theme {
    Dark,
}

/// Names of types that `src/lib.rs` exports. What only a feature exports is not among them.
fn public_types() -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    for item in include_str!("../../src/lib.rs").split_inclusive(';') {
        let Some((before, list)) = item.split_once("pub use ") else {
            continue;
        };
        let last = before.lines().rfind(|line| !line.trim().is_empty());
        let of_a_feature = last.is_some_and(|line| line.starts_with("#[cfg("));
        let words = list.split(|c: char| !c.is_alphanumeric());
        let is_type = |word: &&str| word.starts_with(char::is_uppercase);
        if !of_a_feature {
            names.extend(words.filter(is_type));
        }
    }
    names
}

#[test]
fn no_public_type_error_or_panic_shows_a_key_a_token_or_a_value() {
    let mut log = Log::default();
    let key = log.show("AppKey", AppKey::generate().unwrap());
    let key_text = key.to_base64();
    let ring = log.show(
        "KeyRing",
        KeyRing::new(key.clone()).accept(AppKey::generate().unwrap()),
    );
    let ring = ring.unwrap();
    log.show("Keys", Keys::from(ring.clone()));
    log.show("KeyId", key.id());

    let cookie = log.show("CookieConfigBuilder", CookieConfig::builder());
    let cookie = log.show(
        "CookieConfig",
        cookie.same_site(SameSite::Strict).build().unwrap(),
    );
    let builder = CookieStore::builder(ring.clone())
        .cookie(cookie)
        .context("shop");
    let store = log.show("CookieStoreBuilder", builder).build().unwrap();

    // A session on its whole way.
    let session = store.load(&HeaderMap::new());
    session.insert("text", TEXT).unwrap();
    session.insert("number", NUMBER).unwrap();
    session
        .insert("bytes", Value::Bytes(BYTES.to_vec()))
        .unwrap();
    session
        .insert("map", Value::from(vec![Value::from(TEXT)]))
        .unwrap();
    session.flash("notice", TEXT).unwrap();
    session.set_subject(TEXT).unwrap();
    session.set_label(TEXT).unwrap();
    session.set_sid(TEXT).unwrap();
    session.log_in().unwrap();
    log.show("Session", &session);
    let outgoing = log.show("Outgoing", store.respond(&session).unwrap());
    log.show("HeaderChange", outgoing.changes([]));
    let mut response = HeaderMap::new();
    outgoing.apply(&mut response);
    log.show("Outgoing", &response);
    let set_cookie = response[SET_COOKIE].to_str().unwrap();
    let pair = set_cookie.split(';').next().unwrap().to_owned();
    let request = HeaderMap::from_iter([(COOKIE, pair.parse().unwrap())]);
    let session = log.show("Session", store.load(&request));
    log.show("CookieStore", &store);
    log.show(
        "TypedSession",
        TypedSession::<Telltale>::from(session.clone()),
    );
    log.show("SessionId", session.id().unwrap());
    log.show("Origin", session.origin());
    log.show("Status", session.status());
    log.show("Value", session.to_map().unwrap());
    log.show("Field", Field::<String>::new("text"));
    let id = *session.id().unwrap().as_bytes();

    let sealer = log.show("Sealer", Sealer::new(ring.clone(), "invitation").unwrap());
    let token = sealer
        .seal_for(TEXT.as_bytes(), Duration::from_secs(60))
        .unwrap();
    log.show("Token", Token::parse(&token).unwrap());
    log.show("Plaintext", sealer.open(&token).unwrap());

    // What can be refused, with a secret at hand.
    for text in [
        key_text.get(..40).unwrap(),
        &key_text.replace(':', "="),
        &format!("{}*", *key_text),
        &format!("base64:{}", STANDARD.encode(TEXT.repeat(2))),
        &format!("hex:{}", *key_text),
        TEXT,
    ] {
        log.fail("KeyError", text.parse::<AppKey>());
    }
    log.fail("SessionError", session.get::<u64>("text"));
    log.fail("SessionError", session.get::<u8>("number"));
    log.fail("SessionError", session.get::<bool>("bytes"));
    log.fail("SessionError", session.get::<Theme>("text"));
    log.fail("SessionError", session.take::<(u8,)>("map"));
    log.fail("SessionError", session.take_flash::<u64>("notice"));
    log.fail("SessionError", session.get::<Telltale>("text"));
    log.fail("SessionError", session.insert("x", Telltale));
    let typed = TypedSession::<BTreeMap<String, u8>>::from(session.clone());
    log.fail("SessionError", typed.get());
    log.fail("SessionError", session.insert("x", TEXT.repeat(200)));
    log.fail("SessionError", session.set_subject(TEXT.repeat(256)));
    let kind = session.get::<u64>("text").unwrap_err().kind();
    log.show("ErrorKind", kind);
    let other_store = CookieStore::new(ring);
    log.fail("SaveError", other_store.save(&session, &mut response));
    let altered = format!("{token}A");
    log.show("Refusal", sealer.open(&altered).unwrap_err().reason());
    log.fail("OpenError", sealer.open(&altered));
    log.fail("SealError", sealer.seal(TEXT.repeat(4000).as_bytes()));
    log.fail("ConfigError", Sealer::new(key.clone(), &TEXT.repeat(10)));

    session.destroy();
    session.insert("again", TEXT).unwrap();
    log.show("Session", &session);
    log.show("SameSite", SameSite::Strict);
    log.show("Event", Event::TooLarge);
    log.show("DeviceRefusal", DeviceRefusal::Signature);
    log.show("DeviceSkip", DeviceSkip::Quota);
    let list = RevocationList::new();
    list.revoke_subject(TEXT, SystemTime::now());
    list.revoke_sid(TEXT, SystemTime::now());
    log.show("RevocationList", list);
    log.show("SiteData", SiteData::Cache);
    let of_hosts = key.clone();
    let hosts = HostStores::new(move |_| Ok(Some(CookieStore::new(of_hosts.clone()))));
    hosts.store("example.org").unwrap();
    log.fail("HostError", hosts.store(TEXT));
    log.show("HostStores", hosts);
    let bearer = log.show("Transport", Transport::bearer());
    let in_header = CookieStore::builder(key.clone()).transport(bearer);
    let in_header = in_header.build().unwrap();
    let session = in_header.load_from([""]);
    session.insert("text", TEXT).unwrap();
    let outgoing = log.show("Outgoing", in_header.respond(&session).unwrap());
    log.show("HeaderChange", outgoing.changes([]));
    let (_, header_token) = outgoing.token_header().unwrap();

    let key_text = key_text.strip_prefix("base64:").unwrap();
    let key_bytes = STANDARD.decode(key_text).unwrap();
    let (_, cookie_token) = pair.split_once('=').unwrap();
    for secret in [
        &*key_bytes,
        key_text.as_bytes(),
        TEXT.as_bytes(),
        NUMBER.to_string().as_bytes(),
        &BYTES,
        &id,
    ] {
        assert_eq!(log.leaks(secret), [""; 0]);
    }
    for token in [cookie_token, header_token, &token] {
        // Version and key id, at its start, may be shown.
        assert_eq!(log.leaks(&token.as_bytes()[8..]), [""; 0]);
        assert_eq!(
            log.leaks(&URL_SAFE_NO_PAD.decode(token).unwrap()[5..]),
            [""; 0]
        );
    }

    // Each public type was shown, but for three traits and two types that hold nothing; the builder
    // by its other name.
    assert_eq!(size_of::<(RandomError, InCookie)>(), 0);
    let mut shown: BTreeSet<&str> = log.0.iter().map(|(name, _)| *name).collect();
    shown.extend([
        "HasCookie",
        "Key",
        "KeyOf",
        "RandomError",
        "InCookie",
        "StoreBuilder",
    ]);
    assert_eq!(shown, public_types());
}

#[test]
fn a_type_that_shows_its_content_would_have_been_noticed() {
    let mut log = Log::default();
    log.show("text", TEXT);
    log.show("list", TEXT.as_bytes());
    log.show("hex", format!("{:02x?}", TEXT.as_bytes()).replace(", ", ""));
    log.show("base64", STANDARD.encode(TEXT));
    log.show("url-safe", URL_SAFE_NO_PAD.encode(TEXT));
    log.show("nothing", "nothing of the kind");
    let noticed: BTreeSet<_> = log.leaks(TEXT.as_bytes()).into_iter().collect();
    let all = ["base64", "hex", "list", "text", "url-safe"];
    assert_eq!(noticed, BTreeSet::from(all));
}
