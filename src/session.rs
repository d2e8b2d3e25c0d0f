//! The session: a record as it was opened, never altered, and the changes made since.

mod base;
pub(crate) mod changes;
mod field;
mod sorted;
mod typed;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

pub use field::{Field, Key, KeyOf};
pub use typed::TypedSession;

#[cfg(feature = "server")]
pub(crate) use base::Held;
pub(crate) use base::Loaded;
use base::{Base, Newer};

use crate::cookie::DEFAULT_NAME;
use crate::error::{ErrorKind, Refusal, SessionError};
use crate::event::{Event, Events};
use crate::limit::{Limit, check_entries};
use crate::policy::Idle;
use crate::record::{MAX_SUBJECT, Record, SessionId};
#[cfg(feature = "server")]
use crate::server::Version;
use crate::time::Millis;
use crate::value::{self, Value};
use changes::Point;
use changes::{Birth, Changes, Over, Past, Stored, View};

/// What a save has to do for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// As it was loaded, or new and empty.
    Unmodified,
    /// There is something to write.
    Modified,
    /// Destroyed, and nothing written since.
    Destroyed,
}

/// Where a session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The request had no cookie of this name, or there was no request.
    Absent,
    /// A cookie of the request opened.
    Opened,
    /// The request's cookie did not open; the session is a fresh one.
    Refused(Refusal),
    /// Several cookies of the request opened and are different sessions, so that none is
    /// believed; the session is a fresh one.
    Ambiguous,
}

/// One visitor's session.
///
/// All methods take `&self` and none waits. Clones are the same session, for use from several
/// tasks; no code of a caller's (serde, the closure of [`update`](Self::update)) runs while it
/// is locked. What a call refuses leaves the session as it was.
///
/// A layer (feature `tower`) closes the session when it saves it. From then on reading still
/// works, and a change is lost: methods that can fail return [`ErrorKind::Closed`], the others
/// report [`Event::ChangedTooLate`].
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

struct Inner {
    origin: Origin,
    /// What it was opened with.
    first: Option<Loaded>,
    /// When it was taken out of the request.
    read_at: Option<Millis>,
    /// Which store it belongs to; `None` if made by [`Session::new`].
    bounds: Option<Arc<Bounds>>,
    /// Somebody may have changed something, or replaced the record. Until then nobody has to lock
    /// `since` to read.
    was_touched: AtomicBool,
    /// The request does not count as use.
    leaves_idle: AtomicBool,
    since: Mutex<Since>,
}

/// What has become of a session since it was opened.
#[derive(Default)]
struct Since {
    changes: Changes,
    newer: Newer,
}

/// What a store's settings allow its sessions. Its address is the store's identity.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) limit: Limit,
    pub(crate) claims: Claims,
    pub(crate) max_lifetime: Duration,
    pub(crate) idle: Option<Idle>,
    pub(crate) events: Events,
}

