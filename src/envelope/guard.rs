//! What an envelope asks managed keys before each seal and open.

use std::fmt;
use std::sync::Arc;

use super::key::KeyId;

/// Managed keys, as an envelope sees them.
pub(crate) trait Watch: Send + Sync {
    /// Whether the key store has answered recently enough.
    fn is_current(&self) -> bool;

    /// Reports that a token came under a key that is not in the ring.
    fn misses(&self, id: KeyId);
}

#[derive(Clone)]
pub(crate) struct Guard {
    watch: Arc<dyn Watch>,
    has_key: bool,
    /// Whether the keys have a `max_staleness`, so that [`Watch::is_current`] matters.
    is_limited: bool,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("has_key", &self.has_key)
            .finish_non_exhaustive()
    }
}

impl Guard {
    pub(crate) fn new(watch: Arc<dyn Watch>, has_key: bool, is_limited: bool) -> Self {
        Self {
            watch,
            has_key,
            is_limited,
        }
    }

    pub(super) fn may_open(&self) -> bool {
        !self.is_limited || self.watch.is_current()
    }

    pub(super) fn may_seal(&self) -> bool {
        self.has_key && self.may_open()
    }

    pub(super) fn misses(&self, id: KeyId) {
        self.watch.misses(id);
    }
}
