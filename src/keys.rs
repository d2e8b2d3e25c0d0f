//! App keys that look after themselves: a ring of keys with a schedule, in a key store that every
//! process of a fleet follows.
//!
//! Each process has a [`ManagedKeys`], and passes it to its stores and sealers. A [`KeyStore`] keeps
//! the ring: [`KeyFile`], `KeyRedis`, or one of your own.
//!
//! ```text
//! KeyStore ──root key──▶ text ──▶ Ring ──union with what is known──▶ Ring
//! Ring ──schedule──▶ what is due ──root key──▶ compare and set
//! Ring ──schedule──▶ the keys of this moment ──▶ stores and sealers
//! ```

#[cfg(feature = "server")]
mod asking;
mod builder;
mod change;
#[cfg(feature = "conformance")]
pub mod conformance;
mod event;
#[cfg(unix)]
mod file;
mod hands;
mod managed;
mod poll;
mod present;
mod process;
#[cfg(feature = "redis")]
mod redis;
mod ring;
mod schedule;
mod signals;
mod store;
mod text;
mod worker;

#[cfg(feature = "redis")]
pub use self::redis::KeyRedis;
pub use builder::ManagedKeysBuilder;
pub use event::KeyEvent;
#[cfg(unix)]
pub use file::KeyFile;
pub use hands::{Allowed, KeyInfo, KeyState, Revocation};
pub use managed::ManagedKeys;
pub use store::{KeyStore, KeyStoreError, KeyStoreErrorKind, MAX_STORED};
pub use zeroize::Zeroizing;

#[cfg(test)]
mod tests;
