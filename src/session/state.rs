//! What a session is made of.

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
    /// What it was opened with.
    pub(super) first: Option<Loaded>,
    /// When it was taken out of the request.
    pub(super) read_at: Option<Millis>,
    /// Which store it belongs to; `None` if made by [`Session::new`].
    pub(super) bounds: Option<Arc<Bounds>>,
    /// Somebody may have changed something, or replaced the record. Until then nobody has to lock
    /// `since` to read.
    pub(super) was_touched: AtomicBool,
    /// The request does not count as use.
    pub(super) leaves_idle: AtomicBool,
    pub(super) since: Mutex<Since>,
}

/// What has become of a session since it was opened.
#[derive(Default)]
pub(super) struct Since {
    pub(super) changes: Changes,
    pub(super) newer: Newer,
}

/// What a store's settings allow its sessions. Its address is the store's identity.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) limit: Limit,
    pub(crate) claims: Claims,
    pub(crate) max_lifetime: Duration,
    pub(crate) idle: Option<Idle>,
    pub(crate) events: Events,
}

/// Whether one of several requests can have an entry for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claims {
    /// Sessions are in cookies, which a client can send as often as it likes.
    InCookie,
    /// The backend only overwrites.
    #[cfg(feature = "server")]
    Overwritten,
    /// Of sessions that are in the backend.
    #[cfg(feature = "server")]
    InBackend,
}
