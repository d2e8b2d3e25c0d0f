//! What a session's changes stand on: a record as it was opened, or as a backend has it by now.

#[cfg(feature = "server")]
use super::version::Version;
use crate::record::Record;
#[cfg(feature = "server")]
use crate::time::Millis;

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
    pub(crate) held: Option<Box<BackendState>>,
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
pub(crate) struct BackendState {
    pub(crate) version: Version,
    /// When the backend forgets it, unless it is touched.
    pub(crate) forgotten_at: Millis,
    pub(crate) is_under_old_key: bool,
    /// This request has written it.
    pub(crate) is_own: bool,
}

/// What a session stands on, while it is locked: the record that it was opened with, or what came
/// in its place. The first stays where it is, so that reading it needs no lock; of the later ones
/// only the newest is kept.
pub(super) struct Base<'a> {
    pub(super) first: Option<&'a Loaded>,
    pub(super) newer: &'a mut Newer,
}

/// What came in the place of the first record: `Some(None)` if no session is left.
pub(super) type Newer = Option<Option<Box<Loaded>>>;

impl Base<'_> {
    /// `None` if there is no session behind this one.
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
