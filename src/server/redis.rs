//! A backend that keeps sessions in Redis.

mod bell;
mod failure;
mod feed;
mod link;
mod pages;
mod timer;

use std::fmt;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::cluster::ClusterClient;
use redis::sentinel::SentinelClient;
use redis::{Client, Cmd, IntoConnectionInfo, Pipeline, RedisResult};

use super::backend::{
    Backend, Cursor, Entry, Outcome, Promise, StoreKey, Stored, Tag, Value, When,
};
use crate::error::{BackendError, BackendErrorKind, ConfigError};
use crate::time::Millis;
#[cfg(feature = "managed-keys")]
pub(crate) use failure::code;
pub(crate) use feed::{Feed, PAGE, Page, Position, Reset, SPAN};
pub(crate) use link::{Link, Timeouts, client_of};

/// The most characters of a value, unless the store sets another limit.
const LONGEST: usize = 16 << 20;

/// An upper bound for the characters of a mark that a session has moved.
const LONGEST_MARK: usize = 1024;

/// Compares and sets in one step. Arguments: the value, its lifetime in milliseconds, and the
/// version to replace, empty if the key must not exist.
const PUT: &str = "\
local there = redis.call('GETRANGE', KEYS[1], 0, 39)
if there == string.sub(ARGV[1], 1, 40) then return 'stored' end
if there ~= ARGV[3] then return there == '' and 'absent' or 'conflict' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'stored'";

/// Removes a value, and returns no more of it than a mark may have. Argument: where to cut it.
const REMOVE: &str = "\
local there = redis.call('GETRANGE', KEYS[1], 0, ARGV[1])
redis.call('UNLINK', KEYS[1])
return there";

/// Returns a page of a subject's index: the next cursor, and the keys. It leaves foreign members
/// where they are and does not return them. Argument: the cursor.
const TAGGED: &str = "\
local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', 1000)
local keys = {}
for i = 1, #page[2], 2 do
  if #page[2][i] == 32 then keys[#keys + 1] = page[2][i] end
end
return {page[1], keys}";

/// Adds a key to a subject's index, which expires with the last of its keys. Arguments: the key,
/// and its longest lifetime in milliseconds.
const INDEX: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], 'GT', now + ARGV[2], ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
return redis.call('PEXPIREAT', KEYS[1], last[2])";

/// A backend that keeps sessions in Redis 6.2 or newer, or in Valkey, for any number of processes.
///
/// ```
/// # use sealed_session::AppKey;
/// use sealed_session::RedisStore;
/// use sealed_session::server::Redis;
///
/// let redis = Redis::open("redis://127.0.0.1:6379")?.prefix("shop:session:");
/// let store = RedisStore::new(AppKey::generate()?, redis);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it promises
///
/// It keeps [`Promise::Full`], as long as Redis keeps the writes that it has acknowledged. Two
/// things break that: a server that restarts before it has written to its disk, and a replica that
/// becomes the master before it has received everything. Then the last saves are lost, and a
/// session that has just ended may come back until its deadline.
///
/// The backend reads from masters and writes to masters. Do not pass it a cluster client that reads
/// from replicas: a request might then miss a session that the request before it saved.
///
/// # What it costs
///
/// A load, a save, a touch and a removal take one round trip each. A save that replaces the
/// session's id takes two. In a cluster, a save takes one more if the session has a subject, and
/// one more if it has a sid, because their indexes may be on other nodes.
///
/// # What Redis holds
///
/// - `<prefix><64 hexadecimal digits>`: a string, the sealed record, named by the hash of the
///   session's id. It expires with the session, to the millisecond, and is never without an expiry.
/// - `<prefix>subject:<64 hexadecimal digits>`: a sorted set for each subject and each
///   [sid](crate::Session::set_sid) with a session, named by a keyed hash of it. It holds the keys
///   of the subject's sessions, 32 bytes each, with their deadlines in milliseconds. The next save
///   of that subject's session removes expired keys, and the set expires with its last key.
///
/// Someone who reads all of this learns no id, no subject and no value. Someone who can write to
/// Redis can end sessions, and can restore an earlier state of a session until its deadline. They
/// cannot make up a session or give one to another visitor.
///
/// The backend fetches no more of a value than the store's
/// [`max_size`](crate::StoreBuilder::max_size) allows, and the store refuses a larger one as
/// [`Refusal::BadValue`](crate::Refusal::BadValue). Without a store, it fetches up to 16 MiB. When
/// it lists sessions or finds a subject's sessions, it does not fetch foreign names.
///
/// Each command and script uses one key, so that all of them work in a cluster. The commands are
/// `GETRANGE`, `PTTL`, `EVAL`, `PEXPIRE` and `SCAN`, in scripts `GETRANGE`, `SET`, `UNLINK`,
/// `TIME`, `ZREMRANGEBYSCORE`, `ZADD`, `ZRANGE`, `ZSCAN` and `PEXPIREAT`, and in a cluster also
/// `CLUSTER SLOTS`.
///
/// # When Redis fails
///
/// The backend connects on the first call. Each call that finds no connection tries to make one, so
/// Redis may be down when your service starts, and may come back at any time. If a connection
/// breaks, the backend connects again and sends the command once more. Sending a command twice has
/// the same effect as sending it once, with one exception: only the first answer to a removal has
/// the removed value. If that answer is lost, a logout that meets a renewal leaves the session
/// alive under its new id. If a connection does not answer in time, the call fails and the backend
/// drops the connection.
///
/// | problem | error |
/// |---|---|
/// | down, restarting, loading its data, busy with a script, without a master | [`BackendErrorKind::Unavailable`] |
/// | no answer in time | [`BackendErrorKind::Timeout`] |
/// | `maxmemory` reached, and nothing may be evicted | [`BackendErrorKind::Full`]: sessions can still be loaded and ended, but not saved |
/// | wrong password, missing permission, not a Redis | [`BackendErrorKind::Other`] |
///
/// If a server comes back empty, all its sessions have ended:
/// [`Refusal::Gone`](crate::Refusal::Gone). The same holds for an evicted session, so give sessions
/// a server with `maxmemory-policy noeviction`.
pub struct Redis {
    link: Link,
    prefix: String,
    timeouts: Timeouts,
    /// The most characters of a value.
    longest: usize,
}

