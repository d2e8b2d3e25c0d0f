//! Which driver the settings choose, and how to build its backend.

use super::Settings;
use super::driver::Driver;
#[cfg(feature = "server")]
use crate::envelope::Keys;
use crate::error::ConfigError;
#[cfg(all(feature = "file", unix))]
use crate::server::File;
#[cfg(feature = "redis")]
use crate::server::Redis;
#[cfg(feature = "server")]
use crate::server::{Backend, Behind, Memory, ServerStore};
#[cfg(feature = "server")]
use crate::store::StoreBuilder;

impl Settings {
    /// Returns the driver that the settings name, or `cookie` if they set nothing for other drivers
    /// only.
    pub(crate) fn chosen_driver(&self) -> Result<Driver, ConfigError> {
        if let Some(driver) = self.driver {
            return Ok(driver);
        }
        let is_on = |switch: Option<bool>| switch == Some(true);
        let others = [
            ("max_size", self.max_size.is_some()),
            ("empty_if_unavailable", is_on(self.empty_if_unavailable)),
            ("adopt_cookies", is_on(self.adopt_cookies)),
            ("small_in_cookie", is_on(self.small_in_cookie)),
            ("memory_max_bytes", self.memory_max_bytes.is_some()),
            ("file_path", self.file_path.is_some()),
            ("redis_url", self.redis_url.is_some()),
            ("redis_prefix", self.redis_prefix.is_some()),
        ];
        match others.into_iter().find(|(_, is_set)| *is_set) {
            None => Ok(Driver::default()),
            Some((field, _)) => {
                let driver = self.source.name_of("driver");
                let problem = format!(
                    "it does nothing with the driver `cookie`, which is the default; set \
                     `{driver}` or leave this out"
                );
                Err(self.refused(field, problem))
            }
        }
    }

    pub(super) fn refused(&self, field: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::new(self.source.name_of(field), problem)
    }
}

#[cfg(feature = "server")]
impl Settings {
    /// Returns a builder with these settings for a store over your own
    /// [backend](crate::server::Backend).
    ///
    /// It ignores the settings of drivers: `driver`, `memory_max_bytes`, `file_path`, `redis_url`
    /// and `redis_prefix`.
    ///
    /// ```
    /// # use sealed_session::{AppKey, ErrorKind, Settings};
    /// # use sealed_session::server::Memory;
    /// # let my_backend = Memory::new();
    /// let settings: Settings = serde_json::from_str(r#"{ "max_size": 16384 }"#)?;
    /// let store = settings.server_builder(AppKey::generate()?, my_backend)?.build()?;
    /// # let session = pollster::block_on(store.load_from::<str>([]))?;
    /// # let error = session.insert("notes", "x".repeat(20_000)).unwrap_err();
    /// # assert_eq!(error.kind(), ErrorKind::TooLarge);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the builder's `build` would refuse these settings; the error names the variable or field.
    pub fn server_builder<B: Backend>(
        &self,
        keys: impl Into<Keys>,
        backend: B,
    ) -> Result<StoreBuilder<Behind<B>>, ConfigError> {
        let mut builder = self.apply(ServerStore::builder(keys, backend))?;
        if let Some(bytes) = self.max_size {
            builder = builder.max_size(bytes);
        }
        if self.empty_if_unavailable == Some(true) {
            builder = builder.empty_if_unavailable();
        }
        if self.adopt_cookies == Some(true) {
            builder = builder.adopt_cookies();
        }
        // `small_in_cookie` also adopts cookies.
        if self.small_in_cookie == Some(true) {
            builder = builder.small_in_cookie();
        }
        let checked = builder.check();
        checked.map_err(|error| self.source.respell(&error))?;
        Ok(builder)
    }

    pub(crate) fn memory(&self) -> Result<Memory, ConfigError> {
        let mut memory = Memory::builder();
        if let Some(bytes) = self.memory_max_bytes {
            memory = memory.max_bytes(bytes);
        }
        let memory = memory.build();
        memory.map_err(|error| self.refused("memory_max_bytes", error.problem()))
    }

    #[cfg(all(feature = "file", unix))]
    pub(crate) fn file(&self) -> Result<File, ConfigError> {
        let path = self.needed("file_path", self.file_path.as_ref())?;
        File::open(path).map_err(|error| self.refused("file_path", error.problem()))
    }

    #[cfg(feature = "redis")]
    pub(crate) fn redis(&self) -> Result<Redis, ConfigError> {
        let url = self.needed("redis_url", self.redis_url.as_ref())?;
        let redis = Redis::open(url.as_str());
        let redis = redis.map_err(|error| self.refused("redis_url", error.problem()))?;
        Ok(match &self.redis_prefix {
            Some(prefix) => redis.prefix(prefix),
            None => redis,
        })
    }

    #[cfg(any(all(feature = "file", unix), feature = "redis"))]
    fn needed<'s, T>(&self, field: &str, setting: Option<&'s T>) -> Result<&'s T, ConfigError> {
        setting.ok_or_else(|| self.refused(field, "the driver needs it, and it is not set"))
    }

    #[cfg(not(all(feature = "file", feature = "redis", unix)))]
    pub(crate) fn lacks_feature(&self, driver: Driver) -> ConfigError {
        let problem = format!(
            "this program is built without `{driver}`; turn on the feature `{driver}` of \
             sealed-session{}",
            if driver == Driver::File {
                " (Unix only)"
            } else {
                ""
            }
        );
        self.refused("driver", problem)
    }
}
