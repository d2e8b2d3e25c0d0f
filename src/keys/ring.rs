//! The content of a key store: keys with their dates, and the limits on which the whole fleet must
//! agree.
//!
//! Two rings are joined key by key, and field by field. The result does not depend on the order in
//! which rings are joined, nor on how often one is joined.

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

/// The most entries. Keys of which only the dates are left count too.
pub(super) const MAX_ENTRIES: usize = 128;

/// The date of a key that only opens until somebody promotes it.
pub(super) const NEVER: Millis = Millis::MAX;

#[derive(Clone, Debug)]
pub(super) struct Ring {
    /// The format of the newest program that has written the ring.
    pub(super) format: u64,
    pub(super) bounds: Bounds,
    /// Every key that was made at this moment or before is revoked.
    pub(super) fence: Millis,
    pub(super) entries: BTreeMap<KeyId, Entry>,
}

/// The limits of the fleet: for each, the largest that any process has declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The longest lifetime of a token.
    pub(super) longest: Duration,
    /// The time between two polls of a process, without jitter.
    pub(super) poll: Duration,
    /// The time until every process can read what was written.
    pub(super) propagation: Duration,
    /// The longest time that one call of the key store takes.
    pub(super) timeout: Duration,
    /// The largest difference between the clocks of two processes.
    pub(super) tolerance: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) made: Millis,
    /// When the key begins to seal.
    pub(super) from: Millis,
    /// When the key stops sealing, because the next one seals. `None` until that is known.
    pub(super) stops: Option<Millis>,
    /// How often the key was disabled or enabled: if the number is odd, it is disabled.
    pub(super) disabled: u32,
    pub(super) revoked: Option<Millis>,
    /// When somebody removed the key by hand.
    pub(super) dropped: Option<Millis>,
    /// `None` once only the key's dates are left.
    pub(super) key: Option<Arc<AppKey>>,
}

/// The two rings together have more keys than a ring may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// A length of time, as the ring holds it.
pub(super) fn millis(length: Duration) -> Millis {
    Millis::default().plus(length)
}

impl Bounds {
    /// The same limits in whole milliseconds of 48 bits, as the ring holds them.
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

    /// The same limits, for lifetimes that may be longer.
    pub(super) fn for_lifetimes_of(self, longest: Duration) -> Self {
        self.join(Self { longest, ..self }.whole())
    }

    /// These limits of a ring, raised by a process that wants these. Only a change by hand lets
    /// processes poll less often.
    pub(super) fn raised_to(self, wanted: Self) -> Self {
        let poll = self.poll;
        self.join(Self { poll, ..wanted })
    }

    /// Whether these limits of a ring allow what a process wants. Polling more often is always
    /// allowed.
    pub(super) fn allow(self, wanted: Self) -> bool {
        self.raised_to(wanted) == self && wanted.poll <= self.poll
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

    /// Whether the key seals at once. A ring's first key does, and so does one that a revocation
    /// has added.
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
            // Two keys have the same id. Every process must choose the same one.
            (Some(one), Some(another)) if another.is_before(&one) => Some(another),
            (one, another) => one.or(another),
        };
    }

    /// Compares the dates, and the keys if both have one.
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

    /// Whether a newer version has written the ring, so that this one must not change it.
    pub(super) fn is_newer(&self) -> bool {
        self.format > FORMAT
    }

    pub(super) fn add(&mut self, key: AppKey, made: Millis, from: Millis) {
        self.entries.insert(key.id(), Entry::new(key, made, from));
        self.settle();
    }

    /// Joins both rings: the result has everything that either one knows.
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

    /// Removes the key from each entry that is revoked or dropped, and the oldest such entries if
    /// there are too many.
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

    /// When the newest key was made, whether the ring still has that key or only its dates.
    pub(super) fn newest_made(&self) -> Millis {
        let made = self.entries.values().map(|entry| entry.made);
        made.max().unwrap_or_default().max(self.fence)
    }

    /// The last key in line: the one that seals now, or one that is going to.
    pub(super) fn last(&self) -> Option<(KeyId, &Entry)> {
        let sealing = self
            .live()
            .filter(|(_, entry, _)| entry.from != NEVER && !entry.is_disabled());
        let last = sealing.max_by_key(|(id, entry, _)| (entry.from, **id));
        last.map(|(id, entry, _)| (*id, entry))
    }

    /// Whether both rings hold the same.
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
