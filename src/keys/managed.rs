//! What the application has in hand: the keys of this process, and the thread that follows.

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

/// App keys that look after themselves: kept in a file, in Redis or wherever a [`KeyStore`] keeps
/// them, made, spread and retired by schedule, and followed by every process.
///
/// Stores and sealers take them where they take a [`KeyRing`], and follow: no restart, and no call
/// of `replace_keys`.
///
/// ```
/// use sealed_session::{CookieStore, ManagedKeys};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("session.keys");
/// let keys = ManagedKeys::file(path)?; // made with its first key if it is not there
/// let store = CookieStore::new(keys);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A thread asks the store every 20 seconds. It ends when the last clone, and the last store or
/// sealer over it, is dropped.
///
/// docs/keys.md has the recipes: one machine, several, a mounted secret, Redis, from `APP_KEY` to
/// managed keys and back.
#[derive(Clone)]
pub struct ManagedKeys {
    pub(super) inner: Arc<Inner>,
    pub(super) thread: Arc<Worker>,
}

impl ManagedKeys {
    /// Asks the store now, and does what is due, as the thread does. It blocks.
    ///
    /// # Errors
    ///
    /// If the store fails, or what it has is not good. The keys go on as they are.
    pub fn refresh(&self) -> Result<(), KeyStoreError> {
        self.inner.poll()
    }

    /// The key that this process seals under; `None` while it must not seal.
    pub fn seals(&self) -> Option<KeyId> {
        let seals = |present: &Present| present.view.sealing.filter(|_| present.may_seal);
        self.inner.present(seals)
    }

    /// The keys whose tokens this process opens, in the order of their ids.
    pub fn opens(&self) -> Vec<KeyId> {
        self.inner.present(|present| present.view.opens.clone())
    }

    /// How long a token is sure to open.
    pub fn longest_lifetime(&self) -> Duration {
        self.inner.longest()
    }

    /// How long after a revocation has been written every process that reaches the store acts
    /// by it.
    pub fn promise(&self) -> Duration {
        self.inner.present(|present| present.bounds.promise())
    }

    /// When anything about these keys changes next, as far as is known.
    pub fn next_change(&self) -> Option<SystemTime> {
        let until = self.inner.present(|present| present.view.until);
        (until != Millis::MAX).then(|| until.into())
    }

    /// Ends the thread, and waits until it has ended. The keys stay as they are.
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

/// A store holds both: the keys, and the thread that follows.
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
