//! A stream that any number of processes write to and each reads from beginning to end.
//!
//! One Redis key holds the stream, in the order of arrival. Others may write anything to that key.
//! So an answer never has more bytes than genuine entries would have, and reports the stream's
//! state beside its entries.

use std::time::Duration;

use super::bell::{Armed, Bell};
use super::link::Link;
use super::{Redis, command, millis, script, strange};
use crate::error::BackendError;

/// The most entries in one answer and in one write.
pub(crate) const PAGE: usize = 1000;

/// How long other processes leave a stream alone after one has begun to restore it.
const RESTORING: Duration = Duration::from_secs(30);

/// How often to ask Redis if it cannot notify.
const INTERVAL: Duration = Duration::from_millis(100);

/// How far ahead of Redis's clock the stream's last id may be, in milliseconds. Ids only grow:
/// after an id far ahead, later entries can never be trimmed, and after the last possible id, none
/// can follow.
const AHEAD: u64 = 3_600_000;

/// The length of a span in milliseconds. Trimming removes whole spans, the same in each process,
/// which tells trimmed entries from deleted ones.
pub(crate) const SPAN: u64 = 1 << 19;

/// Appends entries, and lets the stream expire with the last of them. Arguments: for how many
/// milliseconds to keep them, and the entries.
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

/// Returns the stream's state, then entries, each as its id and its text. Returns nothing if the
/// key holds something else. Arguments: the id to read after, the most entries, the most bytes of a
/// text, and two ids that should exist.
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

/// Removes the key if it is not a stream, or if its last id is so far ahead that new entries cannot
/// be appended or trimmed. It removes a stream only if its last entry is still the one that the
/// caller has read. Arguments: that entry's id, and how far ahead an id may be. Returns 1 if the
/// key is gone, 2 if there was no reason, and 0 if another entry has come.
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

/// The position of an entry in the stream: Redis's time in milliseconds, and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) time: u64,
    number: u64,
}

/// An entry and its position.
pub(crate) type Found = (Position, Vec<u8>);

/// Some entries, and the stream's state when they were read.
pub(crate) struct Page {
    pub(crate) entries: Vec<Found>,
    /// Redis's clock, in milliseconds.
    pub(crate) time: u64,
    /// The number of entries in the stream.
    pub(crate) length: u64,
    /// The position of the stream's first entry.
    pub(crate) first: Position,
    /// Whether each of the two expected entries exists.
    pub(crate) there: [bool; 2],
}

/// The result of [`Feed::reset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    /// The stream is gone, and entries can be appended.
    Done,
    /// The stream was sound.
    Needless,
    /// The stream has an entry that was not read yet.
    Unread,
}

impl Redis {
    /// Returns the stream of this name, behind the prefix.
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

    /// Appends at most [`PAGE`] entries that may matter for as long as `keep`, and returns the last
    /// one's position. When it returns, Redis has them.
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

    /// Returns at most `count` entries after `after`, and whether the entries at `known` exist.
    /// Returns `None` if the key holds something other than a stream.
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

    /// Removes entries from before a time of Redis's clock, in milliseconds.
    pub(crate) async fn trim(&self, before: u64) -> Result<(), BackendError> {
        let mut trim = command("XTRIM", &self.stream);
        trim.arg("MINID").arg(before);
        let _trimmed: u64 = self.redis.ask_one(trim).await?;
        Ok(())
    }

    /// Removes the stream if nothing can be appended to it, or nothing that could be trimmed.
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

    /// Asks Redis to notify of the next change. Returns `None` if it cannot.
    pub(crate) async fn arm(&self) -> Option<Armed> {
        let bell = self.bell.as_ref()?;
        // It fails if Redis is away, which the next read reports, or if Redis cannot notify.
        bell.arm(&self.stream, self.redis.timeouts).await.ok()
    }

    /// Waits for a change, at most as long as `patience`.
    pub(crate) async fn rest(&self, armed: Option<Armed>, patience: Duration) {
        match armed {
            Some(armed) => armed.wait(patience).await,
            None => tokio::time::sleep(patience.min(INTERVAL)).await,
        }
    }

    /// Asks for the task of restoring the entries that Redis has lost. Anyone who can write to
    /// Redis can make this return false. It only saves work; correctness does not depend on it.
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
    /// Returns the position of the last entry, or `before` if the page is empty.
    pub(crate) fn last(&self, before: Position) -> Position {
        self.entries.last().map_or(before, |(at, _)| *at)
    }

    /// Returns the time before which entries no longer matter, in milliseconds. It is the beginning
    /// of a span.
    pub(crate) fn trimmed(&self, keep: Duration) -> u64 {
        self.time.saturating_sub(millis(keep)) / SPAN * SPAN
    }

    /// Returns whether `last`, the stream's last entry, is further ahead than any clock may be.
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
