//! The parts of a session.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
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
    /// The bounds of its store; `None` if [`Session::new`] made it.
    pub(super) bounds: Option<Arc<Bounds>>,
    /// Something may have been changed, or the record replaced. Until then, reading needs no lock
    /// on `since`.
    pub(super) was_touched: AtomicBool,
    /// This request does not count as use.
    pub(super) leaves_idle: AtomicBool,
    pub(super) since: Mutex<Since>,
}

/// Everything that happened to a session since it was opened.
#[derive(Default)]
pub(super) struct Since {
    pub(super) changes: Changes,
    pub(super) newer: Newer,
}

/// What a store's settings allow its sessions. The address identifies the store.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) limit: Limit,
    pub(crate) claims: Claims,
    pub(crate) max_lifetime: Duration,
    pub(crate) idle: Option<Idle>,
    /// How many bytes an unbound session leaves free, so that it can still be bound.
    pub(crate) reserved: usize,
    pub(crate) events: Events,
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
