//! What a key store holds: keys with their dates, and what the whole fleet must agree on.
//!
//! Two rings are joined key by key and field by field, so that it does not matter who knew what
//! first, in which order it is told, or how often.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{AppKey, KeyId};
use crate::time::Millis;

/// The format that this build writes.
pub(super) const FORMAT: u64 = 1;

/// The most keys with material that a ring has.
pub(super) const MAX_KEYS: usize = 16;

/// The most entries, those of keys that are gone among them.
pub(super) const MAX_ENTRIES: usize = 128;

/// A key that only opens until somebody promotes it.
pub(super) const NEVER: Millis = Millis::MAX;

#[derive(Clone, Debug)]
pub(super) struct Ring {
    /// That of the newest program that has written it.
    pub(super) format: u64,
    pub(super) bounds: Bounds,
    /// Every key that was made at this moment or before is revoked.
    pub(super) fence: Millis,
    pub(super) entries: BTreeMap<KeyId, Entry>,
}

/// The largest of each that any process of the fleet has declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// How long anything that is sealed opens.
    pub(super) longest: Duration,
    /// Between two polls of a process, without jitter.
    pub(super) poll: Duration,
    /// Until what is written can be read everywhere.
    pub(super) propagation: Duration,
    /// Of one call of the key store.
    pub(super) timeout: Duration,
    /// Between the clocks of any two processes.
    pub(super) tolerance: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) made: Millis,
    /// When it begins to seal.
    pub(super) from: Millis,
    /// When the next key began to seal, once that is known.
    pub(super) stops: Option<Millis>,
    /// How often this has changed: disabled if odd.
    pub(super) disabled: u32,
    pub(super) revoked: Option<Millis>,
    /// Removed by hand.
    pub(super) dropped: Option<Millis>,
    /// Absent once the key is gone.
    pub(super) key: Option<Arc<AppKey>>,
}

/// The two rings together have more keys than a ring may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// A length as the ring holds it.
pub(super) fn millis(length: Duration) -> Millis {
    Millis::default().plus(length)
}

impl Bounds {
    /// As the ring holds them: whole milliseconds, of 48 bits.
    pub(super) fn whole(self) -> Self {
        let whole = |length| Duration::from_millis(millis(length).raw());
        Self {
            longest: whole(self.longest),
            poll: whole(self.poll),
            propagation: whole(self.propagation),
            timeout: whole(self.timeout),
            tolerance: whole(self.tolerance),
        }
    }

    pub(super) fn join(self, other: Self) -> Self {
        Self {
            longest: self.longest.max(other.longest),
            poll: self.poll.max(other.poll),
            propagation: self.propagation.max(other.propagation),
            timeout: self.timeout.max(other.timeout),
            tolerance: self.tolerance.max(other.tolerance),
        }
    }
}

impl Entry {
    pub(super) fn new(key: AppKey, made: Millis, from: Millis) -> Self {
        Self {
            made,
            from,
            stops: None,
            disabled: 0,
            revoked: None,
            dropped: None,
            key: Some(Arc::new(key)),
        }
    }

    pub(super) fn is_disabled(&self) -> bool {
        self.disabled % 2 == 1
    }

    /// The first key of a ring, and one that a revocation has added, wait for nobody.
    pub(super) fn seals_at_once(&self) -> bool {
        self.from == self.made
    }

    fn join(&mut self, other: Self) {
        self.made = self.made.min(other.made);
        self.from = self.from.min(other.from);
        self.stops = self.stops.max(other.stops);
        self.disabled = self.disabled.max(other.disabled);
        self.revoked = earlier(self.revoked, other.revoked);
        self.dropped = earlier(self.dropped, other.dropped);
        self.key = match (self.key.take(), other.key) {
            // Two keys of one id: whichever all others would choose too.
            (Some(one), Some(another)) if another.is_before(&one) => Some(another),
            (one, another) => one.or(another),
        };
    }

