//! The events of managed keys.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::envelope::KeyId;

/// Something that happened to the keys of this process or to their store. No event holds a key.
///
/// [`on_event`](super::ManagedKeysBuilder::on_event) gets each event. With the feature `tracing`,
/// each is also an event of that crate with the target `sealed_session`, and with the fields
/// `event`, and `key_id` and `error` where there is one.
///
/// ```
/// use std::sync::mpsc;
/// # use sealed_session::{ManagedKeys, keys::KeyFile};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("session.keys");
///
/// let (events, seen) = mpsc::channel();
/// let keys = ManagedKeys::builder(KeyFile::owned(path))
///     .on_event(move |event| drop(events.send(event.as_str()))) // in a service: your metrics
///     .build()?;
/// assert_eq!(seen.recv()?, "keys_created");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyEvent {
    /// The store was empty, and this process has made a ring with a first key. If this happens at
    /// each start, the store does not last: for example a container without a volume.
    Created(KeyId),
    /// This process has made the next key.
    Made(KeyId),
    /// This process has found a key that another one has made.
    Found(KeyId),
    /// This process seals with this key from now on.
    Seals(KeyId),
    /// This process no longer opens what this key has sealed.
    Closed(KeyId),
    /// This process has learned that this key is revoked.
    Revoked(KeyId),
    /// This process has removed an expired key from the store.
    Removed(KeyId),
    /// The store had lost something, and this process has restored it.
    Restored,
    /// The store failed. The keys stay in use.
    StoreFailed,
    /// The store holds no good ring, or one that does not open. The keys stay in use.
    StoreDamaged,
    /// The store is back, or holds a good ring again.
    Recovered,
    /// No key may seal, because this process could not reach the store while the key was rotated.
    NoKey,
    /// This process's clock does not fit the ring or the store, so it writes nothing that depends
    /// on the time. Set the clock. If the clock is right, run `sealed-session keys add` once.
    ClockImplausible,
    /// The ring has as many keys as it may have, so the next key has to wait.
    RingFull,
    /// A newer version has written the ring. This version follows, and writes nothing.
    NewerFormat,
}

impl KeyEvent {
    /// Returns a short constant name in snake case, for example for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created(_) => "keys_created",
            Self::Made(_) => "key_made",
            Self::Found(_) => "key_found",
            Self::Seals(_) => "key_seals",
            Self::Closed(_) => "key_closed",
            Self::Revoked(_) => "key_revoked",
            Self::Removed(_) => "key_removed",
            Self::Restored => "keys_restored",
            Self::StoreFailed => "key_store_failed",
            Self::StoreDamaged => "key_store_damaged",
            Self::Recovered => "key_store_recovered",
            Self::NoKey => "no_key_seals",
            Self::ClockImplausible => "clock_implausible",
            Self::RingFull => "key_ring_full",
            Self::NewerFormat => "key_ring_newer",
        }
    }

    /// Returns the key that the event is about.
    pub fn key_id(self) -> Option<KeyId> {
        match self {
            Self::Created(id)
            | Self::Made(id)
            | Self::Found(id)
            | Self::Seals(id)
            | Self::Closed(id)
            | Self::Revoked(id)
            | Self::Removed(id) => Some(id),
            _ => None,
        }
    }

    #[cfg(feature = "tracing")]
    fn trace(self, error: Option<&(dyn Error + 'static)>) {
        macro_rules! at {
            ($level:ident) => {
                tracing::$level!(
                    target: "sealed_session",
                    event = self.as_str(),
                    key_id = self.key_id().map(tracing::field::display),
                    error = error.map(tracing::field::display),
                    "{self}"
                )
            };
        }
        match self {
            Self::Found(_) | Self::Closed(_) | Self::Removed(_) => at!(debug),
            Self::Made(_) | Self::Seals(_) | Self::Recovered => at!(info),
            Self::Created(_)
            | Self::Revoked(_)
            | Self::Restored
            | Self::StoreFailed
            | Self::ClockImplausible
            | Self::RingFull
            | Self::NewerFormat => at!(warn),
            Self::StoreDamaged | Self::NoKey => at!(error),
        }
    }

    #[cfg(not(feature = "tracing"))]
    fn trace(self, _: Option<&(dyn Error + 'static)>) {}
}

/// A sentence for the operator.
impl fmt::Display for KeyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created(_) => "the key store was empty, and a ring with a new key was made",
            Self::Made(_) => "the next key was made",
            Self::Found(_) => "a new key was found in the key store",
            Self::Seals(_) => "another key seals from now on",
            Self::Closed(_) => "a key no longer opens anything",
            Self::Revoked(_) => "a key is revoked",
            Self::Removed(_) => "a key that nobody needs was removed from the key store",
            Self::Restored => "the key store had lost something, which was put back",
            Self::StoreFailed => "the key store failed; the keys go on as they are",
            Self::StoreDamaged => {
                "the key store has no good ring any more; the keys go on as they are"
            }
            Self::Recovered => "the key store is well again",
            Self::NoKey => "no key may seal until the key store is reached",
            Self::ClockImplausible => "this machine's clock does not fit the ring of keys",
            Self::RingFull => "the ring of keys is full",
            Self::NewerFormat => "the ring of keys was written by a newer version",
        })
    }
}

type Hook = dyn Fn(KeyEvent) + Send + Sync;

/// Where events go.
#[derive(Default)]
pub(super) struct KeyEvents {
    pub(super) hook: Option<Box<Hook>>,
}

impl KeyEvents {
    pub(super) fn report(&self, event: KeyEvent, error: Option<&(dyn Error + 'static)>) {
        event.trace(error);
        if let Some(hook) = &self.hook {
            // Without this, a panic in the hook would end the thread that polls the store.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(event)));
        }
    }
}
