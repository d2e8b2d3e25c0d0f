//! Settings from the environment or a configuration file.

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

#[cfg(feature = "device-bound")]
use crate::binding::DeviceStage;
use crate::cookie::{CookieConfig, SameSite};
use crate::env::{self, Process, Variables};
use crate::envelope::{KeyRing, Keys};
use crate::error::ConfigError;
use crate::store::{CookieStore, CookieStoreBuilder, StoreBuilder};
use given::{FIELDS, Fields, Given, IN_A_FILE, Source, refuse_strays};

/// The settings of a store, from `SESSION_*` variables or from any serde format.
///
/// A variable's name is `SESSION_` and the field's name in upper case: `cookie_name` is
/// `SESSION_COOKIE_NAME`. All settings are optional. A setting that is unset or empty has its
/// default, and white space around a value is ignored. Keys are not among the settings: see
/// [`KeyRing::from_env`].
///
/// - A duration is weeks, days, hours, minutes and seconds, the longest first, such as `2w`, `30d`,
///   `24h`, `30m` or `1h 30m`; or a number of whole seconds. Months, years, fractions and capital
///   letters are errors.
/// - A truth value is `true`, `yes`, `on` or `1`, or `false`, `no`, `off` or `0`.
/// - A moment is text of RFC 3339 such as `2026-01-31T12:00:00Z`.
///
/// The [`driver`](Self::driver) says where sessions are kept. `AnyStore`, with the feature
/// `server`, can be the store of any driver. Settings for other drivers are ignored, so you can
/// switch by changing `SESSION_DRIVER` alone. If you set some of them and no driver, you get an
/// error, because you have probably forgotten it.
///
/// Every wrong setting is an error. It names the variable or field and says which values are
/// possible. It shows no value other than a path. An unknown field in a file is an error. In the
/// environment, a variable is an error if its name is close to one of these (`SESSION_MAXAGE`), or
/// is another framework's name for one of them (`SESSION_LIFETIME`). Other variables that begin
/// with `SESSION_` are ignored.
///
/// The Redis URL may have a password, so you can keep it in a file: set `SESSION_REDIS_URL_FILE` to
/// the path. One line end after the URL is ignored.
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
    /// Where sessions are kept: `cookie`, `memory`, `file` or `redis`, in upper or lower case.
    /// Default `cookie`.
    ///
    /// Changing it ends all sessions, unless you move them: see `adopt_cookies`. Use `redis` if the
    /// server must be able to end sessions, or if sessions are large.
    pub driver: Option<Driver>,

    /// The cookie's name. Default `__Host-session`: browsers accept this prefix only from the host
    /// itself, over https and with `Path=/`.
    ///
    /// Changing it ends all sessions, because the keys depend on it. If `secure`, `domain` or
    /// `path` differ from their defaults, choose a name without a prefix, such as `session`.
    pub cookie_name: Option<String>,

    /// How long a new session lives, however much it is used. Default 24 hours.
    ///
    /// The lifetime is sealed into the session and is the cookie's Max-Age, so a change affects
    /// only new sessions. Lower it if a stolen cookie would do much harm: `8h` for a working day.
    pub max_age: Option<Duration>,

    /// How long any session lives at most. Default: `max_age`.
    ///
    /// A change affects existing sessions at once. Set it above `max_age` if handlers give some
    /// sessions a longer life: `30d` for "remember me".
    pub max_lifetime: Option<Duration>,

    /// Ends a session that no request has used for this long, from load to response. Default none.
    ///
    /// To remember the last use, a request that only reads then gets a new cookie now and then. Set
    /// it if people leave browsers open: `30m`.
    pub idle_timeout: Option<Duration>,

    /// How old the recorded last use gets before a request that only reads updates it. Default a
    /// tenth of `idle_timeout`. You can set it only together with `idle_timeout`.
    ///
    /// A session may end this much before its idle timeout. Lower it if that is too early; more
    /// responses carry a cookie then.
    pub refresh_after: Option<Duration>,

    /// Whether the cookie travels over https only. Default true.
    ///
    /// If false, anyone who listens to the network can take over the session. Use false only on a
    /// test machine without https, together with a `cookie_name` without a prefix.
    pub secure: Option<bool>,

    /// Whether the cookie is hidden from scripts. Default true.
    ///
    /// If false, one injected script can steal the session. Leave it true.
    pub http_only: Option<bool>,

    /// When requests from other sites carry the cookie: `lax`, `strict` or `none`, in upper or
    /// lower case. Default `lax`: only when the visitor follows a link to this site.
    ///
    /// With `none`, every site can send requests in the visitor's name. It needs `secure`, and your
    /// own protection against request forgery. Use it for a site that is embedded in others.
    pub same_site: Option<SameSite>,

    /// The domain whose hosts all get the cookie. Default none: only the host that set it.
    ///
    /// Any of those hosts can then read and replace the cookie. It needs a `cookie_name` without
    /// `__Host-`: `__Secure-session` for a login shared by `a.example.com` and `b.example.com`.
    pub domain: Option<String>,

    /// The path below which browsers send the cookie. Default `/`.
    ///
    /// It does not protect from other paths of the same host. It needs a `cookie_name` without
    /// `__Host-`: `/shop` for one of several applications on a host.
    pub path: Option<String>,

    /// Whether an embedded site gets a separate cookie for each site that embeds it (CHIPS).
    /// Default false.
    ///
    /// The visitor then has a different session on each embedding site. Use it with `secure` and a
    /// `same_site` of `none`, for a widget on other people's pages.
    pub partitioned: Option<bool>,

    /// Whether browsers keep the cookie when they close. Default true.
    ///
    /// If false, the cookie has no Max-Age; the deadline is the same. Use false for shared
    /// computers; [`Session::remember`](crate::Session::remember) then keeps the sessions of
    /// visitors who ask for it.
    pub persistent: Option<bool>,

    /// Separates applications or stages that share an app key: at most 255 bytes. Default empty.
    ///
    /// Changing it ends all sessions, because the keys depend on it. Use `staging` if staging has
    /// the keys of production.
    pub context: Option<String>,

    /// Refuses sessions that were issued before this moment. Default none.
    ///
    /// Visitors with an older session must log in again. Use it after an incident.
    pub not_before: Option<SystemTime>,

    /// Binds sessions to the device that logged in, in browsers that take part (experimental):
    /// `off`, `serve`, `offer` or `enforce`, in upper or lower case. Default `off`. Needs the
    /// feature `device-bound`.
    ///
    /// With `enforce`, a copied cookie is worth nothing after some minutes. It needs https, and
    /// `driver` can be any. On several servers, set `serve` on all of them, then `offer`, then
    /// `enforce`: see docs/device-bound.md.
    #[cfg(feature = "device-bound")]
    pub device_bound: Option<DeviceStage>,

    /// The most bytes of a session in a backend, before it is sealed; at least 4096. Default 1 MiB.
    /// Not for `cookie`, where the cookie is the limit.
    ///
    /// A write that would make a session larger is an error, and the session stays as it was. Lower
    /// it if memory is scarce.
    pub max_size: Option<usize>,

    /// Whether requests get a fresh, empty session while the backend is away. Default false: they
    /// get an error. Not for `cookie`.
    ///
    /// Changes to such a session cannot be saved. Use it for a shop that stays open for guests.
    pub empty_if_unavailable: Option<bool>,

    /// Whether a store with a backend accepts sessions that a cookie holds whole. Default false.
    /// Not for `cookie`.
    ///
    /// Set it to true to move from `cookie` to another driver without logging anyone out, until
    /// those cookies have expired. Until then, a copy of one opens even if its session has ended
    /// since.
    pub adopt_cookies: Option<bool>,

    /// Whether a store with a backend keeps a session in its cookie as long as it fits. Default
    /// false. Not for `cookie`.
    ///
    /// Those sessions have the limits of cookies: a copy opens until its deadline. Use it if
    /// sessions are rarely large, and to move back to `cookie`.
    pub small_in_cookie: Option<bool>,

    /// The most bytes that the driver `memory` keeps. Default 256 MiB.
    ///
    /// When it is full, new sessions cannot be saved until others have ended: see `server::Memory`.
    /// A session counts as four thirds of its size plus 384 bytes.
    pub memory_max_bytes: Option<usize>,

    /// The directory of the driver `file`, which needs it. It is created if it does not exist; the
    /// parent directory must exist.
    ///
    /// It must belong to the service's user, and no other user may enter it:
    /// `/var/lib/shop/sessions`.
    pub file_path: Option<PathBuf>,

    /// The server of the driver `redis`, which needs it: `redis://:password@host:6379/0`. It may be
    /// down when the store is built.
    ///
    /// Someone who can write to Redis can end sessions, but can neither read nor make any. To use
    /// sentinels, a cluster or an existing connection, write code: see `server::Redis`.
    pub redis_url: Option<RedisUrl>,

    /// The prefix of all keys in Redis. Default `session:`.
    ///
    /// Changing it ends all sessions. Set it if several applications share a server.
    pub redis_prefix: Option<String>,

    source: Source,
}

