//! HTTP sessions in one encrypted cookie: no database, any framework, and key rotation without
//! logging anyone out.
//!
//! With a framework, start at its module, where a layer loads and saves for you:
//! [`axum`](frameworks/axum/index.html), [`actix`](frameworks/actix/index.html),
//! [`rocket`](frameworks/rocket/index.html), [`poem3`](frameworks/poem3/index.html),
//! [`salvo1`](frameworks/salvo1/index.html), [`tower`](frameworks/tower/index.html). The [`guide`]
//! answers the questions that come next: login and logout, stores, keys, testing, deployment.
//! Without a framework, this is all (`cargo add http` gives you the headers):
//!
//! ```
//! use http::{Request, Response};
//! use sealed_session::{AppKey, CookieStore};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // In a service, the key comes from a file or a variable: see `guide::rotation`.
//!     let store = CookieStore::new(AppKey::generate()?);
//!     let request = Request::new(());
//!     let mut response = Response::new(());
//!
//!     let session = store.load(request.headers());
//!     session.insert("user_id", 42)?;
//!     let id: Option<u64> = session.get("user_id")?;
//!     store.save(&session, response.headers_mut())?; // a Set-Cookie, only if one is due
//!
//!     println!("{id:?} {:?}", response.headers());
//! #   assert_eq!(id, Some(42));
//!     Ok(())
//! }
//! ```
//!
//! - [`CookieStore`] loads and saves sessions. Its builder sets the lifetimes.
//! - [`Session`] holds the values. It also says where the session came from and what a save will
//!   do.
//! - [`KeyRing`] holds the [`AppKey`] that seals and any others that only open. You can replace the
//!   keys while requests run, with [`CookieStore::replace_keys`].
//! - [`CookieConfig`] sets the cookie's name and attributes. [`HostStores`] sets them by host.
//! - [`RevocationList`] ends one session, all sessions of a user, or copies of a cookie after
//!   logout.
//! - [`Sealer`] seals other tokens: invitations, password resets.
//!
//! Keeping nothing on the server has a price: a copied cookie works until its deadline, you cannot
//! end a single session without a list, and the last response wins. In the repository,
//! docs/limits.md has the details, and docs/recipes.md has recipes: payment pages, CSRF tokens,
//! WebSockets, a new name for the cookie, metrics and others.
//!
//! # What happens to a request
//!
//! 1. The store finds its token in the `Cookie` header, under the cookie's name.
//! 2. It picks the key that the token names, checks the mac, and decrypts.
//! 3. It checks the deadlines. If all is well, you get the [`Session`] with its values. Otherwise
//!    you get an empty one, and [`Session::origin`] says why.
//! 4. Your code reads and changes the session.
//! 5. If the session has changed, the store seals it under the ring's first key, and sets the cookie
//!    in the response. If it was only read, the response gets no cookie, unless a new one is due:
//!    for the idle timeout, or because another key seals now.
//!
//! # Errors
//!
//! To see why a release build answered 500, set up a `tracing` subscriber (feature `tracing`) or log
//! the failure in `SessionLayer::on_error`. In debug builds, the answer's body and standard error say
//! why. docs/errors.md lists every error, when it happens and what to do.
//!
//! # Features
//!
//! All are off by default.
//!
//! - `settings`: `Settings` and `CookieStore::from_env` read `SESSION_*` variables or any serde
//!   format; docs/settings.md lists the settings. With `server`, you also get `AnyStore`, which is
//!   the store that `SESSION_DRIVER` names.
//! - `cli`: the command `sealed-session`. The library's API stays the same.
//! - `tower`: `SessionLayer` and guards, for every framework that uses tower. The layer loads a
//!   session when a handler asks for it, and saves it by itself.
//! - `axum`, `actix-web`, `rocket`, `poem`, `salvo`: the layer and extractors for these frameworks.
//! - `aide`: handlers that aide documents can take a session.
//! - `server`: `server::ServerStore` keeps sessions in a backend, and the browser gets a cookie
//!   that names them. The trait for backends and a backend in memory are included.
//! - `conformance`: `server::conformance` checks that your own backend does what the trait
//!   promises.
//! - `file`: `FileStore` keeps sessions in a directory, on Unix. On other systems the feature adds
//!   nothing.
//! - `redis`: `RedisStore` keeps sessions in Redis: a single server, Sentinel or a cluster.
//!   `RevocableCookieStore` keeps sessions in cookies and can end them across a fleet.
//! - `tower-sessions`: `server::TowerSessions` uses any database that has a store for
//!   tower-sessions. With `tower`, `TowerSessionsLayer` is for handlers and libraries that take the
//!   session of tower-sessions.
//! - `managed-keys`: `ManagedKeys` are app keys that look after themselves, in a file, in Redis or in
//!   a store of your own.
//! - `device-bound`: sessions bound to the device that logged in, in browsers that take part
//!   (experimental). `DeviceBound` switches it on; docs/device-bound.md has the rest.
//! - `aws-lc-rs`, `fips`: encryption by aws-lc-rs, for large sessions or for FIPS; docs/aws-lc-rs.md
//!   says what they cost. They need a C compiler.
//! - `tracing`: each [`Event`] also goes to the crate `tracing`.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "device-bound")]
mod binding;
mod caching;
mod cookie;
#[cfg(feature = "device-bound")]
mod device;
mod env;
mod envelope;
mod error;
#[cfg(all(test, feature = "managed-keys", feature = "server", feature = "tower"))]
mod errors_page;
mod event;
#[cfg(feature = "redis")]
mod fleet;
mod flow;
#[cfg(feature = "tower")]
pub mod frameworks;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(any(doc, doctest))]
pub mod guide;
mod hosts;
#[cfg(feature = "managed-keys")]
pub mod keys;
mod limit;
#[cfg(all(test, any(feature = "server", feature = "tower")))]
#[expect(clippy::panic, reason = "a test's way to fail")]
#[path = "../tests/support/now.rs"]
mod now;
mod policy;
mod reader;
mod record;
mod revocation;
#[cfg(feature = "server")]
pub mod server;
mod session;
#[cfg(feature = "settings")]
mod settings;
mod store;
mod time;
mod transport;
mod value;
#[cfg(test)]
mod vectors;

