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
///
/// A value can have any type that serde serializes, in the form that it has in JSON: see [`Value`].
/// An entry is decoded only when you ask for it. If you ask for the wrong type, you get an error
/// that names the entry, never a wrong value. To write an entry's type only once, use a [`Field`].
///
/// An entry always has a value. If you insert `None` or `()`, the entry is removed, and a null that
/// another program has stored reads as absent.
///
/// All methods take `&self`, and none is async. Clones are the same session, so you can use it from
/// several tasks. None of your code (serde, the closure of [`update`](Self::update)) runs while the
/// session is locked. A call that returns an error leaves the session unchanged.
///
/// A layer (feature `tower`) closes the session when it saves it. After that you can still read,
/// but changes are lost: methods that return a `Result` fail with [`ErrorKind::Closed`], the others
/// report [`Event::ChangedTooLate`](crate::Event::ChangedTooLate).
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
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// let cart: Vec<String> = session.get("cart")?.unwrap_or_default();
    /// assert!(cart.is_empty()); // a new visitor
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if the value is not a `T`. If you can do without such a value, use
    /// [`get_or_remove`](Self::get_or_remove).
    pub fn get<T: DeserializeOwned>(&self, key: impl KeyOf<T>) -> Result<Option<T>, SessionError> {
        self.find(key.name())
            .map(|bytes| decode(key.name(), &bytes))
            .transpose()
    }

    /// Sets the value under `key`. If the value is the same as before, this is not a change. `None`
    /// or `()` removes the value.
    ///
    /// ```
    /// # use sealed_session::{ErrorKind, Session};
    /// # use serde::Serialize;
    /// #[derive(Serialize)]
    /// struct Item<'a> { name: &'a str, count: u32 }
    ///
    /// # let session = Session::new();
    /// session.insert("cart", [Item { name: "apple", count: 3 }])?;
    /// let error = session.insert("cart", "x".repeat(5000)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TooLarge); // the cart still has its apples
    /// # assert!(session.to_map()?["cart"].as_list().is_some());
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
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

    /// Removes the value under `key`. If the session has no such value, this is not a change. To
    /// get the value as well, use [`take`](Self::take).
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// session.insert("coupon", "SPRING")?;
    /// session.remove("coupon");
    /// assert!(!session.contains("coupon"));
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
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
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// session.insert("oauth_state", "x7Qk")?; // before you send the visitor to the provider
    /// // When the visitor is back:
    /// let state: Option<String> = session.take("oauth_state")?;
    /// assert_eq!(state.as_deref(), Some("x7Qk"));
    /// assert!(!session.contains("oauth_state"));
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    ///
    /// With every store, two requests that loaded the session at the same time both get the value.
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

    /// Replaces the value under `key` with the result of `change`.
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    /// assert_eq!(session.get("visits")?, Some(1));
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    ///
    /// If another clone changes the entry in between, `change` is called again with the newer
    /// value, so no clone's update is lost. `change` must not change the entry itself: if it does,
    /// with another value each time, it is called without end.
    ///
    /// Between requests, the later save wins. If two requests each add one, the total grows by one.
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
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// let link = if session.contains("user_id") { "/logout" } else { "/login" };
    /// # assert_eq!(link, "/logout");
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    #[doc(alias = "exists")]
    #[doc(alias = "has")]
    pub fn contains(&self, key: impl Key) -> bool {
        self.find(key.name()).is_some()
    }

    /// Returns the value under `key`. If the value is not a `T`, removes it and returns `None`.
    ///
    /// Use this if a type has changed between two versions of your service, and losing the old
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
    /// The value is yours once the save has succeeded, so save first, then act on the value:
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
    /// The save fails as a [conflict](crate::SaveError::is_conflict) if another request took,
    /// changed or removed the entry after this request loaded it, or if the session has ended or
    /// has a new id. If other requests change other entries, this does not matter.
    ///
    /// You can insert and remove entries after the claim: they are saved with it, and the claim
    /// still holds. An entry that this request itself has set belongs to no other request, so it is
    /// simply taken.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotClaimable`] if the session is not in a backend that can compare and write in
    /// one step:
    ///
    /// - in a cookie store, and while a server's store keeps the session in its cookie: a client
    ///   can send a cookie twice, and each copy has the entry;
    /// - with a backend that declares `Promise::Upsert`;
    /// - in a session of [`Session::new`].
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
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// session.insert("theme", "dark")?;
    /// session.insert("cart:2", "pear")?;
    /// session.insert("cart:1", "apple")?;
    ///
    /// let mut carts = session.keys();
    /// carts.retain(|key| key.starts_with("cart:"));
    /// assert_eq!(carts, ["cart:1", "cart:2"]);
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
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
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// for (key, value) in session.to_map()? {
    ///     println!("{key}: {}", value.kind()); // user_id: integer
    /// }
    /// # assert_eq!(session.to_map()?["user_id"].kind(), "integer");
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
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
    /// login. The id and the deadline stay. To end the session, use [`destroy`](Self::destroy).
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// session.insert("theme", "dark")?;
    /// session.set_subject("ada")?;
    /// session.clear();
    /// assert!(session.is_empty());
    /// assert_eq!(session.subject(), None);
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    #[doc(alias = "flush")]
    pub fn clear(&self) {
        self.change_or_report(Changes::clear);
    }
}

