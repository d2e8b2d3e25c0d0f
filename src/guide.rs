//! How to use this crate, a page for each question.
//!
//! - [`login`]: log somebody in and out, and protect a route.
//! - [`stores`]: where sessions live, and when you need more than a cookie.
//! - [`rotation`]: where keys come from, how to change them, and what to do if one leaks.
//! - [`testing`]: call a route as somebody who has logged in.
//! - [`deployment`]: what to set before real visitors come, and what to watch.
//!
//! The module of each framework begins with a program: see
//! [`frameworks`](../frameworks/index.html).

/// Log somebody in and out, and protect a route.
///
/// ```
/// use sealed_session::{Session, SessionError};
///
/// fn log_in(session: &Session, user_id: u64) -> Result<(), SessionError> {
///     session.log_in()?; // a new id and a new lifetime
///     session.set_subject(user_id.to_string())?; // so that you can end all of a user's sessions
///     session.insert("user_id", user_id)
/// }
///
/// fn become_admin(session: &Session) -> Result<(), SessionError> {
///     session.renew(); // a new id, the same deadline
///     session.insert("admin", true)
/// }
///
/// fn log_out(session: &Session) {
///     session.destroy();
/// }
/// # let session = Session::new();
/// # log_in(&session, 42)?;
/// # become_admin(&session)?;
/// # log_out(&session);
/// # assert!(session.is_empty());
/// # Ok::<(), SessionError>(())
/// ```
///
/// docs/recipes.md in the repository has a whole login, with a form and a password.
///
/// Call [`log_in`](crate::Session::log_in) at every login. It gives the session a new id, so that
/// an id which somebody planted in the browser before the login is worth nothing afterwards
/// (session fixation). Call [`renew`](crate::Session::renew) when somebody's rights change, and
/// [`destroy`](crate::Session::destroy) at a logout.
///
/// # A page behind a login
///
/// With the feature `tower`, a guard refuses requests before your handler runs:
///
/// ```
/// # #[cfg(feature = "tower")] {
/// use std::time::Duration;
/// use sealed_session::frameworks::tower::{RequireField, RequireLogin};
///
/// let members = RequireField::new("user_id"); // 401 unless the session has this entry
/// let payment = RequireLogin::within(Duration::from_secs(10 * 60)); // 401 if the login is older
/// # let (_, _) = (members, payment);
/// # }
/// ```
///
/// `or_answer` replaces the 401, with a redirect to your login page for example. Without a layer,
/// ask the session: `session.contains("user_id")`.
///
/// # Stay logged in
///
/// Lifetimes belong to the store: see [`lifetime`](crate::StoreBuilder::lifetime) (24 hours unless
/// you set it) and [`idle_timeout`](crate::StoreBuilder::idle_timeout). For a box "remember me",
/// call [`remember`](crate::Session::remember): `false` makes a cookie that the browser forgets
/// when it is closed.
pub mod login {}

/// Where sessions live, and when you need more than a cookie.
///
/// | you want | use |
/// |---|---|
/// | nothing to run | [`CookieStore`](crate::CookieStore) |
/// | that a logout also ends copies of the cookie | a [`RevocationList`](crate::RevocationList), which a restart empties; in a fleet, or to outlast a restart, `RevocableCookieStore` with Redis |
/// | more than about 2,900 bytes, or a list of who is logged in | `RedisStore`, `FileStore`, `MemoryStore`, or your own `server::Backend` |
/// | a database that has a store for tower-sessions | `server::TowerSessions` |
///
/// A handler takes the same [`Session`](crate::Session) from all of them. Stores with a backend
/// wait for it, so you await `load` and `save`. With a layer, you see no difference.
///
/// To move a running service from cookies to a backend, make the store with
/// [`adopt_cookies`](../../struct.StoreBuilder.html#method.adopt_cookies): sessions that are still in cookies open,
/// and move at their next change. With [`small_in_cookie`](../../struct.StoreBuilder.html#method.small_in_cookie),
/// only those that outgrow their cookie go to the backend.
pub mod stores {}

