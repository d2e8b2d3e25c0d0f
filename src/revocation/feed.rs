//! The stream in Redis that a fleet's revocations go through.
//!
//! One key holds it, in the order of arrival. Redis loses streams from their end, if it loses
//! something (a crash between two syncs, a failover) or as a whole: so a process knows that all
//! is there while the latest entry that it has ever seen is.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError, RedisResult, cmd,
};

use crate::server::{BackendError, BackendErrorKind};

/// The most entries of one answer, and of one write.
pub(super) const PAGE: usize = 1000;

/// How long nobody else restores a stream after a process has begun to.
const RESTORING: Duration = Duration::from_secs(30);

pub(super) struct Feed {
    pub(super) client: Client,
    pub(super) stream: String,
    pub(super) timeout: Duration,
    /// How long an entry can matter.
    pub(super) keep: Duration,
    /// For what is answered at once.
    pub(super) connection: Shared,
}

/// A connection for many at once, until it fails.
#[derive(Default)]
pub(super) struct Shared(Mutex<Option<MultiplexedConnection>>);

/// Where in the stream an entry is: Redis's time in milliseconds, and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(u64, u64);

/// A token of the stream, and where it was.
pub(super) type Found = (Position, Vec<u8>);

impl Feed {
    /// Appends sealed entries and returns the last one's place. Once it returns, Redis has them.
    pub(super) async fn publish(&self, tokens: &[String]) -> Result<Position, BackendError> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for token in tokens {
            let append = pipe.cmd("XADD").arg(&self.stream);
            append.arg("*").arg("t").arg(token);
        }
        let expiry = pipe.cmd("PEXPIRE").arg(&self.stream);
        expiry.arg(millis(self.keep)).ignore();
        let ids: Vec<String> = self.at_once(&pipe).await?;
        ids.last()
            .map_or(Ok(Position::default()), |id| position(id))
    }

    /// A connection of one's own, for answers that may take so much longer.
    pub(super) async fn connect(
        &self,
        waits: Duration,
    ) -> Result<MultiplexedConnection, BackendError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout.saturating_add(waits)));
        let connect = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        connect.await.map_err(failed)
    }

    /// The connection for what is answered at once.
    pub(super) async fn shared(&self) -> Result<MultiplexedConnection, BackendError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection);
        }
        let connection = self.connect(Duration::ZERO).await?;
        self.connection.set(Some(connection.clone()));
        Ok(connection)
    }

    async fn at_once<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, BackendError> {
        let is_old = self.connection.get().is_some();
        let mut connection = self.shared().await?;
        let mut outcome: RedisResult<T> = pipe.query_async(&mut connection).await;
        let is_broken = |error: &RedisError| error.is_io_error() && !error.is_timeout();
        if is_old && outcome.as_ref().is_err_and(is_broken) {
            // Redis was started anew, say, and an entry that is there twice does no harm.
            self.connection.set(None);
            connection = self.shared().await?;
            outcome = pipe.query_async(&mut connection).await;
        }
        outcome.map_err(|error| {
            self.connection.set(None);
            failed(error)
        })
    }

    /// Whether the entry at `at` is still there. What can no longer matter is dropped.
    pub(super) async fn has(
        &self,
        connection: &mut impl ConnectionLike,
        at: Position,
    ) -> Result<bool, BackendError> {
        let mut pipe = redis::pipe();
        let (id, dead) = (at.id(), at.0.saturating_sub(millis(self.keep)));
        pipe.cmd("XRANGE").arg(&self.stream).arg(&id).arg(&id);
        let trim = pipe.cmd("XTRIM").arg(&self.stream);
        trim.arg("MINID").arg(dead).ignore();
        let (found,): (Vec<(String, Vec<Vec<u8>>)>,) =
            pipe.query_async(connection).await.map_err(failed)?;
        Ok(!found.is_empty())
    }

    /// At most [`PAGE`] tokens from behind `after` on; if there is none, waits for some as long
    /// as `patience`, or not at all.
    pub(super) async fn read(
        &self,
        connection: &mut impl ConnectionLike,
        after: Position,
        patience: Option<Duration>,
    ) -> Result<Vec<Found>, BackendError> {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(PAGE);
        if let Some(patience) = patience {
            read.arg("BLOCK").arg(millis(patience).max(1));
        }
        read.arg("STREAMS").arg(&self.stream).arg(after.id());
        type Entries = Vec<(String, Vec<Vec<u8>>)>;
        let answer: Option<Vec<(Vec<u8>, Entries)>> =
            read.query_async(connection).await.map_err(failed)?;
        let entries = answer
            .into_iter()
            .flatten()
            .flat_map(|(_, entries)| entries);
        let mut found: Vec<Found> = Vec::new();
        for (id, fields) in entries {
            let (at, last) = (position(&id)?, found.last().map_or(after, |(at, _)| *at));
            if at <= last {
                return Err(senseless());
            }
            found.push((at, fields.into_iter().nth(1).unwrap_or_default()));
        }
        Ok(found)
    }

    /// Asks to be the one who restores what Redis has lost.
    pub(super) async fn may_restore(
        &self,
        connection: &mut impl ConnectionLike,
    ) -> Result<bool, BackendError> {
        let mut set = cmd("SET");
        set.arg(self.lock()).arg(1).arg("NX");
        set.arg("PX").arg(millis(RESTORING));
        let outcome: Option<String> = set.query_async(connection).await.map_err(failed)?;
        Ok(outcome.is_some())
    }

    pub(super) async fn is_restored(
        &self,
        connection: &mut impl ConnectionLike,
    ) -> Result<(), BackendError> {
        let mut unlock = cmd("DEL");
        let unlock = unlock.arg(self.lock());
        unlock.query_async(connection).await.map_err(failed)
    }

    fn lock(&self) -> String {
        format!("{}:restoring", self.stream)
    }
}

impl Shared {
    fn get(&self) -> Option<MultiplexedConnection> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connection.clone()
    }

    fn set(&self, connection: Option<MultiplexedConnection>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = connection;
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
        .ok_or_else(senseless)
}

fn senseless() -> BackendError {
    BackendError::new(BackendErrorKind::Other, "what Redis answered is no stream")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What Redis says of an error is about commands and not about values.
fn failed(error: RedisError) -> BackendError {
    // That of a transaction says less than that of the command which spoilt it.
    let errors = error.clone().into_server_errors();
    let first = errors.as_ref().and_then(|errors| errors.first());
    let kind = match first.map(|(_, error)| error.code()) {
        Some("OOM") => BackendErrorKind::Full,
        Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "READONLY" | "TRYAGAIN") => {
            BackendErrorKind::Unavailable
        }
        _ if error.is_timeout() => BackendErrorKind::Timeout,
        _ if error.is_io_error() => BackendErrorKind::Unavailable,
        _ => BackendErrorKind::Other,
    };
    BackendError::new(kind, error)
}
