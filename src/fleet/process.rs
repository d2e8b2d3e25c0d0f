//! The state of one process of a fleet: its list, its progress in the stream, and its connection to
//! Redis.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, WeakShared};
use futures_util::lock::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::follower::Follower;
use crate::envelope::{Envelope, KeyRing, TakesKeys, in_turn};
use crate::flow::InCookie;
use crate::revocation::{Lifetime, RevocationList};
use crate::server::redis::{Feed, Position};
use crate::store::StoreCore;

/// The longest that one read waits, and so the longest time between two reads.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// No moment has so many milliseconds.
pub(super) const NEVER: u64 = u64::MAX;

pub(super) struct Inner {
    pub(super) core: StoreCore<InCookie>,
    pub(super) list: RevocationList,
    /// Seals the entries.
    pub(super) envelope: Envelope,
    pub(super) feed: Feed,
    /// The longest lifetime of this store's sessions.
    pub(super) max_lifetime: Lifetime,
    /// The progress in the stream. The task that reads the stream holds the lock.
    pub(super) follower: AsyncMutex<Follower>,
    /// The last entry that this process has written and not read yet.
    pub(super) written: Mutex<Position>,
    /// The keys have changed, so unreadable entries may open now.
    pub(super) keys_changed: AtomicBool,
    /// An entry was under an unknown key.
    pub(super) passed_over: AtomicBool,
    /// When the list was last known to be complete, in milliseconds.
    pub(super) current_at: AtomicU64,
    pub(super) catching_up: Mutex<CatchingUp>,
    /// The failed reads in a row.
    pub(super) failures: Mutex<Failures>,
    pub(super) max_staleness: Duration,
    pub(super) goes_on: bool,
}

impl TakesKeys for Inner {
    /// A new key is here before anything is sealed under it, so no entry has to be read again,
    /// unless one was found too early.
    fn take_keys(&self, ring: &KeyRing) {
        let _turn = in_turn();
        self.core.flow.replace_keys(ring);
        self.envelope.replace_keys(ring);
        if self.passed_over.swap(false, Ordering::Relaxed) {
            self.keys_changed.store(true, Ordering::Relaxed);
        }
    }

    /// Nobody can read what was published under such a key, so it is missing now.
    #[cfg(feature = "managed-keys")]
    fn loses_keys(&self) {
        self.keys_changed.store(true, Ordering::Relaxed);
    }
}

/// The read that requests wait for, as long as one of them does.
#[derive(Default)]
pub(super) struct CatchingUp(pub(super) Option<WeakShared<BoxFuture<'static, ()>>>);

/// How many reads of Redis have failed in a row, and when the last one did.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) count: u32,
    pub(super) last: Option<Instant>,
}

impl Failures {
    /// Returns whether trying now is pointless. One failure is not enough, because a process that
    /// was stopped may find one failed read when it goes on. An old failure says nothing.
    pub(super) fn are_lasting(&self) -> bool {
        let is_recent = self.last.is_some_and(|last| last.elapsed() < POLL);
        self.count > 1 && is_recent
    }
}
