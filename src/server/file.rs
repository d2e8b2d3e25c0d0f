//! A backend that keeps sessions as files in a directory.

mod dir;
mod directory;
mod format;
mod place;
mod tags;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::backend::{Backend, Cursor, Entry, Outcome, Promise, StoreKey, Stored, Tag, Value};
use super::cleaner::{Cleaner, Stop};
use crate::error::{BackendError, BackendErrorKind, ConfigError};
use crate::store::Clock;
use crate::time::Millis;
use place::{Place, Report};

/// How often the directory is cleaned up by default.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// The most keys that one page of [`Backend::scan`] holds.
const PAGE: usize = 1024;

/// A backend that keeps each session as a file in a local directory, for one process or several.
///
/// Each file is named by its [`StoreKey`] as 64 hexadecimal digits. On Unix only.
///
/// ```
/// use std::time::Duration;
/// use sealed_session::server::{File, FileStore};
/// # use sealed_session::AppKey;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("sessions"); // in a service: /var/lib/shop/sessions
/// let directory = File::builder(&path).clean_up_every(Duration::from_secs(3600)).build()?;
/// let store = FileStore::new(AppKey::generate()?, directory);
/// assert!(path.is_dir()); // made with mode 700
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It keeps [`Promise::Full`], between threads and between processes that use the same directory: a
/// writer locks one of 256 parts of it (`flock`). The directory must be on a local file system. On
/// a network file system, locks may hold on one machine only, or not at all.
///
/// # What survives a crash
///
/// Every acknowledged write survives if the process is killed. It also survives a loss of power, if
/// the disk really writes what it acknowledges. The backend writes a value whole to a new file,
/// waits until the file is on the disk, and then renames it to the session's name in one step. The
/// call returns when the new name is on the disk too. A removal also waits until it is on the disk.
/// After a crash in the middle of a write, you find the new value or the one before it, never a
/// part of one. Only a touch does not wait for the disk: after a loss of power, a session may
/// expire as if it had not been touched.
///
/// # Permissions
///
/// The directory must belong to the user that the process runs as, and no other user may enter it.
/// The backend creates it with mode 700, and files with 600. Nothing that a client sends becomes
/// part of a path. The backend follows no symbolic links inside the directory. It never reads,
/// overwrites or removes anything that is not a session's file, whatever its name; only destroying
/// a session removes a foreign file under that session's name. It reads at most 16 MiB of any file,
/// which is the largest value it stores.
///
/// # If the directory is swept away
///
/// Cleaners of temporary files remove directories below `/tmp`. If the directory is gone or
/// replaced, the next call creates it again, with the same checks as at first, and reports
/// [`Event::DirectoryRemade`](crate::Event::DirectoryRemade): its sessions have ended, and
/// everything else goes on. The backend resolves the path once, at the start. Later it refuses a
/// symbolic link in its place, a directory of another user, and one that others may enter; every
/// call then fails until you remove it. The parent directory must exist.
///
/// Single files may go too. If a session's file is gone, the session has ended. The backend
/// rebuilds the index of each subject's sessions from the session files: with their next save, with
/// each clean-up, and before [`end_all_of`](super::ServerStore::end_all_of) if the whole index is
/// gone. Until then, `end_all_of` misses the sessions whose index entry was swept away, so keep
/// sessions where nobody sweeps: `/var/lib`, not `/tmp`.
///
/// # How expired sessions go
///
/// The backend never returns an expired session. Every ten minutes, a thread looks at each file and
/// removes expired sessions and the leftovers of killed processes. The thread ends when you drop
/// the backend or [stop](Self::stop) it. Only the disk bounds the number of sessions: when it is
/// full, saving fails with [`BackendErrorKind::Full`], and existing sessions stay.
///
/// # What it costs
///
/// A session takes one file. A session with a subject takes an empty file more, and each subject
/// takes a directory. A put waits for the disk twice, or up to five times if it gives a session a
/// subject. A removal waits once. A load and a touch never wait for the disk.
///
/// The work runs on the threads of the crate `blocking`, beside any runtime: at most 500 threads,
/// or the number in the variable `BLOCKING_MAX_THREADS`, each with up to five open files. If you
/// drop a call's future, the call takes effect wholly, now or later, or not at all.
///
/// On the virtual disk of a small machine, a load or a touch took 20 microseconds. A put took 6 to
/// 10 milliseconds alone, and one millisecond if sixteen came at once. A clean-up of 30,000
/// sessions took half a second.
///
/// Finding a subject's sessions takes time in proportion to their number. Listing all sessions goes
/// by pages of up to 1024.
pub struct File {
    shared: Arc<Shared>,
    cleaner: Cleaner,
}

struct Shared {
    place: Place,
    clock: Box<Clock>,
}

impl File {
    /// Opens this directory with the default settings. It creates the directory if it does not
    /// exist; the parent directory must exist.
    ///
    /// # Errors
    ///
    /// As [`FileBuilder::build`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        Self::builder(path).build()
    }

    /// Returns a builder with the default settings: a clean-up every ten minutes.
    pub fn builder(path: impl Into<PathBuf>) -> FileBuilder {
        FileBuilder {
            path: path.into(),
            clean_up_every: EVERY,
            clock: Box::new(SystemTime::now),
        }
    }

    /// Removes expired sessions and leftover files now, and returns the number of sessions removed.
    /// It blocks the thread.
    ///
    /// # Errors
    ///
    /// Returns the first failure, after it has tried everything else.
    pub fn clean_up(&self) -> Result<usize, BackendError> {
        self.shared
            .clean_up(|| false)
            .map_err(|error| failed(&error))
    }

    /// Stops the clean-up thread and waits until it has ended. Everything else goes on.
    pub fn stop(&self) {
        self.cleaner.stop();
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BackendError> {
        let shared = Arc::clone(&self.shared);
        let done = blocking::unblock(move || work(&shared)).await;
        done.map_err(|error| failed(&error))
    }
}