#[cfg(feature = "device-bound")]
pub use binding::{DeviceBound, DeviceStage};
pub use cookie::{CookieConfig, CookieConfigBuilder, SameSite};
#[cfg(feature = "device-bound")]
pub use device::DeviceAnswer;
pub use envelope::{AppKey, KeyError, KeyId, KeyRing, Keys, Plaintext, Sealer, Token};
#[cfg(any(feature = "tower", feature = "server"))]
pub use error::LoadError;
pub use error::{
    ConfigError, ErrorKind, HostError, OpenError, Origin, RandomError, Refusal, SaveError,
    SealError, SessionError,
};
pub use event::{DeviceRefusal, DeviceSkip, Event};
#[cfg(feature = "redis")]
pub use fleet::{InFleet, RevocableCookieStore};
pub use flow::{HeaderChange, InCookie, Outgoing, SiteData};
#[cfg(feature = "tower")]
pub use frameworks::tower::{PendingSession, SessionLayer, SessionOf};
#[cfg(all(feature = "tower", feature = "tower-sessions"))]
pub use frameworks::tower_sessions::TowerSessionsLayer;
pub use hosts::{HasCookie, HostStores};
#[cfg(feature = "managed-keys")]
pub use keys::ManagedKeys;
pub use record::SessionId;
pub use revocation::RevocationList;
#[cfg(all(feature = "file", unix))]
pub use server::FileStore;
#[cfg(feature = "server")]
pub use server::MemoryStore;
#[cfg(feature = "redis")]
pub use server::RedisStore;
pub use session::{Field, Key, KeyOf, Session, Status, TypedSession};
#[cfg(all(feature = "server", feature = "settings"))]
pub use settings::{AnyStore, Chosen};
#[cfg(feature = "settings")]
pub use settings::{Driver, RedisUrl, Settings};
pub use store::{CookieStore, CookieStoreBuilder, StoreBuilder};
pub use transport::Transport;
pub use value::Value;

/// The examples for hyper and other servers, compiled and run as tests.
#[cfg(all(doctest, feature = "managed-keys"))]
#[doc = include_str!("../docs/hyper.md")]
struct HyperPage;

/// The examples of the page on device-bound sessions.
#[cfg(all(doctest, feature = "device-bound", feature = "tower"))]
#[doc = include_str!("../docs/device-bound.md")]
struct DeviceBoundPage;

/// The recipes of the page on keys.
#[cfg(all(doctest, feature = "managed-keys", feature = "redis"))]
#[doc = include_str!("../docs/keys.md")]
struct KeysPage;

/// The example of the page on errors.
#[cfg(all(doctest, feature = "tower"))]
#[doc = include_str!("../docs/errors.md")]
struct ErrorsPage;

/// The example of the page on settings.
#[cfg(all(
    doctest,
    feature = "settings",
    feature = "managed-keys",
    feature = "redis"
))]
#[doc = include_str!("../docs/settings.md")]
struct SettingsPage;
