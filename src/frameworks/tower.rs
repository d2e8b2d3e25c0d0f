//! Sessions for tower: a layer that loads and saves them, and guards.
//!
//! ```
//! use http::{Request, Response};
//! use sealed_session::frameworks::tower::{Layer, PendingSession, SessionLayer};
//! use sealed_session::{AppKey, CookieStore};
//! # use tower_service::Service;
//! # use std::task::{Context, Poll};
//! # use std::pin::Pin;
//!
//! async fn handler(request: Request<()>) -> Result<Response<String>, Error> {
//!     let pending = request.extensions().get::<PendingSession>().ok_or("no layer")?;
//!     let session = pending.session().await?;
//!     session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
//!     Ok(Response::new("hello".to_owned()))
//! }
//! # type Error = Box<dyn std::error::Error>;
//! # #[derive(Clone)]
//! # struct Handler;
//! # impl Service<Request<()>> for Handler {
//! #     type Response = Response<String>;
//! #     type Error = Error;
//! #     type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;
//! #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
//! #         Poll::Ready(Ok(()))
//! #     }
//! #     fn call(&mut self, request: Request<()>) -> Self::Future {
//! #         Box::pin(handler(request))
//! #     }
//! # }
//!
//! let store = CookieStore::new(AppKey::generate()?); // in a service: KeyRing::from_env()?
//! let mut service = SessionLayer::new(store).layer(/* the service of `handler` */ Handler);
//! # let mut future = std::pin::pin!(service.call(Request::new(())));
//! # let mut context = Context::from_waker(std::task::Waker::noop());
//! # let Poll::Ready(response) = future.as_mut().poll(&mut context) else { panic!() };
//! # assert!(response?.headers().contains_key("set-cookie"));
//! # Ok::<(), Error>(())
//! ```
//!
//! # What happens to a request
//!
//! The layer only puts a [`PendingSession`] into the request's extensions. The token is opened when
//! something first asks for the session, once for all who ask. If nothing asks for the session, a
//! request costs at most five allocations, whatever it carries, and its response is not touched.
//! Once a handler, an extractor or a guard has the session, it may read it at any time, so the
//! response depends on the session from then on. The response's `Vary` says so. If the session came
//! with the request, `Cache-Control` says `private`, unless the handler sets its own headers for
//! caches ([`private_by_default`](crate::StoreBuilder::private_by_default)).
//!
//! When the inner service answers, the layer saves the session before the response's headers go
//! out, and closes it. From then on, a change is refused or reported (see [`Session`]).
//!
//! | the inner service | the session |
//! |---|---|
//! | answers with any status, 204, 304 and 5xx too | is saved; a logout holds even if the answer is an error |
//! | answers with a body that is still to be streamed | is saved before the first byte; a body that has the session may read it, but changes come too late |
//! | answers 101 and upgrades | is saved with the 101; a connection that has the session may read it, but changes come too late |
//! | answers, and first asks for the session after that | is not given out: the headers have not told caches of it, so asking is an error |
//! | fails, or panics and nothing inside the layer turns that into an answer | is not saved |
//! | is cancelled, because the client went away or a timeout outside the layer struck | is not saved |
//! | answers, and saving fails | is not saved; the answer of [`on_error`](SessionLayer::on_error) replaces the response |
//!
//! So a change that must hold, such as a logout, needs an answer. Put timeouts, and layers that
//! turn panics into answers, inside the session layer. Compression and the like can go on either
//! side.
//!
//! After a logout, browsers can still show pages that they have kept. To have them forgotten, send
//! private pages with `no-store`, and build the store with
//! [`clear_site_data`](crate::StoreBuilder::clear_site_data).
//!
//! # When something fails
//!
//! To see why the layer answered 500 in a release build, set up a `tracing` subscriber (feature
//! `tracing`) or log the failure in [`on_error`](SessionLayer::on_error). In debug builds you need
//! neither: the answer's body says why, and so does standard error, once for each kind of reason.
//! If the service's body is not axum's `Body`, salvo's `ResBody`, `String` or `Vec<u8>`, only
//! standard error does. No reason shows a key, a token or a value. docs/errors.md lists all errors.

mod bodies;
mod failure;
mod future;
mod guard;
mod host;
mod layer;
mod pending;
mod reason;

use std::future::{Ready, ready};

use http::{HeaderName, HeaderValue, Response, StatusCode, request};

