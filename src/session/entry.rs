//! One entry of a session: its bytes, and the value in them.

use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::changes::{Changes, Stored};
use crate::error::SessionError;
use crate::record::Record;
use crate::value;

/// A value's bytes, readable without the lock.
pub(super) enum Found<'a> {
    Loaded(&'a [u8]),
    Copied(Stored),
}

impl Deref for Found<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Loaded(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// Whether the entry still has the bytes that were read `before`.
pub(super) fn is_still(
    changes: &Changes,
    record: Option<&Record>,
    key: &str,
    before: Option<&[u8]>,
) -> bool {
    let changed = changes.values.changed(key).map(|value| value.as_slice());
    changed.or_else(|| changes.kept_value(record, key)) == before
}

pub(super) fn copy<'a>(
    entries: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Vec<(String, Stored)> {
    entries
        .map(|(key, value)| (text(key), Zeroizing::new(value.to_vec())))
        .collect()
}

/// A session's key as a string. Keys are always text.
pub(super) fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

pub(super) fn encode<T: Serialize>(key: &str, value: &T) -> Result<Stored, SessionError> {
    let refused = |error| SessionError::not_storable(format_args!("{key:?}"), error);
    value::encode(value).map_err(refused)
}

pub(super) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, SessionError> {
    let refused = |error| SessionError::wrong_type(format_args!("{key:?}"), error);
    value::decode(bytes).map_err(refused)
}
