//! A session that is loaded on first use, once for all who ask for it.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
#[cfg(feature = "tower-sessions")]
use std::sync::Weak;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
#[cfg(feature = "device-bound")]
use http::{Method, Uri};

use super::Sessions;
#[cfg(feature = "device-bound")]
use crate::device::{self, DeviceAnswer};
#[cfg(feature = "tower-sessions")]
use crate::error::SaveError;
use crate::error::{LoadError, LoadErrorKind};
use crate::event::{Event, Events};
#[cfg(feature = "tower-sessions")]
use crate::record::SessionId;
#[cfg(feature = "tower-sessions")]
use crate::session::Twin;
use crate::session::{Session, Status};

/// A request's session, loaded on first use. [`SessionLayer`](super::SessionLayer) puts it into the
/// request's extensions; `N` is the layer's name, if it has one.
///
/// You need it where there is no extractor: see the example of [the module](super).
pub struct PendingSession<N = ()> {
    pub(crate) request: Arc<dyn Ask>,
    of: PhantomData<fn() -> N>,
}

impl<N> PendingSession<N> {
    /// Returns the session. The first call loads it, and all calls return the same session. With a
    /// cookie store it is ready at once.
    ///
    /// After the layer has saved the session, you can still read it, but no longer change it.
    ///
    /// # Errors
    ///
    /// If two layers of this name are around the handler, or if the store's backend fails. Also if
    /// you first ask for the session after the response has left, because its headers did not tell
    /// caches that it depends on a session: see [`LoadError::is_too_late`].
    pub async fn session(&self) -> Result<Session, LoadError> {
        poll_fn(|context| self.request.poll_session(context)).await
    }

    /// Returns the session if it is there without waiting. For code that cannot wait, such as an
    /// interceptor of tonic.
    ///
    /// With a cookie store, it always is. With any other store, it is there once something has
    /// loaded it, such as a guard around your code. `None` means that the store has yet to answer.
    /// This call has asked it, and [`session`](Self::session) waits for the answer.
    ///
    /// ```
    /// # use http::Request;
    /// # use sealed_session::PendingSession;
    /// fn user_id<B>(request: &Request<B>) -> Option<u64> {
    ///     let pending = request.extensions().get::<PendingSession>()?;
    ///     let session = pending.session_if_ready()?.ok()?;
    ///     session.get("user_id").ok()?
    /// }
    /// # assert_eq!(user_id(&Request::new(())), None);
    /// ```
    ///
    /// # Errors
    ///
    /// Inside the `Some`, those of [`session`](Self::session).
    pub fn session_if_ready(&self) -> Option<Result<Session, LoadError>> {
        let mut context = Context::from_waker(Waker::noop());
        match self.request.poll_session(&mut context) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// Makes this request not count as use of its session, even if other code asks for the session:
    /// see [`Session::leave_idle`]. It loads nothing.
    ///
    /// ```
    /// # use http::Request;
    /// # use sealed_session::PendingSession;
    /// /// In a middleware, for requests that a page makes by itself:
    /// fn mark<B>(request: &Request<B>) {
    ///     if request.uri().path() == "/news/count"
    ///         && let Some(pending) = request.extensions().get::<PendingSession>()
    ///     {
    ///         pending.leave_idle();
    ///     }
    /// }
    /// # mark(&Request::new(()));
    /// ```
    pub fn leave_idle(&self) {
        self.request.leave_idle();
    }

    /// Makes loading fail, because another layer of the same name has seen the request too.
    #[cfg(feature = "rocket")]
    pub(crate) fn refuse(&self) {
        self.request.refuse();
    }
}

/// The clone belongs to the same request.
impl<N> Clone for PendingSession<N> {
    fn clone(&self) -> Self {
        Self {
            request: Arc::clone(&self.request),
            of: PhantomData,
        }
    }
}

impl<N> fmt::Debug for PendingSession<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSession").finish_non_exhaustive()
    }
}

/// The session from the layer named `N`: `SessionLayer::new(store).named::<Admin>()`. It is an
/// extractor with each framework's feature, and dereferences to the [`Session`].
///
/// ```
/// # use sealed_session::{Session, SessionError, SessionOf};
/// struct Admin;
///
/// fn name(session: SessionOf<Admin>) -> Result<Option<String>, SessionError> {
///     session.get("name")
/// }
///
/// // In a test of the handler:
/// assert_eq!(name(Session::new().into())?, None);
/// # Ok::<(), SessionError>(())
/// ```
pub struct SessionOf<N> {
    session: Session,
    of: PhantomData<fn() -> N>,
}

