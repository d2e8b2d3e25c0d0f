//! A map for many readers. It removes dead entries when it would have to grow, and knows in which
//! round of a comparison each entry was last seen.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

/// Removing dead entries or growing stops only the readers of one shard: for far less than a
/// millisecond with a million entries in all.
const SHARDS: usize = 32;

#[derive(Debug)]
pub(super) struct Table<K, V: Copy> {
    /// Boxed, so that everything that a request reads while the list is empty is close together.
    shards: Box<[RwLock<Shard<K, V>>]>,
    /// Lets requests skip an empty list, as it often is, without a lock.
    len: AtomicUsize,
}

type Shard<K, V> = HashMap<K, Marked<V>>;

/// A value, and the round in which it was last seen. Packed: one byte too many in each would take
/// megabytes more with a million entries.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed)]
struct Marked<V: Copy> {
    value: V,
    round: u8,
}

/// Chooses a key's shard. If many keys choose the same one, the table only becomes slower.
pub(super) trait Spread {
    fn spread(&self) -> u8;
}

impl<K, V: Copy> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            len: AtomicUsize::new(0),
        }
    }
}

impl<K: Hash + Eq + Spread, V: Copy + PartialEq> Table<K, V> {
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(super) fn get<Q: Hash + Eq + Spread + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if self.len() == 0 {
            return None;
        }
        let shard = self.shard(key.spread())?;
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        shard.get(key).map(|there| there.value)
    }

    /// Stores the result of `join` on the old value, and returns the old value. The entry counts as
    /// seen in this round, unless the result has more than the new value alone.
    pub(super) fn put(
        &self,
        key: K,
        join: impl Fn(Option<V>) -> V,
        is_over: impl Fn(&V) -> bool,
        round: u8,
    ) -> Option<V> {
        let shard = self.shard(key.spread())?;
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let length = shard.len();
        if length == shard.capacity() {
            shard.retain(|_, there| !is_over(&{ there.value }));
            // The capacity makes the next sweep pay off. A new map, because in the old one the
            // places of removed entries may be unusable.
            let mut living = HashMap::with_capacity(shard.len() / 2 * 3 + 4);
            living.extend(shard.drain());
            *shard = living;
        }
        let before = shard.get(&key).copied();
        let was = before.map(|there| there.value);
        let value = join(was);
        let is_all = value == join(None);
        let round = before
            .filter(|_| !is_all)
            .map_or(round, |there| there.round);
        shard.insert(key, Marked { value, round });
        let grown = shard.len().wrapping_sub(length);
        self.len.fetch_add(grown, Ordering::Relaxed);
        was
    }

    pub(super) fn remove_if(&self, key: &K, is_it: impl Fn(V) -> bool) {
        let Some(shard) = self.shard(key.spread()) else {
            return;
        };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.get(key).is_some_and(|there| is_it(there.value)) {
            shard.remove(key);
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Calls `look` for each entry that was not seen in this round.
    #[cfg(feature = "redis")]
    pub(super) fn each_unseen(&self, round: u8, mut look: impl FnMut(&K, V)) {
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let unseen = shard.iter().filter(|(_, there)| there.round != round);
            unseen.for_each(|(key, there)| look(key, there.value));
        }
    }

    /// Whether this key has no value, or its value was seen in this round.
    #[cfg(feature = "redis")]
    pub(super) fn is_seen<Q: Hash + Eq + Spread + ?Sized>(&self, key: &Q, round: u8) -> bool
    where
        K: Borrow<Q>,
    {
        self.shard(key.spread()).is_none_or(|shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.get(key).is_none_or(|there| there.round == round)
        })
    }

    fn shard(&self, spread: u8) -> Option<&RwLock<Shard<K, V>>> {
        self.shards.get(usize::from(spread) % SHARDS)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::envelope::os_random;
    use crate::record::SessionId;

    fn uses_all_shards<K: Hash + Eq + Spread>(keys: impl Iterator<Item = K>) -> bool {
        let table = Table::default();
        for key in keys {
            table.put(key, |_| (), |()| false, 0);
        }
        let mut shards = table.shards.iter().map(|shard| shard.read().unwrap());
        shards.all(|shard| !shard.is_empty())
    }

    #[test]
    fn ids_and_subjects_spread_over_all_shards() {
        let ids = (0..1000).map(|_| SessionId::random(&mut os_random).unwrap());
        assert!(uses_all_shards(ids));
        let subjects = (0..1000).map(|n| n.to_string().into_boxed_str());
        assert!(uses_all_shards(subjects));
    }

    #[test]
    fn to_grow_costs_no_more_than_to_look_at_each_three_times() {
        let (table, looks) = (Table::default(), Cell::new(0));
        for n in 0..20_000 {
            let is_over = |_: &()| {
                looks.set(looks.get() + 1);
                false
            };
            let subject = n.to_string().into_boxed_str();
            table.put(subject, |_| (), is_over, 0);
        }
        assert!(looks.get() <= 3 * table.len(), "{looks:?}");
    }
}
