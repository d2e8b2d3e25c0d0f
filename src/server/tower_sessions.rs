//! Any database, through a store that somebody has written for tower-sessions.

use std::time::Duration;

use cookie::time::{OffsetDateTime, PrimitiveDateTime};
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::Error;

use super::backend::{Backend, Entry, Outcome, Promise, StoreKey, Stored, Value, When};
use crate::error::{BackendError, BackendErrorKind};

/// The record's only entry.
const SEALED: &str = "sealed";

/// Sessions in a store of the tower-sessions ecosystem: PostgreSQL, MySQL and SQLite through
/// `tower-sessions-sqlx-store`, DynamoDB, and whatever else has a [`SessionStore`] of
/// tower-sessions-core 0.14.
///
/// ```no_run
/// # use sealed_session::KeyRing;
/// # use tower_sessions_core::SessionStore;
/// use sealed_session::server::{ServerStore, TowerSessions};
///
/// # fn store(postgres: impl SessionStore) -> Result<(), Box<dyn std::error::Error>> {
/// // let postgres = PostgresStore::new(pool);
/// let store = ServerStore::new(KeyRing::from_env()?, TowerSessions::new(postgres));
/// # Ok(())
/// # }
/// ```
///
/// A record is named by the two halves of the hashed id, one XORed with the other, because such a
/// store has room for 16 bytes, and holds the sealed session as one text. The id is sealed inside
/// and compared. The store deletes what has expired when it is told to: see its `ExpiredDeletion`.
///
/// # What it cannot promise
///
/// It is [`Promise::Upsert`], because such a store only overwrites:
///
/// - Of two requests that change one session at once, the last writer's whole session stays, even
///   if they change different keys.
/// - A session that was destroyed while a slow request held it comes back if that request saves
///   it, and a copy of its cookie opens again until its deadline. So does the old id of a session
///   that was renewed: it is then alive under both.
/// - With an idle timeout, a request that only reads puts the expiry off now and then, and for
///   that loads the session and saves it, with the same dangers for as long as that takes.
///
/// - A value that somebody has made huge in the database is fetched whole, before it is refused:
///   such a store has no way to fetch less.
///
/// It finds neither the sessions of one subject nor all: `end_all_of` and `retain` are errors of
/// the kind [`BackendErrorKind::Unsupported`]. Where one of these is not acceptable, use a backend
/// that is [`Promise::Full`].
///
/// # What it costs
///
/// One call of the store for a load and for each write, two to put an expiry off. Stores may need
/// several round trips for a new session, and may keep whole seconds of its expiry: it can end
/// that much earlier.
#[derive(Clone, Debug)]
pub struct TowerSessions<S> {
    store: S,
}

impl<S: SessionStore> TowerSessions<S> {
    /// A backend over `store`, whose tables must be there already.
    pub fn new(store: S) -> Self {
        Self { store }
    }

    /// The store, to delete what has expired.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What is there and has not expired, and in how long it does: some stores compare expiries
    /// as text, or leave them to a clean-up.
    async fn alive(&self, id: Id) -> Result<Option<(Record, Duration)>, BackendError> {
        let found = self.store.load(&id).await;
        let found = found.map_err(|error| failed(error, id, None))?;
        Ok(found.and_then(|record| {
            let ttl = record.expiry_date - OffsetDateTime::now_utc();
            let ttl = ttl.is_positive().then(|| ttl.unsigned_abs())?;
            Some((record, ttl))
        }))
    }

    async fn delete(&self, id: Id) -> Result<(), BackendError> {
        let deleted = self.store.delete(&id).await;
        deleted.map_err(|error| failed(error, id, None))
    }
}

impl<S: SessionStore> Backend for TowerSessions<S> {
    const PROMISE: Promise = Promise::Upsert;

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        let alive = self.alive(id_of(key)).await?;
        Ok(alive.map(|(record, ttl)| {
            // Whatever else is in there is refused like all that does not open.
            let text = sealed_in(&record).unwrap_or_default();
            let value = Value::new(text.to_owned());
            Stored { value, ttl }
        }))
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        let (id, sealed) = (id_of(key), entry.value.as_str());
        let mut record = Record {
            id,
            data: [(SEALED.to_owned(), sealed.into())].into(),
            expiry_date: expiry_in(entry.ttl),
        };
        // In some stores `save` writes only over what is there, and does nothing otherwise.
        if entry.when == When::Absent {
            let created = self.store.create(&mut record).await;
            created.map_err(|error| failed(error, id, Some(sealed)))?;
            if record.id == id {
                return Ok(Outcome::Stored);
            }
            // The id was taken, and the store has made up another, which nobody will ask for.
            self.delete(std::mem::replace(&mut record.id, id)).await?;
        }
        let saved = self.store.save(&record).await;
        saved.map_err(|error| failed(error, id, Some(sealed)))?;
        Ok(Outcome::Stored)
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        let id = id_of(key);
        let Some((mut record, _)) = self.alive(id).await? else {
            return Ok(());
        };
        record.expiry_date = expiry_in(ttl);
        let written = self.store.save(&record).await;
        written.map_err(|error| failed(error, id, sealed_in(&record)))
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        self.delete(id_of(key)).await?;
        Ok(None)
    }
}

/// Both halves of the key, folded into what such a store has room for.
fn id_of(key: &StoreKey) -> Id {
    let halves = key.as_bytes().iter().zip(key.as_bytes().iter().skip(16));
    Id(halves.fold(0, |id, (first, second)| {
        (id << 8) | i128::from(first ^ second)
    }))
}

fn sealed_in(record: &Record) -> Option<&str> {
    record.data.get(SEALED)?.as_str()
}

fn expiry_in(ttl: Duration) -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    let expiry = ttl.try_into().ok().and_then(|ttl| now.checked_add(ttl));
    expiry.unwrap_or(PrimitiveDateTime::MAX.assume_utc())
}

/// The store's error, without what it may quote.
fn failed(error: Error, id: Id, sealed: Option<&str>) -> BackendError {
    let (kind, message) = match &error {
        Error::Encode(_) => (BackendErrorKind::Other, "the store cannot encode a session"),
        Error::Decode(_) => (BackendErrorKind::Other, "the store cannot decode a session"),
        Error::Backend(message) => (BackendErrorKind::Unavailable, message.as_str()),
    };
    let quotes = |text: &str| message.contains(text);
    if quotes(&id.to_string()) || quotes(&id.0.to_string()) || sealed.is_some_and(quotes) {
        return BackendError::new(
            kind,
            "the store failed, in words that quote a key or a value",
        );
    }
    BackendError::new(kind, message)
}
