//! The session of tower-sessions as a twin of our session: both always have the same entries.
//!
//! A session of tower-sessions keeps its entries in memory and reports no change. But it gives them
//! to its store in `create` and `save`, and takes them from the store in `load` and `create`. So
//! this module is that store, and calls the twin's `save` itself: at the end of the request, and
//! whenever somebody uses our session in between. A store cannot see who calls it, so a
//! thread-local flag marks the calls from here.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use cookie::time::OffsetDateTime;
use serde_json::Value as Json;
use tokio::task::unconstrained;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{Error, Result as StoreResult};
use tower_sessions_core::{Expiry, Session as Theirs, SessionStore};
use zeroize::Zeroizing;

use crate::envelope::os_random;
use crate::error::{LoadError, Origin, SessionError, WithCauses};
use crate::frameworks::tower::{Ask, Failure};
use crate::record::SessionId;
use crate::session::{Ends, Session, Twin};
use crate::value::{Value, decode};

type Entries = HashMap<String, Json>;

/// Makes the session of tower-sessions for a request. With `has_id`, it has the id of our session:
/// the one in the request's token, or for a new session the one that its first save will use.
/// Otherwise its id means nothing.
pub(super) fn twin_of(request: Arc<dyn Ask>, has_id: bool) -> Arc<Both> {
    let named = has_id.then(|| request.look()).flatten();
    let drawn = match named {
        // Only the system's random source draws ids that are saved.
        None if has_id => SessionId::random(&mut os_random).ok(),
        _ => None,
    };
    let id = named.or(drawn).map_or_else(Id::default, their_id);
    let store = Arc::new(Store {
        request,
        is_named: named.is_some(),
        both: OnceLock::new(),
        seen: Mutex::default(),
    });
    let theirs = Theirs::new(Some(id), Arc::clone(&store), None);
    let both = Arc::new(Both { theirs, store });
    let known = Arc::downgrade(&both);
    both.store.request.join(known.clone(), drawn);
    let _ = both.store.both.set(known);
    both
}

fn their_id(id: SessionId) -> Id {
    Id(i128::from_le_bytes(*id.as_bytes()))
}

/// The session of tower-sessions and its store. The layer holds it until the response is there.
pub(super) struct Both {
    pub(super) theirs: Theirs,
    store: Arc<Store>,
}

impl Both {
    /// Brings the last changes into our session. On an error, nothing of this request is saved.
    pub(super) async fn finish(&self) -> Result<(), Failure> {
        let mut save = pin!(self.theirs.save());
        // The outcome is in `failure`.
        let _ = poll_fn(|context| as_twin(|| save.as_mut().poll(context))).await;
        let failure = lock(&self.store.seen).failure.take();
        match failure {
            None => Ok(()),
            Some(failure) => {
                if let Ok(session) = self.store.session().await {
                    session.give_up_changes();
                }
                Err(failure)
            }
        }
    }

    /// Runs one of the twin's methods, unless another task holds the twin's lock.
    fn at_once(future: impl Future) {
        let mut future = pin!(unconstrained(future));
        let mut context = Context::from_waker(Waker::noop());
        let _: Poll<_> = as_twin(|| future.as_mut().poll(&mut context));
    }
}

impl Twin for Both {
    fn bring(&self) {
        if self.theirs.is_modified() && !IS_TWIN.get() {
            Self::at_once(self.theirs.save());
        }
    }

    fn show(&self) {
        // If the twin has not loaded its entries yet, it will load the new ones.
        if IS_TWIN.get() || matches!(lock(&self.store.seen).entries, Seen::Nothing) {
            return;
        }
        Self::at_once(async {
            // Only a session without an id takes entries from its store's `create`, so remove the
            // id first.
            if self.theirs.id().is_none() || self.theirs.cycle_id().await.is_ok() {
                let _ = self.theirs.save().await;
            }
        });
    }
}

thread_local! {
    /// Whether this module, and not a handler, has called the twin's method that is running.
    static IS_TWIN: Cell<bool> = const { Cell::new(false) };
}

fn as_twin<R>(f: impl FnOnce() -> R) -> R {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            IS_TWIN.set(self.0);
        }
    }
    let _reset = Reset(IS_TWIN.replace(true));
    f()
}

/// The store of the twin. It loads from our session and saves to it.
struct Store {
    request: Arc<dyn Ask>,
    /// Whether the twin's first id comes from the request's token.
    is_named: bool,
    both: OnceLock<Weak<Both>>,
    /// Locked before our session, and never while that is locked.
    seen: Mutex<Last>,
}

/// The entries and the expiry that both sessions had when they were last compared.
#[derive(Default)]
struct Last {
    entries: Seen,
    expiry: Option<Expiry>,
    /// Why our session has not taken the twin's last changes.
    failure: Option<Failure>,
}

#[derive(Default)]
enum Seen {
    /// The twin has not loaded its entries.
    #[default]
    Nothing,
    /// The entries that our session was opened with.
    Opened,
    These(Entries),
}

impl Store {
    async fn session(&self) -> Result<Session, LoadError> {
        poll_fn(|context| self.request.poll_session(context)).await
    }

