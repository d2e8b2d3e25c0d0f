//! Sessions that live in a backend. Your handlers use the same [`Session`] as with a cookie store.
//! Only two things change: you make another store, and you await loading and saving.
//!
//! ```
//! # use sealed_session::AppKey;
//! use sealed_session::server::{Memory, ServerStore};
//!
//! # pollster::block_on(async {
//! # let (request, mut response) = (http::Request::new(()), http::Response::new(()));
//! let store = ServerStore::new(AppKey::generate()?, Memory::new());
//!
//! let session = store.load(request.headers()).await?;
//! session.insert("user_id", 42)?;
//! store.save(&session, response.headers_mut()).await?;
//! assert!(response.headers().contains_key("set-cookie"));
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! The cookie holds a sealed stub: the session's id and times, and nothing else. The backend gets
//! the sealed record under a hash of the id. Someone who can read the backend can neither log in
//! nor see anyone's data. Someone who can write to it can neither forge a session nor swap two.

mod backend;
mod builder;
mod cleaner;
#[cfg(feature = "conformance")]
pub mod conformance;
mod ending;
#[cfg(all(feature = "file", unix))]
mod file;
mod listing;
mod memory;
mod placement;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod saving;
#[cfg(feature = "tower-sessions")]
mod tower_sessions;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName};

#[cfg(feature = "redis")]
pub use self::redis::Redis;
pub use crate::error::{BackendError, BackendErrorKind};
pub use crate::session::Version;
pub use backend::{Backend, Cursor, Entry, Outcome, Promise, StoreKey, Stored, Tag, Value, When};
#[cfg(all(feature = "file", unix))]
pub use file::{File, FileBuilder};
pub use listing::SessionInfo;
pub use memory::{Memory, MemoryBuilder};
#[cfg(feature = "tower-sessions")]
pub use tower_sessions::TowerSessions;

pub use builder::Behind;

use crate::envelope::{KeyRing, TakesKeys, in_turn};
use crate::error::{LoadError, LoadErrorKind, Refusal, SaveError};
use crate::event::{Event, Events};
#[cfg(feature = "tower")]
use crate::flow::Outgoing;
use crate::flow::{Asked, Opened};
use crate::session::Session;
use crate::store::StoreCore;
use crate::transport::Transport;
use placement::{Fetch, InBackend};

/// A store for sessions whose values are in a [`Backend`].
///
/// Cloning is cheap, and clones share the keys and the backend. The store's futures run on any
/// runtime; a backend's may need a certain one.
///
/// The [module](self) and [`MemoryStore`] show how to load and save, and [`Backend`] how to write a
/// backend of your own.
pub struct ServerStore<B> {
    inner: Arc<Inner<B>>,
}

/// A store for sessions in this process's memory: see [`Memory`].
///
/// ```
/// # pollster::block_on(async {
/// # use sealed_session::{AppKey, MemoryStore};
/// use sealed_session::server::Memory;
///
/// let store = MemoryStore::new(AppKey::generate()?, Memory::new());
/// let session = store.load_from::<str>([]).await?;
/// session.insert("user_id", 42)?;
/// let cookie = store.respond(&session).await?.cookie_header();
///
/// assert!(store.load_from([&cookie]).await?.contains("user_id"));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub type MemoryStore = ServerStore<Memory>;

/// A store for sessions in a directory of this machine: see [`File`].
///
/// ```
/// # pollster::block_on(async {
/// # use sealed_session::{AppKey, FileStore, server::File};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("sessions");
/// # let key = AppKey::generate()?;
/// let store = FileStore::new(key.clone(), File::open(&path)?);
/// # let session = store.load_from::<str>([]).await?;
/// session.insert("user_id", 42)?;
/// let cookie = store.respond(&session).await?.cookie_header();
/// drop(store); // the process ends
///
/// let store = FileStore::new(key, File::open(&path)?);
/// assert!(store.load_from([&cookie]).await?.contains("user_id"));
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[cfg(all(feature = "file", unix))]
pub type FileStore = ServerStore<File>;

/// A store for sessions in Redis, shared by any number of processes: see [`Redis`].
///
/// ```no_run
/// use std::time::Duration;
/// use sealed_session::server::Redis;
/// use sealed_session::{KeyRing, RedisStore};
///
/// let redis = Redis::open("redis://127.0.0.1:6379")?;
/// let store = RedisStore::builder(KeyRing::from_env()?, redis)
///     .idle_timeout(Duration::from_secs(30 * 60))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "redis")]
pub type RedisStore = ServerStore<Redis>;

struct Inner<B> {
    core: StoreCore<InBackend>,
    backend: B,
    empty_if_unavailable: bool,
}

impl<B: Send + Sync> TakesKeys for Inner<B> {
    fn take_keys(&self, ring: &KeyRing) {
        let _turn = in_turn();
        self.core.flow.replace_keys(ring);
    }
}

