// The example needs actix-web's macros, which are not a dependency here: the tests of the
// frameworks run it.
#![cfg_attr(not(doctest), doc = include_str!("../../docs/actix.md"))]

use std::fmt;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::EitherBody;
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::uri::Authority;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};

#[cfg(feature = "device-bound")]
pub use crate::frameworks::tower::RequireDevice;
pub use crate::frameworks::tower::{
    Failure, PendingSession, RequireField, RequireLogin, RequireSession, SessionLayer, SessionOf,
};

#[cfg(feature = "device-bound")]
use crate::device;
use crate::error::{LoadError, SessionError};
use crate::flow::Outgoing;
#[cfg(feature = "device-bound")]
use crate::frameworks::tower::Settings;
use crate::frameworks::tower::{
    Answer, Bare, Condition, Fields, Guard, GuardService, Leaves, LoadFuture, REASON_HEADERS,
    Reply, ResponseFuture, SessionService, Sessions, reason,
};
use crate::hosts::named_by;
use crate::session::{Session, TypedSession};

/// The middleware for `wrap`.
impl<I, B, S, N, H, L> Transform<I, ServiceRequest> for SessionLayer<S, N, H, L>
where
    I: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S: Sessions,
    N: 'static,
    H: Answer<Failure, HttpResponse>,
    L: Leaves<HttpRequest>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = SessionService<I, S, N, H, L>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: I) -> Self::Future {
        ready(Ok(self.around(inner)))
    }
}

impl<I, B, S, N, H, L> Service<ServiceRequest> for SessionService<I, S, N, H, L>
where
    I: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S: Sessions,
    N: 'static,
    H: Answer<Failure, HttpResponse>,
    L: Leaves<HttpRequest>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = ResponseFuture<I::Future, S, Self::Response, H>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let hosts = || request.headers().get_all("host").map(HeaderValue::as_bytes);
        let settings = self.layer.at(&|| {
            let authority = request.uri().authority();
            named_by(authority.map(Authority::as_str), hosts())
        });
        let name = settings.request_header();
        let values = || request.headers().get_all(name.as_str());
        let fields = Fields::joined(&name, || values().map(HeaderValue::as_bytes));
        #[cfg(feature = "device-bound")]
        if let Some(answer) = answer_device(&settings, &request) {
            let (open, _) = self.layer.start(settings, fields);
            let response = request.into_response(answer).map_into_right_body();
            return ResponseFuture::answered(response, open);
        }
        let (open, pending) = self.layer.start(settings, fields);
        let leaves = self.layer.leaves();
        if leaves.is_some_and(|leaves| leaves.leaves_idle(request.request())) {
            pending.leave_idle();
        }
        if request.extensions_mut().insert(pending).is_some() {
            open.refuse();
        }
        ResponseFuture::new(self.inner.call(request), open)
    }
}

/// Answers in place of the service, if device binding has an answer.
#[cfg(feature = "device-bound")]
fn answer_device<S: Sessions, H>(
    settings: &Settings<S, H>,
    request: &ServiceRequest,
) -> Option<HttpResponse> {
    let headers = request.headers();
    let each = |name: &'static str, take: &mut dyn FnMut(_)| {
        let values = headers.get_all(name);
        values.for_each(|value| take(HeaderValue::as_bytes(value)));
    };
    let answer = settings.device_answer(&device::Request {
        method: request.method().as_str(),
        path: request.uri().path(),
        each: &each,
    })?;
    let status = StatusCode::from_u16(answer.status().as_u16()).ok()?;
    let mut response = HttpResponse::build(status);
    for (name, value) in answer.headers() {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    Some(response.body(answer.body().to_owned()))
}

impl<B, H: Answer<Failure, HttpResponse>> Reply<H, Error> for ServiceResponse<EitherBody<B>> {
    type Inner = ServiceResponse<B>;

    fn of(inner: ServiceResponse<B>) -> Self {
        inner.map_into_left_body()
    }

    fn take_failure(&mut self) -> Option<Failure> {
        let failure = self.response_mut().extensions_mut().remove();
        failure.filter(|_| self.status() == StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn replace(self, failure: &Failure, on_error: &H) -> Self {
        self.into_response(on_error.answer(failure).map_into_right_body())
    }

    fn failure_in(error: &Error) -> Option<Failure> {
        let load = error.as_error().cloned().map(Failure::Load);
        load.or_else(|| error.as_error().cloned().map(Failure::Call))
    }

    fn replace_error(error: Error, failure: &Failure, on_error: &H) -> Error {
        InternalError::from_response(error, on_error.answer(failure)).into()
    }

    fn is_replaced() -> bool {
        H::REPLACES
    }

    fn apply(&mut self, outgoing: Outgoing) {
        let headers = self.headers_mut();
        let present = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        for change in outgoing.changes(present) {
            let Ok(name) = HeaderName::try_from(change.name()) else {
                continue;
            };
            headers.remove(&name);
            for value in change.values() {
                if let Ok(mut value) = HeaderValue::from_bytes(value) {
                    value.set_sensitive(change.is_sensitive());
                    headers.append(name.clone(), value);
                }
            }
        }
    }
}

/// A future that loads a session and converts it to `T`.
#[must_use = "nothing is loaded until it is polled"]
pub struct Extract<T> {
    load: LoadFuture,
    of: PhantomData<fn() -> T>,
}

impl<T> Extract<T> {
    fn from_layer<N: 'static>(request: &HttpRequest) -> Self {
        Self {
            load: LoadFuture::of(request.extensions().get::<PendingSession<N>>()),
            of: PhantomData,
        }
    }
}

impl<T: From<Session>> Future for Extract<T> {
    type Output = Result<T, LoadError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let loaded = Pin::new(&mut self.load).poll(context);
        loaded.map_ok(T::from)
    }
}

