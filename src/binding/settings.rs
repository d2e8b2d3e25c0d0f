//! The settings of device-bound sessions.

use std::time::Duration;

use super::names::Names;
use crate::cookie::{CookieConfig, SameSite};
use crate::error::ConfigError;

/// How long a proof is good for, unless it is set.
const PROOF_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How far a service has got on its way to device-bound sessions, or back.
///
/// On several servers, take one step on all of them before the next: see docs/device-bound.md.
///
/// ```
/// use sealed_session::{DeviceBound, DeviceStage};
///
/// let settings = DeviceBound::default().exclude("/public");
/// assert_eq!(settings.stage(), DeviceStage::Enforce); // the default
/// assert_eq!(settings.at(DeviceStage::Offer).stage(), DeviceStage::Offer);
/// assert!(DeviceStage::Offer < DeviceStage::Enforce);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum DeviceStage {
    /// Nothing is bound, and the endpoints do not exist. Sessions that are bound open everywhere.
    Off,
    /// The endpoints are there, and nothing else happens.
    Serve,
    /// Browsers are asked to register, and bound sessions are marked. They still open without a
    /// proof.
    Offer,
    /// A bound session opens only with a proof. The default.
    #[default]
    Enforce,
}

/// Settings of device-bound sessions, for [`device_bound`](crate::StoreBuilder::device_bound).
///
/// **Experimental.** It follows a draft of the W3C, Device Bound Session Credentials, and changes
/// with it.
///
/// ```
/// use std::time::Duration;
/// use sealed_session::{AppKey, CookieStore, DeviceBound};
///
/// let settings = DeviceBound::default()
///     .proof_lifetime(Duration::from_secs(5 * 60)) // so a stolen cookie is good for 5 minutes
///     .exclude("/public");
/// let store = CookieStore::builder(AppKey::generate()?).device_bound(settings).build()?;
/// // The endpoints are there. Browsers come to them with POST:
/// let answer = store.device_answer("GET", "/.device-bound-session/register", []);
/// assert_eq!(answer.map(|answer| answer.status().as_u16()), Some(405));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DeviceBound {
    stage: DeviceStage,
    pub(crate) proof_lifetime: Duration,
    pub(crate) excluded: Vec<String>,
    pub(crate) initiators: Vec<String>,
    pub(crate) reloads: bool,
}

impl Default for DeviceBound {
    fn default() -> Self {
        DeviceStage::default().into()
    }
}

impl From<DeviceStage> for DeviceBound {
    fn from(stage: DeviceStage) -> Self {
        Self {
            stage,
            proof_lifetime: PROOF_LIFETIME,
            excluded: Vec::new(),
            initiators: Vec::new(),
            reloads: true,
        }
    }
}

impl DeviceBound {
    /// The stage of the rollout. Default [`DeviceStage::Enforce`].
    pub fn stage(&self) -> DeviceStage {
        self.stage
    }

    /// Sets the stage, and keeps everything else.
    pub fn at(mut self, stage: DeviceStage) -> Self {
        self.stage = stage;
        self
    }

