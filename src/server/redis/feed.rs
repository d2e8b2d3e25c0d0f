//! A stream that any number of processes write to, and each reads from its beginning to its end.
//!
//! One key holds it, in the order of arrival. If Redis loses something of a stream, then its end
//! (a crash between two syncs to the disk, a failover) or all of it: so all is there while the
//! latest entry that was ever seen is.

use std::time::Duration;

use redis::{Cmd, Pipeline};

use super::link::{Link, Sender};
use super::{Redis, Timeouts, command, millis, script, strange, understood};
use crate::server::backend::BackendError;

/// The most entries of one answer, and of one write.
pub(crate) const PAGE: usize = 1000;

/// How long nobody else restores a stream after a process has begun to.
const RESTORING: Duration = Duration::from_secs(30);

/// How often a connection is asked that others wait for too, and that must not be blocked.
const INTERVAL: Duration = Duration::from_millis(100);

/// Appends, and lets the stream end with the last of its entries. Arguments: for how many
/// milliseconds, and the entries.
const APPEND: &str = "\
local last
for i = 2, #ARGV do last = redis.call('XADD', KEYS[1], '*', 't', ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return last";

pub(crate) struct Feed {
    redis: Redis,
    /// A connection that may be blocked.
    alone: Option<Box<dyn Sender>>,
    stream: String,
    /// How long an entry can matter.
    keep: Duration,
}

/// Where in the stream an entry is: Redis's time in milliseconds, and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(u64, u64);

/// An entry, and where it was.
pub(crate) type Found = (Position, Vec<u8>);

type Entries = Vec<(String, Vec<Vec<u8>>)>;

impl Redis {
    /// The stream of this name, behind the prefix.
    pub(crate) fn feed(self, name: &str, keep: Duration) -> Feed {
        Feed {
            alone: match &self.link {
                Link::Server(pool) => pool.another(),
                Link::Cluster(_) => None,
            },
            stream: format!("{}{name}", self.prefix),
            redis: self,
            keep,
        }
    }
}

impl Feed {
    pub(crate) fn keep(&self) -> Duration {
        self.keep
    }

    /// Appends at most [`PAGE`] entries and returns the last one's place. Once it returns, Redis
    /// has them.
    pub(crate) async fn append(&self, entries: &[String]) -> Result<Position, BackendError> {
        let mut append = script(APPEND, &self.stream);
        append.arg(millis(self.keep)).arg(entries);
        let last: String = self.redis.ask_one(append).await?;
        position(&last)
    }

    /// Whether the entry at `at` is still there. What can no longer matter is dropped.
    pub(crate) async fn has(&self, at: Position) -> Result<bool, BackendError> {
        let mut range = command("XRANGE", &self.stream);
        range.arg(at.id()).arg(at.id());
        let mut trim = command("XTRIM", &self.stream);
        trim.arg("MINID")
            .arg(at.0.saturating_sub(millis(self.keep)));
        let [found, trimmed] = self.redis.ask([range, trim]).await?;
        let (found, _): (Entries, u64) = (understood(found)?, understood(trimmed)?);
        Ok(!found.is_empty())
    }

    /// At most [`PAGE`] entries from behind `after` on.
    pub(crate) async fn read(&self, after: Position) -> Result<Vec<Found>, BackendError> {
        let read = self.read_command(after, None);
        found(after, self.redis.ask_one(read).await?)
    }

    /// The same; if there is none yet, waits for some as long as `patience`.
    pub(crate) async fn wait(
        &self,
        after: Position,
        patience: Duration,
    ) -> Result<Vec<Found>, BackendError> {
        let Some(alone) = &self.alone else {
            tokio::time::sleep(patience.min(INTERVAL)).await;
            return self.read(after).await;
        };
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.ignore_errors();
        pipeline.add_command(self.read_command(after, Some(patience)));
        let timeouts = Timeouts {
            response: self.redis.timeouts.response.saturating_add(patience),
            ..self.redis.timeouts
        };
        let mut answers = alone.send(&pipeline, timeouts).await?;
        found(after, understood(answers.pop().ok_or_else(strange)?)?)
    }

    fn read_command(&self, after: Position, patience: Option<Duration>) -> Cmd {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(PAGE);
        if let Some(patience) = patience {
            read.arg("BLOCK").arg(millis(patience));
        }
        read.arg("STREAMS").arg(&self.stream).arg(after.id());
        read
    }

    /// Asks to be the one who restores what Redis has lost.
    pub(crate) async fn may_restore(&self) -> Result<bool, BackendError> {
        let mut set = command("SET", &self.lock());
        set.arg(1).arg("NX").arg("PX").arg(millis(RESTORING));
        let outcome: Option<String> = self.redis.ask_one(set).await?;
        Ok(outcome.is_some())
    }

    pub(crate) async fn is_restored(&self) -> Result<(), BackendError> {
        self.redis.ask_one(command("UNLINK", &self.lock())).await
    }

    fn lock(&self) -> String {
        format!("{}:restoring", self.stream)
    }
}

impl Position {
    fn id(self) -> String {
        format!("{}-{}", self.0, self.1)
    }
}

fn position(id: &str) -> Result<Position, BackendError> {
    let parse = |text: &str| text.parse().ok();
    let parts = id.split_once('-');
    parts
        .and_then(|(time, number)| Some(Position(parse(time)?, parse(number)?)))
        .ok_or_else(strange)
}

/// The entries of one stream, which come in their order.
fn found(
    after: Position,
    answer: Option<Vec<(Vec<u8>, Entries)>>,
) -> Result<Vec<Found>, BackendError> {
    let mut found = Vec::new();
    let mut last = after;
    for (id, fields) in answer
        .into_iter()
        .flatten()
        .flat_map(|(_, entries)| entries)
    {
        let at = position(&id)?;
        if at <= last {
            return Err(strange());
        }
        last = at;
        found.push((at, fields.into_iter().nth(1).unwrap_or_default()));
    }
    Ok(found)
}
