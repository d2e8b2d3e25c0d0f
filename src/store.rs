//! The cookie store: the synchronous shell around the flow, and the one place that asks the time.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

use crate::cookie::CookieConfig;
use crate::envelope::{Envelope, KeyRing, Random, Use, check_context, os_random};
use crate::error::{ConfigError, SaveError};
use crate::event::{Event, Events};
use crate::flow::{Flow, Outgoing};
use crate::policy::{Idle, Policy};
use crate::session::Session;
use crate::time::Millis;
use crate::transport::Transport;

const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

type Clock = dyn Fn() -> SystemTime + Send + Sync;

/// Sessions that live wholly in their cookie: loads them from requests, saves them into
/// responses, and keeps nothing in between.
///
/// Nothing waits, nothing can fail while loading. Cloning is cheap, and clones share the keys.
///
/// ```
/// use sealed_session::{AppKey, CookieStore};
///
/// # let request = http::Request::new(());
/// # let mut response = http::Response::new(());
/// let store = CookieStore::new(AppKey::generate()?); // in a service: KeyRing::from_env()?
///
/// let session = store.load(request.headers());
/// session.insert("user_id", 42)?;
/// store.save(&session, response.headers_mut())?;
/// assert!(response.headers().contains_key("set-cookie"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct CookieStore {
    inner: Arc<Inner>,
}

struct Inner {
    flow: Flow,
    clock: Box<Clock>,
}

impl CookieStore {
    /// A store with the default settings: see [`builder`](Self::builder).
    pub fn new(ring: impl Into<KeyRing>) -> Self {
        let builder = Self::builder(ring);
        let policy = Policy::new(DEFAULT_LIFETIME, DEFAULT_LIFETIME, None, Millis::default());
        builder.assemble(policy)
    }

    /// A builder that starts from the defaults: cookie `__Host-session`, a lifetime of 24 hours,
    /// no idle timeout.
    pub fn builder(ring: impl Into<KeyRing>) -> CookieStoreBuilder {
        CookieStoreBuilder {
            ring: ring.into(),
            transport: CookieConfig::default().into(),
            former: Vec::new(),
            context: String::new(),
            lifetime: None,
            max_lifetime: None,
            idle_timeout: None,
            refresh_after: None,
            not_before: SystemTime::UNIX_EPOCH,
            clock: Box::new(SystemTime::now),
            events: Events::default(),
        }
    }

    /// The session of a request. A cookie that is absent, junk, expired or of another key gives
    /// a fresh, empty session; [`Session::origin`] tells which.
    pub fn load(&self, headers: &HeaderMap) -> Session {
        self.load_from(headers.get_all(self.inner.flow.transport.request_header()))
    }