/// Logging in and out.
impl Session {
    /// Records that somebody has just proved who they are. Call this at every login, also when
    /// somebody enters the password again. With the next save, the session gets a new id and a new
    /// lifetime, keeps its data, and remembers the moment.
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
    /// Without the new id, somebody who planted a session in the browser would share the login.
    /// Without the new lifetime, the login would end with the visit before it. The moment takes six
    /// bytes in the session, eight characters of its cookie.
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
    ///
    /// ```
    /// # use http::HeaderMap;
    /// # use sealed_session::{AppKey, CookieStore};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// # let mut headers = HeaderMap::new();
    /// # let session = store.load(&headers);
    /// # session.insert("user_id", 42)?;
    /// # let session = store.load_from([&store.respond(&session)?.cookie_header()]);
    /// # let before = session.id();
    /// session.renew();
    /// session.insert("admin", true)?;
    /// store.save(&session, &mut headers)?;
    /// assert_ne!(session.id(), before);
    /// assert_eq!(session.get("user_id")?, Some(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "regenerate")]
    #[doc(alias = "cycle_id")]
    #[doc(alias = "cycle_key")]
    pub fn renew(&self) {
        self.change_or_report(|changes, _| changes.renew());
    }

    /// Ends the session: its data is deleted and its cookie removed. Call this at a logout. If you
    /// write to the session afterwards, you begin a new one with a new id.
    ///
    /// ```
    /// # use http::HeaderMap;
    /// # use sealed_session::{AppKey, CookieStore};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// # let mut headers = HeaderMap::new();
    /// # let session = store.load(&headers);
    /// # session.insert("user_id", 42)?;
    /// # let session = store.load_from([&store.respond(&session)?.cookie_header()]);
    /// session.destroy();
    /// store.save(&session, &mut headers)?;
    /// assert!(session.is_empty());
    /// assert!(headers["set-cookie"].to_str()?.contains("Max-Age=0"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// When somebody last proved who they are: the moment of the save after the last
    /// [`log_in`](Self::log_in). `None` before that save, and if nobody has logged in.
    #[doc(alias = "auth_time")]
    #[doc(alias = "last_login")]
    pub fn logged_in_at(&self) -> Option<SystemTime> {
        self.view(|view| Some(view.logged_in_at()?.into()))
    }

