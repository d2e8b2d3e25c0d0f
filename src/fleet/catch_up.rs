//! How requests wait until a stale process has caught up: all of them for one read.

use std::sync::{Arc, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::WeakShared;
use tokio::time::{Instant, timeout};

use super::process::{Failures, Inner};
use crate::error::{BackendError, BackendErrorKind};

impl Inner {
    /// Records whether Redis could be read.
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

    /// Waits until the list is current, or catching up has failed.
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
            // The previous holder of the lock may have caught up already.
            if self.is_stale(self.core.now()) {
                self.read_new(&mut follower).await?;
            }
            Ok(())
        };
        let outcome = timeout(self.feed.timeout(), read).await;
        // No need to return the error: each waiting request finds the list as stale as before, and
        // fails.
        let _ = self.heard(outcome.unwrap_or_else(|_| {
            let problem = "redis did not return the ended sessions in time";
            Err(BackendError::new(BackendErrorKind::Timeout, problem))
        }));
    }
}
