//! A visitor's session: the opened record, which never changes, and the changes made since.

mod access;
mod base;
pub(crate) mod changes;
mod device;
mod entry;
mod field;
mod saving;
mod sorted;
mod state;
mod status;
#[cfg(all(feature = "tower", feature = "tower-sessions"))]
mod twin;
mod typed;
#[cfg(feature = "server")]
mod version;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

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
#[cfg(feature = "device-bound")]
pub(crate) use device::Device;
#[cfg(feature = "server")]
pub(crate) use saving::{Lost, Rebased};
pub(crate) use state::{Bounds, Claims, StoreId};
#[cfg(all(feature = "tower", feature = "tower-sessions"))]
pub(crate) use state::{Ends, Twin};

use crate::error::{ErrorKind, Origin, SessionError};
use crate::event::Event;
use crate::record::{MAX_NAME, Names, Record, SessionId};
use crate::time::Millis;
use crate::value::{self, Value};
use base::Newer;
use changes::{Changes, NewNames, Past, Stored, View};
use entry::{copy, decode, encode, is_still, text};
use state::{Flag, Flags, Inner, Since};

/// One of a session's names: in the changes, and as it is now.
type Of = (
    fn(&mut NewNames) -> &mut Option<String>,
    for<'n> fn(Names<'n>) -> &'n str,
);

/// A visitor's session: values under keys, flash messages, a subject and a deadline.
///
/// All methods take `&self`, and none is async. Clones are the same session, so you can use it from
/// several tasks. While the session is locked, none of your code (serde, the closure of
/// [`update`](Self::update)) runs. A call that returns an error leaves the session unchanged.
///
/// A layer (feature `tower`) closes the session when it saves it. After that you can still read,
/// but changes are lost: methods that return a `Result` fail with [`ErrorKind::Closed`], the others
/// report [`Event::ChangedTooLate`](crate::Event::ChangedTooLate).
///
/// A value can have any type that serde serializes, in the form that it has in JSON: see [`Value`].
/// An entry is decoded only when you ask for it. If you ask for the wrong type, you get an error
/// that names the entry, never a wrong value.
///
/// An entry always has a value. If you insert `None` or `()`, the entry is removed, and a null that
/// another program has stored reads as absent.
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

/// Values.
impl Session {
    /// Returns the value under `key`, or `None` if the session has none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if the value is not a `T`. To give up such a value, use
    /// [`get_or_remove`](Self::get_or_remove).
    pub fn get<T: DeserializeOwned>(&self, key: impl KeyOf<T>) -> Result<Option<T>, SessionError> {
        self.find(key.name())
            .map(|bytes| decode(key.name(), &bytes))
            .transpose()
    }

    /// Sets the value under `key`. If the value is the same as before, this is not a change. `None`
    /// or `()` removes the value.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotStorable`] if the type of `value` cannot be stored; [`ErrorKind::TooLarge`]
    /// if the session would no longer fit its cookie.
    #[doc(alias = "put")]
    #[doc(alias = "set")]
    pub fn insert<T: Serialize>(&self, key: impl KeyOf<T>, value: T) -> Result<(), SessionError> {
        let bytes = encode(key.name(), &value)?;
        self.change(|changes, record| self.set(changes, record, key.name(), bytes))
    }

    /// Removes the value under `key`. If the session has no such value, this is not a change.
    #[doc(alias = "delete")]
    pub fn remove(&self, key: impl Key) {
        self.change_or_report(|changes, record| {
            let base = changes.base_values(record);
            changes.values.remove(base, key.name());
        });
    }

    /// Returns the value under `key` and removes it. If several clones of this session take it,
    /// only one gets it.
    ///
    /// Two requests that loaded the session at the same time both get the value, with every store.
    /// If only one request may have it, such as a voucher, use [`claim`](Self::claim).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if the value is not a `T`; the session keeps it.
    #[doc(alias = "pop")]
    pub fn take<T: DeserializeOwned>(&self, key: impl KeyOf<T>) -> Result<Option<T>, SessionError> {
        self.take_with(key.name(), |changes, loaded| {
            let base = changes.base_values(loaded.map(|loaded| &loaded.record));
            changes.values.remove(base, key.name());
            Ok(())
        })
    }

