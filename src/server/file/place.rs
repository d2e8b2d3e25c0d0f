//! The directory's place on the disk. A cleaner of temporary files can sweep the directory away
//! while it is in use; then it is created again.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::directory::Directory;
use crate::event::{Event, Events};

/// How often to retry a call whose directory was swept away meanwhile.
const ATTEMPTS: usize = 16;

pub(super) type Report = Arc<dyn Fn(Event) + Send + Sync>;

pub(super) struct Place {
    current: RwLock<Arc<Directory>>,
    report: Mutex<Report>,
}

impl Place {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let directory = Directory::open(path)?;
        Ok(Self {
            current: RwLock::new(Arc::new(directory)),
            report: Mutex::new(Arc::new(|event| Events::default().report(event, None))),
        })
    }

    pub(super) fn report_to(&self, report: Report) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// Runs `work`, and runs it again if a file or directory is not found. If `work` fails with
    /// that, it must have changed nothing.
    pub(super) fn within<T>(&self, work: impl Fn(&Directory) -> io::Result<T>) -> io::Result<T> {
        for _ in 1..ATTEMPTS {
            match work(&*self.directory()?) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => return done,
            }
        }
        work(&*self.directory()?)
    }

    /// Like [`within`](Self::within), and also runs `work` again if the directory is no longer in
    /// its place afterwards, because others would not find the result.
    pub(super) fn within_for_good<T>(
        &self,
        work: impl Fn(&Directory) -> io::Result<T>,
    ) -> io::Result<T> {
        self.within(|directory| {
            let done = work(directory)?;
            if directory.is_there()? {
                Ok(done)
            } else {
                Err(ErrorKind::NotFound.into())
            }
        })
    }

    /// Returns the directory, created again if it is gone.
    pub(super) fn directory(&self) -> io::Result<Arc<Directory>> {
        let directory = self.last();
        if directory.is_there()? {
            return Ok(directory);
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if current.is_there()? {
            return Ok(Arc::clone(&current));
        }
        let anew = Arc::new(current.anew()?);
        *current = Arc::clone(&anew);
        drop(current);
        let report = Arc::clone(&self.report.lock().unwrap_or_else(PoisonError::into_inner));
        report(Event::DirectoryRemade);
        Ok(anew)
    }

    fn last(&self) -> Arc<Directory> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.last().fmt(f)
    }
}
