//! What is too large to be ours is not fetched.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use sealed_session::server::{Backend, StoreKey};
use sealed_session::{AppKey, Origin, RedisStore, Refusal, Session};
use sealed_session_stores::redis::{Cluster, Server};

use crate::{Answer, Visitor, ask, records, redis, store};

const HUGE: usize = 200 << 20;

/// How many bytes the server has sent to whomever.
async fn sent(server: &Server) -> u64 {
    let info = server.info("stats").await;
    let mut lines = info.lines();
    let line = lines.find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.unwrap().trim().parse().unwrap()
}

/// Makes a session's value huge: it begins as before.
async fn blow_up(connection: &mut MultiplexedConnection) {
    let [key] = &records(connection).await[..] else {
        panic!("one record");
    };
    let last = HUGE.to_string();
    let _: u64 = ask(connection, &["SETRANGE", key, &last, "x"]).await;
}

#[tokio::test]
async fn of_a_huge_value_no_more_is_fetched_than_a_session_may_have() {
    let server = Server::start().await;
    let store = store(&server);
    let mut connection = server.connection().await;
    let mut visitor = Visitor::of(&store, "ada").await;
    blow_up(&mut connection).await;
    let before = sent(&server).await;
    let session = visitor.load(&store).await.unwrap();
    assert_eq!(session.origin(), Origin::Refused(Refusal::BadValue));
    let fetched = sent(&server).await - before;
    assert!(fetched < 2 << 20, "{fetched}");

    // Ending it costs no more, and neither does a save that another request has come before.
    let ending = visitor.load(&store).await.unwrap();
    ending.destroy();
    visitor.save(&store, &ending).await.unwrap();
    let mut visitor = Visitor::of(&store, "grace").await;
    let (late, ends) = (
        visitor.load(&store).await.unwrap(),
        visitor.load(&store).await.unwrap(),
    );
    for key in records(&mut connection).await {
        let _: u64 = ask(&mut connection, &["SETRANGE", &key, "50", "junk"]).await;
        let last = HUGE.to_string();
        let _: u64 = ask(&mut connection, &["SETRANGE", &key, &last, "x"]).await;
    }
    let before = sent(&server).await;
    late.insert("n", 1).unwrap();
    let _ = visitor.save(&store, &late).await;
    ends.destroy();
    assert_eq!(visitor.save(&store, &ends).await, Ok(Answer::Removal));
    let fetched = sent(&server).await - before;
    assert!(fetched < 4 << 20, "{fetched}");
    assert_eq!(records(&mut connection).await.len(), 1, "the other one's");
}

#[tokio::test]
async fn what_may_be_larger_by_the_stores_settings_is_fetched_whole() {
    let server = Server::start().await;
    for (max_size, text) in [
        (1 << 20, 1_000_000),
        (3 << 20, 2 << 20),
        (usize::MAX, 2 << 20),
    ] {
        let store = RedisStore::builder(AppKey::generate().unwrap(), redis(&server));
        let store = store.max_size(max_size).build().unwrap();
        let mut visitor = Visitor::default();
        let text = "x".repeat(text);
        let grow = |session: &Session| session.insert("text", &text).unwrap();
        visitor.visit(&store, grow).await;
        assert_eq!(visitor.get(&store, "text").await, Some(text), "{max_size}");
    }
}

#[tokio::test]
async fn a_cluster_sends_no_more_either() {
    let cluster = Cluster::start().await;
    let redis = sealed_session::server::Redis::cluster(cluster.client());
    let store = RedisStore::new(AppKey::generate().unwrap(), redis);
    let visitor = Visitor::of(&store, "ada").await;
    for node in &cluster.nodes {
        let mut connection = node.connection().await;
        for key in records(&mut connection).await {
            let last = HUGE.to_string();
            let _: u64 = ask(&mut connection, &["SETRANGE", &key, &last, "x"]).await;
        }
    }
    let all = async || {
        let mut all = 0;
        for node in &cluster.nodes {
            all += sent(node).await;
        }
        all
    };
    let before = all().await;
    let session = visitor.load(&store).await.unwrap();
    assert_eq!(session.origin(), Origin::Refused(Refusal::BadValue));
    let fetched = all().await - before;
    assert!(fetched < 3 << 20, "{fetched}");
}

#[tokio::test]
async fn what_is_no_key_among_a_subjects_or_all_keys_is_not_sent() {
    let server = Server::start().await;
    let redis = redis(&server).response_timeout(Duration::from_secs(30));
    let store = RedisStore::new(AppKey::generate().unwrap(), redis);
    let mut connection = server.connection().await;
    for _ in 0..1500 {
        Visitor::of(&store, "ada").await;
    }
    let indexes: Vec<String> = ask(&mut connection, &["KEYS", "session:subject:*"]).await;
    let index = &indexes[0];
    let huge = "x".repeat(20 << 20);
    let _: u64 = ask(&mut connection, &["ZADD", index, "9e99", &huge]).await;
    let name = format!("session:{huge}");
    let _: String = ask(&mut connection, &["SET", &name, "junk"]).await;

    let before = sent(&server).await;
    let mut seen = 0;
    let mut cursor = None;
    loop {
        let (keys, next) = store.backend().scan(cursor).await.unwrap();
        seen += keys.len();
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(seen >= 1500, "{seen}");
    assert_eq!(store.end_all_of("ada").await, Ok(1500));
    let fetched = sent(&server).await - before;
    assert!(fetched < 8 << 20, "{fetched}");
}

#[tokio::test]
async fn a_backend_without_a_store_has_a_limit_too() {
    let server = Server::start().await;
    let redis = redis(&server);
    let key = StoreKey::from_bytes([7; 32]);
    let mut connection = server.connection().await;
    let name = format!("session:{key}");
    let last = HUGE.to_string();
    let _: u64 = ask(&mut connection, &["SETRANGE", &name, &last, "x"]).await;
    let before = sent(&server).await;
    let stored = redis.load(&key).await.unwrap().unwrap();
    assert_eq!(stored.value.as_str().len(), (16 << 20) + 1);
    assert!(sent(&server).await - before < 17 << 20);
}
