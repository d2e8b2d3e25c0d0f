//! The table of sessions in memory. Its functions get the time as an argument.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::collections::btree_map::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use super::super::backend::{Entry, Outcome, StoreKey, Stored, Tag, Value};
use crate::error::{BackendError, BackendErrorKind};
use crate::time::Millis;

/// How many bytes a session takes beside its value: an entry in each of the three trees below, and
/// the allocator's share. They are trees because a tree grows and shrinks without moving everything
/// at once, and keeps its order.
pub(super) const OVERHEAD: usize = 384;

/// How many bytes a second tag takes.
pub(super) const SECOND_TAG: usize = 160;

/// How many expired sessions a put removes. More than one, so that a crowd of expired sessions
/// shrinks even if nobody cleans up.
const RECLAIMED_BY_PUT: usize = 2;

#[derive(Debug)]
pub(super) struct Table {
    slots: BTreeMap<StoreKey, Slot>,
    by_expiry: BTreeSet<(Millis, StoreKey)>,
    by_tag: BTreeSet<(Tag, StoreKey)>,
    bytes: usize,
    pub(super) limits: Limits,
}

#[derive(Debug)]
struct Slot {
    value: Value,
    expires: Millis,
    tag: Option<Tag>,
    /// Boxed, because few sessions have it.
    sid_tag: Option<Box<Tag>>,
}

impl Slot {
    fn tags(&self) -> impl Iterator<Item = Tag> {
        self.tag.into_iter().chain(self.sid_tag.as_deref().copied())
    }

    /// The bytes that count beside the overhead.
    fn size(&self) -> usize {
        size(&self.value, self.sid_tag.is_some())
    }
}

fn size(value: &Value, has_second_tag: bool) -> usize {
    value.as_str().len() + if has_second_tag { SECOND_TAG } else { 0 }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) sessions: usize,
    pub(super) bytes: usize,
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            slots: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            by_tag: BTreeSet::new(),
            bytes: 0,
            limits,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn load(&self, key: &StoreKey, now: Millis) -> Option<Stored> {
        let slot = self.slots.get(key).filter(|slot| slot.expires > now)?;
        Some(Stored {
            value: slot.value.clone(),
            ttl: slot.expires.since(now),
        })
    }

    pub(super) fn put(
        &mut self,
        key: &StoreKey,
        entry: &Entry,
        now: Millis,
    ) -> Result<Outcome, BackendError> {
        self.reclaim(now, RECLAIMED_BY_PUT);
        if self.slots.get(key).is_some_and(|slot| slot.expires <= now) {
            self.remove(key);
        }
        let there = self.slots.get(key);
        let was = there.map(Slot::size);
        let outcome = entry.when.outcome(there.map(|slot| slot.value.as_str()));
        if outcome == Outcome::Stored {
            let size = size(&entry.value, entry.sid_tag.is_some());
            self.make_room(was, size, now)?;
            self.remove(key);
            let slot = Slot {
                value: entry.value.clone(),
                expires: now.plus(entry.ttl),
                tag: entry.tag,
                sid_tag: entry.sid_tag.map(Box::new),
            };
            self.by_expiry.insert((slot.expires, *key));
            self.by_tag.extend(slot.tags().map(|tag| (tag, *key)));
            self.bytes += OVERHEAD + slot.size();
            self.slots.insert(*key, slot);
        }
        Ok(outcome)
    }

    /// Makes room for a value that replaces one of length `was`. A value that does not grow needs
    /// no room, so that a session can always end, move or shrink.
    fn make_room(
        &mut self,
        was: Option<usize>,
        length: usize,
        now: Millis,
    ) -> Result<(), BackendError> {
        let (sessions, bytes) = match was {
            Some(was) if length <= was => return Ok(()),
            Some(was) => (0, length - was),
            None => (1, OVERHEAD.saturating_add(length)),
        };
        loop {
            let problem = if self.slots.len() + sessions > self.limits.sessions {
                format!("{} sessions are in memory", self.limits.sessions)
            } else if self.bytes.saturating_add(bytes) > self.limits.bytes {
                format!("the limit of {} bytes is reached", self.limits.bytes)
            } else {
                return Ok(());
            };
            if self.reclaim(now, 1) == 0 {
                let full = format!(
                    "{problem}, and none of them has expired; raise the limit, or let sessions end \
                     sooner"
                );
                return Err(BackendError::new(BackendErrorKind::Full, full));
            }
        }
    }

    pub(super) fn touch(&mut self, key: &StoreKey, ttl: Duration, now: Millis) {
        if let Some(slot) = self.slots.get_mut(key).filter(|slot| slot.expires > now) {
            self.by_expiry.remove(&(slot.expires, *key));
            slot.expires = now.plus(ttl);
            self.by_expiry.insert((slot.expires, *key));
        }
    }

    /// Removes a session, and returns its value unless it has expired.
    pub(super) fn take(&mut self, key: &StoreKey, now: Millis) -> Option<Value> {
        let is_alive = self.slots.get(key)?.expires > now;
        self.remove(key).filter(|_| is_alive)
    }

    fn remove(&mut self, key: &StoreKey) -> Option<Value> {
        let slot = self.slots.remove(key)?;
        self.by_expiry.remove(&(slot.expires, *key));
        for tag in slot.tags() {
            self.by_tag.remove(&(tag, *key));
        }
        self.bytes -= OVERHEAD + slot.size();
        Some(slot.value)
    }

    /// Removes up to `at_most` expired sessions, the longest expired first, and returns how many.
    pub(super) fn reclaim(&mut self, now: Millis, at_most: usize) -> usize {
        for reclaimed in 0..at_most {
            match self.by_expiry.first() {
                Some((expires, key)) if *expires <= now => {
                    let key = *key;
                    self.remove(&key);
                }
                _ => return reclaimed,
            }
        }
        at_most
    }

    /// Returns the next keys in order.
    pub(super) fn keys_after(&self, after: Option<StoreKey>, at_most: usize) -> Vec<StoreKey> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = self.slots.range((after, Bound::Unbounded));
        keys.map(|(key, _)| *key).take(at_most).collect()
    }

    pub(super) fn tagged(&self, tag: &Tag) -> Vec<StoreKey> {
        let first = StoreKey::from_bytes([0; 32]);
        let last = StoreKey::from_bytes([u8::MAX; 32]);
        let tagged = self.by_tag.range((*tag, first)..=(*tag, last));
        tagged.map(|(_, key)| *key).collect()
    }
}
