//! The settings that all stores share.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::core::{Clock, StoreCore};
#[cfg(feature = "device-bound")]
use crate::binding::{Binding, DeviceBound, DeviceStage};
use crate::cookie::CookieConfig;
use crate::envelope::{Envelope, Keys, Kind, Use, check_context};
use crate::error::ConfigError;
use crate::event::{Event, Events};
use crate::flow::{Clears, Flow, Placement, SiteData};
use crate::limit::Limit;
use crate::policy::{DEFAULT_LIFETIME, Idle, Policy};
use crate::revocation::RevocationList;
use crate::transport::Transport;

/// Sets what all stores have in common: lifetimes, the cookie, hooks. `build` checks the settings
/// together.
///
/// You get one from [`CookieStore::builder`](crate::CookieStore::builder), or from `builder` of
/// another store. `P` says where that store keeps its sessions, and has settings of its own.
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
pub struct StoreBuilder<P> {
    pub(crate) placement: P,
    keys: Keys,
    transport: Transport,
    former: Vec<CookieConfig>,
    context: String,
    lifetime: Option<Duration>,
    max_lifetime: Option<Duration>,
    idle_timeout: Option<Duration>,
    refresh_after: Option<Duration>,
    #[cfg(feature = "server")]
    pub(crate) longest_request: Duration,
    not_before: SystemTime,
    pub(crate) revocations: Option<RevocationList>,
    private_by_default: bool,
    clear_site_data: Clears,
    #[cfg(feature = "device-bound")]
    device_bound: Option<DeviceBound>,
    clock: Box<Clock>,
    events: Events,
}

impl<P> StoreBuilder<P> {
    /// Starts from the defaults.
    pub(crate) fn new(keys: Keys, placement: P) -> Self {
        Self {
            placement,
            keys,
            transport: CookieConfig::default().into(),
            former: Vec::new(),
            context: String::new(),
            lifetime: None,
            max_lifetime: None,
            idle_timeout: None,
            refresh_after: None,
            #[cfg(feature = "server")]
            longest_request: crate::policy::LONGEST_REQUEST,
            not_before: SystemTime::UNIX_EPOCH,
            revocations: None,
            private_by_default: true,
            clear_site_data: Clears::default(),
            #[cfg(feature = "device-bound")]
            device_bound: None,
            clock: Box::new(SystemTime::now),
            events: Events::default(),
        }
    }

    /// Sets the cookie's name and attributes: see [`CookieConfig`]. Default: `__Host-session`.
    ///
    /// If you change the name, all sessions end, because a cookie opens only under the name that it
    /// was sealed for. docs/recipes.md shows how to rename a cookie without logging anyone out.
    pub fn cookie(self, cookie: CookieConfig) -> Self {
        self.transport(cookie.into())
    }

    /// Sets how the token travels. Default: in a cookie, with the attributes of
    /// [`cookie`](Self::cookie). For clients that keep no cookies, use a header: [`Transport`] has
    /// an example.
    ///
    /// If you call both methods, the last one counts. A token of one transport does not open in the
    /// other.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Names a cookie that your application used to set, with another Path, Domain, Partitioned or
    /// name, so that the store removes it from browsers. The store does so when a session is
    /// destroyed, and when a request brings two different sessions. If the cookie has the present
    /// name, the store also removes it when the session gets a new id: both would open. Call
    /// this once for each such cookie.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieConfig, CookieStore};
    /// let former = CookieConfig::builder().name("sid").domain("example.com").build()?;
    /// let store = CookieStore::builder(AppKey::generate()?).former(former).build()?;
    /// # let session = store.load_from::<str>([]);
    /// # session.insert("user_id", 42)?;
    /// # let session = store.load_from([&store.respond(&session)?.cookie_header()]);
    ///
    /// session.destroy(); // the visitor logs out
    /// let outgoing = store.respond(&session)?;
    /// assert!(outgoing.set_cookies().any(|cookie| cookie.starts_with("sid=;")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A cookie with another name does not open. docs/recipes.md shows how to rename a cookie
    /// without logging anyone out.
    pub fn former(mut self, former: CookieConfig) -> Self {
        self.former.push(former);
        self
    }

