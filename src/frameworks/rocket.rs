// The example needs Rocket's macros, whose names clash with nothing here: the tests of the
// frameworks run it.
#![cfg_attr(not(doctest), doc = include_str!("../../docs/rocket.md"))]

use std::convert::Infallible;
use std::future::ready;
use std::io::Cursor;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::rocket::fairing::{Fairing, Info, Kind};
use ::rocket::http::Status;
use ::rocket::request::{FromRequest, Outcome};
use ::rocket::response::{self, Responder};
use ::rocket::route::{self, Handler};
use ::rocket::{Data, Request, Response, Route, async_trait};
use http::header::{COOKIE, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue};

#[cfg(feature = "device-bound")]
pub use crate::frameworks::tower::RequireDevice;
pub use crate::frameworks::tower::{
    Failure, PendingSession, RequireField, RequireLogin, RequireSession, SessionLayer, SessionOf,
};

#[cfg(feature = "device-bound")]
use crate::device::{self, DeviceAnswer};
use crate::error::{LoadError, SessionError};
use crate::flow::Outgoing;
#[cfg(feature = "device-bound")]
use crate::frameworks::tower::Settings;
use crate::frameworks::tower::{
    Answer, Bare, Condition, Fields, Guard, GuardService, Leaves, LoadFuture, Open, REASON_HEADERS,
    Reply, ResponseFuture, Sessions, reason,
};
use crate::hosts::named_by;
use crate::session::{Session, TypedSession};

/// The session of the layer named `N`, as Rocket keeps it for a request.
struct Slot<N>(Mutex<Option<InSlot<N>>>);

struct InSlot<N> {
    pending: PendingSession<N>,
    /// Whether the response is still to come. Rocket's local client can send a request's clone,
    /// which shares what is kept for the original.
    is_open: bool,
}

/// The layer's side of a request, until the response is there.
struct Held<S: Sessions, N, H> {
    open: Mutex<Option<Open<S, H>>>,
    of: PhantomData<fn() -> N>,
}

/// The last failure of an extractor or a session in this request.
#[derive(Default)]
struct Noted(Mutex<Option<Failure>>);

/// The answer of device binding. It replaces the response later, because a fairing cannot answer a
/// request before it is routed.
#[cfg(feature = "device-bound")]
#[derive(Default)]
struct OfDevice(Mutex<Option<DeviceAnswer>>);

impl<N> Default for Slot<N> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<S: Sessions, N, H> Default for Held<S, N, H> {
    fn default() -> Self {
        Self {
            open: Mutex::new(None),
            of: PhantomData,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The fairing for `attach`.
#[async_trait]
impl<S, N, H, L> Fairing for SessionLayer<S, N, H, L>
where
    S: Sessions,
    N: 'static,
    H: Answer<Failure, Response<'static>>,
    L: Leaves<Parts>,
{
    fn info(&self) -> Info {
        Info {
            name: "sessions",
            kind: Kind::Request | Kind::Response,
        }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        let request = &*request;
        let mut slot = lock(&request.local_cache(Slot::<N>::default).0);
        if let Some(InSlot { pending, .. }) = slot.as_ref().filter(|before| before.is_open) {
            pending.refuse();
            return;
        }
        let settings = self.at(&|| {
            let hosts = || request.headers().get(HOST.as_str()).map(str::as_bytes);
            // Without a `Host` header, Rocket takes the host from the URI.
            let authority = request.host().filter(|_| hosts().next().is_none());
            named_by(authority.map(ToString::to_string).as_deref(), hosts())
        });
        #[cfg(feature = "device-bound")]
        if let Some(answer) = answer_device(&settings, request) {
            *lock(&request.local_cache(OfDevice::default).0) = Some(answer);
            return;
        }
        let fields = fields(request, &settings.request_header());
        let (open, pending) = self.start(settings, fields);
        if self
            .leaves()
            .is_some_and(|leaves| leaves.leaves_idle(&head(request)))
        {
            pending.leave_idle();
        }
        *slot = Some(InSlot {
            pending,
            is_open: true,
        });
        let held = request.local_cache(Held::<S, N, H>::default);
        *lock(&held.open) = Some(open);
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        #[cfg(feature = "device-bound")]
        if let Some(answer) = lock(&request.local_cache(OfDevice::default).0).take() {
            *response = of_device(&answer);
        }
        let held = request.local_cache(Held::<S, N, H>::default);
        let Some(open) = lock(&held.open).take() else {
            return;
        };
        let failure = lock(&request.local_cache(Noted::default).0).take();
        let is_500 = response.status() == Status::InternalServerError;
        let is_ours = is_500 && !H::REPLACES && !has_catcher(request);
        if let Some(failure) = failure.as_ref().filter(|_| is_ours) {
            explain(response, failure);
        }
        let answered = Answered {
            response: std::mem::take(response),
            failure,
        };
        let saved = ResponseFuture::<_, S, Answered<'r>, H>::new(
            ready(Ok::<_, Infallible>(answered)),
            open,
        );
        let Ok(answered) = saved.await;
        *response = answered.response;
        if let Some(slot) = &mut *lock(&request.local_cache(Slot::<N>::default).0) {
            slot.is_open = false;
        }
    }
}

/// The answer of device binding to a request, if it has one.
#[cfg(feature = "device-bound")]
fn answer_device<S: Sessions, H>(
    settings: &Settings<S, H>,
    request: &Request<'_>,
) -> Option<DeviceAnswer> {
    let each = |name: &'static str, take: &mut dyn FnMut(_)| {
        let values = request.headers().get(name);
        values.for_each(|value| take(value.as_bytes()));
    };
    settings.device_answer(&device::Request {
        method: request.method().as_str(),
        path: request.uri().path().as_str(),
        each: &each,
    })
}

#[cfg(feature = "device-bound")]
fn of_device(answer: &DeviceAnswer) -> Response<'static> {
    let body = answer.body().to_owned();
    let mut response = bare(Status::new(answer.status().as_u16()));
    for (name, value) in answer.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        response.adjoin_raw_header(name.as_str().to_owned(), value);
    }
    response.set_sized_body(body.len(), Cursor::new(body));
    response
}

