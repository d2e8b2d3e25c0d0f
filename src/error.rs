//! Errors: one type for each kind of call.
//!
//! Every message says what was wrong, where, and what to do. No message shows a key, a token or a
//! value. The names of settings and of a session's entries are shown. docs/errors.md lists them
//! all, and a test compares it with the enums.

#[cfg(feature = "server")]
mod backend;
mod refusal;
mod size;

use std::error::Error;
use std::fmt;
use std::time::Duration;

#[cfg(feature = "server")]
pub use backend::{BackendError, BackendErrorKind};
pub use refusal::{Origin, Refusal};
pub(crate) use size::{Measure, TooLarge};

/// One value of each variant. A variant that is left out does not compile.
#[cfg(all(test, feature = "managed-keys", feature = "server", feature = "tower"))]
macro_rules! one_of_each {
    ($type:ty: $($pattern:pat => $value:expr,)+) => {{
        let _ = |each: &$type| match each {
            $($pattern => {})+
        };
        vec![$($value),+]
    }};
}
#[cfg(all(test, feature = "managed-keys", feature = "server", feature = "tower"))]
pub(crate) use one_of_each;

/// The error of a token that does not open.
///
/// `Display` and `Debug` are the same for every reason, so the error reveals nothing if it reaches
/// a client. [`reason`](Self::reason) is for the operator.
///
/// ```
/// # use sealed_session::{AppKey, Refusal, Sealer};
/// let sealer = Sealer::new(AppKey::generate()?, "invitation")?;
/// let error = sealer.open("junk").unwrap_err();
/// assert_eq!(error.reason(), Refusal::Malformed); // for your log, not for the client
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct OpenError(Refusal);

impl OpenError {
    /// Why the token did not open, for logs and metrics.
    pub fn reason(&self) -> Refusal {
        self.0
    }
}

impl From<Refusal> for OpenError {
    fn from(reason: Refusal) -> Self {
        Self(reason)
    }
}

impl fmt::Debug for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenError").finish_non_exhaustive()
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the token does not open; refuse it, and log the error's `reason`")
    }
}

impl Error for OpenError {}

/// An invalid setting: its name, what is wrong with it, and what to do.
///
/// ```
/// # use std::time::Duration;
/// # use sealed_session::{AppKey, CookieStore};
/// let builder = CookieStore::builder(AppKey::generate()?).lifetime(Duration::ZERO);
/// assert_eq!(builder.build().unwrap_err().setting(), "lifetime");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    setting: String,
    problem: String,
}

impl ConfigError {
    pub(crate) fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            setting: setting.into(),
            problem: problem.into(),
        }
    }

    /// The setting's name: a builder's method, a field of a configuration file or an environment
    /// variable.
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// What is wrong with the setting, and what to do.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.problem)
    }
}

impl Error for ConfigError {}

/// The kind of a [`SessionError`].
///
/// ```
/// use sealed_session::{ErrorKind, Session, SessionError};
///
/// fn note(session: &Session, text: &str) -> Result<&'static str, SessionError> {
///     match session.insert("note", text) {
///         Ok(()) => Ok("noted"),
///         Err(error) if error.kind() == ErrorKind::TooLarge => Ok("please write less"),
///         Err(error) => Err(error),
///     }
/// }
///
/// # let session = Session::new();
/// assert_eq!(note(&session, "milk")?, "noted");
/// assert_eq!(note(&session, &"milk ".repeat(1000))?, "please write less");
/// # Ok::<(), SessionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The stored value has another type than the requested one.
    WrongType,
    /// A session cannot hold a value of this type.
    NotStorable,
    /// The session would no longer fit its cookie, or the subject is too long.
    TooLarge,
    /// The deadline is later than the store's settings allow.
    TooLongLived,
    /// The response already has the session, so the change came too late.
    Closed,
    /// This session's store cannot give an entry to one request alone: see
    /// [`Session::claim`](crate::Session::claim).
    NotClaimable,
}

/// The error of a call on a [`Session`](crate::Session). The session is unchanged.
///
/// The message names the entry and the types or sizes, never a value. With a framework's feature, a
/// handler can return this error: the response is a 500, which has the message as its body in debug
/// builds only.
///
/// ```
/// # use sealed_session::{ErrorKind, Session};
/// let session = Session::new();
/// session.insert("user_id", 42)?;
/// let error = session.get::<String>("user_id").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::WrongType);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionError {
    kind: ErrorKind,
    message: String,
    sizes: Option<(usize, usize)>,
}

