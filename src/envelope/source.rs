//! Where keys come from: a ring that is given once, or one that changes by itself.

use std::fmt;
#[cfg(all(feature = "managed-keys", feature = "server"))]
use std::pin::Pin;
#[cfg(feature = "managed-keys")]
use std::sync::Weak;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "redis")]
use super::KeyId;
use super::KeyRing;
use crate::error::ConfigError;

/// The keys of a store or a [`Sealer`](crate::Sealer). You make them from an
/// [`AppKey`](crate::AppKey), from a [`KeyRing`], or with the feature `managed-keys` from
/// `ManagedKeys`, which they then follow. Clones let a store and a sealer share them:
///
/// ```
/// use sealed_session::{AppKey, CookieStore, Keys, Sealer};
///
/// let keys = Keys::from(AppKey::generate()?);
/// let store = CookieStore::new(keys.clone());
/// let sealer = Sealer::new(keys, "invitation")?;
/// # let _ = store;
/// # assert_eq!(&*sealer.open(&sealer.seal(b"42")?)?, b"42");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Keys(Source);

#[derive(Clone)]
enum Source {
    Ring(KeyRing),
    #[cfg(feature = "managed-keys")]
    Kept(Arc<dyn KeptKeys>),
}

/// Returns a lock for replacing keys. Without it, two threads that replace the keys of several
/// envelopes at once could leave them with keys of different rings.
pub(crate) fn in_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store or a sealer, which gets new keys when they change.
pub(crate) trait TakesKeys: Send + Sync {
    fn take_keys(&self, ring: &KeyRing);

    /// Tells it that a key no longer opens, so everything that was sealed under that key is lost.
    #[cfg(feature = "managed-keys")]
    fn loses_keys(&self) {}
}

/// Managed keys, as stores and sealers see them.
#[cfg(feature = "managed-keys")]
pub(crate) trait KeptKeys: Send + Sync {
    /// The present ring.
    fn ring(&self) -> KeyRing;

    /// Gives `who` the present ring now, and each one after it.
    fn tell(&self, who: Weak<dyn TakesKeys>);

    /// Announces that tokens with this lifetime are going to be sealed. Call it before the first
    /// one. If it fails, seal none.
    fn declare(&self, longest: Duration) -> Result<(), ConfigError>;

    /// Announces the same when it is too late to refuse: until the ring allows this lifetime,
    /// nothing is sealed.
    fn insist(&self, longest: Duration);

    /// The longest lifetime that a token may have.
    fn longest(&self) -> Duration;

    /// Whether to wait for the key of this id. If so, this asks for a poll. If not, the key is known,
    /// or the store does not have it, or so many unknown ids come that most of them are made up.
    #[cfg(feature = "redis")]
    fn seek(&self, id: KeyId) -> bool;

    /// Polls the key store without blocking. It needs no runtime.
    #[cfg(feature = "server")]
    fn catch_up(&self) -> CatchUp;
}

/// A poll of the key store. The error says why it failed.
#[cfg(all(feature = "managed-keys", feature = "server"))]
pub(crate) type CatchUp = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The managed keys of a store, if it has such. They live for as long as the store does.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    #[cfg(feature = "managed-keys")]
    by: Option<Arc<dyn KeptKeys>>,
}

impl Keys {
    /// The present ring.
    pub(crate) fn ring(&self) -> KeyRing {
        match &self.0 {
            Source::Ring(ring) => ring.clone(),
            #[cfg(feature = "managed-keys")]
            Source::Kept(kept) => kept.ring(),
        }
    }

    pub(crate) fn kept(&self) -> Kept {
        match &self.0 {
            Source::Ring(_) => Kept::default(),
            #[cfg(feature = "managed-keys")]
            Source::Kept(kept) => Kept {
                by: Some(Arc::clone(kept)),
            },
        }
    }

    #[cfg(feature = "managed-keys")]
    pub(crate) fn of(kept: Arc<dyn KeptKeys>) -> Self {
        Self(Source::Kept(kept))
    }
}

#[cfg(feature = "managed-keys")]
impl Kept {
    pub(crate) fn tell<T: TakesKeys + 'static>(&self, who: &Arc<T>) {
        if let Some(kept) = &self.by {
            let who: Weak<T> = Arc::downgrade(who);
            kept.tell(who);
        }
    }

    pub(crate) fn declare(&self, longest: Duration) -> Result<(), ConfigError> {
        self.by
            .as_ref()
            .map_or(Ok(()), |kept| kept.declare(longest))
    }

    pub(crate) fn insist(&self, longest: Duration) {
        if let Some(kept) = &self.by
            && kept.declare(longest).is_err()
        {
            kept.insist(longest);
        }
    }

    pub(crate) fn longest(&self) -> Option<Duration> {
        self.by.as_ref().map(|kept| kept.longest())
    }

    /// Whether an entry sealed under this key may open later: see [`KeptKeys::seek`].
    #[cfg(feature = "redis")]
    pub(crate) fn seek(&self, id: KeyId) -> bool {
        self.by.as_ref().is_some_and(|kept| kept.seek(id))
    }

    /// Reads every key that the key store has.
    #[cfg(feature = "server")]
    pub(crate) async fn catch_up(&self) -> Result<(), String> {
        match &self.by {
            Some(kept) => kept.catch_up().await,
            None => Ok(()),
        }
    }
}

#[cfg(not(feature = "managed-keys"))]
#[expect(
    clippy::unused_self,
    reason = "nobody looks after keys without the feature"
)]
impl Kept {
    pub(crate) fn tell<T: TakesKeys + 'static>(&self, _: &Arc<T>) {}

    pub(crate) fn declare(&self, _: Duration) -> Result<(), ConfigError> {
        Ok(())
    }

    pub(crate) fn insist(&self, _: Duration) {}

    pub(crate) fn longest(&self) -> Option<Duration> {
        None
    }

    #[cfg(feature = "redis")]
    pub(crate) fn seek(&self, _: KeyId) -> bool {
        false
    }

    #[cfg(feature = "server")]
    #[expect(clippy::unused_async, reason = "as with the feature")]
    pub(crate) async fn catch_up(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Takes a ring, and whatever becomes one, such as an [`AppKey`](crate::AppKey).
impl<R: Into<KeyRing>> From<R> for Keys {
    fn from(ring: R) -> Self {
        Self(Source::Ring(ring.into()))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring().fmt(f)
    }
}
