//! Functions for the fuzz targets in `fuzz/` alone: readers of what is normally sealed, the
//! envelope with a chosen nonce, and a save whose random source fails.
//!
//! This module exists only under `--cfg fuzzing`, which `cargo fuzz` sets for everything that it
//! builds. A feature would not do, because any crate of an application could turn it on for all
//! others.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cookie::header::{Candidates, MAX_CANDIDATES};
use crate::envelope::{self, KeyRing, Kind, Plaintext, Use};
use crate::error::{RandomError, Refusal, SaveError};
use crate::flow::Outgoing;
use crate::record::{self, Body};
use crate::session::Session;
use crate::store::CookieStore;
use crate::value;

/// The values of the cookie `name` that are looked at, in their order.
pub fn cookie_values<'a>(
    name: &str,
    fields: impl IntoIterator<Item = &'a [u8]>,
) -> [Option<&'a [u8]>; MAX_CANDIDATES] {
    values(Candidates::find(name, fields))
}

/// The tokens that are looked at in a header of their own.
pub fn listed_values<'a>(
    fields: impl IntoIterator<Item = &'a [u8]>,
) -> [Option<&'a [u8]>; MAX_CANDIDATES] {
    values(Candidates::listed(fields))
}

/// The tokens that are looked at in Authorization.
pub fn bearer_values<'a>(
    fields: impl IntoIterator<Item = &'a [u8]>,
) -> [Option<&'a [u8]>; MAX_CANDIDATES] {
    values(Candidates::bearer(fields))
}

fn values(candidates: Candidates<'_>) -> [Option<&[u8]>; MAX_CANDIDATES] {
    let mut values = [None; MAX_CANDIDATES];
    for (place, value) in values.iter_mut().zip(candidates.iter()) {
        *place = Some(value);
    }
    values
}

/// A record, decoded from bytes that need not have been in a token.
#[derive(Debug)]
pub struct Record(record::Record);

impl Record {
    /// Decodes `bytes`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Newer`] or [`Refusal::BadRecord`].
    pub fn decode(bytes: Vec<u8>) -> Result<Self, Refusal> {
        record::Record::decode(Plaintext::from_vec(bytes)).map(Self)
    }

    /// The record as a save writes it.
    pub fn encode(&self) -> Vec<u8> {
        let body = Body::new(
            self.0.names(),
            self.0.values().iter(),
            self.0.flashes().iter(),
        );
        let length = body.len(self.0.header().optional());
        let mut bytes = Vec::with_capacity(length);
        body.append_to(&mut bytes, self.0.header());
        debug_assert_eq!(length, bytes.len());
        bytes
    }

    /// Whose session it is, its label, and its sid.
    pub fn names(&self) -> [&str; 3] {
        let names = self.0.names();
        [names.subject, names.label, names.sid]
    }

    /// Keys and undecoded values.
    pub fn values(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.values().texts()
    }

    /// Keys and undecoded flashes.
    pub fn flashes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.flashes().texts()
    }

    /// The undecoded value under `key`.
    pub fn find(&self, key: &str) -> Option<&[u8]> {
        self.0.values().find(key)
    }
}

/// Reads the bytes of one entry as a `T`.
///
/// # Errors
///
/// The message for the operator.
pub fn decode_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    value::decode(bytes).map_err(|error| error.to_string())
}

/// The bytes of one entry.
///
/// # Errors
///
/// The message for the operator.
pub fn encode_value<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    value::encode(value)
        .map(|bytes| bytes.to_vec())
        .map_err(|error| error.to_string())
}

/// The envelope of a store without a context.
#[derive(Debug)]
pub struct Envelope(envelope::Envelope);

impl Envelope {
    /// The envelope of the cookie `name`.
    pub fn new(ring: &KeyRing, name: &str) -> Self {
        Self::of(Kind::Cookie, ring, name)
    }

    /// The envelope of what a backend gets for the cookie `name`.
    #[cfg(feature = "server")]
    pub fn of_store(ring: &KeyRing, name: &str) -> Self {
        Self::of(Kind::Store, ring, name)
    }

    fn of(kind: Kind, ring: &KeyRing, name: &str) -> Self {
        let used_for = Use {
            kind,
            name: name.to_owned(),
            context: String::new(),
        };
        Self(envelope::Envelope::new(ring, used_for))
    }

    /// Seals `plaintext` under a nonce that starts with the bytes of `nonce`.
    pub fn seal(&self, plaintext: &[u8], nonce: u64) -> String {
        let mut token = String::new();
        let mut random = |bytes: &mut [u8]| {
            for (byte, chosen) in bytes.iter_mut().zip(nonce.to_be_bytes()) {
                *byte = chosen;
            }
            Ok(())
        };
        let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(plaintext);
        // The random source above does not fail.
        let _ = self
            .0
            .seal_into(&mut token, plaintext.len(), write, &mut random);
        token
    }

    /// Opens `token`, of which at most `max_length` characters are looked at.
    ///
    /// # Errors
    ///
    /// The first reason on the way to the plaintext.
    pub fn open(&self, token: &[u8], max_length: usize) -> Result<Plaintext, Refusal> {
        self.0
            .open(token, max_length)
            .map(|opened| opened.plaintext)
    }
}

/// Reads a JWT as a browser's proof: its challenge, and the compressed key in it.
#[cfg(feature = "device-bound")]
pub fn read_jwt(field: &[u8]) -> Option<(Option<String>, Option<[u8; 33]>)> {
    crate::device::read_jwt(field)
}

/// How many kinds of tokens there are for device-bound sessions.
#[cfg(feature = "device-bound")]
pub const DEVICE_TOKENS: u8 = 4;

/// Decodes what is in a token of this kind, and encodes it again.
#[cfg(feature = "device-bound")]
pub fn device_token(kind: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    use crate::binding::{Challenge, Key, Offer, Proof, Sealed};
    match kind {
        0 => Some(Offer::decode(bytes).ok()?.encode()),
        1 => Some(Key::decode(bytes).ok()?.encode()),
        2 => Some(Proof::decode(bytes).ok()?.encode()),
        _ => Some(Challenge::decode(bytes).ok()?.encode()),
    }
}

/// [`CookieStore::respond`] with a random source that fails after `successes` calls.
///
/// # Errors
///
/// As [`CookieStore::respond`].
pub fn respond_with_failing_random(
    store: &CookieStore,
    session: &Session,
    mut successes: usize,
) -> Result<Outgoing, SaveError> {
    store.respond_with(session, &mut |bytes| {
        successes = successes.checked_sub(1).ok_or(RandomError(()))?;
        envelope::os_random(bytes)
    })
}
