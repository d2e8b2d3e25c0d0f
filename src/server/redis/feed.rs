//! A stream that any number of processes write to, and each reads from its beginning to its end.
//!
//! One key holds it, in the order of arrival. Others may write to it too, whatever they like: so
//! an answer has no more bytes than genuine entries would have, and what is wrong with the stream
//! is told beside what is in it.

use std::time::Duration;

use super::bell::{Armed, Bell};
use super::link::Link;
use super::{Redis, command, millis, script, strange};
use crate::error::BackendError;

/// The most entries of one answer, and of one write.
pub(crate) const PAGE: usize = 1000;

/// How long nobody else restores a stream after a process has begun to.
const RESTORING: Duration = Duration::from_secs(30);

/// How often Redis is asked where nothing tells of changes.
const INTERVAL: Duration = Duration::from_millis(100);

/// How far ahead of Redis's clock the stream's last id may be, in milliseconds. Ids only grow: one
/// that somebody has put far ahead keeps all later entries from ever being trimmed, and the last
/// of all ids lets none follow.
const AHEAD: u64 = 3_600_000;

/// Entries are trimmed by whole spans of this many milliseconds, the same in each process, so that
/// what was trimmed can be told from what was deleted.
pub(crate) const SPAN: u64 = 1 << 19;

/// Appends, and lets the stream end with the last of its entries. Arguments: for how many
/// milliseconds, and the entries.
const APPEND: &str = "\
local last
for i = 2, #ARGV do
  last = redis.pcall('XADD', KEYS[1], '*', 't', ARGV[i])
  if type(last) == 'table' then return last end
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return last";

/// Reads entries, each as its id and its text, behind what is to be known of the stream. Nothing
/// if the key holds something else. Arguments: behind which id, how many entries, how many bytes
/// of a text, and two ids that should be there.
const READ: &str = "\
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'stream' and kind ~= 'none' then return {} end
local function there(id) return #redis.call('XRANGE', KEYS[1], id, id) end
local time = redis.call('TIME')
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
local answer = {
  time[1] * 1000 + math.floor(time[2] / 1000),
  redis.call('XLEN', KEYS[1]),
  first[1] and first[1][1] or '0-0',
  there(ARGV[4]),
  there(ARGV[5])
}
local read = redis.call('XREAD', 'COUNT', ARGV[2], 'STREAMS', KEYS[1], ARGV[1])
for _, entry in ipairs(read and read[1][2] or {}) do
  answer[#answer + 1] = entry[1]
  answer[#answer + 1] = #entry[2] == 2 and string.sub(entry[2][2], 1, ARGV[3]) or ''
end
return answer";

/// Removes what nothing can be appended to any more, or nothing that would ever be trimmed: if
/// the stream's last entry is still the one that the caller has read, or if it is no stream.
/// Arguments: that entry's id, and how far ahead an id may be. 1 if it is gone, 2 if there was no
/// reason, 0 if another entry has come.
const RESET: &str = "\
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return 2 end
if kind == 'stream' then
  local id = '0-0'
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then id = info[i + 1] end
  end
  local time = redis.call('TIME')
  if tonumber(string.match(id, '^%d+')) <= time[1] * 1000 + ARGV[2] then return 2 end
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  if (last[1] and last[1][1] or '0-0') ~= ARGV[1] then return 0 end
end
redis.call('UNLINK', KEYS[1])
return 1";

pub(crate) struct Feed {
    redis: Redis,
    bell: Option<Bell>,
    stream: String,
    /// The most bytes of an entry.
    longest: usize,
}

/// Where in the stream an entry is: Redis's time in milliseconds, and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) time: u64,
    number: u64,
}

/// An entry, and where it was.
pub(crate) type Found = (Position, Vec<u8>);

/// Some entries, and the stream as it was when they were read.
pub(crate) struct Page {
    pub(crate) entries: Vec<Found>,
    /// Redis's, in milliseconds.
    pub(crate) time: u64,
    /// How many entries there are in all.
    pub(crate) length: u64,
    /// Of the first entry.
    pub(crate) first: Position,
    /// Whether the two that should be there are.
    pub(crate) there: [bool; 2],
}

/// What has become of a stream that nothing could be appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    /// It is gone, and entries can be appended.
    Done,
    /// There was nothing wrong with it.
    Needless,
    /// It has an entry that was not read yet.
    Unread,
}

impl Redis {
    /// The stream of this name, behind the prefix.
    pub(crate) fn feed(self, name: &str, longest: usize) -> Feed {
        Feed {
            bell: match &self.link {
                Link::Server(pool) => pool.listen().map(Bell::new),
                Link::Cluster(_) => None,
            },
            stream: format!("{}{name}", self.prefix),
            redis: self,
            longest,
        }
    }
}

impl Feed {
    /// How long a connection and an answer may take together.
    pub(crate) fn timeout(&self) -> Duration {
        let timeouts = self.redis.timeouts;
        timeouts.connection.saturating_add(timeouts.response)
    }

    /// Appends at most [`PAGE`] entries, which may matter for as long as `keep`, and returns the
    /// last one's place. Once it returns, Redis has them.
    pub(crate) async fn append(
        &self,
        entries: &[String],
        keep: Duration,
    ) -> Result<Position, BackendError> {
        let mut append = script(APPEND, &self.stream);
        append.arg(millis(keep)).arg(entries);
        let last: String = self.redis.ask_one(append).await?;
        position(&last)
    }

