//! The settings of a fleet's cookie store.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::lock::Mutex as AsyncMutex;

use super::RevocableCookieStore;
use super::follow::kept_for;
use super::process::{Inner, NEVER};
use crate::envelope::{Keys, Kind};
use crate::error::ConfigError;
use crate::flow::InCookie;
use crate::revocation::RevocationList;
use crate::revocation::entry::MAX_TOKEN;
use crate::server::Redis;
use crate::store::StoreBuilder;

const MAX_STALENESS: Duration = Duration::from_secs(10);
const MIN_STALENESS: Duration = Duration::from_millis(100);

/// A fleet's Redis, in the [`StoreBuilder`] of a [`RevocableCookieStore`].
#[derive(Debug)]
pub struct InFleet {
    redis: Redis,
    max_staleness: Duration,
    goes_on: bool,
}

impl RevocableCookieStore {
    /// Returns a builder with the defaults of a [`CookieStore`](crate::CookieStore). Loading fails
    /// after Redis has been away for more than ten seconds.
    pub fn builder(keys: impl Into<Keys>, redis: Redis) -> StoreBuilder<InFleet> {
        StoreBuilder::new(keys.into(), InFleet::by_default(redis))
    }
}

impl InFleet {
    pub(super) fn by_default(redis: Redis) -> Self {
        Self {
            redis,
            max_staleness: MAX_STALENESS,
            goes_on: false,
        }
    }
}

impl StoreBuilder<InFleet> {
    /// Sets how long another process may still accept a session after its end. A process that has
    /// not heard from Redis for longer refuses to open sessions, after one failed attempt to catch
    /// up. Default 10 seconds, at least 100 milliseconds. Below 4 seconds, a single silence of
    /// Redis within its response timeout may be too long.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sealed_session::{AppKey, RevocableCookieStore, server::Redis};
    /// # let (key, redis) = (AppKey::generate()?, Redis::open("redis://127.0.0.1:6379")?);
    /// let store = RevocableCookieStore::builder(key, redis)
    ///     .max_staleness(Duration::from_secs(5))
    ///     .build()?; // does not connect yet
    /// assert_eq!(store.listed(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.placement.max_staleness = max_staleness;
        self
    }

    /// Opens sessions with the list as it is while Redis is away, instead of failing, and reports
    /// an event for each. A session that has ended elsewhere in the meantime then opens here. You
    /// still cannot end sessions while Redis is away.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, RevocableCookieStore, Session, server::Redis};
    /// # let (key, redis) = (AppKey::generate()?, Redis::open("redis://127.0.0.1:6379")?);
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// # let cookie = CookieStore::new(key.clone()).respond(&session)?.cookie_header();
    /// let store = RevocableCookieStore::builder(key, redis).go_on_while_away().build()?;
    ///
    /// // This process has not heard from Redis yet:
    /// assert_eq!(store.load_from([&cookie])?.get("user_id")?, Some(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn go_on_while_away(mut self) -> Self {
        self.placement.goes_on = true;
        self
    }

    /// Builds the store. It does not connect yet.
    ///
    /// # Errors
    ///
    /// If a setting is invalid or contradicts another; the error names it.
    pub fn build(self) -> Result<RevocableCookieStore, ConfigError> {
        let policy = self.policy()?;
        if self.placement.max_staleness < MIN_STALENESS {
            let problem = "it is shorter than 100 milliseconds; make it longer";
            return Err(ConfigError::new("max_staleness", problem));
        }
        self.declare(kept_for(policy.max_lifetime))?;
        let max_lifetime = policy.max_lifetime.into();
        let (fleet, mut common) = self.exchange(());
        let list = RevocationList::new();
        common.revocations = Some(list.clone());
        let envelope = common.keys_for(Kind::Revocation);
        let core = common.assemble(policy, |_, _| InCookie);
        let name = format!("revocations:{}", core.flow.transport.name());
        let feed = fleet.redis.feed(&name, MAX_TOKEN);
        let inner = Arc::new(Inner {
            core,
            list,
            envelope,
            feed,
            max_lifetime,
            follower: AsyncMutex::default(),
            written: Mutex::default(),
            keys_changed: AtomicBool::new(false),
            passed_over: AtomicBool::new(false),
            current_at: AtomicU64::new(NEVER),
            catching_up: Mutex::default(),
            failures: Mutex::default(),
            max_staleness: fleet.max_staleness,
            goes_on: fleet.goes_on,
        });
        inner.core.kept.tell(&inner);
        Ok(RevocableCookieStore { inner })
    }
}
