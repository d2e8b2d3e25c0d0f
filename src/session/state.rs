//! The parts of a session.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
#[cfg(all(feature = "tower", feature = "tower-sessions"))]
use std::sync::{OnceLock, Weak};
use std::time::Duration;

use super::base::{Loaded, Newer};
use super::changes::Changes;
use crate::error::Origin;
use crate::event::Events;
use crate::limit::Limit;
use crate::policy::Idle;
use crate::time::Millis;

pub(super) struct Inner {
    pub(super) origin: Origin,
    /// The record that the session was opened with.
    pub(super) first: Option<Loaded>,
    /// When the session was read from the request.
    pub(super) read_at: Option<Millis>,
    /// The bounds of its store; `None` if [`Session::new`](super::Session::new) made it.
    pub(super) bounds: Option<Bounds>,
    pub(super) flags: Flags,
    #[cfg(all(feature = "tower", feature = "tower-sessions"))]
    pub(super) twin: OnceLock<Weak<dyn Twin>>,
    pub(super) since: Mutex<Since>,
}

/// The state of a session that can be read without the lock on `since`.
#[derive(Default)]
pub(super) struct Flags(AtomicU8);

#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Flag {
    /// Something may have been changed, or the record replaced.
    Touched = 1,
    /// The response already has the session, so later changes are lost.
    Closed = 2,
    /// This request does not count as use.
    LeavesIdle = 4,
}

impl Flags {
    pub(super) fn has(&self, flag: Flag) -> bool {
        self.0.load(Ordering::Acquire) & flag as u8 != 0
    }

    /// Sets a flag, and returns whether `other` was set before. Of two threads that each set one
    /// flag and ask for the other's, at least one sees it.
    pub(super) fn set(&self, flag: Flag, other: Flag) -> bool {
        self.0.fetch_or(flag as u8, Ordering::AcqRel) & other as u8 != 0
    }
}

/// Another library's session with the same entries. It reports no change, so it must be asked.
#[cfg(all(feature = "tower", feature = "tower-sessions"))]
pub(crate) trait Twin: Send + Sync {
    /// Brings the twin's changes into the session. Called before the session is read or changed.
    fn bring(&self);

    /// Shows the session's entries in the twin. Called after the session was changed.
    fn show(&self);
}

/// When a twin's session ends.
#[cfg(all(feature = "tower", feature = "tower-sessions"))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    At(Millis),
    /// This long after the request.
    After(Duration),
    /// When the browser is closed.
    WithBrowser,
}

/// Everything that happened to a session since it was opened.
pub(super) struct Since {
    /// `None` until something needs them, which is never if a request only reads.
    pub(super) changes: Option<Box<Changes>>,
    pub(super) newer: Newer,
}

/// The limits that a store's settings set for its sessions. Each session has a copy, so that
/// requests on different threads share no memory.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) store: StoreId,
    pub(crate) limit: Limit,
    pub(crate) claims: Claims,
    pub(crate) max_lifetime: Duration,
    pub(crate) idle: Option<Idle>,
    /// Whether the store binds sessions to devices: one that is not bound yet leaves room for it.
    pub(crate) may_bind: bool,
    pub(crate) events: Events,
}

/// Identifies a store while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreId(u64);

impl StoreId {
    /// An id that no other store has.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Whether one of several requests can claim an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claims {
    /// Sessions are in cookies, which a client can send as often as it likes.
    InCookie,
    /// The backend only overwrites.
    #[cfg(feature = "server")]
    Overwritten,
    /// Sessions that are in the backend can be claimed from.
    #[cfg(feature = "server")]
    InBackend,
}
