//! How a process restores entries that Redis has lost.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::follower::Follower;
use super::process::{Inner, POLL};
use crate::error::{BackendError, BackendErrorKind};
use crate::revocation::Revocation;
use crate::server::redis::{PAGE, Position, Reset};

/// How long a process waits for another one that claims to restore the entries. Anyone who can
/// write to Redis can claim that.
const HONOURED: Duration = Duration::from_secs(3);

/// How many pages to restore before other tasks get a turn.
const PAGES: usize = 10;

/// How often to try to start a stream anew while others write to it.
const ATTEMPTS: usize = 4;

impl Inner {
    /// Appends entries to the stream, and starts it anew if it takes no more.
    pub(super) async fn publish(&self, revocations: &[Revocation]) -> Result<(), BackendError> {
        let Err(error) = self.append(revocations).await else {
            return Ok(());
        };
        if error.kind() != BackendErrorKind::Other {
            return Err(error);
        }
        let mut follower = self.follower.lock().await;
        self.rebuild(&mut follower).await?;
        // If the stream was sound, another process may have repaired it just now.
        self.append(revocations).await?;
        while follower.restores {
            self.put_back(&mut follower).await?;
        }
        Ok(())
    }

    /// Starts the stream anew if it takes no entries or is not a stream. Then everything that this
    /// process knows is missing from it. Returns false if the stream is sound.
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
                    // Other processes leave the work to this one, if they see the claim.
                    self.feed.may_restore().await?;
                    follower.restores = true;
                    return Ok(true);
                }
                // Read every entry before the stream is removed.
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

    /// Restores some missing entries, unless another process is doing so, because otherwise all
    /// would restore the same ones.
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
            // Processes that restore the same entries start at different places.
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
