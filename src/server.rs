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
mod cleaner;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(all(feature = "file", unix))]
mod file;
mod memory;
mod placement;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "tower-sessions")]
mod tower_sessions;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName};

#[cfg(feature = "redis")]
pub use self::redis::Redis;
pub use backend::{
    Backend, BackendError, BackendErrorKind, Cursor, Entry, Outcome, Promise, StoreKey, Stored,
    Tag, Value, Version, When,
};
#[cfg(all(feature = "file", unix))]
pub use file::{File, FileBuilder};
pub use memory::{Memory, MemoryBuilder};
#[cfg(feature = "tower-sessions")]
pub use tower_sessions::TowerSessions;

use crate::envelope::{KeyRing, Keys, Kind, TakesKeys, os_random};
use crate::error::{ConfigError, LoadError, LoadErrorKind, Refusal, SaveError, SaveErrorKind};
use crate::event::{Event, Events};
use crate::flow::{Opened, Outgoing};
use crate::policy::Policy;
use crate::revocation::RevocationList;
use crate::session::changes::Point;
use crate::session::{Loaded, Origin, Session, Status};
use crate::store::{Shell, StoreBuilder};
use placement::{Fetch, InBackend, Keep, Write};

/// How often a save begins anew because another request has saved the same session in between.
const ATTEMPTS: usize = 16;

/// The most bytes of a session in a backend, unless the builder says otherwise.
const MAX_SIZE: usize = 1 << 20;

/// No store takes less than a cookie.
const MIN_SIZE: usize = 4096;

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
    shell: Shell<InBackend>,
    backend: B,
    empty_if_unavailable: bool,
}

/// Where a [`ServerStore`] keeps its sessions, for its [`StoreBuilder`].
#[derive(Debug)]
pub struct Behind<B> {
    backend: B,
    keep: Keep,
    max_size: usize,
    empty_if_unavailable: bool,
}

impl<B: Send + Sync> TakesKeys for Inner<B> {
    fn take_keys(&self, ring: &KeyRing) {
        self.shell.flow.replace_keys(ring);
    }
}

impl<B: Backend> ServerStore<B> {
    /// A store with the default settings: see [`builder`](Self::builder).
    pub fn new(keys: impl Into<Keys>, backend: B) -> Self {
        let builder = Self::builder(keys, backend);
        // A managed ring that cannot take it yet lets nothing be sealed until it can.
        let _ = builder.declare(Policy::by_default().max_lifetime);
        builder.assembled(Policy::by_default())
    }

    /// A builder that starts from the defaults: those of a [`CookieStore`](crate::CookieStore),
    /// at most 1 MiB for a session, and an error while the backend is away.
    pub fn builder(keys: impl Into<Keys>, backend: B) -> StoreBuilder<Behind<B>> {
        let behind = Behind {
            backend,
            keep: Keep::None,
            max_size: MAX_SIZE,
            empty_if_unavailable: false,
        };
        StoreBuilder::new(keys.into(), behind)
    }

