//! The progress of a process in the stream in Redis.

use tokio::time::Instant;

use super::counts::Counts;
use crate::revocation::Revocation;
use crate::server::redis::Position;

/// The progress of a process in the stream.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// The last entry up to which everything was read.
    pub(super) read: Position,
    /// The counts of the entries read.
    pub(super) counts: Counts,
    pub(super) round: Round,
    /// Entries that the last round has not shown, until they are restored.
    pub(super) missing: Vec<Revocation>,
    /// Since when entries have been missing.
    pub(super) missing_since: Option<Instant>,
    /// Whether this process is the one that restores them.
    pub(super) restores: bool,
    /// When to check again whether another process has restored them.
    pub(super) look_at: Option<Instant>,
    /// Whether nothing can be appended to the stream, or nothing that could be trimmed.
    pub(super) is_unusable: bool,
    /// Entries are missing, or may be readable now that were not before: begin a hasty round.
    pub(super) noticed: bool,
    /// Trim entries from before this time of Redis's clock, in milliseconds.
    pub(super) trim: Option<u64>,
}

/// A round of reading the whole stream again.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) at: Position,
    pub(super) counts: Counts,
    pub(super) in_haste: bool,
    /// When to read the next entries.
    pub(super) next: Option<Instant>,
}

impl Follower {
    /// Returns whether there is more work to do at once.
    pub(super) fn is_busy(&self) -> bool {
        self.round.in_haste || self.restores
    }

    pub(super) fn last_read(&self) -> Position {
        self.read
    }

    /// Forgets what was read, to begin with the first entry again.
    pub(super) fn begin_again(&mut self) {
        self.read = Position::default();
        self.counts = Counts::default();
    }
}
