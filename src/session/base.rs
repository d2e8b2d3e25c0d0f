//! The record under a session's changes: as it was opened, or as a backend has it by now.

#[cfg(feature = "server")]
use super::version::Version;
use crate::envelope::KeyId;
use crate::record::Record;
#[cfg(feature = "server")]
use crate::time::Millis;

/// An opened record, and how it was found.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) record: Record,
    /// The key that sealed the cookie, or what the cookie stands for. If the ring loses it, the
    /// session is over, also for a request that holds it.
    pub(crate) key: KeyId,
    /// An accepted key other than the sealing key sealed the record, so that a save is due.
    pub(crate) under_old_key: bool,
    /// The request's cookie does not belong to this record, or an old key sealed it.
    #[cfg(feature = "server")]
    pub(crate) cookie_is_due: bool,
    /// How a backend has the record; `None` if the cookie held all of it.
    #[cfg(feature = "server")]
    pub(crate) held: Option<Box<BackendState>>,
}

impl Loaded {
    /// The keys that sealed the cookie, and what a backend has for it.
    pub(crate) fn keys(&self) -> [Option<KeyId>; 2] {
        #[cfg(feature = "server")]
        let held = self.held.as_ref().map(|held| held.key);
        #[cfg(not(feature = "server"))]
        let held = None;
        [Some(self.key), held]
    }

    /// Whether the cookie holds the whole session.
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
pub(crate) struct BackendState {
    pub(crate) version: Version,
    /// The key that sealed the record.
    pub(crate) key: KeyId,
    /// When the backend forgets the record, unless it is touched.
    pub(crate) forgotten_at: Millis,
    pub(crate) is_under_old_key: bool,
    /// This request has written it.
    pub(crate) is_own: bool,
}

/// The record under a session's changes, while the session is locked: the one that it was opened
/// with, or its replacement. The first record stays in place, so that reading it needs no lock. Of
/// the later ones only the newest is kept.
pub(super) struct Base<'a> {
    pub(super) first: Option<&'a Loaded>,
    pub(super) newer: &'a mut Newer,
}

/// The replacement of the first record, if any: `Some(None)` if no session is left.
pub(super) type Newer = Option<Option<Box<Loaded>>>;

impl Base<'_> {
    /// `None` if the session has no record.
    pub(super) fn newest(&self) -> Option<&Loaded> {
        match &*self.newer {
            Some(newer) => newer.as_deref(),
            None => self.first,
        }
    }

    pub(super) fn replace(&mut self, loaded: Option<Loaded>) {
        *self.newer = Some(loaded.map(Box::new));
    }
}