impl<B: Backend> ServerStore<B> {
    /// Returns a request's session. If the cookie is absent, junk or expired, or its session has
    /// ended, you get a new, empty session; [`Session::origin`] says why.
    ///
    /// # Errors
    ///
    /// If the backend fails, unless the store was built with
    /// [`empty_if_unavailable`](crate::StoreBuilder::empty_if_unavailable).
    pub async fn load(&self, headers: &HeaderMap) -> Result<Session, LoadError> {
        let opened = self.open(
            &mut headers
                .get_all(self.request_header())
                .iter()
                .map(AsRef::as_ref),
        );
        self.finish(opened).await
    }

    /// Returns a request's session, from the values of its Cookie fields as text or bytes. If the
    /// store has another [`Transport`] than a cookie, pass the values of its
    /// [`request_header`](Self::request_header).
    ///
    /// # Errors
    ///
    /// The same as [`load`](Self::load).
    pub async fn load_from<'a, C: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'a C>,
    ) -> Result<Session, LoadError> {
        let opened = self.open(&mut cookie_fields.into_iter().map(AsRef::as_ref));
        self.finish(opened).await
    }

    pub(crate) fn open(
        &self,
        fields: &mut dyn Iterator<Item = &[u8]>,
    ) -> Opened<Session, Asked<Fetch>> {
        let core = &self.inner.core;
        core.flow.open(fields, core.now())
    }

    pub(crate) async fn finish(
        &self,
        opened: Opened<Session, Asked<Fetch>>,
    ) -> Result<Session, LoadError> {
        let core = &self.inner.core;
        let session = match opened {
            Opened::Ready(session) => session,
            Opened::Fetch(asked) => {
                let fetch = &asked.fetch;
                let found = self.inner.backend.load(&fetch.key).await;
                let now = core.now();
                let (placement, policy) = (&core.flow.placement, &core.flow.policy);
                let loaded = match found {
                    Ok(stored) => {
                        let stored = stored.as_ref();
                        let fetched = placement.fetched(fetch, stored, now, policy);
                        fetched.map_err(|refusal| {
                            (refusal, placement.past(fetch, stored, refusal, now))
                        })
                    }
                    Err(error) if self.inner.empty_if_unavailable => {
                        self.events().report(Event::BackendFailed, Some(&error));
                        Err((Refusal::Unavailable, None))
                    }
                    Err(error) => return Err(LoadError(LoadErrorKind::Backend(error))),
                };
                match loaded {
                    Ok(loaded) => core.flow.proven(loaded, asked.proof.as_ref(), now),
                    Err((refusal, past)) => core.flow.refused(refusal, past, now),
                }
            }
        };
        core.report_origin(&session);
        Ok(session)
    }

    /// The request header that holds the session: `cookie`, unless the store has another
    /// [`Transport`].
    pub fn request_header(&self) -> HeaderName {
        self.inner.core.flow.transport.request_header()
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.inner.core.flow.transport
    }

    /// Writes a changed session to the backend, and the headers that the session needs into the
    /// response.
    ///
    /// If another request saves the same session between this request's load and its save, this
    /// request's changes are applied to the newer record. If both changed the same key, the later
    /// save wins. If the session has ended in between, it stays ended and the changes are lost. The
    /// cookie is then left alone, because the browser may have another one by now.
    ///
    /// # Errors
    ///
    /// If the backend or the random source fails, or another store loaded the session. On an error,
    /// the headers stay unchanged.
    ///
    /// The error is a [conflict](SaveError::is_conflict) in three cases:
    ///
    /// - This request changed the session, and another one gave it a new id: meanwhile, or a moment
    ///   before this one came with the old cookie.
    /// - Another request got an entry that this one has [claimed](Session::claim).
    /// - So many requests save the session that this one never succeeds.
    pub async fn save(&self, session: &Session, headers: &mut HeaderMap) -> Result<(), SaveError> {
        self.respond(session).await?.apply_once(headers);
        Ok(())
    }

    /// Replaces the keys of this store and all its clones, while requests run:
    /// [`guide::rotation`](crate::guide::rotation) says in which order.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        self.inner.take_keys(&ring.into());
    }

    /// Refuses sessions issued before `not_before`, for this store and all its clones, while
    /// requests run. Use it to end all sessions of a server at once: with the present time,
    /// everybody has to log in again.
    pub fn set_not_before(&self, not_before: SystemTime) {
        self.inner
            .core
            .flow
            .policy
            .set_not_before(not_before.into());
    }

    /// The backend, for its own methods.
    /// ```
    /// # use sealed_session::{AppKey, MemoryStore, server::Memory};
    /// let store = MemoryStore::new(AppKey::generate()?, Memory::new());
    /// assert_eq!(store.backend().len(), 0); // a method of `Memory`
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backend(&self) -> &B {
        &self.inner.backend
    }

    /// The headers for a response whose session was handed out and not saved.
    #[cfg(feature = "tower")]
    pub(crate) fn handed_out(&self, session: &Session) -> Outgoing {
        self.inner.core.flow.handed_out(session)
    }

    #[cfg(feature = "device-bound")]
    pub(crate) fn core(&self) -> &StoreCore<InBackend> {
        &self.inner.core
    }

    pub(crate) fn events(&self) -> &Events {
        self.inner.core.events()
    }
}

impl<B> Clone for ServerStore<B> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for ServerStore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerStore")
            .field("flow", &self.inner.core.flow)
            .field("backend", &self.inner.backend)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