    /// Copies the twin's entries and expiry into our session.
    async fn settle(&self, entries: &Entries) -> Result<Session, Failure> {
        let settled = match self.session().await {
            Ok(session) => self
                .take_over(&session, entries)
                .map(|()| session)
                .map_err(Failure::Call),
            Err(error) => Err(Failure::Load(error)),
        };
        lock(&self.seen).failure = settled.as_ref().err().cloned();
        settled
    }

    fn take_over(&self, session: &Session, entries: &Entries) -> Result<(), SessionError> {
        let mut last = lock(&self.seen);
        let before = match &last.entries {
            Seen::Nothing => &json(session.entries_now()),
            Seen::Opened => &json(session.entries_as_opened()),
            Seen::These(entries) => entries,
        };
        let mut changed: Vec<(&str, Option<&Json>)> = entries
            .iter()
            .filter(|(key, value)| before.get(*key) != Some(value))
            .map(|(key, value)| (key.as_str(), Some(value)))
            .collect();
        let gone = before.keys().filter(|key| !entries.contains_key(*key));
        changed.extend(gone.map(|key| (key.as_str(), None)));
        // Sorted, so that an error always names the same entry.
        changed.sort_unstable_by_key(|(key, _)| *key);
        let both = self.both.get().and_then(Weak::upgrade);
        let expiry = both.map_or(last.expiry, |both| both.theirs.expiry());
        let ends = (expiry != last.expiry).then(|| ends(expiry));
        if changed.is_empty() && ends.is_none() {
            return Ok(());
        }
        session.take_over(changed, ends)?;
        last.entries = Seen::These(entries.clone());
        last.expiry = expiry;
        Ok(())
    }

    async fn save_ours(&self, session: &Session) -> StoreResult<()> {
        let saved = self.request.save(session).await;
        saved.map_err(|error| failed(&error))
    }
}

#[async_trait]
impl SessionStore for Store {
    /// Called while the twin has no id, because it gets a new one or begins anew.
    async fn create(&self, record: &mut Record) -> StoreResult<()> {
        let is_twin = IS_TWIN.get();
        let session = match self.settle(&record.data).await {
            Ok(session) => session,
            Err(_) if is_twin => return Ok(()),
            Err(failure) => return Err(of_failure(&failure)),
        };
        if !is_twin {
            self.save_ours(&session).await?;
        }
        let id = session.next_id().map_err(|error| failed(&error))?;
        record.id = their_id(id);
        let mut last = lock(&self.seen);
        record.data = json(session.entries_now());
        last.entries = Seen::These(record.data.clone());
        Ok(())
    }

    async fn save(&self, record: &Record) -> StoreResult<()> {
        let is_twin = IS_TWIN.get();
        match self.settle(&record.data).await {
            _ if is_twin => Ok(()),
            Ok(session) => self.save_ours(&session).await,
            Err(failure) => Err(of_failure(&failure)),
        }
    }

    async fn load(&self, id: &Id) -> StoreResult<Option<Record>> {
        let session = self.session().await.map_err(|error| failed(&error))?;
        if self.is_named && session.origin() != Origin::Opened {
            // The token's session has ended, or is not in the backend any more.
            return Ok(None);
        }
        let mut last = lock(&self.seen);
        let data = json(session.entries_now());
        last.entries = if session.was_touched() {
            Seen::These(data.clone())
        } else {
            Seen::Opened
        };
        Ok(Some(Record {
            id: *id,
            data,
            // Nobody reads it: a session of tower-sessions sets it before each save.
            expiry_date: OffsetDateTime::UNIX_EPOCH,
        }))
    }

    /// Called when the twin ends, or gets a new id. In the second case, the twin has no id at this
    /// moment.
    async fn delete(&self, _: &Id) -> StoreResult<()> {
        if IS_TWIN.get() {
            return Ok(());
        }
        let both = self.both.get().and_then(Weak::upgrade);
        let gets_new_id = both.is_some_and(|both| both.theirs.id().is_none());
        let session = self.session().await.map_err(|error| failed(&error))?;
        if gets_new_id {
            return session.log_in_alone().map_err(|error| failed(&error));
        }
        let mut last = lock(&self.seen);
        session.destroy_alone().map_err(|error| failed(&error))?;
        last.entries = Seen::These(Entries::new());
        last.expiry = None;
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

fn ends(expiry: Option<Expiry>) -> Ends {
    match expiry {
        Some(Expiry::OnInactivity(time)) => {
            Ends::After(Duration::try_from(time).unwrap_or_default())
        }
        Some(Expiry::AtDateTime(at)) => Ends::At(SystemTime::from(at).into()),
        Some(Expiry::OnSessionEnd) | None => Ends::WithBrowser,
    }
}

fn json(entries: Vec<(String, Zeroizing<Vec<u8>>)>) -> Entries {
    let json = |bytes: &[u8]| match decode(bytes) {
        Ok(json) => Some(json),
        // The value has bytes, which are a list of numbers in JSON.
        Err(_) => serde_json::to_value(decode::<Value>(bytes).ok()?).ok(),
    };
    let entries = entries.into_iter();
    entries
        .filter_map(|(key, bytes)| Some((key, json(&bytes)?)))
        .collect()
}

/// An error of tower-sessions holds only text, so the text names every cause.
fn of_failure(failure: &Failure) -> Error {
    Error::Backend(format!("{failure:#}"))
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Backend(WithCauses(error).to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
