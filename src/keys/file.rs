//! A key store in a file.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use zeroize::Zeroizing;

use super::store::{KeyStore, KeyStoreError, KeyStoreErrorKind, MAX_STORED};

/// How long to wait while another process writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often to see whether the lock is free.
const AGAIN: Duration = Duration::from_millis(5);

/// How long the update of a mounted secret takes to arrive.
const MOUNT_DELAY: Duration = Duration::from_secs(180);

/// Keeps a ring of keys in a file, on Unix.
///
/// - [`owned`](Self::owned): the processes of one user read and write the file. It has mode 600, no
///   symbolic or hard links, and is in a directory in which nobody else may write. A process that
///   writes locks `<name>.lock` beside it, and replaces the file in one step. So if a process or
///   machine dies in between, the old ring or the new one is there.
/// - [`mounted`](Self::mounted): somebody else provides the file, for example Kubernetes, and
///   processes only read it. They open it anew by its path each time, so they see when it is
///   replaced. The path may go through links, and the group may read the file. Nothing rotates by
///   itself.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    is_mounted: bool,
    timeout: Duration,
}

impl KeyFile {
    /// Uses a file that belongs to this process's user. The file is made if it is missing. Its
    /// directory must exist.
    pub fn owned(path: impl Into<PathBuf>) -> Self {
        Self::of(path.into(), false)
    }

    /// Uses a file that somebody else provides, such as a secret that Kubernetes mounts.
    ///
    /// ```no_run
    /// use sealed_session::{ManagedKeys, keys::KeyFile};
    ///
    /// let file = KeyFile::mounted("/run/secrets/session/keys");
    /// let keys = ManagedKeys::builder(file).on_event(|event| eprintln!("{event}")).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mounted(path: impl Into<PathBuf>) -> Self {
        Self::of(path.into(), true)
    }

    fn of(path: PathBuf, is_mounted: bool) -> Self {
        // The process may change its working directory later.
        let path = std::path::absolute(&path).unwrap_or(path);
        Self {
            path,
            is_mounted,
            timeout: PATIENCE,
        }
    }

    /// Sets how long to wait while another process writes. Default five seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn failed(&self, kind: KeyStoreErrorKind, problem: impl std::fmt::Display) -> KeyStoreError {
        KeyStoreError::new(kind, format_args!("{}: {problem}", self.path.display()))
    }

    fn io(&self, what: &'static str) -> impl Fn(io::Error) -> KeyStoreError + '_ {
        move |error| {
            let kind = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    KeyStoreErrorKind::Full
                }
                _ => KeyStoreErrorKind::Unavailable,
            };
            let remedy = match kind {
                KeyStoreErrorKind::Full => "make room there",
                _ => "see that this process may read and write there",
            };
            self.failed(kind, format_args!("{what}: {error}; {remedy}"))
        }
    }

    fn is_unsafe(&self, problem: impl std::fmt::Display) -> KeyStoreError {
        self.failed(KeyStoreErrorKind::Unsafe, problem)
    }

    /// Opens the directory of an owned file. Also returns the file's name in it.
    fn folder(&self) -> Result<(File, &OsStr), KeyStoreError> {
        let name = self.path.file_name();
        let name = name
            .ok_or_else(|| self.failed(KeyStoreErrorKind::Other, "it is not the path of a file"))?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| rustix::fs::openat(CWD, folder, flags, Mode::empty()));
        let opened = opened.map_err(|error| {
            let problem =
                format!("its directory cannot be opened: {error}; make it, or name another");
            self.failed(KeyStoreErrorKind::Unavailable, problem)
        })?;
        let opened = File::from(opened);
        let metadata = opened
            .metadata()
            .map_err(self.io("its directory cannot be looked at"))?;
        if !is_ours_or_roots(&metadata) {
            return Err(self.is_unsafe("its directory is another user's; `chown` it"));
        }
        let mode = mode(&metadata);
        if mode & 0o022 != 0 {
            let problem = format!(
                "others may write in its directory, whose mode is {mode:03o}; `chmod go-w` it"
            );
            return Err(self.is_unsafe(problem));
        }
        Ok((opened, name))
    }

    /// Reads an owned file.
    fn load_owned(&self, folder: &File, name: &OsStr) -> Result<Option<Bytes>, KeyStoreError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match open_in(folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::MLINK) => {
                let problem = "it is a symbolic link; name the file itself, or open it as mounted";
                return Err(self.is_unsafe(problem));
            }
            Err(error) => return Err(self.io("it cannot be opened")(error.into())),
        };
        let metadata = self.metadata(&file)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            let problem = "it belongs to another user than this process runs as; `chown` it";
            return Err(self.is_unsafe(problem));
        }
        let mode = mode(&metadata);
        if mode & 0o077 != 0 {
            let problem = format!("others may read it, its mode is {mode:03o}; `chmod 600` it");
            return Err(self.is_unsafe(problem));
        }
        if metadata.nlink() > 1 {
            let problem = "it has another name too, a hard link; remove that one";
            return Err(self.is_unsafe(problem));
        }
        self.read(file).map(Some)
    }

    fn load_mounted(&self) -> Result<Option<Bytes>, KeyStoreError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| rustix::fs::openat(CWD, &self.path, flags, Mode::empty()));
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.io("it cannot be opened")(error.into())),
        };
        let metadata = self.metadata(&file)?;
        if !is_ours_or_roots(&metadata) {
            return Err(self.is_unsafe("it belongs to another user, neither root nor this one"));
        }
        let mode = mode(&metadata);
        if mode & 0o027 != 0 {
            let problem = format!(
                "others than its group may read it, or may write it: its mode is {mode:03o}; mount \
                 it with mode 440"
            );
            return Err(self.is_unsafe(problem));
        }
        self.read(file).map(Some)
    }

    fn metadata(&self, file: &File) -> Result<Metadata, KeyStoreError> {
        let metadata = file.metadata().map_err(self.io("it cannot be looked at"))?;
        if !metadata.is_file() {
            return Err(self.is_unsafe("it is not a file; name another path"));
        }
        Ok(metadata)
    }

    fn read(&self, file: File) -> Result<Bytes, KeyStoreError> {
        // Full capacity from the start: a growing buffer would leave copies of keys behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_STORED + 2));
        let limit = u64::try_from(MAX_STORED).unwrap_or(u64::MAX);
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(self.io("it cannot be read"))?;
        Ok(bytes)
    }

    /// Waits until nobody else writes.
    fn lock(&self, folder: &File, name: &OsStr) -> Result<File, KeyStoreError> {
        let lock = beside(name, ".lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = open_in(folder, &lock, flags, FILE_MODE)
            .map_err(io::Error::from)
            .map_err(self.io("the lock file beside it cannot be opened"))?;
        let began = Instant::now();
        loop {
            let locked = retry_on_intr(|| {
                rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            });
            match locked {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK) if began.elapsed() < self.timeout => thread::sleep(AGAIN),
                Err(Errno::WOULDBLOCK) => {
                    let problem = format!(
                        "another process has locked it for {:?}; see which, and whether it hangs",
                        self.timeout
                    );
                    return Err(self.failed(KeyStoreErrorKind::Unavailable, problem));
                }
                Err(error) => return Err(self.io("it cannot be locked")(error.into())),
            }
        }
    }

    fn put(&self, folder: &File, name: &OsStr, is_new: bool, bytes: &[u8]) -> io::Result<bool> {
        let unfinished = beside(name, ".new");
        // A process that died has left this file. The lock is ours, so nobody is writing it.
        remove(folder, &unfinished)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = open_in(folder, &unfinished, flags, FILE_MODE)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let placed = written.and_then(|()| {
            if is_new {
                // Unlike a rename, this never replaces a file that somebody else has put there.
                match rustix::fs::linkat(folder, &unfinished, folder, name, AtFlags::empty()) {
                    Ok(()) => Ok(true),
                    Err(Errno::EXIST) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            } else {
                rustix::fs::renameat(folder, &unfinished, folder, name)?;
                Ok(true)
            }
        });
        if is_new || placed.is_err() {
            remove(folder, &unfinished)?;
        }
        folder.sync_all()?;
        placed
    }
}

