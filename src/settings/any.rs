//! A store that the settings choose.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

use super::{Driver, Settings};
#[cfg(feature = "device-bound")]
use crate::device::DeviceAnswer;
use crate::envelope::{KeyRing, Keys};
use crate::error::{BackendError, ConfigError, LoadError, SaveError};
use crate::flow::{InCookie, Outgoing};
use crate::record::SessionId;
use crate::server::{Behind, Memory, MemoryStore, SessionInfo};
#[cfg(all(feature = "file", unix))]
use crate::server::{File, FileStore};
#[cfg(feature = "redis")]
use crate::server::{Redis, RedisStore};
use crate::session::Session;
use crate::store::{CookieStore, StoreBuilder};
use crate::transport::Transport;

/// The store that the settings choose: `SESSION_DRIVER` is `cookie`, `memory`, `file` or `redis`.
/// Needs the features `settings` and `server`, and those of the drivers.
///
/// You await loading and saving, as with stores that have a backend; the cookie store never waits.
/// A `SessionLayer` takes it like any other store. For methods that only one store has, match on
/// the variant.
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
    /// Sessions in their cookies.
    Cookie(CookieStore),
    /// Sessions in this process's memory.
    Memory(MemoryStore),
    /// Sessions in a directory.
    #[cfg(all(feature = "file", unix))]
    File(FileStore),
    /// Sessions in Redis.
    #[cfg(feature = "redis")]
    Redis(RedisStore),
}

/// Runs the same code for each store; the cookie store has its own, because it does not wait.
macro_rules! each {
    ($any:expr, $in_cookie:ident => $at_once:expr, $store:ident => $waits:expr) => {
        match $any {
            $crate::settings::AnyStore::Cookie($in_cookie) => $at_once,
            $crate::settings::AnyStore::Memory($store) => $waits,
            #[cfg(all(feature = "file", unix))]
            $crate::settings::AnyStore::File($store) => $waits,
            #[cfg(feature = "redis")]
            $crate::settings::AnyStore::Redis($store) => $waits,
        }
    };
    ($any:expr, $store:ident => $same:expr) => {
        each!($any, $store => $same, $store => $same)
    };
}
#[cfg(feature = "tower")]
pub(crate) use each;

fn in_cookies() -> BackendError {
    BackendError::unsupported("to find sessions: they are in cookies, so use a revocation list")
}

/// The storage that the settings choose, in the [`StoreBuilder`] of an [`AnyStore`].
#[derive(Debug)]
pub struct Chosen(Place);

#[derive(Debug)]
enum Place {
    Cookie,
    Memory(Behind<Memory>),
    #[cfg(all(feature = "file", unix))]
    File(Behind<File>),
    #[cfg(feature = "redis")]
    Redis(Behind<Redis>),
}

impl AnyStore {
    /// Builds the store that the settings choose.
    ///
    /// # Errors
    ///
    /// As [`builder`](Self::builder).
    pub fn new(keys: impl Into<Keys>, settings: &Settings) -> Result<Self, ConfigError> {
        Self::builder(keys, settings)?.build()
    }