impl<T> fmt::Debug for Extract<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extract").finish_non_exhaustive()
    }
}

/// The session of the layer without a name.
impl FromRequest for Session {
    type Error = LoadError;
    type Future = Extract<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Extract<Self> {
        Extract::from_layer::<()>(request)
    }
}

impl<N: 'static> FromRequest for SessionOf<N> {
    type Error = LoadError;
    type Future = Extract<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Extract<Self> {
        Extract::from_layer::<N>(request)
    }
}

/// The session of the layer without a name.
impl<T: 'static> FromRequest for TypedSession<T> {
    type Error = LoadError;
    type Future = Extract<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Extract<Self> {
        Extract::from_layer::<()>(request)
    }
}

/// Answers 500, or the layer's `on_error` if you set it. In debug builds the body has the reason.
impl ResponseError for LoadError {
    fn error_response(&self) -> HttpResponse {
        failed(Failure::Load(self.clone()))
    }
}

/// Answers 500, or the layer's `on_error` if you set it. In debug builds the body has the reason.
impl ResponseError for SessionError {
    fn error_response(&self) -> HttpResponse {
        failed(Failure::Call(self.clone()))
    }
}

/// Returns a 500 whose body is the reason in debug builds.
fn explained(failure: &Failure) -> HttpResponse {
    let mut response = HttpResponse::InternalServerError();
    match reason(failure) {
        Some(text) => {
            for header in REASON_HEADERS {
                response.insert_header(header);
            }
            response.body(text)
        }
        None => response.finish(),
    }
}

/// Returns a 500 that carries the failure for the layer.
fn failed(failure: Failure) -> HttpResponse {
    let mut response = explained(&failure);
    response.extensions_mut().insert(failure);
    response
}

impl Answer<Failure, HttpResponse> for Bare {
    const REPLACES: bool = false;

    fn answer(&self, failure: &Failure) -> HttpResponse {
        explained(failure)
    }
}

impl Answer<HttpRequest, HttpResponse> for Bare {
    fn answer(&self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::new(StatusCode::UNAUTHORIZED)
    }
}

/// The middleware for `wrap`.
impl<I, B, C, N, A> Transform<I, ServiceRequest> for Guard<C, N, A>
where
    I: Service<ServiceRequest, Response = ServiceResponse<B>> + 'static,
    C: Condition + 'static,
    N: 'static,
    A: Answer<HttpRequest, HttpResponse> + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = I::Error;
    type Transform = GuardService<Rc<I>, C, N, A>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: I) -> Self::Future {
        ready(Ok(self.around(Rc::new(inner))))
    }
}

impl<I, B, C, N, A> Service<ServiceRequest> for GuardService<Rc<I>, C, N, A>
where
    I: Service<ServiceRequest, Response = ServiceResponse<B>> + 'static,
    C: Condition + 'static,
    N: 'static,
    A: Answer<HttpRequest, HttpResponse> + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = I::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, I::Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let load = self.guard.load(request.extensions().get());
        let (inner, guard) = (Rc::clone(&self.inner), self.guard.clone());
        Box::pin(async move {
            let answer = match load.await {
                Ok(session) if guard.lets_in(&session) => {
                    let response = inner.call(request).await?;
                    return Ok(response.map_into_left_body());
                }
                #[cfg(feature = "device-bound")]
                Ok(session) => match again(&guard, &session, &request) {
                    Some(answer) => answer,
                    None => guard.refuse(request.request()),
                },
                #[cfg(not(feature = "device-bound"))]
                Ok(_) => guard.refuse(request.request()),
                Err(error) => error.error_response(),
            };
            Ok(request.into_response(answer).map_into_right_body())
        })
    }
}

/// The answer that makes the browser prove its device's key and repeat the request.
#[cfg(feature = "device-bound")]
fn again<C: Condition, N, A>(
    guard: &Guard<C, N, A>,
    session: &Session,
    request: &ServiceRequest,
) -> Option<HttpResponse> {
    let mut from = request.headers().get_all("sec-fetch-site");
    let from = match (from.next(), from.next()) {
        (Some(only), None) => Some(only.as_bytes()),
        _ => None,
    };
    let uri = request.uri();
    let to = guard.asks_for_proof(session, from, uri.path(), uri.query())?;
    let mut answer = HttpResponse::build(StatusCode::TEMPORARY_REDIRECT);
    answer.append_header(("location", to));
    answer.append_header(("cache-control", "no-store"));
    Some(answer.finish())
}
