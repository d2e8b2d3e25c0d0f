//! A tower service made of one function.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

/// A service that answers with what `handler` makes of the request.
pub(crate) fn service<F, A, B, E>(handler: F) -> Handler<F>
where
    F: Fn(Request<()>) -> A,
    A: Future<Output = Result<Response<B>, E>>,
{
    Handler(handler)
}

#[derive(Clone)]
pub(crate) struct Handler<F>(F);

impl<F, A, B, E> Service<Request<()>> for Handler<F>
where
    F: Fn(Request<()>) -> A,
    A: Future<Output = Result<Response<B>, E>>,
{
    type Response = Response<B>;
    type Error = E;
    type Future = A;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> A {
        (self.0)(request)
    }
}
