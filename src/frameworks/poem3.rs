// The example needs poem's macros, which name the crate `poem` by itself: the tests of the
// frameworks run it.
#![cfg_attr(not(doctest), doc = include_str!("../../docs/poem.md"))]

use std::convert::Infallible;
#[cfg(feature = "device-bound")]
use std::future::Ready;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, StatusCode};
use poem::error::ResponseError;
use poem::{
    Endpoint, Error, FromRequest, IntoResponse, Middleware, Request, RequestBody, Response, Result,
};

#[cfg(feature = "device-bound")]
pub use crate::frameworks::tower::RequireDevice;
pub use crate::frameworks::tower::{
    Failure, PendingSession, RequireField, RequireLogin, RequireSession, SessionLayer, SessionOf,
};

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

/// The middleware for `with`.
impl<E, S, N, H, L> Middleware<E> for SessionLayer<S, N, H, L>
where
    E: Endpoint,
    S: Sessions,
    N: 'static,
    H: Answer<Failure, Response>,
    L: Leaves<Request>,
{
    type Output = SessionService<E, S, N, H, L>;

    fn transform(&self, inner: E) -> Self::Output {
        self.around(inner)
    }
}

impl<E, S, N, H, L> Endpoint for SessionService<E, S, N, H, L>
where
    E: Endpoint,
    S: Sessions,
    N: 'static,
    H: Answer<Failure, Response>,
    L: Leaves<Request>,
{
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let settings = self.layer.at(&|| {
            let hosts = request.headers().get_all(HOST).iter();
            let authority = request.uri().authority().map(Authority::as_str);
            named_by(authority, hosts.map(HeaderValue::as_bytes))
        });
        let fields = Fields::of(request.headers(), &settings.request_header());
        #[cfg(feature = "device-bound")]
        if let Some(response) = answer_device(&settings, &request) {
            let (open, _) = self.layer.start(settings, fields);
            let answered = ResponseFuture::<Ready<Result<_, Infallible>>, S, _, H>::answered(
                Ok(response),
                open,
            );
            let Ok(outcome) = answered.await;
            return outcome;
        }
        let (open, pending) = self.layer.start(settings, fields);
        let leaves = self.layer.leaves();
        if leaves.is_some_and(|leaves| leaves.leaves_idle(&request)) {
            pending.leave_idle();
        }
        if request.extensions_mut().insert(pending).is_some() {
            open.refuse();
        }
        let call = async move {
            let outcome = self.inner.call(request).await;
            Ok::<_, Infallible>(outcome.map(IntoResponse::into_response))
        };
        let Ok(outcome) = ResponseFuture::<_, S, Result<Response>, H>::new(call, open).await;
        outcome
    }
}

/// Answers in place of the endpoint, if device binding has an answer.
#[cfg(feature = "device-bound")]
fn answer_device<S: Sessions, H>(settings: &Settings<S, H>, request: &Request) -> Option<Response> {
    let answer = settings.device_answer_to(request.method(), request.uri(), request.headers())?;
    let body = answer.body().to_owned();
    let (parts, body) = answer.into_response_with(body).into_parts();
    let mut response = Response::from(body);
    response.set_status(parts.status);
    *response.headers_mut() = parts.headers;
    Some(response)
}

/// The answer that makes the browser prove its device's key and repeat the request.
#[cfg(feature = "device-bound")]
fn again<C: Condition, N, A>(
    guard: &Guard<C, N, A>,
    session: &Session,
    request: &Request,
) -> Option<Response> {
    let mut from = request.headers().get_all("sec-fetch-site").iter();
    let from = match (from.next(), from.next()) {
        (Some(only), None) => Some(only.as_bytes()),
        _ => None,
    };
    let uri = request.uri();
    let to = guard.asks_for_proof(session, from, uri.path(), uri.query())?;
    let answer = Response::builder().status(StatusCode::TEMPORARY_REDIRECT);
    let answer = answer.header("location", to);
    Some(answer.header("cache-control", "no-store").finish())
}

/// Marks an error that a layer has seen, so that only the innermost layer answers for it.
#[derive(Clone)]
struct Taken;

