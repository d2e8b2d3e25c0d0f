//! The settings of a store over a backend.

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

/// The most bytes of a session in a backend, unless the builder says otherwise.
pub(super) const MAX_SIZE: usize = 1 << 20;

/// No store takes less than a cookie.
const MIN_SIZE: usize = 4096;

/// Where a [`ServerStore`] keeps its sessions, for its [`StoreBuilder`].
#[derive(Debug)]
pub struct Behind<B> {
    backend: B,
    keep: Keep,
    max_size: usize,
    empty_if_unavailable: bool,
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

    /// How long a request may take from its load to its save and still find its session there,
    /// if nobody else uses it meanwhile: the backend keeps each so much longer than the
    /// [`idle_timeout`](StoreBuilder::idle_timeout), though nobody is given one that was idle for
    /// too long. A request that takes longer may lose its session, and what it has changed.
    ///
    /// Default one hour. Longer takes more room: each session is kept for both times after its
    /// last use. Without an idle timeout nothing is kept longer, and this does nothing. When you
    /// change it, or the idle timeout, each session is written anew with its next use.
    pub fn longest_request(mut self, longest_request: Duration) -> Self {
        self.longest_request = longest_request;
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
        let (mut behind, common) = self.exchange(());
        // No address space holds more once it is sealed.
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