/// Whether one of several requests can have an entry for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claims {
    /// Sessions are in cookies, which a client can send as often as it likes.
    InCookie,
    /// The backend only overwrites.
    #[cfg(feature = "server")]
    Overwritten,
    /// Of sessions that are in the backend.
    #[cfg(feature = "server")]
    InBackend,
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

    /// Gets the value under `key` if `remove` removes it.
    fn take_with<T: DeserializeOwned>(
        &self,
        key: &str,
        remove: impl Fn(&mut Changes, Option<&Loaded>) -> Result<(), SessionError>,
    ) -> Result<Option<T>, SessionError> {
        loop {
            let Some(before) = self.find(key) else {
                return Ok(None);
            };
            let value = decode(key, &before)?;
            let taken = self.change_loaded(|changes, loaded| {
                let record = loaded.map(|loaded| &loaded.record);
                if !is_still(changes, record, key, Some(&before)) {
                    return Ok(false);
                }
                remove(changes, loaded)?;
                Ok(true)
            })?;
            if taken {
                return Ok(Some(value));
            }
        }
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

    fn check_claimable(&self, key: &str, loaded: Option<&Loaded>) -> Result<(), SessionError> {
        let bounds = self.inner.bounds.as_ref();
        let why = match (
            bounds.map_or(Claims::InCookie, |bounds| bounds.claims),
            loaded,
        ) {
            #[cfg(feature = "server")]
            (Claims::InBackend, None) => return Ok(()),
            #[cfg(feature = "server")]
            (Claims::InBackend, Some(loaded)) if !loaded.is_in_cookie() => return Ok(()),
            #[cfg(feature = "server")]
            (Claims::Overwritten, _) => {
                "this backend only overwrites, so that two requests could both have it; use one \
                 that declares `Promise::Full`"
            }
            _ => {
                "the session is in a cookie, which can be sent twice, so that two requests could \
                 both have it; keep the session in a backend, or this value in a database"
            }
        };
        let message = format!("{key:?} cannot be claimed: {why}");
        Err(SessionError::new(ErrorKind::NotClaimable, message))
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

    pub(crate) fn leaves_idle(&self) -> bool {
        self.inner.leaves_idle.load(Ordering::Relaxed)
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

    /// Runs `f` while the session is locked. `f` is never a caller's.
    fn lock<R>(&self, f: impl FnOnce(&mut Changes, Option<&Record>) -> R) -> R {
        self.lock_for_save(|changes, loaded| f(changes, loaded.map(|loaded| &loaded.record)))
    }

    /// A change that can be refused.
    fn change<R>(
        &self,
        f: impl FnOnce(&mut Changes, Option<&Record>) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        self.change_loaded(|changes, loaded| f(changes, loaded.map(|loaded| &loaded.record)))
    }

    /// The same with how the record was found.
    fn change_loaded<R>(
        &self,
        f: impl FnOnce(&mut Changes, Option<&Loaded>) -> Result<R, SessionError>,
    ) -> Result<R, SessionError> {
        let outcome = self.lock_for_save(|changes, loaded| {
            if changes.closed {
                return Err(SessionError::closed());
            }
            changes.point.all = changes.point.all.wrapping_add(1);
            self.inner.was_touched.store(true, Ordering::Release);
            f(changes, loaded)
        });
        if let Err(error) = &outcome {
            match error.kind() {
                ErrorKind::TooLarge => self.report(Event::TooLarge, error),
                ErrorKind::Closed => self.report(Event::ChangedTooLate, error),
                _ => {}
            }
        }
        outcome
    }

    /// A change that nobody expects to be refused.
    fn change_or_report(&self, f: impl FnOnce(&mut Changes, Option<&Record>)) {
        // What can be said about it is reported already.
        let _ = self.change(|changes, record| {
            f(changes, record);
            Ok(())
        });
    }

    fn report(&self, event: Event, error: &SessionError) {
        let nowhere = Events::default();
        let bounds = self.inner.bounds.as_ref();
        bounds
            .map_or(&nowhere, |bounds| &bounds.events)
            .report(event, Some(error));
    }

    fn view<R>(&self, f: impl FnOnce(View<'_>) -> R) -> R {
        self.lock(|changes, record| f(View::new(record, changes)))
    }

    /// The same with how the record was found, for a save.
    pub(crate) fn lock_for_save<R>(&self, f: impl FnOnce(&mut Changes, Option<&Loaded>) -> R) -> R {
        self.lock_to_replace(|changes, base| f(changes, base.newest()))
    }

    fn lock_to_replace<R>(&self, f: impl FnOnce(&mut Changes, &mut Base<'_>) -> R) -> R {
        let since = self.inner.since.lock();
        let since = &mut *since.unwrap_or_else(PoisonError::into_inner);
        let mut base = Base {
            first: self.inner.first.as_ref(),
            newer: &mut since.newer,
        };
        f(&mut since.changes, &mut base)
    }

    /// Whether a backend has it.
    #[cfg(feature = "server")]
    pub(crate) fn is_held(&self) -> bool {
        self.lock_for_save(|_, loaded| loaded.is_some_and(|loaded| !loaded.is_in_cookie()))
    }

    /// What it was opened with: what it stands on until it [was touched](Self::was_touched).
    pub(crate) fn first(&self) -> Option<&Loaded> {
        self.inner.first.as_ref()
    }

    /// Lets the changes stand on what a backend has by now. Not if another save of this session
    /// has come further since `planned`: what that one has is newer.
    #[cfg(feature = "server")]
    pub(crate) fn rebase(&self, planned: Point, mut newer: Loaded) -> Rebased {
        let mut rebased = Rebased::Overtaken;
        self.replace_unless_overtaken(planned, |changes, base| {
            if !changes.claims_hold(&newer.record) {
                rebased = Rebased::Claimed;
                return;
            }
            // A first save whose answer got lost has set no cookie.
            let before = base.newest();
            newer.cookie_is_due |= before.is_none_or(|loaded| loaded.cookie_is_due);
            changes.keep_own_flashes_of(&newer.record);
            self.replace(changes, base, Some(newer));
            rebased = Rebased::Done;
        });
        rebased
    }

    /// A backend has written what was planned when the changes stood at `planned`: that is the
    /// base from now on, and what was changed since stands on it.
    #[cfg(feature = "server")]
    pub(crate) fn acknowledge(&self, planned: Point, written: Option<Loaded>) {
        self.lock_to_replace(|changes, base| {
            if written.is_some() && changes.point.base != planned.base {
                return;
            }
            let before = base.newest().map(|loaded| &loaded.record);
            let record = written.as_ref().map(|written| &written.record);
            changes.acknowledge(planned, before, record);
            self.replace(changes, base, written);
        });
    }

    /// The id of a new or renewed session is to be drawn again.
    #[cfg(feature = "server")]
    pub(crate) fn forget_birth(&self) {
        self.lock_for_save(|changes, _| changes.birth = None);
    }

    /// Somebody else has ended the session: nothing of it is left, and its cookie is left alone,
    /// because by now the browser may have another one. Not if another save of it has come
    /// further since `planned`.
    #[cfg(feature = "server")]
    pub(crate) fn lose(&self, planned: Point) -> Lost {
        let mut lost = Lost::Nothing;
        self.replace_unless_overtaken(planned, |changes, base| {
            let view = View::new(base.newest().map(|loaded| &loaded.record), changes);
            if changes.has_claims() {
                lost = Lost::Claims;
                return;
            }
            if view.is_changed() && !view.is_destroyed() {
                lost = Lost::Changes;
            }
            changes.lose();
            self.replace(changes, base, None);
        });
        lost
    }

    /// The mark that is in the way of a move does not count any more.
    #[cfg(feature = "server")]
    pub(crate) fn may_replace_mark(&self, mark: Version) {
        self.lock_for_save(|changes, _| changes.old_mark = Some(mark));
    }

    /// A session that this request was to end was over already. Tells whether that was somebody
    /// else, and no other save or attempt of this request; then its cookie is left alone.
    pub(crate) fn was_over(&self, planned: Point) -> bool {
        self.lock_to_replace(|changes, base| {
            let is_ours = changes.may_have_ended || changes.point.base != planned.base;
            if !is_ours {
                changes.over = Over::Meanwhile;
                changes.in_cookie = None;
                self.replace(changes, base, None);
            }
            !is_ours
        })
    }

    /// An attempt to end it has failed, or may have.
    #[cfg(feature = "server")]
    pub(crate) fn may_have_ended(&self) {
        self.lock_for_save(|changes, _| changes.may_have_ended = true);
    }

    /// What was in a cookie has ended by this request.
    pub(crate) fn has_ended(&self) {
        self.lock_to_replace(|changes, base| {
            changes.may_have_ended = true;
            changes.in_cookie = None;
            self.replace(changes, base, None);
        });
    }

    /// A response has the session wholly in its cookie.
    pub(crate) fn is_sent_as(&self, birth: Birth) {
        self.lock_for_save(|changes, _| changes.in_cookie = Some(birth));
    }

    /// Whether another save of this session has come further since `planned`.
    #[cfg(feature = "server")]
    pub(crate) fn is_overtaken(&self, planned: Point) -> bool {
        self.lock_for_save(|changes, _| changes.point.base != planned.base)
    }

    #[cfg(feature = "server")]
    fn replace_unless_overtaken(
        &self,
        planned: Point,
        f: impl FnOnce(&mut Changes, &mut Base<'_>),
    ) {
        self.lock_to_replace(|changes, base| {
            if changes.point.base == planned.base {
                f(changes, base);
            }
        });
    }

    fn replace(&self, changes: &mut Changes, base: &mut Base<'_>, loaded: Option<Loaded>) {
        changes.point.base = changes.point.base.wrapping_add(1);
        self.inner.was_touched.store(true, Ordering::Release);
        base.replace(loaded);
    }

    /// Its cookie is no longer worth anything, and is left alone: by now the client may have
    /// another one. Tells whether changes are lost with it.
    pub(crate) fn let_go(&self) -> bool {
        self.lock_to_replace(|changes, base| {
            let record = base.newest().map(|loaded| &loaded.record);
            let is_changed = View::new(record, changes).is_changed();
            *changes = changes.afresh();
            changes.lose();
            self.replace(changes, base, None);
            is_changed
        })
    }

    /// Refuses all changes from now on; tells what was to be saved.
    #[cfg(feature = "tower")]
    pub(crate) fn close(&self) -> Status {
        self.lock_for_save(|changes, _| changes.closed = true);
        self.status()
    }

    /// Whether it was taken out of a request, and not made by [`new`](Self::new).
    pub(crate) fn is_of_a_request(&self) -> bool {
        self.inner.read_at.is_some()
    }

    pub(crate) fn is_ambiguous(&self) -> bool {
        self.inner.origin == Origin::Ambiguous
    }

    pub(crate) fn was_touched(&self) -> bool {
        self.inner.was_touched.load(Ordering::Acquire)
    }

    /// Whether it was loaded by another store than the one with these bounds.
    pub(crate) fn is_of_another_store(&self, bounds: &Arc<Bounds>) -> bool {
        self.inner
            .bounds
            .as_ref()
            .is_some_and(|own| !Arc::ptr_eq(own, bounds))
    }

    fn find(&self, key: &str) -> Option<Found<'_>> {
        if !self.was_touched() {
            let values = self.first()?.record.values().without_nulls();
            return values.find(key).map(Found::Loaded);
        }
        self.lock_to_replace(|changes, base| {
            if let Some(value) = changes.values.changed(key) {
                return Some(Found::Copied(value.clone()));
            }
            self.kept(base, |record| changes.kept_value(record, key))
        })
    }

    /// What `find` finds in the record, to be looked at outside of the lock.
    fn kept<'s>(
        &'s self,
        base: &Base<'_>,
        find: impl for<'r> FnOnce(Option<&'r Record>) -> Option<&'r [u8]>,
    ) -> Option<Found<'s>> {
        if base.newer.is_none() {
            return find(self.first().map(|loaded| &loaded.record)).map(Found::Loaded);
        }
        // It may be replaced again, and freed, before somebody has looked.
        let bytes = find(base.newest().map(|loaded| &loaded.record))?;
        Some(Found::Copied(Stored::new(bytes.to_vec())))
    }

    fn set(
        &self,
        changes: &mut Changes,
        record: Option<&Record>,
        key: &str,
        value: Stored,
    ) -> Result<(), SessionError> {
        if value::is_null(&value) {
            changes.values.remove(changes.base_values(record), key);
            return Ok(());
        }
        let before = changes.values.set(changes.base_values(record), key, value);
        let undo = |changes: &mut Changes| changes.values.undo(key, before);
        self.keep_if_it_fits(changes, record, format_args!("{key:?}"), undo)
    }

    /// Undoes a change after which the session is too large for its cookie, unless the session
    /// has become smaller by it.
    fn keep_if_it_fits(
        &self,
        changes: &mut Changes,
        record: Option<&Record>,
        what: fmt::Arguments<'_>,
        undo: impl FnOnce(&mut Changes),
    ) -> Result<(), SessionError> {
        let bounds = self.inner.bounds.as_ref();
        let by_default = Limit::Cookie {
            name: DEFAULT_NAME.len(),
        };
        let limit = bounds.map_or(by_default, |bounds| bounds.limit);
        let measure = |changes: &Changes| {
            let draft = View::new(record, changes).draft();
            (draft.len(), draft.entries())
        };
        let (size, entries) = measure(changes);
        let checked = limit.check(size).and_then(|()| check_entries(entries));
        let Err(too_large) = checked else {
            return Ok(());
        };
        let attempt = changes.clone();
        undo(changes);
        let before = measure(changes);
        if size <= before.0 && entries <= before.1 {
            *changes = attempt;
            return Ok(());
        }
        let message = format!("{what}: {too_large}");
        Err(SessionError::sized(
            message,
            too_large.size,
            too_large.limit,
        ))
    }
}

/// What has become of changes that were to stand on a newer record.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rebased {
    Done,
    /// Another save of the same session has come further.
    Overtaken,
    /// What was claimed is not there any more, or not as it was.
    Claimed,
}

/// What is lost with a session that somebody else has ended.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Nothing,
    Changes,
    /// What was claimed; the session is as it was, so that no later save succeeds without.
    Claims,
}

/// A value's bytes, outside of the lock.
enum Found<'a> {
    Loaded(&'a [u8]),
    Copied(Stored),
}

impl Deref for Found<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Loaded(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// Whether the entry is what it was when it was looked at.
fn is_still(changes: &Changes, record: Option<&Record>, key: &str, before: Option<&[u8]>) -> bool {
    let changed = changes.values.changed(key).map(|value| value.as_slice());
    changed.or_else(|| changes.kept_value(record, key)) == before
}

fn copy<'a>(entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<(String, Stored)> {
    entries
        .map(|(key, value)| (text(key), Zeroizing::new(value.to_vec())))
        .collect()
}

/// A key of a session, which is always text.
fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn encode<T: Serialize>(key: &str, value: &T) -> Result<Stored, SessionError> {
    value::encode(value)
        .map_err(|error| SessionError::new(ErrorKind::NotStorable, format!("{key:?}: {error}")))
}

fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, SessionError> {
    value::decode(bytes)
        .map_err(|error| SessionError::new(ErrorKind::WrongType, format!("{key:?}: {error}")))
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
