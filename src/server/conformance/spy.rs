//! A backend that records its calls.

use std::fmt;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::backend::{
    Backend, Cursor, Entry, Outcome, Promise, StoreKey, Stored, Tag, Value,
};
use crate::error::BackendError;
use crate::event::Event;

/// A backend that records each call and passes it to the backend inside. Use it in a test to prove
/// which calls a store makes, and that it makes no others.
///
/// ```
/// # use sealed_session::AppKey;
/// use sealed_session::server::{Memory, ServerStore, conformance::Spy};
///
/// # pollster::block_on(async {
/// let store = ServerStore::new(AppKey::generate()?, Spy::new(Memory::new()));
/// let session = store.load(&http::HeaderMap::new()).await?;
/// store.save(&session, &mut http::HeaderMap::new()).await?;
/// assert!(store.backend().take().is_empty()); // a visitor without a session costs nothing
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Spy<B> {
    backend: B,
    calls: Mutex<Vec<Call>>,
}

/// A call of a [`Backend`] method, recorded when its future is first polled.
///
/// ```
/// # use sealed_session::AppKey;
/// # use sealed_session::server::{Memory, ServerStore, conformance::{Call, Spy}};
/// # pollster::block_on(async {
/// # let store = ServerStore::new(AppKey::generate()?, Spy::new(Memory::new()));
/// # let session = store.load_from::<str>([]).await?;
/// session.insert("user_id", 42)?;
/// let cookie = store.respond(&session).await?.cookie_header();
/// store.load_from([&cookie]).await?;
///
/// let calls = store.backend().take();
/// assert_eq!(calls.iter().map(Call::name).collect::<Vec<_>>(), ["put", "load"]);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub enum Call {
    /// [`Backend::load`].
    Load(StoreKey),
    /// [`Backend::put`].
    Put(StoreKey, Entry),
    /// [`Backend::touch`].
    Touch(StoreKey, Duration),
    /// [`Backend::remove`].
    Remove(StoreKey),
    /// [`Backend::scan`].
    Scan,
    /// [`Backend::tagged`].
    Tagged(Tag),
}

impl Call {
    /// Returns the method's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Load(_) => "load",
            Self::Put(..) => "put",
            Self::Touch(..) => "touch",
            Self::Remove(_) => "remove",
            Self::Scan => "scan",
            Self::Tagged(_) => "tagged",
        }
    }
}

impl<B> Spy<B> {
    /// Returns a spy on `backend`.
    pub fn new(backend: B) -> Self {
        Self {
            backend,
            calls: Mutex::default(),
        }
    }

    /// Returns the backend inside.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Takes the calls recorded since the last `take`, in order.
    pub fn take(&self) -> Vec<Call> {
        take(&mut self.calls())
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, call: Call) -> &B {
        self.calls().push(call);
        &self.backend
    }
}

impl<B: Backend> Backend for Spy<B> {
    const PROMISE: Promise = B::PROMISE;

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        self.note(Call::Load(*key)).load(key).await
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        let call = Call::Put(*key, entry.clone());
        self.note(call).put(key, entry).await
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        self.note(Call::Touch(*key, ttl)).touch(key, ttl).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        self.note(Call::Remove(*key)).remove(key).await
    }

    async fn scan(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        self.note(Call::Scan).scan(after).await
    }

    async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        self.note(Call::Tagged(*tag)).tagged(tag).await
    }

    fn report_to(&self, report: Arc<dyn Fn(Event) + Send + Sync>) {
        self.backend.report_to(report);
    }
}

impl<B: fmt::Debug> fmt::Debug for Spy<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spy")
            .field("backend", &self.backend)
            .field("calls", &self.calls().len())
            .finish()
    }
}