impl SessionError {
    pub(crate) fn new(kind: ErrorKind, message: String) -> Self {
        Self {
            kind,
            message,
            sizes: None,
        }
    }

    pub(crate) fn wrong_type(what: impl fmt::Display, problem: impl fmt::Display) -> Self {
        let message = format!(
            "{what}: {problem}; read the type that was stored, or give the value up with \
             `get_or_remove`"
        );
        Self::new(ErrorKind::WrongType, message)
    }

    pub(crate) fn not_storable(what: impl fmt::Display, problem: impl fmt::Display) -> Self {
        let message = format!("{what}: {problem}; store it as text, or as a simpler type");
        Self::new(ErrorKind::NotStorable, message)
    }

    /// A size and its limit, in bytes.
    pub(crate) fn sized(message: String, size: usize, limit: usize) -> Self {
        Self {
            kind: ErrorKind::TooLarge,
            message,
            sizes: Some((size, limit)),
        }
    }

    pub(crate) fn closed() -> Self {
        let message = "the session was saved and its response is on the way; change it before \
                       the handler returns";
        Self::new(ErrorKind::Closed, message.to_owned())
    }

    /// The kind of error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// For [`ErrorKind::TooLarge`]: the size that the session or subject would have had, and the
    /// limit.
    ///
    /// Both are in bytes: of the cookie's name and value together, of the session in a backend, or
    /// of a subject. If a session in a backend has too many entries, both are numbers of entries.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// let session = store.load_from::<str>([]);
    /// let error = session.insert("notes", "x".repeat(5000)).unwrap_err();
    /// let (size, limit) = error.sizes().ok_or("another error")?;
    /// assert!(size > 5000 && limit <= 4096);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sizes(&self) -> Option<(usize, usize)> {
        self.sizes
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SessionError {}

/// The error of a session that could not be saved. Nothing was sent, and the session is unchanged.
///
/// ```
/// use http::StatusCode;
/// use sealed_session::{AppKey, CookieStore, SaveError};
///
/// fn status(error: &SaveError) -> StatusCode {
///     if error.is_conflict() {
///         return StatusCode::CONFLICT; // the client may try again
///     }
///     eprintln!("{error}"); // in a service: your log, with the causes
///     StatusCode::INTERNAL_SERVER_ERROR
/// }
///
/// let one = CookieStore::new(AppKey::generate()?);
/// let other = CookieStore::new(AppKey::generate()?);
/// let session = one.load_from::<str>([]);
/// session.insert("user_id", 42)?;
/// let error = other.respond(&session).err().ok_or("it was saved")?;
/// assert_eq!(status(&error), 500);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveError(pub(crate) SaveErrorKind);

/// The cause of a [`SaveError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SaveErrorKind {
    Random(RandomError),
    /// No key may seal now: the last one has stopped sealing, or the keys may be out of date.
    #[cfg(feature = "managed-keys")]
    NoKey,
    OtherStore,
    TooLarge(TooLarge),
    #[cfg(feature = "server")]
    Backend(BackendError),
    /// At each attempt, another request saved the session first.
    #[cfg(feature = "server")]
    Conflict,
    /// Another request has given the session a new id.
    Moved,
    /// The session is bound to a device that the request does not come from.
    Unproven,
    /// Another request has taken or changed an entry that this one claimed, or has ended the
    /// session.
    #[cfg(feature = "server")]
    Claimed,
    /// Another request has saved the session, and the result does not open here.
    #[cfg(feature = "server")]
    Unreadable(Refusal),
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SaveErrorKind::Random(_) => {
                f.write_str("the session could not be sealed; the cause says why")
            }
            #[cfg(feature = "managed-keys")]
            SaveErrorKind::NoKey => f.write_str(NO_KEY),
            SaveErrorKind::OtherStore => f.write_str(
                "the session was loaded by another store; \
                 load one from this store and use `merge` to bring the values across",
            ),
            SaveErrorKind::TooLarge(too_large) => {
                write!(f, "the session is too large: {too_large}")
            }
            #[cfg(feature = "server")]
            SaveErrorKind::Backend(_) => f.write_str(BACKEND_FAILED),
            #[cfg(feature = "server")]
            SaveErrorKind::Conflict => f.write_str(
                "too many requests save this session at once, and nothing of this one was saved; \
                 try again",
            ),
            #[cfg(feature = "server")]
            SaveErrorKind::Claimed => f.write_str(
                "another request has taken or changed what this one has claimed, or has ended the \
                 session, and nothing of this one was saved; do without, or load the session again",
            ),
            SaveErrorKind::Unproven => f.write_str(
                "the visitor's session is bound to a device, and nothing proves that this request \
                 comes from there, so nothing was saved; let the visitor load the page again, or \
                 log in, which renews the session",
            ),
            SaveErrorKind::Moved => f.write_str(
                "the session has got a new id in another request, and nothing of this one was \
                 saved; try again with the new cookie",
            ),
            #[cfg(feature = "server")]
            SaveErrorKind::Unreadable(refusal) => {
                write!(
                    f,
                    "the session was saved by another request, and cannot be read: {refusal}; \
                     give all servers the same keys and the same version"
                )
            }
        }
    }
}