    /// Replaces the value under `key` with the result of `change`. If another clone changes the
    /// entry in between, `change` is called again with the newer value, so that no clone's update
    /// is lost. `change` must not change the entry itself: if it does, with another value each
    /// time, it is called without end.
    ///
    /// Between requests, the later save wins: two requests that each add one add only one in total.
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
    /// The same as [`get`](Self::get) and [`insert`](Self::insert).
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

    /// Whether the session has a value under `key`.
    #[doc(alias = "exists")]
    #[doc(alias = "has")]
    pub fn contains(&self, key: impl Key) -> bool {
        self.find(key.name()).is_some()
    }

    /// Returns the value under `key`. If the value is not a `T`, removes it and returns `None`.
    ///
    /// Use this where the type has changed between two versions of your service, and losing the old
    /// value does no harm. The removal is saved like any other change, and reported as
    /// [`Event::EntryGivenUp`](crate::Event::EntryGivenUp). If the session [is
    /// closed](Self::is_closed), the value stays.
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// session.insert("theme", "dark")?; // an earlier version saved a name
    /// assert!(session.get::<u8>("theme").is_err()); // now it is a number
    ///
    /// assert_eq!(session.get_or_remove::<u8>("theme"), None);
    /// assert_eq!(session.get::<u8>("theme"), Ok(None));
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    #[doc(alias = "get_or_forget")]
    #[doc(alias = "get_lossy")]
    pub fn get_or_remove<T: DeserializeOwned>(&self, key: impl KeyOf<T>) -> Option<T> {
        let name = key.name();
        loop {
            let found = self.find(name)?;
            let error = match decode(name, &found) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let removed = self.change(|changes, record| {
                let is_still = is_still(changes, record, name, Some(&found));
                if is_still {
                    changes.values.remove(changes.base_values(record), name);
                }
                Ok(is_still)
            });
            match removed {
                Ok(true) => {
                    self.report(Event::EntryGivenUp, &error);
                    return None;
                }
                // Another clone has just replaced it.
                Ok(false) => {}
                // `change` has reported the error already.
                Err(_) => return None,
            }
        }
    }

    /// Returns the value under `key` and removes it, for one request only. If several requests
    /// claim it, on any number of servers, exactly one of them can be saved.
    ///
    /// The value is yours once the save has succeeded. The save fails as a
    /// [conflict](crate::SaveError::is_conflict) if another request took, changed or removed the
    /// entry after this request loaded it, or if the session has ended or has a new id. Changes
    /// that other requests make to other entries do not matter. So save first, then act on the
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
    /// You can insert and remove entries after the claim: they are saved with it, and the claim
    /// still holds. An entry that this request itself has set belongs to no other request, so it is
    /// simply taken.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotClaimable`] if the session is not in a backend that can compare and write in
    /// one step. That is so in a cookie store, and while a server's store keeps the session in its
    /// cookie, because a client can send a cookie twice, and each copy has the entry. It is also so
    /// with a backend that declares `Promise::Upsert`, and in a session of [`Session::new`].
    ///
    /// [`ErrorKind::WrongType`] if the value is not a `T`; the session keeps it.
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

    /// The names of all values, sorted by their bytes.
    pub fn keys(&self) -> Vec<String> {
        self.view(|view| view.values().map(|(key, _)| text(key)).collect())
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.view(|view| view.values().count())
    }

    /// Whether the session has no values.
    pub fn is_empty(&self) -> bool {
        self.view(|view| view.values().next().is_none())
    }

    /// Returns all values, without their types.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if an entry's bytes are not a value. No save of this crate writes
    /// such bytes.
    #[doc(alias = "values")]
    pub fn to_map(&self) -> Result<BTreeMap<String, Value>, SessionError> {
        let entries: Vec<(String, Stored)> = self.view(|view| copy(view.values()));
        entries
            .into_iter()
            .map(|(key, bytes)| Ok((key.clone(), decode(&key, &bytes)?)))
            .collect()
    }

