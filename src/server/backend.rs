//! The backend of a server's store: it keeps bytes under a hashed key, with an expiry.

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
/// - It keeps nothing without an expiry, not for a moment, and returns nothing after its expiry.
///   Times are durations by the backend's own clock, exact to the millisecond if the backend can.
/// - [`load`](Self::load) sees every [`put`](Self::put), [`touch`](Self::touch) and
///   [`remove`](Self::remove) that was answered before the load was called.
/// - With [`Promise::Full`], `put` is one atomic step. With [`When::Absent`] it never overwrites.
///   With [`When::Unchanged`] it never creates, and never overwrites what another caller has put. A
///   removed value stays removed.
/// - If the future of a call is dropped, the call happens completely or not at all.
/// - An error means that the result is unknown, and a caller may try again. Only
///   [`BackendErrorKind::Full`] means that nothing was written; then touching and removing still
///   work.
///
/// The suite behind the feature `conformance` checks these promises.
///
/// # An example
///
/// Put your database in place of the map. `put` must look and write in one atomic step: here a lock
/// sees to that, in SQL a transaction would.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Mutex, MutexGuard};
/// use std::time::{Duration, Instant};
/// use sealed_session::server::{
///     Backend, BackendError, Entry, Outcome, Promise, ServerStore, StoreKey, Stored, Value, When,
/// };
///
/// #[derive(Default)]
/// struct Table(Mutex<HashMap<StoreKey, (Value, Instant)>>);
///
/// impl Table {
///     fn rows(&self) -> MutexGuard<'_, HashMap<StoreKey, (Value, Instant)>> {
///         let mut rows = self.0.lock().unwrap();
///         rows.retain(|_, (_, expires)| *expires > Instant::now());
///         rows
///     }
/// }
///
/// impl Backend for Table {
///     const PROMISE: Promise = Promise::Full;
///
///     async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
///         let row = self.rows().get(key).cloned();
///         Ok(row.map(|(value, expires)| Stored {
///             value,
///             ttl: expires.saturating_duration_since(Instant::now()),
///         }))
///     }
///
///     async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
///         let mut rows = self.rows();
///         let there = rows.get(key).map(|(value, _)| value.version());
///         let outcome = match (&entry.when, there) {
///             (When::Absent, None) => Outcome::Stored,
///             (When::Unchanged(version), Some(there)) if *version == there => Outcome::Stored,
///             (When::Unchanged(_), None) => Outcome::Absent,
///             (_, Some(_)) => Outcome::Conflict,
///         };
///         if outcome == Outcome::Stored {
///             rows.insert(*key, (entry.value.clone(), Instant::now() + entry.ttl));
///         }
///         Ok(outcome)
///     }
///
///     async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
///         if let Some((_, expires)) = self.rows().get_mut(key) {
///             *expires = Instant::now() + ttl;
///         }
///         Ok(())
///     }
///
///     async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
///         Ok(self.rows().remove(key).map(|(value, _)| value))
///     }
/// }
///
/// # use sealed_session::AppKey;
/// let store = ServerStore::new(AppKey::generate()?, Table::default());
/// # pollster::block_on(async {
/// # let session = store.load_from::<str>([]).await?;
/// # session.insert("user_id", 42)?;
/// # let cookie = store.respond(&session).await?.cookie_header();
/// # assert!(store.load_from([&cookie]).await?.contains("user_id"));
/// # #[cfg(feature = "conformance")] {
/// #     let sleep = async |time| std::thread::sleep(time);
/// #     sealed_session::server::conformance::Suite::new(store.backend(), sleep).check().await?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To list all sessions, implement [`scan`](Self::scan); to find those of a user, implement
/// [`tagged`](Self::tagged).
pub trait Backend: Send + Sync + 'static {
    /// What this backend promises.
    const PROMISE: Promise;

    /// The store calls this once, when it is built, and puts no value with more characters than
    /// this. If someone else has put a longer value, your backend need not fetch it whole, because
    /// the store refuses it: [`load`](Self::load) may return only its beginning, with at least one
    /// character more than this. The default does nothing.
    fn expect_at_most(&mut self, characters: usize) {
        let _ = characters;
    }

    /// Returns the value under `key`, unless it has expired.
    fn load(
        &self,
        key: &StoreKey,
    ) -> impl Future<Output = Result<Option<Stored>, BackendError>> + Send;

    /// Puts a value under `key`, if the present value meets `entry.when`.
    fn put(
        &self,
        key: &StoreKey,
        entry: &Entry,
    ) -> impl Future<Output = Result<Outcome, BackendError>> + Send;

    /// Sets the expiry of the value under `key` to `ttl` from now, whether that is later or earlier
    /// than before, without writing the value again. If there is no value, this does nothing. `ttl`
    /// is at least a millisecond.
    fn touch(
        &self,
        key: &StoreKey,
        ttl: Duration,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Removes the value under `key`, if there is one, and returns it. With [`Promise::Full`] this
    /// is one atomic step, so that nothing is removed unseen. With another promise, a backend may
    /// return `None`.
    ///
    /// The store needs the value: if it marks a session that has moved, the store ends the session
    /// in its new place too. `None` tells the store that another request has ended the session.
    fn remove(
        &self,
        key: &StoreKey,
    ) -> impl Future<Output = Result<Option<Value>, BackendError>> + Send;

    /// Returns a page of the keys, and a cursor for the next page, or `None` after the last. The
    /// key of each value that exists from the first page to the last must be on at least one page.
    /// Keys without a value may be on a page too.
    ///
    /// The default returns an error of the kind [`BackendErrorKind::Unsupported`].
    fn scan(
        &self,
        after: Option<Cursor>,
    ) -> impl Future<Output = Result<(Vec<StoreKey>, Option<Cursor>), BackendError>> + Send {
        let _ = after;
        async {
            Err(BackendError::unsupported(
                "to list its keys; use one that implements `scan`",
            ))
        }
    }

    /// Returns the keys of all values that were put with this tag and have not expired. An entry
    /// has up to two [tags](Entry::tags), and either may be the one. Keys without a value may be
    /// among them. The time must grow with the number of these keys, not with the number of all
    /// values.
    ///
    /// The default returns an error of the kind [`BackendErrorKind::Unsupported`].
    fn tagged(
        &self,
        tag: &Tag,
    ) -> impl Future<Output = Result<Vec<StoreKey>, BackendError>> + Send {
        let _ = tag;
        async {
            Err(BackendError::unsupported(
                "to find a subject's sessions; use one that implements `tagged`",
            ))
        }
    }

    /// The store calls this once, when it is built. Keep `report`, and call it for events of the
    /// backend itself that no call's result shows. It passes them to the store's own hook and to
    /// `tracing`. Do not call it while you hold a lock.
    ///
    /// The default reports nothing.
    fn report_to(&self, report: Arc<dyn Fn(Event) + Send + Sync>) {
        let _ = report;
    }
}