impl Error for SaveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            SaveErrorKind::Random(error) => Some(error),
            #[cfg(feature = "server")]
            SaveErrorKind::Backend(error) => Some(error),
            _ => None,
        }
    }
}

impl SaveError {
    /// Whether another request caused the error. That request gave the session a new id, took an
    /// entry that this one [claimed](crate::Session::claim), or saved the session first at each
    /// attempt. Also true if the session is bound to a device, and this request does not prove that
    /// it comes from there ([`Refusal::Unproven`]).
    ///
    /// Nothing is wrong with the store. Answer with status 409, for example: the client may try
    /// again with its newest cookie.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, RevocationList};
    /// # let builder = CookieStore::builder(AppKey::generate()?);
    /// let store = builder.revocations(RevocationList::new()).build()?;
    /// # let session = store.load_from::<str>([]);
    /// # session.insert("user_id", 42)?;
    /// # let cookie = store.respond(&session)?.cookie_header();
    /// // Two requests come with the same cookie, and one renews the session:
    /// let (one, other) = (store.load_from([&cookie]), store.load_from([&cookie]));
    /// one.renew();
    /// store.respond(&one)?;
    ///
    /// other.insert("visits", 1)?;
    /// assert!(store.respond(&other).unwrap_err().is_conflict());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_conflict(&self) -> bool {
        match self.0 {
            SaveErrorKind::Moved | SaveErrorKind::Unproven => true,
            #[cfg(feature = "server")]
            SaveErrorKind::Conflict | SaveErrorKind::Claimed => true,
            _ => false,
        }
    }

    /// The backend's error, if the backend failed.
    #[cfg(feature = "server")]
    pub fn backend(&self) -> Option<&BackendError> {
        match &self.0 {
            SaveErrorKind::Backend(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(feature = "server")]
impl From<BackendError> for SaveError {
    fn from(error: BackendError) -> Self {
        Self(SaveErrorKind::Backend(error))
    }
}

impl From<RandomError> for SaveError {
    fn from(error: RandomError) -> Self {
        Self(SaveErrorKind::Random(error))
    }
}

impl From<NotSealed> for SaveError {
    fn from(error: NotSealed) -> Self {
        match error {
            NotSealed::Random(error) => error.into(),
            #[cfg(feature = "managed-keys")]
            NotSealed::NoKey => Self(SaveErrorKind::NoKey),
        }
    }
}

/// A request has no usable session, and the client is not to blame.
///
/// With a framework's feature, a handler can return this error: the response is a 500, which has
/// the message as its body in debug builds only.
///
/// ```
/// # #[cfg(feature = "redis")] {
/// # use sealed_session::{AppKey, CookieStore, RevocableCookieStore, Session};
/// # use sealed_session::server::{BackendError, BackendErrorKind, Redis};
/// # let (key, redis) = (AppKey::generate()?, Redis::open("redis://127.0.0.1:6379")?);
/// # let session = Session::new();
/// # session.insert("user_id", 42)?;
/// # let cookie = CookieStore::new(key.clone()).respond(&session)?.cookie_header();
/// # let store = RevocableCookieStore::builder(key, redis).build()?;
/// // The store has not heard from Redis:
/// let error = store.load_from([&cookie]).unwrap_err();
/// let why = error.backend().map(BackendError::kind);
/// assert_eq!(why, Some(BackendErrorKind::Unavailable)); // answer 503
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(any(feature = "tower", feature = "server"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError(pub(crate) LoadErrorKind);

/// The cause of a [`LoadError`].
#[cfg(any(feature = "tower", feature = "server"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoadErrorKind {
    #[cfg(feature = "tower")]
    MissingLayer,
    #[cfg(feature = "tower")]
    SecondLayer,
    /// The layer was done with the request before its session was loaded.
    #[cfg(feature = "tower")]
    TooLate,
    /// The request's host has no store.
    #[cfg(feature = "tower")]
    Host(HostError),
    #[cfg(feature = "server")]
    Backend(BackendError),
}

/// The error of a host without a store: see [`HostStores`](crate::HostStores).
///
/// ```
/// # use sealed_session::{AppKey, CookieStore, HostStores};
/// # let store = CookieStore::new(AppKey::generate()?);
/// let shop = move |host: &str| (host == "shop.example.org").then(|| store.clone());
/// let stores = HostStores::new(move |host| Ok(shop(host)));
///
/// let error = stores.store("evil.example").unwrap_err();
/// assert!(error.is_unknown()); // answer 404
/// assert_eq!(error.config(), None); // and nothing is wrong with your settings
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError(pub(crate) HostErrorKind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostErrorKind {
    Unknown,
    Config(ConfigError),
}

impl HostError {
    /// Whether there is no such host. Anybody can send any host's name, so the client is to blame:
    /// answer 404 or 421. [`HostStores::store_of`](crate::HostStores::store_of) has an example.
    pub fn is_unknown(&self) -> bool {
        self.0 == HostErrorKind::Unknown
    }

    /// The error of the host's settings, if there is such a host.
    pub fn config(&self) -> Option<&ConfigError> {
        match &self.0 {
            HostErrorKind::Unknown => None,
            HostErrorKind::Config(error) => Some(error),
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            HostErrorKind::Unknown => {
                "no sessions for this host: the request names one that is unknown, several, or \
                 none; answer 404, or let the function of `HostStores` know the host"
            }
            HostErrorKind::Config(_) => {
                "the store of the request's host cannot be made; correct the setting that the \
                 cause names"
            }
        })
    }
}

impl Error for HostError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.config().map(|error| error as _)
    }
}

#[cfg(feature = "tower")]
impl LoadError {
    /// The error of the request's host, if the layer has [`HostStores`](crate::HostStores) and they
    /// have no store for this host.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use std::future::{Ready, ready};
    /// # use std::task::{Context, Poll};
    /// # use http::{Request, Response, StatusCode};
    /// # use sealed_session::{AppKey, CookieStore, HostError, HostStores, SessionLayer};
    /// # use sealed_session::frameworks::tower::{Failure, Layer, RequireSession};
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
    /// # let known = move |host: &str| (host == "example.org").then(|| store.clone());
    /// # let stores = HostStores::new(move |host| Ok(known(host)));
    /// let layer = SessionLayer::new(stores).on_error(|failure: &Failure| {
    ///     let mut response = Response::new("an error, see the log".to_owned());
    ///     *response.status_mut() = match failure {
    ///         Failure::Load(error) if error.host().is_some_and(HostError::is_unknown) => {
    ///             StatusCode::NOT_FOUND // the client asked for a host that we do not have
    ///         }
    ///         _ => StatusCode::INTERNAL_SERVER_ERROR,
    ///     };
    ///     response
    /// });
    /// # let mut service = layer.layer(RequireSession::new().layer(Handler));
    /// # let request = Request::builder().uri("/").header("host", "evil.example").body(())?;
    /// # let response = pollster::block_on(service.call(request))?;
    /// # assert_eq!(response.status(), StatusCode::NOT_FOUND);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn host(&self) -> Option<&HostError> {
        match &self.0 {
            LoadErrorKind::Host(error) => Some(error),
            _ => None,
        }
    }

    /// Whether you asked for the session too late: the response had left, or the request was given
    /// up.
    ///
    /// This happens if a streamed body, an upgraded connection or a separate task is the first to
    /// ask for the session. Get it before the handler returns, and keep it. Then you can read it at
    /// any time.
    pub fn is_too_late(&self) -> bool {
        matches!(self.0, LoadErrorKind::TooLate)
    }
}

