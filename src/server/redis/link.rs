//! Connections to Redis. They open on first use, and open again when they are lost.

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, ready};
use futures_util::lock::Mutex as AsyncMutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo,
    RedisError, RedisResult, Value,
};
use tokio::sync::watch;

use super::failure::code;
use super::timer;
use crate::error::ConfigError;

/// An answer for each command, or the error that left all without one.
pub(crate) type Answers = RedisResult<Vec<RedisResult<Value>>>;

/// A connection that can be cloned.
pub(crate) trait Connection: ConnectionLike + Clone + Send + Sync + 'static {}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Connection for C {}

#[derive(Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connection: Duration,
    pub(crate) response: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connection: Duration::from_secs(1),
            response: Duration::from_secs(1),
        }
    }
}

pub(crate) enum Link {
    /// Takes commands with any keys together.
    Server(Box<dyn Sender>),
    /// Takes only commands with the same key together.
    Cluster(Pool<ClusterConnection>),
}

/// The client of the server at a URL.
pub(crate) fn client_of(url: impl IntoConnectionInfo) -> Result<Client, ConfigError> {
    Client::open(url).map_err(|error| {
        let problem = format!(
            "it is not a server's ({}); write `redis://host:6379`, or `rediss://` with a TLS \
             feature of the crate `redis`",
            error.category()
        );
        ConfigError::new("redis URL", problem)
    })
}

impl Link {
    pub(crate) fn client(client: Client) -> Self {
        let listener = client.clone();
        Self::server(
            move |timeouts| {
                let client = client.clone();
                async move {
                    let config = timeouts.config();
                    client
                        .get_multiplexed_async_connection_with_config(&config)
                        .await
                }
                .boxed()
            },
            move |timeouts, rope| {
                let client = listener.clone();
                async move { listen(&client, timeouts, rope).await }.boxed()
            },
        )
    }

    /// Each new connection goes to the current master.
    pub(crate) fn sentinel(client: SentinelClient) -> Self {
        let client = Arc::new(AsyncMutex::new(client));
        let listener = Arc::clone(&client);
        Self::server(
            move |timeouts| {
                let client = Arc::clone(&client);
                async move {
                    let config = timeouts.config();
                    let mut client = client.lock().await;
                    client.get_async_connection_with_config(&config).await
                }
                .boxed()
            },
            move |timeouts, rope| {
                let client = Arc::clone(&listener);
                async move {
                    let master = client.lock().await.async_get_client().await?;
                    listen(&master, timeouts, rope).await
                }
                .boxed()
            },
        )
    }

    fn server(
        connect: impl Fn(Timeouts) -> BoxFuture<'static, RedisResult<MultiplexedConnection>>
        + Send
        + Sync
        + 'static,
        listen: impl Fn(Timeouts, Rope) -> BoxFuture<'static, RedisResult<MultiplexedConnection>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let mut pool = Pool::new(Arc::new(connect), false);
        pool.listen = Some(Arc::new(listen));
        Self::Server(Box::new(pool))
    }

    /// A cluster's client has its own timeouts.
    pub(crate) fn cluster(client: ClusterClient) -> Self {
        let connect = move |_| {
            let client = client.clone();
            async move { client.get_async_connection().await }.boxed()
        };
        Self::Cluster(Pool::new(Arc::new(connect), true))
    }

    pub(super) fn given<C: Connection>(connection: C) -> Self {
        let cluster: Option<&ClusterConnection> = (&connection as &dyn Any).downcast_ref();
        match cluster.cloned() {
            Some(cluster) => Self::Cluster(Pool::of(cluster)),
            None => Self::Server(Box::new(Pool::of(connection))),
        }
    }

    pub(super) fn resize(&mut self, connections: usize) {
        if let Self::Server(pool) = self {
            pool.resize(connections);
        }
    }

    /// Sends commands in one round trip.
    pub(crate) fn send<'a>(
        &'a self,
        commands: &'a Pipeline,
        timeouts: Timeouts,
    ) -> BoxFuture<'a, Answers> {
        match self {
            Self::Server(pool) => pool.send(commands, timeouts),
            Self::Cluster(pool) => pool.send(commands, timeouts),
        }
    }
}

impl Timeouts {
    fn config(self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connection))
            .set_response_timeout(Some(self.response))
    }
}

/// Opens a connection that Redis can push messages to, which takes version 3 of its protocol.
async fn listen(
    client: &Client,
    timeouts: Timeouts,
    rope: Rope,
) -> RedisResult<MultiplexedConnection> {
    let info = client.get_connection_info().clone();
    let redis = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    let client = Client::open(info.set_redis_settings(redis))?;
    let config = timeouts.config().set_push_sender(pull(rope));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

type Connect<C> = dyn Fn(Timeouts) -> BoxFuture<'static, RedisResult<C>> + Send + Sync;

/// Counts the pushed messages.
pub(crate) type Rope = Arc<watch::Sender<u64>>;

/// Returns the function that a connection calls for each pushed message, and for its own end.
fn pull(rope: Rope) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
    move |_| {
        rope.send_modify(|rings| *rings = rings.wrapping_add(1));
        Ok(())
    }
}

