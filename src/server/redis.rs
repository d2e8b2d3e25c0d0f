//! A backend in Redis.

mod bell;
mod failure;
mod feed;
mod link;
mod pages;

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
pub(crate) use feed::{Feed, PAGE, Page, Position, Reset, SPAN};
use link::{Link, Timeouts};

/// The most characters of a value, unless a store says otherwise.
const LONGEST: usize = 16 << 20;

/// The most characters of a mark that a session has moved, and more.
const LONGEST_MARK: usize = 1024;

/// Compares and sets in one step. Arguments: the value, its milliseconds, and the version that
/// must be there, empty if nothing must be.
const PUT: &str = "\
local there = redis.call('GETRANGE', KEYS[1], 0, 39)
if there == string.sub(ARGV[1], 1, 40) then return 'stored' end
if there ~= ARGV[3] then return there == '' and 'absent' or 'conflict' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'stored'";

/// Removes a value, and gives back no more of it than a mark may have. Argument: where it ends.
const REMOVE: &str = "\
local there = redis.call('GETRANGE', KEYS[1], 0, ARGV[1])
redis.call('UNLINK', KEYS[1])
return there";

/// A page of a subject's index: where to go on, and the keys. Whatever else has been put there
/// stays there. Argument: where it goes on.
const TAGGED: &str = "\
local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', 1000)
local keys = {}
for i = 1, #page[2], 2 do
  if #page[2][i] == 32 then keys[#keys + 1] = page[2][i] end
end
return {page[1], keys}";

/// Puts a key into a subject's index, which ends with the last of its keys. Arguments: the key,
/// and its milliseconds at most.
const INDEX: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], 'GT', now + ARGV[2], ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
return redis.call('PEXPIREAT', KEYS[1], last[2])";

/// Sessions in Redis, for as many processes as there are: version 6.2 or newer, or Valkey.
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
/// [`Promise::Full`], as long as Redis keeps what it has acknowledged. A server that restarts
/// without having written to its disk, and a replica that becomes the master before it has heard
/// everything, go back in time: what was saved last is lost, and a session that was ended last
/// may be there again, until its deadline.
///
/// Reading and writing goes to masters. Do not hand it a cluster's client that reads from
/// replicas, or a session may not be found by the request after the one that saved it.
///
/// # What it costs
///
/// One round trip for a load, a save, a touch and a removal each, two for a save with a new id
/// in place of an old one. In a cluster a save of a session that has a subject takes one more,
/// because the subject's index may live elsewhere.
///
/// # What is left in Redis
///
/// - `<prefix><64 hexadecimal digits>`: a string, the sealed record, under the hash of its id.
///   It expires with the session, to the millisecond; there is no moment without an expiry.
/// - `<prefix>subject:<64 hexadecimal digits>`: a sorted set for each subject with a session,
///   under a keyed hash of the subject: the keys of its sessions, 32 bytes each, with their
///   deadlines in milliseconds. A key that has expired goes with the next save of a session of
///   that subject, and the set with the last of its keys.
///
/// Whoever reads all that finds no id, no subject and no value. Whoever can write to it can end
/// sessions, or put back what a session was before, until its deadline, but neither make one up,
/// nor give one to another visitor.
///
/// No more of a value is fetched than the store's
/// [`max_size`](crate::StoreBuilder::max_size) allows, whatever somebody else has put there: it is
/// refused as [`Refusal::BadValue`](crate::Refusal::BadValue). Names that are no keys of ours stay
/// in Redis too, when sessions are listed or looked for by their subject. Without a store it
/// fetches up to 16 MiB.
///
/// Each command and script has one key, so that all work in a cluster. The commands are
/// `GETRANGE`, `PTTL`, `EVAL`, `PEXPIRE` and `SCAN`, in scripts `GETRANGE`, `SET`, `UNLINK`,
/// `TIME`, `ZREMRANGEBYSCORE`, `ZADD`, `ZRANGE`, `ZSCAN` and `PEXPIREAT`, and in a cluster also
/// `CLUSTER SLOTS`.
///
/// # Bad days
///
/// Nothing connects before the first call, and each call that finds no connection tries to make
/// one, so that a server may be down when a service starts, and come back whenever it likes. A
/// connection that breaks is made again, and the command sent again, once: sent twice, each does
/// what it does once. Only what a removal has removed is told by its first answer alone: if that is
/// lost, a logout that meets a renewal leaves the session under its new id. A connection that does
/// not answer in time is given up, and that call fails.
///
/// | | error |
/// |---|---|
/// | down, restarting, loading its data, without a master | [`BackendErrorKind::Unavailable`] |
/// | no answer in time | [`BackendErrorKind::Timeout`] |
/// | `maxmemory` reached, and nothing may be evicted | [`BackendErrorKind::Full`]: sessions can still be loaded and ended, but not saved |
/// | wrong password, missing permission, not a Redis | [`BackendErrorKind::Other`] |
///
/// A server that comes back empty has ended all sessions: [`Refusal::Gone`](crate::Refusal::Gone).
/// So has one that evicts; give sessions a server with `maxmemory-policy noeviction`.
pub struct Redis {
    link: Link,
    prefix: String,
    timeouts: Timeouts,
    /// The most characters of a value.
    longest: usize,
}