#[cfg(feature = "server")]
impl LoadError {
    /// The backend's error, if the backend failed.
    pub fn backend(&self) -> Option<&BackendError> {
        match &self.0 {
            LoadErrorKind::Backend(error) => Some(error),
            #[cfg(feature = "tower")]
            _ => None,
        }
    }
}

#[cfg(any(feature = "tower", feature = "server"))]
impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            #[cfg(feature = "tower")]
            LoadErrorKind::MissingLayer => {
                "no session layer has seen the request; add `SessionLayer::new(store)` around the \
                 handler, outside of everything that asks for the session, with the same name if \
                 the session has one"
            }
            #[cfg(feature = "tower")]
            LoadErrorKind::SecondLayer => {
                "two session layers of the same name are around the handler; leave one out, or \
                 give one a name with `named` and a store with another cookie"
            }
            #[cfg(feature = "tower")]
            LoadErrorKind::TooLate => {
                "the session was not loaded when the response left, so it cannot be saved, and no \
                 cache knows that the response depends on it; get the session before the handler \
                 returns, and keep it for code that runs later"
            }
            #[cfg(feature = "tower")]
            LoadErrorKind::Host(_) => "the request's host has no sessions; the cause says why",
            #[cfg(feature = "server")]
            LoadErrorKind::Backend(_) => BACKEND_FAILED,
        })
    }
}

