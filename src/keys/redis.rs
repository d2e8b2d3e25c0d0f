//! A key store in Redis.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Client, Connection, ConnectionLike, ErrorKind, IntoConnectionInfo, RedisError};
use zeroize::Zeroizing;

use super::signals::locked;
use super::store::{KeyStore, KeyStoreError, KeyStoreErrorKind, MAX_STORED};
use crate::error::ConfigError;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Compares and sets in one step. Arguments: whether something must be there, what it must be, and
/// what takes its place.
const REPLACE: &str = "\
local there = redis.call('GET', KEYS[1])
if ARGV[1] == '0' and there then return 0 end
if ARGV[1] == '1' and there ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
return 1";

/// A ring of keys in Redis, under one key: version 6.2 or newer, or Valkey.
///
/// It needs a [root key](super::ManagedKeysBuilder::root): beside the sessions that they seal, keys
/// in plain text protect nothing. Whoever reads Redis then sees one sealed token, and whoever
/// writes to it can put back an older one, which every process that knows more puts right again.
///
/// The commands are `GETRANGE`, `TIME` and `EVAL`, in the script `GET` and `SET`. It connects when it is
/// first used, and again when a connection is lost. A fail-over may lose the last write; a process
/// that has it writes it again. Let no `maxmemory-policy` evict the key.
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
    client: Client,
    key: String,
    timeout: Duration,
    connection: Mutex<Option<Connection>>,
}

impl KeyRedis {
    /// The server at a URL, as for [`RedisStore`](crate::RedisStore).
    ///
    /// # Errors
    ///
    /// If it is not such a URL.
    pub fn open(url: impl IntoConnectionInfo) -> Result<Self, ConfigError> {
        let client = Client::open(url).map_err(|error| {
            let problem = format!(
                "it is not a server's ({}); write `redis://host:6379`, or `rediss://` with a TLS \
                 feature of the crate `redis`",
                error.category()
            );
            ConfigError::new("redis URL", problem)
        })?;
        Ok(Self::client(client))
    }

    /// The server of a client.
    pub fn client(client: Client) -> Self {
        Self {
            client,
            key: "session:keys".to_owned(),
            timeout: TIMEOUT,
            connection: Mutex::default(),
        }
    }

    /// The key that holds the ring. Default `session:keys`.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// How long to wait for a connection and for each answer. Default five seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, KeyStoreError> {
        let mut slot = locked(&self.connection);
        let mut connection = match slot.take().filter(ConnectionLike::is_open) {
            Some(connection) => connection,
            None => self.connect().map_err(|error| self.failed(&error))?,
        };
        let answer = command.query(&mut connection);
        // After a timeout its next answer would be to this question.
        if !answer.as_ref().is_err_and(is_broken) {
            *slot = Some(connection);
        }
        answer.map_err(|error| self.failed(&error))
    }

    fn connect(&self) -> Result<Connection, RedisError> {
        let connection = self.client.get_connection_with_timeout(self.timeout)?;
        connection.set_read_timeout(Some(self.timeout))?;
        connection.set_write_timeout(Some(self.timeout))?;
        Ok(connection)
    }

    /// Only the code of what a server says goes on: the rest of its text may quote a value.
    fn failed(&self, error: &RedisError) -> KeyStoreError {
        let kind = match error.code() {
            Some("OOM") => KeyStoreErrorKind::Full,
            Some("WRONGTYPE") => KeyStoreErrorKind::Damaged,
            _ if matches!(error.kind(), ErrorKind::Io) => KeyStoreErrorKind::Unavailable,
            Some("LOADING" | "MASTERDOWN" | "READONLY" | "MISCONF" | "NOREPLICAS") => {
                KeyStoreErrorKind::Unavailable
            }
            _ => KeyStoreErrorKind::Other,
        };
        let because = match error.kind() {
            ErrorKind::Io => error.to_string(),
            _ => match error.code() {
                Some(code) => format!("it answers {code}"),
                None => error.category().to_owned(),
            },
        };
        KeyStoreError::new(kind, format_args!("{}: {because}", self.describe()))
    }
}

fn is_broken(error: &RedisError) -> bool {
    error.is_timeout() || error.is_connection_dropped() || matches!(error.kind(), ErrorKind::Io)
}

impl KeyStore for KeyRedis {
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        let mut command = redis::cmd("GETRANGE");
        // A byte more than is good shows that there is too much.
        command.arg(&self.key).arg(0).arg(MAX_STORED);
        let found: Vec<u8> = self.ask(&command)?;
        Ok((!found.is_empty()).then(|| Zeroizing::new(found)))
    }

    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(REPLACE).arg(1).arg(&self.key);
        command.arg(u8::from(there.is_some()));
        command.arg(there.unwrap_or_default()).arg(with);
        self.ask(&command)
    }

    fn describe(&self) -> String {
        let address = self.client.get_connection_info().addr();
        format!("redis {address}, key {}", self.key)
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn time(&self) -> Result<Option<SystemTime>, KeyStoreError> {
        let (seconds, micros): (u64, u64) = self.ask(&redis::cmd("TIME"))?;
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