impl Redis {
    /// A server at a URL: `redis://user:password@host:6379/database`, `redis+unix:///path`, or
    /// `rediss://` for TLS if one of the TLS features of the crate `redis` is turned on. It does
    /// not connect yet.
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
        Self::over(Link::client(client))
    }

    /// The master that sentinels tell. After a failover it finds the new one.
    pub fn sentinel(client: SentinelClient) -> Self {
        Self::over(Link::sentinel(client))
    }

    /// A cluster. The timeouts are its client's: set `response_timeout` there, because without
    /// one it waits for ever.
    pub fn cluster(client: ClusterClient) -> Self {
        Self::over(Link::cluster(client))
    }

    /// A connection that is there already, and has its own timeouts:
    /// `redis::aio::ConnectionManager`, `redis::cluster_async::ClusterConnection`, or
    /// `redis::aio::MultiplexedConnection`, which does not come back once it is broken.
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

    /// What all keys begin with. Default `session:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long to wait for an answer. Default one second.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.response = timeout;
        self
    }

    /// How long to wait for a connection. Default one second.
    pub fn connection_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connection = timeout;
        self
    }

    /// How many connections it makes to a server, which take turns. Default one, which carries
    /// any number of commands at once; several help where large sessions get into each other's
    /// way.
    pub fn connections(mut self, connections: usize) -> Self {
        self.link.resize(connections);
        self
    }

    fn key(&self, key: &StoreKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The answers of as many commands.
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

    /// The answer of the second of two commands, neither of which may fail. The first comes first.
    async fn ask_in_order(
        &self,
        first: Cmd,
        then: Cmd,
    ) -> Result<RedisResult<redis::Value>, BackendError> {
        match &self.link {
            Link::Server(_) => {
                let [first, then] = self.ask([first, then]).await?;
                first?;
                Ok(then)
            }
            Link::Cluster(_) => {
                let [first] = self.ask([first]).await?;
                first?;
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
    let what = "redis gave an answer that no Redis gives to this command";
    BackendError::new(BackendErrorKind::Other, what)
}

fn command(name: &str, key: &str) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}

/// Always with its text: a server that restarts has forgotten the scripts it knew, and asking
/// for one by its hash would make the save after that two round trips.
fn script(text: &str, key: &str) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(1).arg(key);
    command
}

/// What is no text was not put by us, and will not open.
fn text(value: Vec<u8>) -> Value {
    let text = String::from_utf8(value);
    Value::new(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// At least one, and no more than a moment has: Redis counts milliseconds from 1970 on, too.
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
        // One character more than there may be, so that what is too long is refused and not cut.
        let mut get = command("GETRANGE", &key);
        get.arg(0).arg(self.longest);
        let [value, ttl] = self.ask([get, command("PTTL", &key)]).await?;
        let (value, ttl): (Vec<u8>, i64) = (understood(value)?, understood(ttl)?);
        // It may expire between the two. What is not there is empty, as something else may be.
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
        let put = match &entry.tag {
            None => self.ask([put]).await.map(|[put]| put),
            Some(tag) => {
                let mut index = script(INDEX, &format!("{}subject:{tag}", self.prefix));
                index.arg(key.as_bytes()).arg(millis(entry.longest_ttl));
                self.ask_in_order(index, put).await
            }
        };
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

    /// In a cluster each master has pages of its own. While slots move from one to another, a
    /// session that moves with them may be missed.
    async fn scan(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        self.page(after).await
    }

    async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        let index = format!("{}subject:{tag}", self.prefix);
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
