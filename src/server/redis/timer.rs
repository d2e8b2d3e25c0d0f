//! A timer that is due before the timeouts of calls.
//!
//! When tokio gets a timer that is due before all others, it wakes its driver by a system call. An
//! answered call takes its timeout with it, so without this module the next call's timeout would
//! often be the only timer, and cost such a system call.

use std::cell::Cell;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// The longest that a timer of this module runs.
const LONGEST: Duration = Duration::from_secs(1);

thread_local! {
    /// When this thread's last timer is due.
    static DUE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Starts a timer, if this thread has none, that is due before a timeout that begins now.
pub(super) fn precede(timeout: Duration) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let now = Instant::now();
    if DUE.get().is_some_and(|due| now < due) {
        return;
    }
    let rest = LONGEST.min(timeout / 2);
    DUE.set(Some(now + rest));
    runtime.spawn(async move { sleep(rest).await });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_starts_a_timer_only_when_its_last_one_is_due() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let call = || runtime.block_on(async { precede(Duration::MAX) });
        let timers = || runtime.metrics().num_alive_tasks();
        call();
        assert_eq!(timers(), 1);
        let due = DUE.get().unwrap();
        assert!(due <= Instant::now() + LONGEST);
        DUE.set(Some(due + 3600 * LONGEST));
        call();
        assert_eq!(timers(), 1);
        DUE.set(Some(due - LONGEST));
        call();
        assert_eq!(timers(), 2);
        // Outside a runtime, there is nothing to do.
        precede(Duration::ZERO);
    }
}
