//! Guards: services inside a session layer that answer 401 unless the session meets a condition.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

#[cfg(feature = "device-bound")]
use http::StatusCode;
#[cfg(feature = "device-bound")]
use http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use http::{Request, Response, request};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::pending::{LoadFuture, PendingSession};
use super::{Answer, Bare, Failure, failed};
use crate::session::{Key, Session};

/// Lets requests through that came with a valid session.
///
/// Put it inside the [`SessionLayer`](super::SessionLayer); without that layer it answers 500. To
/// check for a login, you usually need a value in the session: see [`RequireField`].
///
/// ```
/// # use std::convert::Infallible;
/// # use std::future::{Ready, ready};
/// # use std::task::{Context, Poll};
/// # use http::{Request, Response, StatusCode};
/// # use sealed_session::{AppKey, CookieStore, Session};
/// # use sealed_session::frameworks::tower::{Layer, RequireSession, SessionLayer};
/// # use tower_service::Service;
/// # #[derive(Clone)]
/// # struct Handler;
/// # impl Service<Request<()>> for Handler {
/// #     type Response = Response<String>;
/// #     type Error = Infallible;
/// #     type Future = Ready<Result<Response<String>, Infallible>>;
/// #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
/// #         Poll::Ready(Ok(()))
/// #     }
/// #     fn call(&mut self, _: Request<()>) -> Self::Future {
/// #         ready(Ok(Response::new("hello".to_owned())))
/// #     }
/// # }
/// # let store = CookieStore::new(AppKey::generate()?);
/// let guarded = RequireSession::new().layer(/* the service of your handler */ Handler);
/// let mut service = SessionLayer::new(store).layer(guarded);
///
/// let request = Request::new(()); // without a cookie
/// let response = pollster::block_on(service.call(request))?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type RequireSession<N = (), A = Bare> = Guard<AnySession, N, A>;

/// Lets requests through whose session has an entry, such as a user's id.
///
/// ```
/// # use std::convert::Infallible;
/// # use std::future::{Ready, ready};
/// # use std::task::{Context, Poll};
/// # use tower_service::Service;
/// use http::{Request, Response, StatusCode, request};
/// use sealed_session::frameworks::tower::{Layer, RequireField, SessionLayer};
/// # use sealed_session::{AppKey, CookieStore, Field, Session};
/// # #[derive(Clone)]
/// # struct Handler;
/// # impl Service<Request<()>> for Handler {
/// #     type Response = Response<String>;
/// #     type Error = Infallible;
/// #     type Future = Ready<Result<Response<String>, Infallible>>;
/// #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
/// #         Poll::Ready(Ok(()))
/// #     }
/// #     fn call(&mut self, _: Request<()>) -> Self::Future {
/// #         ready(Ok(Response::new("hello".to_owned())))
/// #     }
/// # }
///
/// const USER: Field<u64> = Field::new("user_id");
///
/// // Without `or_answer`, the answer is 401 without a body.
/// let members_only = RequireField::new(USER).or_answer(|request: &request::Parts| {
///     let to = format!("/login?next={}", request.uri.path());
///     let response = Response::builder().status(StatusCode::SEE_OTHER).header("location", to);
///     response.body(String::new()).unwrap_or_default()
/// });
/// # let store = CookieStore::new(AppKey::generate()?);
/// # let session = Session::new();
/// # session.insert(USER, 42)?;
/// # let cookie = store.respond(&session)?.cookie_header();
/// let guarded = members_only.layer(/* the service of your handler */ Handler);
/// let mut service = SessionLayer::new(store).layer(guarded);
///
/// let stranger = Request::builder().uri("/profile").body(())?;
/// let response = pollster::block_on(service.call(stranger))?;
/// assert_eq!(response.headers()["location"], "/login?next=/profile");
///
/// let member = Request::builder().uri("/profile").header("cookie", cookie).body(())?;
/// assert_eq!(pollster::block_on(service.call(member))?.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type RequireField<N = (), A = Bare> = Guard<HasField, N, A>;

