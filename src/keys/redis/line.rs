//! A thread that talks to Redis on its own runtime, so that callers may block beside any runtime.

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::super::signals::locked;
use crate::server::redis::{Link, Timeouts};

/// Ends its thread when it is dropped.
pub(super) struct Line(Mutex<State>);

enum State {
    /// Nobody has asked yet.
    Quiet(Option<Link>),
    Open(UnboundedSender<Order>),
}

struct Order {
    command: Pipeline,
    timeout: Duration,
    answer: SyncSender<RedisResult<Value>>,
}

impl Line {
    pub(super) fn new(link: Link) -> Self {
        Self(Mutex::new(State::Quiet(Some(link))))
    }

    /// Blocks until Redis has answered, or until `timeout` has passed. If the thread could not
    /// start, the outer error says why.
    pub(super) fn ask(
        &self,
        command: Cmd,
        timeout: Duration,
    ) -> Result<RedisResult<Value>, String> {
        let mut alone = Pipeline::with_capacity(1);
        // Otherwise the error of the whole would hide the command's own.
        alone.ignore_errors();
        alone.add_command(command);
        let (answer, answered) = sync_channel(1);
        let order = Order {
            command: alone,
            timeout,
            answer,
        };
        let ended = || "the thread that talks to redis has ended".to_owned();
        self.orders()?.send(order).map_err(|_| ended())?;
        answered.recv().map_err(|_| ended())
    }

    fn orders(&self) -> Result<UnboundedSender<Order>, String> {
        let mut state = locked(&self.0);
        match &mut *state {
            State::Open(orders) => Ok(orders.clone()),
            State::Quiet(link) => {
                let no_thread = |error: io::Error| format!("no thread: {error}");
                let runtime = runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(no_thread)?;
                let (orders, received) = unbounded_channel();
                let link = link.take().ok_or("no thread: it has ended")?;
                let work = move || runtime.block_on(work(&link, received));
                thread::Builder::new()
                    .name("sealed-session-redis".to_owned())
                    .spawn(work)
                    .map_err(no_thread)?;
                *state = State::Open(orders.clone());
                Ok(orders)
            }
        }
    }
}

async fn work(link: &Link, mut orders: UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        let timeouts = Timeouts {
            connection: order.timeout,
            response: order.timeout,
        };
        let answers = timeout(order.timeout, link.send(&order.command, timeouts));
        let answer = match answers.await {
            Ok(Ok(answers)) => answers.into_iter().next().unwrap_or(Ok(Value::Nil)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(late()),
        };
        // This fails if nobody waits for the answer any more.
        let _ = order.answer.send(answer);
    }
}

fn late() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}