impl<N> SessionOf<N> {
    /// Returns the session without the name.
    pub fn into_inner(self) -> Session {
        self.session
    }
}

impl<N> From<Session> for SessionOf<N> {
    fn from(session: Session) -> Self {
        Self {
            session,
            of: PhantomData,
        }
    }
}

impl<N> Deref for SessionOf<N> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

/// The clone is the same session.
impl<N> Clone for SessionOf<N> {
    fn clone(&self) -> Self {
        self.session.clone().into()
    }
}

impl<N> fmt::Debug for SessionOf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionOf").field(&self.session).finish()
    }
}

/// A future that loads a request's session.
#[derive(Clone)]
#[must_use = "nothing is loaded until it is polled"]
pub struct LoadFuture {
    /// `None` if no layer has seen the request.
    request: Option<Arc<dyn Ask>>,
}

impl LoadFuture {
    pub(crate) fn of<N>(pending: Option<&PendingSession<N>>) -> Self {
        Self {
            request: pending.map(|pending| Arc::clone(&pending.request)),
        }
    }
}

impl Future for LoadFuture {
    type Output = Result<Session, LoadError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.request {
            Some(request) => request.poll_session(context),
            None => {
                let error = LoadError(LoadErrorKind::MissingLayer);
                Events::default().report(Event::LoadFailed, Some(&error));
                Poll::Ready(Err(error))
            }
        }
    }
}

impl fmt::Debug for LoadFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadFuture").finish_non_exhaustive()
    }
}

/// The values of the request header that may hold a token, kept until something asks for the
/// session.
pub(crate) enum Fields {
    Shared(HeaderValue),
    Joined(Vec<u8>),
}

impl Fields {
    pub(crate) fn of(headers: &HeaderMap, name: &HeaderName) -> Self {
        let values = headers.get_all(name);
        let mut first_two = values.iter();
        match (first_two.next(), first_two.next()) {
            (Some(only), None) => Self::Shared(only.clone()),
            _ => Self::joined(name, || values.iter().map(HeaderValue::as_bytes)),
        }
    }

    /// Joins several fields into one, which means the same (RFC 9113, section 8.2.3, for cookies;
    /// RFC 9110, section 5.3, for others), with one allocation.
    pub(crate) fn joined<'a, I: Iterator<Item = &'a [u8]>>(
        name: &HeaderName,
        values: impl Fn() -> I,
    ) -> Self {
        let separator = if *name == COOKIE { b"; " } else { b", " };
        let length = values().map(|value| value.len() + separator.len());
        let mut joined = Vec::with_capacity(length.sum());
        for value in values() {
            if !joined.is_empty() {
                joined.extend_from_slice(separator);
            }
            joined.extend_from_slice(value);
        }
        Self::Joined(joined)
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Shared(value) => value.as_bytes(),
            Self::Joined(bytes) => bytes,
        }
    }
}

/// A layer's store and its answer to failures.
pub(crate) struct Settings<S, H> {
    pub(super) store: S,
    pub(super) on_error: Arc<H>,
}

impl<S: Sessions, H> Settings<S, H> {
    /// The store's answer in place of the service, if device binding has one.
    #[cfg(feature = "device-bound")]
    pub(crate) fn device_answer(&self, request: &device::Request<'_, '_>) -> Option<DeviceAnswer> {
        self.store.device_answer(request)
    }

    /// The same for a request of `http`'s types.
    #[cfg(feature = "device-bound")]
    pub(crate) fn device_answer_to(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<DeviceAnswer> {
        let each = |name: &'static str, take: &mut dyn FnMut(_)| {
            let values = headers.get_all(name).iter();
            values.for_each(|value| take(HeaderValue::as_bytes(value)));
        };
        self.device_answer(&device::Request {
            method: method.as_str(),
            path: uri.path(),
            each: &each,
        })
    }

    pub(crate) fn request_header(&self) -> HeaderName {
        self.store.request_header()
    }
}

