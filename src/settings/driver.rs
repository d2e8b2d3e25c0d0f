//! The drivers, which say where sessions are kept.

use std::fmt;

use zeroize::Zeroizing;

/// Where sessions are kept: the value of `SESSION_DRIVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Driver {
    /// In their cookies.
    #[default]
    Cookie,
    /// In this process's memory. Needs the feature `server`.
    Memory,
    /// In a directory. Needs the feature `file`, and Unix.
    File,
    /// In Redis. Needs the feature `redis`.
    Redis,
}

impl Driver {
    pub(super) const ALL: [Self; 4] = [Self::Cookie, Self::Memory, Self::File, Self::Redis];

    /// Returns the driver's name in the settings.
    ///
    /// ```
    /// # use sealed_session::Driver;
    /// assert_eq!(Driver::default().as_str(), "cookie");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Memory => "memory",
            Self::File => "file",
            Self::Redis => "redis",
        }
    }
}

/// Writes the driver's name in the settings.
impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The URL of a Redis server. It may hold a password, so `Debug` does not show it, and it is
/// zeroized on drop.
///
/// ```
/// # use sealed_session::RedisUrl;
/// let url = RedisUrl::from("redis://:password@10.0.0.1".to_owned());
/// assert_eq!(format!("{url:?}"), "RedisUrl(..)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Zeroizing<String>);

impl RedisUrl {
    /// Returns the URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for RedisUrl {
    fn from(url: String) -> Self {
        Self(Zeroizing::new(url))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(..)")
    }
}
