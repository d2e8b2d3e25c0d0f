//! The frozen vectors of `tests/vectors`, in both directions. Another program made them
//! (`generate.py`), from docs/format.md alone.
//!
//! Here are the reader of the files, and the tests of records, values and the whole way of a
//! cookie. Keys, tokens and the primitives are checked in `envelope/tests/vectors.rs`, a
//! Sealer's tokens in `envelope/sealer/tests.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, IgnoredAny};

use crate::cookie::{CookieConfig, MAX_NAME_AND_VALUE};
use crate::envelope::{AppKey, Envelope, KeyRing, Kind, Opened, Sealer, Use};
use crate::error::{RandomError, Refusal};
use crate::event::Events;
use crate::flow::{Flow, InCookie};
use crate::policy::{Idle, Policy};
use crate::time::Millis;
use crate::value::Value;

#[cfg(feature = "server")]
mod backend;
#[cfg(feature = "device-bound")]
mod device;
mod refused;
mod sessions;

/// Reads a file of `tests/vectors`.
macro_rules! vectors {
    ($file:literal) => {
        $crate::vectors::parse(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/vectors/",
            $file
        )))
    };
}
pub(crate) use vectors;

pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

/// A random source that gives these bytes, in this order, and no more.
pub(crate) fn given<'a>(
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> impl FnMut(&mut [u8]) -> Result<(), RandomError> {
    let mut parts = parts.into_iter();
    move |bytes| {
        bytes.copy_from_slice(parts.next().unwrap());
        Ok(())
    }
}

/// A file of tokens. A section that it does not name is an error, so that none goes unread.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(rename = "comment")]
    _comment: IgnoredAny,
    /// Tokens that open, but for refused.json, where they do not.
    pub(crate) vectors: Vec<Vector>,
    #[serde(default)]
    pub(crate) refused: Vec<Vector>,
    #[serde(default)]
    pub(crate) values: Vec<BadValue>,
    #[serde(default)]
    pub(crate) xaes_256_gcm: Vec<Xaes>,
}

/// A token and what is known of it. Fields that a vector does not need are empty.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) name: String,
    why: String,
    #[serde(default)]
    pub(crate) app_key: Hex,
    #[serde(default)]
    pub(crate) prk: Hex,
    #[serde(default)]
    pub(crate) key_id: Hex,
    #[serde(default)]
    pub(crate) subkeys: BTreeMap<String, Hex>,
    #[serde(with = "KindName")]
    pub(crate) kind: Kind,
    #[serde(alias = "purpose")]
    pub(crate) cookie: String,
    pub(crate) context: String,
    #[serde(default)]
    pub(crate) nonce: Hex,
    #[serde(default)]
    pub(crate) xaes_key: Hex,
    #[serde(default)]
    pub(crate) plaintext: Hex,
    #[serde(default)]
    pub(crate) gcm_tag: Hex,
    pub(crate) token: String,
    ring: Vec<Hex>,
    #[serde(default)]
    pub(crate) opened_under: String,
    #[serde(default)]
    now_ms: u64,
    max_lifetime_ms: Option<u64>,
    idle_timeout_ms: Option<u64>,
    not_before_ms: Option<u64>,
    session: Option<Contents>,
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "read where there is a fleet")
    )]
    pub(crate) ended: Option<Ended>,
    #[cfg_attr(
        not(feature = "device-bound"),
        expect(dead_code, reason = "read where sessions are bound")
    )]
    device: Option<DeviceToken>,
    #[cfg(feature = "managed-keys")]
    pub(crate) held: Option<Held>,
    #[serde(default)]
    pub(crate) data: Hex,
    pub(crate) expires_at: Option<u64>,
    #[serde(default)]
    pub(crate) reason: String,
}

