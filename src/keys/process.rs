//! The state of one process: everything that it knows of the ring, and the keys that it uses now.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, RwLock, Weak};

use zeroize::Zeroizing;

use super::event::{KeyEvent, KeyEvents};
use super::ring::{Bounds, Ring};
use super::schedule::{Rules, View};
use super::signals::{Signals, locked};
use super::store::{KeyStore, KeyStoreError, KeyStoreErrorKind};
use crate::envelope::{AppKey, KeyId, KeyRing, Root, TakesKeys};
use crate::time::Millis;

pub(super) struct Inner {
    pub(super) store: Box<dyn KeyStore>,
    pub(super) root: Option<Root>,
    pub(super) rules: Rules,
    pub(super) must_exist: bool,
    /// Keys that were in use before there was a ring.
    pub(super) adopted: Option<KeyRing>,
    /// Stands in where a `KeyRing` needs a key and no key may be used. It never seals.
    pub(super) nobody: AppKey,
    pub(super) signals: Arc<Signals>,
    pub(super) events: KeyEvents,
    pub(super) work: Mutex<Work>,
    pub(super) present: RwLock<Present>,
    pub(super) takers: Mutex<Vec<Weak<dyn TakesKeys>>>,
}

/// The state of the poll. One thread at a time has it.
pub(super) struct Work {
    /// Everything that this process knows of the ring.
    pub(super) ring: Option<Arc<Ring>>,
    /// The bytes that were last read from the store or written to it, and the ring in them.
    pub(super) stored: Option<Stored>,
    /// When each key was last found in the store.
    pub(super) found: BTreeMap<KeyId, Millis>,
    /// The limits that this process asks for.
    pub(super) wanted: Bounds,
    /// The next key, if it is made but not yet known to be written. If the answer to the write was
    /// lost, the same key is tried again.
    pub(super) candidate: Option<AppKey>,
    /// The keys that this process has removed. It removes none twice, even if the store brings it
    /// back.
    pub(super) removed: BTreeSet<KeyId>,
    pub(super) trouble: Trouble,
    pub(super) view: Option<(View, bool)>,
    pub(super) events: Vec<(KeyEvent, Option<KeyStoreError>)>,
}

pub(super) struct Stored {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// The same ring as [`Work::ring`] for as long as neither knows more than the other.
    pub(super) ring: Arc<Ring>,
    /// The root key under which the ring is sealed.
    pub(super) under: Option<KeyId>,
}

/// The troubles that were reported already, so that each is reported once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) store: Option<KeyStoreErrorKind>,
    pub(super) is_implausible: bool,
    pub(super) is_full: bool,
    pub(super) is_newer: bool,
}

/// What other threads may read without waiting for a poll.
pub(super) struct Present {
    pub(super) ring: KeyRing,
    /// The ids of all keys that this process knows, usable or not, in order.
    #[cfg(feature = "redis")]
    pub(super) known: Vec<KeyId>,
    pub(super) view: View,
    pub(super) may_seal: bool,
    pub(super) bounds: Bounds,
}

impl Work {
    pub(super) fn new(wanted: Bounds) -> Self {
        Self {
            ring: None,
            stored: None,
            found: BTreeMap::new(),
            wanted,
            candidate: None,
            removed: BTreeSet::new(),
            trouble: Trouble::default(),
            view: None,
            events: Vec::new(),
        }
    }

    pub(super) fn tell(&mut self, event: KeyEvent) {
        self.events.push((event, None));
    }
}

impl Present {
    pub(super) fn empty(nobody: &AppKey, bounds: Bounds) -> Self {
        Self {
            ring: KeyRing::new(nobody.clone()),
            #[cfg(feature = "redis")]
            known: Vec::new(),
            view: View {
                sealing: None,
                opens: Vec::new(),
                until: Millis::MAX,
            },
            may_seal: false,
            bounds,
        }
    }
}

impl Inner {
    /// Calls `look` with everything that this process knows of the ring.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Ring) -> R) -> R {
        let work = locked(&self.work);
        match &work.ring {
            Some(ring) => look(ring),
            None => look(&Ring::new(work.wanted)),
        }
    }

    pub(super) fn present<R>(&self, look: impl FnOnce(&Present) -> R) -> R {
        look(
            &self
                .present
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    pub(super) fn failed(
        &self,
        kind: KeyStoreErrorKind,
        problem: impl fmt::Display,
    ) -> KeyStoreError {
        KeyStoreError::new(kind, format_args!("{}: {problem}", self.store.describe()))
    }
}
