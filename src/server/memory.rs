//! A backend in this process's memory.

mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::backend::{Backend, Cursor, Entry, Outcome, Promise, StoreKey, Stored, Tag, Value};
use super::cleaner::{Cleaner, Stop};
use crate::error::{BackendError, ConfigError};
use crate::store::Clock;
use crate::time::Millis;
use table::{Limits, Table};

/// What is kept unless the builder says otherwise.
const MAX_BYTES: usize = 256 << 20;

/// How often expired sessions are removed unless the builder says otherwise.
const EVERY: Duration = Duration::from_secs(60);

/// The most keys of a page of [`Backend::scan`].
const PAGE: usize = 1024;

/// How many expired sessions are removed under one lock: some 200 microseconds among a million.
const BATCH: usize = 64;

/// Sessions in this process's memory: for one process, and gone with it.
///
/// It keeps [`Promise::Full`]: nothing comes between the look at a session and the write.
///
/// # How much it holds
///
/// At most 256 MiB, unless the [builder](Self::builder) says otherwise. A session counts as its
/// sealed value, four thirds of its plaintext, and 384 bytes for what is around it, a little
/// more than was measured: half a million sessions of a few entries each. A visitor gets a
/// session when a handler first writes into one, so that whoever can make a handler write can
/// fill the store.
///
/// When it is full, the sessions that have expired make room. If none has, whatever needs more
/// room is refused with [`BackendErrorKind::Full`](super::BackendErrorKind::Full), and fails to be saved: a new session, a
/// renewed one, one that grows. No session is given up for another, and those that are there can
/// be read, touched, shrunk and destroyed.
///
/// # How expired sessions go
///
/// None is given out. Each that is put takes the place of two that have expired, and a thread
/// removes the rest once a minute; it ends when the backend is dropped or [stopped](Self::stop).
/// It needs no runtime. If the system has no thread to give, [`new`](Self::new) goes without.
///
/// # What it costs
///
/// No call waits for anything but one lock, which is held for as long as it takes to find a
/// session among all and to copy its value. With values of 600 bytes, a load was measured to take
/// one microsecond among ten thousand sessions and four among a million. Finding the sessions of
/// a subject takes time that grows with their number; listing all goes by pages of 1024.
///
/// ```
/// use std::time::Duration;
/// use sealed_session::AppKey;
/// use sealed_session::server::{Memory, MemoryStore};
///
/// let memory = Memory::builder()
///     .max_sessions(100_000)
///     .max_bytes(64 << 20)
///     .clean_up_every(Duration::from_secs(10))
///     .build()?;
/// let store = MemoryStore::new(AppKey::generate()?, memory);
/// assert_eq!(store.backend().len(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Memory {
    shared: Arc<Shared>,
    cleaner: Option<Cleaner>,
}

struct Shared {
    table: Mutex<Table>,
    clock: Box<Clock>,
}

impl Memory {
    /// An empty backend with the default settings.
    pub fn new() -> Self {
        let builder = Self::builder();
        let every = builder.clean_up_every;
        let shared = builder.assemble();
        Self {
            cleaner: Cleaner::start(every, &shared, Shared::clean_up).ok(),
            shared,
        }
    }

