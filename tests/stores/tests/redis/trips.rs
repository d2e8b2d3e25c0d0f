//! How often a request goes to Redis and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisFuture, Value};
use sealed_session::server::Redis;
use sealed_session::{AppKey, RedisStore, Session};
use sealed_session_stores::redis::Server;

use crate::{Answer, Visitor};

/// Counts what is sent at once.
#[derive(Clone)]
struct Counted {
    connection: MultiplexedConnection,
    trips: Arc<AtomicUsize>,
}

impl ConnectionLike for Counted {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.trips.fetch_add(1, Ordering::Relaxed);
        self.connection.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.trips.fetch_add(1, Ordering::Relaxed);
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

#[tokio::test]
async fn a_load_and_a_save_are_one_round_trip_each_and_an_untouched_session_none() {
    let server = Server::start().await;
    let trips = Arc::new(AtomicUsize::new(0));
    let counted = Counted {
        connection: server.connection().await,
        trips: Arc::clone(&trips),
    };
    let store = RedisStore::new(AppKey::generate().unwrap(), Redis::connection(counted));
    let since = || trips.swap(0, Ordering::Relaxed);
    let mut visitor = Visitor::default();

    type Change = fn(&Session);
    let change: Change = |session| session.insert("n", session.len()).unwrap();
    let subject: Change = |session| session.set_subject("alice").unwrap();
    let both: Change = |session| {
        session.destroy();
        session.insert("n", 0).unwrap();
    };
    for (what, act, load, save, answer) in [
        (
            "a stranger who only looks",
            (|_| ()) as Change,
            0,
            0,
            Answer::Nothing,
        ),
        ("a new session", change, 0, 1, Answer::Cookie),
        ("a session that is only read", |_| (), 1, 0, Answer::Nothing),
        (
            "a changed session",
            |s| s.insert("a", 1).unwrap(),
            1,
            1,
            Answer::Nothing,
        ),
        ("one that gets a subject", subject, 1, 1, Answer::Nothing),
        (
            "one that has a subject",
            |s| s.insert("a", 2).unwrap(),
            1,
            1,
            Answer::Nothing,
        ),
        ("a renewed session", Session::renew, 1, 2, Answer::Cookie),
        ("one in place of another", both, 1, 2, Answer::Cookie),
        (
            "a destroyed session",
            Session::destroy,
            1,
            1,
            Answer::Removal,
        ),
        ("a stranger again", |_| (), 0, 0, Answer::Nothing),
    ] {
        let session = visitor.load(&store).await.unwrap();
        assert_eq!(since(), load, "{what}: load");
        act(&session);
        assert_eq!(
            visitor.save(&store, &session).await.unwrap(),
            answer,
            "{what}"
        );
        assert_eq!(since(), save, "{what}: save");
    }
}

#[tokio::test]
async fn a_save_that_comes_second_is_two_round_trips_more() {
    let server = Server::start().await;
    let trips = Arc::new(AtomicUsize::new(0));
    let counted = Counted {
        connection: server.connection().await,
        trips: Arc::clone(&trips),
    };
    let store = RedisStore::new(AppKey::generate().unwrap(), Redis::connection(counted));
    let mut visitor = Visitor::of(&store, "alice").await;
    let [first, second] = [visitor.load(&store).await, visitor.load(&store).await];
    let [first, second] = [first.unwrap(), second.unwrap()];
    first.insert("a", 1).unwrap();
    second.insert("b", 2).unwrap();
    visitor.save(&store, &first).await.unwrap();
    trips.store(0, Ordering::Relaxed);
    visitor.save(&store, &second).await.unwrap();
    assert_eq!(trips.load(Ordering::Relaxed), 3);
}
