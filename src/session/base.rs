//! What a session's changes stand on: a record as it was opened, or as a backend has it by now.

use std::sync::OnceLock;

use crate::record::Record;
#[cfg(feature = "server")]
use crate::{server::Version, time::Millis};

/// An opened record, and how it was found.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) record: Record,
    /// An accepted key sealed it, so that a save is due.
    pub(crate) under_old_key: bool,
    /// The request's cookie is not the one that belongs to the record, or an old key sealed it.
    #[cfg(feature = "server")]
    pub(crate) cookie_is_due: bool,
    /// How a backend has it; `None` if it was whole in its cookie.
    #[cfg(feature = "server")]
    pub(crate) held: Option<Box<Held>>,
}

impl Loaded {
    /// Whether its cookie is all there is of it.
    #[cfg(feature = "server")]
    pub(crate) fn is_in_cookie(&self) -> bool {
        self.held.is_none()
    }

    #[cfg(not(feature = "server"))]
    #[expect(clippy::unused_self, reason = "with backends there is a choice")]
    pub(crate) fn is_in_cookie(&self) -> bool {
        true
    }
}

/// A backend's part of a loaded record.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) version: Version,
    /// When the backend forgets it, unless it is touched.
    pub(crate) forgotten_at: Millis,
    pub(crate) is_under_old_key: bool,
    /// This request has written it.
    pub(crate) is_own: bool,
}

/// Records, each in place of the one before. They stay where they are until the session is
/// dropped, so that what borrows from one needs no lock.
#[derive(Debug, Default)]
pub(crate) struct Base {
    loaded: Option<Loaded>,
    newer: OnceLock<Box<Self>>,
}

impl Base {
    pub(super) fn of(loaded: Loaded) -> Self {
        Self {
            loaded: Some(loaded),
            newer: OnceLock::new(),
        }
    }

    /// `None` if there is no session behind this one.
    pub(super) fn newest(&self) -> Option<&Loaded> {
        let mut base = self;
        while let Some(newer) = base.newer.get() {
            base = newer;
        }
        base.loaded.as_ref()
    }

    pub(super) fn replace(&self, loaded: Option<Loaded>) {
        let mut next = Box::new(Self {
            loaded,
            newer: OnceLock::new(),
        });
        let mut base = self;
        while let Err(refused) = base.newer.set(next) {
            next = refused;
            match base.newer.get() {
                Some(newer) => base = newer,
                None => return,
            }
        }
    }
}

/// One after the other: a session that is saved all day has more of them than a stack has frames.
impl Drop for Base {
    fn drop(&mut self) {
        let mut newer = self.newer.take();
        while let Some(mut base) = newer {
            newer = base.newer.take();
        }
    }
}
