//! A value that every request reads, and that is seldom replaced.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread::available_parallelism;

/// The most locks. On a machine with more cores, several cores share a lock.
const MOST: usize = 64;

/// A value behind several locks, each with a reference to it. A thread always reads through the
/// same lock. There are as many as cores, so threads on different cores seldom write to the same
/// memory, as they would with one lock or with a counted reference. Whoever replaces the value holds
/// all locks, so that nobody reads the old value once somebody has read the new one.
#[derive(Debug)]
pub(super) struct Sharded<T> {
    first: Shard<T>,
    others: Box<[Shard<T>]>,
}

/// Alone in its cache line, and in the neighbouring one that processors fetch along with it.
#[derive(Debug)]
#[repr(align(128))]
struct Shard<T>(RwLock<Arc<T>>);

impl<T> Sharded<T> {
    pub(super) fn new(value: T) -> Self {
        // Asked only once, because the system reads files to answer.
        static CORES: OnceLock<usize> = OnceLock::new();
        let cores = CORES.get_or_init(|| available_parallelism().map_or(1, usize::from));
        Self::with(value, *cores.min(&MOST))
    }

    fn with(value: T, count: usize) -> Self {
        let value = Arc::new(value);
        let shard = || Shard(RwLock::new(Arc::clone(&value)));
        Self {
            first: shard(),
            others: (1..count).map(|_| shard()).collect(),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Arc<T>> {
        let shard = self.others.get(thread_number() % (self.others.len() + 1));
        let Shard(lock) = shard.unwrap_or(&self.first);
        lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// When this returns, nobody uses the old value any more, and it has been dropped.
    pub(super) fn replace(&self, value: T) {
        let value = Arc::new(value);
        let shards = std::iter::once(&self.first).chain(&self.others);
        let mut locked: Vec<_> = shards
            .map(|Shard(lock)| lock.write().unwrap_or_else(PoisonError::into_inner))
            .collect();
        for shard in &mut locked {
            **shard = Arc::clone(&value);
        }
    }
}

/// The threads of this process are numbered in the order in which they first ask.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    OWN.with(|own| *own)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_replaced_value_is_dropped_at_once_and_every_thread_reads_the_new_one() {
        for count in 1..5 {
            let old = Arc::new(1);
            let sharded = Sharded::with(Arc::clone(&old), count);
            for new in 2..4 {
                sharded.replace(Arc::new(new));
                assert_eq!(Arc::strong_count(&old), 1);
                thread::scope(|scope| {
                    for _ in 0..2 * count {
                        scope.spawn(|| assert_eq!(***sharded.read(), new));
                    }
                });
            }
        }
    }

    #[test]
    fn nobody_reads_the_old_value_once_somebody_has_read_the_new_one() {
        const LAST: usize = 20_000;
        let (sharded, newest_seen) = (Sharded::with(0, 4), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while newest_seen.load(Ordering::SeqCst) < LAST {
                        let seen_before = newest_seen.load(Ordering::SeqCst);
                        let value = **sharded.read();
                        assert!(value >= seen_before, "{value} after {seen_before}");
                        newest_seen.fetch_max(value, Ordering::SeqCst);
                    }
                });
            }
            (1..=LAST).for_each(|value| sharded.replace(value));
        });
    }

    #[test]
    fn a_thread_keeps_its_number_and_no_other_has_it() {
        let number = thread_number();
        assert_eq!(thread_number(), number);
        assert_ne!(thread::spawn(thread_number).join().unwrap(), number);
    }
}