pub use failure::Failure;
#[cfg(any(
    feature = "actix-web",
    feature = "poem",
    feature = "rocket",
    feature = "salvo"
))]
pub(crate) use future::Reply;
pub use future::ResponseFuture;
#[cfg(any(
    feature = "actix-web",
    feature = "poem",
    feature = "rocket",
    feature = "salvo"
))]
pub(crate) use guard::Condition;
#[cfg(all(feature = "device-bound", feature = "salvo"))]
pub(crate) use guard::again;
pub use guard::{
    AnySession, Guard, GuardFuture, GuardService, HasField, RecentLogin, RequireField,
    RequireLogin, RequireSession,
};
#[cfg(feature = "device-bound")]
pub use guard::{FromDevice, RequireDevice};
#[cfg(any(
    feature = "actix-web",
    feature = "poem",
    feature = "rocket",
    feature = "salvo"
))]
pub(crate) use pending::Fields;
#[cfg(feature = "rocket")]
pub(crate) use pending::Open;

#[cfg(all(
    feature = "device-bound",
    any(feature = "actix-web", feature = "poem", feature = "rocket")
))]
pub(crate) use pending::Settings;

pub use layer::{SessionLayer, SessionService};
#[cfg(feature = "tower-sessions")]
pub(crate) use pending::Ask;
pub use pending::{LoadFuture, PendingSession, SessionOf};
pub(crate) use reason::{HEADERS as REASON_HEADERS, reason};
/// The trait with the method `layer`, which puts a [`SessionLayer`] or a guard around a service.
/// Routers call it for you; without one, import it.
pub use tower_layer::Layer;

#[cfg(feature = "device-bound")]
use crate::device::{self, DeviceAnswer};
use crate::error::{LoadError, SaveError};
use crate::event::Event;
#[cfg(feature = "tower-sessions")]
use crate::flow::Opened;
use crate::flow::Outgoing;
use crate::hosts::{HasCookie, HostStores};
#[cfg(feature = "tower-sessions")]
use crate::record::SessionId;
#[cfg(feature = "server")]
use crate::server::{Backend, ServerStore};
use crate::session::Session;
#[cfg(all(feature = "server", feature = "settings"))]
use crate::settings::AnyStore;
use crate::store::CookieStore;

/// A store that works with a [`SessionLayer`]: every store of this crate.
pub trait Sessions: sealed::Store {}

impl Sessions for CookieStore {}

#[cfg(feature = "redis")]
impl Sessions for crate::RevocableCookieStore {}

#[cfg(feature = "server")]
impl<B: Backend> Sessions for ServerStore<B> {}

#[cfg(all(feature = "server", feature = "settings"))]
impl Sessions for AnyStore {}

impl<S: Sessions + HasCookie> Sessions for HostStores<S> {}

mod sealed {
    use std::error::Error;
    #[cfg(feature = "server")]
    use std::pin::Pin;

    use http::header::COOKIE;

    use super::host::AtHost;
    use super::*;
    use crate::error::{LoadErrorKind, SaveErrorKind};
    use crate::event::Events;
    #[cfg(all(feature = "server", feature = "settings"))]
    use crate::settings::each;

    /// Loads and saves through a store, whether it waits or not.
    pub trait Store: Clone + Send + Sync + 'static {
        type Load: Future<Output = Result<Session, LoadError>> + Send + Unpin;
        type Save: Future<Output = Result<Outgoing, SaveError>> + Send + Unpin;

        /// The store of a request's host, if each host has its own.
        fn at(&self, _host: &dyn Fn() -> Option<String>) -> Option<Self> {
            None
        }

        /// The request header that holds the token.
        fn request_header(&self) -> HeaderName;

        /// Loads the session from that header's fields, joined into one.
        fn load(&self, field: &[u8]) -> Self::Load;

        /// Opens the request's token, but does not ask a backend. Returns the id of the session
        /// that the token names, if that is known at once, and the load that goes on from there.
        #[cfg(feature = "tower-sessions")]
        fn open(&self, field: &[u8]) -> (Option<SessionId>, Self::Load) {
            (None, self.load(field))
        }

        fn save(&self, session: &Session) -> Self::Save;

        /// Returns the header changes for a response whose session was handed out but not saved.
        fn handed_out(&self, session: &Session) -> Outgoing;

