//! What a process has of a ring: all that it knows, and the keys that it works with.

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
    /// Stands where a ring needs a key, and there is none.
    pub(super) nobody: AppKey,
    pub(super) signals: Arc<Signals>,
    pub(super) events: KeyEvents,
    pub(super) work: Mutex<Work>,
    pub(super) present: RwLock<Present>,
    pub(super) takers: Mutex<Vec<Weak<dyn TakesKeys>>>,
}

/// What whoever polls has in hand.
pub(super) struct Work {
    /// All that this process knows.
    pub(super) ring: Option<Arc<Ring>>,
    /// What the store had or took last, and what is in it.
    pub(super) stored: Option<Stored>,
    /// When each key was last found in the store.
    pub(super) found: BTreeMap<KeyId, Millis>,
    /// What this process needs of the fleet.
    pub(super) wanted: Bounds,
    /// The next key, made already: if the answer to a write is lost, it is tried again.
    pub(super) candidate: Option<AppKey>,
    /// Whatever comes back after this process has removed it, stays.
    pub(super) removed: BTreeSet<KeyId>,
    pub(super) trouble: Trouble,
    pub(super) view: Option<(View, bool)>,
    pub(super) events: Vec<(KeyEvent, Option<KeyStoreError>)>,
}

pub(super) struct Stored {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// The same as [`Work::ring`] while neither knows more.
    pub(super) ring: Arc<Ring>,
    /// The root key that it is sealed under.
    pub(super) under: Option<KeyId>,
}

/// What has been told already, so that it is told once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) store: Option<KeyStoreErrorKind>,
    pub(super) is_implausible: bool,
    pub(super) is_full: bool,
    pub(super) is_newer: bool,
}

/// What everybody else may look at.
pub(super) struct Present {
    pub(super) ring: KeyRing,
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

    /// Whether the ring allows all that this process does. A poll may be shorter.
    pub(super) fn is_allowed(&self, bounds: Bounds) -> bool {
        let poll = bounds.poll;
        bounds.join(Bounds {
            poll,
            ..self.wanted
        }) == bounds
            && self.wanted.poll <= poll
    }
}

impl Present {
    pub(super) fn empty(nobody: &AppKey, bounds: Bounds) -> Self {
        Self {
            ring: KeyRing::new(nobody.clone()),
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
    /// Looks at all that this process knows.
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