    /// Whether somebody has proved who they are during this request, or at most `age` before it:
    /// see the example of [`log_in`](Self::log_in). With a framework, the guard `RequireLogin` asks
    /// this for you.
    #[doc(alias = "max_age")]
    #[doc(alias = "password_confirmed")]
    pub fn logged_in_within(&self, age: Duration) -> bool {
        let read_at = self.inner.read_at;
        self.view(|view| {
            let since = view.logged_in_at().zip(read_at);
            view.logs_in() || since.is_some_and(|(at, read_at)| read_at.since(at) < age)
        })
    }

    /// Returns the user that [`set_subject`](Self::set_subject) has named.
    pub fn subject(&self) -> Option<String> {
        self.view(|view| {
            let subject = view.names().subject;
            (!subject.is_empty()).then(|| subject.to_owned())
        })
    }

    /// Sets whom the session belongs to, such as a user's id, in at most 255 bytes. You can then
    /// end all sessions of this user, as [`revoke_subject`](crate::RevocationList::revoke_subject)
    /// shows. An empty subject removes it.
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// # let user_id = 42;
    /// session.set_subject(user_id.to_string())?;
    /// assert_eq!(session.subject().as_deref(), Some("42"));
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if the subject is longer, or the session would no longer fit its
    /// cookie.
    pub fn set_subject(&self, subject: impl Into<String>) -> Result<(), SessionError> {
        let of: Of = (|names| &mut names.subject, |names| names.subject);
        self.set_name("the subject", of, subject.into())
    }

    /// Returns the name that [`set_label`](Self::set_label) has given the session.
    pub fn label(&self) -> Option<String> {
        self.view(|view| {
            let label = view.names().label;
            (!label.is_empty()).then(|| label.to_owned())
        })
    }

    /// Gives the session a name in at most 255 bytes, such as "Firefox on Linux", for a page that
    /// lists a visitor's sessions. An empty label removes it. It means nothing to the store.
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// session.set_subject("ada")?;
    /// session.set_label("Firefox on Linux")?; // from the User-Agent header
    /// assert_eq!(session.label().as_deref(), Some("Firefox on Linux"));
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    ///
    /// `sessions_of` of a store with a backend lists it.
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

    /// Returns the identity provider's id for this login, if [`set_sid`](Self::set_sid) has set it.
    pub fn sid(&self) -> Option<String> {
        self.view(|view| {
            let sid = view.names().sid;
            (!sid.is_empty()).then(|| sid.to_owned())
        })
    }

