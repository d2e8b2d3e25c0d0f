//! HTTP sessions whose whole state travels in one encrypted cookie: no database, any framework,
//! key rotation without logging anyone out.
//!
//! ```
//! use sealed_session::{AppKey, CookieStore, KeyRing};
//!
//! # let request = http::Request::new(());
//! # let mut response = http::Response::new(());
//! # let ring = || AppKey::generate().map(KeyRing::new);
//! let store = CookieStore::new(ring()?); // in a service: KeyRing::from_env()?
//!
//! let session = store.load(request.headers());
//! session.insert("user_id", 42)?;
//! let id: Option<u64> = session.get("user_id")?;
//! store.save(&session, response.headers_mut())?; // writes a Set-Cookie only if one is due
//! # assert_eq!(id, Some(42));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`CookieStore`] loads sessions and saves them; its builder has the lifetimes.
//! - [`Session`] holds the values, and says where it comes from and what a save has to do.
//! - [`KeyRing`] has the [`AppKey`] that seals and those that only open; exchange them while
//!   requests run with [`CookieStore::replace_keys`].
//! - [`CookieConfig`] is the cookie's name and attributes.
//! - [`RevocationList`] ends single sessions, all of a user's, or a copy after logout.
//! - [`Sealer`] seals what is no session: invitations, password resets.
//!
//! The README tells what keeping nothing on the server costs: replay until the deadline, no end
//! for a single session, and the last response wins.
//!
//! # The data's way
//!
//! ```text
//! Cookie header ──cookie──▶ tokens ──envelope──▶ bytes ──record──▶ record ──policy──▶ Session
//! Session ──policy──▶ what is due ──record──▶ bytes ──envelope──▶ token ──cookie──▶ Set-Cookie
//! ```
//!
//! Each arrow is a module of that name. `flow` is the way itself, without any I/O; a store such as
//! [`CookieStore`] adds the keys and the time.
//!
//! # Features
//!
//! All are off by default.
//!
//! - `settings`: `Settings` and `CookieStore::from_env`, from `SESSION_*` variables or any serde
//!   format (docs/settings.md lists them); with `server`, `AnyStore`, whichever store `SESSION_DRIVER` names.
//! - `cli`: the command `sealed-session`; the library's API stays the same.
//! - `tower`: `SessionLayer`, which loads when asked and saves by itself, and guards, for whatever
//!   speaks tower.
//! - `axum`, `actix-web`: the layer and extractors for these frameworks.
//! - `server`: `server::ServerStore`, for sessions that live in a backend behind their cookies,
//!   the trait for backends, and one in memory.
//! - `conformance`: `server::conformance`, which checks what a backend of one's own promises.
//! - `file`: `FileStore`, for sessions in a directory, on Unix; elsewhere the feature adds nothing.
//! - `redis`: `RedisStore`, sessions in Redis: a single server, under Sentinel or a cluster.
//!   `RevocableCookieStore`, sessions in cookies that end across a fleet.
//! - `tower-sessions`: `server::TowerSessions`, over any database that has a store for
//!   tower-sessions.
//! - `managed-keys`: `ManagedKeys`, app keys that look after themselves, in a file, in Redis or
//!   wherever you like.
//! - `tracing`: an event of that crate for each thing worth noticing.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod caching;
mod cookie;
mod env;
mod envelope;
mod error;
mod event;
#[cfg(feature = "redis")]
mod fleet;
mod flow;
#[cfg(feature = "tower")]
pub mod frameworks;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
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

pub use cookie::{CookieConfig, CookieConfigBuilder, SameSite};
pub use envelope::{AppKey, KeyError, KeyId, KeyRing, Keys, Plaintext, Sealer, Token};
#[cfg(any(feature = "tower", feature = "server"))]
pub use error::LoadError;
pub use error::{
    ConfigError, ErrorKind, OpenError, Origin, RandomError, Refusal, SaveError, SealError,
    SessionError,
};
pub use event::Event;
#[cfg(feature = "redis")]
pub use fleet::{InFleet, RevocableCookieStore};
pub use flow::{HeaderChange, InCookie, Outgoing};
#[cfg(feature = "tower")]
pub use frameworks::tower::{PendingSession, SessionLayer, SessionOf};
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

/// The examples of the README, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The example of the page on settings.
#[cfg(all(doctest, feature = "settings"))]
#[doc = include_str!("../docs/settings.md")]
struct SettingsPage;
