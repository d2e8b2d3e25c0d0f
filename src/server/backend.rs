//! What a server's store keeps sessions in: bytes under a hashed key, with an expiry.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{BackendError, BackendErrorKind};
use crate::event::Event;
use crate::record::SessionId;
use crate::session::Version;

/// Keeps sealed sessions for a [`ServerStore`](super::ServerStore): a database, a cache, a
/// directory. It never sees a session, an id or a subject.
///
/// # What it must promise
///
/// - Nothing is kept without an expiry, not for a moment, and nothing is given out after its
///   expiry. Times are durations from the backend's own clock, exact to the millisecond where
///   the backend can.
/// - [`load`](Self::load) sees every [`put`](Self::put), [`touch`](Self::touch) and
///   [`remove`](Self::remove) that was answered before it was called.
/// - With [`Promise::Full`], `put` is one step that nothing comes between: with
///   [`When::Absent`] it never overwrites, with [`When::Unchanged`] it never creates and never
///   overwrites what another has put. What was removed stays removed.
/// - A call whose future is dropped happens wholly or not at all.
/// - An error means that nothing is known about what has happened: a caller may try again. Only
///   [`BackendErrorKind::Full`] means that nothing was written; touching, removing and writing
///   less than is there still work then.
///
/// The suite behind the feature `conformance` checks what is declared.
pub trait Backend: Send + Sync + 'static {
    /// What this backend can promise.
    const PROMISE: Promise;

    /// Told once, by the store that the backend is for: no value that it puts has more characters.
    /// Of a longer one, which somebody else has put, [`load`](Self::load) may give back the
    /// beginning, if that has at least one character more than this: the store refuses it. So a
    /// backend need not fetch more. By default it does nothing.
    fn expect_at_most(&mut self, characters: usize) {
        let _ = characters;
    }

    /// The value under `key`, unless it has expired.
    fn load(
        &self,
        key: &StoreKey,
    ) -> impl Future<Output = Result<Option<Stored>, BackendError>> + Send;

    /// Puts a value under `key`, if what is there is as `entry.when` says.
    fn put(
        &self,
        key: &StoreKey,
        entry: &Entry,
    ) -> impl Future<Output = Result<Outcome, BackendError>> + Send;

    /// Lets the value under `key` expire after `ttl` from now, later or earlier than it would
    /// have, without writing it again. One that is not there stays so. `ttl` is at least a
    /// millisecond.
    fn touch(
        &self,
        key: &StoreKey,
        ttl: Duration,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Removes the value under `key`, if there is one, and gives it back. With
    /// [`Promise::Full`] that is one step, so that nothing is removed unseen: if it is the mark of
    /// a session that has moved, the session ends where it went, and if there was nothing, somebody
    /// else has ended it. Otherwise a backend may give back `None`.
    fn remove(
        &self,
        key: &StoreKey,
    ) -> impl Future<Output = Result<Option<Value>, BackendError>> + Send;

    /// Some of the keys, and where to go on. Each value that is there from the first page to the
    /// last is on at least one of them; keys without a value may be too.
    ///
    /// By default an error of the kind [`BackendErrorKind::Unsupported`].
    fn scan(
        &self,
        after: Option<Cursor>,
    ) -> impl Future<Output = Result<(Vec<StoreKey>, Option<Cursor>), BackendError>> + Send {
        let _ = after;
        async { Err(BackendError::unsupported("to list its keys")) }
    }

    /// The keys of all values that were put with this tag and have not expired; keys without a
    /// value may be among them. In time that grows with their number, not with all.
    ///
    /// By default an error of the kind [`BackendErrorKind::Unsupported`].
    fn tagged(
        &self,
        tag: &Tag,
    ) -> impl Future<Output = Result<Vec<StoreKey>, BackendError>> + Send {
        let _ = tag;
        async { Err(BackendError::unsupported("to find a subject's sessions")) }
    }

    /// Where to tell what happens to the backend itself, beside the outcome of any call. A store
    /// gives it when it is built: `report` tells the store's own hook and `tracing`. Call it while
    /// nothing is locked.
    ///
    /// By default nothing is told.
    fn report_to(&self, report: Arc<dyn Fn(Event) + Send + Sync>) {
        let _ = report;
    }
}