type Bytes = Zeroizing<Vec<u8>>;

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

fn open_in(folder: &File, name: &OsStr, flags: OFlags, mode: Mode) -> Result<File, Errno> {
    let opened: OwnedFd = retry_on_intr(|| rustix::fs::openat(folder, name, flags, mode))?;
    Ok(opened.into())
}

/// The name of a file beside the one with this name.
fn beside(name: &OsStr, end: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(end);
    name
}

fn remove(folder: &File, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_ours_or_roots(metadata: &Metadata) -> bool {
    [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid())
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o777
}

impl KeyStore for KeyFile {
    fn load(&self) -> Result<Option<Bytes>, KeyStoreError> {
        if self.is_mounted {
            return self.load_mounted();
        }
        let (folder, name) = self.folder()?;
        match self.load_owned(&folder, name) {
            // While a process creates the file, it has two names for a moment, and looks unsafe.
            Err(error) if error.kind() == KeyStoreErrorKind::Unsafe => {
                // If it cannot be locked, it is still unsafe, and that is what to mend.
                let _lock = self.lock(&folder, name).map_err(|_| error)?;
                // The process may have died between the two steps.
                remove(&folder, &beside(name, ".new"))
                    .map_err(self.io("what was left beside it cannot be removed"))?;
                self.load_owned(&folder, name)
            }
            loaded => loaded,
        }
    }

    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError> {
        if self.is_mounted {
            let problem = "it is mounted, and may only be read here";
            return Err(self.failed(KeyStoreErrorKind::Refused, problem));
        }
        let (folder, name) = self.folder()?;
        let _lock = self.lock(&folder, name)?;
        remove(&folder, &beside(name, ".new"))
            .map_err(self.io("what was left beside it cannot be removed"))?;
        let found = self.load_owned(&folder, name)?;
        if found.as_ref().map(|found| found.as_slice()) != there {
            return Ok(false);
        }
        self.put(&folder, name, there.is_none(), with)
            .map_err(self.io("it cannot be written"))
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn is_writable(&self) -> bool {
        !self.is_mounted
    }

    fn is_private(&self) -> bool {
        true
    }

    fn propagation(&self) -> Duration {
        if self.is_mounted {
            MOUNT_DELAY
        } else {
            Duration::ZERO
        }
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}