/// GCM's part of a vector.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Xaes {
    pub(crate) name: String,
    #[serde(rename = "why")]
    _why: IgnoredAny,
    pub(crate) key: Hex,
    pub(crate) nonce: Hex,
    pub(crate) aad: Hex,
    pub(crate) plaintext: Hex,
    #[serde(default)]
    pub(crate) xaes_key: Hex,
    pub(crate) ciphertext: Hex,
    pub(crate) gcm_tag: Hex,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BadValue {
    name: String,
    why: String,
    bytes: Hex,
    reason: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    id: Hex,
    issued_at: u64,
    seen_at: u64,
    expires_at: u64,
    flags: u8,
    logged_in_at: Option<u64>,
    #[serde(default)]
    binding: Option<Hex>,
    subject: String,
    label: Option<String>,
    sid: Option<String>,
    values: BTreeMap<String, Typed>,
    flashes: BTreeMap<String, Typed>,
}

/// The content of a vector of kind `revocation`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "read where there is a fleet")
)]
pub(crate) struct Ended {
    pub(crate) id: Option<Hex>,
    pub(crate) from: Option<u64>,
    pub(crate) until: Option<u64>,
    pub(crate) subject: Option<String>,
    pub(crate) sid: Option<String>,
    pub(crate) moment: Option<u64>,
    pub(crate) longest: Option<u64>,
    pub(crate) next: Option<Hex>,
    pub(crate) binding: Option<Hex>,
}

/// The content of a vector of a `device-` kind.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(feature = "device-bound"),
    expect(dead_code, reason = "read where sessions are bound")
)]
pub(crate) struct DeviceToken {
    binding: Option<Hex>,
    session: Option<Hex>,
    point: Option<Hex>,
    issued_at: Option<u64>,
    proven_at: Option<u64>,
    expires_at: Option<u64>,
}

/// The content of a vector of kind `keys`. Times and lengths are in milliseconds.
#[cfg(feature = "managed-keys")]
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Held {
    pub(crate) format: u64,
    pub(crate) longest: u64,
    pub(crate) poll: u64,
    pub(crate) propagation: u64,
    pub(crate) timeout: u64,
    pub(crate) tolerance: u64,
    pub(crate) fence: u64,
    pub(crate) keys: Vec<HeldKey>,
}

#[cfg(feature = "managed-keys")]
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeldKey {
    pub(crate) id: String,
    pub(crate) made: u64,
    pub(crate) from: u64,
    pub(crate) stops: Option<u64>,
    pub(crate) disabled: u32,
    pub(crate) revoked: Option<u64>,
    pub(crate) dropped: Option<u64>,
    pub(crate) material: Option<Hex>,
}

/// A value as the files spell it.
#[derive(Clone, serde::Deserialize, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum Typed {
    Null(()),
    Bool(bool),
    Unsigned(String),
    Negative(String),
    Float(Hex),
    String(String),
    Bytes(Hex),
    List(Vec<Typed>),
    Map(BTreeMap<String, Typed>),
}

#[derive(serde::Deserialize)]
#[serde(remote = "Kind", rename_all = "lowercase")]
enum KindName {
    Cookie,
    Header,
    Store,
    Token,
    Timed,
    #[cfg(feature = "redis")]
    Revocation,
    #[cfg(feature = "device-bound")]
    #[serde(rename = "device-offer")]
    DeviceOffer,
    #[cfg(feature = "device-bound")]
    #[serde(rename = "device-key")]
    DeviceKey,
    #[cfg(feature = "device-bound")]
    #[serde(rename = "device-proof")]
    DeviceProof,
    #[cfg(feature = "device-bound")]
    #[serde(rename = "device-challenge")]
    DeviceChallenge,
    #[cfg(feature = "managed-keys")]
    Keys,
}

/// Bytes that stand in a file as lower-case hexadecimal digits.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |at| u8::from_str_radix(text.get(at..at + 2).unwrap_or_default(), 16);
        let bytes: Result<_, _> = (0..text.len()).step_by(2).map(byte).collect();
        bytes.map(Self).map_err(D::Error::custom)
    }
}

impl Deref for Hex {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a failed test says: which vector, and what it is about.
impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.why)
    }
}

impl Vector {
    pub(crate) fn app_key(&self) -> AppKey {
        AppKey::from_bytes(&self.app_key).unwrap()
    }