/// The answer that makes the browser prove its device's key and repeat the request.
#[cfg(feature = "device-bound")]
fn again<C: Condition, N, A>(
    guard: &Guard<C, N, A>,
    session: &Session,
    request: &Request<'_>,
) -> Option<Response<'static>> {
    let mut from = request.headers().get("sec-fetch-site");
    let from = match (from.next(), from.next()) {
        (Some(only), None) => Some(only.as_bytes()),
        _ => None,
    };
    let uri = request.uri();
    let query = uri.query().map(|query| query.as_str());
    let to = guard.asks_for_proof(session, from, uri.path().as_str(), query)?;
    let mut answer = bare(Status::TemporaryRedirect);
    answer.set_raw_header("location", to);
    answer.set_raw_header("cache-control", "no-store");
    Some(answer)
}

/// The values of the header that may hold a token. Rocket's local client puts cookies only into its
/// jar. In a request from the network, the jar has only what this header has.
fn fields(request: &Request<'_>, name: &HeaderName) -> Fields {
    let values = || request.headers().get(name.as_str()).map(str::as_bytes);
    if *name != COOKIE || values().next().is_some() {
        return Fields::joined(name, values);
    }
    let jar = request.cookies().iter();
    let jar: Vec<String> = jar
        .map(|cookie| format!("{}={}", cookie.name(), cookie.value()))
        .collect();
    Fields::joined(name, || jar.iter().map(String::as_bytes))
}

/// The request's method, URI and headers, as functions for other frameworks take them.
fn head(request: &Request<'_>) -> Parts {
    let mut head = http::Request::new(()).into_parts().0;
    head.method = request.method().as_str().parse().unwrap_or_default();
    head.uri = request.uri().to_string().parse().unwrap_or_default();
    for header in request.headers().iter() {
        let name = HeaderName::try_from(header.name().as_str());
        let value = HeaderValue::try_from(header.value());
        if let (Ok(name), Ok(value)) = (name, value) {
            head.headers.append(name, value);
        }
    }
    head
}

/// A response, and the failure to which it may be the answer.
struct Answered<'r> {
    response: Response<'r>,
    failure: Option<Failure>,
}

impl<H: Answer<Failure, Response<'static>>> Reply<H, Infallible> for Answered<'_> {
    type Inner = Self;

    fn of(inner: Self) -> Self {
        inner
    }

    fn take_failure(&mut self) -> Option<Failure> {
        let failure = self.failure.take();
        failure.filter(|_| self.response.status() == Status::InternalServerError)
    }

    fn replace(self, failure: &Failure, on_error: &H) -> Self {
        Self {
            response: on_error.answer(failure),
            failure: None,
        }
    }

    fn is_replaced() -> bool {
        H::REPLACES
    }

    fn apply(&mut self, outgoing: Outgoing) {
        let present: Vec<_> = self.response.headers().iter().collect();
        let present = present
            .iter()
            .map(|header| (header.name().as_str(), header.value().as_bytes()));
        for change in outgoing.changes(present) {
            self.response.remove_header(change.name());
            for value in change.values() {
                let value = String::from_utf8_lossy(value).into_owned();
                self.response
                    .adjoin_raw_header(change.name().to_owned(), value);
            }
        }
    }
}

/// Keeps the failure for the layer. If there is no layer, tells the developer here.
fn note(request: &Request<'_>, failure: Failure) {
    reason(&failure);
    *lock(&request.local_cache(Noted::default).0) = Some(failure);
}

