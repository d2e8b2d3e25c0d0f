//! An open directory. Every operation takes a name in it and follows no symbolic link.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

const DIR_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// An open directory. Each value opens it anew, so that locks hold between threads as well as
/// processes. A lock ends when the value is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Dir(fs::File);

/// The result of looking up a name.
pub(super) enum Found {
    Nothing,
    File(fs::File),
    /// A link, a directory or a pipe: never created by this backend.
    Strange,
}

/// Creates the directory if it does not exist, and returns its path without links.
pub(super) fn real_path(path: &Path) -> io::Result<PathBuf> {
    make(path)?;
    fs::canonicalize(path).map_err(because("it cannot be opened"))
}

fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    match builder.mode(DIR_MODE.as_raw_mode()).create(path) {
        Ok(()) => {
            // Sync the parent, because the content lasts no longer than the directory's name.
            // Ignore errors: the process may not be allowed to read the parent.
            let parent = path.parent().map(fs::File::open);
            let _ = parent.map(|parent| parent.and_then(|parent| parent.sync_all()));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(because("it cannot be made")(error)),
    }
}

fn because(what: &str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

impl Dir {
    /// Opens a directory that belongs to this process's user and that no other user may enter. It
    /// creates the directory if it does not exist, and refuses a link in its place.
    pub(super) fn root(path: &Path) -> io::Result<Self> {
        make(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))
            .map_err(|error| because("it cannot be opened")(error.into()))?;
        let dir = fs::File::from(dir);
        let metadata = dir.metadata().map_err(because("it cannot be looked at"))?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            let problem = "it belongs to another user than this process runs as; `chown` it";
            return Err(io::Error::other(problem));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "others may enter it, its mode is {mode:03o}; `chmod 700` it"
            )));
        }
        Ok(Self(dir))
    }

    /// Returns whether the path leads to this very directory, without a link.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        let itself = self.0.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (itself.dev(), itself.ino())),
            Err(error) if is_nowhere(&error) => Ok(false),
            Err(error) => Err(because("it cannot be looked at")(error)),
        }
    }

    /// Opens the directory of this name, if it exists.
    pub(super) fn dir(&self, name: &str) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match self.open(name, flags) {
            Ok(dir) => Ok(Some(Self(dir.into()))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns whether this name exists.
    pub(super) fn has(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the directory of this name, and creates it if it does not exist.
    pub(super) fn dir_or_new(&self, name: &str) -> io::Result<Self> {
        if let Some(dir) = self.dir(name)? {
            return Ok(dir);
        }
        match rustix::fs::mkdirat(&self.0, name, DIR_MODE) {
            // If another thread was faster, it may not have synced yet. Sync either way.
            Ok(()) | Err(Errno::EXIST) => self.sync()?,
            Err(error) => return Err(error.into()),
        }
        self.dir(name)?.ok_or_else(|| Errno::NOENT.into())
    }

    pub(super) fn file(&self, name: &str) -> io::Result<Found> {
        self.find(name, OFlags::RDONLY)
    }

    pub(super) fn file_to_write(&self, name: &str) -> io::Result<Found> {
        self.find(name, OFlags::RDWR)
    }

    fn find(&self, name: &str, access: OFlags) -> io::Result<Found> {
        // Without these flags, opening a pipe would wait for its other end, and a terminal could
        // become the process's controlling terminal.
        let calm = OFlags::NONBLOCK | OFlags::NOCTTY;
        match self.open(name, access | calm | OFlags::NOFOLLOW | OFlags::CLOEXEC) {
            Ok(file) => {
                let file = fs::File::from(file);
                let is_file = file.metadata()?.is_file();
                Ok(if is_file {
                    Found::File(file)
                } else {
                    Found::Strange
                })
            }
            Err(Errno::NOENT) => Ok(Found::Nothing),
            // A link, a socket, or a directory opened for writing.
            Err(Errno::LOOP | Errno::MLINK | Errno::ISDIR | Errno::NXIO) => Ok(Found::Strange),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a file. It fails if the name exists.
    pub(super) fn create(&self, name: &str) -> Result<fs::File, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.0, name, flags, FILE_MODE);
        Ok(retry_on_intr(open)?.into())
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        retry_on_intr(|| rustix::fs::openat(&self.0, name, flags, Mode::empty()))
    }

    /// Renames `from` to `to` in one step, and replaces `to` if it exists.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes the file of this name, if it exists. A directory stays.
    pub(super) fn unlink(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the directory of this name, if it exists and is empty.
    pub(super) fn remove_if_empty(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists the names in it that are UTF-8, as all names of this backend are.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<String>>> {
        let entries = rustix::fs::Dir::read_from(&self.0)?;
        Ok(entries.filter_map(|entry| match entry {
            Ok(entry) => Some(Ok(entry.file_name().to_str().ok()?.to_owned())),
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Takes a shared lock: waits while another has an exclusive one.
    pub(super) fn lock_shared(&self) -> io::Result<()> {
        flock(&self.0, FlockOperation::LockShared)
    }

    /// Takes an exclusive lock: waits while another has any lock.
    pub(super) fn lock(&self) -> io::Result<()> {
        flock(&self.0, FlockOperation::LockExclusive)
    }

    pub(super) fn unlock(&self) -> io::Result<()> {
        flock(&self.0, FlockOperation::Unlock)
    }

    /// Waits until the names in it are on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn is_nowhere(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Takes an exclusive lock, and returns false if another has a lock.
pub(super) fn try_lock(file: &fs::File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        locked => locked.map(|()| true),
    }
}

fn flock(file: &fs::File, operation: FlockOperation) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::flock(file, operation))?)
}