    /// Removes all values, all flashes, the subject, the label, the sid and the moment of the last
    /// login. The id and the deadline stay.
    #[doc(alias = "flush")]
    pub fn clear(&self) {
        self.change_or_report(Changes::clear);
    }
}

/// Logging in and out.
impl Session {
    /// Records, with the next save, that somebody has just proved who they are: the session gets a
    /// new id and a new lifetime, keeps its data, and remembers the moment. Call this at every login,
    /// also when somebody enters the password again. Without the new id, somebody who planted a
    /// session in the browser would share the login; without the new lifetime, the login would end
    /// with the visit before it.
    ///
    /// The moment takes six bytes in the session, eight characters of its cookie.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// // The password was right:
    /// session.log_in()?;
    /// session.insert("user_id", 42)?;
    ///
    /// // Later, before the address for the invoice is changed:
    /// if !session.logged_in_within(Duration::from_secs(15 * 60)) {
    ///     // ask for the password again
    /// }
    /// # assert!(session.logged_in_within(Duration::from_secs(15 * 60)));
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if the session would no longer fit its cookie.
    #[doc(alias = "login")]
    #[doc(alias = "authenticate")]
    #[doc(alias = "reauthenticate")]
    #[doc(alias = "renew_token")]
    #[doc(alias = "reset_session")]
    pub fn log_in(&self) -> Result<(), SessionError> {
        self.change(|changes, record| {
            let before = changes.clone();
            changes.log_in();
            let undo = |changes: &mut Changes| *changes = before;
            self.keep_if_it_fits(changes, record, format_args!("the login"), undo)
        })
    }

    /// Gives the session a new id at the next save, and keeps its data and its deadline. Call this
    /// whenever the visitor's rights change. At a login, call [`log_in`](Self::log_in).
    #[doc(alias = "regenerate")]
    #[doc(alias = "cycle_id")]
    #[doc(alias = "cycle_key")]
    pub fn renew(&self) {
        self.change_or_report(|changes, _| changes.renew());
    }

    /// Ends the session: its data is deleted and its cookie removed. If you write to it afterwards,
    /// you begin a new session with a new id.
    ///
    /// Another request may have given the session a new id meanwhile. With a backend or a
    /// revocation list, the session ends under that id too. If the session had already ended
    /// elsewhere, the browser's cookie is left alone, because it may belong to another session by
    /// now.
    #[doc(alias = "purge")]
    #[doc(alias = "invalidate")]
    pub fn destroy(&self) {
        self.change_or_report(|changes, _| changes.destroy());
    }

    /// When somebody last proved who they are: the save after the last [`log_in`](Self::log_in).
    /// `None` before that save, and if nobody has logged in.
    #[doc(alias = "auth_time")]
    #[doc(alias = "last_login")]
    pub fn logged_in_at(&self) -> Option<SystemTime> {
        self.view(|view| Some(view.logged_in_at()?.into()))
    }

    /// Whether somebody has proved who they are within the time `age` before this request, or
    /// during it. With a framework, the guard `RequireLogin` asks this for you.
    #[doc(alias = "max_age")]
    #[doc(alias = "password_confirmed")]
    pub fn logged_in_within(&self, age: Duration) -> bool {
        let read_at = self.inner.read_at;
        self.view(|view| {
            let since = view.logged_in_at().zip(read_at);
            view.logs_in() || since.is_some_and(|(at, read_at)| read_at.since(at) < age)
        })
    }

    /// Returns whom the session belongs to, if [`set_subject`](Self::set_subject) was called.
    pub fn subject(&self) -> Option<String> {
        self.view(|view| {
            let subject = view.names().subject;
            (!subject.is_empty()).then(|| subject.to_owned())
        })
    }

    /// Sets whom the session belongs to, such as a user's id, in at most 255 bytes. An empty
    /// subject removes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if the subject is longer, or the session would no longer fit its
    /// cookie.
    pub fn set_subject(&self, subject: impl Into<String>) -> Result<(), SessionError> {
        let of: Of = (|names| &mut names.subject, |names| names.subject);
        self.set_name("the subject", of, subject.into())
    }

    /// The name that [`set_label`](Self::set_label) has given the session.
    pub fn label(&self) -> Option<String> {
        self.view(|view| {
            let label = view.names().label;
            (!label.is_empty()).then(|| label.to_owned())
        })
    }

