//! The response future: waits for the service, then saves the session into its response.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Response, StatusCode};
use pin_project_lite::pin_project;

use super::pending::{Open, Settings};
use super::reason::reason;
use super::{Answer, Failure, Sessions};
use crate::event::Event;
use crate::flow::Outgoing;

/// The parts of a framework's response that saving needs. `E` is the service's own error.
pub trait Reply<H, E>: Sized {
    /// The inner service's response.
    type Inner;

    fn of(inner: Self::Inner) -> Self;

    /// Takes the failure that the response carries, if it still is a 500.
    fn take_failure(&mut self) -> Option<Failure>;

    fn replace(self, failure: &Failure, on_error: &H) -> Self;

    /// The failure that made the service's own error, if the error will become an answer.
    fn failure_in(_: &E) -> Option<Failure> {
        None
    }

    /// Makes the error become the answer of `on_error`.
    fn replace_error(error: E, _: &Failure, _: &H) -> E {
        error
    }

    /// Whether to replace a 500 that carries a failure.
    fn is_replaced() -> bool;

    fn apply(&mut self, outgoing: Outgoing);
}

impl<B, E, H: Answer<Failure, Self>> Reply<H, E> for Response<B> {
    type Inner = Self;

    fn of(inner: Self) -> Self {
        inner
    }

    fn take_failure(&mut self) -> Option<Failure> {
        let failure = self.extensions_mut().remove();
        failure.filter(|_| self.status() == StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn replace(self, failure: &Failure, on_error: &H) -> Self {
        on_error.answer(failure)
    }

    fn is_replaced() -> bool {
        H::REPLACES
    }

    fn apply(&mut self, mut outgoing: Outgoing) {
        outgoing.apply_once(self.headers_mut());
    }
}

pin_project! {
    /// The response future of a [`SessionService`](super::SessionService).
    ///
    /// `F` is the inner service's future, `S` the store, `R` the response, and `H` answers when
    /// something fails.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, S: Sessions, R, H> {
        // Dropped first, while the stage still has the session of tower-sessions, if there is one.
        open: Open<S, H>,
        #[pin]
        stage: Stage<F, S::Save, R>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F, W, R> {
        Calling { #[pin] call: F },
        Saving { save: W, response: Option<R> },
        Answered { response: Option<R> },
    }
}

impl<F, S: Sessions, R, H> ResponseFuture<F, S, R, H> {
    pub(crate) fn new(call: F, open: Open<S, H>) -> Self {
        let stage = Stage::Calling { call };
        Self { stage, open }
    }

    /// The layer's own answer.
    #[cfg(feature = "device-bound")]
    pub(crate) fn answered(response: R, open: Open<S, H>) -> Self {
        let response = Some(response);
        let stage = Stage::Answered { response };
        Self { stage, open }
    }
}

impl<F, S, R, H, E> Future for ResponseFuture<F, S, R, H>
where
    F: Future<Output = Result<R::Inner, E>>,
    S: Sessions,
    R: Reply<H, E>,
{
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (outcome, mut response) = loop {
            match this.stage.as_mut().project() {
                StageProjection::Calling { call } => {
                    let outcome = ready!(call.poll(context));
                    let Settings { store, on_error } = this.open.settings();
                    let mut response = match outcome {
                        Ok(inner) => R::of(inner),
                        Err(mut error) => {
                            if let Some(failure) = R::failure_in(&error) {
                                tell(&failure, store);
                                if R::is_replaced() {
                                    error = R::replace_error(error, &failure, on_error);
                                }
                            }
                            return Poll::Ready(Err(error));
                        }
                    };
                    if let Some(failure) = response.take_failure() {
                        tell(&failure, store);
                        if R::is_replaced() {
                            response = response.replace(&failure, on_error);
                        }
                    }
                    this.open.finish();
                    let Some(session) = this.open.session() else {
                        this.open.answer();
                        return Poll::Ready(Ok(response));
                    };
                    let mut save = this.open.settings().store.save(session);
                    // A save that does not wait skips its stage.
                    if let Poll::Ready(outcome) = Pin::new(&mut save).poll(context) {
                        break (outcome, response);
                    }
                    let response = Some(response);
                    this.stage.set(Stage::Saving { save, response });
                }
                StageProjection::Answered { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        None => Poll::Pending,
                    };
                }
                StageProjection::Saving { save, response } => {
                    let outcome = ready!(Pin::new(save).poll(context));
                    let Some(response) = response.take() else {
                        // Polled again after it was ready, which no executor does.
                        return Poll::Pending;
                    };
                    break (outcome, response);
                }
            }
        };
        this.open.answer();
        let Settings { store, on_error } = this.open.settings();
        match outcome {
            Ok(outgoing) => response.apply(outgoing),
            Err(error) => {
                store.report(Event::SaveFailed, Some(&error));
                let failure = Failure::Save(error);
                reason(&failure);
                response = response.replace(&failure, on_error);
                if let Some(session) = this.open.session() {
                    response.apply(store.handed_out(session));
                }
            }
        }
        Poll::Ready(Ok(response))
    }
}

/// Tells the developer why a 500 is on its way.
fn tell(failure: &Failure, store: &impl Sessions) {
    reason(failure);
    if let Failure::Call(error) = failure {
        store.report(Event::CallFailed, Some(error));
    }
}

impl<F, S: Sessions, R, H> fmt::Debug for ResponseFuture<F, S, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
