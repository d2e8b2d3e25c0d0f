//! The layer: puts a pending session into each request, and lets the response's future save it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderName, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::future::ResponseFuture;
use super::pending::{Fields, Open, PendingSession};
use super::{Answer, Bare, Failure, Sessions};

/// Gives the requests of a service sessions, and saves them: see [the module](super).
///
/// `S` is the store, `N` the layer's name and `H` what answers when something fails. With
/// actix-web the same layer is a middleware for `wrap`.
pub struct SessionLayer<S, N = (), H = Bare> {
    settings: Arc<Settings<S, H>>,
    of: PhantomData<fn() -> N>,
}

pub(crate) struct Settings<S, H> {
    pub(super) store: S,
    pub(super) on_error: H,
}

impl<S: Sessions> SessionLayer<S> {
    /// A layer without a name, for the one session that most applications have.
    pub fn new(store: S) -> Self {
        Self::with(store, Bare)
    }
}

impl<S: Sessions, N, H> SessionLayer<S, N, H> {
    fn with(store: S, on_error: H) -> Self {
        Self {
            settings: Arc::new(Settings { store, on_error }),
            of: PhantomData,
        }
    }

    /// Names the layer, so that a request can have several sessions: ask for this one with
    /// [`SessionOf<M>`](super::SessionOf) or [`PendingSession<M>`](super::PendingSession). Any
    /// type of your own is a name. Each layer needs a store with a cookie of its own.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieConfig, CookieStore};
    /// # use sealed_session::tower::SessionLayer;
    /// struct Admin;
    ///
    /// let key = AppKey::generate()?;
    /// let visitors = CookieStore::new(key.clone());
    /// let admins = CookieStore::builder(key)
    ///     .cookie(CookieConfig::builder().name("__Host-admin").build()?)
    ///     .build()?;
    /// let layers = (SessionLayer::new(visitors), SessionLayer::new(admins).named::<Admin>());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn named<M>(self) -> SessionLayer<S, M, H> {
        SessionLayer {
            settings: self.settings,
            of: PhantomData,
        }
    }

    /// What answers when a session cannot be saved, and in place of the bare 500 that extractors,
    /// guards and errors of the session make. Default a 500 without a body. With actix-web it
    /// returns an `HttpResponse`.
    ///
    /// Of several layers each answers for its own save, and the innermost for everything else.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore};
    /// # use sealed_session::tower::{Failure, SessionLayer};
    /// # use http::{Response, StatusCode};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// SessionLayer::new(store).on_error(|_: &Failure| {
    ///     let mut response = Response::new("please try again".to_owned());
    ///     *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    ///     response
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_error<R, G: Fn(&Failure) -> R>(self, answer: G) -> SessionLayer<S, N, G> {
        SessionLayer::with(self.settings.store.clone(), answer)
    }
}

impl<S, N, H> SessionLayer<S, N, H> {
    pub(crate) fn around<I>(&self, inner: I) -> SessionService<I, S, N, H> {
        SessionService {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S: Sessions, N, H: Send + Sync + 'static> SessionLayer<S, N, H> {
    pub(crate) fn request_header(&self) -> HeaderName {
        self.settings.store.request_header()
    }

    /// Begins a request. The framework puts what is pending where handlers find it, and refuses
    /// what is open if there was one of its kind already.
    pub(crate) fn start(&self, fields: Fields) -> (Open<S, H>, PendingSession<N>) {
        Open::new(Arc::clone(&self.settings), fields)
    }
}

impl<I, S, N, H> Layer<I> for SessionLayer<S, N, H> {
    type Service = SessionService<I, S, N, H>;

    fn layer(&self, inner: I) -> Self::Service {
        self.around(inner)
    }
}

/// A service whose requests have sessions, made by [`SessionLayer`].
pub struct SessionService<I, S, N = (), H = Bare> {
    pub(crate) inner: I,
    pub(crate) layer: SessionLayer<S, N, H>,
}

impl<I, S, N, H, B, C> Service<Request<B>> for SessionService<I, S, N, H>
where
    I: Service<Request<B>, Response = Response<C>>,
    S: Sessions,
    N: 'static,
    H: Answer<Failure, Response<C>>,
{
    type Response = Response<C>;
    type Error = I::Error;
    type Future = ResponseFuture<I::Future, S, Response<C>, H>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let fields = Fields::of(request.headers(), &self.layer.request_header());
        let (open, pending) = self.layer.start(fields);
        if request.extensions_mut().insert(pending).is_some() {
            open.refuse();
        }
        ResponseFuture::new(self.inner.call(request), open)
    }
}

impl<S, N, H> Clone for SessionLayer<S, N, H> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            of: PhantomData,
        }
    }
}

impl<I: Clone, S, N, H> Clone for SessionService<I, S, N, H> {
    fn clone(&self) -> Self {
        self.layer.around(self.inner.clone())
    }
}

impl<S: fmt::Debug, N, H> fmt::Debug for SessionLayer<S, N, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("store", &self.settings.store)
            .finish_non_exhaustive()
    }
}

impl<I: fmt::Debug, S: fmt::Debug, N, H> fmt::Debug for SessionService<I, S, N, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
