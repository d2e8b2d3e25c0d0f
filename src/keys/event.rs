//! What is worth noticing about the keys.

use std::error::Error;
use std::fmt;

use crate::envelope::KeyId;

/// Something that happened to the keys of this process or in their store. None holds a key.
///
/// With the feature `tracing` each is one event of that crate, under the target
/// `sealed_session`, with the fields `event`, `key_id` and `error` where there is one.
/// [`on_event`](super::ManagedKeysBuilder::on_event) gets the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyEvent {
    /// Nothing was in the store, and this process has made a ring with a first key. If that
    /// happens at each start, the store forgets: a container without a volume.
    Created(KeyId),
    /// This process has made the next key and put it into the store.
    Made(KeyId),
    /// A key of another process was found in the store.
    Found(KeyId),
    /// This process seals under this key from now on.
    Seals(KeyId),
    /// This process no longer opens what this key has sealed.
    Closed(KeyId),
    /// This process has learned that the key is revoked.
    Revoked(KeyId),
    /// This process has removed a key from the store, long after it was last of use.
    Removed(KeyId),
    /// The store had lost something, and this process has put it back.
    Restored,
    /// The store failed; the keys go on as they are.
    StoreFailed,
    /// What the store has is no ring, or does not open; the keys go on as they are.
    StoreDamaged,
    /// The store is back, or what it has is good again.
    Recovered,
    /// No key may seal: this process was cut off from the store while the key was rotated.
    NoKey,
    /// This process's clock does not fit the ring or the store, so it writes nothing that depends
    /// on the time. Set the clock; if the clock is right, rotate once with the command.
    ClockImplausible,
    /// The ring has as many keys as it may have, so the next one has to wait.
    RingFull,
    /// A newer version has written the ring: this one follows, and writes nothing.
    NewerFormat,
}

impl KeyEvent {
    /// A short constant name in snake case, fit for a metric's label.
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

    /// The key that it is about.
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
            hook(event);
        }
    }
}