/// Lets requests through that come from the device that their session is bound to.
///
/// Put it before what matters most, such as payments and settings. Browsers that do not take part
/// in device-bound sessions are refused there, and still work everywhere else.
///
/// ```
/// # use std::convert::Infallible;
/// # use std::future::{Ready, ready};
/// # use std::task::{Context, Poll};
/// # use tower_service::Service;
/// # use std::time::Duration;
/// # use http::{Request, Response, StatusCode};
/// # use sealed_session::frameworks::tower::{Layer, RequireDevice, SessionLayer};
/// # use sealed_session::{AppKey, CookieStore, DeviceBound, Session};
/// # #[derive(Clone)]
/// # struct Handler;
/// # impl Service<Request<()>> for Handler {
/// #     type Response = Response<String>;
/// #     type Error = Infallible;
/// #     type Future = Ready<Result<Response<String>, Infallible>>;
/// #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
/// #         Poll::Ready(Ok(()))
/// #     }
/// #     fn call(&mut self, _: Request<()>) -> Self::Future {
/// #         ready(Ok(Response::new("hello".to_owned())))
/// #     }
/// # }
/// # let builder = CookieStore::builder(AppKey::generate()?);
/// # let store = builder.device_bound(DeviceBound::default()).build()?;
/// # let session = Session::new();
/// # session.insert("user_id", 42)?;
/// # let cookie = store.respond(&session)?.cookie_header();
/// let payment = RequireDevice::new().proven_within(Duration::from_secs(30));
/// let guarded = payment.layer(/* the service of your handler */ Handler);
/// let mut service = SessionLayer::new(store).layer(guarded);
///
/// // The session is good, but its browser takes no part:
/// let request = Request::builder().uri("/pay").header("cookie", cookie).body(())?;
/// let response = pollster::block_on(service.call(request))?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "device-bound")]
pub type RequireDevice<N = (), A = Bare> = Guard<FromDevice, N, A>;

/// Lets requests through whose visitor has [logged in](Session::log_in) lately. Put it in front of
/// what needs a fresh proof of who the visitor is, such as changing the password. Answer with the
/// page that asks for the password again: [`RequireField`] shows how `or_answer` redirects.
///
/// ```
/// # use std::convert::Infallible;
/// # use std::future::{Ready, ready};
/// # use std::task::{Context, Poll};
/// # use tower_service::Service;
/// # use std::time::{Duration, SystemTime};
/// # use http::{Request, Response};
/// # use sealed_session::frameworks::tower::{Layer, RequireLogin, SessionLayer};
/// # use sealed_session::{AppKey, CookieStore, Session};
/// # #[derive(Clone)]
/// # struct Handler;
/// # impl Service<Request<()>> for Handler {
/// #     type Response = Response<String>;
/// #     type Error = Infallible;
/// #     type Future = Ready<Result<Response<String>, Infallible>>;
/// #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
/// #         Poll::Ready(Ok(()))
/// #     }
/// #     fn call(&mut self, _: Request<()>) -> Self::Future {
/// #         ready(Ok(Response::new("hello".to_owned())))
/// #     }
/// # }
/// # let key = AppKey::generate()?;
/// # let ago = |age| move || SystemTime::now() - Duration::from_secs(age);
/// # let logged_in = |age| {
/// #     let store = CookieStore::builder(key.clone()).clock(ago(age)).build()?;
/// #     let session = Session::new();
/// #     session.log_in()?;
/// #     let cookie = store.respond(&session)?.cookie_header();
/// #     Ok::<_, Box<dyn std::error::Error>>(Request::builder().header("cookie", cookie).body(())?)
/// # };
/// # let store = CookieStore::new(key.clone());
/// let lately = RequireLogin::within(Duration::from_secs(15 * 60));
/// let guarded = lately.layer(/* the service of your handler */ Handler);
/// let mut service = SessionLayer::new(store).layer(guarded);
///
/// # let (request, older) = (logged_in(14 * 60)?, logged_in(16 * 60)?);
/// // A request of somebody who logged in 14 minutes ago:
/// assert_eq!(pollster::block_on(service.call(request))?.status(), 200);
/// // And 16 minutes ago:
/// assert_eq!(pollster::block_on(service.call(older))?.status(), 401);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type RequireLogin<N = (), A = Bare> = Guard<RecentLogin, N, A>;