impl Redis {
    /// Uses the server at a URL: `redis://user:password@host:6379/database`, `redis+unix:///path`,
    /// or `rediss://` for TLS if you turn on a TLS feature of the crate `redis`. It does not
    /// connect yet.
    ///
    /// # Errors
    ///
    /// If the URL is not one of these.
    pub fn open(url: impl IntoConnectionInfo) -> Result<Self, ConfigError> {
        Ok(Self::client(client_of(url)?))
    }

    /// Uses the server of a client.
    pub fn client(client: Client) -> Self {
        Self::over(Link::client(client))
    }

    /// Uses the master that Redis Sentinel names. After a failover it finds the new one.
    ///
    /// ```no_run
    /// use redis::sentinel::{SentinelClient, SentinelServerType};
    /// # use sealed_session::server::Redis;
    ///
    /// let sentinels = vec!["redis://10.0.0.1:26379", "redis://10.0.0.2:26379"];
    /// let name = "mymaster".to_owned();
    /// let client = SentinelClient::build(sentinels, name, None, SentinelServerType::Master)?;
    /// let redis = Redis::sentinel(client);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sentinel(client: SentinelClient) -> Self {
        Self::over(Link::sentinel(client))
    }

    /// Uses a cluster. The client's own timeouts apply: set `response_timeout` on it, because
    /// without one a call can wait for ever.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use redis::cluster::ClusterClient;
    /// # use sealed_session::server::Redis;
    ///
    /// let client = ClusterClient::builder(["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"])
    ///     .response_timeout(Duration::from_secs(1))
    ///     .build()?;
    /// let redis = Redis::cluster(client);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cluster(client: ClusterClient) -> Self {
        Self::over(Link::cluster(client))
    }

    /// Uses an existing connection with its own timeouts: `redis::aio::ConnectionManager`,
    /// `redis::cluster_async::ClusterConnection`, or `redis::aio::MultiplexedConnection`, which
    /// does not reconnect once it is broken.
    ///
    /// ```no_run
    /// # use sealed_session::server::Redis;
    /// # async fn connect() -> Result<Redis, Box<dyn std::error::Error>> {
    /// let client = redis::Client::open("redis://10.0.0.1:6379")?;
    /// let redis = Redis::connection(client.get_multiplexed_async_connection().await?);
    /// # Ok(redis)
    /// # }
    /// ```
    pub fn connection(connection: impl ConnectionLike + Clone + Send + Sync + 'static) -> Self {
        Self::over(Link::given(connection))
    }

    fn over(link: Link) -> Self {
        Self {
            link,
            prefix: "session:".to_owned(),
            timeouts: Timeouts::default(),
            longest: LONGEST,
        }
    }

    /// Sets the prefix of all keys. Default `session:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long to wait for an answer. Default one second.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sealed_session::server::Redis;
    /// let redis = Redis::open("redis://10.0.0.1:6379")?
    ///     .connection_timeout(Duration::from_millis(500))
    ///     .response_timeout(Duration::from_millis(500)) // a request waits a second at most
    ///     .connections(4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.response = timeout;
        self
    }

    /// Sets how long to wait for a connection. Default one second.
    pub fn connection_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connection = timeout;
        self
    }

    /// Sets how many connections to open to a server; calls take turns on them. Default one, which
    /// carries any number of commands at once. Use several if large sessions delay other commands.
    pub fn connections(mut self, connections: usize) -> Self {
        self.link.resize(connections);
        self
    }

    fn key(&self, key: &StoreKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The key of a tag's index.
    fn index(&self, tag: &Tag) -> String {
        format!("{}subject:{tag}", self.prefix)
    }

    /// Sends the commands, and returns an answer for each.
    async fn ask<const N: usize>(
        &self,
        commands: [Cmd; N],
    ) -> Result<[RedisResult<redis::Value>; N], BackendError> {
        let mut pipeline = Pipeline::with_capacity(N);
        pipeline.ignore_errors();
        for command in commands {
            pipeline.add_command(command);
        }
        let answers = self.link.send(&pipeline, self.timeouts).await?;
        answers.try_into().map_err(|_| strange())
    }

    /// Runs a command after the others, and returns the answer to it. It fails if one of the
    /// others does.
    async fn ask_after(
        &self,
        others: Vec<Cmd>,
        then: Cmd,
    ) -> Result<RedisResult<redis::Value>, BackendError> {
        match &self.link {
            Link::Server(_) => {
                let mut pipeline = Pipeline::with_capacity(others.len() + 1);
                pipeline.ignore_errors();
                for command in others {
                    pipeline.add_command(command);
                }
                pipeline.add_command(then);
                let mut answers = self.link.send(&pipeline, self.timeouts).await?;
                let then = answers.pop().ok_or_else(strange)?;
                for answer in answers {
                    answer?;
                }
                Ok(then)
            }
            Link::Cluster(_) => {
                for command in others {
                    let [answer] = self.ask([command]).await?;
                    answer?;
                }
                let [then] = self.ask([then]).await?;
                Ok(then)
            }
        }
    }

    async fn ask_one<T: redis::FromRedisValue>(&self, command: Cmd) -> Result<T, BackendError> {
        let [answer] = self.ask([command]).await?;
        understood(answer)
    }
}

