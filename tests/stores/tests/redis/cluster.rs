//! The same on a cluster of three.

use redis::cluster::ClusterClientBuilder;
use sealed_session::server::conformance::Suite;
use sealed_session::server::{BackendErrorKind, Redis};
use sealed_session::{AppKey, Origin, RedisStore, Refusal};
use sealed_session_stores::patience::wait_for;
use sealed_session_stores::redis::{Cluster, Server};
use std::time::Duration;

use crate::meetings::renew_and_die;
use crate::{Answer, Visitor, records};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_what_the_trait_asks_of_a_backend() {
    let cluster = Cluster::start().await;
    let connection = cluster.client().get_async_connection().await.unwrap();
    for redis in [
        Redis::cluster(cluster.client()),
        Redis::connection(connection),
    ] {
        let suite = Suite::new(&redis, tokio::time::sleep);
        suite.check().await.unwrap();
    }
}

#[tokio::test]
async fn sessions_are_renewed_found_and_ended_on_all_nodes() {
    let cluster = Cluster::start().await;
    let redis = Redis::cluster(cluster.client());
    let store = RedisStore::new(AppKey::generate().unwrap(), redis);
    let mut visitors = Vec::new();
    for n in 0..2000 {
        visitors.push(Visitor::of(&store, ["alice", "bob"][n % 2]).await);
    }
    for node in &cluster.nodes {
        let here = records(&mut node.connection().await).await.len();
        println!("{here} records");
        // More than fit one page.
        assert!(here > 500, "{here}");
    }
    for visitor in visitors.iter_mut().step_by(100) {
        let old = visitor.clone();
        assert_eq!(visitor.visit(&store, |s| s.renew()).await, Answer::Cookie);
        let session = old.load(&store).await.unwrap();
        assert_eq!(session.origin(), Origin::Refused(Refusal::Moved));
        assert_eq!(visitor.get(&store, "name").await.as_deref(), Some("alice"));
    }
    assert_eq!(store.end_all_of("bob").await, Ok(1000));
    let mut seen = 0;
    let ended = store.retain(|session| {
        assert_eq!(session.subject().as_deref(), Some("alice"));
        seen += 1;
        seen % 2 == 0
    });
    assert_eq!(ended.await, Ok(500));
    assert_eq!(seen, 1000);
}

#[tokio::test]
async fn a_renewal_that_dies_between_two_steps_leaves_the_old_session_as_it_was() {
    let cluster = Cluster::start().await;
    renew_and_die(|| Redis::cluster(cluster.client())).await;
}

#[tokio::test]
async fn while_a_node_is_down_its_sessions_fail_and_once_it_is_back_the_rest_goes_on() {
    let mut cluster = Cluster::start().await;
    let client = ClusterClientBuilder::new(cluster.nodes.iter().map(Server::url))
        .response_timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    let key = AppKey::generate().unwrap();
    let patient = RedisStore::new(key.clone(), Redis::cluster(cluster.client()));
    let store = RedisStore::new(key, Redis::cluster(client));
    let mut visitors = Vec::new();
    for _ in 0..30 {
        visitors.push(Visitor::of(&patient, "alice").await);
    }
    let is_connected = async || visitors[0].load(&store).await.is_ok();
    wait_for("a connection", is_connected).await;
    cluster.nodes[0].kill();
    let mut failed = 0;
    for visitor in &visitors {
        match visitor.load(&store).await {
            Ok(session) => assert_eq!(session.subject().as_deref(), Some("alice")),
            Err(error) => {
                let kind = error.backend().unwrap().kind();
                assert!(
                    matches!(
                        kind,
                        BackendErrorKind::Timeout | BackendErrorKind::Unavailable
                    ),
                    "{error:?}"
                );
                failed += 1;
            }
        }
    }
    println!("{failed} of {} sessions were not there", visitors.len());
    assert!(failed > 0);
    let error = store.retain(|_| true).await.unwrap_err();
    println!("{error}");
    cluster.nodes[0].start_again().await;
    cluster.wait_until_whole().await;
    for visitor in &visitors {
        wait_for("an answer", async || {
            let Ok(session) = visitor.load(&store).await else {
                return false;
            };
            let origin = session.origin();
            assert!(matches!(
                origin,
                Origin::Opened | Origin::Refused(Refusal::Gone)
            ));
            true
        })
        .await;
    }
    let patient = RedisStore::new(
        AppKey::generate().unwrap(),
        Redis::cluster(cluster.client()),
    );
    let mut visitor = Visitor::of(&patient, "alice").await;
    assert_eq!(visitor.visit(&patient, |s| s.renew()).await, Answer::Cookie);
}
