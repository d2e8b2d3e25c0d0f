//! The trait of key stores, and their errors.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

/// The most bytes that a key store ever has to keep and to return: 65,640. This is a sealed ring
/// and a line end.
pub const MAX_STORED: usize = crate::envelope::encoded_len(super::text::MAX_TEXT) + 1;

/// Keeps the ring of [`ManagedKeys`](super::ManagedKeys): some kilobytes that all processes read,
/// and that a process replaces if they are unchanged since it read them.
///
/// [`KeyFile`](super::KeyFile) and `KeyRedis` are two such stores. For S3, etcd, Vault or a
/// database, implement [`load`](Self::load), [`replace`](Self::replace) and
/// [`describe`](Self::describe) yourself, and check them with `keys::conformance`. `load` and
/// `replace` block. They run on the thread of the managed keys, and on yours if you call its
/// methods. Give each a timeout.
///
/// The store may lose a write that it has acknowledged, or go back to an older state: a process
/// that knows more restores it.
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
///
/// # use sealed_session::{AppKey, ManagedKeys};
/// # let root = AppKey::generate()?;
/// let keys = ManagedKeys::builder(InMemory::default()).root(root).build()?;
/// assert!(keys.seals().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait KeyStore: Send + Sync + 'static {
    /// Returns what is kept, or `None` if nothing is there yet. A ring has at most [`MAX_STORED`]
    /// bytes.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError>;

    /// Replaces what is kept by `with`, in one atomic step, if it still equals `there` byte for
    /// byte. `None` means that nothing is kept. Returns whether it was replaced.
    ///
    /// # Errors
    ///
    /// If it was not replaced, or if that is unknown.
    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError>;

    /// Returns a name for operators, such as a path, or a server and a key. It appears in errors,
    /// so leave passwords out.
    fn describe(&self) -> String;

    /// Returns whether this process may write. If not, it follows, and never rotates.
    fn is_writable(&self) -> bool {
        true
    }

    /// Returns whether the store is readable only for those who may have the keys. If not, you need
    /// a [root key](super::ManagedKeysBuilder::root). Default `false`.
    fn is_private(&self) -> bool {
        false
    }

    /// Returns how long it takes until every process can read what was written. Default none.
    fn propagation(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns how long a call may take. Default five seconds.
    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Returns the time by the store's own clock, if it has one. A process whose clock differs by
    /// more than the tolerance writes nothing that depends on the time.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    fn time(&self) -> Result<Option<SystemTime>, KeyStoreError> {
        Ok(None)
    }
}

/// The kind of a [`KeyStoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyStoreErrorKind {
    /// The store cannot be reached, or does not answer in time.
    Unavailable,
    /// There is no room to write.
    Full,
    /// There is no ring, and there must be one.
    Missing,
    /// What is kept is no ring of keys: it is torn, altered, or something else.
    Damaged,
    /// What is kept does not open under the root key.
    NotOpened,
    /// Others may read or change it, or it belongs to somebody else.
    Unsafe,
    /// Other processes wrote each time before this one could.
    Conflict,
    /// The change is impossible, or would do harm.
    Refused,
    /// Something else.
    Other,
}

/// The error of a key store, or of what it holds.
///
/// The message says where, what is wrong and what to do. It shows no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStoreError {
    kind: KeyStoreErrorKind,
    message: String,
}

impl KeyStoreError {
    /// Creates an error. Its message appears in logs, so leave keys and passwords out.
    ///
    /// ```
    /// use sealed_session::keys::{KeyStoreError, KeyStoreErrorKind};
    ///
    /// let error = KeyStoreError::new(KeyStoreErrorKind::Unavailable, "vault: no answer in 5 s");
    /// assert_eq!(error.to_string(), "vault: no answer in 5 s");
    /// ```
    pub fn new(kind: KeyStoreErrorKind, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { kind, message }
    }

    /// Returns the kind.
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
