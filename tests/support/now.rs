//! Futures that may not wait.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What `future` gives at once: with a cookie store nothing waits.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}