/// What a [`Backend`] promises about concurrent writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Promise {
    /// [`Backend::put`] respects [`When`]: no change is lost, and a removed value stays removed.
    Full,
    /// [`Backend::put`] always writes. The last writer wins. If a session is destroyed while a slow
    /// request holds it, that request can bring it back.
    Upsert,
}

/// The key of a session in a backend: 32 bytes, the SHA-256 hash of its id. You cannot compute the
/// id from the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey([u8; 32]);

impl StoreKey {
    pub(crate) fn of(id: SessionId) -> Self {
        let mut hash = Sha256::new_with_prefix(b"sealed-session/v1/id");
        hash.update(id.as_bytes());
        Self(hash.finalize().into())
    }

    /// A key from the bytes that a backend has kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key from the text that a backend has kept: the 64 lower-case digits that `Display` writes.
    ///
    /// ```
    /// # use sealed_session::server::StoreKey;
    /// # let key = StoreKey::from_bytes([7; 32]);
    /// let column = key.to_string(); // for a database whose keys are text
    /// assert_eq!(StoreKey::from_hex(&column), Some(key));
    /// ```
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A tag that all sessions of one subject share, or all of one login at the identity provider: 32
/// bytes, an HMAC of the subject or the sid, each under a key of its own that is derived from the
/// app key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; 32]);

impl Tag {
    /// A tag from the bytes that a backend has kept.
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

/// Writes halves, because each number that is formatted takes its time, and each request to a
/// backend has a key.
fn hex(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (halves, _) = bytes.as_chunks();
    let mut numbers = halves.iter().copied().map(u128::from_be_bytes);
    numbers.try_for_each(|number| write!(f, "{number:032x}"))
}

/// A sealed session, or a mark that it has moved: base64url text that differs with every write.
///
/// Clones share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(
    // Not an `Arc<str>`, because that copies a `String`.
    Arc<String>,
);

impl Value {
    /// A value that a backend has kept.
    pub fn new(mut text: String) -> Self {
        text.shrink_to_fit();
        Self(Arc::new(text))
    }

