//! How requests wait until a process that has missed something has caught up: all for one read.

use std::sync::{Arc, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, WeakShared};
use tokio::time::{Instant, timeout};

use super::{Inner, POLL};
use crate::server::{BackendError, BackendErrorKind};

/// The read that requests wait for, as long as one does.
#[derive(Default)]
pub(super) struct CatchingUp(Option<WeakShared<BoxFuture<'static, ()>>>);

/// How often Redis could not be read, one time after the other, and when the last time was.
#[derive(Debug, Default)]
pub(super) struct Failures {
    count: u32,
    last: Option<Instant>,
}

impl Failures {
    /// Whether it is no use to try now. A process that goes on after it was stopped may find that
    /// one read has failed in the meantime; and what is long ago says nothing.
    fn are_lasting(&self) -> bool {
        let is_recent = self.last.is_some_and(|last| last.elapsed() < POLL);
        self.count > 1 && is_recent
    }
}

impl Inner {
    /// Notes whether Redis could be read.
    pub(super) fn heard(&self, outcome: Result<(), BackendError>) -> Result<(), BackendError> {
        let mut failures = self.failures();
        *failures = match &outcome {
            Ok(()) => Failures::default(),
            Err(_) => Failures {
                count: failures.count.saturating_add(1),
                last: Some(Instant::now()),
            },
        };
        outcome
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        let failures = self.failures.lock();
        failures.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the list is current, or cannot be made so.
    pub(super) async fn join_catching_up(self: &Arc<Self>) {
        let catching_up = {
            let slot = self.catching_up.lock();
            let mut slot = slot.unwrap_or_else(PoisonError::into_inner);
            let going_on = slot.0.as_ref().and_then(WeakShared::upgrade);
            match going_on.filter(|going_on| going_on.peek().is_none()) {
                Some(going_on) => going_on,
                None if self.failures().are_lasting() => return,
                None => {
                    let inner = Arc::clone(self);
                    let new = async move { inner.refresh().await }.boxed().shared();
                    slot.0 = new.downgrade();
                    new
                }
            }
        };
        catching_up.await;
    }

    async fn refresh(&self) {
        let read = async {
            let mut follower = self.follower.lock().await;
            // Whoever held it may have done it.
            if self.is_stale(self.shell.now()) {
                self.read_new(&mut follower).await?;
            }
            Ok(())
        };
        let outcome = timeout(self.feed.timeout(), read).await;
        // Whoever waits finds that the list is as old as before, and says so.
        let _ = self.heard(outcome.unwrap_or_else(|_| {
            let problem = "redis has not told in time what has ended";
            Err(BackendError::new(BackendErrorKind::Timeout, problem))
        }));
    }
}
