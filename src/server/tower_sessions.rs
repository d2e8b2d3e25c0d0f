//! A backend over any store written for tower-sessions.

use std::time::Duration;

use cookie::time::{OffsetDateTime, PrimitiveDateTime};
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::Error;

use super::backend::{Backend, Entry, Outcome, Promise, StoreKey, Stored, Value, When};
use crate::error::{BackendError, BackendErrorKind};

/// The record's only entry.
const SEALED: &str = "sealed";

/// A backend over a store of the tower-sessions ecosystem: PostgreSQL, MySQL and SQLite through
/// `tower-sessions-sqlx-store`, DynamoDB, and everything else that has a [`SessionStore`] of
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
/// A record's name is the two halves of the hashed id, XORed, because such a store has room for 16
/// bytes only. The record holds the sealed session as one text. The id is also sealed inside, and
/// is checked. The store deletes expired records only if you ask it to: see its `ExpiredDeletion`.
///
/// # What it cannot promise
///
/// The backend is [`Promise::Upsert`], because such a store only overwrites:
///
/// - If two requests change one session at the same time, the last writer's whole session stays,
///   even if they changed different keys.
/// - If a session is destroyed while a slow request holds it, it comes back when that request saves
///   it, and a copy of its cookie opens again until its deadline. In the same way the old id of a
///   renewed session can come back: the session is then alive under both ids.
/// - With an idle timeout, a request that only reads extends the expiry now and then. To do so it
///   loads the session and saves it, with the same dangers for as long as that takes.
///
/// - If someone has stored a huge value in the database, the whole value is fetched before it is
///   refused, because such a store cannot fetch less.
///
/// It cannot find the sessions of one subject, or list all sessions: `end_all_of` and `retain`
/// return errors of the kind [`BackendErrorKind::Unsupported`]. If any of this is not acceptable,
/// use a backend that is [`Promise::Full`].
///
/// # What it costs
///
/// A load or a write takes one call of the store; extending an expiry takes two. A store may need
/// several round trips for a new session. It may also keep the expiry in whole seconds, so that a
/// session ends up to a second earlier.
#[derive(Clone, Debug)]
pub struct TowerSessions<S> {
    store: S,
}

impl<S: SessionStore> TowerSessions<S> {
    /// Creates a backend over `store`, whose tables must already exist.
    pub fn new(store: S) -> Self {
        Self { store }
    }

    /// The store, for deleting expired records.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Returns the record and the time until it expires. Expired records are left out here, because
    /// some stores compare expiries as text, or leave them to a clean-up.
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
            // Any other content becomes an empty value, which does not open and is refused.
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
        // In some stores, `save` only overwrites an existing record, and does nothing otherwise.
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

/// Folds both halves of the key together, because such a store has room for only 16 bytes.
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

/// Converts the store's error, without any key or value that it quotes.
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