    /// Sets the identity provider's id for this login, in at most 255 bytes: the claim `sid` of
    /// OpenID Connect's ID token. An empty sid removes it.
    ///
    /// The provider later tells you that the login has ended (back-channel logout). You can then
    /// end the sessions with this sid, by `end_all_of_sid` of a server's store, or by
    /// [`revoke_sid`](crate::RevocationList::revoke_sid).
    ///
    /// A sid is unique for one provider. If you have several, put the issuer in front:
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// let (issuer, sid) = ("https://login.example.com", "08a5019c"); // claims of the ID token
    /// session.set_sid(format!("{issuer} {sid}"))?;
    /// assert_eq!(session.sid().as_deref(), Some("https://login.example.com 08a5019c"));
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
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
    /// Sets a message for a later request. It stays there until [`take_flash`](Self::take_flash)
    /// takes it. In this request you cannot read it. `None` removes a message that this request has
    /// set.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// # let session = store.load_from::<str>([]);
    /// // A request changes something, and answers with a redirect:
    /// session.flash("notice", "Your address is saved.")?;
    /// # let session = store.load_from([&store.respond(&session)?.cookie_header()]);
    ///
    /// // The request for the next page shows the message:
    /// let notice: Option<String> = session.take_flash("notice")?;
    /// assert_eq!(notice.as_deref(), Some("Your address is saved."));
    /// # assert_eq!(session.take_flash::<String>("notice")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Returns a message that an earlier request has set with [`flash`](Self::flash), and removes
    /// it: see the example there. Two requests at the same time can both get it.
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
    /// When the session ends: the deadline that the server enforces.
    /// [`set_expiry`](Self::set_expiry) or the store's lifetime sets it, and it is never beyond the
    /// store's `max_lifetime`. `None` until the first save sets it.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, CookieStore};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// let session = store.load_from::<str>([]);
    /// session.insert("user_id", 42)?;
    /// assert_eq!(session.expires_at(), None);
    ///
    /// store.respond(&session)?; // the lifetime is 24 hours
    /// let left = session.expires_at().ok_or("not saved")?.duration_since(SystemTime::now())?;
    /// assert!(left > Duration::from_secs(23 * 3600));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "deadline")]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.view(|view| {
            let end = view.expires_at()?;
            let latest = view.began_at().zip(self.inner.bounds.as_ref());
            let latest = latest.map(|(began_at, bounds)| began_at.plus(bounds.max_lifetime));
            Some(latest.map_or(end, |latest| end.min(latest)).into())
        })
    }

    /// Sets this session's deadline. If it has passed, the next save ends the session.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::Session;
    /// # let session = Session::new();
    /// let end_of_exam = SystemTime::now() + Duration::from_secs(90 * 60);
    /// session.set_expiry(end_of_exam)?;
    /// assert!(session.expires_at() <= Some(end_of_exam)); // in whole milliseconds
    /// # assert!(session.expires_at().is_some());
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    ///
    /// A deadline that is later than the lifetime needs a
    /// [`max_lifetime`](crate::StoreBuilder::max_lifetime). Browsers forget a cookie after 400
    /// days, so a deadline beyond that needs visits in between: see
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
        // Even if it is the present one, because a login in this request would begin another.
        changes.expires_at = Some(expires_at);
        Ok(())
    }

    /// Sets whether the browser keeps the cookie when it is closed. This does not change the
    /// deadline. The default is the cookie's
    /// [`persistent`](crate::CookieConfigBuilder::persistent).
    ///
    /// ```
    /// # use http::HeaderMap;
    /// # use sealed_session::{AppKey, CookieStore};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// # let mut headers = HeaderMap::new();
    /// # let session = store.load(&headers);
    /// # session.insert("user_id", 42)?;
    /// session.remember(false); // the box "remember me" is not ticked
    /// store.save(&session, &mut headers)?;
    /// assert!(!headers["set-cookie"].to_str()?.contains("Max-Age"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "remember_me")]
    pub fn remember(&self, remember: bool) {
        self.change_or_report(|changes, record| changes.set_transient(record, !remember));
    }

    /// When the session ends if nobody uses it: the last recorded use plus the store's idle
    /// timeout. [`expires_at`](Self::expires_at) may be earlier. `None` if the store has no idle
    /// timeout, and before the first save of a new or renewed session.
    ///
    /// If this request counts as use and its response records that, the last use is the moment at
    /// which the session was loaded. The response counts as use too, so the session may end later
    /// than the returned time, by as long as the response takes. It never ends earlier.
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

    /// Makes this request not count as use, for all clones. Call this for requests that a page
    /// sends by itself, so that they do not keep the session alive:
    /// [`idle_expires_at`](Self::idle_expires_at) has an example. If the store has an idle timeout,
    /// the response to such a request records no use. A change is still saved, and counts as use.
    /// Without an idle timeout this does nothing.
    ///
    /// With a `SessionLayer` (feature `tower`) you can mark requests before a handler asks for the
    /// session: on the layer, on a guard, or on the pending session.
    #[doc(alias = "peek")]
    #[doc(alias = "no_touch")]
    pub fn leave_idle(&self) {
        self.inner.flags.set(Flag::LeavesIdle, Flag::LeavesIdle);
    }

    /// When the session got its present id. `None` before the save that gives it one.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.view(|view| Some(view.birth()?.issued_at.into()))
    }
}

