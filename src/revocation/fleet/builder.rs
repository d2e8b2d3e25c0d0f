//! The settings of a fleet's cookie store.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Inner, RevocableCookieStore};
use crate::envelope::Kind;
use crate::error::ConfigError;
use crate::flow::InCookie;
use crate::policy::CLOCK_SKEW;
use crate::revocation::feed::{Feed, Shared};
use crate::revocation::{GRACE, RevocationList};
use crate::store::StoreBuilder;

const MAX_STALENESS: Duration = Duration::from_secs(10);
const MIN_STALENESS: Duration = Duration::from_millis(100);

const TIMEOUT: Duration = Duration::from_secs(2);

/// What the stream's key begins with.
const STREAM: &str = "sealed-session:revocations";

/// A fleet's Redis, for the [`StoreBuilder`] of a [`RevocableCookieStore`].
pub struct InFleet {
    client: redis::Client,
    stream: Option<String>,
    timeout: Duration,
    max_staleness: Duration,
    goes_on: bool,
}

impl InFleet {
    pub(super) fn by_default(client: redis::Client) -> Self {
        Self {
            client,
            stream: None,
            timeout: TIMEOUT,
            max_staleness: MAX_STALENESS,
            goes_on: false,
        }
    }
}

impl StoreBuilder<InFleet> {
    /// The key of the stream. Default `sealed-session:revocations:` and the cookie's name. Stores
    /// with the same cookie, keys and context share it, and no others; another one of these needs
    /// a stream of its own.
    pub fn stream(mut self, key: impl Into<String>) -> Self {
        self.placement.stream = Some(key.into());
        self
    }

    /// How long Redis may take to be reached, and to answer. Default 2 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.placement.timeout = timeout;
        self
    }

    /// How long after its end another process may still take a session for alive. A process that
    /// has not heard from Redis for longer refuses to open sessions. Default 10 seconds, at least
    /// 100 milliseconds; below 4 seconds each silence of Redis that is longer than `timeout`
    /// shows.
    pub fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.placement.max_staleness = max_staleness;
        self
    }

    /// While Redis is away, opens sessions by the list as it is, instead of giving an error, and
    /// reports an event for each: what has ended elsewhere in the meantime opens here. Sessions
    /// still cannot be ended then.
    pub fn go_on_while_away(mut self) -> Self {
        self.placement.goes_on = true;
        self
    }

    /// The finished store. It connects to nothing yet.
    ///
    /// # Errors
    ///
    /// If a setting cannot be, or two contradict each other; the error names it.
    pub fn build(self) -> Result<RevocableCookieStore, ConfigError> {
        let policy = self.policy()?;
        for (setting, duration, least) in [
            ("max_staleness", self.placement.max_staleness, MIN_STALENESS),
            ("timeout", self.placement.timeout, Duration::from_millis(1)),
        ] {
            if duration < least {
                let problem = format!("it is shorter than {least:?}");
                return Err(ConfigError::new(setting, problem));
            }
        }
        let keep = policy.max_lifetime.saturating_add(CLOCK_SKEW + GRACE);
        let (fleet, mut common) = self.split();
        let list = RevocationList::new();
        common.revocations = Some(list.clone());
        let envelope = common.keys_for(Kind::Revocation);
        let shell = common.assemble(policy, |_, _| InCookie);
        let name = shell.flow.transport.name();
        let feed = Feed {
            stream: fleet.stream.unwrap_or_else(|| format!("{STREAM}:{name}")),
            client: fleet.client,
            timeout: fleet.timeout,
            keep,
            connection: Shared::default(),
        };
        Ok(RevocableCookieStore {
            inner: Arc::new(Inner {
                shell,
                list,
                envelope,
                feed,
                progress: Mutex::default(),
                current_at: AtomicU64::new(0),
                max_staleness: fleet.max_staleness,
                goes_on: fleet.goes_on,
            }),
        })
    }
}

/// Without the client, which may show a password.
impl fmt::Debug for InFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFleet")
            .field("stream", &self.stream)
            .field("max_staleness", &self.max_staleness)
            .finish_non_exhaustive()
    }
}
