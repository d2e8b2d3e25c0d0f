//! A future of the store that a request's host has.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future of the store of a request's host, or what there is without one.
pub struct AtHost<F: Future>(pub(super) Result<F, Option<F::Output>>);

impl<F: Future + Unpin> Future for AtHost<F>
where
    F::Output: Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match &mut self.0 {
            Ok(future) => Pin::new(future).poll(context),
            // Polled again after it was ready, which no executor does.
            Err(outcome) => outcome.take().map_or(Poll::Pending, Poll::Ready),
        }
    }
}

impl<F: Future> fmt::Debug for AtHost<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtHost").finish_non_exhaustive()
    }
}
