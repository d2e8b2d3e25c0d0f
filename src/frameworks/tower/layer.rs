//! The layer: puts a pending session into each request, and its response future saves it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, Response, request};
use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "device-bound")]
use super::bodies::Bodies;
use super::future::ResponseFuture;
use super::pending::{Fields, Open, PendingSession, Settings};
use super::{Answer, Bare, Failure, Leaves, NoRequest, Sessions};
use crate::hosts::named_by;

/// Gives a service's requests sessions, and saves them: see [the module](super).
///
/// `S` is the store, `N` the layer's name, `H` answers when something fails, and `L` decides which
/// requests leave their session idle. The layer is also a middleware for actix-web's `wrap` and
/// poem's `with`, a fairing for Rocket's `attach`, and a handler for salvo's `hoop`.
pub struct SessionLayer<S, N = (), H = Bare, L = NoRequest> {
    settings: Arc<Settings<S, H>>,
    /// `None` if every request counts as use. Then a clone has one reference counter less to write
    /// to, and frameworks clone a layer for each request.
    leaves: Option<Arc<L>>,
    #[cfg(feature = "device-bound")]
    bodies: Bodies,
    of: PhantomData<fn() -> N>,
}

impl<S: Sessions> SessionLayer<S> {
    /// Returns a layer without a name, for the one session that most applications have.
    pub fn new(store: S) -> Self {
        Self {
            settings: Arc::new(Settings {
                store,
                on_error: Arc::new(Bare),
            }),
            leaves: None,
            #[cfg(feature = "device-bound")]
            bodies: Bodies::default(),
            of: PhantomData,
        }
    }
}

impl<S: Sessions, N, H, L> SessionLayer<S, N, H, L> {
    /// Names the layer, so that a request can have several sessions. Ask for this one with
    /// [`SessionOf<M>`](super::SessionOf) or [`PendingSession<M>`](super::PendingSession). Any type
    /// of your own can be a name. Each layer needs a store with its own cookie.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieConfig, CookieStore};
    /// # use sealed_session::frameworks::tower::SessionLayer;
    /// struct Admin;
    ///
    /// let key = AppKey::generate()?;
    /// let visitors = CookieStore::new(key.clone());
    /// let admins = CookieStore::builder(key)
    ///     .cookie(CookieConfig::builder().name("__Host-admin").build()?)
    ///     .build()?;
    /// // In a handler, `Session` is the visitor's and `SessionOf<Admin>` the admin's:
    /// let layers = (SessionLayer::new(visitors), SessionLayer::new(admins).named::<Admin>());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn named<M>(self) -> SessionLayer<S, M, H, L> {
        SessionLayer {
            settings: self.settings,
            leaves: self.leaves,
            #[cfg(feature = "device-bound")]
            bodies: self.bodies,
            of: PhantomData,
        }
    }

    /// Sets the answer when a session cannot be saved. It also replaces the 500 from extractors,
    /// guards and session errors. Default a 500 without a body, or in debug builds with the reason
    /// as its body. The function returns the framework's response: an `HttpResponse` of actix-web,
    /// a `Response` of poem, a `Response<'static>` of Rocket.
    ///
    /// With several layers, each answers for its own save, and the innermost for everything else.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Session};
    /// # use sealed_session::frameworks::tower::{Failure, SessionLayer};
    /// # use http::{Response, StatusCode};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// fn unavailable(failure: &Failure) -> Response<String> {
    ///     eprintln!("{failure:#}"); // in a service: your log
    ///     let mut response = Response::new("please try again".to_owned());
    ///     *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    ///     response
    /// }
    ///
    /// let layer = SessionLayer::new(store).on_error(unavailable);
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// let error = session.get::<String>("user_id").unwrap_err(); // as a handler may return it
    /// assert_eq!(unavailable(&Failure::Call(error)).status(), 503);
    /// # let _ = layer;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_error<R, G: Fn(&Failure) -> R>(self, answer: G) -> SessionLayer<S, N, G, L> {
        SessionLayer {
            settings: Arc::new(Settings {
                store: self.settings.store.clone(),
                on_error: Arc::new(answer),
            }),
            leaves: self.leaves,
            #[cfg(feature = "device-bound")]
            bodies: self.bodies,
            of: PhantomData,
        }
    }

    /// Sets which requests do not count as use of their session, such as those that a page makes by
    /// itself: see [`Session::leave_idle`](crate::Session::leave_idle). Default none. The function
    /// takes the request's head, `http`'s [`Parts`](request::Parts). With actix-web, it takes the
    /// `HttpRequest`; with poem, the `Request`.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore};
    /// # use sealed_session::frameworks::tower::SessionLayer;
    /// # use http::{Request, request};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// fn is_poll(request: &request::Parts) -> bool {
    ///     request.uri.path() == "/news/count"
    /// }
    ///
    /// let layer = SessionLayer::new(store).leave_idle_if(is_poll);
    /// let (request, ()) = Request::get("/news/count").body(())?.into_parts();
    /// assert!(is_poll(&request));
    /// # let _ = layer;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn leave_idle_if<Q, P: Fn(&Q) -> bool>(self, request: P) -> SessionLayer<S, N, H, P> {
        SessionLayer {
            settings: self.settings,
            leaves: Some(Arc::new(request)),
            #[cfg(feature = "device-bound")]
            bodies: self.bodies,
            of: PhantomData,
        }
    }

    /// Says how to make a body of the service's type from text. The layer itself answers some
    /// requests of browsers with device-bound sessions, and needs bodies for that.
    ///
    /// You need this only if the type is not axum's `Body`, salvo's `ResBody`, `String` or
    /// `Vec<u8>`; with actix-web, poem and Rocket never. If you need it and leave it out, the layer
    /// gives the answer of [`on_error`](Self::on_error) instead, and no session gets bound.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, DeviceBound};
    /// # use sealed_session::frameworks::tower::SessionLayer;
    /// # struct Full(Vec<u8>);
    /// # let builder = CookieStore::builder(AppKey::generate()?);
    /// let store = builder.device_bound(DeviceBound::default()).build()?;
    /// SessionLayer::new(store).answer_devices_with(|text| Full(text.into_bytes()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "device-bound")]
    pub fn answer_devices_with<B: 'static>(
        mut self,
        body: impl Fn(String) -> B + Send + Sync + 'static,
    ) -> Self {
        self.bodies = Bodies::of(body);
        self
    }
}