/// What a [`Backend`] can promise about writes that meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Promise {
    /// [`Backend::put`] heeds [`When`]: no change is lost, and what was removed stays removed.
    Full,
    /// [`Backend::put`] always writes. The last writer wins, and a session that was destroyed
    /// while a slow request held it can come back with that request.
    Upsert,
}

/// Under what a session is kept: 32 bytes, the SHA-256 hash of its id. Whoever reads it cannot
/// tell the id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey([u8; 32]);

impl StoreKey {
    pub(crate) fn of(id: SessionId) -> Self {
        let mut hash = Sha256::new_with_prefix(b"sealed-session/v1/id");
        hash.update(id.as_bytes());
        Self(hash.finalize().into())
    }

    /// A key that a backend has kept as bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key that a backend has kept as text: what displays as these 64 digits, in lower case.
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What all sessions of one subject have in common: 32 bytes, an HMAC of the subject under a key
/// that is derived from the app key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; 32]);

impl Tag {
    /// A tag that a backend has kept as bytes.
    pub fn from_bytes(mac: [u8; 32]) -> Self {
        Self(mac)
    }

    #[cfg(all(feature = "file", unix))]
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = 16 * digit(high)? + digit(low)?;
    }
    Some(bytes)
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag(..)")
    }
}

fn hex(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// A sealed session, or a mark that it has moved: base64url text, different with every write.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// A value that a backend has kept.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// What a backend is to keep: ASCII letters, digits, `-` and `_`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What tells this value from all others that were ever put: its first 40 characters, which
    /// hold the nonce. Shorter only if a backend returned what nobody has put.
    pub fn version(&self) -> Version {
        Version(Version::in_text(&self.0).to_owned())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

/// What [`Backend::load`] finds.
#[derive(Clone, Debug)]
pub struct Stored {
    /// As it was put.
    pub value: Value,
    /// In how long it expires. A session's last use is reckoned from it: where it is told too
    /// short, a session ends so much earlier from idleness.
    pub ttl: Duration,
}

/// What [`Backend::put`] is to write.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The value, which a backend returns as it is.
    pub value: Value,
    /// In how long it expires: at least a millisecond.
    pub ttl: Duration,
    /// In how long it expires at the latest, however often it is touched: until then it must be
    /// found by its tag. It may be past the session's deadline.
    pub longest_ttl: Duration,
    /// What must be there for it to be written.
    pub when: When,
    /// How to find it, with those that belong to the same subject.
    pub tag: Option<Tag>,
}

impl Entry {
    /// An entry without a tag, for a backend's own tests.
    pub fn new(value: Value, ttl: Duration, when: When) -> Self {
        Self {
            value,
            ttl,
            longest_ttl: ttl,
            when,
            tag: None,
        }
    }
}

/// What must be under a key for a value to be put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing, or something that has expired.
    Absent,
    /// The value of this version.
    Unchanged(Version),
}

impl When {
    /// What becomes of a put if this value is there, of which the beginning is enough;
    /// [`Outcome::Stored`] if it may go ahead.
    pub(super) fn outcome(&self, there: Option<&str>) -> Outcome {
        match (self, there) {
            (Self::Absent, None) => Outcome::Stored,
            (Self::Unchanged(_), None) => Outcome::Absent,
            (Self::Unchanged(version), Some(there)) if version.0 == Version::in_text(there) => {
                Outcome::Stored
            }
            (_, Some(_)) => Outcome::Conflict,
        }
    }
}

/// What has become of a [`Backend::put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The value is there.
    Stored,
    /// Another value is there, and stays.
    Conflict,
    /// Nothing is there, and it stays so.
    Absent,
}

/// Where [`Backend::scan`] goes on, as only the backend understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

impl Cursor {
    /// The key that a backend of ours has written into it.
    pub(super) fn key(&self) -> Result<StoreKey, BackendError> {
        StoreKey::from_hex(&self.0).ok_or_else(|| {
            let problem = "the cursor is not one that this backend has given out";
            BackendError::new(BackendErrorKind::Other, problem)
        })
    }
}
