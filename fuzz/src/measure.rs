//! What a call costs besides its result: memory and stack.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Far less than a thread has by default (2 MiB), far more than a bounded reader needs.
const SMALL_STACK: usize = 256 * 1024;

/// A thread with a small stack that checks one input after the other. One for all inputs: the
/// sanitizers remember every thread that there ever was.
pub(crate) struct OnASmallStack {
    ends: Mutex<(Sender<Vec<u8>>, Receiver<()>)>,
}

impl OnASmallStack {
    pub(crate) fn new(check: fn(&[u8])) -> Self {
        let (inputs, inbox) = channel::<Vec<u8>>();
        let (outbox, results) = channel();
        thread::Builder::new()
            .stack_size(SMALL_STACK)
            .spawn(move || {
                for input in inbox {
                    check(&input);
                    if outbox.send(()).is_err() {
                        return;
                    }
                }
            })
            .expect("the system has a thread left");
        let ends = Mutex::new((inputs, results));
        Self { ends }
    }

    /// Checks `data`; a panic on the thread is one here.
    pub(crate) fn run(&self, data: &[u8]) {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let is_sent = ends.0.send(data.to_vec()).is_ok();
        let is_done = is_sent && ends.1.recv().is_ok();
        assert!(is_done, "the check on the small stack has panicked");
    }
}

/// What `call` returns, and how many bytes it has allocated in all.
pub(crate) fn allocated<R>(call: impl FnOnce() -> R) -> (R, u64) {
    let mut result = None;
    let counts = allocation_counter::measure(|| result = Some(call()));
    (
        result.expect("measure runs what it is given"),
        counts.bytes_total,
    )
}