/// A request, whatever its store.
pub(crate) trait Ask: Send + Sync {
    fn poll_session(&self, context: &mut Context<'_>) -> Poll<Result<Session, LoadError>>;

    fn leave_idle(&self);

    /// Opens the request's token if nothing did, but asks no backend and hands nothing out. Returns
    /// the id of the session that the token names.
    #[cfg(feature = "tower-sessions")]
    fn look(&self) -> Option<SessionId>;

    /// Gives the session a twin as soon as it is loaded, and if it is new, this id.
    #[cfg(feature = "tower-sessions")]
    fn join(&self, twin: Weak<dyn Twin>, new_id: Option<SessionId>);

    /// Saves the loaded session, without a response.
    #[cfg(feature = "tower-sessions")]
    fn save(
        &self,
        session: &Session,
    ) -> Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send>>;

    /// Makes loading fail, because another layer of the same name has seen the request too.
    fn refuse(&self);
}

struct OneRequest<S: Sessions, H> {
    settings: Arc<Settings<S, H>>,
    fields: Fields,
    state: Mutex<State<S::Load>>,
}

struct State<L> {
    progress: Progress<L>,
    /// Whether the layer has finished the request.
    over: bool,
    /// Whether the request does not count as use.
    leaves_idle: bool,
    #[cfg(feature = "tower-sessions")]
    twin: Option<(Weak<dyn Twin>, Option<SessionId>)>,
}

enum Progress<L> {
    Unasked,
    /// The token is open, but nothing has asked for the session yet.
    #[cfg(feature = "tower-sessions")]
    Opened(L),
    Loading(Loading<L>),
    Loaded(Result<Session, LoadError>),
}

/// A load that had to wait, and the tasks that wait for it.
struct Loading<L> {
    load: L,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting(Mutex<Vec<Waker>>);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let tasks = std::mem::take(&mut *lock(&self.0));
        tasks.into_iter().for_each(Waker::wake);
    }
}

impl<L: Future + Unpin> Loading<L> {
    fn poll(&mut self, task: &Waker) -> Poll<L::Output> {
        let mut tasks = lock(&self.waiting.0);
        if !tasks.iter().any(|known| known.will_wake(task)) {
            tasks.push(task.clone());
        }
        drop(tasks);
        let all = Waker::from(Arc::clone(&self.waiting));
        Pin::new(&mut self.load).poll(&mut Context::from_waker(&all))
    }
}

impl<S: Sessions, H: Send + Sync> Ask for OneRequest<S, H> {
    fn poll_session(&self, context: &mut Context<'_>) -> Poll<Result<Session, LoadError>> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let polled = match &mut state.progress {
            Progress::Loaded(outcome) => return Poll::Ready(outcome.clone()),
            _ if state.over => Poll::Ready(Err(LoadError(LoadErrorKind::TooLate))),
            Progress::Loading(loading) => loading.poll(context.waker()),
            progress => {
                let mut load = match std::mem::replace(progress, Progress::Unasked) {
                    #[cfg(feature = "tower-sessions")]
                    Progress::Opened(load) => load,
                    _ => self.settings.store.load(self.fields.as_bytes()),
                };
                // A load that does not wait needs no list of waiting tasks.
                match Pin::new(&mut load).poll(context) {
                    Poll::Ready(outcome) => Poll::Ready(outcome),
                    Poll::Pending => {
                        let waiting = Arc::default();
                        let mut loading = Loading { load, waiting };
                        let polled = loading.poll(context.waker());
                        state.progress = Progress::Loading(loading);
                        polled
                    }
                }
            }
        };
        let Poll::Ready(outcome) = polled else {
            return Poll::Pending;
        };
        let loaded = Progress::Loaded(outcome.clone());
        let before = std::mem::replace(&mut state.progress, loaded);
        if let (true, Ok(session)) = (state.leaves_idle, &outcome) {
            session.leave_idle();
        }
        #[cfg(feature = "tower-sessions")]
        if let (Some((twin, new_id)), Ok(session)) = (&state.twin, &outcome) {
            session.join(Weak::clone(twin), *new_id);
        }
        drop(guard);
        if let Err(error) = &outcome {
            self.settings.store.report(Event::LoadFailed, Some(error));
        }
        if let Progress::Loading(loading) = before {
            loading.waiting.wake();
        }
        Poll::Ready(outcome)
    }

    fn leave_idle(&self) {
        let mut state = lock(&self.state);
        state.leaves_idle = true;
        if let Progress::Loaded(Ok(session)) = &state.progress {
            session.leave_idle();
        }
    }

    #[cfg(feature = "tower-sessions")]
    fn look(&self) -> Option<SessionId> {
        let mut state = lock(&self.state);
        if !matches!(state.progress, Progress::Unasked) {
            return None;
        }
        let (id, load) = self.settings.store.open(self.fields.as_bytes());
        state.progress = Progress::Opened(load);
        id
    }

    #[cfg(feature = "tower-sessions")]
    fn join(&self, twin: Weak<dyn Twin>, new_id: Option<SessionId>) {
        let mut state = lock(&self.state);
        if let Progress::Loaded(Ok(session)) = &state.progress {
            session.join(Weak::clone(&twin), new_id);
        }
        state.twin = Some((twin, new_id));
    }

    #[cfg(feature = "tower-sessions")]
    fn save(
        &self,
        session: &Session,
    ) -> Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send>> {
        let save = self.settings.store.save(session);
        Box::pin(async move { save.await.map(drop) })
    }

    fn refuse(&self) {
        let error = LoadError(LoadErrorKind::SecondLayer);
        self.settings.store.report(Event::LoadFailed, Some(&error));
        lock(&self.state).progress = Progress::Loaded(Err(error));
    }
}