    pub(crate) fn ring(&self) -> KeyRing {
        let mut keys = self.ring.iter().map(|key| AppKey::from_bytes(key).unwrap());
        let sealing = KeyRing::new(keys.next().unwrap());
        keys.fold(sealing, |ring, key| ring.accept(key).unwrap())
    }

    pub(crate) fn used_for(&self) -> Use {
        Use {
            kind: self.kind,
            name: self.cookie.clone(),
            context: self.context.clone(),
        }
    }

    /// The envelope that opens the vector's token.
    pub(crate) fn envelope(&self) -> Envelope {
        Envelope::new(&self.ring(), self.used_for())
    }

    /// Opens the token with the envelope alone, within the limit of the vector's kind.
    pub(crate) fn open(&self) -> Result<Opened, Refusal> {
        let limit = match self.kind {
            Kind::Cookie | Kind::Header => MAX_NAME_AND_VALUE - self.cookie.len(),
            Kind::Token | Kind::Timed => Sealer::MAX_TOKEN,
            Kind::Store => self.token.len(),
            #[cfg(feature = "redis")]
            Kind::Revocation => self.token.len(),
            #[cfg(feature = "device-bound")]
            Kind::DeviceOffer | Kind::DeviceKey | Kind::DeviceProof | Kind::DeviceChallenge => {
                self.token.len()
            }
            #[cfg(feature = "managed-keys")]
            Kind::Keys => self.token.len(),
        };
        self.envelope().open(self.token.as_bytes(), limit)
    }

    pub(crate) fn now(&self) -> Millis {
        Millis::from_raw(self.now_ms)
    }

    /// The reader's settings: those that the vector states, and the defaults.
    fn policy(&self) -> Policy {
        let day = Duration::from_secs(24 * 60 * 60);
        let idle = self.idle_timeout_ms.map(Duration::from_millis);
        let idle = idle.map(|timeout| Idle {
            timeout,
            refresh_after: timeout / 10,
            #[cfg(feature = "server")]
            longest_request: Duration::ZERO,
        });
        Policy::new(
            day,
            self.max_lifetime_ms.map_or(day, Duration::from_millis),
            idle,
            Millis::from_raw(self.not_before_ms.unwrap_or_default()),
        )
    }

    /// The whole path of the vector's cookie.
    fn flow(&self, ring: &KeyRing, policy: Policy) -> Flow<InCookie> {
        let cookie = CookieConfig::builder().name(&self.cookie).build().unwrap();
        let envelope = Envelope::new(ring, self.used_for());
        Flow::new(
            envelope,
            policy,
            cookie.into(),
            &[],
            Events::default(),
            InCookie,
        )
    }

    /// What the browser sends.
    fn cookie_field(&self) -> String {
        format!("{}={}", self.cookie, self.token)
    }
}

impl From<&Value> for Typed {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null(()),
            Value::Bool(value) => Self::Bool(*value),
            Value::Unsigned(value) => Self::Unsigned(value.to_string()),
            Value::Negative(value) => Self::Negative(value.to_string()),
            Value::Float(value) => Self::Float(Hex(value.to_be_bytes().to_vec())),
            Value::String(value) => Self::String(value.clone()),
            Value::Bytes(value) => Self::Bytes(Hex(value.clone())),
            Value::List(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Map(entries) => Self::Map(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), value.into()))
                    .collect(),
            ),
        }
    }
}

impl From<&Typed> for Value {
    fn from(typed: &Typed) -> Self {
        match typed {
            Typed::Null(()) => Self::Null,
            Typed::Bool(value) => Self::Bool(*value),
            Typed::Unsigned(value) => Self::Unsigned(value.parse().unwrap()),
            Typed::Negative(value) => Self::Negative(value.parse().unwrap()),
            Typed::Float(bits) => Self::Float(f64::from_be_bytes(bits.0[..].try_into().unwrap())),
            Typed::String(value) => Self::String(value.clone()),
            Typed::Bytes(value) => Self::Bytes(value.0.clone()),
            Typed::List(items) => Self::List(items.iter().map(Self::from).collect()),
            Typed::Map(entries) => Self::Map(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), value.into()))
                    .collect(),
            ),
        }
    }
}
