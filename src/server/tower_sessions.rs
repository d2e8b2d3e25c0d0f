//! A backend over any store written for tower-sessions.

use std::time::Duration;

use cookie::time::{OffsetDateTime, PrimitiveDateTime};
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::Error;

use super::backend::{Backend, Entry, Outcome, Promise, StoreKey, Stored, Value, When};
use crate::error::{BackendError, BackendErrorKind};

/// The name of the record's only entry.
const SEALED: &str = "sealed";

/// A backend over a store of the tower-sessions ecosystem: PostgreSQL, MySQL and SQLite through
/// `tower-sessions-sqlx-store`, DynamoDB, and every other [`SessionStore`] of tower-sessions-core
/// 0.14.
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
/// A tower-sessions id has only 16 bytes, so a record is named by the two halves of the hashed id,
/// XORed. The record holds the sealed session as one text. The full id is sealed inside and
/// compared. The store deletes expired sessions only when you tell it to: see its
/// `ExpiredDeletion`.
///
/// # What it cannot promise
///
/// It keeps [`Promise::Upsert`], because such a store only overwrites:
///
/// - If two requests change one session at once, the last save replaces the whole session, even if
///   they change different keys.
/// - If you destroy a session while a slow request holds it, that request's save brings the session
///   back. A copy of its cookie then opens again until the deadline. The same goes for the old id
///   of a renewed session: the session is then alive under both ids.
/// - With an idle timeout, a request that only reads extends the expiry now and then. To do that,
///   the backend loads and saves the session, with the same risks while that takes.
/// - If somebody stores a huge value in the database, the backend fetches it whole before the store
///   refuses it, because such a store cannot fetch less.
///
/// It cannot find the sessions of a subject or a sid, nor list all: `sessions_of`, `end_all_of`,
/// `end_others_of`, `end_all_of_sid` and `retain` return an error of kind
/// [`BackendErrorKind::Unsupported`]. `end_one_of` works, if you have kept the session's id. If you
/// cannot accept one of these limits, use a backend that keeps [`Promise::Full`].
///
/// # What it costs
///
/// A load and each write take one call of the store; extending an expiry takes two. Stores may need
/// several round trips for a new session. A store may keep only whole seconds of the expiry, so a
/// session can end up to a second early.
#[derive(Clone, Debug)]
pub struct TowerSessions<S> {
    store: S,
}

impl<S: SessionStore> TowerSessions<S> {
    /// Wraps `store`. Its tables must exist already.
    pub fn new(store: S) -> Self {
        Self { store }
    }

    /// Returns the store, for example to delete expired sessions.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Returns the record and its remaining lifetime, unless it has expired. Some stores compare
    /// expiries as text, or leave expired records to a clean-up.
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
            // An empty value does not open, so the session store refuses any other content.
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
            // The id was taken, and the store has made up another one that nobody will ask for.
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

/// Folds both halves of the key into the 16 bytes of an id.
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

/// Converts the store's error, and drops its text if that quotes a key or a value.
fn failed(error: Error, id: Id, sealed: Option<&str>) -> BackendError {
    let (kind, message) = match &error {
        Error::Encode(_) => (
            BackendErrorKind::Other,
            "the store cannot encode a session; use another of its encodings, such as MessagePack",
        ),
        Error::Decode(_) => (
            BackendErrorKind::Other,
            "the store cannot decode a session; see that nothing else writes to its table",
        ),
        Error::Backend(message) => (BackendErrorKind::Unavailable, message.as_str()),
    };
    let quotes = |text: &str| message.contains(text);
    if quotes(&id.to_string()) || quotes(&id.0.to_string()) || sealed.is_some_and(quotes) {
        return BackendError::new(
            kind,
            "the store failed, in words that quote a key or a value; see the database's own log",
        );
    }
    BackendError::new(kind, message)
}