    /// The session of a request. A cookie that is absent, junk or expired gives a fresh, empty
    /// session, and so does one whose session is over; [`Session::origin`] tells which.
    ///
    /// # Errors
    ///
    /// If the backend fails, unless the store was built with
    /// [`empty_if_unavailable`](StoreBuilder::empty_if_unavailable).
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
        let shell = &self.inner.shell;
        shell.flow.open(fields, shell.now())
    }

    pub(crate) async fn finish(
        &self,
        opened: Opened<Session, Fetch>,
    ) -> Result<Session, LoadError> {
        let shell = &self.inner.shell;
        let session = match opened {
            Opened::Ready(session) => session,
            Opened::Fetch(fetch) => {
                let found = self.inner.backend.load(&fetch.key).await;
                let now = shell.now();
                let loaded = match found {
                    Ok(stored) => shell.flow.placement.fetched(
                        &fetch,
                        stored.as_ref(),
                        now,
                        &shell.flow.policy,
                    ),
                    Err(error) if self.inner.empty_if_unavailable => {
                        self.events().report(Event::BackendFailed, Some(&error));
                        Err(Refusal::Unavailable)
                    }
                    Err(error) => return Err(LoadError(LoadErrorKind::Backend(error))),
                };
                match loaded {
                    Ok(loaded) => shell.flow.opened(loaded, now),
                    Err(refusal) => shell.flow.fresh(Origin::Refused(refusal), now),
                }
            }
        };
        shell.report_origin(&session);
        Ok(session)
    }

    /// The request's header that a session is read from: `cookie`, unless the store has another
    /// [`Transport`](crate::Transport).
    pub fn request_header(&self) -> HeaderName {
        self.inner.shell.flow.transport.request_header()
    }

    /// Writes the session to the backend if it has changed, and into the response's headers what
    /// is due.
    ///
    /// If another request has saved the same session in between, the changes made here are made
    /// again on what that one wrote; of two changes of one key, the later save's stays. If the
    /// session has ended in between, it stays ended, and the response removes the cookie.
    ///
    /// # Errors
    ///
    /// If the backend or the random source fails, if the session was loaded by another store, if
    /// it has got a new id in another request, or if it is saved by so many requests that this
    /// one never comes through. The headers are as they were then.
    pub async fn save(&self, session: &Session, headers: &mut HeaderMap) -> Result<(), SaveError> {
        self.respond(session).await?.apply_once(headers);
        Ok(())
    }

    /// The header changes that [`save`](Self::save) makes, for frameworks with header types of
    /// their own.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub async fn respond(&self, session: &Session) -> Result<Outgoing, SaveError> {
        let Shell { flow, .. } = &self.inner.shell;
        let is_unknown = session.origin_unread() == Origin::Refused(Refusal::Unavailable);
        if is_unknown && session.status_unread() != Status::Unmodified {
            let what = "the backend was away when the session was loaded, and what it has would \
                        be given up";
            return Err(BackendError::new(BackendErrorKind::Unavailable, what).into());
        }
        for _ in 0..ATTEMPTS {
            let now = self.inner.shell.now();
            self.inner.shell.let_go_if_over(session, now);
            let plan = flow.plan(session, now, &mut os_random)?;
            let then = plan.write.as_ref().and_then(|write| write.then.as_ref());
            let planned = then.map(|then| then.planned).unwrap_or_default();
            match self.write(session, plan.write).await? {
                Written::All => {}
                Written::Behind(key) => {
                    self.catch_up(session, planned, &key).await?;
                    continue;
                }
                Written::Taken => {
                    session.forget_birth();
                    continue;
                }
                Written::Ended => {
                    self.lose(session, planned);
                    continue;
                }
            }
            if plan.is_resealed {
                self.events().report(Event::Resealed, None);
            }
            // What is written is written, whoever else has ended the cookie just now.
            let _ = flow.retire(plan.left, now);
            return Ok(plan.outgoing);
        }
        Err(SaveError(SaveErrorKind::Conflict))
    }

    async fn write(
        &self,
        session: &Session,
        write: Option<Box<Write>>,
    ) -> Result<Written, SaveError> {
        let backend = &self.inner.backend;
        let Some(write) = write else {
            return Ok(Written::All);
        };
        if let Some(key) = write.remove {
            self.end(key).await?;
        }
        if let Some((key, entry)) = &write.put {
            match backend.put(key, entry).await? {
                Outcome::Stored => {}
                // An earlier save got further than it knew.
                Outcome::Conflict if write.mark.is_some() => return Ok(Written::Taken),
                Outcome::Conflict => return Ok(Written::Behind(*key)),
                Outcome::Absent => return Ok(Written::Ended),
            }
        }
        if let Some((key, entry)) = &write.mark {
            let outcome = self.put_mark(key, entry).await;
            if outcome != Ok(Outcome::Stored) {
                if let Some((new, _)) = &write.put {
                    // Nobody has its id, and it expires. What went wrong before is to be told.
                    let _ = backend.remove(new).await;
                }
            }
            match outcome? {
                Outcome::Stored => {}
                Outcome::Conflict => return Ok(Written::Behind(*key)),
                Outcome::Absent => return Ok(Written::Ended),
            }
        }
        if let Some((key, ttl)) = write.touch {
            // The answer is worth more than the time that the session may now be idle.
            if let Err(error) = backend.touch(&key, ttl).await {
                self.events().report(Event::BackendFailed, Some(&error));
            }
        }
        if let Some(then) = write.then {
            session.acknowledge(then.planned, then.base);
        }
        Ok(Written::All)
    }

    /// Removes a record; and if another request has given the session a new id in the meantime,
    /// the record that it has there.
    async fn end(&self, mut key: StoreKey) -> Result<(), BackendError> {
        let Inner { shell, backend, .. } = &*self.inner;
        while let Some(removed) = backend.remove(&key).await? {
            match shell.flow.placement.moved_to(&key, &removed) {
                Some(next) => key = next,
                None => break,
            }
        }
        Ok(())
    }

    /// A mark whose answer got lost may be there: then the old id is gone, and the new record must
    /// not go too.
    async fn put_mark(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        let backend = &self.inner.backend;
        let outcome = backend.put(key, entry).await;
        if outcome.is_err() {
            if let Ok(Some(stored)) = backend.load(key).await {
                if stored.value == entry.value {
                    return Ok(Outcome::Stored);
                }
            }
        }
        outcome
    }

    /// Lets the session's changes stand on what another request has written.
    async fn catch_up(
        &self,
        session: &Session,
        planned: Point,
        key: &StoreKey,
    ) -> Result<(), SaveError> {
        let Inner { shell, backend, .. } = &*self.inner;
        let found = backend.load(key).await?;
        if !session.unless_overtaken(planned, |_, _| ()) {
            return Ok(());
        }
        let Some(stored) = found else {
            self.lose(session, planned);
            return Ok(());
        };
        let (placement, policy) = (&shell.flow.placement, &shell.flow.policy);
        match placement.open(key, &stored, shell.now(), policy) {
            Ok(newer) => {
                if session.rebase(planned, newer) {
                    self.events().report(Event::Replayed, None);
                }
            }
            Err(Refusal::Moved) => return Err(SaveError(SaveErrorKind::Moved)),
            Err(Refusal::Expired | Refusal::Cutoff) => self.lose(session, planned),
            Err(refusal) => return Err(SaveError(SaveErrorKind::Unreadable(refusal))),
        }
        Ok(())
    }

    fn lose(&self, session: &Session, planned: Point) {
        if session.lose(planned) {
            self.events().report(Event::Lost, None);
        }
    }

    /// Ends all sessions of `subject`, on whatever device: "log out everywhere". Tells how many
    /// there were in the backend; those that are whole in their cookies end if the store has a
    /// list of [`revocations`](StoreBuilder::revocations).
    ///
    /// Sessions that begin while it runs may end too.
    ///
    /// # Errors
    ///
    /// If the backend fails, or cannot find sessions by their subject.
    pub async fn end_all_of(&self, subject: &str) -> Result<usize, BackendError> {
        let Inner { shell, backend, .. } = &*self.inner;
        if let Some(list) = &shell.flow.revocations {
            list.revoke_subject(subject, shell.now().into());
        }
        // Sessions that others began under a key which this process has not met are found only by
        // that key.
        self.know_all_keys().await?;
        let tags = shell.flow.placement.tags(subject);
        let (mut seen, mut ended) = (HashSet::new(), 0);
        // Until nothing new turns up: a session may get a new id while the others end.
        loop {
            let mut found = Vec::new();
            for tag in &tags {
                found.extend(backend.tagged(tag).await?);
            }
            found.retain(|key| seen.insert(*key));
            if found.is_empty() {
                return Ok(ended);
            }
            for key in &found {
                let Some(stored) = backend.load(key).await? else {
                    continue;
                };
                let loaded = self.loaded(key, &stored);
                // One that has another subject by now is not meant.
                if loaded
                    .as_ref()
                    .map_or(true, |loaded| loaded.record.subject() == subject)
                {
                    backend.remove(key).await?;
                    ended += usize::from(loaded.is_ok());
                }
            }
        }
    }

    /// Ends all sessions for which `keep` is false, and tells how many. It sees each session
    /// that is there from beginning to end at least once; what it changes in one is not saved.
    ///
    /// # Errors
    ///
    /// If the backend fails, or cannot list its sessions.
    pub async fn retain(
        &self,
        mut keep: impl FnMut(&Session) -> bool,
    ) -> Result<usize, BackendError> {
        let Inner { shell, backend, .. } = &*self.inner;
        let (mut cursor, mut ended, mut has_caught_up) = (None, 0, false);
        loop {
            let (keys, next) = backend.scan(cursor).await?;
            for key in &keys {
                let Some(stored) = backend.load(key).await? else {
                    continue;
                };
                let mut loaded = self.loaded(key, &stored);
                if matches!(loaded, Err(Refusal::UnknownKey)) && !has_caught_up {
                    has_caught_up = true;
                    self.know_all_keys().await?;
                    loaded = self.loaded(key, &stored);
                }
                let Ok(loaded) = loaded else {
                    continue;
                };
                if !keep(&shell.flow.opened(loaded, shell.now())) {
                    backend.remove(key).await?;
                    ended += 1;
                }
            }
            cursor = next;
            if cursor.is_none() {
                return Ok(ended);
            }
        }
    }

    /// Learns of every key that other processes may have sealed under.
    async fn know_all_keys(&self) -> Result<(), BackendError> {
        let caught_up = self.inner.shell.kept.catch_up().await;
        caught_up.map_err(|problem| BackendError::new(BackendErrorKind::Unavailable, problem))
    }

    fn loaded(&self, key: &StoreKey, stored: &Stored) -> Result<Loaded, Refusal> {
        let Shell { flow, .. } = &self.inner.shell;
        let now = self.inner.shell.now();
        flow.placement.open(key, stored, now, &flow.policy)
    }

    /// Exchanges the keys, for this store and all its clones, while requests run.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        self.inner.shell.flow.replace_keys(&ring.into());
    }

    /// Refuses sessions that were issued before, for this store and all its clones, while
    /// requests run: a server's way to end all sessions at once.
    pub fn set_not_before(&self, not_before: SystemTime) {
        self.inner
            .shell
            .flow
            .policy
            .set_not_before(not_before.into());
    }

    /// The backend, for what is its own.
    pub fn backend(&self) -> &B {
        &self.inner.backend
    }

    pub(crate) fn events(&self) -> &Events {
        self.inner.shell.events()
    }
}

