//! A backend in a directory.

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

/// How often the directory is cleaned up unless the builder says otherwise.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// The most keys of a page of [`Backend::scan`].
const PAGE: usize = 1024;

/// Sessions in a directory of this machine, for one process or several: each a file, named by its
/// [`StoreKey`] as 64 hexadecimal digits. On Unix only.
///
/// It keeps [`Promise::Full`], between threads and between processes that have the same
/// directory: whoever writes has locked one of 256 parts of it (`flock`). The directory must be
/// on a local file system; on a network's, locks may hold on one machine only, or not at all.
///
/// # What survives
///
/// Whatever was acknowledged, if the process is killed, and also if the machine loses its power,
/// as far as the disk writes what it says: a value is written whole to a file of its own, and is
/// on the disk before it gets the session's name in one step; and so are the name, and the
/// removal of one, before the call returns. A value that was being written is there, or the one
/// before it; never a part of one. Only a touch does not wait for the disk: after a loss of
/// power, a session may be forgotten as if it had not been touched.
///
/// # Who may touch it
///
/// The directory must belong to the user that the process runs as, and nobody else may enter it;
/// it is made with mode 700, files with 600. Nothing that a client sends becomes part of a path.
/// Symbolic links in it are not followed, and what is not a session's file, whatever its name, is
/// neither read as one, written over nor removed, except by destroying the session whose name it
/// has. At most 16 MiB are read of any file, which is the most that a value may have.
///
/// # If it is swept away
///
/// A directory below `/tmp` is what cleaners of temporary files remove. If it is gone, or another
/// one is in its place, the next call makes it anew, with the same checks as at first, and tells
/// [`Event::DirectoryRemade`](crate::Event::DirectoryRemade): the sessions that were in it have ended, and all else goes on. The
/// path is taken as it was resolved at first: a symbolic link that has come into its place is
/// refused, and so is a directory that belongs to another user or lets others in; every call is an
/// error then, until you remove it. The directory above must be there.
///
/// Single files may go too. A session whose file is gone has ended. Which sessions a subject has
/// is put back from their own files: with their next save, with each clean-up, and before
/// [`end_all_of`](super::ServerStore::end_all_of) if all of it is gone. Until then that misses
/// those whose entry was swept away, so keep sessions where nobody sweeps: `/var/lib`, not `/tmp`.
///
/// # How expired sessions go
///
/// None is given out. Every ten minutes a thread looks at each file and removes those of expired
/// sessions, and what processes that were killed have left; it ends when the backend is dropped
/// or [stopped](Self::stop). Nothing bounds the number of sessions but the disk: when that is
/// full, saving fails with [`BackendErrorKind::Full`], and what is there stays.
///
/// # What it costs
///
/// A session is a file, and with a subject an empty one more, and a directory for each subject.
/// A put waits for the disk twice, one that gives a session a subject up to five times, a removal
/// once; a load and a touch never do. All of it runs on the threads of the crate `blocking`,
/// beside whatever runtime there is: at most 500, each with up to five open files, or as many
/// threads as the variable `BLOCKING_MAX_THREADS` says. A call that is dropped has either
/// happened wholly, or will, or will not.
///
/// On the virtual disk of a small machine, a load or a touch took 20 microseconds, a put 6 to 10
/// milliseconds alone and one if sixteen came at once, and a clean-up of 30,000 sessions half a
/// second.
///
/// Finding the sessions of a subject takes time that grows with their number; listing all goes by
/// pages of up to 1024.
///
/// ```
/// use sealed_session::AppKey;
/// use sealed_session::{FileStore, server::File};
///
/// # let path = std::env::temp_dir().join(format!("sessions-{}", std::process::id()));
/// let store = FileStore::new(AppKey::generate()?, File::open(&path)?);
/// # drop(store);
/// # std::fs::remove_dir(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct File {
    shared: Arc<Shared>,
    cleaner: Cleaner,
}

struct Shared {
    place: Place,
    clock: Box<Clock>,
}

impl File {
    /// A backend in this directory, with the default settings. The directory is made if it is not
    /// there, the one that it is in must be.
    ///
    /// # Errors
    ///
    /// As [`FileBuilder::build`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        Self::builder(path).build()
    }

    /// A builder that starts from the defaults: a clean-up every ten minutes.
    pub fn builder(path: impl Into<PathBuf>) -> FileBuilder {
        FileBuilder {
            path: path.into(),
            clean_up_every: EVERY,
            clock: Box::new(SystemTime::now),
        }
    }

    /// Removes what has expired or was left behind now, and tells how many sessions. It blocks
    /// the thread.
    ///
    /// # Errors
    ///
    /// The first thing that failed; the rest was gone on with.
    pub fn clean_up(&self) -> Result<usize, BackendError> {
        self.shared
            .clean_up(|| false)
            .map_err(|error| failed(&error))
    }

    /// Ends the thread that cleans up, and waits until it has ended. All else goes on.
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
        // Nobody waits for the result, and what is wrong with the disk shows in the next save.
        let _ = self.clean_up(|| stop.is_due());
    }
}

/// What a system's error means for a session. It names no file.
fn failed(error: &io::Error) -> BackendError {
    let kind = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BackendErrorKind::Full,
        ErrorKind::OutOfMemory | ErrorKind::ResourceBusy => BackendErrorKind::Unavailable,
        _ if error.raw_os_error().is_some_and(is_out_of_files) => BackendErrorKind::Unavailable,
        _ => BackendErrorKind::Other,
    };
    BackendError::new(kind, format_args!("the directory of sessions: {error}"))
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
            // Asked for after the file was read, which may have had to wait.
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
        self.run(move |shared| shared.place.within(|directory| directory.remove(&key)))
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

/// Builds a [`File`].
#[must_use]
pub struct FileBuilder {
    path: PathBuf,
    clean_up_every: Duration,
    clock: Box<Clock>,
}

impl FileBuilder {
    /// How long the thread that cleans up waits in between. It looks at every file each time.
    /// Default ten minutes.
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
    /// If the directory cannot be made or opened, is another user's, or others may enter it, if
    /// it would be cleaned up without a pause, or the system has no thread to give; the error
    /// names the setting.
    pub fn build(self) -> Result<File, ConfigError> {
        let every = self.clean_up_every;
        let place = Place::open(&self.path).map_err(|problem| {
            ConfigError::new("path", format!("{}: {problem}", self.path.display()))
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