/// What happened, and what will.
impl Session {
    /// Where the session comes from, and why a cookie was refused.
    ///
    /// ```
    /// # use sealed_session::{Origin, Refusal, Session};
    /// # let session = Session::new();
    /// let greeting = match session.origin() {
    ///     Origin::Refused(Refusal::Expired | Refusal::Idle) => "Please log in again.",
    ///     _ => "Welcome!",
    /// };
    /// # assert_eq!(greeting, "Welcome!");
    /// ```
    pub fn origin(&self) -> Origin {
        self.inner.origin
    }

    /// What a save has to do for this session.
    ///
    /// ```
    /// # use sealed_session::{Session, Status};
    /// let session = Session::new();
    /// assert_eq!(session.status(), Status::Unmodified); // a save sends no cookie
    /// session.insert("theme", "dark")?;
    /// assert_eq!(session.status(), Status::Modified);
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    #[doc(alias = "modified")]
    #[doc(alias = "has_changed")]
    pub fn status(&self) -> Status {
        self.lock(|changes, record| View::new(record, changes).status())
    }

    /// Whether the session is new: this is the visitor's first request, or the first one after a
    /// session has ended, so no cookie was opened for it.
    pub fn is_new(&self) -> bool {
        self.view(|view| view.base().is_none())
    }

    /// Whether a layer has saved the session already, so that changes come too late.
    pub fn is_closed(&self) -> bool {
        self.inner.flags.has(Flag::Closed)
    }

    /// The session's id. `None` before the first save.
    pub fn id(&self) -> Option<SessionId> {
        self.view(|view| Some(view.birth()?.id))
    }
}

/// Sessions outside of requests, and from another store.
impl Session {
    /// A new session outside of any request, for testing handlers. Any store can save it. Its size
    /// is checked as for the default cookie.
    ///
    /// ```
    /// use sealed_session::{Session, SessionError};
    ///
    /// fn choose_theme(session: &Session, theme: &str) -> Result<(), SessionError> {
    ///     session.insert("theme", theme)
    /// }
    ///
    /// let session = Session::new();
    /// choose_theme(&session, "dark")?;
    /// assert_eq!(session.get("theme")?, Some("dark".to_owned()));
    /// # Ok::<(), SessionError>(())
    /// ```
    ///
    /// To call a route behind a layer, see [`guide::testing`](crate::guide::testing).
    pub fn new() -> Self {
        Self::fresh(Origin::Absent, None, None)
    }

    /// Copies all values and flashes of `other` into this session. This session keeps its own id,
    /// deadline, login and names. Use it if a session was lost on the way through another site and
    /// then found again: docs/recipes.md shows how.
    ///
    /// ```
    /// # use sealed_session::Session;
    /// # let (session, found) = (Session::new(), Session::new());
    /// session.insert("user_id", 42)?;
    /// found.insert("cart", ["apple"])?;
    ///
    /// session.merge(&found)?;
    /// assert_eq!(session.keys(), ["cart", "user_id"]);
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if they do not all fit. Then none is copied.
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

    /// Makes this session continue `other`, which another store has loaded. Use it to change what a
    /// store cannot change under its sessions, such as the name of the cookie: docs/recipes.md
    /// shows how.
    ///
    /// This session gets all values and flashes, the subject, label and sid that the other has, and
    /// what [`remember`](Self::remember) said. If this session is new, it also gets the deadline
    /// and the moment of the last login. Only the id is its own. The other session stays as it is.
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
    /// [`ErrorKind::TooLarge`] if it does not all fit. Then nothing is taken over.
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
        let changes = past.map(|past| Box::new(Changes::after(past)));
        Self::with(origin, None, changes, read_at, bounds)
    }

    pub(crate) fn opened(loaded: Loaded, read_at: Millis, bounds: Bounds) -> Self {
        let (read_at, bounds) = (Some(read_at), Some(bounds));
        Self::with(Origin::Opened, Some(loaded), None, read_at, bounds)
    }

    #[inline]
    fn with(
        origin: Origin,
        first: Option<Loaded>,
        changes: Option<Box<Changes>>,
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