    /// The text to keep: ASCII letters, digits, `-` and `_`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The version that distinguishes this value from all others ever put: its first 40 characters,
    /// which hold the nonce. It is shorter only if a backend returned a value that nobody has put.
    pub fn version(&self) -> Version {
        Version(Version::in_text(&self.0).to_owned())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

/// A value that [`Backend::load`] returns.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The value, as it was put.
    pub value: Value,
    /// The time until the value expires. The store computes a session's last use from it. If you
    /// return a time that is too short, the session's idle timeout comes that much earlier.
    pub ttl: Duration,
}

/// A value for [`Backend::put`] to write, with its conditions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The value. A backend returns it unchanged.
    pub value: Value,
    /// The time until it expires: at least a millisecond.
    pub ttl: Duration,
    /// The longest time until it expires, however often it is touched. An index must keep its tags
    /// for this long. The time may end after the session's deadline.
    pub longest_ttl: Duration,
    /// The condition for writing it.
    pub when: When,
    /// The tag that finds it, together with all others of the same subject.
    pub tag: Option<Tag>,
    /// The tag that finds it, together with all others of the same
    /// [sid](crate::Session::set_sid). It never equals a subject's tag.
    pub sid_tag: Option<Tag>,
}

impl Entry {
    /// An entry without a tag, for a backend's own tests.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::server::{Backend, BackendError, Entry, Memory, Outcome};
    /// # use sealed_session::server::{StoreKey, Value, When};
    /// # let backend = Memory::new();
    /// # pollster::block_on(async {
    /// let key = StoreKey::from_bytes([7; 32]);
    /// let (value, ttl) = (Value::new("sealed".to_owned()), Duration::from_secs(60));
    /// let entry = Entry::new(value, ttl, When::Absent);
    /// assert_eq!(backend.put(&key, &entry).await?, Outcome::Stored);
    /// assert_eq!(backend.put(&key, &entry).await?, Outcome::Conflict); // it is there by now
    /// # Ok::<(), BackendError>(()) }).unwrap();
    /// ```
    pub fn new(value: Value, ttl: Duration, when: When) -> Self {
        Self {
            value,
            ttl,
            longest_ttl: ttl,
            when,
            tag: None,
            sid_tag: None,
        }
    }

    /// All tags that find it.
    pub fn tags(&self) -> impl Iterator<Item = Tag> + use<> {
        self.tag.into_iter().chain(self.sid_tag)
    }
}

/// The condition for putting a value under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The key has no value, or an expired one.
    Absent,
    /// The key has the value of this version.
    Unchanged(Version),
}

impl When {
    /// The outcome of a put if `there` is the present value, or its beginning. [`Outcome::Stored`]
    /// means that the put may go ahead.
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

/// The outcome of a [`Backend::put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The value is written.
    Stored,
    /// The key has another value, which stays.
    Conflict,
    /// The key has no value, and nothing was written.
    Absent,
}

/// Where [`Backend::scan`] continues. Only the backend understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

impl Cursor {
    /// The key in the cursor, for the backends of this crate.
    pub(super) fn key(&self) -> Result<StoreKey, BackendError> {
        StoreKey::from_hex(&self.0).ok_or_else(|| {
            let problem = "the cursor is not one that this backend has given out";
            BackendError::new(BackendErrorKind::Other, problem)
        })
    }
}
