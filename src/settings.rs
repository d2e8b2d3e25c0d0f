//! Settings from the environment and from configuration files: text in, a builder out.

#[cfg(feature = "server")]
mod any;
mod backends;
mod deserialize;
mod driver;
mod duration;
mod given;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

#[cfg(all(feature = "server", feature = "tower"))]
pub(crate) use any::each;
#[cfg(feature = "server")]
pub use any::{AnyStore, Chosen};
pub use driver::{Driver, RedisUrl};

use crate::cookie::{CookieConfig, SameSite};
use crate::env::{self, Process, Variables};
use crate::envelope::{KeyRing, Keys};
use crate::error::ConfigError;
use crate::store::{CookieStore, CookieStoreBuilder, StoreBuilder};
use given::{FIELDS, Fields, Given, IN_A_FILE, Source, refuse_strays};

/// The settings of a store, from `SESSION_*` variables or from any serde format.
///
/// A variable is the field's name in upper case behind `SESSION_`: `cookie_name` is
/// `SESSION_COOKIE_NAME`. All are optional. An unset or empty one means the default, and white
/// space around one is ignored. Keys are not among them: see [`KeyRing::from_env`].
///
/// - Lengths of time are weeks, days, hours, minutes and seconds, such as `2w`, `30d`, `24h`, `30m`
///   or `1h 30m`, the longest first; or a number of whole seconds. Months, years, fractions and
///   capital letters are errors.
/// - Truth values are `true`, `yes`, `on` or `1`, and `false`, `no`, `off` or `0`.
/// - Moments are text of RFC 3339 such as `2026-01-31T12:00:00Z`.
///
/// Where sessions are kept is the [`driver`](Self::driver); `AnyStore`, with the feature `server`,
/// is whichever store it names. What is only for other drivers than the one that is named does
/// nothing, so that another driver is a change of one variable. If none is named, it is an error:
/// somebody has forgotten to.
///
/// Every wrong setting is an error that names the variable or field, never shows its content but
/// for a path, and says what is possible. So is a field that does not exist in a file, and in the
/// environment a name that is close to one of these (`SESSION_MAXAGE`) or that other frameworks
/// have for the same (`SESSION_LIFETIME`). Whatever else begins with `SESSION_` is left alone.
///
/// The URL, which may have a password, can be in a file whose path is in
/// `SESSION_REDIS_URL_FILE`; one line end behind it is ignored.
///
/// ```
/// use sealed_session::{AppKey, Settings};
///
/// // In a service: `Settings::from_env()?` and `KeyRing::from_env()?`.
/// let settings: Settings = serde_json::from_str(r#"{ "max_age": "8h", "idle_timeout": 1800 }"#)?;
/// let store = settings.builder(AppKey::generate()?)?.build()?;
///
/// let error = serde_json::from_str::<Settings>(r#"{ "max_age": "8 apples" }"#).unwrap_err();
/// assert!(error.to_string().starts_with("max_age: "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where sessions are kept: `cookie`, `memory`, `file` or `redis`, in any case of letters.
    /// Default `cookie`.
    ///
    /// Changing it ends all sessions, unless they move: see `adopt_cookies`. `redis` where a
    /// server must be able to end a session, or sessions are large.
    pub driver: Option<Driver>,

    /// The cookie's name. Default `__Host-session`, which browsers take only from this host, over
    /// https and with `Path=/`.
    ///
    /// The name goes into the keys: changing it ends all sessions. Choose one without a prefix,
    /// such as `session`, where `secure`, `domain` or `path` must differ from their defaults.
    pub cookie_name: Option<String>,

    /// How long a new session lives, however much it is used. Default 24 hours.
    ///
    /// It is sealed into the session and is the cookie's Max-Age, so a change acts on new
    /// sessions. Lower it where a stolen cookie would do much harm: `8h` for a working day.
    pub max_age: Option<Duration>,

    /// How long any session lives at most. Default: `max_age`.
    ///
    /// It acts at once on sessions that are out already. Set it above `max_age` where handlers
    /// give some sessions a longer life: `30d` for "remember me".
    pub max_lifetime: Option<Duration>,

    /// Ends a session that no request has used for this long, from load to answer. Default none.
    ///
    /// Requests that only read then send a cookie now and then, to keep the time of use. Set it
    /// where people leave browsers open: `30m`.
    pub idle_timeout: Option<Duration>,

    /// How old the time of use gets before a request that only reads writes it anew. Default a
    /// tenth of `idle_timeout`, without which it cannot be set.
    ///
    /// A session may end this much before its idle timeout. Lower it where that is too early;
    /// more responses carry a cookie then.
    pub refresh_after: Option<Duration>,

    /// Whether the cookie travels over https only. Default true.
    ///
    /// If false, whoever listens to the network can take the session over. For a test machine
    /// without https, together with a `cookie_name` that has no prefix.
    pub secure: Option<bool>,

    /// Whether the cookie is hidden from scripts. Default true.
    ///
    /// If false, one injected script can take the session away. Leave it.
    pub http_only: Option<bool>,

    /// When requests from other sites carry the cookie: `lax`, `strict` or `none`, in any case of
    /// letters. Default `lax`: only when a link to this site is followed.
    ///
    /// With `none` every site can send requests in the visitor's name; it needs `secure`, and
    /// protection against request forgery. For sites that are embedded in others.
    pub same_site: Option<SameSite>,

    /// The domain all of whose hosts get the cookie. Default none: only the host that set it.
    ///
    /// Any of those hosts can then read and replace the cookie. It needs a `cookie_name` without
    /// `__Host-`: `__Secure-session` for a login shared by `a.example.com` and `b.example.com`.
    pub domain: Option<String>,

    /// The path below which the cookie is sent. Default `/`.
    ///
    /// It is no protection from other paths of the same host. It needs a `cookie_name` without
    /// `__Host-`: `/shop` for one of several applications on a host.
    pub path: Option<String>,

    /// Whether an embedded site gets a cookie for each site that embeds it (CHIPS). Default
    /// false.
    ///
    /// A visitor is then a different one below each embedding site. Together with `secure` and a
    /// `same_site` of `none`, for a widget on other people's pages.
    pub partitioned: Option<bool>,

    /// Whether browsers keep the cookie when they are closed. Default true.
    ///
    /// If false, the cookie has no Max-Age; the deadline is the same. For shared computers;
    /// [`Session::remember`](crate::Session::remember) then keeps those that ask for it.
    pub persistent: Option<bool>,

    /// Keeps applications or stages apart that share an app key: at most 255 bytes. Default
    /// empty.
    ///
    /// It goes into the keys: changing it ends all sessions. `staging` where staging has the keys
    /// of production.
    pub context: Option<String>,

    /// Refuses sessions that were issued before this moment. Default none.
    ///
    /// Everybody whose session is older logs in again. For after an incident.
    pub not_before: Option<SystemTime>,

    /// The most bytes that a session may have in a backend, before it is sealed; at least 4096.
    /// Default 1 MiB. Not for `cookie`, where it is what a cookie holds.
    ///
    /// A write that would make a session larger is an error, and the session stays as it was.
    /// Lower it where memory is dear.
    pub max_size: Option<usize>,

    /// Whether requests get a fresh, empty session while the backend is away. Default false: they
    /// get an error. Not for `cookie`.
    ///
    /// What is changed in such a session cannot be saved. For a shop that stays open for guests.
    pub empty_if_unavailable: Option<bool>,

    /// Whether a backend's store takes in sessions that come whole in a cookie. Default false.
    /// Not for `cookie`.
    ///
    /// Until those cookies have expired, a copy of one opens whatever became of its session. True
    /// for that long, to move from `cookie` to another driver without logging anyone out.
    pub adopt_cookies: Option<bool>,

    /// Whether a backend's store keeps sessions in their cookies for as long as they fit. Default
    /// false. Not for `cookie`.
    ///
    /// Those have the limits of cookies: a copy opens until its deadline. For sessions that are
    /// large only now and then, and for the way back to `cookie`.
    pub small_in_cookie: Option<bool>,

    /// The most bytes that the driver `memory` keeps. Default 256 MiB.
    ///
    /// Beyond, new sessions cannot be saved until others have ended: see `server::Memory`. A
    /// session counts as four thirds of its size and 384 bytes.
    pub memory_max_bytes: Option<usize>,

    /// The directory of the driver `file`, which needs it. It is made if it is not there; the one
    /// around it must be.
    ///
    /// It must be the service's own, which no other user may enter: `/var/lib/shop/sessions`.
    pub file_path: Option<PathBuf>,

    /// The server of the driver `redis`, which needs it: `redis://:password@host:6379/0`. It may be
    /// away when the store is made.
    ///
    /// Whoever can write to it can end sessions, and neither read nor make any. Sentinels, clusters
    /// and connections that are there already take code: see `server::Redis`.
    pub redis_url: Option<RedisUrl>,

    /// What the keys in Redis begin with. Default `session:`.
    ///
    /// Changing it ends all sessions. For several applications that share a server.
    pub redis_prefix: Option<String>,

    source: Source,
}