/// An endpoint's error is an answer too, so the session is saved as with any other answer.
impl<H: Answer<Failure, Response>> Reply<H, Infallible> for Result<Response> {
    type Inner = Self;

    fn of(inner: Self) -> Self {
        inner
    }

    fn take_failure(&mut self) -> Option<Failure> {
        let error = self.as_mut().err()?;
        let load = error.downcast_ref().cloned().map(Failure::Load);
        let failure = load.or_else(|| error.downcast_ref().cloned().map(Failure::Call));
        let is_open =
            error.status() == StatusCode::INTERNAL_SERVER_ERROR && error.data::<Taken>().is_none();
        error.set_data(Taken);
        failure.filter(|_| is_open)
    }

    fn replace(self, failure: &Failure, on_error: &H) -> Self {
        Ok(on_error.answer(failure))
    }

    fn is_replaced() -> bool {
        H::REPLACES
    }

    fn apply(&mut self, mut outgoing: Outgoing) {
        match self {
            Ok(response) => outgoing.apply_once(response.headers_mut()),
            // An error has no headers. If there is a cookie to send, turn the error into a
            // response. Otherwise leave it as it is, because middleware outside may catch it by its
            // type.
            Err(error) if outgoing.writes() || error.is_from_response() => {
                let status = error.status();
                let error = std::mem::replace(error, Error::from_status(status));
                let mut response = error.into_response();
                outgoing.apply_once(response.headers_mut());
                *self = Err(Error::from_response(response));
            }
            Err(_) => {}
        }
    }
}

async fn load<N: 'static>(request: &Request) -> Result<Session> {
    let pending = request.extensions().get::<PendingSession<N>>();
    Ok(LoadFuture::of(pending).await?)
}

/// The session of the layer without a name.
impl<'a> FromRequest<'a> for Session {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        load::<()>(request).await
    }
}

impl<'a, N: 'static> FromRequest<'a> for SessionOf<N> {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        load::<N>(request).await.map(Self::from)
    }
}

/// The session of the layer without a name.
impl<'a, T> FromRequest<'a> for TypedSession<T> {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        load::<()>(request).await.map(Self::from)
    }
}

/// Answers 500, or the layer's `on_error` if you set it. In debug builds the body has the reason.
impl ResponseError for LoadError {
    fn status(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    fn as_response(&self) -> Response {
        explained(&Failure::Load(self.clone()))
    }
}

/// Answers 500, or the layer's `on_error` if you set it. In debug builds the body has the reason.
impl ResponseError for SessionError {
    fn status(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    fn as_response(&self) -> Response {
        explained(&Failure::Call(self.clone()))
    }
}

/// Returns a 500 whose body is the reason in debug builds.
fn explained(failure: &Failure) -> Response {
    let mut response = Response::from(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(text) = reason(failure) {
        response.set_body(text);
        for (name, value) in REASON_HEADERS {
            let headers = response.headers_mut();
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

impl Answer<Failure, Response> for Bare {
    const REPLACES: bool = false;

    fn answer(&self, failure: &Failure) -> Response {
        explained(failure)
    }
}

impl Answer<Request, Response> for Bare {
    fn answer(&self, _: &Request) -> Response {
        StatusCode::UNAUTHORIZED.into()
    }
}

/// The middleware for `with`.
impl<E, C, N, A> Middleware<E> for Guard<C, N, A>
where
    E: Endpoint,
    C: Condition + Send + Sync,
    N: 'static,
    A: Answer<Request, Response>,
{
    type Output = GuardService<E, C, N, A>;

    fn transform(&self, inner: E) -> Self::Output {
        self.around(inner)
    }
}

impl<E, C, N, A> Endpoint for GuardService<E, C, N, A>
where
    E: Endpoint,
    C: Condition + Send + Sync,
    N: 'static,
    A: Answer<Request, Response>,
{
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let session = self.guard.load(request.extensions().get()).await?;
        if !self.guard.lets_in(&session) {
            #[cfg(feature = "device-bound")]
            if let Some(answer) = again(&self.guard, &session, &request) {
                return Ok(answer);
            }
            return Ok(self.guard.refuse(&request));
        }
        let response = self.inner.call(request).await?;
        Ok(response.into_response())
    }
}
