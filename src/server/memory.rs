//! A backend that keeps sessions in this process's memory.

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

/// How many bytes sessions may take by default.
const MAX_BYTES: usize = 256 << 20;

/// How often expired sessions are removed by default.
const EVERY: Duration = Duration::from_secs(60);

/// The most keys that one page of [`Backend::scan`] holds.
const PAGE: usize = 1024;

/// How many expired sessions are removed under one lock. That takes about 200 microseconds with a
/// million sessions.
const BATCH: usize = 64;

/// A backend that keeps sessions in this process's memory. They are gone when the process ends.
///
/// It keeps [`Promise::Full`]: nothing comes between the look at a session and the write.
///
/// # How much it holds
///
/// It holds at most 256 MiB, unless you set another limit with the [builder](Self::builder). A
/// session counts as its sealed value, which is four thirds of its plaintext, plus 384 bytes of
/// overhead, a little more than was measured. So 256 MiB hold half a million sessions of a few
/// entries each. A visitor gets a session when a handler first writes to it, so anyone who can make
/// a handler write can fill the store.
///
/// When the store is full, expired sessions make room. If none has expired, you cannot save a new
/// session, a renewed one, or one that grows: the save fails with
/// [`BackendErrorKind::Full`](super::BackendErrorKind::Full). The backend never drops a live
/// session for another. Existing sessions can still be read, touched, shrunk and destroyed.
///
/// # How expired sessions go
///
/// The backend never returns an expired session. Each put removes up to two expired sessions, and a
/// thread removes the rest once a minute. The thread ends when you drop the backend or
/// [stop](Self::stop) it, and needs no runtime. If the system cannot start a thread,
/// [`new`](Self::new) goes without one.
///
/// # What it costs
///
/// Calls wait only for one lock, which is held just long enough to find a session and copy its
/// value. With values of 600 bytes, a load took one microsecond with ten thousand sessions, and
/// four microseconds with a million. Finding a subject's sessions takes time in proportion to their
/// number. Listing all sessions goes by pages of 1024.
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
    /// Returns an empty backend with the default settings.
    pub fn new() -> Self {
        let builder = Self::builder();
        let every = builder.clean_up_every;
        let shared = builder.assemble();
        Self {
            cleaner: Cleaner::start(every, &shared, Shared::clean_up).ok(),
            shared,
        }
    }

    /// Returns a builder with the default settings: 256 MiB, any number of sessions, a clean-up
    /// every minute.
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

    /// Returns the number of sessions, after removing expired ones. It includes the marks that
    /// renewed sessions leave for five minutes, and idle sessions that are kept a little longer for
    /// slow requests.
    pub fn len(&self) -> usize {
        self.clean_up();
        self.shared.table().len()
    }

    /// Returns whether the backend holds no session, as counted by [`len`](Self::len).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many of the [`max_bytes`](MemoryBuilder::max_bytes) are in use, after removing
    /// expired sessions.
    pub fn bytes(&self) -> usize {
        self.clean_up();
        self.shared.table().bytes()
    }

    /// Removes expired sessions now, and returns how many there were.
    pub fn clean_up(&self) -> usize {
        self.shared.reclaim(|| false)
    }

    /// Stops the clean-up thread and waits until it has ended. Everything else goes on.
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

    /// Must not run while the table is locked, because the clock may be the caller's code.
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
        let now = self.shared.now();
        Ok(self.shared.table().take(key, now))
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

/// Builds a [`Memory`], which has an example.
#[must_use]
pub struct MemoryBuilder {
    limits: Limits,
    clean_up_every: Duration,
    clock: Box<Clock>,
}

impl MemoryBuilder {
    /// Sets the most sessions that the backend may hold. Default any number.
    ///
    /// ```
    /// # pollster::block_on(async {
    /// # use sealed_session::{AppKey, MemoryStore};
    /// # use sealed_session::server::{BackendErrorKind, Memory};
    /// let memory = Memory::builder().max_sessions(1).build()?;
    /// # let store = MemoryStore::new(AppKey::generate()?, memory);
    /// # let first = store.load_from::<str>([]).await?;
    /// # let second = store.load_from::<str>([]).await?;
    /// # first.insert("user_id", 42)?;
    /// # second.insert("user_id", 43)?;
    /// store.respond(&first).await?;
    /// let error = store.respond(&second).await.unwrap_err();
    /// assert_eq!(error.backend().map(|error| error.kind()), Some(BackendErrorKind::Full));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.limits.sessions = sessions;
        self
    }

    /// Sets the most bytes that sessions may take: their values and 384 bytes for each session.
    /// Default 256 MiB.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Sets how long the clean-up thread waits between rounds. Default one minute.
    pub fn clean_up_every(mut self, every: Duration) -> Self {
        self.clean_up_every = every;
        self
    }

    /// Sets the clock; give the store's builder the same one. Default [`SystemTime::now`]. The
    /// clock does not decide when the clean-up thread runs.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Builds the backend.
    ///
    /// # Errors
    ///
    /// If a limit leaves room for no session, if `clean_up_every` is below a millisecond, or if the
    /// system cannot start a thread. The error names the setting.
    pub fn build(self) -> Result<Memory, ConfigError> {
        if self.limits.sessions == 0 {
            let problem = "it is zero, and nothing could be kept; allow more";
            return Err(ConfigError::new("max_sessions", problem));
        }
        if self.limits.bytes < table::OVERHEAD {
            let problem = format!(
                "it is less than one session takes, {}; allow more",
                table::OVERHEAD
            );
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