    /// The session of a request, from the values of its Cookie fields as text or bytes; with a
    /// [`Transport`] other than a cookie, of its [`request_header`](Self::request_header).
    pub fn load_from<'a, C: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'a C>,
    ) -> Session {
        self.open(&mut cookie_fields.into_iter().map(AsRef::as_ref))
    }

    /// Not generic, so that the whole way is compiled in this crate and not in its callers'.
    fn open(&self, fields: &mut dyn Iterator<Item = &[u8]>) -> Session {
        let session = self.inner.flow.open(fields, self.now());
        if let Some(event) = Event::of_origin(session.origin_unread()) {
            self.events().report(event, None);
        }
        session
    }

    /// The request's header that a session is read from: `cookie`, unless the store has another
    /// [`Transport`].
    pub fn request_header(&self) -> HeaderName {
        self.inner.flow.transport.request_header()
    }

    /// Writes into the response's headers what the session needs: a Set-Cookie if one is due,
    /// and what keeps the response out of shared caches.
    ///
    /// It does not mark the session clean. Each response that is saved into gets the cookie.
    ///
    /// # Errors
    ///
    /// If the random source fails, or the session was loaded by another store. The headers are
    /// as they were then.
    pub fn save(&self, session: &Session, headers: &mut HeaderMap) -> Result<(), SaveError> {
        self.respond(session)?.apply(headers);
        Ok(())
    }

    /// The header changes that [`save`](Self::save) makes, for frameworks with header types of
    /// their own.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub fn respond(&self, session: &Session) -> Result<Outgoing, SaveError> {
        self.respond_with(session, &mut os_random)
    }

    pub(crate) fn respond_with(
        &self,
        session: &Session,
        random: Random<'_>,
    ) -> Result<Outgoing, SaveError> {
        let outgoing = self.inner.flow.plan(session, self.now(), random)?;
        if session.is_resealed() {
            self.events().report(Event::Resealed, None);
        }
        Ok(outgoing)
    }

    /// Exchanges the keys, for this store and all its clones, while requests run.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        self.inner.flow.envelope.replace_keys(&ring.into());
    }

    /// Refuses all sessions that were issued before `not_before`, from now on: everybody logs in
    /// again.
    pub fn set_not_before(&self, not_before: SystemTime) {
        self.inner.flow.policy.set_not_before(not_before.into());
    }

    pub(crate) fn events(&self) -> &Events {
        &self.inner.flow.bounds.events
    }

    fn now(&self) -> Millis {
        (self.inner.clock)().into()
    }
}

impl fmt::Debug for CookieStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieStore")
            .field("flow", &self.inner.flow)
            .finish_non_exhaustive()
    }
}

/// Builds a [`CookieStore`]; [`build`](Self::build) checks the settings together.
///
/// ```
/// use std::time::Duration;
/// use sealed_session::{AppKey, CookieConfig, CookieStore};
///
/// let store = CookieStore::builder(AppKey::generate()?)
///     .cookie(CookieConfig::builder().name("__Host-login").build()?)
///     .lifetime(Duration::from_secs(8 * 3600))
///     .idle_timeout(Duration::from_secs(30 * 60))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct CookieStoreBuilder {
    ring: KeyRing,
    transport: Transport,
    former: Vec<CookieConfig>,
    context: String,
    lifetime: Option<Duration>,
    max_lifetime: Option<Duration>,
    idle_timeout: Option<Duration>,
    refresh_after: Option<Duration>,
    not_before: SystemTime,
    clock: Box<Clock>,
    events: Events,
}

impl CookieStoreBuilder {
    /// The cookie's name and attributes. The name goes into the keys: a cookie of one name never
    /// opens under another.
    pub fn cookie(self, cookie: CookieConfig) -> Self {
        self.transport(cookie.into())
    }

    /// What carries the token: default a cookie, whose attributes are those of
    /// [`cookie`](Self::cookie); a [`Transport`] in a header is for clients that keep no cookies.
    /// The last of the two calls counts. A token of one does not open in the other.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// A cookie as this application has set it formerly, with another Path, Domain, Partitioned
    /// or name. It is removed when a session is destroyed, and when two different sessions come
    /// with one request. Call it for each.
    pub fn former(mut self, former: CookieConfig) -> Self {
        self.former.push(former);
        self
    }