/// Where keys come from, how to change them, and what to do if one leaks.
///
/// The feature `managed-keys` has keys that look after themselves. They are in a file that is made
/// at the first start, and a new one takes over every 90 days:
///
/// ```no_run
/// # #[cfg(all(feature = "managed-keys", unix))]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sealed_session::{CookieStore, ManagedKeys};
///
/// let store = CookieStore::new(ManagedKeys::file("session.keys")?);
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "managed-keys", unix)))]
/// # fn main() {}
/// ```
///
/// Or you keep a key in a variable: [`KeyRing::from_env`](crate::KeyRing::from_env) reads `APP_KEY`
/// for the key that seals, and `APP_PREVIOUS_KEYS` for keys that only open.
///
/// # Change a key that is in a variable
///
/// 1. **Accept** the new key on all servers: `APP_KEY=<old> APP_PREVIOUS_KEYS=<new>`.
/// 2. **Seal** with it on all servers: `APP_KEY=<new> APP_PREVIOUS_KEYS=<old>`.
/// 3. **Drop** the old key when your longest lifetime has passed: `APP_KEY=<new>`.
///
/// Nobody is logged out: every server can open every cookie at any time, and each session is sealed
/// again with the next response whose handler asks for it.
/// [`replace_keys`](crate::CookieStore::replace_keys) does the same while your program runs:
///
/// ```
/// use sealed_session::{AppKey, CookieStore, KeyRing};
///
/// # let old = AppKey::generate()?;
/// let store = CookieStore::new(old.clone());
/// # let session = store.load_from::<str>([]);
/// # session.insert("user_id", 42)?;
/// # let cookie = store.respond(&session)?.cookie_header();
/// let new = AppKey::generate()?;
/// store.replace_keys(KeyRing::new(new).accept(old)?);
/// # assert!(store.load_from([&cookie]).contains("user_id"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # If a key leaks
///
/// Whoever has a key can forge every session, so rotating is not enough. Set a new `APP_KEY` and no
/// previous keys, or run the command `sealed-session keys --file session.keys revoke ID` if the keys
/// are managed. Everybody has to log in again, thieves included.
pub mod rotation {}

/// Call a route as somebody who has logged in.
///
/// A handler that is a function takes [`Session::new`](crate::Session::new). For a route behind a
/// layer, let the store write the cookie that the browser would send:
///
/// ```
/// use sealed_session::{AppKey, CookieStore, Session};
///
/// let store = CookieStore::new(AppKey::generate()?); // your application gets a clone
/// let session = Session::new();
/// session.insert("user_id", 42)?;
/// let cookie = store.respond(&session)?.cookie_header();
///
/// let request = http::Request::builder().uri("/profile").header("cookie", cookie).body(())?;
/// # assert!(store.load(request.headers()).contains("user_id"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To test deadlines, give the store a clock of your own instead of waiting:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use std::time::{Duration, SystemTime};
/// use sealed_session::{AppKey, CookieStore, Origin, Refusal};
///
/// static AHEAD: AtomicU64 = AtomicU64::new(0); // seconds
/// let store = CookieStore::builder(AppKey::generate()?)
///     .lifetime(Duration::from_secs(3600))
///     .clock(|| SystemTime::now() + Duration::from_secs(AHEAD.load(Relaxed)))
///     .build()?;
/// let session = store.load_from::<str>([]);
/// session.insert("user_id", 42)?;
/// let cookie = store.respond(&session)?.cookie_header();
///
/// AHEAD.store(3601, Relaxed);
/// assert_eq!(store.load_from([&cookie]).origin(), Origin::Refused(Refusal::Expired));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub mod testing {}

/// What to set before real visitors come, and what to watch.
///
/// - **https.** The cookie is `Secure`, so browsers send it over https only. If a proxy ends TLS,
///   nothing changes for you.
/// - **Keys.** Every server needs the same keys, from a place that survives a deploy: see
///   [`rotation`]. Without the old key, everybody has to log in again.
/// - **Clocks.** Servers may differ by a minute. A server whose clock is further off refuses
///   sessions of the others.
/// - **Lifetimes.** Shorten them where much is at stake: see
///   [`lifetime`](crate::StoreBuilder::lifetime) and
///   [`idle_timeout`](crate::StoreBuilder::idle_timeout).
/// - **Caches.** A response whose handler had a visitor's session is marked `private` and varies by
///   `Cookie`. Make sure that your CDN obeys both.
/// - **Cross-site requests.** `SameSite=Lax` does not stop all of them. docs/recipes.md says what is
///   left, and protects forms with a token.
///
/// # See what goes wrong
///
/// A store reports an [`Event`](crate::Event) for everything worth counting:
///
/// ```
/// use sealed_session::{AppKey, CookieStore};
///
/// let store = CookieStore::builder(AppKey::generate()?)
///     .on_event(|event| eprintln!("session: {}", event.as_str()))
///     .build()?;
/// # let _ = store.load_from(["__Host-session=forged"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With the feature `tracing`, events go to that crate as well. `as_str` is one of a fixed set
/// of names, so it can be the label of a counter. A few refusals are normal: old
/// cookies, crawlers, curious people. Look closer if many begin at the moment of a deploy: a server
/// may lack a key. If your layer answers 500, the feature
/// `tracing` or your `on_error` says why; in the repository, docs/errors.md lists all errors.
pub mod deployment {}
