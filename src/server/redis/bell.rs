//! A bell that rings when a key may have changed. Redis notifies each connection that has looked at
//! the key, once, and sends the key's name but never its value. So someone who writes to the key
//! decides when the bell rings, but not how much there is to read.

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

/// A bell that was armed before a look at the key.
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

    /// Arms the bell: the next change of `key` rings it.
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
    /// Waits until the bell rings, at most as long as `patience`.
    pub(super) async fn wait(mut self, patience: Duration) {
        // Whether it rang, timed out or lost its sender: look at the key now.
        let _ = tokio::time::timeout(patience, self.0.changed()).await;
    }
}