    /// Gives the session a name for the list of a visitor's sessions, such as "Firefox on Linux",
    /// in at most 255 bytes. An empty label removes it. It means nothing to the store.
    ///
    /// # Errors
    ///
    /// The same as [`set_subject`](Self::set_subject).
    #[doc(alias = "device")]
    #[doc(alias = "user_agent")]
    pub fn set_label(&self, label: impl Into<String>) -> Result<(), SessionError> {
        let of: Of = (|names| &mut names.label, |names| names.label);
        self.set_name("the label", of, label.into())
    }

    /// The identity provider's id for this login, if [`set_sid`](Self::set_sid) was called.
    pub fn sid(&self) -> Option<String> {
        self.view(|view| {
            let sid = view.names().sid;
            (!sid.is_empty()).then(|| sid.to_owned())
        })
    }

    /// Sets the identity provider's id for this login, in at most 255 bytes: the claim `sid` of
    /// OpenID Connect's ID token. When the provider then tells you that the login has ended
    /// (back-channel logout), you can end the sessions with this sid: with `end_all_of_sid` of a
    /// server's store, or [`revoke_sid`](crate::RevocationList::revoke_sid). An empty sid removes
    /// it.
    ///
    /// A sid is unique for one provider. If you have several, put the issuer in front.
    ///
    /// # Errors
    ///
    /// The same as [`set_subject`](Self::set_subject).
    #[doc(alias = "session_state")]
    pub fn set_sid(&self, sid: impl Into<String>) -> Result<(), SessionError> {
        let of: Of = (|names| &mut names.sid, |names| names.sid);
        self.set_name("the sid", of, sid.into())
    }

    /// Sets one of the session's names.
    fn set_name(&self, what: &str, (of, now): Of, name: String) -> Result<(), SessionError> {
        if name.len() > MAX_NAME {
            let size = name.len();
            let message = format!(
                "{what} has {size} bytes, at most {MAX_NAME} are possible; use a shorter one, such \
                 as an id or a hash"
            );
            return Err(SessionError::sized(message, size, MAX_NAME));
        }
        self.change(|changes, record| {
            let before = of(changes.names()).take();
            if now(View::new(record, changes).names()) != name {
                *of(changes.names()) = Some(name);
            }
            let undo = |changes: &mut Changes| *of(changes.names()) = before;
            self.keep_if_it_fits(changes, record, format_args!("{what}"), undo)
        })
    }
}

/// Messages for the next page.
impl Session {
    /// Sets a message for a later request. You can read it there until you take it, but not in this
    /// request. `None` removes a message that this request has set.
    ///
    /// # Errors
    ///
    /// The same as [`insert`](Self::insert).
    pub fn flash<T: Serialize>(&self, key: impl KeyOf<T>, value: T) -> Result<(), SessionError> {
        let name = key.name();
        let bytes = encode(name, &value)?;
        self.change(|changes, record| {
            if value::is_null(&bytes) {
                changes.unset_flash(record, name);
                return Ok(());
            }
            let base = changes.base_flashes(record);
            let before = changes.flashes.set_beside(base, name, bytes);
            let undo = |changes: &mut Changes| changes.flashes.undo(name, before);
            self.keep_if_it_fits(changes, record, format_args!("flash {name:?}"), undo)
        })
    }

    /// Returns a message that an earlier request has set, and removes it. Two requests at the same
    /// time can both get it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if the message is not a `T`; the session keeps it.
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
}

