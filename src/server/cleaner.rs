//! A thread that cleans up at intervals, and stops at once when asked.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::ConfigError;

/// Stops its thread when it is dropped.
pub(super) struct Cleaner {
    stop: Arc<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Asks the thread to stop. Long work must check it now and then.
#[derive(Default)]
pub(super) struct Stop {
    is_due: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn is_due(&self) -> bool {
        *locked(&self.is_due)
    }

    /// Waits at most this long for a request to stop, and returns whether one came.
    fn within(&self, time: Duration) -> bool {
        let guard = locked(&self.is_due);
        let waited = self.changed.wait_timeout_while(guard, time, |due| !*due);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Cleaner {
    /// Calls `clean_up` at intervals of `every`, as long as another owner holds `what`. `every` is
    /// a builder's `clean_up_every`.
    pub(super) fn start<T: Send + Sync + 'static>(
        every: Duration,
        what: &Arc<T>,
        clean_up: impl Fn(&T, &Stop) + Send + 'static,
    ) -> Result<Self, ConfigError> {
        if every < Duration::from_millis(1) {
            let problem = "it is shorter than a millisecond, and a thread would do nothing else; a \
                           minute is usual";
            return Err(ConfigError::new("clean_up_every", problem));
        }
        let stop = Arc::<Stop>::default();
        let (seen, what) = (Arc::clone(&stop), Arc::downgrade(what));
        let work = move || {
            while !seen.within(every) {
                let Some(what) = what.upgrade() else { return };
                clean_up(&what, &seen);
            }
        };
        let thread = thread::Builder::new()
            .name("sealed-session".to_owned())
            .spawn(work)
            .map_err(|error| {
                ConfigError::new(
                    "clean_up_every",
                    format!("no thread: {error}; let this process have more threads"),
                )
            })?;
        Ok(Self {
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Stops the thread, and waits until it has ended.
    pub(super) fn stop(&self) {
        *locked(&self.stop.is_due) = true;
        self.stop.changed.notify_all();
        let thread = locked(&self.thread).take();
        // The thread also runs the caller's clock. If that clock owns what is dropped here, the
        // thread would wait for itself.
        if let Some(thread) = thread.filter(|it| it.thread().id() != thread::current().id()) {
            // An error means that the clock has panicked: then the thread has ended already.
            let _ = thread.join();
        }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Cleaner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_running = locked(&self.thread)
            .as_ref()
            .is_some_and(|thread| !thread.is_finished());
        f.debug_struct("Cleaner")
            .field("is_running", &is_running)
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const FOREVER: Duration = Duration::from_secs(u64::MAX);
    const AT_ONCE: Duration = Duration::from_millis(1);

    #[test]
    fn a_thread_that_would_wait_for_ever_ends_when_it_is_told_to() {
        let cleaner = Cleaner::start(FOREVER, &Arc::new(()), |(), _| {}).unwrap();
        assert!(format!("{cleaner:?}").contains("is_running: true"));
        cleaner.stop();
        assert!(format!("{cleaner:?}").contains("is_running: false"));
        cleaner.stop();
    }

    #[test]
    fn it_ends_with_what_it_cleans() {
        let what = Arc::new(());
        let (called, calls) = mpsc::channel();
        let clean_up = move |(): &(), _: &Stop| called.send(()).unwrap();
        let _cleaner = Cleaner::start(AT_ONCE, &what, clean_up).unwrap();
        calls.recv().unwrap();
        drop(what);
        // The thread owns the sender, so this loop ends only if the thread does.
        while calls.recv().is_ok() {}
    }

    #[test]
    fn long_work_hears_that_it_is_to_stop() {
        let (begun, has_begun) = mpsc::channel();
        let work = move |(): &(), stop: &Stop| {
            begun.send(()).unwrap();
            while !stop.is_due() {
                thread::yield_now();
            }
        };
        let what = Arc::new(());
        let cleaner = Cleaner::start(AT_ONCE, &what, work).unwrap();
        has_begun.recv().unwrap();
        drop(cleaner);
        assert!(has_begun.recv().is_err(), "the thread is gone");
    }

    #[test]
    fn the_thread_may_be_the_one_to_stop_itself() {
        let (stopped, is_stopped) = mpsc::channel();
        let what = Arc::new(Mutex::new(None::<Cleaner>));
        let stop_itself = move |slot: &Mutex<Option<Cleaner>>, _: &Stop| {
            if let Some(cleaner) = locked(slot).take() {
                drop(cleaner);
                stopped.send(()).unwrap();
            }
        };
        let cleaner = Cleaner::start(AT_ONCE, &what, stop_itself).unwrap();
        *locked(&what) = Some(cleaner);
        is_stopped.recv().unwrap();
        assert!(is_stopped.recv().is_err(), "the thread is gone");
    }
}
