//! The settings of a store with a backend.

use std::sync::Arc;
use std::time::Duration;

use super::backend::Backend;
use super::placement::{InBackend, Keep};
use super::{Inner, ServerStore};
use crate::envelope::{Keys, Kind, encoded_len};
use crate::error::ConfigError;
use crate::policy::Policy;
use crate::revocation::RevocationList;
use crate::store::StoreBuilder;

/// The most bytes of a session in a backend, by default.
pub(super) const MAX_SIZE: usize = 1 << 20;

/// A store must take at least what a cookie holds.
const MIN_SIZE: usize = 4096;

/// Keeps the sessions of a [`ServerStore`] in a backend, with settings for its [`StoreBuilder`].
#[derive(Debug)]
pub struct Behind<B> {
    backend: B,
    keep: Keep,
    max_size: usize,
    empty_if_unavailable: bool,
}

impl<B: Backend> ServerStore<B> {
    /// Creates a store with the default settings: see [`builder`](Self::builder).
    pub fn new(keys: impl Into<Keys>, backend: B) -> Self {
        let builder = Self::builder(keys, backend);
        // Managed keys may not allow the lifetime yet. Until they do, nothing is sealed.
        builder.insist(Policy::by_default().max_lifetime);
        builder.assembled(Policy::by_default())
    }

    /// Returns a builder with the defaults: those of a [`CookieStore`](crate::CookieStore), at most
    /// 1 MiB for a session, and an error if the backend is unavailable.
    pub fn builder(keys: impl Into<Keys>, backend: B) -> StoreBuilder<Behind<B>> {
        let behind = Behind {
            backend,
            keep: Keep::None,
            max_size: MAX_SIZE,
            empty_if_unavailable: false,
        };
        StoreBuilder::new(keys.into(), behind)
    }
}