impl<S, N, H, L> SessionLayer<S, N, H, L> {
    pub(crate) fn around<I>(&self, inner: I) -> SessionService<I, S, N, H, L> {
        SessionService {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S: Sessions, N, H: Send + Sync + 'static, L> SessionLayer<S, N, H, L> {
    /// The settings for a request. `host` returns the host that the request names.
    pub(crate) fn at(&self, host: &dyn Fn() -> Option<String>) -> Arc<Settings<S, H>> {
        match self.settings.store.at(host) {
            None => Arc::clone(&self.settings),
            Some(store) => Arc::new(Settings {
                store,
                on_error: Arc::clone(&self.settings.on_error),
            }),
        }
    }

    /// What decides which requests leave their session idle, if anything does.
    #[cfg(any(
        feature = "actix-web",
        feature = "poem",
        feature = "rocket",
        feature = "salvo"
    ))]
    pub(crate) fn leaves(&self) -> Option<&L> {
        self.leaves.as_deref()
    }

    /// Answers in place of the service, if device binding has an answer.
    #[cfg(feature = "device-bound")]
    fn answer_device<B, C: 'static>(
        &self,
        settings: &Settings<S, H>,
        request: &Request<B>,
    ) -> Option<Response<C>>
    where
        H: Answer<Failure, Response<C>>,
    {
        let answer =
            settings.device_answer_to(request.method(), request.uri(), request.headers())?;
        let body = self.bodies.make(answer.body().to_owned());
        let Some(body) = body else {
            return Some(settings.on_error.answer(&Failure::DeviceBody));
        };
        Some(answer.into_response_with(body))
    }

    /// Begins a request. The framework puts the [`PendingSession`] where handlers find it. If there
    /// is one of the same type already, the framework calls `refuse` on the [`Open`].
    pub(crate) fn start(
        &self,
        settings: Arc<Settings<S, H>>,
        fields: Fields,
    ) -> (Open<S, H>, PendingSession<N>) {
        Open::new(settings, fields)
    }
}

impl<I, S, N, H, L> Layer<I> for SessionLayer<S, N, H, L> {
    type Service = SessionService<I, S, N, H, L>;

    fn layer(&self, inner: I) -> Self::Service {
        self.around(inner)
    }
}

/// A service whose requests have sessions, made by a [`SessionLayer`].
pub struct SessionService<I, S, N = (), H = Bare, L = NoRequest> {
    pub(crate) inner: I,
    pub(crate) layer: SessionLayer<S, N, H, L>,
}

impl<I, S, N, H, L, B, C> Service<Request<B>> for SessionService<I, S, N, H, L>
where
    I: Service<Request<B>, Response = Response<C>>,
    S: Sessions,
    N: 'static,
    H: Answer<Failure, Response<C>>,
    L: Leaves<request::Parts>,
    C: 'static,
{
    type Response = Response<C>;
    type Error = I::Error;
    type Future = ResponseFuture<I::Future, S, Response<C>, H>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let hosts = || {
            request
                .headers()
                .get_all(HOST)
                .iter()
                .map(HeaderValue::as_bytes)
        };
        let settings = self.layer.at(&|| {
            let authority = request.uri().authority();
            named_by(authority.map(Authority::as_str), hosts())
        });
        let fields = Fields::of(request.headers(), &settings.request_header());
        #[cfg(feature = "device-bound")]
        if let Some(response) = self.layer.answer_device(&settings, &request) {
            let (open, _) = self.layer.start(settings, fields);
            return ResponseFuture::answered(response, open);
        }
        let mut leaves_idle = false;
        if let Some(leaves) = &self.layer.leaves {
            let (parts, body) = request.into_parts();
            leaves_idle = leaves.leaves_idle(&parts);
            request = Request::from_parts(parts, body);
        }
        let (open, pending) = self.layer.start(settings, fields);
        if leaves_idle {
            pending.leave_idle();
        }
        if request.extensions_mut().insert(pending).is_some() {
            open.refuse();
        }
        ResponseFuture::new(self.inner.call(request), open)
    }
}

impl<S, N, H, L> Clone for SessionLayer<S, N, H, L> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            leaves: self.leaves.clone(),
            #[cfg(feature = "device-bound")]
            bodies: self.bodies.clone(),
            of: PhantomData,
        }
    }
}

impl<I: Clone, S, N, H, L> Clone for SessionService<I, S, N, H, L> {
    fn clone(&self) -> Self {
        self.layer.around(self.inner.clone())
    }
}

impl<S: fmt::Debug, N, H, L> fmt::Debug for SessionLayer<S, N, H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("store", &self.settings.store)
            .finish_non_exhaustive()
    }
}

impl<I: fmt::Debug, S: fmt::Debug, N, H, L> fmt::Debug for SessionService<I, S, N, H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
