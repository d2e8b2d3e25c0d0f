//! What a process of a fleet has: the list, how far it has come, and its way to Redis.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, WeakShared};
use futures_util::lock::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::follower::Follower;
use crate::envelope::{Envelope, KeyRing, TakesKeys};
use crate::flow::InCookie;
use crate::revocation::{Lifetime, RevocationList};
use crate::server::redis::{Feed, Position};
use crate::store::StoreCore;

/// The longest that one read waits, and so the longest between two.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// No moment has so many milliseconds.
pub(super) const NEVER: u64 = u64::MAX;

pub(super) struct Inner {
    pub(super) core: StoreCore<InCookie>,
    pub(super) list: RevocationList,
    /// Seals the entries.
    pub(super) envelope: Envelope,
    pub(super) feed: Feed,
    /// Of this store's sessions.
    pub(super) max_lifetime: Lifetime,
    /// How far the list has come. Whoever reads the stream holds it.
    pub(super) follower: AsyncMutex<Follower>,
    /// The last entry that this process has written and not read yet.
    pub(super) written: Mutex<Position>,
    /// What did not open may open now.
    pub(super) keys_changed: AtomicBool,
    /// An entry was under a key that is not known.
    pub(super) passed_over: AtomicBool,
    /// When the list was last known to be whole. Milliseconds.
    pub(super) current_at: AtomicU64,
    pub(super) catching_up: Mutex<CatchingUp>,
    /// Of following, one after the other.
    pub(super) failures: Mutex<Failures>,
    pub(super) max_staleness: Duration,
    pub(super) goes_on: bool,
}

impl TakesKeys for Inner {
    /// A key is there before anything is sealed under it, so that nothing has to be read again for
    /// it; but for what was met too early.
    fn take_keys(&self, ring: &KeyRing) {
        self.core.flow.replace_keys(ring);
        self.envelope.replace_keys(ring);
        if self.passed_over.swap(false, Ordering::Relaxed) {
            self.keys_changed.store(true, Ordering::Relaxed);
        }
    }

    /// What was published under such a key is read by nobody, so that it is missing now.
    #[cfg(feature = "managed-keys")]
    fn keys_are_revoked(&self) {
        self.keys_changed.store(true, Ordering::Relaxed);
    }
}

/// The read that requests wait for, as long as one does.
#[derive(Default)]
pub(super) struct CatchingUp(pub(super) Option<WeakShared<BoxFuture<'static, ()>>>);

/// How often Redis could not be read, one time after the other, and when the last time was.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) count: u32,
    pub(super) last: Option<Instant>,
}

impl Failures {
    /// Whether it is no use to try now. A process that goes on after it was stopped may find that
    /// one read has failed in the meantime; and what is long ago says nothing.
    pub(super) fn are_lasting(&self) -> bool {
        let is_recent = self.last.is_some_and(|last| last.elapsed() < POLL);
        self.count > 1 && is_recent
    }
}
