//! The servers that the other tests stand on.

use redis::AsyncCommands;
use sealed_session_stores::redis::{Cluster, Sentinel, Server};

#[tokio::test]
async fn a_server_that_starts_again_is_empty_and_at_the_same_place() {
    let mut server = Server::start().await;
    let mut connection = server.connection().await;
    let () = connection.set("key", "value").await.unwrap();
    server.start_again().await;
    let mut connection = server.connection().await;
    assert_eq!(connection.get("key").await, Ok(None::<String>));
}

#[tokio::test]
async fn a_cluster_of_three_has_all_slots() {
    let cluster = Cluster::start().await;
    let mut connection = cluster.client().get_async_connection().await.unwrap();
    for key in ["a", "b", "c", "d", "e", "f"] {
        let () = connection.set(key, key).await.unwrap();
    }
    for node in &cluster.nodes {
        assert!(node.info("keyspace").await.contains("db0:keys="));
    }
}

#[tokio::test]
async fn a_sentinel_makes_the_replica_the_master_when_the_master_is_gone() {
    let mut sentinel = Sentinel::start().await;
    sentinel.servers[0].kill();
    sentinel.fail_over().await;
    let mut connection = sentinel.client().get_async_connection().await.unwrap();
    let () = connection.set("key", "value").await.unwrap();
}

#[tokio::test]
async fn a_master_that_is_there_becomes_the_replica_of_the_new_one() {
    let sentinel = Sentinel::start().await;
    let [former, latter] = &sentinel.servers;
    let (mut one, mut other) = (former.connection().await, latter.connection().await);
    let () = one.set("key", "before").await.unwrap();
    former.wait_until_on(latter).await;
    assert_eq!(other.get("key").await, Ok("before".to_owned()));
    sentinel.fail_over().await;
    sentinel.wait_for_demotion().await;
    let (mut one, mut other) = (former.connection().await, latter.connection().await);
    assert_eq!(other.get("key").await, Ok("before".to_owned()));
    let () = other.set("key", "after").await.unwrap();
    latter.wait_until_on(former).await;
    assert_eq!(one.get("key").await, Ok("after".to_owned()));
}