    /// Builds the store that the environment describes, with the keys in `APP_KEY` and
    /// `APP_PREVIOUS_KEYS` (see [`KeyRing::from_env`]) and the settings in `SESSION_*` (see
    /// [`Settings`]).
    ///
    /// ```no_run
    /// # use sealed_session::AnyStore;
    /// let store = AnyStore::from_env()?;
    /// # Ok::<(), sealed_session::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a key or a setting is invalid; the error names the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::new(KeyRing::from_env()?, &Settings::from_env()?)
    }

    /// Returns a builder with these settings. On it you can set the rest in code: a hook for
    /// events, former cookies. A clock that you set there does not reach the backend, which expires
    /// sessions by its own.
    ///
    /// ```
    /// # use sealed_session::{AnyStore, AppKey, Settings};
    /// let settings = Settings::default(); // in a service: Settings::from_env()?
    /// let store = AnyStore::builder(AppKey::generate()?, &settings)?
    ///     .on_event(|event| eprintln!("session: {event}"))
    ///     .build()?;
    /// assert!(matches!(store, AnyStore::Cookie(_))); // the default
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the store's own builder would refuse these settings, or if the driver lacks its feature
    /// or a setting that it needs. The error names the variable or field.
    pub fn builder(
        keys: impl Into<Keys>,
        settings: &Settings,
    ) -> Result<StoreBuilder<Chosen>, ConfigError> {
        match settings.chosen_driver()? {
            Driver::Cookie => {
                let builder = settings.builder(keys)?;
                Ok(builder.map(|InCookie| Chosen(Place::Cookie)))
            }
            Driver::Memory => {
                let builder = settings.server_builder(keys, settings.memory()?)?;
                Ok(builder.map(|behind| Chosen(Place::Memory(behind))))
            }
            #[cfg(all(feature = "file", unix))]
            Driver::File => {
                let builder = settings.server_builder(keys, settings.file()?)?;
                Ok(builder.map(|behind| Chosen(Place::File(behind))))
            }
            #[cfg(feature = "redis")]
            Driver::Redis => {
                let builder = settings.server_builder(keys, settings.redis()?)?;
                Ok(builder.map(|behind| Chosen(Place::Redis(behind))))
            }
            #[cfg(not(all(feature = "file", feature = "redis", unix)))]
            driver => Err(settings.lacks_feature(driver)),
        }
    }

    /// As [`ServerStore::load`](crate::server::ServerStore::load).
    ///
    /// # Errors
    ///
    /// If the backend fails.
    pub async fn load(&self, headers: &HeaderMap) -> Result<Session, LoadError> {
        each!(self, store => Ok(store.load(headers)), store => store.load(headers).await)
    }

    /// As [`ServerStore::load_from`](crate::server::ServerStore::load_from).
    ///
    /// # Errors
    ///
    /// If the backend fails.
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

    /// The request header that holds the session's token: `cookie`, or that of another
    /// [`Transport`].
    pub fn request_header(&self) -> HeaderName {
        each!(self, store => store.request_header())
    }

    /// As [`ServerStore::save`](crate::server::ServerStore::save).
    ///
    /// # Errors
    ///
    /// As there. The headers are unchanged then.
    pub async fn save(&self, session: &Session, headers: &mut HeaderMap) -> Result<(), SaveError> {
        self.respond(session).await?.apply(headers);
        Ok(())
    }

    /// Returns the header changes that [`save`](Self::save) makes, for frameworks with their own
    /// header types.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub async fn respond(&self, session: &Session) -> Result<Outgoing, SaveError> {
        each!(self, store => store.respond(session), store => store.respond(session).await)
    }

    /// Returns the answer to a request that device binding answers itself: see
    /// [`CookieStore::device_answer`].
    #[cfg(feature = "device-bound")]
    pub fn device_answer<'h>(
        &self,
        method: &str,
        path: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> Option<DeviceAnswer> {
        each!(self, store => store.device_answer(method, path, headers))
    }

    /// Lists the sessions of `subject`, the last used first.
    ///
    /// # Errors
    ///
    /// As [`ServerStore::sessions_of`](crate::server::ServerStore::sessions_of). With sessions in
    /// cookies, an error of the kind [`Unsupported`](crate::server::BackendErrorKind::Unsupported).
    pub async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionInfo>, BackendError> {
        each!(self, _store => Err(in_cookies()), store => store.sessions_of(subject).await)
    }

    /// Ends all sessions of `subject`: "log out everywhere".
    ///
    /// ```
    /// # use sealed_session::{AnyStore, AppKey, CookieStore, server::BackendErrorKind};
    /// # pollster::block_on(async {
    /// let store = AnyStore::Cookie(CookieStore::new(AppKey::generate()?));
    /// let error = store.end_all_of("ada").await.unwrap_err();
    /// assert_eq!(error.kind(), BackendErrorKind::Unsupported); // sessions are in cookies
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ServerStore::end_all_of`](crate::server::ServerStore::end_all_of). With sessions in
    /// cookies, an error of the kind [`Unsupported`](crate::server::BackendErrorKind::Unsupported).
    pub async fn end_all_of(&self, subject: &str) -> Result<usize, BackendError> {
        each!(self, _store => Err(in_cookies()), store => store.end_all_of(subject).await)
    }

    /// Ends all sessions of `subject` except for `keep`: "log out everywhere else".
    ///
    /// # Errors
    ///
    /// As [`ServerStore::end_others_of`](crate::server::ServerStore::end_others_of). With sessions
    /// in cookies, an error of the kind
    /// [`Unsupported`](crate::server::BackendErrorKind::Unsupported).
    pub async fn end_others_of(
        &self,
        subject: &str,
        keep: &Session,
    ) -> Result<usize, BackendError> {
        each!(self, _store => Err(in_cookies()), store => store.end_others_of(subject, keep).await)
    }

    /// Ends the session with this id, if it is one of `subject`'s.
    ///
    /// # Errors
    ///
    /// As [`ServerStore::end_one_of`](crate::server::ServerStore::end_one_of). With sessions in
    /// cookies, an error of the kind [`Unsupported`](crate::server::BackendErrorKind::Unsupported).
    pub async fn end_one_of(&self, subject: &str, id: SessionId) -> Result<bool, BackendError> {
        each!(self, _store => Err(in_cookies()), store => store.end_one_of(subject, id).await)
    }

    /// Ends all sessions of one login at the identity provider.
    ///
    /// # Errors
    ///
    /// As [`ServerStore::end_all_of_sid`](crate::server::ServerStore::end_all_of_sid). With
    /// sessions in cookies, an error of the kind
    /// [`Unsupported`](crate::server::BackendErrorKind::Unsupported).
    pub async fn end_all_of_sid(&self, sid: &str) -> Result<usize, BackendError> {
        each!(self, _store => Err(in_cookies()), store => store.end_all_of_sid(sid).await)
    }

    pub(crate) fn transport(&self) -> &Transport {
        each!(self, store => store.transport())
    }

    /// Replaces the keys of this store and all its clones, while requests run.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        each!(self, store => store.replace_keys(ring));
    }

    /// Refuses sessions that were issued before this moment, in this store and all its clones,
    /// while requests run.
    pub fn set_not_before(&self, not_before: SystemTime) {
        each!(self, store => store.set_not_before(not_before));
    }
}

impl<P> StoreBuilder<P> {
    fn map<Q>(self, change: impl FnOnce(P) -> Q) -> StoreBuilder<Q> {
        let (placement, rest) = self.exchange(());
        rest.exchange(change(placement)).1
    }
}

impl StoreBuilder<Chosen> {
    /// As [`StoreBuilder::<Behind<_>>::longest_request`], for stores with a backend.
    pub fn longest_request(mut self, longest_request: Duration) -> Self {
        self.longest_request = longest_request;
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    ///
    /// If a setting made in code is invalid or contradicts another; the error names it.
    pub fn build(self) -> Result<AnyStore, ConfigError> {
        let (Chosen(place), rest) = self.exchange(());
        match place {
            Place::Cookie => rest.map(|()| InCookie).build().map(AnyStore::Cookie),
            Place::Memory(behind) => rest.map(|()| behind).build().map(AnyStore::Memory),
            #[cfg(all(feature = "file", unix))]
            Place::File(behind) => rest.map(|()| behind).build().map(AnyStore::File),
            #[cfg(feature = "redis")]
            Place::Redis(behind) => rest.map(|()| behind).build().map(AnyStore::Redis),
        }
    }
}