    /// Separates applications or stages that share an app key: a session of one never opens in the
    /// other. At most 255 bytes, empty by default. If you change it, all sessions end.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Session};
    /// # let key = AppKey::generate()?;
    /// let staging = CookieStore::builder(key.clone()).context("staging").build()?;
    /// let live = CookieStore::builder(key).context("live").build()?;
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    ///
    /// let cookie = staging.respond(&session)?.cookie_header();
    /// assert!(live.load_from([&cookie]).is_empty());
    /// # assert_eq!(staging.load_from([&cookie]).get("user_id")?, Some(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// Sets how long a session lives after its first save or its last login. No refresh, re-seal,
    /// change of rights or key rotation extends it. Default: 24 hours, or `max_lifetime` if that is
    /// shorter.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::{AppKey, CookieStore, Session};
    /// let store = CookieStore::builder(AppKey::generate()?)
    ///     .lifetime(Duration::from_secs(8 * 3600)) // a working day
    ///     .build()?;
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    ///
    /// let outgoing = store.respond(&session)?;
    /// assert!(outgoing.set_cookies().all(|cookie| cookie.contains("Max-Age=28800")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The lifetime may be longer than the 400 days for which browsers keep a cookie. The cookie's
    /// Max-Age is then 400 days, and a request that reads the session gets a new cookie if the last
    /// one was written 40 days ago or more. A visitor who stays away for 400 days loses the
    /// session.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Sets how long any session can live, whatever its own deadline says. Default: the lifetime.
    /// Raise it if some sessions get a later deadline from
    /// [`set_expiry`](crate::Session::set_expiry):
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, CookieStore};
    /// const DAY: Duration = Duration::from_secs(24 * 3600);
    /// let store = CookieStore::builder(AppKey::generate()?)
    ///     .lifetime(DAY)
    ///     .max_lifetime(30 * DAY)
    ///     .build()?;
    ///
    /// # let session = store.load_from::<str>([]);
    /// session.set_expiry(SystemTime::now() + 14 * DAY)?; // "keep me logged in for two weeks"
    /// assert!(session.set_expiry(SystemTime::now() + 31 * DAY).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A lower value applies at once, also to existing sessions. If you raise it again, sessions
    /// whose own deadline has not passed continue, unless they were ended meanwhile. No session
    /// lives beyond the year 10889. Beyond 400 days, see [`lifetime`](Self::lifetime).
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.max_lifetime = Some(max_lifetime);
        self
    }

    /// Ends a session that nobody uses for this long. Default: none.
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, CookieStore, Origin, Refusal};
    /// # static AHEAD: AtomicU64 = AtomicU64::new(0);
    /// let store = CookieStore::builder(AppKey::generate()?)
    ///     .idle_timeout(Duration::from_secs(30 * 60))
    /// #   .clock(|| SystemTime::now() + Duration::from_secs(AHEAD.load(Relaxed)))
    ///     .build()?;
    /// # let session = store.load_from::<str>([]);
    /// # session.insert("user_id", 42)?;
    /// # let cookie = store.respond(&session)?.cookie_header();
    /// # AHEAD.store(31 * 60, Relaxed);
    ///
    /// // 31 minutes after the visitor's last request:
    /// let session = store.load_from([&cookie]);
    /// assert_eq!(session.origin(), Origin::Refused(Refusal::Idle));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A request that asks for the session uses it until the response is saved. The save records
    /// the use if [`refresh_after`](Self::refresh_after) has passed since the last recording. A
    /// request that [leaves the session idle](crate::Session::leave_idle) does not count as use.
    ///
    /// A request that has been given the session can save it, however long it takes. Meanwhile,
    /// other requests are refused the session if it was idle for too long.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = Some(idle_timeout);
        self
    }

    /// Sets how exact the [idle timeout](Self::idle_timeout) is. A request that only reads the
    /// session records its use if the last write is at least this old. A shorter time is more exact
    /// and sends more cookies. Default: a tenth of the idle timeout.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::{AppKey, CookieStore};
    /// const MINUTE: Duration = Duration::from_secs(60);
    /// let builder = CookieStore::builder(AppKey::generate()?).idle_timeout(15 * MINUTE);
    ///
    /// let error = builder.refresh_after(15 * MINUTE).build().unwrap_err(); // 14 would do
    /// assert_eq!(error.setting(), "refresh_after");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refresh_after(mut self, refresh_after: Duration) -> Self {
        self.refresh_after = Some(refresh_after);
        self
    }

    /// Sets whether a personal page gets `Cache-Control: private` by itself. Default: `true`. A
    /// page is personal if its handler was given an opened session.
    ///
    /// ```
    /// # use http::HeaderMap;
    /// # use sealed_session::{AppKey, CookieStore, Session};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// # let cookie = store.respond(&session)?.cookie_header();
    /// # let mut headers = HeaderMap::new();
    /// let session = store.load_from([&cookie]);
    /// let user: Option<u64> = session.get("user_id")?; // reads, and changes nothing
    /// store.save(&session, &mut headers)?;
    /// assert_eq!(headers["cache-control"], "private");
    /// # assert_eq!(user, Some(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// If a handler itself says something to caches, its headers stay unchanged. It does so with
    /// `Cache-Control`, or with a field that CDNs obey instead, such as `CDN-Cache-Control` or
    /// `Surrogate-Control`. `Expires` and `Pragma` do not say who may keep a response, so they do
    /// not count.
    ///
    /// With `false`, a personal page gets only `Vary`, and a CDN that ignores `Vary: Cookie` may
    /// show one visitor's page to another. Turn this off only if each personal page itself says who
    /// may keep it. A response with a Set-Cookie or a token is always kept out of shared caches.
    pub fn private_by_default(mut self, private: bool) -> Self {
        self.private_by_default = private;
        self
    }

    /// Binds sessions to the device that logged in, in browsers that take part (experimental). A
    /// copied cookie is then worth nothing after some minutes. Default: no session is bound, and
    /// sessions that are bound open everywhere.
    ///
    /// `DeviceBound::default()` switches all of it on. With a `SessionLayer` (feature `tower`) you
    /// need nothing else. Without one, give each request to the store's `device_answer` first. Your
    /// service must be on https. If it runs on several servers, switch this on in steps: see
    /// [`DeviceStage`](crate::DeviceStage) and docs/device-bound.md.
    #[cfg(feature = "device-bound")]
    pub fn device_bound(mut self, settings: impl Into<DeviceBound>) -> Self {
        self.device_bound = Some(settings.into());
        self
    }

    /// Sets what a browser clears when a visitor logs out. If a request
    /// [destroys](crate::Session::destroy) its session, the response has `Clear-Site-Data`, unless
    /// the handler has set it. If the same request begins a new session, such as with a flash that
    /// says goodbye, its cookie must stay, so cookies are not cleared then. Default: nothing.
    ///
    /// ```
    /// # use http::HeaderMap;
    /// # use sealed_session::{AppKey, CookieStore, SiteData};
    /// let store = CookieStore::builder(AppKey::generate()?)
    ///     .clear_site_data([SiteData::Cache, SiteData::Storage])
    ///     .build()?;
    /// # let session = store.load_from::<str>([]);
    /// # session.insert("user_id", 42)?;
    /// # let session = store.load_from([&store.respond(&session)?.cookie_header()]);
    /// # let mut headers = HeaderMap::new();
    ///
    /// session.destroy();
    /// store.save(&session, &mut headers)?;
    /// assert_eq!(headers["clear-site-data"], r#""cache", "storage""#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Browsers obey the header over https and on localhost only, and some take a second or more to
    /// clear the cache. With [`SiteData::Cache`], the Back button shows no page of the visitor from
    /// two or more steps back. Chromium still keeps the page that they log out from, unless you
    /// send it with `Cache-Control: no-store`: docs/recipes.md has both.
    pub fn clear_site_data(mut self, data: impl IntoIterator<Item = SiteData>) -> Self {
        self.clear_site_data = Clears::of(data);
        self
    }

    /// Refuses sessions issued before this time. Default: the epoch, so none. While the service
    /// runs, use [`set_not_before`](crate::CookieStore::set_not_before).
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, CookieStore, Origin, Refusal, Session};
    /// # let key = AppKey::generate()?;
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// # let cookie = CookieStore::new(key.clone()).respond(&session)?.cookie_header();
    /// # let moment = SystemTime::now() + Duration::from_secs(1);
    /// // Until this moment, somebody could have stolen cookies:
    /// let store = CookieStore::builder(key).not_before(moment).build()?;
    /// assert_eq!(store.load_from([&cookie]).origin(), Origin::Refused(Refusal::Cutoff));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn not_before(mut self, not_before: SystemTime) -> Self {
        self.not_before = not_before;
        self
    }

    /// Sets the source of the current time. Default: [`SystemTime::now`]. A test can move a clock
    /// of its own instead of waiting: see [`guide::testing`](crate::guide::testing).
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, CookieStore};
    /// let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_014_400);
    /// let store = CookieStore::builder(AppKey::generate()?).clock(move || noon).build()?;
    ///
    /// let session = store.load_from::<str>([]);
    /// session.insert("user_id", 42)?;
    /// store.respond(&session)?;
    /// assert_eq!(session.issued_at(), Some(noon));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Calls `hook` for each [`Event`], for example to count them: [`Event`] shows how. Default:
    /// none. The hook should be quick, because it runs on the thread where the event happens. It
    /// never runs while a session is locked.
    pub fn on_event(mut self, hook: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.events = Events::to(hook);
        self
    }

    /// Makes all checks of `build`, and returns the resulting lifetimes.
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
                    "it is shorter than a millisecond; make it longer",
                ));
            }
        }
        #[cfg(feature = "device-bound")]
        if let Some(settings) = &self.device_bound {
            settings.check(present)?;
        }
        let (lifetime, max_lifetime) = self.lifetimes()?;
        let not_before = self.not_before.into();
        let mut policy = Policy::new(lifetime, max_lifetime, self.idle()?, not_before);
        policy.in_cookie = present.is_some();
        self.declare(max_lifetime)?;
        Ok(policy)
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
                #[cfg(feature = "server")]
                longest_request: self.longest_request,
            })),
        }
    }

    /// Takes out the placement, and puts another one in its place.
    #[cfg(feature = "server")]
    pub(crate) fn exchange<Q>(self, placement: Q) -> (P, StoreBuilder<Q>) {
        let rest = StoreBuilder {
            placement,
            keys: self.keys,
            transport: self.transport,
            former: self.former,
            context: self.context,
            lifetime: self.lifetime,
            max_lifetime: self.max_lifetime,
            idle_timeout: self.idle_timeout,
            refresh_after: self.refresh_after,
            longest_request: self.longest_request,
            not_before: self.not_before,
            revocations: self.revocations,
            private_by_default: self.private_by_default,
            clear_site_data: self.clear_site_data,
            #[cfg(feature = "device-bound")]
            device_bound: self.device_bound,
            clock: self.clock,
            events: self.events,
        };
        (self.placement, rest)
    }

    /// Tells managed keys how long sessions may live.
    pub(crate) fn declare(&self, longest: Duration) -> Result<(), ConfigError> {
        self.keys.kept().declare(longest)
    }

    pub(crate) fn insist(&self, longest: Duration) {
        self.keys.kept().insist(longest);
    }

    pub(crate) fn keys_for(&self, kind: Kind) -> Envelope {
        let used_for = Use {
            kind,
            name: self.transport.name().to_owned(),
            context: self.context.clone(),
        };
        Envelope::new(&self.keys.ring(), used_for)
    }

    /// `None` if this store binds no sessions. `policy` has checked the settings.
    #[cfg(feature = "device-bound")]
    fn binding(&self, longest: Duration) -> Option<Box<Binding>> {
        let settings = self.device_bound.clone()?;
        let cookie = self.transport.cookie()?;
        let is_on = settings.stage() != DeviceStage::Off;
        let keys_for = |kind| self.keys_for(kind);
        let binding = is_on.then(|| Binding::new(settings, cookie, longest, keys_for))?;
        binding.ok().map(Box::new)
    }

    /// Assembles a store's core with these settings. `place` makes the placement, given the store's
    /// keys and the limit of its cookie.
    pub(crate) fn assemble<Q: Placement>(
        self,
        policy: Policy,
        place: impl FnOnce(KeysFor<'_>, Limit) -> Q,
    ) -> StoreCore<Q> {
        let name = self.transport.name();
        let limit = Limit::Cookie { name: name.len() };
        let placement = place(&|kind| self.keys_for(kind), limit);
        let envelope = self.keys_for(self.transport.kind());
        #[cfg(feature = "device-bound")]
        let binding = self.binding(policy.max_lifetime);
        let (transport, former) = (self.transport, &self.former);
        let revocations = self.revocations;
        if let Some(list) = &revocations {
            list.serve(policy.max_lifetime);
        }
        let mut flow = Flow::new(envelope, policy, transport, former, self.events, placement);
        flow.revocations = revocations;
        flow.private_by_default = self.private_by_default;
        flow.clear_site_data = self.clear_site_data;
        #[cfg(feature = "device-bound")]
        flow.bind_with(binding);
        StoreCore {
            kept: self.keys.kept(),
            flow,
            clock: self.clock,
        }
    }
}

/// Returns the envelope for a kind of token, under the store's ring, name and context.
pub(crate) type KeysFor<'a> = &'a dyn Fn(Kind) -> Envelope;

impl<P: fmt::Debug> fmt::Debug for StoreBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreBuilder")
            .field("placement", &self.placement)
            .field("keys", &self.keys)
            .field("transport", &self.transport)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