impl Shared {
    fn now(&self) -> Millis {
        (self.clock)().into()
    }

    fn clean_up(&self, is_over: impl Fn() -> bool) -> io::Result<usize> {
        let (mut removed, mut problem) = (0, None);
        for first in 0..=u8::MAX {
            if is_over() {
                break;
            }
            let now = self.now();
            match self
                .place
                .within(|directory| directory.clean_up(first, now))
            {
                Ok(more) => removed += more,
                Err(error) => problem = problem.or(Some(error)),
            }
            let tidied = self
                .place
                .within(|directory| directory.clean_up_tags(first));
            if let Err(error) = tidied {
                problem = problem.or(Some(error));
            }
        }
        problem.map_or(Ok(removed), Err)
    }

    fn clean_up_unseen(&self, stop: &Stop) {
        // Nobody waits for the result, and the next save shows any problem with the disk.
        let _ = self.clean_up(|| stop.is_due());
    }
}

/// Maps a system error to a backend error, without naming a file.
fn failed(error: &io::Error) -> BackendError {
    let kind = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BackendErrorKind::Full,
        ErrorKind::OutOfMemory | ErrorKind::ResourceBusy => BackendErrorKind::Unavailable,
        _ if error.raw_os_error().is_some_and(is_out_of_files) => BackendErrorKind::Unavailable,
        _ => BackendErrorKind::Other,
    };
    BackendError::new(
        kind,
        format_args!(
            "the directory of sessions: {error}; see that there is room, and that this process may \
             read and write there"
        ),
    )
}

fn is_out_of_files(errno: i32) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].contains(&Errno::from_raw_os_error(errno))
}

impl Backend for File {
    const PROMISE: Promise = Promise::Full;

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        let key = *key;
        self.run(move |shared| {
            let found = shared.place.within(|directory| directory.load(&key))?;
            // Read the clock after the file, because reading may have waited for a lock.
            let now = shared.now();
            let alive = found.filter(|(_, expires)| *expires > now);
            Ok(alive.map(|(value, expires)| Stored {
                value,
                ttl: expires.since(now),
            }))
        })
        .await
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        let (key, entry) = (*key, entry.clone());
        self.run(move |shared| {
            let now = shared.now();
            shared
                .place
                .within_for_good(|directory| directory.put(&key, &entry, now))
        })
        .await
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        let key = *key;
        self.run(move |shared| {
            let now = shared.now();
            shared
                .place
                .within(|directory| directory.touch(&key, ttl, now))
        })
        .await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        let key = *key;
        self.run(move |shared| {
            let removed = shared.place.within(|directory| directory.remove(&key))?;
            let now = shared.now();
            let alive = removed.filter(|(_, expires)| *expires > now);
            Ok(alive.map(|(value, _)| value))
        })
        .await
    }

    async fn scan(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        let first = StoreKey::from_bytes([0; 32]);
        let from = after.map_or(Ok(first), |cursor| cursor.key())?;
        let (keys, next) = self
            .run(move |shared| shared.place.within(|it| it.keys_from(from, PAGE)))
            .await?;
        Ok((keys, next.map(|next| Cursor(next.to_string()))))
    }

    async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        let tag = *tag;
        self.run(move |shared| shared.place.within(|directory| directory.tagged(&tag)))
            .await
    }

    fn report_to(&self, report: Report) {
        self.shared.place.report_to(report);
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("directory", &self.shared.place)
            .field("cleaner", &self.cleaner)
            .finish_non_exhaustive()
    }
}

/// Builds a [`File`], which has an example.
#[must_use]
pub struct FileBuilder {
    path: PathBuf,
    clean_up_every: Duration,
    clock: Box<Clock>,
}

impl FileBuilder {
    /// Sets how long the clean-up thread waits between rounds. Each round looks at every file.
    /// Default ten minutes.
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
    /// If the directory cannot be created or opened, belongs to another user, or lets other users
    /// in; if `clean_up_every` is below a millisecond; or if the system cannot start a thread. The
    /// error names the setting.
    ///
    /// ```
    /// # use sealed_session::server::File;
    /// let error = File::builder("/no/such/parent/sessions").build().unwrap_err();
    /// assert_eq!(error.setting(), "path");
    /// ```
    pub fn build(self) -> Result<File, ConfigError> {
        let every = self.clean_up_every;
        let place = Place::open(&self.path).map_err(|problem| {
            let remedy = match problem.kind() {
                // A problem that we have found ourselves, which says what to do.
                ErrorKind::Other => "",
                _ => "; name a directory that this process may use, and whose parent exists",
            };
            let path = self.path.display();
            ConfigError::new("path", format!("{path}: {problem}{remedy}"))
        })?;
        let shared = Arc::new(Shared {
            place,
            clock: self.clock,
        });
        let cleaner = Cleaner::start(every, &shared, Shared::clean_up_unseen)?;
        Ok(File { shared, cleaner })
    }
}

impl fmt::Debug for FileBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBuilder")
            .field("path", &self.path)
            .field("clean_up_every", &self.clean_up_every)
            .finish_non_exhaustive()
    }
}