fn understood<T: redis::FromRedisValue>(
    answer: RedisResult<redis::Value>,
) -> Result<T, BackendError> {
    redis::from_redis_value(answer?).map_err(|_| strange())
}

fn strange() -> BackendError {
    let what = "redis gave an answer that does not fit the command";
    BackendError::new(BackendErrorKind::Other, what)
}

fn command(name: &str, key: &str) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}

/// Builds a script command with the script's full text. A server that restarts forgets its scripts,
/// so calling one by its hash would cost the next save a second round trip.
fn script(text: &str, key: &str) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(1).arg(key);
    command
}

/// Decodes a value. A value that is not UTF-8 is not from this crate, and will not open.
fn text(value: Vec<u8>) -> Value {
    let text = String::from_utf8(value);
    Value::new(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Returns at least 1, and at most the milliseconds that a time can have, because Redis also counts
/// from 1970.
fn millis(ttl: Duration) -> u64 {
    Millis::default().plus(ttl).raw().max(1)
}

impl Backend for Redis {
    const PROMISE: Promise = Promise::Full;

    fn expect_at_most(&mut self, characters: usize) {
        self.longest = characters;
    }

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        let key = self.key(key);
        // Fetch one character more than the limit, so that a longer value is refused and not cut.
        let mut get = command("GETRANGE", &key);
        get.arg(0).arg(self.longest);
        let [value, ttl] = self.ask([get, command("PTTL", &key)]).await?;
        let (value, ttl): (Vec<u8>, i64) = (understood(value)?, understood(ttl)?);
        // PTTL decides whether the key exists, because it may expire between the two commands. An
        // empty value does not decide: a key may also hold an empty string.
        Ok((ttl != -2).then(|| Stored {
            value: text(value),
            ttl: Duration::from_millis(u64::try_from(ttl).unwrap_or(0)),
        }))
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        let there = match &entry.when {
            When::Absent => "",
            When::Unchanged(version) => version.as_str(),
        };
        let mut put = script(PUT, &self.key(key));
        put.arg(entry.value.as_str())
            .arg(millis(entry.ttl))
            .arg(there);
        let index = |tag| {
            let mut index = script(INDEX, &self.index(&tag));
            index.arg(key.as_bytes()).arg(millis(entry.longest_ttl));
            index
        };
        let put = self.ask_after(entry.tags().map(index).collect(), put).await;
        let outcome: String = understood(put?)?;
        match outcome.as_str() {
            "stored" => Ok(Outcome::Stored),
            "conflict" => Ok(Outcome::Conflict),
            "absent" => Ok(Outcome::Absent),
            _ => Err(strange()),
        }
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        let mut touch = command("PEXPIRE", &self.key(key));
        touch.arg(millis(ttl));
        self.ask_one(touch).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        let mut remove = script(REMOVE, &self.key(key));
        remove.arg(LONGEST_MARK);
        let value: Vec<u8> = self.ask_one(remove).await?;
        Ok((!value.is_empty()).then(|| text(value)))
    }

    /// In a cluster, each master has its own pages. While slots move between masters, the scan may
    /// miss a session that moves with them.
    async fn scan(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        self.page(after).await
    }

    async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        let index = self.index(tag);
        let (mut keys, mut after) = (Vec::new(), "0".to_owned());
        loop {
            let mut page = script(TAGGED, &index);
            page.arg(after);
            let (next, members): (String, Vec<Vec<u8>>) = self.ask_one(page).await?;
            let members = members.into_iter().filter_map(|key| key.try_into().ok());
            keys.extend(members.map(StoreKey::from_bytes));
            if next == "0" {
                return Ok(keys);
            }
            after = next;
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
