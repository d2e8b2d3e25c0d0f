//! The settings that all stores share.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::core::{Clock, StoreCore};
#[cfg(feature = "device-bound")]
use crate::binding::{Binding, DeviceBound, DeviceStage};
use crate::cookie::CookieConfig;
use crate::envelope::{Envelope, Keys, Kind, Use, check_context};
use crate::error::ConfigError;
use crate::event::{Event, Events};
use crate::flow::{Flow, Placement, SiteData};
use crate::limit::Limit;
use crate::policy::{DEFAULT_LIFETIME, Idle, Policy};
use crate::revocation::RevocationList;
use crate::transport::Transport;

/// A builder with the settings that all stores share. `build` checks them together.
///
/// `P` says where the store keeps its sessions, and has settings of its own.
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
    clear_site_data: Option<HeaderValue>,
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
            clear_site_data: None,
            #[cfg(feature = "device-bound")]
            device_bound: None,
            clock: Box::new(SystemTime::now),
            events: Events::default(),
        }
    }

    /// The cookie's name and attributes. The keys depend on the name: a cookie never opens under
    /// another name.
    pub fn cookie(self, cookie: CookieConfig) -> Self {
        self.transport(cookie.into())
    }

    /// How the token is carried. Default: in a cookie, with the attributes of
    /// [`cookie`](Self::cookie). For clients that keep no cookies, use a [`Transport`] in a header.
    /// If you call both methods, the last one counts. A token of one transport does not open in the
    /// other.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// A cookie that this application used to set, with another Path, Domain, Partitioned or name.
    /// It is removed when a session is destroyed, and when a request brings two different sessions.
    /// Call this once for each such cookie. A cookie with another name does not open. docs/recipes.md
    /// shows how to rename a cookie without logging anyone out.
    pub fn former(mut self, former: CookieConfig) -> Self {
        self.former.push(former);
        self
    }

    /// Separates applications or stages that share an app key. At most 255 bytes, empty by default.
    /// If you change it, all sessions end.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// How long a session lives after its first save or its last login. No refresh, re-seal, change
    /// of rights or key rotation extends it. Default: 24 hours, or `max_lifetime` if that is shorter.
    ///
    /// It may be longer than the 400 days for which browsers keep a cookie. The cookie's Max-Age is
    /// then 400 days, and a request that reads the session gets a new cookie if the last one was
    /// written 40 days ago or more. A visitor who stays away for 400 days loses the session.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// How long any session can live, whatever its own deadline says. Default: the lifetime. If you
    /// lower it, this applies at once, also to existing sessions. If you raise it again, sessions
    /// whose own deadline has not passed continue, unless they were ended meanwhile. No session
    /// lives beyond the year 10889. Beyond 400 days, see [`lifetime`](Self::lifetime).
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.max_lifetime = Some(max_lifetime);
        self
    }

    /// Ends a session that is not used for this long. Default: none.
    ///
    /// A request that asks for the session counts as use, until its response is saved. The use is
    /// recorded by then if [`refresh_after`](Self::refresh_after) has passed since the last
    /// recording. A request that [leaves the session idle](crate::Session::leave_idle) does not
    /// count. Once a request has been given the session, it can save it however long it takes.
    /// Meanwhile, other requests are refused the session if it was idle for too long.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = Some(idle_timeout);
        self
    }

    /// The shortest time between two recorded uses: a request that only reads records its use if
    /// the last write is at least this old. A shorter time is more exact and sends more cookies.
    /// Default: a tenth of the idle timeout.
    pub fn refresh_after(mut self, refresh_after: Duration) -> Self {
        self.refresh_after = Some(refresh_after);
        self
    }

    /// Whether a response gets `Cache-Control: private` if its handler was given an opened session
    /// and says nothing to caches. Default: `true`.
    ///
    /// A handler says something to caches with `Cache-Control`, or with a field that CDNs obey
    /// instead, such as `CDN-Cache-Control` or `Surrogate-Control`. Then its headers stay
    /// unchanged. `Expires` and `Pragma` do not say who may keep a response, so they do not count.
    ///
    /// With `false`, such a response gets only `Vary`, and a CDN that ignores `Vary: Cookie` may
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
    /// `DeviceBound::default()` does all of it. With a `SessionLayer` (feature `tower`) nothing
    /// else is needed; otherwise answer requests with `device_answer` of the store first. The
    /// service must be on https. A service that runs on several servers switches it on in steps:
    /// see [`DeviceStage`](crate::DeviceStage) and docs/device-bound.md.
    #[cfg(feature = "device-bound")]
    pub fn device_bound(mut self, settings: impl Into<DeviceBound>) -> Self {
        self.device_bound = Some(settings.into());
        self
    }

    /// What a browser clears when a request [destroys](crate::Session::destroy) its session: the
    /// response then has `Clear-Site-Data`, unless the handler has set it. Browsers obey it over
    /// https and on localhost only, and some take a second or more to clear the cache. Default:
    /// nothing.
    ///
    /// With [`SiteData::Cache`], the Back button shows no page of the visitor from two or more steps
    /// back. Chromium still keeps the page that they log out from, unless you send it with
    /// `Cache-Control: no-store`: docs/recipes.md has both.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, SiteData};
    /// let store = CookieStore::builder(AppKey::generate()?)
    ///     .clear_site_data([SiteData::Cache, SiteData::Storage])
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear_site_data(mut self, data: impl IntoIterator<Item = SiteData>) -> Self {
        self.clear_site_data = SiteData::header(data);
        self
    }

    /// Refuses sessions issued before this time. Default: the epoch, so none.
    pub fn not_before(mut self, not_before: SystemTime) -> Self {
        self.not_before = not_before;
        self
    }

    /// The source of the current time. Default: [`SystemTime::now`].
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Calls `hook` for each [`Event`], for example to count them. It should be quick. It runs on
    /// the thread where the event happens, never while a session is locked. Default: none.
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
                    "it is shorter than a millisecond",
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

    /// Says how long sessions may live to those who look after the keys.
    pub(crate) fn declare(&self, longest: Duration) -> Result<(), ConfigError> {
        self.keys.kept().declare(longest)
    }

    pub(crate) fn keys_for(&self, kind: Kind) -> Envelope {
        let used_for = Use {
            kind,
            name: self.transport.name().to_owned(),
            context: self.context.clone(),
        };
        Envelope::new(&self.keys.ring(), used_for)
    }

    /// `None` if no session is bound here. `policy` has checked that it can be.
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
