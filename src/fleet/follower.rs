//! How far a process has come with the stream in Redis.

use tokio::time::Instant;

use super::counts::Counts;
use crate::revocation::Revocation;
use crate::server::redis::Position;

/// How far a process has come.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// Up to where all was read.
    pub(super) read: Position,
    /// Of what was read.
    pub(super) counts: Counts,
    pub(super) round: Round,
    /// What the last round has not shown, until it is put back.
    pub(super) missing: Vec<Revocation>,
    /// Since when something is missing.
    pub(super) missing_since: Option<Instant>,
    /// This process is the one that puts it back.
    pub(super) restores: bool,
    /// When to look again whether another process has put it back.
    pub(super) look_at: Option<Instant>,
    /// Nothing can be appended to the stream, or nothing that would be trimmed.
    pub(super) is_unusable: bool,
    /// Something is missing, or may be read now that could not be before: not to be waited for.
    pub(super) noticed: bool,
    /// What is from before this moment of Redis's clock is to go. Milliseconds.
    pub(super) trim: Option<u64>,
}

/// A round of reading the whole stream again.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) at: Position,
    pub(super) counts: Counts,
    pub(super) in_haste: bool,
    /// When the next entries are due.
    pub(super) next: Option<Instant>,
}

impl Follower {
    /// Whether there is something to do at once.
    pub(super) fn is_busy(&self) -> bool {
        self.round.in_haste || self.restores
    }

    pub(super) fn last_read(&self) -> Position {
        self.read
    }

    /// What was read counts for nothing.
    pub(super) fn begin_again(&mut self) {
        self.read = Position::default();
        self.counts = Counts::default();
    }
}
