//! The session: a record as it was opened, never altered, and the changes made since.

mod access;
mod base;
pub(crate) mod changes;
mod entry;
mod field;
mod saving;
mod sorted;
mod state;
mod status;
mod typed;
#[cfg(feature = "server")]
mod version;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use field::{Field, Key, KeyOf};
pub use status::Status;
pub use typed::TypedSession;
#[cfg(feature = "server")]
pub use version::Version;

#[cfg(feature = "server")]
pub(crate) use base::BackendState;
pub(crate) use base::Loaded;
#[cfg(feature = "server")]
pub(crate) use saving::{Lost, Rebased};
pub(crate) use state::{Bounds, Claims};

use crate::error::{ErrorKind, Origin, SessionError};
use crate::record::{MAX_SUBJECT, SessionId};
use crate::time::Millis;
use crate::value::{self, Value};
use base::Newer;
use changes::{Changes, Past, Stored, View};
use entry::{copy, decode, encode, is_still, text};
use state::{Inner, Since};

/// One visitor's session.
///
/// All methods take `&self` and none waits. Clones are the same session, for use from several
/// tasks; no code of a caller's (serde, the closure of [`update`](Self::update)) runs while it
/// is locked. What a call refuses leaves the session as it was.
///
/// A layer (feature `tower`) closes the session when it saves it. From then on reading still
/// works, and a change is lost: methods that can fail return [`ErrorKind::Closed`], the others
/// report [`Event::ChangedTooLate`](crate::Event::ChangedTooLate).
///
/// Values are anything that serde serializes, in the form that it has in JSON: see [`Value`]. An
/// entry is decoded only when it is asked for, and asking for the wrong type is an error that
/// names the entry, never a wrong value.
///
/// What is nothing is no entry: to insert `None` or `()` is to remove what was there, and a null
/// that some other program has stored reads as absent. So an entry that is there is somebody's.
///
/// ```
/// use sealed_session::Session;
///
/// let session = Session::new(); // in a handler: `store.load(request.headers())`
/// session.insert("user_id", 42)?;
/// let id: Option<u64> = session.get("user_id")?;
/// assert_eq!(id, Some(42));
/// assert!(session.get::<String>("user_id").is_err());
/// # Ok::<(), sealed_session::SessionError>(())
/// ```
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A fresh session outside of any request, for testing handlers. Any store saves it; its
    /// size is checked as for the default cookie.
    pub fn new() -> Self {
        Self::fresh(Origin::Absent, None, None)
    }

    pub(crate) fn fresh(
        origin: Origin,
        read_at: Option<Millis>,
        bounds: Option<Arc<Bounds>>,
    ) -> Self {
        Self::after(None, origin, read_at, bounds)
    }

    /// A fresh session in place of one that was over when the request came.
    pub(crate) fn after(
        past: Option<Past>,
        origin: Origin,
        read_at: Option<Millis>,
        bounds: Option<Arc<Bounds>>,
    ) -> Self {
        Self::with(origin, None, Changes::after(past), read_at, bounds)
    }

    pub(crate) fn opened(loaded: Loaded, read_at: Millis, bounds: Arc<Bounds>) -> Self {
        let (loaded, changes) = (Some(loaded), Changes::default());
        Self::with(Origin::Opened, loaded, changes, Some(read_at), Some(bounds))
    }

    #[inline]
    fn with(
        origin: Origin,
        first: Option<Loaded>,
        changes: Changes,
        read_at: Option<Millis>,
        bounds: Option<Arc<Bounds>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                origin,
                first,
                read_at,
                bounds,
                was_touched: AtomicBool::new(false),
                leaves_idle: AtomicBool::new(false),
                since: Mutex::new(Since {
                    changes,
                    newer: Newer::default(),
                }),
            }),
        }
    }

    /// The value under `key`, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if it is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: impl KeyOf<T>) -> Result<Option<T>, SessionError> {
        self.find(key.name())
            .map(|bytes| decode(key.name(), &bytes))
            .transpose()
    }

    /// Sets the value under `key`. Setting what is there already is no change, and setting `None`
    /// or `()` removes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotStorable`] if `value` is of a type that cannot be stored;
    /// [`ErrorKind::TooLarge`] if the session would no longer fit its cookie.
    #[doc(alias = "put")]
    #[doc(alias = "set")]
    pub fn insert<T: Serialize>(&self, key: impl KeyOf<T>, value: T) -> Result<(), SessionError> {
        let bytes = encode(key.name(), &value)?;
        self.change(|changes, record| self.set(changes, record, key.name(), bytes))
    }

    /// Removes the value under `key`. Removing what is not there is no change.
    #[doc(alias = "delete")]
    pub fn remove(&self, key: impl Key) {
        self.change_or_report(|changes, record| {
            let base = changes.base_values(record);
            changes.values.remove(base, key.name());
        });
    }

    /// Gets the value under `key` and removes it. Of several takers among this session's clones
    /// one gets it.
    ///
    /// Two requests that have loaded the session at once both get it, in every store. For what
    /// only one request may have, such as a voucher, there is [`claim`](Self::claim).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if it is not a `T`; it stays.
    #[doc(alias = "pop")]
    pub fn take<T: DeserializeOwned>(&self, key: impl KeyOf<T>) -> Result<Option<T>, SessionError> {
        self.take_with(key.name(), |changes, loaded| {
            let base = changes.base_values(loaded.map(|loaded| &loaded.record));
            changes.values.remove(base, key.name());
            Ok(())
        })
    }

    /// Gets the value under `key` and removes it, for one request alone: of all requests that
    /// claim it, on however many servers, exactly one can be saved.
    ///
    /// The value is yours once the save has succeeded. It fails as a
    /// [conflict](crate::SaveError::is_conflict) if another request has taken, changed or removed
    /// the entry since this one loaded it, or if the session has ended or has got a new id. What
    /// other requests do to other entries does not matter. So save first, and then act on the
    /// value:
    ///
    /// ```
    /// # #[cfg(feature = "server")] pollster::block_on(async {
    /// # use sealed_session::AppKey;
    /// # use sealed_session::server::{Memory, MemoryStore};
    /// # let store = MemoryStore::new(AppKey::generate()?, Memory::new());
    /// # let first = store.load_from::<str>([]).await?;
    /// # first.insert("voucher", "SPRING")?;
    /// # let cookie = store.respond(&first).await?.set_cookies().next().unwrap().to_owned();
    /// # let mut headers = http::HeaderMap::new();
    /// # let cookie = [cookie.split(';').next().unwrap()];
    /// let session = store.load_from(cookie).await?;
    /// let voucher: Option<String> = session.claim("voucher")?;
    /// store.save(&session, &mut headers).await?;
    /// assert_eq!(voucher.as_deref(), Some("SPRING"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// What was inserted or removed after it goes along, and the claim holds. An entry that was
    /// set in this request is nobody else's, and is just taken.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotClaimable`] if the session is not in a backend that can compare and write
    /// in one step: in a cookie store, or while a server's store keeps it in its cookie, because
    /// a cookie can be sent twice and each time has the entry; with a backend that declares
    /// `Promise::Upsert`; and in a session of [`Session::new`]. [`ErrorKind::WrongType`] if it is
    /// not a `T`; it stays.
    #[doc(alias = "take_once")]
    #[doc(alias = "compare_and_swap")]
    pub fn claim<T: DeserializeOwned>(
        &self,
        key: impl KeyOf<T>,
    ) -> Result<Option<T>, SessionError> {
        self.lock_for_save(|_, loaded| self.check_claimable(key.name(), loaded))?;
        self.take_with(key.name(), |changes, loaded| {
            self.check_claimable(key.name(), loaded)?;
            changes.claim(loaded.map(|loaded| &loaded.record), key.name());
            Ok(())
        })
    }

    /// Replaces the value under `key` by what `change` makes of it. If another clone changed
    /// the entry in between, `change` is called again with the newer value, so that no clone's
    /// update is lost; if it is `change` that changes the entry, each time to another value,
    /// without end.
    ///
    /// Between requests the later save's value stays: two that count up at once count one.
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    /// # assert_eq!(session.get("visits")?, Some(1));
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`insert`](Self::insert).
    pub fn update<T: DeserializeOwned + Serialize>(
        &self,
        key: impl KeyOf<T>,
        mut change: impl FnMut(Option<T>) -> T,
    ) -> Result<(), SessionError> {
        loop {
            let before = self.find(key.name());
            let old = before
                .as_ref()
                .map(|bytes| decode(key.name(), bytes))
                .transpose()?;
            let new = encode(key.name(), &change(old))?;
            let replaced = self.change(|changes, record| {
                if !is_still(changes, record, key.name(), before.as_deref()) {
                    return Ok(false);
                }
                self.set(changes, record, key.name(), new)?;
                Ok(true)
            })?;
            if replaced {
                return Ok(());
            }
        }
    }

    /// Whether there is a value under `key`.
    #[doc(alias = "exists")]
    #[doc(alias = "has")]
    pub fn contains(&self, key: impl Key) -> bool {
        self.find(key.name()).is_some()
    }

    /// The names of all values, sorted by their bytes.
    pub fn keys(&self) -> Vec<String> {
        self.view(|view| view.values().map(|(key, _)| text(key)).collect())
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.view(|view| view.values().count())
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.view(|view| view.values().next().is_none())
    }

    /// All values, without their types.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if one is not a value at all, which no save of this crate
    /// writes.
    #[doc(alias = "values")]
    pub fn to_map(&self) -> Result<BTreeMap<String, Value>, SessionError> {
        let entries: Vec<(String, Stored)> = self.view(|view| copy(view.values()));
        entries
            .into_iter()
            .map(|(key, bytes)| Ok((key.clone(), decode(&key, &bytes)?)))
            .collect()
    }

    /// Removes all values, all flashes and the subject. The id and the deadline stay.
    #[doc(alias = "flush")]
    pub fn clear(&self) {
        self.change_or_report(Changes::clear);
    }

    /// Sets a message for a later request: it is readable there until it is taken, and not in
    /// this one. `None` takes one back that this request has set.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn flash<T: Serialize>(&self, key: impl KeyOf<T>, value: T) -> Result<(), SessionError> {
        let name = key.name();
        let bytes = encode(name, &value)?;
        self.change(|changes, record| {
            if value::is_null(&bytes) {
                changes.unset_flash(record, name);
                return Ok(());
            }
            let before = changes.flashes.set_beside(name, bytes);
            let undo = |changes: &mut Changes| changes.flashes.undo(name, before);
            self.keep_if_it_fits(changes, record, format_args!("flash {name:?}"), undo)
        })
    }

    /// Gets a message that an earlier request has set, and removes it. Two requests at once can
    /// both get it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if it is not a `T`; it stays.
    pub fn take_flash<T: DeserializeOwned>(
        &self,
        key: impl KeyOf<T>,
    ) -> Result<Option<T>, SessionError> {
        let name = key.name();
        let incoming = self.lock_to_replace(|changes, base| {
            self.kept(base, |record| changes.kept_flash(record, name))
        });
        let Some(bytes) = incoming else {
            return Ok(None);
        };
        let value = decode(name, &bytes)?;
        self.change(|changes, record| {
            let is_there = changes.kept_flash(record, name).is_some();
            changes
                .flashes
                .leave_out(changes.base_flashes(record), name);
            Ok(is_there.then_some(value))
        })
    }

    /// The session's id; `None` before the first save.
    pub fn id(&self) -> Option<SessionId> {
        self.view(|view| Some(view.birth()?.id))
    }

    /// When it was first saved, or renewed; `None` before.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.view(|view| Some(view.birth()?.issued_at.into()))
    }

    /// The deadline that the server enforces: set by [`set_expiry`](Self::set_expiry) or by the
    /// store's lifetime, never beyond the store's `max_lifetime`. `None` if it is still to be
    /// set by the first save.
    #[doc(alias = "deadline")]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.view(|view| {
            let end = view.expires_at()?;
            let latest = view.birth().zip(self.inner.bounds.as_ref());
            let latest = latest.map(|(birth, bounds)| birth.issued_at.plus(bounds.max_lifetime));
            Some(latest.map_or(end, |latest| end.min(latest)).into())
        })
    }

    /// When the session ends because nobody uses it: the store's idle timeout after its last use,
    /// so far as that is written down. [`expires_at`](Self::expires_at) may be earlier. `None` if
    /// the store has no idle timeout, and before the first save of a session that is new or
    /// renewed.
    ///
    /// If this request is use that the response writes down, its load counts as the last use. The
    /// response counts as use too, so that the session may end later than this tells, by as much
    /// as the answer takes; it never ends earlier.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::{AppKey, CookieStore};
    /// # let request = http::Request::new(());
    /// let store = CookieStore::builder(AppKey::generate()?)
    ///     .idle_timeout(Duration::from_secs(30 * 60))
    ///     .build()?;
    ///
    /// // A handler that tells the page when to warn, and does not put the end off by that.
    /// let session = store.load(request.headers());
    /// session.leave_idle();
    /// let ends = [session.idle_expires_at(), session.expires_at()].into_iter().flatten().min();
    /// # assert_eq!(ends, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "idle_deadline")]
    pub fn idle_expires_at(&self) -> Option<SystemTime> {
        let idle = self.inner.bounds.as_ref()?.idle?;
        self.view(|view| {
            let Some(record) = view.continued() else {
                return Some(view.birth()?.issued_at.plus(idle.timeout).into());
            };
            let (seen_at, read_at) = (record.header().seen_at, self.inner.read_at);
            let is_written = |read_at: &Millis| {
                view.is_changed()
                    || !self.leaves_idle() && read_at.since(seen_at) >= idle.refresh_after
            };
            let used_at = read_at.filter(is_written).unwrap_or(seen_at).max(seen_at);
            Some(used_at.plus(idle.timeout).into())
        })
    }

    /// Says that this request does not count as use, for all clones: a page that asks by itself
    /// now and then must not keep the session alive. With a store that has an idle timeout, the
    /// response to such a request writes nothing down, unless something is changed; a change is
    /// saved, and counts as use. Without an idle timeout this does nothing.
    ///
    /// With a `SessionLayer` (feature `tower`) it can be said of requests before anybody asks for
    /// the session: on the layer, on a guard, or on the pending session.
    #[doc(alias = "peek")]
    #[doc(alias = "no_touch")]
    pub fn leave_idle(&self) {
        self.inner.leaves_idle.store(true, Ordering::Relaxed);
    }

    /// Whether a layer has saved it, so that changes come too late.
    pub fn is_closed(&self) -> bool {
        self.lock_for_save(|changes, _| changes.closed)
    }

    /// Whether no cookie was opened for it, so that it is a visitor's first request or one after
    /// the end of a session.
    pub fn is_new(&self) -> bool {
        self.view(|view| view.base().is_none())
    }

    /// What a save has to do.
    #[doc(alias = "modified")]
    #[doc(alias = "has_changed")]
    pub fn status(&self) -> Status {
        self.lock(|changes, record| View::new(record, changes).status())
    }

    /// Where it comes from, and why a cookie was refused.
    pub fn origin(&self) -> Origin {
        self.inner.origin
    }

    /// Whose session it is, if that was said.
    pub fn subject(&self) -> Option<String> {
        self.view(|view| {
            Some(view.subject())
                .filter(|subject| !subject.is_empty())
                .map(Into::into)
        })
    }

    /// Says whose session it is: a user's id, say, at most 64 bytes; an empty one takes it back.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if it is longer or the session would no longer fit its cookie.
    pub fn set_subject(&self, subject: impl Into<String>) -> Result<(), SessionError> {
        let subject = subject.into();
        if subject.len() > MAX_SUBJECT {
            let size = subject.len();
            let message =
                format!("the subject has {size} bytes, at most {MAX_SUBJECT} are possible");
            return Err(SessionError::sized(message, size, MAX_SUBJECT));
        }
        self.change(|changes, record| {
            let before = changes.subject.take();
            if View::new(record, changes).subject() != subject {
                changes.subject = Some(subject);
            }
            let undo = |changes: &mut Changes| changes.subject = before;
            self.keep_if_it_fits(changes, record, format_args!("the subject"), undo)
        })
    }

    /// Gives the session a new id and a new lifetime at the next save, and keeps its data. Call
    /// it at login and whenever the visitor's rights change.
    #[doc(alias = "regenerate")]
    #[doc(alias = "cycle_id")]
    #[doc(alias = "renew_token")]
    pub fn renew(&self) {
        self.change_or_report(|changes, _| changes.renew());
    }

    /// Ends the session: its data is gone and the cookie is removed. What is written afterwards
    /// begins a new session with a new id.
    ///
    /// With a backend or a list of revocations it also ends what another request has made of the
    /// session meanwhile, under a new id. What somebody else has ended already is left alone in
    /// the browser, which may have another session by now.
    #[doc(alias = "purge")]
    #[doc(alias = "invalidate")]
    pub fn destroy(&self) {
        self.change_or_report(|changes, _| changes.destroy());
    }

    /// Whether the browser keeps the cookie when it is closed. The deadline is the same.
    #[doc(alias = "remember_me")]
    pub fn remember(&self, remember: bool) {
        self.change_or_report(|changes, record| {
            changes.transient = None;
            if View::new(record, changes).transient() != Some(!remember) {
                changes.transient = Some(!remember);
            }
        });
    }

    /// Sets this session's deadline. One that has passed ends it with the next save. Browsers
    /// forget a cookie after 400 days, so one that is further away needs visits in between: see
    /// [`lifetime`](crate::StoreBuilder::lifetime).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLongLived`] if it is later than the store's `max_lifetime` allows.
    #[doc(alias = "set_deadline")]
    pub fn set_expiry(&self, expires_at: SystemTime) -> Result<(), SessionError> {
        let expires_at = Millis::from(expires_at);
        self.change(|changes, record| {
            let view = View::new(record, changes);
            let start = view
                .birth()
                .map(|birth| birth.issued_at)
                .or(self.inner.read_at);
            let latest = start.zip(self.inner.bounds.as_ref());
            let latest = latest.map(|(start, bounds)| start.plus(bounds.max_lifetime));
            if latest.is_some_and(|latest| expires_at > latest) {
                return Err(SessionError::new(
                    ErrorKind::TooLongLived,
                    "the deadline is beyond the store's `max_lifetime`; raise that when building \
                     the store"
                        .to_owned(),
                ));
            }
            let kept = view.birth().map(|birth| birth.expires_at);
            changes.expires_at = (kept != Some(expires_at)).then_some(expires_at);
            Ok(())
        })
    }

    /// Sets here all values and flashes that `other` has, for a session that was lost on the way
    /// through another site and found again. Id, deadline and subject stay as they are here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if they do not all fit; then none is set.
    pub fn merge(&self, other: &Self) -> Result<(), SessionError> {
        // Copied first: two sessions are never locked at once.
        let (values, flashes) = other.view(|view| (copy(view.values()), copy(view.flashes())));
        if Arc::ptr_eq(&self.inner, &other.inner) {
            return Ok(());
        }
        self.change(|changes, record| {
            let before = (changes.values.clone(), changes.flashes.clone());
            for (key, value) in values {
                changes.values.set(changes.base_values(record), &key, value);
            }
            for (key, value) in flashes {
                changes.flashes.set_beside(&key, value);
            }
            let undo = |changes: &mut Changes| (changes.values, changes.flashes) = before;
            self.keep_if_it_fits(changes, record, format_args!("the merged session"), undo)
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, len) = self.lock_for_save(|changes, loaded| {
            let view = View::new(loaded.map(|loaded| &loaded.record), changes);
            (view.status(), view.values().count())
        });
        f.debug_struct("Session")
            .field("origin", &self.inner.origin)
            .field("status", &status)
            .field("len", &len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