/// The type of [`RequireSession`], [`RequireField`] and [`RequireLogin`]. `C` is the condition, `N`
/// names the session's layer, and `A` answers refused requests. It is a middleware for actix-web's
/// `wrap` and poem's `with`, and a handler for salvo's `hoop`. With Rocket, it guards routes.
pub struct Guard<C, N = (), A = Bare> {
    condition: C,
    answer: Arc<A>,
    leaves_idle: bool,
    of: PhantomData<fn() -> N>,
}

/// The condition of [`RequireSession`]: any session that came with the request.
#[derive(Clone, Copy, Debug)]
pub struct AnySession;

/// The condition of [`RequireField`]: a session with an entry of this name.
#[derive(Clone, Debug)]
pub struct HasField(Arc<str>);

/// The condition of [`RequireDevice`]: a request from the device that the session is bound to.
#[cfg(feature = "device-bound")]
#[derive(Clone, Copy, Debug, Default)]
pub struct FromDevice {
    /// How old the device's proof may be.
    within: Option<Duration>,
}

/// The condition of [`RequireLogin`]: a login within this time.
#[derive(Clone, Copy, Debug)]
pub struct RecentLogin(Duration);

/// Decides which sessions may pass.
pub trait Condition: Clone {
    fn lets_in(&self, session: &Session) -> bool;

    /// Whether the same request may pass once the device has proven its key again.
    #[cfg(feature = "device-bound")]
    fn passes_with_new_proof(&self, _: &Session) -> bool {
        false
    }
}

#[cfg(feature = "device-bound")]
impl Condition for FromDevice {
    fn lets_in(&self, session: &Session) -> bool {
        match self.within {
            Some(within) => session.is_device_proven_within(within),
            None => session.is_device_bound(),
        }
    }

    fn passes_with_new_proof(&self, session: &Session) -> bool {
        self.within.is_some() && session.is_device_bound()
    }
}

#[cfg(feature = "device-bound")]
impl Guard<FromDevice> {
    /// Returns a guard that answers 401 without a body unless the request comes from the device
    /// that its session is bound to.
    pub fn new() -> Self {
        Self::with(FromDevice::default())
    }
}

#[cfg(feature = "device-bound")]
impl Default for Guard<FromDevice> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "device-bound")]
impl<N, A> Guard<FromDevice, N, A> {
    /// Also asks for a proof that is at most this old, to the second: 30 seconds for a payment. A
    /// proof is as old as the question that the browser has answered with it, so allow some seconds.
    /// With less, the browser is sent round until it may not sign any more.
    ///
    /// If the proof is older, and the request is from a page of your own, the guard answers 307
    /// with the same address. The browser then proves its key and repeats the request. The guard
    /// refuses other requests with an older proof, so that no foreign page can use up the browser's
    /// six signatures in nine minutes.
    pub fn proven_within(mut self, duration: Duration) -> Self {
        self.condition.within = Some(duration);
        self
    }
}

impl Condition for AnySession {
    fn lets_in(&self, session: &Session) -> bool {
        !session.is_new()
    }
}

impl Condition for HasField {
    fn lets_in(&self, session: &Session) -> bool {
        session.contains(&*self.0)
    }
}

impl Condition for RecentLogin {
    fn lets_in(&self, session: &Session) -> bool {
        session.logged_in_within(self.0)
    }
}

impl Guard<AnySession> {
    /// Returns a guard that answers 401 without a body if the request has no session.
    pub fn new() -> Self {
        Self::with(AnySession)
    }
}

impl Default for Guard<AnySession> {
    fn default() -> Self {
        Self::new()
    }
}

impl Guard<HasField> {
    /// Returns a guard that answers 401 without a body if the session has no entry `key`.
    pub fn new(key: impl Key) -> Self {
        Self::with(HasField(key.name().into()))
    }
}

impl Guard<RecentLogin> {
    /// Returns a guard that answers 401 without a body unless the visitor has logged in within the
    /// time `age` before the request.
    pub fn within(age: Duration) -> Self {
        Self::with(RecentLogin(age))
    }
}

impl<C> Guard<C> {
    fn with(condition: C) -> Self {
        Self {
            condition,
            answer: Arc::new(Bare),
            leaves_idle: false,
            of: PhantomData,
        }
    }
}