#[cfg(any(feature = "tower", feature = "server"))]
impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            #[cfg(feature = "tower")]
            LoadErrorKind::Host(error) => Some(error),
            #[cfg(feature = "server")]
            LoadErrorKind::Backend(error) => Some(error),
            #[cfg(feature = "tower")]
            _ => None,
        }
    }
}

/// The operating system's random source failed. There is no fallback, because a predictable key, id
/// or nonce is worse than an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomError(pub(crate) ());

impl fmt::Display for RandomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the operating system's random source failed; let the process call `getrandom`, or \
             read /dev/urandom",
        )
    }
}

impl Error for RandomError {}

/// An error and its causes, in one line.
#[cfg(any(feature = "tower", feature = "tracing"))]
pub(crate) struct WithCauses<'e>(pub(crate) &'e (dyn Error + 'static));

#[cfg(any(feature = "tower", feature = "tracing"))]
impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        std::iter::successors(self.0.source(), |&cause| cause.source())
            .try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// Why an envelope does not seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSealed {
    Random(RandomError),
    #[cfg(feature = "managed-keys")]
    NoKey,
}

#[cfg(feature = "server")]
const BACKEND_FAILED: &str = "the session's backend failed; see that it runs and can be reached, \
                              and what the cause says";

const NO_KEY: &str = "no key may seal now, because the key store has been out of reach for too \
                      long; bring it back, or see what the events of the managed keys say";

impl From<RandomError> for NotSealed {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

impl fmt::Display for NotSealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(error) => error.fmt(f),
            #[cfg(feature = "managed-keys")]
            Self::NoKey => f.write_str(NO_KEY),
        }
    }
}

impl Error for NotSealed {}

/// The error of a [`Sealer`](crate::Sealer) that could not seal some bytes.
///
/// ```
/// # use sealed_session::{AppKey, SealError, Sealer};
/// let sealer = Sealer::new(AppKey::generate()?, "upload")?;
/// let error = sealer.seal(&[0; 100_000]).unwrap_err();
/// assert!(matches!(error, SealError::TooLarge { limit: Sealer::MAX_PLAINTEXT, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The random source failed.
    Random(RandomError),
    /// There are more bytes than a [`Sealer`](crate::Sealer) takes.
    #[non_exhaustive]
    TooLarge {
        /// The number of bytes that were given.
        size: usize,
        /// The most bytes that are possible.
        limit: usize,
    },
    /// No key may seal now: the store of the managed keys has been out of reach for too long.
    NoKey,
    /// The token would live longer than the managed key it is sealed under.
    #[non_exhaustive]
    LongLived {
        /// How long it was to live.
        lifetime: Duration,
        /// The longest that the keys allow: see `ManagedKeysBuilder::longest_lifetime`.
        limit: Duration,
    },
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(_) => f.write_str("the token could not be sealed; the cause says why"),
            Self::TooLarge { size, limit } => {
                write!(
                    f,
                    "{size} bytes are too many to seal in one token, the limit is {limit}; keep \
                     the data elsewhere, and seal its key"
                )
            }
            Self::NoKey => f.write_str(NO_KEY),
            Self::LongLived { lifetime, limit } => write!(
                f,
                "the token was to live for {lifetime:?}, and its key may be gone by then: it is \
                 sure to open for {limit:?}; raise the managed keys' `longest_lifetime`"
            ),
        }
    }
}

impl Error for SealError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Random(error) => Some(error),
            Self::TooLarge { .. } | Self::NoKey | Self::LongLived { .. } => None,
        }
    }
}

impl From<NotSealed> for SealError {
    fn from(error: NotSealed) -> Self {
        match error {
            NotSealed::Random(error) => error.into(),
            #[cfg(feature = "managed-keys")]
            NotSealed::NoKey => Self::NoKey,
        }
    }
}

impl From<RandomError> for SealError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}