/// Opens a connection that pulls the rope on each pushed message.
pub(crate) type Listen =
    dyn Fn(Timeouts, Rope) -> BoxFuture<'static, RedisResult<MultiplexedConnection>> + Send + Sync;

/// A connection that is being made, shared by all who wait for it.
type Connecting<C> = Shared<BoxFuture<'static, RedisResult<C>>>;

type Slot<C> = Mutex<Option<Connecting<C>>>;

/// A pool of connections that take turns. Each carries any number of commands at once.
pub(crate) struct Pool<C> {
    connect: Arc<Connect<C>>,
    /// Opens a connection for notifications. `None` for a cluster or a connection from outside.
    listen: Option<Arc<Listen>>,
    /// At least one.
    slots: (Slot<C>, Vec<Slot<C>>),
    turn: AtomicUsize,
    /// The connection reconnects by itself, and has timeouts of its own.
    mends_itself: bool,
}

impl<C: Connection> Pool<C> {
    pub(super) fn new(connect: Arc<Connect<C>>, mends_itself: bool) -> Self {
        Self {
            connect,
            listen: None,
            slots: Default::default(),
            turn: AtomicUsize::new(0),
            mends_itself,
        }
    }

    fn of(connection: C) -> Self {
        let connect = move |_| ready(Ok(connection.clone())).boxed();
        Self::new(Arc::new(connect), true)
    }

    /// Runs `act` on a connection, and again on another one if the first is lost. So everything may
    /// be sent twice.
    pub(super) async fn run<T, F: Future<Output = RedisResult<T>>>(
        &self,
        timeouts: Timeouts,
        act: impl Fn(C) -> F,
    ) -> RedisResult<T> {
        if !self.mends_itself {
            timer::precede(timeouts.response);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (first, others) = &self.slots;
        let slot = match turn % (others.len() + 1) {
            0 => first,
            n => others.get(n - 1).unwrap_or(first),
        };
        let mut is_first = true;
        loop {
            let (connecting, is_joined) = self.connecting(slot, timeouts);
            let connected = connecting.clone().await;
            let was_connected = connected.is_ok();
            let outcome = match connected {
                Ok(connection) => act(connection).await,
                Err(error) => Err(error),
            };
            let Err(error) = outcome else {
                return outcome;
            };
            if !was_connected || !self.mends_itself && (is_lost(&error) || error.is_timeout()) {
                forget(slot, &connecting);
            }
            // The task that began to connect may be gone. Then nobody polled, and the time ran out.
            let is_stale = !was_connected && is_joined && error.is_timeout();
            let is_worth_it = is_stale || was_connected && is_lost(&error);
            if !is_first || !is_worth_it {
                return Err(error);
            }
            is_first = false;
        }
    }

    fn connecting(&self, slot: &Slot<C>, timeouts: Timeouts) -> (Connecting<C>, bool) {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let is_joined = slot.is_some();
        let connecting = slot.get_or_insert_with(|| (self.connect)(timeouts).shared());
        (connecting.clone(), is_joined)
    }
}

/// Empties the slot, unless it holds another connection by now.
fn forget<C: Clone>(slot: &Slot<C>, connecting: &Connecting<C>) {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.as_ref().is_some_and(|there| there.ptr_eq(connecting)) {
        *slot = None;
    }
}

/// Returns whether a new connection may help: this one is broken, or its server is no longer the
/// master.
fn is_lost(error: &RedisError) -> bool {
    error.is_connection_dropped() || code(error) == "READONLY"
}

/// A [`Pool`] of any connection type.
pub(crate) trait Sender: Send + Sync {
    fn send<'a>(&'a self, commands: &'a Pipeline, timeouts: Timeouts) -> BoxFuture<'a, Answers>;
    fn resize(&mut self, connections: usize);

    /// Returns how to open a connection for notifications, if Redis can notify.
    fn listen(&self) -> Option<Arc<Listen>>;
}

impl<C: Connection> Sender for Pool<C> {
    fn send<'a>(&'a self, commands: &'a Pipeline, timeouts: Timeouts) -> BoxFuture<'a, Answers> {
        let send = |connection: C| query(commands, connection);
        self.run(timeouts, send).boxed()
    }

    fn resize(&mut self, connections: usize) {
        let others = connections.saturating_sub(1);
        self.slots.1.resize_with(others, Mutex::default);
    }

    fn listen(&self) -> Option<Arc<Listen>> {
        self.listen.clone()
    }
}

async fn query(commands: &Pipeline, mut connection: impl Connection) -> Answers {
    let answers: Vec<RedisResult<Value>> = commands.query_async(&mut connection).await?;
    let mut lost = answers.iter().filter_map(|answer| answer.as_ref().err());
    match lost.find(|error| is_lost(error)) {
        Some(error) => Err(error.clone()),
        None => Ok(answers),
    }
}