    /// Keeps applications or stages apart that share an app key: at most 255 bytes, empty by
    /// default. Changing it ends all sessions.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// How long a new session lives, from its first save or its renewal: no refresh, re-seal or
    /// rotation extends it. Default 24 hours, or `max_lifetime` if that is shorter.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// How long any session lives at most, whatever its own deadline says. Lowering it acts at
    /// once, on sessions that are out already. Default: the lifetime.
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.max_lifetime = Some(max_lifetime);
        self
    }

    /// Ends a session that no request has asked for during this time. Default none.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = Some(idle_timeout);
        self
    }

    /// How long after the last write a request that only reads writes the time of use back:
    /// shorter is more exact and sends more cookies. Default a tenth of the idle timeout.
    pub fn refresh_after(mut self, refresh_after: Duration) -> Self {
        self.refresh_after = Some(refresh_after);
        self
    }

    /// Refuses sessions that were issued before. Default the epoch: none.
    pub fn not_before(mut self, not_before: SystemTime) -> Self {
        self.not_before = not_before;
        self
    }

    /// Where the time comes from. Default [`SystemTime::now`].
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Gets each [`Event`], for counters: it should be quick. It is called from whatever thread
    /// the event happens on, never while a session is locked. Default nothing.
    pub fn on_event(mut self, hook: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.events = Events::to(hook);
        self
    }

    /// The finished store.
    ///
    /// # Errors
    ///
    /// If a setting cannot be, or two contradict each other; the error names it.
    pub fn build(self) -> Result<CookieStore, ConfigError> {
        let policy = self.policy()?;
        Ok(self.assemble(policy))
    }

    /// Every check of [`build`](Self::build), and the lifetimes that come of them.
    pub(crate) fn policy(&self) -> Result<Policy, ConfigError> {
        check_context(&self.context)?;
        let present = self.transport.cookie();
        let is_present = |former| present.is_some_and(|cookie| cookie.is_same_cookie(former));
        if self.former.iter().any(is_present) {
            let problem = "it is the present cookie, which it would remove; leave it out";
            return Err(ConfigError::new("former", problem));
        }
        for (setting, duration) in [
            ("lifetime", self.lifetime),
            ("max_lifetime", self.max_lifetime),
            ("idle_timeout", self.idle_timeout),
            ("refresh_after", self.refresh_after),
        ] {
            if duration.is_some_and(|duration| duration < Duration::from_millis(1)) {
                return Err(ConfigError::new(
                    setting,
                    "it is shorter than a millisecond",
                ));
            }
        }
        let (lifetime, max_lifetime) = self.lifetimes()?;
        let not_before = self.not_before.into();
        Ok(Policy::new(
            lifetime,
            max_lifetime,
            self.idle()?,
            not_before,
        ))
    }

    fn lifetimes(&self) -> Result<(Duration, Duration), ConfigError> {
        match (self.lifetime, self.max_lifetime) {
            (Some(lifetime), Some(max)) if lifetime > max => {
                let problem = "it is longer than `max_lifetime`; raise that or lower this";
                Err(ConfigError::new("lifetime", problem))
            }
            (Some(lifetime), max) => Ok((lifetime, max.unwrap_or(lifetime))),
            (None, Some(max)) => Ok((DEFAULT_LIFETIME.min(max), max)),
            (None, None) => Ok((DEFAULT_LIFETIME, DEFAULT_LIFETIME)),
        }
    }

    fn idle(&self) -> Result<Option<Idle>, ConfigError> {
        match (self.idle_timeout, self.refresh_after) {
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let problem = "it does nothing without `idle_timeout`; set that or leave this out";
                Err(ConfigError::new("refresh_after", problem))
            }
            (Some(timeout), Some(refresh_after)) if refresh_after >= timeout => {
                let problem = "it must be shorter than `idle_timeout`, or visitors who are there \
                               are logged out";
                Err(ConfigError::new("refresh_after", problem))
            }
            (Some(timeout), refresh_after) => Ok(Some(Idle {
                timeout,
                refresh_after: refresh_after.unwrap_or(timeout / 10),
            })),
        }
    }

    fn assemble(self, policy: Policy) -> CookieStore {
        let used_for = Use {
            kind: self.transport.kind(),
            name: self.transport.name().to_owned(),
            context: self.context,
        };
        let envelope = Envelope::new(&self.ring, used_for);
        let flow = Flow::new(envelope, policy, self.transport, &self.former, self.events);
        CookieStore {
            inner: Arc::new(Inner {
                flow,
                clock: self.clock,
            }),
        }
    }
}

impl fmt::Debug for CookieStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieStoreBuilder")
            .field("ring", &self.ring)
            .field("transport", &self.transport)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