    /// Sets how long a proof is good for. A stolen cookie is good for as long. Default 10 minutes,
    /// at least 30 seconds, at most an hour.
    ///
    /// The browser is asked for a new proof a minute before the end, or if the lifetime is short, a
    /// quarter of it before the end. Browsers sign only six times in nine minutes, so use a shorter
    /// lifetime only to try things out.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::{AppKey, CookieStore, DeviceBound};
    /// let settings = DeviceBound::default().proof_lifetime(Duration::from_secs(10));
    /// let builder = CookieStore::builder(AppKey::generate()?).device_bound(settings);
    /// let error = builder.build().unwrap_err(); // shorter than 30 seconds
    /// assert_eq!(error.setting(), "device_bound proof_lifetime");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn proof_lifetime(mut self, lifetime: Duration) -> Self {
        self.proof_lifetime = lifetime;
        self
    }

    /// Leaves out a path and all below it. The browser sends requests there at once, whether it has
    /// a proof or not. Without a proof, a bound session counts as absent there. Use it for public
    /// pages and files.
    pub fn exclude(mut self, path: impl Into<String>) -> Self {
        self.excluded.push(path.into());
        self
    }

    /// Lets links on another host's pages refresh the proof, so that the page behind the link need
    /// not be [loaded twice](Self::reload_foreign_links). Give the host's name, such as
    /// `partner.example`, never `*`. That host's pages can then make the browser use up its
    /// signatures.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, DeviceBound};
    /// let settings = DeviceBound::default().refresh_from("partner.example");
    /// # let builder = CookieStore::builder(AppKey::generate()?);
    /// # assert!(builder.device_bound(settings).build().is_ok());
    ///
    /// let settings = DeviceBound::default().refresh_from("*");
    /// # let builder = CookieStore::builder(AppKey::generate()?);
    /// let error = builder.device_bound(settings).build().unwrap_err();
    /// assert_eq!(error.setting(), "device_bound refresh_from");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refresh_from(mut self, host: impl Into<String>) -> Self {
        self.initiators.push(host.into());
        self
    }

    /// Whether a page loads itself again if a visitor comes to it by a link on another site and the
    /// session lacks its proof. Default `true`: browsers do not wait for a proof before they follow
    /// such a link, so with `false` your page greets the visitor as a stranger.
    pub fn reload_foreign_links(mut self, reload: bool) -> Self {
        self.reloads = reload;
        self
    }

    /// Checks these settings, and that the session's cookie goes with them. `None` is another
    /// transport.
    pub(crate) fn check(&self, cookie: Option<&CookieConfig>) -> Result<(), ConfigError> {
        if self.stage == DeviceStage::Off {
            return Ok(());
        }
        let refuse = |setting: &str, problem: &str| {
            let why = format!("{problem}; change this, or leave out `device_bound`");
            Err(ConfigError::new(setting, why))
        };
        let Some(cookie) = cookie else {
            return refuse("transport", "only a cookie can be bound to a device");
        };
        if cookie.domain().is_some() {
            return refuse("cookie domain", "a device-bound session is for one host");
        }
        if cookie.path() != "/" {
            return refuse("cookie path", "a device-bound session needs `/`");
        }
        if cookie.same_site() == SameSite::None {
            return refuse(
                "cookie same_site",
                "a device-bound session needs `Lax` or `Strict`",
            );
        }
        if !cookie.is_secure() {
            return refuse("cookie secure", "browsers bind sessions over https alone");
        }
        if cookie.is_partitioned() {
            return refuse(
                "cookie partitioned",
                "a device-bound session has one cookie jar",
            );
        }
        if Names::is_reserved(cookie.name()) {
            return refuse(
                "cookie name",
                "device-bound sessions use such names themselves",
            );
        }
        if Names::of(cookie.name()).offer.len() > crate::cookie::MAX_NAME {
            return refuse("cookie name", "it is too long to make other names from it");
        }
        let (least, most) = (Duration::from_secs(30), Duration::from_secs(60 * 60));
        if self.proof_lifetime < least || self.proof_lifetime > most {
            let problem = "it must be at least 30 seconds and at most an hour";
            return Err(ConfigError::new("device_bound proof_lifetime", problem));
        }
        let is_path = |path: &String| {
            path.starts_with('/')
                && path
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"?#\"\\*".contains(&byte))
        };
        if !self.excluded.iter().all(is_path) {
            let problem = "it must be a path such as `/public`, in visible ASCII without `?`, `#`, \
                           `*`, quotes and backslashes";
            return Err(ConfigError::new("device_bound exclude", problem));
        }
        let is_host = |host: &String| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
            host.bytes().any(|byte| byte.is_ascii_alphanumeric()) && host.bytes().all(is_part)
        };
        if !self.initiators.iter().all(is_host) {
            let problem = "it must be the name of one host, such as `partner.example`";
            return Err(ConfigError::new("device_bound refresh_from", problem));
        }
        Ok(())
    }
}