impl<C, N, A> Guard<C, N, A> {
    /// Checks the session of the [layer with this name](super::SessionLayer::named).
    ///
    /// ```
    /// # use sealed_session::frameworks::tower::RequireField;
    /// # struct Admin;
    /// let admins_only = RequireField::new("admin_id").named::<Admin>();
    /// ```
    pub fn named<M>(self) -> Guard<C, M, A> {
        Guard {
            condition: self.condition,
            answer: self.answer,
            leaves_idle: self.leaves_idle,
            of: PhantomData,
        }
    }

    /// Makes requests that reach this guard not count as use of the session, even if other code
    /// asks for it. Use it for requests that a page makes by itself, such as polling for news: see
    /// [`Session::leave_idle`].
    ///
    /// ```
    /// # use sealed_session::frameworks::tower::RequireField;
    /// let for_the_poll = RequireField::new("user_id").leave_idle();
    /// ```
    pub fn leave_idle(mut self) -> Self {
        self.leaves_idle = true;
        self
    }

    /// Sets the answer for refused requests: a function that takes the request's head, `http`'s
    /// [`Parts`](request::Parts), and returns a response. With actix-web, it takes the
    /// `HttpRequest` and returns an `HttpResponse`; with poem, a `Request` and a `Response`; with
    /// Rocket, it takes the `Parts` and returns a `Response<'static>`. [`RequireField`] has an
    /// example.
    pub fn or_answer<Q, R, G: Fn(&Q) -> R>(self, answer: G) -> Guard<C, N, G> {
        Guard {
            condition: self.condition,
            answer: Arc::new(answer),
            leaves_idle: self.leaves_idle,
            of: PhantomData,
        }
    }
}

impl<C: Condition, N, A> Guard<C, N, A> {
    /// Loads the session of a request that has come here.
    pub(crate) fn load(&self, pending: Option<&PendingSession<N>>) -> LoadFuture {
        if let Some(pending) = pending.filter(|_| self.leaves_idle) {
            pending.leave_idle();
        }
        LoadFuture::of(pending)
    }

    pub(crate) fn lets_in(&self, session: &Session) -> bool {
        self.condition.lets_in(session)
    }

    /// Returns the address for a redirect, if the request may pass once its device has proven its
    /// key again. Only requests from a page of this origin get one. `path` is the path as this
    /// service sees it. A router or a proxy may have removed its beginning, so the address is
    /// relative.
    #[cfg(feature = "device-bound")]
    pub(crate) fn asks_for_proof(
        &self,
        session: &Session,
        from: Option<&[u8]>,
        path: &str,
        query: Option<&str>,
    ) -> Option<String> {
        let is_same_origin = from == Some(b"same-origin");
        if !is_same_origin || !self.condition.passes_with_new_proof(session) {
            return None;
        }
        session.ask_for_device_proof();
        let last = path.rsplit('/').next().unwrap_or_default();
        let last = Some(last).filter(|last| !last.is_empty());
        let place = last.map_or_else(String::new, |last| format!("./{last}"));
        Some(match (query, last) {
            (Some(query), _) => format!("{place}?{query}"),
            (None, Some(_)) => place,
            // The address up to its query.
            (None, None) => "?".to_owned(),
        })
    }

    pub(crate) fn refuse<Q, R>(&self, request: &Q) -> R
    where
        A: Answer<Q, R>,
    {
        self.answer.answer(request)
    }
}

impl<C: Clone, N, A> Guard<C, N, A> {
    pub(crate) fn around<I>(&self, inner: I) -> GuardService<I, C, N, A> {
        GuardService {
            inner,
            guard: self.clone(),
        }
    }
}

impl<I, C: Clone, N, A> Layer<I> for Guard<C, N, A> {
    type Service = GuardService<I, C, N, A>;

    fn layer(&self, inner: I) -> Self::Service {
        self.around(inner)
    }
}

/// A guarded service, made by a [`Guard`].
pub struct GuardService<I, C, N = (), A = Bare> {
    pub(crate) inner: I,
    pub(crate) guard: Guard<C, N, A>,
}

