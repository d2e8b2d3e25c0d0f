//! A key store in Redis.

mod line;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::cluster::ClusterClient;
use redis::sentinel::SentinelClient;
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo, RedisError};
use zeroize::Zeroizing;

use super::store::{KeyStore, KeyStoreError, KeyStoreErrorKind, MAX_STORED};
use crate::error::{BackendError, BackendErrorKind, ConfigError};
use crate::server::redis::{Link, client_of, code};
use line::Line;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Compares and sets in one step. An empty value counts as none, as it does for `GETRANGE`.
/// Arguments: whether the key must have a value, that value, and the new value.
const REPLACE: &str = "\
local there = redis.call('GET', KEYS[1])
if there == '' then there = false end
if ARGV[1] == '0' and there then return 0 end
if ARGV[1] == '1' and there ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
return 1";

/// Asks the master that has the key, because the nodes of a cluster have clocks of their own.
const TIME: &str = "return redis.call('TIME')";

/// Keeps the ring in Redis 6.2 or newer, or in Valkey, under one key.
///
/// You need a [root key](super::ManagedKeysBuilder::root), because keys in plain text protect
/// nothing if they are next to the sessions that they seal. Someone who reads Redis then sees one
/// sealed token. Someone who writes to Redis can put back an older ring; every process that knows
/// more restores what is missing.
///
/// The commands are `GETRANGE` and `EVAL`, in scripts `GET`, `SET` and `TIME`. The store connects on
/// first use, and connects again if the connection is lost. A failover may lose the last write; a
/// process that knows it writes it again. Use `maxmemory-policy noeviction`, so that Redis never
/// evicts the key.
///
/// ```no_run
/// use sealed_session::keys::KeyRedis;
/// use sealed_session::{KeyRing, ManagedKeys};
///
/// let keys = ManagedKeys::builder(KeyRedis::open("redis://127.0.0.1:6379")?)
///     .root(KeyRing::from_env()?)
///     .build()?;
/// # Ok::<(), sealed_session::ConfigError>(())
/// ```
pub struct KeyRedis {
    line: Line,
    /// How errors name the server.
    server: String,
    key: String,
    timeout: Duration,
}

impl KeyRedis {
    /// Uses the server at a URL, as [`Redis::open`](crate::server::Redis::open) does.
    ///
    /// # Errors
    ///
    /// If the URL is not a server's.
    pub fn open(url: impl IntoConnectionInfo) -> Result<Self, ConfigError> {
        Ok(Self::client(client_of(url)?))
    }

    /// Uses the server of a client.
    pub fn client(client: Client) -> Self {
        let server = format!("redis {}", client.get_connection_info().addr());
        Self::over(Link::client(client), server)
    }

    /// Uses the master that Redis Sentinel names. After a failover it finds the new one.
    pub fn sentinel(client: SentinelClient) -> Self {
        Self::over(
            Link::sentinel(client),
            "redis behind its sentinels".to_owned(),
        )
    }

    /// Uses a cluster. Do not pass a client that reads from replicas: it would find older rings.
    pub fn cluster(client: ClusterClient) -> Self {
        Self::over(Link::cluster(client), "the redis cluster".to_owned())
    }

    fn over(link: Link, server: String) -> Self {
        Self {
            line: Line::new(link),
            server,
            key: "session:keys".to_owned(),
            timeout: TIMEOUT,
        }
    }

    /// Sets the key that holds the ring. Default `session:keys`.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets how long a call may take, including the time to connect. Default five seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn ask<T: FromRedisValue>(&self, command: Cmd) -> Result<T, KeyStoreError> {
        let answer = self.line.ask(command, self.timeout);
        let answer = answer.map_err(|problem| self.failed(KeyStoreErrorKind::Other, problem))?;
        let value = answer.and_then(|value| Ok(redis::from_redis_value(value)?));
        value.map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &RedisError) -> KeyStoreError {
        if code(error) == "WRONGTYPE" {
            let problem = "the key holds something else than a ring; use another key";
            return self.failed(KeyStoreErrorKind::Damaged, problem);
        }
        let error = BackendError::from(error);
        let kind = match error.kind() {
            BackendErrorKind::Full => KeyStoreErrorKind::Full,
            BackendErrorKind::Unavailable | BackendErrorKind::Timeout => {
                KeyStoreErrorKind::Unavailable
            }
            _ => KeyStoreErrorKind::Other,
        };
        self.failed(kind, error)
    }

    fn failed(&self, kind: KeyStoreErrorKind, problem: impl fmt::Display) -> KeyStoreError {
        KeyStoreError::new(kind, format_args!("{}: {problem}", self.describe()))
    }
}

impl KeyStore for KeyRedis {
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        let mut command = redis::cmd("GETRANGE");
        // Reads one byte more than the limit, so that a longer value is noticed and not cut.
        command.arg(&self.key).arg(0).arg(MAX_STORED);
        let found: Vec<u8> = self.ask(command)?;
        Ok((!found.is_empty()).then(|| Zeroizing::new(found)))
    }

    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(REPLACE).arg(1).arg(&self.key);
        command.arg(u8::from(there.is_some()));
        command.arg(there.unwrap_or_default()).arg(with);
        self.ask(command)
    }

    fn describe(&self) -> String {
        format!("{}, key {}", self.server, self.key)
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn time(&self) -> Result<Option<SystemTime>, KeyStoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(TIME).arg(1).arg(&self.key);
        let (seconds, micros): (u64, u64) = self.ask(command)?;
        let since = Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros));
        Ok(UNIX_EPOCH.checked_add(since))
    }
}

impl fmt::Debug for KeyRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRedis")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
