//! Servers that are down, slow, empty, full, or no longer the master.

use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use sealed_session::server::{BackendError, BackendErrorKind, Redis};
use sealed_session::{AppKey, LoadError, Origin, RedisStore, Refusal};
use sealed_session_stores::patience::{PATIENCE, wait_for};
use sealed_session_stores::redis::{Sentinel, Server, patient};

use crate::{Answer, Visitor, ask, records, store};

const UNAVAILABLE: BackendErrorKind = BackendErrorKind::Unavailable;

async fn failure(visitor: &Visitor, store: &RedisStore) -> BackendError {
    let error: LoadError = visitor.load(store).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the session's backend failed;"), "{text}");
    error.backend().unwrap().clone()
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start_may_come_later() {
    let mut server = Server::start().await;
    let key = AppKey::generate().unwrap();
    let visitor = Visitor::of(
        &RedisStore::new(key.clone(), crate::redis(&server)),
        "alice",
    )
    .await;
    server.kill();
    let store = RedisStore::new(key, crate::redis(&server));
    // A stranger needs no server.
    assert!(Visitor::default().load(&store).await.unwrap().is_empty());
    let error = failure(&visitor, &store).await;
    assert_eq!(error.kind(), UNAVAILABLE);
    assert_eq!(
        error.to_string(),
        "redis is not there: Connection refused (os error 111); start it, or correct its address"
    );
    let mut newcomer = Visitor::default();
    let session = newcomer.load(&store).await.unwrap();
    session.insert("a", 1).unwrap();
    let error = newcomer.save(&store, &session).await.unwrap_err();
    assert_eq!(error.backend().unwrap().kind(), UNAVAILABLE);
    assert_eq!(newcomer.cookie, None);

    server.start_again().await;
    // The same session, which is still what it was.
    assert_eq!(newcomer.save(&store, &session).await, Ok(Answer::Cookie));
    assert_eq!(newcomer.load(&store).await.unwrap().get("a"), Ok(Some(1)));
}

#[tokio::test]
async fn a_server_that_restarts_empty_has_ended_all_sessions_and_no_request_fails() {
    let mut server = Server::start().await;
    let store = store(&server);
    let mut visitor = Visitor::of(&store, "alice").await;
    let held = visitor.load(&store).await.unwrap();
    held.insert("a", 1).unwrap();
    server.start_again().await;
    let session = visitor.load(&store).await.unwrap();
    assert_eq!(session.origin(), Origin::Refused(Refusal::Gone));
    assert!(session.is_empty());
    // A request that held it does not bring it back.
    assert_eq!(visitor.save(&store, &held).await, Ok(Answer::Nothing));
    assert_eq!(records(&mut server.connection().await).await.len(), 0);
    Visitor::of(&store, "alice").await;
}

#[tokio::test]
async fn a_server_that_goes_down_in_the_middle_fails_what_comes_then_and_nothing_afterwards() {
    let mut server = Server::start().await;
    let store = store(&server);
    let mut visitor = Visitor::of(&store, "alice").await;
    let session = visitor.load(&store).await.unwrap();
    session.insert("a", 1).unwrap();
    server.kill();
    let error = visitor.save(&store, &session).await.unwrap_err();
    assert_eq!(error.backend().unwrap().kind(), UNAVAILABLE);
    assert_eq!(failure(&visitor, &store).await.kind(), UNAVAILABLE);
    assert_eq!(
        store.end_all_of("alice").await.unwrap_err().kind(),
        UNAVAILABLE
    );
    assert_eq!(
        store.retain(|_| true).await.unwrap_err().kind(),
        UNAVAILABLE
    );
    server.start_again().await;
    let mut visitor = Visitor::of(&store, "alice").await;
    assert_eq!(visitor.visit(&store, |s| s.renew()).await, Answer::Cookie);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time_and_is_used_again_when_it_does() {
    let server = Server::start().await;
    let brief = Duration::from_millis(150);
    let redis = crate::redis(&server);
    let key = AppKey::generate().unwrap();
    let mut visitor = Visitor::of(&RedisStore::new(key.clone(), redis), "alice").await;
    let redis = crate::redis(&server)
        .response_timeout(brief)
        .connection_timeout(brief);
    let store = RedisStore::new(key, redis);
    // Not even here does it matter how fast the machine is.
    let mut loaded = None;
    wait_for("an answer", async || {
        loaded = visitor.load(&store).await.ok();
        loaded.is_some()
    })
    .await;
    let session = loaded.unwrap();
    session.insert("a", 1).unwrap();
    server.pause();
    // From here on it is later only when everybody waits.
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        let error = failure(&visitor, &store).await;
        assert_eq!(error.kind(), BackendErrorKind::Timeout);
        let text = error.to_string();
        assert!(text.starts_with("redis did not answer in time;"), "{text}");
    }
    let error = visitor.save(&store, &session).await.unwrap_err();
    assert_eq!(error.backend().unwrap().kind(), BackendErrorKind::Timeout);
    // Many at once wait for the same connection, and no longer than one does.
    let crowd = (0..50).map(|_| failure(&visitor, &store));
    for error in futures_util::future::join_all(crowd).await {
        assert_eq!(error.kind(), BackendErrorKind::Timeout);
    }
    let took = start.elapsed();
    assert!(took < 10 * brief, "{took:?}");
    tokio::time::resume();
    server.resume();
    let is_saved = async || match visitor.save(&store, &session).await {
        Ok(answer) => answer == Answer::Nothing,
        Err(_) => false,
    };
    wait_for("a save", is_saved).await;
    let has_it = async || {
        let loaded = visitor.load(&store).await;
        loaded.is_ok_and(|session| session.get("a") == Ok(Some(1)))
    };
    wait_for("what was saved", has_it).await;
}

#[tokio::test]
async fn a_server_that_is_slow_but_within_the_time_is_waited_for() {
    let server = Server::start().await;
    let hour = Duration::from_secs(3600);
    let redis = crate::redis(&server).response_timeout(hour);
    let store = RedisStore::new(AppKey::generate().unwrap(), redis);
    let visitor = Visitor::of(&store, "alice").await;
    server.pause();
    // From here on it is later only when everybody waits.
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let mut visiting = visitor.clone();
    let answers = async {
        tokio::time::sleep(hour / 2).await;
        tokio::time::resume();
        server.resume();
    };
    let change = visiting.visit(&store, |s| s.insert("a", 1).unwrap());
    let (answer, ()) = tokio::join!(change, answers);
    assert_eq!(answer, Answer::Nothing);
    assert!(start.elapsed() >= hour / 2);
    assert_eq!(visitor.load(&store).await.unwrap().get("a"), Ok(Some(1)));
}

#[tokio::test]
async fn a_full_server_saves_nothing_and_still_loads_and_ends_sessions() {
    let server = Server::start_with(&["--maxmemory", "4mb"]).await;
    let store = store(&server);
    let mut visitor = Visitor::of(&store, "alice").await;
    let mut leaving = Visitor::of(&store, "bob").await;
    let mut connection = server.connection().await;
    let mut n = 0;
    while connection
        .set::<_, _, ()>(n, vec![b'x'; 10_000])
        .await
        .is_ok()
    {
        n += 1;
    }
    let session = visitor.load(&store).await.unwrap();
    session.insert("name", "changed").unwrap();
    let mut newcomer = Visitor::default();
    let new = newcomer.load(&store).await.unwrap();
    new.insert("a", 1).unwrap();
    let renewed = visitor.load(&store).await.unwrap();
    renewed.renew();
    for session in [&session, &renewed] {
        let error = visitor.save(&store, session).await.unwrap_err();
        assert_eq!(error.backend().unwrap().kind(), BackendErrorKind::Full);
    }
    let error = newcomer.save(&store, &new).await.unwrap_err();
    assert_eq!(error.backend().unwrap().kind(), BackendErrorKind::Full);
    let said = "redis is full: raise its `maxmemory`, or remove what is not needed";
    assert_eq!(error.backend().unwrap().to_string(), said);
    assert_eq!(newcomer.cookie, None);

    assert_eq!(visitor.get(&store, "name").await.as_deref(), Some("alice"));
    assert_eq!(
        leaving.visit(&store, |s| s.destroy()).await,
        Answer::Removal
    );
    assert_eq!(store.end_all_of("bob").await, Ok(0));
    for key in 0..n {
        let () = connection.del(key).await.unwrap();
    }
    assert_eq!(visitor.save(&store, &session).await, Ok(Answer::Nothing));
    assert_eq!(
        visitor.get(&store, "name").await.as_deref(),
        Some("changed")
    );
    assert_eq!(newcomer.save(&store, &new).await, Ok(Answer::Cookie));
}

#[tokio::test]
async fn with_empty_if_unavailable_a_request_goes_on_without_its_session() {
    let mut server = Server::start().await;
    let store = RedisStore::builder(AppKey::generate().unwrap(), crate::redis(&server))
        .empty_if_unavailable()
        .build()
        .unwrap();
    let mut visitor = Visitor::of(&store, "alice").await;
    server.kill();
    let session = visitor.load(&store).await.unwrap();
    assert_eq!(session.origin(), Origin::Refused(Refusal::Unavailable));
    assert!(session.is_empty());
    // Looking costs nothing, and leaves the cookie alone.
    assert_eq!(visitor.save(&store, &session).await, Ok(Answer::Nothing));
    session.insert("a", 1).unwrap();
    let error = visitor.save(&store, &session).await.unwrap_err();
    assert_eq!(error.backend().unwrap().kind(), UNAVAILABLE);
    assert!(visitor.cookie.is_some());
}

/// A client of sentinels gives each of them half a second, which a busy machine may need.
async fn connected(store: &RedisStore) {
    let answers = async || store.end_all_of("nobody").await.is_ok();
    wait_for("an answer of the master", answers).await;
}

#[tokio::test]
async fn when_a_replica_becomes_the_master_the_store_follows() {
    let mut sentinel = Sentinel::start().await;
    let redis = patient(Redis::sentinel(sentinel.client()));
    let store = RedisStore::new(AppKey::generate().unwrap(), redis);
    connected(&store).await;
    let mut visitor = Visitor::of(&store, "alice").await;
    let [master, replica] = &sentinel.servers;
    master.wait_until_on(replica).await;
    sentinel.servers[0].kill();
    assert_eq!(failure(&visitor, &store).await.kind(), UNAVAILABLE);
    sentinel.fail_over().await;
    // A request finds the new master by itself.
    connected(&store).await;
    assert_eq!(visitor.get(&store, "name").await.as_deref(), Some("alice"));
    assert_eq!(visitor.visit(&store, |s| s.renew()).await, Answer::Cookie);
    assert_eq!(store.end_all_of("alice").await, Ok(1));
}

#[tokio::test]
async fn a_master_that_has_become_a_replica_is_left_for_the_new_one() {
    let sentinel = Sentinel::start().await;
    let redis = patient(Redis::sentinel(sentinel.client()));
    let store = RedisStore::new(AppKey::generate().unwrap(), redis);
    connected(&store).await;
    let mut visitor = Visitor::of(&store, "alice").await;
    let [master, replica] = &sentinel.servers;
    master.wait_until_on(replica).await;
    sentinel.fail_over().await;
    // For as long as there are two masters, the one that is being left may take a save to its
    // grave.
    sentinel.wait_for_demotion().await;
    connected(&store).await;
    visitor
        .visit(&store, |s| s.insert("name", "after").unwrap())
        .await;
    assert_eq!(visitor.get(&store, "name").await.as_deref(), Some("after"));
    let mut master = sentinel.servers[1].connection().await;
    assert_eq!(records(&mut master).await.len(), 1);
}

#[tokio::test]
async fn a_replica_refuses_to_be_written_to() {
    let server = Server::start().await;
    let store = store(&server);
    let mut visitor = Visitor::of(&store, "alice").await;
    let mut connection = server.connection().await;
    let () = ask(&mut connection, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let session = visitor.load(&store).await.unwrap();
    session.insert("a", 1).unwrap();
    let error = visitor.save(&store, &session).await.unwrap_err();
    let error = error.backend().unwrap();
    assert_eq!(error.kind(), UNAVAILABLE);
    let text = error.to_string();
    assert!(
        text.starts_with("redis is not there: it answers READONLY;"),
        "{text}"
    );
    let () = ask(&mut connection, &["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(visitor.save(&store, &session).await, Ok(Answer::Nothing));
}

#[tokio::test]
async fn a_connection_manager_comes_back_by_itself() {
    let mut server = Server::start().await;
    let patience = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let manager = ConnectionManager::new_with_config(server.client(), patience);
    let manager = manager.await.unwrap();
    let store = RedisStore::new(AppKey::generate().unwrap(), Redis::connection(manager));
    Visitor::of(&store, "alice").await;
    server.start_again().await;
    Visitor::of(&store, "alice").await;
}