impl Settings {
    /// The settings in the environment.
    ///
    /// # Errors
    ///
    /// If a variable or its file cannot be read, if both are set, or if a name is close to one of
    /// these or is what another framework calls the same; the error names the variable. What
    /// contradicts another variable is found by [`builder`](Self::builder).
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(&Process)
    }

    fn from_variables(variables: &dyn Variables) -> Result<Self, ConfigError> {
        refuse_strays(variables)?;
        let mut fields = Fields::of(Source::Environment);
        for field in FIELDS {
            let variable = Source::Environment.name_of(field);
            if field == IN_A_FILE {
                if let Some(found) = env::text(variables, &variable)? {
                    if found.path.is_some() {
                        fields.source = Source::EnvironmentAndFile;
                    }
                    fields.insert(field, Given::from_text(&found.text));
                }
            } else if let Some(content) = variables.get(&variable) {
                let given = content.to_str().map_or(Given::Other, Given::from_text);
                fields.insert(field, given);
            }
        }
        Self::read(&fields)
    }

    /// The one place where both sources are understood.
    fn read(fields: &Fields) -> Result<Self, ConfigError> {
        Ok(Self {
            driver: fields.get("driver", Given::driver)?,
            cookie_name: fields.get("cookie_name", Given::text)?,
            max_age: fields.get("max_age", Given::duration)?,
            max_lifetime: fields.get("max_lifetime", Given::duration)?,
            idle_timeout: fields.get("idle_timeout", Given::duration)?,
            refresh_after: fields.get("refresh_after", Given::duration)?,
            secure: fields.get("secure", Given::truth)?,
            http_only: fields.get("http_only", Given::truth)?,
            same_site: fields.get("same_site", Given::same_site)?,
            domain: fields.get("domain", Given::text)?,
            path: fields.get("path", Given::text)?,
            partitioned: fields.get("partitioned", Given::truth)?,
            persistent: fields.get("persistent", Given::truth)?,
            context: fields.get("context", Given::text)?,
            not_before: fields.get("not_before", Given::moment)?,
            max_size: fields.get("max_size", Given::size)?,
            empty_if_unavailable: fields.get("empty_if_unavailable", Given::truth)?,
            adopt_cookies: fields.get("adopt_cookies", Given::truth)?,
            small_in_cookie: fields.get("small_in_cookie", Given::truth)?,
            memory_max_bytes: fields.get("memory_max_bytes", Given::size)?,
            file_path: fields.get("file_path", Given::text)?.map(PathBuf::from),
            redis_url: fields.get(IN_A_FILE, Given::redis_url)?,
            redis_prefix: fields.get("redis_prefix", Given::text)?,
            source: fields.source,
        })
    }

    /// The cookie that these settings describe.
    ///
    /// # Errors
    ///
    /// If a browser would refuse it; the error names the variable or field.
    pub fn cookie(&self) -> Result<CookieConfig, ConfigError> {
        let mut cookie = CookieConfig::builder()
            .same_site(self.same_site.unwrap_or_default())
            .partitioned(self.partitioned.unwrap_or(false))
            .persistent(self.persistent.unwrap_or(true));
        if let Some(name) = &self.cookie_name {
            cookie = cookie.name(name);
        }
        if let Some(domain) = &self.domain {
            cookie = cookie.domain(domain);
        }
        if let Some(path) = &self.path {
            cookie = cookie.path(path);
        }
        if self.secure == Some(false) {
            cookie = cookie.insecure_over_http();
        }
        if self.http_only == Some(false) {
            cookie = cookie.insecure_for_scripts();
        }
        cookie.build().map_err(|error| self.source.respell(&error))
    }

    /// A cookie store's builder that has these settings, for those that only code can make: a
    /// clock, former cookies.
    ///
    /// # Errors
    ///
    /// Whatever [`CookieStoreBuilder::build`] would refuse in these settings, and another driver
    /// than `cookie`; the error names the variable or field.
    pub fn builder(&self, keys: impl Into<Keys>) -> Result<CookieStoreBuilder, ConfigError> {
        let driver = self.chosen_driver()?;
        if driver != Driver::Cookie {
            let problem = format!(
                "`{driver}` is not for a `CookieStore`; make an `AnyStore` (feature `server`), or \
                 leave this out"
            );
            return Err(self.refused("driver", problem));
        }
        self.apply(CookieStore::builder(keys))
    }

    /// The settings that all stores share.
    pub(crate) fn apply<P>(
        &self,
        builder: StoreBuilder<P>,
    ) -> Result<StoreBuilder<P>, ConfigError> {
        let mut builder = builder.cookie(self.cookie()?);
        if let Some(lifetime) = self.max_age {
            builder = builder.lifetime(lifetime);
        }
        if let Some(max_lifetime) = self.max_lifetime {
            builder = builder.max_lifetime(max_lifetime);
        }
        if let Some(idle_timeout) = self.idle_timeout {
            builder = builder.idle_timeout(idle_timeout);
        }
        if let Some(refresh_after) = self.refresh_after {
            builder = builder.refresh_after(refresh_after);
        }
        if let Some(context) = &self.context {
            builder = builder.context(context);
        }
        if let Some(not_before) = self.not_before {
            builder = builder.not_before(not_before);
        }
        builder
            .policy()
            .map_err(|error| self.source.respell(&error))?;
        Ok(builder)
    }
}

impl CookieStore {
    /// The store that the environment describes: its keys in `APP_KEY` and `APP_PREVIOUS_KEYS`
    /// (see [`KeyRing::from_env`]), its settings in `SESSION_*` (see [`Settings`]).
    ///
    /// ```no_run
    /// # use sealed_session::CookieStore;
    /// let store = CookieStore::from_env()?;
    /// # Ok::<(), sealed_session::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a key or a setting is refused; the error names the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Settings::from_env()?.builder(KeyRing::from_env()?)?.build()
    }
}

#[cfg(test)]
mod tests;