/// The layer's side of a request. If it is dropped without [`answer`](Self::answer), there is no
/// response: the service failed or panicked, or the request was cancelled.
pub(crate) struct Open<S: Sessions, H> {
    request: Arc<OneRequest<S, H>>,
    is_answered: bool,
    /// The session that the request ended with, if something has loaded it.
    session: Option<Session>,
}

impl<S: Sessions, H> Open<S, H> {
    pub(crate) fn new<N>(settings: Arc<Settings<S, H>>, fields: Fields) -> (Self, PendingSession<N>)
    where
        H: Send + Sync + 'static,
    {
        let state = State {
            progress: Progress::Unasked,
            over: false,
            leaves_idle: false,
            #[cfg(feature = "tower-sessions")]
            twin: None,
        };
        let request = Arc::new(OneRequest {
            settings,
            fields,
            state: Mutex::new(state),
        });
        let pending = PendingSession {
            request: Arc::<OneRequest<S, H>>::clone(&request),
            of: PhantomData,
        };
        (
            Self {
                request,
                is_answered: false,
                session: None,
            },
            pending,
        )
    }

    pub(super) fn settings(&self) -> &Settings<S, H> {
        &self.request.settings
    }

    /// Makes loading fail, because another layer of the same name has seen the request before.
    pub(crate) fn refuse(&self)
    where
        H: Send + Sync,
    {
        self.request.refuse();
    }

    /// Ends the request, and closes the session if something has loaded it.
    pub(crate) fn finish(&mut self) {
        self.end();
        if let Some(session) = &self.session {
            session.close();
        }
    }

    /// Notes that the response is there.
    pub(super) fn answer(&mut self) {
        self.is_answered = true;
    }

    /// The session that the request ended with, if something has loaded it.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Ends the request: from now on, nothing can load the session.
    fn end(&mut self) {
        // Usually nothing holds the request any more, and then nothing has to be locked.
        if let Some(OneRequest { state, .. }) = Arc::get_mut(&mut self.request) {
            let state = state.get_mut().unwrap_or_else(PoisonError::into_inner);
            let progress = std::mem::replace(&mut state.progress, Progress::Unasked);
            if let Progress::Loaded(Ok(session)) = progress {
                self.session = Some(session);
            }
            return;
        }
        let mut state = lock(&self.request.state);
        state.over = true;
        let waiting = match &state.progress {
            Progress::Loaded(Ok(session)) => {
                self.session = Some(session.clone());
                None
            }
            Progress::Loading(loading) => Some(Arc::clone(&loading.waiting)),
            _ => None,
        };
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl<S: Sessions, H> Drop for Open<S, H> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        self.finish();
        let is_changed = |session: &Session| session.status() != Status::Unmodified;
        if self.session.as_ref().is_some_and(is_changed) {
            self.settings().store.report(Event::Unsaved, None);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