    /// A builder that starts from the defaults: 256 MiB, any number of sessions, a clean-up each
    /// minute.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder {
            limits: Limits {
                sessions: usize::MAX,
                bytes: MAX_BYTES,
            },
            clean_up_every: EVERY,
            clock: Box::new(SystemTime::now),
        }
    }

    /// How many sessions there are, with the marks that renewed ones leave for five minutes, and
    /// with those that were idle for too long but are still kept for slow requests. Expired ones
    /// are removed first.
    pub fn len(&self) -> usize {
        self.clean_up();
        self.shared.table().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the sessions count as, of those that
    /// [`max_bytes`](MemoryBuilder::max_bytes) allows. Expired ones are removed first.
    pub fn bytes(&self) -> usize {
        self.clean_up();
        self.shared.table().bytes()
    }

    /// Removes expired sessions now, and tells how many there were.
    pub fn clean_up(&self) -> usize {
        self.shared.reclaim(|| false)
    }

    /// Ends the thread that cleans up, and waits until it has ended. All else goes on.
    pub fn stop(&self) {
        if let Some(cleaner) = &self.cleaner {
            cleaner.stop();
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never asked for while the table is locked: the clock is a caller's.
    fn now(&self) -> Millis {
        (self.clock)().into()
    }

    fn clean_up(&self, stop: &Stop) {
        self.reclaim(|| stop.is_due());
    }

    fn reclaim(&self, is_over: impl Fn() -> bool) -> usize {
        let now = self.now();
        let mut all = 0;
        loop {
            let reclaimed = self.table().reclaim(now, BATCH);
            all += reclaimed;
            if reclaimed < BATCH || is_over() {
                return all;
            }
        }
    }
}

impl Backend for Memory {
    const PROMISE: Promise = Promise::Full;

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        let now = self.shared.now();
        Ok(self.shared.table().load(key, now))
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        let now = self.shared.now();
        self.shared.table().put(key, entry, now)
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        let now = self.shared.now();
        self.shared.table().touch(key, ttl, now);
        Ok(())
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        Ok(self.shared.table().remove(key))
    }

    async fn scan(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        let after = after.map(|cursor| cursor.key()).transpose()?;
        let keys = self.shared.table().keys_after(after, PAGE);
        let next = keys.get(PAGE - 1).map(|last| Cursor(last.to_string()));
        Ok((keys, next))
    }

    async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        Ok(self.shared.table().tagged(tag))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.shared.table();
        f.debug_struct("Memory")
            .field("len", &table.len())
            .field("bytes", &table.bytes())
            .field("limits", &table.limits)
            .field("cleaner", &self.cleaner)
            .finish_non_exhaustive()
    }
}

/// Builds a [`Memory`].
#[must_use]
pub struct MemoryBuilder {
    limits: Limits,
    clean_up_every: Duration,
    clock: Box<Clock>,
}

impl MemoryBuilder {
    /// The most sessions that there may be. Default any number.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.limits.sessions = sessions;
        self
    }

    /// The most bytes that the sessions may count as, their values and 384 bytes for each.
    /// Default 256 MiB.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// How long the thread that removes expired sessions waits in between. Default a minute.
    pub fn clean_up_every(mut self, every: Duration) -> Self {
        self.clean_up_every = every;
        self
    }

    /// Where the time comes from; give the store's builder the same. Default
    /// [`SystemTime::now`]. When the thread cleans up is not its to say.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// The finished backend.
    ///
    /// # Errors
    ///
    /// If it could hold nothing, would clean up without a pause, or the system has no thread to
    /// give; the error names the setting.
    pub fn build(self) -> Result<Memory, ConfigError> {
        if self.limits.sessions == 0 {
            let problem = "it is zero, and nothing could be kept";
            return Err(ConfigError::new("max_sessions", problem));
        }
        if self.limits.bytes < table::OVERHEAD {
            let problem = format!("it is less than one session takes, {}", table::OVERHEAD);
            return Err(ConfigError::new("max_bytes", problem));
        }
        let every = self.clean_up_every;
        let shared = self.assemble();
        let cleaner = Cleaner::start(every, &shared, Shared::clean_up)?;
        Ok(Memory {
            cleaner: Some(cleaner),
            shared,
        })
    }

    fn assemble(self) -> Arc<Shared> {
        Arc::new(Shared {
            table: Mutex::new(Table::new(self.limits)),
            clock: self.clock,
        })
    }
}

impl fmt::Debug for MemoryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBuilder")
            .field("limits", &self.limits)
            .field("clean_up_every", &self.clean_up_every)
            .finish_non_exhaustive()
    }
}
