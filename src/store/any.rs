//! Whichever store the settings name.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName};

use super::{CookieStore, StoreBuilder};
use crate::envelope::KeyRing;
use crate::error::{ConfigError, LoadError, SaveError};
use crate::flow::{InCookie, Outgoing};
use crate::server::{Behind, Memory, MemoryStore};
#[cfg(feature = "redis")]
use crate::server::{Redis, RedisStore};
use crate::session::Session;
use crate::settings::{Driver, Settings};

/// Whichever store the settings name: `SESSION_DRIVER` is `cookie`, `memory`, `file` or `redis`.
/// Needs the features `settings` and `server`, and those of the drivers.
///
/// Loading and saving are awaited, as with stores that have a backend; in a cookie nothing waits.
/// A [`SessionLayer`](crate::SessionLayer) takes it like any other store. What only one of them
/// can do is in the variant.
///
/// ```
/// use sealed_session::{AnyStore, AppKey, Settings};
///
/// // In a service: `AnyStore::from_env()?`.
/// let settings: Settings = serde_json::from_str(r#"{ "driver": "memory" }"#)?;
/// let store = AnyStore::new(AppKey::generate()?, &settings)?;
/// assert!(matches!(store, AnyStore::Memory(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnyStore {
    /// Sessions that live wholly in their cookie.
    Cookie(CookieStore),
    /// Sessions in this process's memory.
    Memory(MemoryStore),
    /// Sessions in Redis.
    #[cfg(feature = "redis")]
    Redis(RedisStore),
}

/// The same for each store, but for the one that does not wait.
macro_rules! each {
    ($any:expr, $in_cookie:ident => $at_once:expr, $store:ident => $waits:expr) => {
        match $any {
            $crate::store::AnyStore::Cookie($in_cookie) => $at_once,
            $crate::store::AnyStore::Memory($store) => $waits,
            #[cfg(feature = "redis")]
            $crate::store::AnyStore::Redis($store) => $waits,
        }
    };
    ($any:expr, $store:ident => $same:expr) => {
        each!($any, $store => $same, $store => $same)
    };
}
#[cfg(feature = "tower")]
pub(crate) use each;

/// Where an [`AnyStore`] keeps its sessions, for its [`StoreBuilder`].
#[derive(Debug)]
pub struct Chosen(Place);

#[derive(Debug)]
enum Place {
    Cookie,
    Memory(Behind<Memory>),
    #[cfg(feature = "redis")]
    Redis(Behind<Redis>),
}

impl AnyStore {
    /// The store that the settings name.
    ///
    /// # Errors
    ///
    /// As [`builder`](Self::builder).
    pub fn new(ring: impl Into<KeyRing>, settings: &Settings) -> Result<Self, ConfigError> {
        Self::builder(ring, settings)?.build()
    }

    /// The store that the environment describes: its keys in `APP_KEY` and `APP_PREVIOUS_KEYS`
    /// (see [`KeyRing::from_env`]), its settings in `SESSION_*` (see [`Settings`]).
    ///
    /// ```no_run
    /// # use sealed_session::AnyStore;
    /// let store = AnyStore::from_env()?;
    /// # Ok::<(), sealed_session::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a key or a setting is refused; the error names the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::new(KeyRing::from_env()?, &Settings::from_env()?)
    }

    /// A builder that has these settings, for those that only code can make: a clock, former
    /// cookies.
    ///
    /// # Errors
    ///
    /// Whatever the store's own builder would refuse in these settings, and a driver that lacks
    /// its feature or what it needs; the error names the variable or field.
    pub fn builder(
        ring: impl Into<KeyRing>,
        settings: &Settings,
    ) -> Result<StoreBuilder<Chosen>, ConfigError> {
        let (place, rest) = match settings.chosen_driver()? {
            Driver::Cookie => {
                let builder = settings.builder(ring)?;
                (Place::Cookie, builder.exchange(()).1)
            }
            Driver::Memory => {
                let builder = settings.server_builder(ring, Memory::new())?;
                let (behind, rest) = builder.exchange(());
                (Place::Memory(behind), rest)
            }
            #[cfg(feature = "redis")]
            Driver::Redis => {
                let builder = settings.server_builder(ring, settings.redis()?)?;
                let (behind, rest) = builder.exchange(());
                (Place::Redis(behind), rest)
            }
            #[cfg(not(feature = "redis"))]
            driver @ Driver::Redis => return Err(settings.lacks_feature(driver)),
            driver @ Driver::File => return Err(settings.lacks_feature(driver)),
        };
        Ok(rest.exchange(Chosen(place)).1)
    }

    /// As [`ServerStore::load`](crate::server::ServerStore::load).
    ///
    /// # Errors
    ///
    /// If a backend fails.
    pub async fn load(&self, headers: &HeaderMap) -> Result<Session, LoadError> {
        each!(self, store => Ok(store.load(headers)), store => store.load(headers).await)
    }

    /// As [`ServerStore::load_from`](crate::server::ServerStore::load_from).
    ///
    /// # Errors
    ///
    /// If a backend fails.
    pub async fn load_from<'a, C: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'a C>,
    ) -> Result<Session, LoadError> {
        each!(
            self,
            store => Ok(store.load_from(cookie_fields)),
            store => store.load_from(cookie_fields).await
        )
    }

    /// The request's header that a session is read from: `cookie`, unless the store has another
    /// [`Transport`](crate::Transport).
    pub fn request_header(&self) -> HeaderName {
        each!(self, store => store.request_header())
    }

    /// As [`ServerStore::save`](crate::server::ServerStore::save).
    ///
    /// # Errors
    ///
    /// As there. The headers are as they were then.
    pub async fn save(&self, session: &Session, headers: &mut HeaderMap) -> Result<(), SaveError> {
        self.respond(session).await?.apply(headers);
        Ok(())
    }

    /// The header changes that [`save`](Self::save) makes, for frameworks with header types of
    /// their own.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub async fn respond(&self, session: &Session) -> Result<Outgoing, SaveError> {
        each!(self, store => store.respond(session), store => store.respond(session).await)
    }

    /// Exchanges the keys, for this store and all its clones, while requests run.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        each!(self, store => store.replace_keys(ring));
    }

    /// Refuses sessions that were issued before, for this store and all its clones, while
    /// requests run.
    pub fn set_not_before(&self, not_before: SystemTime) {
        each!(self, store => store.set_not_before(not_before));
    }
}

impl StoreBuilder<Chosen> {
    /// The finished store.
    ///
    /// # Errors
    ///
    /// If a setting that was made in code cannot be, or contradicts another; the error names it.
    pub fn build(self) -> Result<AnyStore, ConfigError> {
        let (Chosen(place), rest) = self.exchange(());
        match place {
            Place::Cookie => rest.exchange(InCookie).1.build().map(AnyStore::Cookie),
            Place::Memory(behind) => rest.exchange(behind).1.build().map(AnyStore::Memory),
            #[cfg(feature = "redis")]
            Place::Redis(behind) => rest.exchange(behind).1.build().map(AnyStore::Redis),
        }
    }
}