/// Lifetime.
impl Session {
    /// The deadline that the server enforces. [`set_expiry`](Self::set_expiry) or the store's
    /// lifetime sets it, and it is never beyond the store's `max_lifetime`. `None` if the first
    /// save has yet to set it.
    #[doc(alias = "deadline")]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.view(|view| {
            let end = view.expires_at()?;
            let latest = view.began_at().zip(self.inner.bounds.as_ref());
            let latest = latest.map(|(began_at, bounds)| began_at.plus(bounds.max_lifetime));
            Some(latest.map_or(end, |latest| end.min(latest)).into())
        })
    }

    /// Sets this session's deadline. If it has passed, the next save ends the session. Browsers
    /// forget a cookie after 400 days, so a later deadline needs visits in between: see
    /// [`lifetime`](crate::StoreBuilder::lifetime).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLongLived`] if the deadline is later than the store's `max_lifetime` allows.
    #[doc(alias = "set_deadline")]
    pub fn set_expiry(&self, expires_at: SystemTime) -> Result<(), SessionError> {
        let expires_at = Millis::from(expires_at);
        self.change(|changes, record| self.set_deadline(changes, record, expires_at))
    }

    fn set_deadline(
        &self,
        changes: &mut Changes,
        record: Option<&Record>,
        expires_at: Millis,
    ) -> Result<(), SessionError> {
        let view = View::new(record, changes);
        let start = view.began_at().or(self.inner.read_at);
        let latest = start.zip(self.inner.bounds.as_ref());
        let latest = latest.map(|(start, bounds)| start.plus(bounds.max_lifetime));
        if latest.is_some_and(|latest| expires_at > latest) {
            return Err(SessionError::new(
                ErrorKind::TooLongLived,
                "the deadline is beyond the store's `max_lifetime`; raise that when building the \
                 store"
                    .to_owned(),
            ));
        }
        let kept = view.birth().map(|birth| birth.expires_at);
        changes.expires_at = (kept != Some(expires_at)).then_some(expires_at);
        Ok(())
    }

    /// Sets whether the cookie survives when the browser is closed. This does not change the
    /// deadline.
    #[doc(alias = "remember_me")]
    pub fn remember(&self, remember: bool) {
        self.change_or_report(|changes, record| changes.set_transient(record, !remember));
    }

    /// When the session ends if nobody uses it: the last recorded use plus the store's idle
    /// timeout. [`expires_at`](Self::expires_at) may be earlier. `None` if the store has no idle
    /// timeout, and before the first save of a new or renewed session.
    ///
    /// If this request counts as use and the response records it, the load of the session is taken
    /// as the last use. The response counts as use too, so the session may end later than the
    /// returned time, by as long as the response takes. It never ends earlier.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::{AppKey, CookieStore};
    /// # let request = http::Request::new(());
    /// let store = CookieStore::builder(AppKey::generate()?)
    ///     .idle_timeout(Duration::from_secs(30 * 60))
    ///     .build()?;
    ///
    /// // A handler that lets the page warn the visitor in time, without extending the session.
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

    /// Marks this request, for all clones, as one that does not count as use. Call it for requests
    /// that a page sends by itself, so that they do not keep the session alive. If the store has an
    /// idle timeout, the response to such a request records no use. A change is still saved, and
    /// counts as use. Without an idle timeout this does nothing.
    ///
    /// With a `SessionLayer` (feature `tower`) you can mark requests before a handler asks for the
    /// session: on the layer, on a guard, or on the pending session.
    #[doc(alias = "peek")]
    #[doc(alias = "no_touch")]
    pub fn leave_idle(&self) {
        self.inner.flags.set(Flag::LeavesIdle, Flag::LeavesIdle);
    }

    /// When the session got its present id; `None` before the save that gives it one.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.view(|view| Some(view.birth()?.issued_at.into()))
    }
}

/// What happened, and what will.
impl Session {
    /// Where the session comes from, and why a cookie was refused.
    pub fn origin(&self) -> Origin {
        self.inner.origin
    }

    /// What a save has to do for this session.
    #[doc(alias = "modified")]
    #[doc(alias = "has_changed")]
    pub fn status(&self) -> Status {
        self.lock(|changes, record| View::new(record, changes).status())
    }

    /// Whether the session is new: no cookie was opened for it, because this is the visitor's first
    /// request or the first one after a session has ended.
    pub fn is_new(&self) -> bool {
        self.view(|view| view.base().is_none())
    }

    /// Whether a layer has saved the session, so that changes come too late.
    pub fn is_closed(&self) -> bool {
        self.inner.flags.has(Flag::Closed)
    }

    /// The session's id; `None` before the first save.
    pub fn id(&self) -> Option<SessionId> {
        self.view(|view| Some(view.birth()?.id))
    }
}

