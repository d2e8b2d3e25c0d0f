//! Where a ring is kept: a little trait, and what goes wrong there.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

/// The most bytes that a key store ever has to keep and to return: 65,640. This is a sealed ring and
/// a line end.
pub const MAX_STORED: usize = crate::envelope::encoded_len(super::text::MAX_TEXT) + 1;

/// Where the ring of [`ManagedKeys`](super::ManagedKeys) is kept: some kilobytes that all
/// processes read, and that one exchanges if they are still as it knows them.
///
/// [`KeyFile`](super::KeyFile) and `KeyRedis` are two. One of your own, over S3, etcd, Vault or a
/// database, needs two calls; `keys::conformance` checks it. Both calls block, and are made on a
/// thread of the managed keys. Give each a timeout.
///
/// A store that loses what it has acknowledged, or goes back to what it was, is forgiven: whoever
/// knows more puts it back.
///
/// ```
/// use std::sync::Mutex;
/// use sealed_session::keys::{KeyStore, KeyStoreError, Zeroizing};
///
/// #[derive(Default)]
/// struct InMemory(Mutex<Option<Vec<u8>>>);
///
/// impl KeyStore for InMemory {
///     fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
///         Ok(self.0.lock().unwrap().clone().map(Zeroizing::new))
///     }
///
///     fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError> {
///         let mut ring = self.0.lock().unwrap();
///         let is_unchanged = ring.as_deref() == there;
///         if is_unchanged {
///             *ring = Some(with.to_vec());
///         }
///         Ok(is_unchanged)
///     }
///
///     fn describe(&self) -> String {
///         "memory".to_owned()
///     }
/// }
/// ```
pub trait KeyStore: Send + Sync + 'static {
    /// What is kept; `None` if nothing is there yet. At most [`MAX_STORED`] bytes are of use.
    ///
    /// # Errors
    ///
    /// If it cannot be known.
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError>;

    /// Keeps `with` if `there` is still what is kept, byte for byte, in one step that nobody
    /// comes between. Tells whether it was. With `None` only if nothing is there.
    ///
    /// # Errors
    ///
    /// If it was not done, or nobody knows whether it was.
    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError>;

    /// What an operator calls it: a path, a server and a name. It stands in errors, so leave
    /// passwords out.
    fn describe(&self) -> String;

    /// Whether this process may write. One that may not follows, and never rotates.
    fn is_writable(&self) -> bool {
        true
    }

    /// Whether nobody reads it but those who may have the keys. Otherwise a root key is needed.
    fn is_private(&self) -> bool {
        false
    }

    /// How long until what is written is read everywhere. Default none.
    fn propagation(&self) -> Duration {
        Duration::ZERO
    }

    /// How long a call may take. Default five seconds.
    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// The time by the store's own clock, if it has one. A process whose clock differs by more
    /// than the tolerance writes nothing that depends on the time.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    fn time(&self) -> Result<Option<SystemTime>, KeyStoreError> {
        Ok(None)
    }
}

/// What kind of thing a [`KeyStoreError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyStoreErrorKind {
    /// The store cannot be reached, or does not answer in time.
    Unavailable,
    /// There is no room to write.
    Full,
    /// There is no ring, and there must be one.
    Missing,
    /// What is kept is no ring of keys: torn, altered, or of another use.
    Damaged,
    /// What is kept does not open under the root key.
    NotOpened,
    /// Others may read or change it, or it is somebody else's.
    Unsafe,
    /// Others write all the time, and this process never got between.
    Conflict,
    /// The change makes no sense, or would do harm.
    Refused,
    /// Something else.
    Other,
}

/// A key store, or what is in it, failed.
///
/// The message says where, what is wrong and what to do, and shows no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStoreError {
    kind: KeyStoreErrorKind,
    message: String,
}

impl KeyStoreError {
    /// An error with a message, which ends in logs: without a key or a password.
    pub fn new(kind: KeyStoreErrorKind, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { kind, message }
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> KeyStoreErrorKind {
        self.kind
    }
}

impl fmt::Display for KeyStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for KeyStoreError {}
