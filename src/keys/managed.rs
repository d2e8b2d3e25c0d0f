//! The application's handle: the keys of this process, and the thread that polls the store.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

#[cfg(feature = "server")]
use super::asking::ask;
use super::process::{Inner, Present};
use super::store::KeyStoreError;
use super::worker::Worker;
#[cfg(feature = "server")]
use crate::envelope::CatchUp;
use crate::envelope::{KeptKeys, KeyId, KeyRing, Keys, TakesKeys};
use crate::error::ConfigError;
use crate::time::Millis;

/// App keys that look after themselves. They live in a file, in Redis or in a
/// [`KeyStore`](crate::keys::KeyStore) of your own. A schedule makes, spreads and retires them, and
/// every process follows.
///
/// Pass them to stores and sealers instead of a [`KeyRing`]. You need no restart, and no call of
/// `replace_keys`.
///
/// ```
/// use sealed_session::{CookieStore, ManagedKeys};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("session.keys");
/// let keys = ManagedKeys::file(path)?; // made with its first key if it is not there
/// let store = CookieStore::new(&keys);
/// assert!(keys.seals().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A thread polls the key store every 20 seconds. It ends when you drop the last clone and the last
/// store or sealer that uses the keys.
///
/// docs/keys.md has recipes for one machine, several machines, a mounted secret and Redis, and for
/// the way from `APP_KEY` to managed keys and back.
#[derive(Clone)]
pub struct ManagedKeys {
    pub(super) inner: Arc<Inner>,
    pub(super) thread: Arc<Worker>,
}

impl ManagedKeys {
    /// Polls the store and does what is due, as the thread does. This blocks. Call it if you need a
    /// change that another process has just made, or
    /// [have no thread](crate::keys::ManagedKeysBuilder::without_thread).
    ///
    /// ```
    /// # use sealed_session::ManagedKeys;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.keys");
    /// # let here = ManagedKeys::file(&path)?;
    /// # let elsewhere = ManagedKeys::file(&path)?;
    /// let new = elsewhere.add()?.ok_or("there is one already")?; // in another process
    ///
    /// here.refresh()?;
    /// assert!(here.opens().contains(&new));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store fails, or holds no good ring. The keys stay as they are.
    pub fn refresh(&self) -> Result<(), KeyStoreError> {
        self.inner.poll()
    }

    /// Returns the key that this process seals with, or `None` while it must not seal.
    pub fn seals(&self) -> Option<KeyId> {
        let seals = |present: &Present| present.view.sealing.filter(|_| present.may_seal);
        self.inner.present(seals)
    }

    /// Returns the keys whose tokens this process opens, in the order of their ids.
    pub fn opens(&self) -> Vec<KeyId> {
        self.inner.present(|present| present.view.opens.clone())
    }

    /// Returns the longest lifetime that a token may have.
    pub fn longest_lifetime(&self) -> Duration {
        self.inner.longest()
    }

    /// Returns how long it takes at most until every process that reaches the store knows of a
    /// revocation.
    pub fn promise(&self) -> Duration {
        self.inner.present(|present| present.bounds.promise())
    }

    /// Returns when a key next begins or stops to seal or open, if that is known.
    pub fn next_change(&self) -> Option<SystemTime> {
        let until = self.inner.present(|present| present.view.until);
        (until != Millis::MAX).then(|| until.into())
    }

    /// Ends the thread and waits for it. The keys stay as they are from then on.
    pub fn stop(&self) {
        self.thread.stop();
    }
}

impl From<ManagedKeys> for Keys {
    fn from(keys: ManagedKeys) -> Self {
        Self::of(Arc::new(keys))
    }
}

impl From<&ManagedKeys> for Keys {
    fn from(keys: &ManagedKeys) -> Self {
        keys.clone().into()
    }
}

/// A store that holds this keeps the keys and the thread alive.
impl KeptKeys for ManagedKeys {
    fn ring(&self) -> KeyRing {
        self.inner.ring()
    }

    fn tell(&self, who: Weak<dyn TakesKeys>) {
        self.inner.tell(who);
    }

    fn declare(&self, longest: Duration) -> Result<(), ConfigError> {
        self.inner.declare(longest)
    }

    fn insist(&self, longest: Duration) {
        self.inner.insist(longest);
    }

    fn longest(&self) -> Duration {
        self.inner.longest()
    }

    #[cfg(feature = "redis")]
    fn seek(&self, id: KeyId) -> bool {
        self.inner.seek(id)
    }

    #[cfg(feature = "server")]
    fn catch_up(&self) -> CatchUp {
        ask(&self.inner)
    }
}

impl fmt::Debug for ManagedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedKeys")
            .field("store", &self.inner.store.describe())
            .field("seals", &self.seals())
            .field("opens", &self.opens())
            .finish_non_exhaustive()
    }
}