/// What has become of a write.
enum Written {
    All,
    /// Another request has written under this key.
    Behind(StoreKey),
    /// The new id is in use.
    Taken,
    /// There is nothing any more to write over.
    Ended,
}

impl<B: Backend> StoreBuilder<Behind<B>> {
    /// Takes in sessions that come whole in a cookie, as a [`CookieStore`](crate::CookieStore)
    /// with the same name, context and keys has set them: they move to the backend, under a new
    /// id, with their next save. That is how a running service moves from cookies to a backend;
    /// leave it out once all such cookies have expired, because until then a copy of one opens
    /// whatever became of the session. By default they are refused.
    pub fn adopt_cookies(mut self) -> Self {
        self.placement.keep = Keep::Adopted;
        self
    }

    /// Keeps sessions in their cookies as long as they fit, and moves one that no longer fits to
    /// the backend, and back when it is small again, each time under a new id. Those in cookies
    /// have the limits of a [`CookieStore`](crate::CookieStore): the last response wins, and a
    /// copy of a cookie opens until its deadline.
    pub fn small_in_cookie(mut self) -> Self {
        self.placement.keep = Keep::Small;
        self
    }

    /// Ends sessions that are whole in their cookies by `list`: with
    /// [`adopt_cookies`](Self::adopt_cookies) or [`small_in_cookie`](Self::small_in_cookie). One
    /// that is destroyed, renewed or moves to the backend is put on it. Those in the backend need
    /// none.
    pub fn revocations(mut self, list: RevocationList) -> Self {
        self.revocations = Some(list);
        self
    }

