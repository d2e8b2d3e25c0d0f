//! The thread that follows a key store.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::process::Inner;
use super::signals::{APART, Call, Signals, locked};
use crate::error::ConfigError;

/// Ends its thread when it is dropped.
pub(super) struct Worker {
    signals: Arc<Signals>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// No thread: only the application's own code polls the store.
    pub(super) fn none(inner: &Arc<Inner>) -> Self {
        Self {
            signals: Arc::clone(&inner.signals),
            thread: Mutex::default(),
        }
    }

    pub(super) fn start(inner: &Arc<Inner>) -> Result<Self, ConfigError> {
        let (signals, inner) = (Arc::clone(&inner.signals), Arc::downgrade(inner));
        let seen = Arc::clone(&signals);
        let work = move || {
            let mut asked_at: Option<Instant> = None;
            loop {
                let Some(pause) = inner.upgrade().map(|inner| inner.pause()) else {
                    return;
                };
                let quiet = asked_at.map(|at| APART.saturating_sub(at.elapsed()));
                match seen.wait(pause, quiet.unwrap_or_default()) {
                    Call::Over => return,
                    Call::Asked => asked_at = Some(Instant::now()),
                    Call::Time => {}
                }
                let Some(inner) = inner.upgrade() else { return };
                // An error was reported as an event.
                let _ = inner.poll();
            }
        };
        let thread = thread::Builder::new()
            .name("sealed-session-keys".to_owned())
            .spawn(work)
            .map_err(|error| {
                ConfigError::new(
                    "poll",
                    format!("no thread: {error}; let this process have more threads"),
                )
            })?;
        Ok(Self {
            signals,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends the thread, and waits until it has.
    pub(super) fn stop(&self) {
        self.signals.end();
        let thread = locked(&self.thread).take();
        // The application's hook runs on that thread too. If the hook owns what is dropped here,
        // the thread would wait for itself.
        if let Some(thread) = thread.filter(|it| it.thread().id() != thread::current().id()) {
            // An error means that the hook has panicked: then the thread has ended already.
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}