    /// All but the material, which follows from the id.
    fn is_same_as(&self, other: &Self) -> bool {
        self.made == other.made
            && self.from == other.from
            && self.stops == other.stops
            && self.disabled == other.disabled
            && self.revoked == other.revoked
            && self.dropped == other.dropped
            && match (&self.key, &other.key) {
                (Some(one), Some(another)) => one.is_same_as(another),
                (None, None) => true,
                _ => false,
            }
    }
}

fn earlier(one: Option<Millis>, another: Option<Millis>) -> Option<Millis> {
    one.into_iter().chain(another).min()
}

impl Ring {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            format: FORMAT,
            bounds,
            fence: Millis::default(),
            entries: BTreeMap::new(),
        }
    }

    /// Whether this build must leave it as it is.
    pub(super) fn is_newer(&self) -> bool {
        self.format > FORMAT
    }

    pub(super) fn add(&mut self, key: AppKey, made: Millis, from: Millis) {
        self.entries.insert(key.id(), Entry::new(key, made, from));
        self.settle();
    }

    /// All that either ring knows.
    pub(super) fn join(mut self, other: &Self) -> Result<Self, TooMany> {
        self.format = self.format.max(other.format);
        self.bounds = self.bounds.join(other.bounds);
        self.fence = self.fence.max(other.fence);
        for (id, entry) in &other.entries {
            match self.entries.entry(*id) {
                Place::Vacant(place) => {
                    place.insert(entry.clone());
                }
                Place::Occupied(mut place) => place.get_mut().join(entry.clone()),
            }
        }
        self.settle();
        if self.live().count() > MAX_KEYS {
            return Err(TooMany);
        }
        Ok(self)
    }

    /// What is revoked or dropped has no material, and only so many entries stay.
    pub(super) fn settle(&mut self) {
        for entry in self.entries.values_mut() {
            let is_gone = entry.revoked.is_some() || entry.dropped.is_some();
            if is_gone || entry.made <= self.fence {
                entry.key = None;
            }
        }
        while self.entries.len() > MAX_ENTRIES {
            let gone = self.entries.iter().filter(|(_, entry)| entry.key.is_none());
            let oldest = gone.min_by_key(|(id, entry)| (entry.made, **id));
            let Some(oldest) = oldest.map(|(id, _)| *id) else {
                return;
            };
            self.entries.remove(&oldest);
        }
    }

    pub(super) fn is_revoked(&self, entry: &Entry) -> bool {
        entry.revoked.is_some() || entry.made <= self.fence
    }

    /// The entries that have their key.
    pub(super) fn live(&self) -> impl Iterator<Item = (&KeyId, &Entry, &AppKey)> {
        self.entries
            .iter()
            .filter_map(|(id, entry)| Some((id, entry, entry.key.as_deref()?)))
    }

    /// When the latest key was made, gone or not.
    pub(super) fn newest_made(&self) -> Millis {
        let made = self.entries.values().map(|entry| entry.made);
        made.max().unwrap_or_default().max(self.fence)
    }

    /// The key that seals last of all: the present one, or the one that is about to.
    pub(super) fn last(&self) -> Option<(KeyId, &Entry)> {
        let sealing = self
            .live()
            .filter(|(_, entry, _)| entry.from != NEVER && !entry.is_disabled());
        let last = sealing.max_by_key(|(id, entry, _)| (entry.from, **id));
        last.map(|(id, entry, _)| (*id, entry))
    }

    /// Whether both say the same.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        if std::ptr::eq(self, other) {
            return true;
        }
        self.format == other.format
            && self.bounds == other.bounds
            && self.fence == other.fence
            && self.entries.len() == other.entries.len()
            && self
                .entries
                .iter()
                .zip(&other.entries)
                .all(|((id, entry), (other_id, other))| id == other_id && entry.is_same_as(other))
    }
}