    /// The most bytes that a session may have in the backend before it is sealed. Default 1 MiB.
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.placement.max_size = bytes;
        self
    }

    /// While the backend is away, gives requests a fresh, empty session instead of an error: a
    /// shop that stays open for guests. What is changed in one cannot be saved, not even if the
    /// backend is back by then: it would take the place of the session that is there.
    pub fn empty_if_unavailable(mut self) -> Self {
        self.placement.empty_if_unavailable = true;
        self
    }

    /// The finished store.
    ///
    /// # Errors
    ///
    /// If a setting cannot be, or two contradict each other; the error names it.
    pub fn build(self) -> Result<ServerStore<B>, ConfigError> {
        let policy = self.check()?;
        Ok(self.assembled(policy))
    }

    /// Every check of `build`.
    pub(crate) fn check(&self) -> Result<Policy, ConfigError> {
        if self.placement.max_size < MIN_SIZE {
            let problem = "it must be at least 4096 bytes, what a cookie holds";
            return Err(ConfigError::new("max_size", problem));
        }
        self.policy()
    }

    fn assembled(self, policy: Policy) -> ServerStore<B> {
        let (behind, common) = self.exchange(());
        let shell = common.assemble(policy, |keys_for, in_cookie| InBackend {
            envelope: keys_for(Kind::Store),
            keep: behind.keep,
            in_cookie,
            max_size: behind.max_size,
        });
        let inner = Arc::new(Inner {
            shell,
            backend: behind.backend,
            empty_if_unavailable: behind.empty_if_unavailable,
        });
        inner.shell.kept.tell(&inner);
        ServerStore { inner }
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
            .field("flow", &self.inner.shell.flow)
            .field("backend", &self.inner.backend)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