        fn report(&self, event: Event, error: Option<&(dyn Error + 'static)>);

        /// Returns the answer in place of the handler's, if device binding has one.
        #[cfg(feature = "device-bound")]
        fn device_answer(&self, request: &device::Request<'_, '_>) -> Option<DeviceAnswer>;
    }

    impl Store for CookieStore {
        type Load = Ready<Result<Session, LoadError>>;
        type Save = Ready<Result<Outgoing, SaveError>>;

        fn request_header(&self) -> HeaderName {
            self.request_header()
        }

        fn load(&self, field: &[u8]) -> Self::Load {
            ready(Ok(self.load_from([field])))
        }

        #[cfg(feature = "tower-sessions")]
        fn open(&self, field: &[u8]) -> (Option<SessionId>, Self::Load) {
            let session = self.load_from([field]);
            (session.id(), ready(Ok(session)))
        }

        fn save(&self, session: &Session) -> Self::Save {
            ready(self.respond(session))
        }

        fn handed_out(&self, session: &Session) -> Outgoing {
            self.handed_out(session)
        }

        fn report(&self, event: Event, error: Option<&(dyn Error + 'static)>) {
            self.events().report(event, error);
        }

        #[cfg(feature = "device-bound")]
        fn device_answer(&self, request: &device::Request<'_, '_>) -> Option<DeviceAnswer> {
            self.answer_device(request)
        }
    }

    /// Loading waits only if the process has not heard from Redis in time. Saving waits only if a
    /// session ends or gets a new id.
    #[cfg(feature = "redis")]
    impl Store for crate::RevocableCookieStore {
        type Load = futures_util::future::Either<
            Ready<Result<Session, LoadError>>,
            Pin<Box<dyn Future<Output = Result<Session, LoadError>> + Send>>,
        >;
        type Save = Pin<Box<dyn Future<Output = Result<Outgoing, SaveError>> + Send>>;

        fn request_header(&self) -> HeaderName {
            self.request_header()
        }

        fn load(&self, field: &[u8]) -> Self::Load {
            self.loading(field)
        }

        #[cfg(feature = "tower-sessions")]
        fn open(&self, field: &[u8]) -> (Option<SessionId>, Self::Load) {
            let load = self.loading(field);
            let opened = match &load {
                futures_util::future::Either::Left(opened) => opened.clone().into_inner().ok(),
                futures_util::future::Either::Right(_) => None,
            };
            (opened.and_then(|session| session.id()), load)
        }

        fn save(&self, session: &Session) -> Self::Save {
            let (store, session) = (self.clone(), session.clone());
            Box::pin(async move { store.respond(&session).await })
        }

        fn handed_out(&self, session: &Session) -> Outgoing {
            self.handed_out(session)
        }

        fn report(&self, event: Event, error: Option<&(dyn Error + 'static)>) {
            self.events().report(event, error);
        }

        #[cfg(feature = "device-bound")]
        fn device_answer(&self, request: &device::Request<'_, '_>) -> Option<DeviceAnswer> {
            self.answer_device(request)
        }
    }

    impl<S: Store + HasCookie> Store for HostStores<S> {
        type Load = AtHost<S::Load>;
        type Save = AtHost<S::Save>;

        fn at(&self, host: &dyn Fn() -> Option<String>) -> Option<Self> {
            Some(self.here(host()))
        }

        fn request_header(&self) -> HeaderName {
            self.found().map_or(COOKIE, Store::request_header)
        }

        fn load(&self, field: &[u8]) -> Self::Load {
            let unknown = |error| Some(Err(LoadError(LoadErrorKind::Host(error))));
            AtHost(self.found().map(|store| store.load(field)).map_err(unknown))
        }

        fn save(&self, session: &Session) -> Self::Save {
            let unknown = |_| Some(Err(SaveError(SaveErrorKind::OtherStore)));
            AtHost(
                self.found()
                    .map(|store| store.save(session))
                    .map_err(unknown),
            )
        }

        fn handed_out(&self, session: &Session) -> Outgoing {
            let found = self.found();
            found.map_or_else(|_| Outgoing::nothing(), |store| store.handed_out(session))
        }

        fn report(&self, event: Event, error: Option<&(dyn Error + 'static)>) {
            match self.found() {
                Ok(store) => store.report(event, error),
                Err(_) => Events::default().report(event, error),
            }
        }

        #[cfg(feature = "device-bound")]
        fn device_answer(&self, request: &device::Request<'_, '_>) -> Option<DeviceAnswer> {
            self.found().ok()?.device_answer(request)
        }
    }

    #[cfg(feature = "server")]
    impl<B: Backend> Store for ServerStore<B> {
        type Load = Pin<Box<dyn Future<Output = Result<Session, LoadError>> + Send>>;
        type Save = Pin<Box<dyn Future<Output = Result<Outgoing, SaveError>> + Send>>;

        fn request_header(&self) -> HeaderName {
            self.request_header()
        }

        fn load(&self, field: &[u8]) -> Self::Load {
            let (store, opened) = (self.clone(), self.open(&mut std::iter::once(field)));
            Box::pin(async move { store.finish(opened).await })
        }

        #[cfg(feature = "tower-sessions")]
        fn open(&self, field: &[u8]) -> (Option<SessionId>, Self::Load) {
            let (store, opened) = (self.clone(), Self::open(self, &mut std::iter::once(field)));
            let id = match &opened {
                Opened::Ready(session) => session.id(),
                Opened::Fetch(asked) => Some(asked.fetch.id()),
            };
            (id, Box::pin(async move { store.finish(opened).await }))
        }

        fn save(&self, session: &Session) -> Self::Save {
            let (store, session) = (self.clone(), session.clone());
            Box::pin(async move { store.respond(&session).await })
        }

        fn handed_out(&self, session: &Session) -> Outgoing {
            self.handed_out(session)
        }

        fn report(&self, event: Event, error: Option<&(dyn Error + 'static)>) {
            self.events().report(event, error);
        }

        #[cfg(feature = "device-bound")]
        fn device_answer(&self, request: &device::Request<'_, '_>) -> Option<DeviceAnswer> {
            self.answer_device(request)
        }
    }

    #[cfg(all(feature = "server", feature = "settings"))]
    impl Store for AnyStore {
        type Load = Pin<Box<dyn Future<Output = Result<Session, LoadError>> + Send>>;
        type Save = Pin<Box<dyn Future<Output = Result<Outgoing, SaveError>> + Send>>;

        fn request_header(&self) -> HeaderName {
            self.request_header()
        }

        fn load(&self, field: &[u8]) -> Self::Load {
            each!(self, store => Box::pin(Store::load(store, field)), store => Store::load(store, field))
        }

        #[cfg(feature = "tower-sessions")]
        fn open(&self, field: &[u8]) -> (Option<SessionId>, Self::Load) {
            each!(
                self,
                store => {
                    let (id, load) = Store::open(store, field);
                    (id, Box::pin(load))
                },
                store => Store::open(store, field)
            )
        }

        fn save(&self, session: &Session) -> Self::Save {
            each!(self, store => Box::pin(Store::save(store, session)), store => Store::save(store, session))
        }

        fn handed_out(&self, session: &Session) -> Outgoing {
            each!(self, store => Store::handed_out(store, session))
        }

        fn report(&self, event: Event, error: Option<&(dyn Error + 'static)>) {
            each!(self, store => store.events().report(event, error));
        }

        #[cfg(feature = "device-bound")]
        fn device_answer(&self, request: &device::Request<'_, '_>) -> Option<DeviceAnswer> {
            each!(self, store => store.answer_device(request))
        }
    }
}

/// Answers in place of a handler: a function of the problem, or [`Bare`].
pub trait Answer<Q, R>: Send + Sync + 'static {
    /// Whether it replaces an existing response with the same status.
    #[doc(hidden)]
    const REPLACES: bool = true;

    /// Returns the answer.
    fn answer(&self, about: &Q) -> R;
}

impl<Q, R, F: Fn(&Q) -> R + Send + Sync + 'static> Answer<Q, R> for F {
    fn answer(&self, about: &Q) -> R {
        self(about)
    }
}

/// Decides which requests leave their session idle: a function of the request, or [`NoRequest`].
pub trait Leaves<Q>: Send + Sync + 'static {
    /// Returns whether this request does not count as use.
    fn leaves_idle(&self, request: &Q) -> bool;
}

impl<Q, F: Fn(&Q) -> bool + Send + Sync + 'static> Leaves<Q> for F {
    fn leaves_idle(&self, request: &Q) -> bool {
        self(request)
    }
}

/// Leaves no session idle: each request that asks for its session counts as use.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRequest;

impl<Q> Leaves<Q> for NoRequest {
    fn leaves_idle(&self, _: &Q) -> bool {
        false
    }
}

/// Answers without a body: 500 from a layer, 401 from a guard. In debug builds the 500 has the
/// reason as its body: see [what happens when something fails](self#when-something-fails).
#[derive(Clone, Copy, Debug, Default)]
pub struct Bare;

impl<B: Default + 'static> Answer<Failure, Response<B>> for Bare {
    const REPLACES: bool = false;

    fn answer(&self, failure: &Failure) -> Response<B> {
        explained(failure)
    }
}

impl<B: Default> Answer<request::Parts, Response<B>> for Bare {
    fn answer(&self, _: &request::Parts) -> Response<B> {
        bare(StatusCode::UNAUTHORIZED)
    }
}

fn bare<B: Default>(status: StatusCode) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = status;
    response
}

/// Returns a 500 whose body is the reason in debug builds, if its type is known.
fn explained<B: Default + 'static>(failure: &Failure) -> Response<B> {
    let mut response = bare(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(body) = reason(failure).and_then(bodies::known) {
        *response.body_mut() = body;
        for (name, value) in REASON_HEADERS {
            let name = HeaderName::from_static(name);
            let headers = response.headers_mut();
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// Returns a 500 that carries the failure for the layer.
pub(crate) fn failed<B: Default + 'static>(failure: Failure) -> Response<B> {
    let mut response = explained(&failure);
    response.extensions_mut().insert(failure);
    response
}

#[cfg(test)]
mod tests;