impl Settings {
    /// Reads the settings from the environment.
    ///
    /// # Errors
    ///
    /// If a variable or its file cannot be read, if both are set, or if a variable's name is close
    /// to one of these or is another framework's name for one. The error names the variable.
    /// [`builder`](Self::builder) finds settings that contradict each other.
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

    /// Parses the fields of either source.
    fn read(fields: &Fields) -> Result<Self, ConfigError> {
        let device_bound = fields.get("device_bound", Given::stage)?;
        #[cfg(not(feature = "device-bound"))]
        let _: Option<()> = device_bound;
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
            #[cfg(feature = "device-bound")]
            device_bound,
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

    /// Returns the cookie that these settings describe.
    ///
    /// ```
    /// # use sealed_session::Settings;
    /// let settings: Settings = serde_json::from_str(r#"{ "cookie_name": "__Host-shop" }"#)?;
    /// assert_eq!(settings.cookie()?.name(), "__Host-shop");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a browser would refuse the cookie; the error names the variable or field.
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

    /// Returns a cookie store's builder with these settings. On it you can set the rest in code: a
    /// clock, former cookies.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::{AppKey, Settings};
    /// let mut settings = Settings::default(); // in a service: Settings::from_env()?
    /// settings.max_age = Some(Duration::from_secs(8 * 3600));
    /// let store = settings
    ///     .builder(AppKey::generate()?)?
    ///     .on_event(|event| eprintln!("session: {event}"))
    ///     .build()?;
    /// # assert!(store.load_from::<str>([]).is_new());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If [`CookieStoreBuilder::build`] would refuse these settings, or if the driver is not
    /// `cookie`. The error names the variable or field.
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

    /// Applies the settings that all stores share.
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
        #[cfg(feature = "device-bound")]
        if let Some(stage) = self.device_bound {
            builder = builder.device_bound(stage);
        }
        builder
            .policy()
            .map_err(|error| self.source.respell(&error))?;
        Ok(builder)
    }
}

impl CookieStore {
    /// Builds the store that the environment describes, with the keys in `APP_KEY` and
    /// `APP_PREVIOUS_KEYS` (see [`KeyRing::from_env`]) and the settings in `SESSION_*` (see
    /// [`Settings`]).
    ///
    /// ```no_run
    /// # use sealed_session::CookieStore;
    /// let store = CookieStore::from_env()?;
    /// # Ok::<(), sealed_session::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a key or a setting is invalid; the error names the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Settings::from_env()?.builder(KeyRing::from_env()?)?.build()
    }
}

#[cfg(test)]
mod tests;