fn pending<N: 'static>(request: &Request<'_>) -> Option<PendingSession<N>> {
    let slot = lock(&request.local_cache(Slot::<N>::default).0);
    slot.as_ref().map(|slot| slot.pending.clone())
}

async fn load<N: 'static, T: From<Session>>(request: &Request<'_>) -> Outcome<T, LoadError> {
    match LoadFuture::of(pending::<N>(request).as_ref()).await {
        Ok(session) => Outcome::Success(session.into()),
        Err(error) => {
            note(request, Failure::Load(error.clone()));
            Outcome::Error((Status::InternalServerError, error))
        }
    }
}

/// The session of the layer without a name.
#[async_trait]
impl<'r> FromRequest<'r> for Session {
    type Error = LoadError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, LoadError> {
        load::<(), Self>(request).await
    }
}

#[async_trait]
impl<'r, N: 'static> FromRequest<'r> for SessionOf<N> {
    type Error = LoadError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, LoadError> {
        load::<N, Self>(request).await
    }
}

/// The session of the layer without a name.
#[async_trait]
impl<'r, T> FromRequest<'r> for TypedSession<T> {
    type Error = LoadError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, LoadError> {
        load::<(), Self>(request).await
    }
}

/// Answers with the catcher for 500, or with the layer's `on_error` if you set it. In debug builds,
/// the answer has the reason if you have no catcher of your own.
impl<'r> Responder<'r, 'static> for LoadError {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        note(request, Failure::Load(self));
        Err(Status::InternalServerError)
    }
}

/// Answers with the catcher for 500, or with the layer's `on_error` if you set it. In debug builds,
/// the answer has the reason if you have no catcher of your own.
impl<'r> Responder<'r, 'static> for SessionError {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        note(request, Failure::Call(self));
        Err(Status::InternalServerError)
    }
}

fn bare(status: Status) -> Response<'static> {
    Response::build().status(status).finalize()
}

/// In debug builds, makes the reason the body of a 500.
fn explain(response: &mut Response<'_>, failure: &Failure) {
    if let Some(text) = reason(failure) {
        response.set_sized_body(text.len(), Cursor::new(text));
        for (name, value) in REASON_HEADERS {
            response.set_raw_header(name, value);
        }
    }
}

/// Whether the application has a catcher of its own for a 500 of this request.
fn has_catcher(request: &Request<'_>) -> bool {
    let path = request.uri().path().as_str();
    let mut catchers = request.rocket().catchers();
    catchers.any(|catcher| {
        let base = catcher.base.path().as_str().trim_end_matches('/');
        let rest = path.strip_prefix(base);
        let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        is_below && catcher.code.is_none_or(|code| code == 500)
    })
}

impl Answer<Failure, Response<'static>> for Bare {
    const REPLACES: bool = false;

    fn answer(&self, failure: &Failure) -> Response<'static> {
        let mut response = bare(Status::InternalServerError);
        explain(&mut response, failure);
        response
    }
}

/// Leaves the answer to the catcher for 401.
impl Answer<Parts, Response<'static>> for Bare {
    const REPLACES: bool = false;

    fn answer(&self, _: &Parts) -> Response<'static> {
        bare(Status::Unauthorized)
    }
}

impl<C, N, A> Guard<C, N, A>
where
    C: Condition + Send + Sync + 'static,
    N: 'static,
    A: Answer<Parts, Response<'static>>,
{
    /// Guards routes of Rocket: `.mount("/", RequireField::new(USER).guard(routes![profile]))`.
    ///
    /// A refused request goes to the catcher for 401, or gets the answer of
    /// [`or_answer`](Self::or_answer).
    pub fn guard(&self, routes: impl IntoIterator<Item = Route>) -> Vec<Route> {
        let guarded = |mut route: Route| {
            route.handler = Box::new(self.around(route.handler));
            route
        };
        routes.into_iter().map(guarded).collect()
    }
}

#[async_trait]
impl<C, N, A> Handler for GuardService<Box<dyn Handler>, C, N, A>
where
    C: Condition + Send + Sync + 'static,
    N: 'static,
    A: Answer<Parts, Response<'static>>,
{
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> route::Outcome<'r> {
        match self.guard.load(pending(request).as_ref()).await {
            Ok(session) if self.guard.lets_in(&session) => self.inner.handle(request, data).await,
            #[cfg_attr(
                not(feature = "device-bound"),
                expect(unused_variables, reason = "only a device can be asked again")
            )]
            Ok(session) => {
                #[cfg(feature = "device-bound")]
                if let Some(answer) = again(&self.guard, &session, request) {
                    return route::Outcome::Success(answer);
                }
                if A::REPLACES {
                    route::Outcome::Success(self.guard.refuse(&head(request)))
                } else {
                    route::Outcome::Error(Status::Unauthorized)
                }
            }
            Err(error) => {
                note(request, Failure::Load(error));
                route::Outcome::Error(Status::InternalServerError)
            }
        }
    }
}
