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
        // A managed ring that cannot take it yet lets nothing be sealed until it can.
        let _ = builder.declare(Policy::by_default().max_lifetime);
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
    /// Accepts sessions that come whole in a cookie, set by a [`CookieStore`](crate::CookieStore)
    /// with the same name, context and keys. With the next save they move to the backend, under a
    /// new id. Use this to move a running service from cookies to a backend. Remove it once all
    /// such cookies have expired, because until then a copy of such a cookie opens even if its
    /// session has ended. By default these cookies are refused.
    pub fn adopt_cookies(mut self) -> Self {
        self.placement.keep = Keep::Adopted;
        self
    }

    /// Keeps sessions in their cookies as long as they fit. A session that no longer fits moves to
    /// the backend, and moves back when it is small again, each time under a new id. Sessions in
    /// cookies have the limits of a [`CookieStore`](crate::CookieStore): the last response wins,
    /// and a copy of a cookie opens until its deadline.
    pub fn small_in_cookie(mut self) -> Self {
        self.placement.keep = Keep::Small;
        self
    }

    /// Lets `list` end sessions that are whole in their cookies. Use it with
    /// [`adopt_cookies`](Self::adopt_cookies) or [`small_in_cookie`](Self::small_in_cookie). A
    /// session that is destroyed, renewed or moved to the backend is put on the list. Sessions in
    /// the backend need no list.
    pub fn revocations(mut self, list: RevocationList) -> Self {
        self.revocations = Some(list);
        self
    }

    /// The most bytes that a session may have in the backend, before it is sealed. Default: 1 MiB.
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.placement.max_size = bytes;
        self
    }

    /// How long a request may take from its load to its save without losing the session, if nobody
    /// else uses it meanwhile. The backend keeps each session longer than the
    /// [`idle_timeout`](StoreBuilder::idle_timeout) by this time, but no new request gets a session
    /// that was idle for too long. A request that takes longer may lose its session and its
    /// changes.
    ///
    /// Default: one hour. A longer time takes more room, because each session is kept for both
    /// times after its last use. Without an idle timeout, this setting does nothing. If you change
    /// it or the idle timeout, each session is written again at its next use.
    pub fn longest_request(mut self, longest_request: Duration) -> Self {
        self.longest_request = longest_request;
        self
    }

    /// Gives requests a new, empty session instead of an error while the backend is unavailable, so
    /// that a shop can stay open for guests. You cannot save changes to such a session, even if the
    /// backend is back by then: that would replace the visitor's real session.
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
