//! Sessions that live in a backend, with the same [`Session`] in the handler: what changes is
//! the line where the store is made, and that loading and saving are awaited.
//!
//! ```
//! # use sealed_session::AppKey;
//! use sealed_session::server::{Memory, ServerStore};
//!
//! # async fn handler(request: http::Request<()>, mut response: http::Response<()>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let store = ServerStore::new(AppKey::generate()?, Memory::new());
//!
//! let session = store.load(request.headers()).await?;
//! session.insert("user_id", 42)?;
//! store.save(&session, response.headers_mut()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The cookie holds a sealed stub: the session's id and times, and nothing else. The backend
//! gets the sealed record under a hash of the id, so that whoever reads it can neither log in
//! nor see anybody's data, and whoever writes to it can neither make a session up nor exchange
//! two.

mod backend;
mod builder;
mod cleaner;
#[cfg(feature = "conformance")]
pub mod conformance;
mod ending;
#[cfg(all(feature = "file", unix))]
mod file;
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
pub use memory::{Memory, MemoryBuilder};
#[cfg(feature = "tower-sessions")]
pub use tower_sessions::TowerSessions;

pub use builder::Behind;

use crate::envelope::{KeyRing, TakesKeys};
use crate::error::{LoadError, LoadErrorKind, Refusal, SaveError};
use crate::event::{Event, Events};
use crate::flow::Opened;
#[cfg(feature = "tower")]
use crate::flow::Outgoing;
use crate::session::Session;
use crate::store::StoreCore;
use placement::{Fetch, InBackend};

/// Sessions whose values are in a [`Backend`].
///
/// Cloning is cheap, and clones share keys and backend. Futures are not bound to any runtime;
/// those of a backend may be.
pub struct ServerStore<B> {
    inner: Arc<Inner<B>>,
}

/// Sessions in this process's memory.
pub type MemoryStore = ServerStore<Memory>;

/// Sessions in a directory of this machine.
#[cfg(all(feature = "file", unix))]
pub type FileStore = ServerStore<File>;

/// Sessions in Redis, for as many processes as there are.
#[cfg(feature = "redis")]
pub type RedisStore = ServerStore<Redis>;

struct Inner<B> {
    core: StoreCore<InBackend>,
    backend: B,
    empty_if_unavailable: bool,
}

impl<B: Send + Sync> TakesKeys for Inner<B> {
    fn take_keys(&self, ring: &KeyRing) {
        self.core.flow.replace_keys(ring);
    }
}

impl<B: Backend> ServerStore<B> {
    /// The session of a request. A cookie that is absent, junk or expired gives a fresh, empty
    /// session, and so does one whose session is over; [`Session::origin`] tells which.
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

    /// The session of a request, from the values of its Cookie fields as text or bytes; with a
    /// [`Transport`](crate::Transport) other than a cookie, of its
    /// [`request_header`](Self::request_header).
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub async fn load_from<'a, C: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'a C>,
    ) -> Result<Session, LoadError> {
        let opened = self.open(&mut cookie_fields.into_iter().map(AsRef::as_ref));
        self.finish(opened).await
    }

    pub(crate) fn open(&self, fields: &mut dyn Iterator<Item = &[u8]>) -> Opened<Session, Fetch> {
        let core = &self.inner.core;
        core.flow.open(fields, core.now())
    }

    pub(crate) async fn finish(
        &self,
        opened: Opened<Session, Fetch>,
    ) -> Result<Session, LoadError> {
        let core = &self.inner.core;
        let session = match opened {
            Opened::Ready(session) => session,
            Opened::Fetch(fetch) => {
                let found = self.inner.backend.load(&fetch.key).await;
                let now = core.now();
                let (placement, policy) = (&core.flow.placement, &core.flow.policy);
                let loaded = match found {
                    Ok(stored) => {
                        let stored = stored.as_ref();
                        let fetched = placement.fetched(&fetch, stored, now, policy);
                        fetched.map_err(|refusal| {
                            (refusal, placement.past(&fetch, stored, refusal, now))
                        })
                    }
                    Err(error) if self.inner.empty_if_unavailable => {
                        self.events().report(Event::BackendFailed, Some(&error));
                        Err((Refusal::Unavailable, None))
                    }
                    Err(error) => return Err(LoadError(LoadErrorKind::Backend(error))),
                };
                match loaded {
                    Ok(loaded) => core.flow.opened(loaded, now),
                    Err((refusal, past)) => core.flow.refused(refusal, past, now),
                }
            }
        };
        core.report_origin(&session);
        Ok(session)
    }

    /// The request's header that a session is read from: `cookie`, unless the store has another
    /// [`Transport`](crate::Transport).
    pub fn request_header(&self) -> HeaderName {
        self.inner.core.flow.transport.request_header()
    }

    /// Writes the session to the backend if it has changed, and into the response's headers what
    /// is due.
    ///
    /// If another request has saved the same session in between, the changes made here are made
    /// again on what that one wrote; of two changes of one key, the later save's stays. If the
    /// session has ended in between, it stays ended, the changes made here are lost, and the
    /// cookie is left alone: by now the browser may have another one.
    ///
    /// # Errors
    ///
    /// If the backend or the random source fails, or if the session was loaded by another store.
    /// As a [conflict](SaveError::is_conflict), if the session is changed here and has got a new
    /// id in another request, or had got it a moment before this one came with the old cookie; if
    /// another request has what this one has [claimed](Session::claim); or if it is saved by so
    /// many requests that this one never comes through. The headers are as they were then.
    pub async fn save(&self, session: &Session, headers: &mut HeaderMap) -> Result<(), SaveError> {
        self.respond(session).await?.apply_once(headers);
        Ok(())
    }

    /// Exchanges the keys, for this store and all its clones, while requests run.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        self.inner.core.flow.replace_keys(&ring.into());
    }

    /// Refuses sessions that were issued before, for this store and all its clones, while
    /// requests run: a server's way to end all sessions at once.
    pub fn set_not_before(&self, not_before: SystemTime) {
        self.inner
            .core
            .flow
            .policy
            .set_not_before(not_before.into());
    }

    /// The backend, for what is its own.
    pub fn backend(&self) -> &B {
        &self.inner.backend
    }

    /// What an answer needs for which the session was handed out and not saved.
    #[cfg(feature = "tower")]
    pub(crate) fn handed_out(&self, session: &Session) -> Outgoing {
        self.inner.core.flow.handed_out(session)
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