impl<B: Backend> StoreBuilder<Behind<B>> {
    /// Accepts cookies that hold a whole session, set by a [`CookieStore`](crate::CookieStore) with
    /// the same name, context and keys. Each such session moves to the backend with its next save,
    /// under a new id. By default these cookies are refused.
    ///
    /// Use this to move a running service from cookies to a backend. Remove it once all such
    /// cookies have expired: until then, a copy of one opens even if its session has ended.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Session};
    /// # use sealed_session::server::{Memory, MemoryStore};
    /// # pollster::block_on(async {
    /// # let key = AppKey::generate()?;
    /// # let before = CookieStore::new(key.clone());
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// let cookie = before.respond(&session)?.cookie_header(); // of a `CookieStore`
    ///
    /// let after = MemoryStore::builder(key, Memory::new()).adopt_cookies().build()?;
    /// assert!(after.load_from([&cookie]).await?.contains("user_id"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn adopt_cookies(mut self) -> Self {
        self.placement.keep = Keep::Adopted;
        self
    }

    /// Keeps sessions in their cookies as long as they fit. A session that no longer fits moves to
    /// the backend, and moves back when it is small again, each time under a new id. Sessions in
    /// cookies have the limits of a [`CookieStore`](crate::CookieStore): the last response wins,
    /// and a copy of a cookie opens until its deadline.
    ///
    /// ```
    /// # use sealed_session::{AppKey, MemoryStore, server::Memory};
    /// # pollster::block_on(async {
    /// # let builder = MemoryStore::builder(AppKey::generate()?, Memory::new());
    /// let store = builder.small_in_cookie().build()?;
    /// # let session = store.load_from::<str>([]).await?;
    /// session.insert("user_id", 42)?;
    /// store.respond(&session).await?;
    /// assert!(store.backend().is_empty()); // the session is in its cookie
    ///
    /// session.insert("notes", "x".repeat(4000))?;
    /// store.respond(&session).await?;
    /// assert!(!store.backend().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn small_in_cookie(mut self) -> Self {
        self.placement.keep = Keep::Small;
        self
    }

    /// Lets `list` end sessions that their cookies hold whole. Use it with
    /// [`adopt_cookies`](Self::adopt_cookies) or [`small_in_cookie`](Self::small_in_cookie). A
    /// session that is destroyed, renewed or moved to the backend is put on the list. Sessions in
    /// the backend need no list.
    pub fn revocations(mut self, list: RevocationList) -> Self {
        self.revocations = Some(list);
        self
    }

    /// The most bytes that a session may have in the backend, before it is sealed. At least 4096,
    /// which is what a cookie holds. Default: 1 MiB.
    ///
    /// ```
    /// # use sealed_session::{AppKey, ErrorKind, MemoryStore, server::Memory};
    /// # pollster::block_on(async {
    /// # let builder = MemoryStore::builder(AppKey::generate()?, Memory::new());
    /// let store = builder.max_size(16 * 1024).build()?;
    ///
    /// let session = store.load_from::<str>([]).await?;
    /// let error = session.insert("notes", "x".repeat(20_000)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TooLarge); // and the session is as it was
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.placement.max_size = bytes;
        self
    }

    /// How long a request may take, from its load to its save, before it can lose its session and
    /// its changes. Default: one hour. Set it if a request of yours takes longer, such as a large
    /// upload.
    ///
    /// This matters only with an [`idle_timeout`](StoreBuilder::idle_timeout), and only if no other
    /// request uses the session meanwhile. The backend keeps each session for both times after its
    /// last use, so a longer time takes more room. No new request gets a session that was idle for
    /// too long. If you change this setting or the idle timeout, each session is written again at
    /// its next use.
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, MemoryStore, server::Memory};
    /// # static AHEAD: AtomicU64 = AtomicU64::new(0);
    /// # let clock = || SystemTime::now() + Duration::from_secs(AHEAD.load(Relaxed));
    /// # pollster::block_on(async {
    /// # let backend = Memory::builder().clock(clock).build()?;
    /// # let builder = MemoryStore::builder(AppKey::generate()?, backend).clock(clock);
    /// const HOUR: Duration = Duration::from_secs(3600);
    /// let store = builder.idle_timeout(HOUR / 2).longest_request(3 * HOUR).build()?;
    /// # let session = store.load_from::<str>([]).await?;
    /// # session.insert("user_id", 42)?;
    /// # let cookie = store.respond(&session).await?.cookie_header();
    ///
    /// let session = store.load_from([&cookie]).await?; // a film comes in
    /// # AHEAD.store(2 * 3600, Relaxed);
    /// session.insert("film", "holiday.mp4")?; // two hours later, all of it is there
    /// store.respond(&session).await?;
    /// # assert!(store.load_from([&cookie]).await?.contains("film"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn longest_request(mut self, longest_request: Duration) -> Self {
        self.longest_request = longest_request;
        self
    }

    /// Gives requests a new, empty session instead of an error while the backend is unavailable, so
    /// that a shop can stay open for guests. You cannot save changes to such a session, even if the
    /// backend is back by then: that would replace the visitor's real session.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::{AppKey, MemoryStore, Origin, Refusal, Session};
    /// # use sealed_session::server::*;
    /// # struct Database;
    /// # type Away<T> = Result<T, BackendError>;
    /// # fn away<T>() -> Away<T> {
    /// #     Err(BackendError::new(BackendErrorKind::Unavailable, "the database is away"))
    /// # }
    /// # impl Backend for Database {
    /// #     const PROMISE: Promise = Promise::Full;
    /// #     async fn load(&self, _: &StoreKey) -> Away<Option<Stored>> { away() }
    /// #     async fn put(&self, _: &StoreKey, _: &Entry) -> Away<Outcome> { away() }
    /// #     async fn touch(&self, _: &StoreKey, _: Duration) -> Away<()> { away() }
    /// #     async fn remove(&self, _: &StoreKey) -> Away<Option<Value>> { away() }
    /// # }
    /// # pollster::block_on(async {
    /// # let key = AppKey::generate()?;
    /// # let before = MemoryStore::new(key.clone(), Memory::new());
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// # let cookie = before.respond(&session).await?.cookie_header();
    /// # let backend = Database;
    /// let store = ServerStore::builder(key, backend).empty_if_unavailable().build()?;
    ///
    /// // While the backend is away:
    /// let session = store.load_from([&cookie]).await?;
    /// assert_eq!(session.origin(), Origin::Refused(Refusal::Unavailable));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn empty_if_unavailable(mut self) -> Self {
        self.placement.empty_if_unavailable = true;
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    ///
    /// If a setting is invalid, or two contradict each other. The error names it.
    pub fn build(self) -> Result<ServerStore<B>, ConfigError> {
        let policy = self.check()?;
        Ok(self.assembled(policy))
    }

    /// Makes all checks of `build`.
    pub(crate) fn check(&self) -> Result<Policy, ConfigError> {
        if self.placement.max_size < MIN_SIZE {
            let problem = "it must be at least 4096 bytes, what a cookie holds";
            return Err(ConfigError::new("max_size", problem));
        }
        self.policy()
    }

    fn assembled(self, policy: Policy) -> ServerStore<B> {
        let (mut behind, common) = self.exchange(());
        // Once sealed, a larger session would not fit any address space.
        behind.max_size = behind.max_size.min(usize::MAX / 8);
        behind.backend.expect_at_most(encoded_len(behind.max_size));
        let core = common.assemble(policy, |keys_for, in_cookie| InBackend {
            envelope: keys_for(Kind::Store),
            keep: behind.keep,
            promise: B::PROMISE,
            in_cookie,
            max_size: behind.max_size,
        });
        let events = core.events().clone();
        let report = move |event| events.report(event, None);
        behind.backend.report_to(Arc::new(report));
        let inner = Arc::new(Inner {
            core,
            backend: behind.backend,
            empty_if_unavailable: behind.empty_if_unavailable,
        });
        inner.core.kept.tell(&inner);
        ServerStore { inner }
    }
}
