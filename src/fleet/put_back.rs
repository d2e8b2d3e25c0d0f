//! How what is missing in Redis comes back, from a process that knows it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::follower::Follower;
use super::process::{Inner, POLL};
use crate::error::{BackendError, BackendErrorKind};
use crate::revocation::Revocation;
use crate::server::redis::{PAGE, Position, Reset};

/// How long a process waits for another one that says it puts back what is missing. Anybody may
/// say so in Redis.
const HONOURED: Duration = Duration::from_secs(3);

/// How many pages are put back before others get a turn.
const PAGES: usize = 10;

/// How often it is tried to begin a stream anew to which others write.
const ATTEMPTS: usize = 4;

impl Inner {
    /// Tells Redis what has ended; even if the stream is one that takes nothing more.
    pub(super) async fn publish(&self, revocations: &[Revocation]) -> Result<(), BackendError> {
        let Err(error) = self.append(revocations).await else {
            return Ok(());
        };
        if error.kind() != BackendErrorKind::Other {
            return Err(error);
        }
        let mut follower = self.follower.lock().await;
        self.rebuild(&mut follower).await?;
        // If there was nothing wrong with it, another process may have mended it just now.
        self.append(revocations).await?;
        while follower.restores {
            self.put_back(&mut follower).await?;
        }
        Ok(())
    }

    /// Begins the stream anew, if nothing can be appended to it or it is none: all that this
    /// process knows then is missing. False if there is nothing wrong with it.
    pub(super) async fn rebuild(&self, follower: &mut Follower) -> Result<bool, BackendError> {
        let mut last = Position::default();
        for _ in 0..ATTEMPTS {
            match self.feed.reset(last).await? {
                Reset::Needless => {
                    follower.is_unusable = false;
                    return Ok(false);
                }
                Reset::Done => {
                    follower.is_unusable = false;
                    follower.begin_again();
                    self.begin_round(follower, false);
                    follower.missing = self.list.unseen(self.core.now());
                    follower.missing_since = Some(Instant::now());
                    // Others wait for it, if they heed that.
                    self.feed.may_restore().await?;
                    follower.restores = true;
                    return Ok(true);
                }
                // All that is in it is to be known before it goes.
                Reset::Unread => {
                    self.begin_round(follower, true);
                    while !self.read_round(follower, PAGE).await? {}
                    last = follower.last_read();
                }
            }
        }
        let problem = "the stream of revocations takes no entry, and others write to it";
        Err(BackendError::new(BackendErrorKind::Other, problem))
    }

    /// Puts back some of what is missing, unless another process does so: or all would put back
    /// the same.
    pub(super) async fn put_back(&self, follower: &mut Follower) -> Result<(), BackendError> {
        let now = Instant::now();
        if !follower.restores {
            if follower.look_at.is_some_and(|look_at| now < look_at) {
                return Ok(());
            }
            follower.look_at = Some(now + POLL);
            follower
                .missing
                .retain(|missing| !self.list.is_seen(missing));
            let since = follower.missing_since.unwrap_or(now);
            follower.restores = self.feed.may_restore().await? || now - since >= HONOURED;
            // Those that put back the same begin at different places.
            let length = follower.missing.len().max(1);
            let place = RandomState::new().hash_one(length) % length as u64;
            follower
                .missing
                .rotate_left(usize::try_from(place).unwrap_or(0));
        }
        if follower.restores {
            for _ in 0..PAGES {
                self.read_new(follower).await?;
                let rest = follower.missing.len().saturating_sub(PAGE);
                let mut page = follower.missing.split_off(rest);
                page.retain(|missing| !self.list.is_seen(missing));
                if !page.is_empty() {
                    self.append(&page).await?;
                }
                for revocation in page {
                    self.list.put(revocation);
                }
                if follower.missing.is_empty() {
                    break;
                }
            }
        }
        if follower.missing.is_empty() {
            follower.missing_since = None;
            follower.look_at = None;
            self.begin_round(follower, false);
            if std::mem::take(&mut follower.restores) {
                self.feed.is_restored().await?;
            }
        }
        Ok(())
    }
}