    /// At most `count` entries from behind `after` on, and whether those at `known` are there.
    /// `None` if the key holds no stream.
    pub(crate) async fn read(
        &self,
        after: Position,
        count: usize,
        known: [Position; 2],
    ) -> Result<Option<Page>, BackendError> {
        let mut read = script(READ, &self.stream);
        read.arg(after.id()).arg(count).arg(self.longest + 1);
        for position in known {
            read.arg(position.id());
        }
        let answer: Vec<redis::Value> = self.redis.ask_one(read).await?;
        let mut answer = answer.into_iter();
        let Some(time) = answer.next() else {
            return Ok(None);
        };
        let number = |value: Option<redis::Value>| integer(value.ok_or_else(strange)?);
        let (time, length) = (number(Some(time))?, number(answer.next())?);
        let first = position(&text(answer.next())?)?;
        let there = [number(answer.next())? > 0, number(answer.next())? > 0];
        let (mut entries, mut last) = (Vec::with_capacity(answer.len() / 2), after);
        while let Some(id) = answer.next() {
            let at = position(&text(Some(id))?)?;
            if at <= last {
                return Err(strange());
            }
            last = at;
            let entry = redis::from_redis_value(answer.next().ok_or_else(strange)?);
            entries.push((at, entry.map_err(|_| strange())?));
        }
        Ok(Some(Page {
            entries,
            time,
            length,
            first,
            there,
        }))
    }

    /// Drops what is from before a moment of Redis's clock, in milliseconds.
    pub(crate) async fn trim(&self, before: u64) -> Result<(), BackendError> {
        let mut trim = command("XTRIM", &self.stream);
        trim.arg("MINID").arg(before);
        let _trimmed: u64 = self.redis.ask_one(trim).await?;
        Ok(())
    }

    /// Removes the stream if nothing can be appended to it, or nothing that would be trimmed.
    /// `last` is the last entry that was read.
    pub(crate) async fn reset(&self, last: Position) -> Result<Reset, BackendError> {
        let mut reset = script(RESET, &self.stream);
        reset.arg(last.id()).arg(AHEAD);
        match self.redis.ask_one(reset).await? {
            0 => Ok(Reset::Unread),
            1 => Ok(Reset::Done),
            _ => Ok(Reset::Needless),
        }
    }

    /// Asks to be told of the next change. `None` where there is no way.
    pub(crate) async fn arm(&self) -> Option<Armed> {
        let bell = self.bell.as_ref()?;
        // If it fails, Redis is away, which the next read says, or knows no such thing.
        bell.arm(&self.stream, self.redis.timeouts).await.ok()
    }

    /// Waits for a change, at most as long as `patience`.
    pub(crate) async fn rest(&self, armed: Option<Armed>, patience: Duration) {
        match armed {
            Some(armed) => armed.wait(patience).await,
            None => tokio::time::sleep(patience.min(INTERVAL)).await,
        }
    }

    /// Asks to be the one who restores what Redis has lost. Anybody may say no in Redis's name: it
    /// spares work, and nothing rests on it.
    pub(crate) async fn may_restore(&self) -> Result<bool, BackendError> {
        let mut set = command("SET", &self.lock());
        set.arg(1).arg("NX").arg("PX").arg(millis(RESTORING));
        let outcome: Option<String> = self.redis.ask_one(set).await?;
        Ok(outcome.is_some())
    }

    pub(crate) async fn is_restored(&self) -> Result<(), BackendError> {
        let _removed: u64 = self.redis.ask_one(command("UNLINK", &self.lock())).await?;
        Ok(())
    }

    fn lock(&self) -> String {
        format!("{}:restoring", self.stream)
    }
}

impl Page {
    /// Of the last entry, or `before` if there is none.
    pub(crate) fn last(&self, before: Position) -> Position {
        self.entries.last().map_or(before, |(at, _)| *at)
    }

    /// What is from before this moment is so old that it can no longer matter: the beginning of a
    /// span of time. Milliseconds.
    pub(crate) fn trimmed(&self, keep: Duration) -> u64 {
        self.time.saturating_sub(millis(keep)) / SPAN * SPAN
    }

    /// Whether the entry at `last`, the stream's last, is further ahead than any clock is.
    pub(crate) fn is_ahead(&self, last: Position) -> bool {
        last.time > self.time.saturating_add(AHEAD)
    }
}

impl Position {
    #[cfg(test)]
    pub(crate) fn at(time: u64) -> Self {
        Self { time, number: 0 }
    }

    fn id(self) -> String {
        format!("{}-{}", self.time, self.number)
    }
}

fn position(id: &str) -> Result<Position, BackendError> {
    let parse = |text: &str| text.parse().ok();
    let parts = id.split_once('-');
    parts
        .and_then(|(time, number)| {
            Some(Position {
                time: parse(time)?,
                number: parse(number)?,
            })
        })
        .ok_or_else(strange)
}

fn integer(value: redis::Value) -> Result<u64, BackendError> {
    redis::from_redis_value(value).map_err(|_| strange())
}

fn text(value: Option<redis::Value>) -> Result<String, BackendError> {
    redis::from_redis_value(value.ok_or_else(strange)?).map_err(|_| strange())
}