impl<I, C, N, A, B, D> Service<Request<B>> for GuardService<I, C, N, A>
where
    I: Service<Request<B>, Response = Response<D>> + Clone,
    C: Condition,
    N: 'static,
    A: Answer<request::Parts, Response<D>>,
    D: Default + 'static,
{
    type Response = Response<D>;
    type Error = I::Error;
    type Future = GuardFuture<I, I::Future, C, N, A, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let load = self.guard.load(request.extensions().get());
        // Only the original service is known to be ready, so it takes the request. The clone stays.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        GuardFuture {
            stage: Stage::Asking {
                load,
                guard: self.guard.clone(),
                then: Some((inner, request)),
            },
        }
    }
}

pin_project! {
    /// The response future of a [`GuardService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct GuardFuture<I, F, C, N, A, B> {
        #[pin]
        stage: Stage<I, F, C, N, A, B>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<I, F, C, N, A, B> {
        Asking { load: LoadFuture, guard: Guard<C, N, A>, then: Option<(I, Request<B>)> },
        Calling { #[pin] call: F },
    }
}

impl<I, C, N, A, B, D> Future for GuardFuture<I, I::Future, C, N, A, B>
where
    I: Service<Request<B>, Response = Response<D>>,
    C: Condition,
    A: Answer<request::Parts, Response<D>>,
    D: Default + 'static,
{
    type Output = Result<Response<D>, I::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            match stage.as_mut().project() {
                StageProjection::Asking { load, guard, then } => {
                    let loaded = ready!(Pin::new(load).poll(context));
                    let Some((mut inner, request)) = then.take() else {
                        // Polled again after it was ready, which no executor does.
                        return Poll::Pending;
                    };
                    match loaded {
                        Ok(session) if guard.lets_in(&session) => {
                            let call = inner.call(request);
                            stage.set(Stage::Calling { call });
                        }
                        #[cfg_attr(
                            not(feature = "device-bound"),
                            expect(unused_variables, reason = "only a device can be asked again")
                        )]
                        Ok(session) => {
                            let parts = request.into_parts().0;
                            #[cfg(feature = "device-bound")]
                            if let Some(to) = again(guard, &session, &parts) {
                                return Poll::Ready(Ok(to));
                            }
                            return Poll::Ready(Ok(guard.refuse(&parts)));
                        }
                        Err(error) => return Poll::Ready(Ok(failed(Failure::Load(error)))),
                    }
                }
                StageProjection::Calling { call } => return call.poll(context),
            }
        }
    }
}

/// The answer that makes the browser prove its device's key and repeat the request.
#[cfg(feature = "device-bound")]
pub(crate) fn again<C: Condition, N, A, D: Default>(
    guard: &Guard<C, N, A>,
    session: &Session,
    parts: &request::Parts,
) -> Option<Response<D>> {
    let mut from = parts.headers.get_all("sec-fetch-site").iter();
    let from = match (from.next(), from.next()) {
        (Some(only), None) => Some(only.as_bytes()),
        _ => None,
    };
    let to = guard.asks_for_proof(session, from, parts.uri.path(), parts.uri.query())?;
    let mut response = super::bare(StatusCode::TEMPORARY_REDIRECT);
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(to).ok()?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

impl<C: Clone, N, A> Clone for Guard<C, N, A> {
    fn clone(&self) -> Self {
        Self {
            condition: self.condition.clone(),
            answer: Arc::clone(&self.answer),
            leaves_idle: self.leaves_idle,
            of: PhantomData,
        }
    }
}

impl<I: Clone, C: Clone, N, A> Clone for GuardService<I, C, N, A> {
    fn clone(&self) -> Self {
        self.guard.around(self.inner.clone())
    }
}

impl<C: fmt::Debug, N, A> fmt::Debug for Guard<C, N, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.condition).finish()
    }
}

impl<I: fmt::Debug, C: fmt::Debug, N, A> fmt::Debug for GuardService<I, C, N, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardService")
            .field("inner", &self.inner)
            .field("guard", &self.guard)
            .finish()
    }
}

impl<I, F, C, N, A, B> fmt::Debug for GuardFuture<I, F, C, N, A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardFuture").finish_non_exhaustive()
    }
}
