//! Rings when a key may have changed: Redis tells the connections that have looked at it, once,
//! and only that it has, never with what. So whoever writes to the key decides when it rings, and
//! not how much there is to read.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};
use tokio::sync::watch;

use super::link::{Listen, Pool, Rope, Timeouts};

pub(super) struct Bell {
    pool: Pool<MultiplexedConnection>,
    rope: Rope,
}

/// From before a look at the key.
pub(crate) struct Armed(watch::Receiver<u64>);

impl Bell {
    pub(super) fn new(listen: Arc<Listen>) -> Self {
        let rope = Rope::default();
        let pulled = Arc::clone(&rope);
        let connect = move |timeouts| listen(timeouts, Arc::clone(&pulled));
        Self {
            pool: Pool::new(Arc::new(connect), false),
            rope,
        }
    }

    /// From now on the next change of `key` rings.
    pub(super) async fn arm(&self, key: &str, timeouts: Timeouts) -> RedisResult<Armed> {
        let armed = Armed(self.rope.subscribe());
        let mut look = Pipeline::with_capacity(2);
        look.cmd("CLIENT").arg("TRACKING").arg("ON").ignore();
        look.cmd("EXISTS").arg(key).ignore();
        let look = &look;
        let send = |mut connection: MultiplexedConnection| async move {
            look.query_async::<Value>(&mut connection).await
        };
        self.pool.run(timeouts, send).await?;
        Ok(armed)
    }
}

impl Armed {
    /// Until it has rung since, at most as long as `patience`.
    pub(super) async fn wait(mut self, patience: Duration) {
        // No ring, or no rope any more: either way it is time to look.
        let _ = tokio::time::timeout(patience, self.0.changed()).await;
    }
}