/// Sessions outside of requests, and from another store.
impl Session {
    /// A new session outside of any request, for testing handlers. Any store can save it. Its size
    /// is checked as for the default cookie.
    pub fn new() -> Self {
        Self::fresh(Origin::Absent, None, None)
    }

    /// Copies all values and flashes of `other` into this session. Use it if a session was lost on
    /// the way through another site and then found again: docs/recipes.md shows how. This session
    /// keeps its own id, deadline, login and names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if they do not all fit; then none is copied.
    pub fn merge(&self, other: &Self) -> Result<(), SessionError> {
        // Copy first, so that two sessions are never locked at the same time.
        let (values, flashes) = other.view(|view| (copy(view.values()), copy(view.flashes())));
        if Arc::ptr_eq(&self.inner, &other.inner) {
            return Ok(());
        }
        self.change(|changes, record| {
            let before = (changes.values.clone(), changes.flashes.clone());
            changes.put(record, values, flashes);
            let undo = |changes: &mut Changes| (changes.values, changes.flashes) = before;
            self.keep_if_it_fits(changes, record, format_args!("the merged session"), undo)
        })
    }

    /// Makes this session go on as `other`, which another store has loaded: it gets all values and
    /// flashes, the subject, label and sid that the other has, and what
    /// [`remember`](Self::remember) said. If this session is new, it also gets the deadline and the
    /// moment of the last login. Only the id is its own.
    ///
    /// Use it to change what a store cannot change under its sessions, such as the name of the
    /// cookie: docs/recipes.md shows how. The other session stays as it is.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieConfig, CookieStore};
    /// # let request = http::Request::new(());
    /// # let key = AppKey::generate()?;
    /// let former = CookieConfig::builder().name("sid").build()?;
    /// let former = CookieStore::builder(key.clone()).cookie(former).build()?;
    /// let store = CookieStore::new(key);
    ///
    /// let session = store.load(request.headers());
    /// if session.is_new() {
    ///     session.continue_as(&former.load(request.headers()))?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if it does not all fit; then nothing is taken over.
    #[doc(alias = "take_over")]
    #[doc(alias = "migrate")]
    pub fn continue_as(&self, other: &Self) -> Result<(), SessionError> {
        let (values, flashes, estate) =
            other.view(|view| (copy(view.values()), copy(view.flashes()), view.estate()));
        if Arc::ptr_eq(&self.inner, &other.inner) {
            return Ok(());
        }
        self.change(|changes, record| {
            let before = changes.clone();
            changes.put(record, values, flashes);
            changes.continue_as(record, estate);
            let undo = |changes: &mut Changes| *changes = before;
            self.keep_if_it_fits(changes, record, format_args!("the other session"), undo)
        })
    }
}

impl Session {
    pub(crate) fn fresh(origin: Origin, read_at: Option<Millis>, bounds: Option<Bounds>) -> Self {
        Self::after(None, origin, read_at, bounds)
    }

    /// A new session that replaces one that was over when the request arrived.
    pub(crate) fn after(
        past: Option<Past>,
        origin: Origin,
        read_at: Option<Millis>,
        bounds: Option<Bounds>,
    ) -> Self {
        Self::with(origin, None, Changes::after(past), read_at, bounds)
    }

    pub(crate) fn opened(loaded: Loaded, read_at: Millis, bounds: Bounds) -> Self {
        let (loaded, changes) = (Some(loaded), Changes::default());
        Self::with(Origin::Opened, loaded, changes, Some(read_at), Some(bounds))
    }

    #[inline]
    fn with(
        origin: Origin,
        first: Option<Loaded>,
        changes: Changes,
        read_at: Option<Millis>,
        bounds: Option<Bounds>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                origin,
                first,
                read_at,
                bounds,
                flags: Flags::default(),
                #[cfg(all(feature = "tower", feature = "tower-sessions"))]
                twin: std::sync::OnceLock::new(),
                since: Mutex::new(Since {
                    changes,
                    newer: Newer::default(),
                }),
            }),
        }
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

// Last, so that the documentation lists its methods last.
#[cfg(feature = "device-bound")]
mod proving;

#[cfg(test)]
mod tests;
