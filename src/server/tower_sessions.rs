//! A backend over any store written for tower-sessions.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use cookie::time::{OffsetDateTime, PrimitiveDateTime};
use tokio::runtime::Handle;
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
/// # If a request is cancelled
///
/// A store may break off in the middle of a write if its future is dropped. That of
/// `tower-sessions-sqlx-store` 0.15 can leave a connection of PostgreSQL in an open transaction, and
/// what others write on it is lost. So on a runtime of tokio, each write runs to its end in a task
/// of its own, even if the client has gone away. On other runtimes, it is dropped with its request.
///
/// # What it costs
///
/// A load and each write take one call of the store; extending an expiry takes two. Stores may need
/// several round trips for a new session. A store may keep only whole seconds of the expiry, so a
/// session can end up to a second early.
#[derive(Clone, Debug)]
pub struct TowerSessions<S> {
    store: Arc<S>,
}

impl<S: SessionStore> TowerSessions<S> {
    /// Wraps `store`. Its tables must exist already.
    pub fn new(store: S) -> Self {
        Self {
            store: Arc::new(store),
        }
    }

    /// Returns the store, for example to delete expired sessions.
    pub fn store(&self) -> &S {
        &self.store
    }
}

impl<S: SessionStore> Backend for TowerSessions<S> {
    const PROMISE: Promise = Promise::Upsert;

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        let alive = alive(&*self.store, id_of(key)).await?;
        Ok(alive.map(|(record, ttl)| {
            // An empty value does not open, so the session store refuses any other content.
            let text = sealed_in(&record).unwrap_or_default();
            let value = Value::new(text.to_owned());
            Stored { value, ttl }
        }))
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        let (store, id, entry) = (Arc::clone(&self.store), id_of(key), entry.clone());
        to_its_end(async move { put(&*store, id, &entry).await }).await
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        let (store, id) = (Arc::clone(&self.store), id_of(key));
        to_its_end(async move { touch(&*store, id, ttl).await }).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        let (store, id) = (Arc::clone(&self.store), id_of(key));
        to_its_end(async move { delete(&*store, id).await }).await?;
        Ok(None)
    }
}

/// Runs a write in a task of its own, so that nobody who drops this future breaks the write off.
async fn to_its_end<T: Send + 'static>(
    write: impl Future<Output = Result<T, BackendError>> + Send + 'static,
) -> Result<T, BackendError> {
    let Ok(runtime) = Handle::try_current() else {
        return write.await;
    };
    let ended = runtime.spawn(write).await;
    ended.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Err(BackendError::new(
            BackendErrorKind::Unavailable,
            "the runtime shuts down; the write may have happened",
        )),
    })
}

/// Returns the record and its remaining lifetime, unless it has expired. Some stores compare
/// expiries as text, or leave expired records to a clean-up.
async fn alive(
    store: &impl SessionStore,
    id: Id,
) -> Result<Option<(Record, Duration)>, BackendError> {
    let found = store.load(&id).await;
    let found = found.map_err(|error| failed(error, id, None))?;
    Ok(found.and_then(|record| {
        let ttl = record.expiry_date - OffsetDateTime::now_utc();
        let ttl = ttl.is_positive().then(|| ttl.unsigned_abs())?;
        Some((record, ttl))
    }))
}

async fn put(store: &impl SessionStore, id: Id, entry: &Entry) -> Result<Outcome, BackendError> {
    let sealed = entry.value.as_str();
    let mut record = Record {
        id,
        data: [(SEALED.to_owned(), sealed.into())].into(),
        expiry_date: expiry_in(entry.ttl),
    };
    // In some stores, `save` only overwrites an existing record, and does nothing otherwise.
    if entry.when == When::Absent {
        let created = store.create(&mut record).await;
        created.map_err(|error| failed(error, id, Some(sealed)))?;
        if record.id == id {
            return Ok(Outcome::Stored);
        }
        // The id was taken, and the store has made up another one that nobody will ask for.
        delete(store, std::mem::replace(&mut record.id, id)).await?;
    }
    let saved = store.save(&record).await;
    saved.map_err(|error| failed(error, id, Some(sealed)))?;
    Ok(Outcome::Stored)
}

async fn touch(store: &impl SessionStore, id: Id, ttl: Duration) -> Result<(), BackendError> {
    let Some((mut record, _)) = alive(store, id).await? else {
        return Ok(());
    };
    record.expiry_date = expiry_in(ttl);
    let written = store.save(&record).await;
    written.map_err(|error| failed(error, id, sealed_in(&record)))
}

async fn delete(store: &impl SessionStore, id: Id) -> Result<(), BackendError> {
    let deleted = store.delete(&id).await;
    deleted.map_err(|error| failed(error, id, None))
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
