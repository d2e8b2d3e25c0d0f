//! Wraps our layer around one that makes the session of tower-sessions, the twin, and copies the
//! twin's last changes into our session.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::twin::{Both, twin_of};
use crate::frameworks::tower::{
    Bare, Failure, NoRequest, PendingSession, SessionLayer, SessionService, Sessions, failed,
};

/// Takes the place of tower-sessions' `SessionManagerLayer`: see [the module](super).
///
/// `S` is the store. `N`, `H` and `L` are those of the [`SessionLayer`] that it is made from.
pub struct TowerSessionsLayer<S, N = (), H = Bare, L = NoRequest> {
    layer: SessionLayer<S, N, H, L>,
    has_ids: bool,
}

impl<S: Sessions> TowerSessionsLayer<S> {
    /// Returns a layer with `store`. To set more, such as the answer when a save fails, make it
    /// [from](Self::from) a [`SessionLayer`].
    pub fn new(store: S) -> Self {
        SessionLayer::new(store).into()
    }
}

impl<S, N, H, L> TowerSessionsLayer<S, N, H, L> {
    /// Opens the request's token only when something reads or writes the session. This saves time
    /// in requests that do neither. In exchange, `Session::id` is of no use: it returns a random
    /// id, another one in each request.
    ///
    /// Without this setting, the layer opens the token of each request for its id, because
    /// `Session::id` cannot wait. It still asks a backend only when something reads or writes.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, SessionLayer, TowerSessionsLayer};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// let layer = TowerSessionsLayer::new(store).without_ids();
    /// # let _: TowerSessionsLayer<CookieStore> = layer;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn without_ids(mut self) -> Self {
        self.has_ids = false;
        self
    }
}

impl<S, N, H, L> From<SessionLayer<S, N, H, L>> for TowerSessionsLayer<S, N, H, L> {
    fn from(layer: SessionLayer<S, N, H, L>) -> Self {
        let has_ids = true;
        Self { layer, has_ids }
    }
}

impl<I, S, N, H, L> Layer<I> for TowerSessionsLayer<S, N, H, L> {
    type Service = SessionService<TowerSessionsService<I, N>, S, N, H, L>;

    fn layer(&self, inner: I) -> Self::Service {
        self.layer.layer(TowerSessionsService {
            inner,
            has_ids: self.has_ids,
            of: PhantomData,
        })
    }
}

/// A service whose requests have a session of tower-sessions, made by a [`TowerSessionsLayer`].
pub struct TowerSessionsService<I, N = ()> {
    inner: I,
    has_ids: bool,
    of: PhantomData<fn() -> N>,
}

impl<I, N, B, C> Service<Request<B>> for TowerSessionsService<I, N>
where
    I: Service<Request<B>, Response = Response<C>>,
    N: 'static,
    C: Default + 'static,
{
    type Response = Response<C>;
    type Error = I::Error;
    type Future = TowerSessionsFuture<I::Future, C>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let pending = request.extensions().get::<PendingSession<N>>();
        let both = pending.map(|pending| twin_of(Arc::clone(&pending.request), self.has_ids));
        if let Some(both) = &both {
            request.extensions_mut().insert(both.theirs.clone());
        }
        TowerSessionsFuture {
            call: self.inner.call(request),
            both,
            finishing: None,
        }
    }
}

type Finish = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

pin_project! {
    /// The response future of a [`TowerSessionsService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct TowerSessionsFuture<F, C> {
        #[pin]
        call: F,
        both: Option<Arc<Both>>,
        finishing: Option<(Finish, Response<C>)>,
    }
}

impl<F, C, E> Future for TowerSessionsFuture<F, C>
where
    F: Future<Output = Result<Response<C>, E>>,
    C: Default + 'static,
{
    type Output = Result<Response<C>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.finishing.is_none() {
            let response = ready!(this.call.poll(context))?;
            match this.both.take() {
                Some(both) if both.theirs.is_modified() => {
                    let finish = Box::pin(async move { both.finish().await });
                    *this.finishing = Some((finish, response));
                }
                _ => return Poll::Ready(Ok(response)),
            }
        }
        let outcome = match this.finishing {
            Some((finish, _)) => ready!(finish.as_mut().poll(context)),
            None => return Poll::Pending,
        };
        Poll::Ready(Ok(match (outcome, this.finishing.take()) {
            (Ok(()), Some((_, response))) => response,
            (Ok(()), None) => return Poll::Pending,
            (Err(failure), _) => failed(failure),
        }))
    }
}

impl<S, N, H, L> Clone for TowerSessionsLayer<S, N, H, L> {
    fn clone(&self) -> Self {
        Self {
            layer: self.layer.clone(),
            has_ids: self.has_ids,
        }
    }
}

impl<I: Clone, N> Clone for TowerSessionsService<I, N> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            has_ids: self.has_ids,
            of: PhantomData,
        }
    }
}

impl<S: fmt::Debug, N, H, L> fmt::Debug for TowerSessionsLayer<S, N, H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessionsLayer")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

impl<I: fmt::Debug, N> fmt::Debug for TowerSessionsService<I, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessionsService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<F, C> fmt::Debug for TowerSessionsFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessionsFuture")
            .finish_non_exhaustive()
    }
}
