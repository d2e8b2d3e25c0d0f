//! Requests that meet in one session, and processes that die in the middle of a save.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sealed_session::server::{
    Backend, BackendError, Cursor, Entry, Outcome, Promise, Redis, ServerStore, StoreKey, Stored,
    Tag, Value,
};
use sealed_session::{AppKey, Event, Origin, RedisStore, Refusal};
use sealed_session_stores::patience::wait_for;
use sealed_session_stores::redis::Server;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::{Answer, Visitor, ask, records, redis, store};

/// How often a slow request meets the end of its session.
const MEETINGS: usize = 10_000;

/// Pairs of requests at once.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_destroyed_while_a_slow_request_holds_it_stays_destroyed_ten_thousand_times()
 {
    let server = Server::start().await;
    let lost = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&lost);
    let store = RedisStore::builder(AppKey::generate().unwrap(), redis(&server).connections(2))
        .on_event(move |event| {
            counter.fetch_add(usize::from(event == Event::Lost), Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let mut tasks = JoinSet::new();
    for lane in 0..AT_ONCE {
        let store = store.clone();
        tasks.spawn(async move {
            for round in (lane..MEETINGS).step_by(AT_ONCE) {
                meet(&store, round).await;
            }
        });
    }
    tasks.join_all().await;
    let lost = lost.load(Ordering::Relaxed);
    let mut connection = server.connection().await;
    let left = records(&mut connection).await;
    println!("{MEETINGS} meetings: the slow request came too late {lost} times");
    assert!(left.is_empty(), "{} sessions came back", left.len());
    // Half of them come after the end has been answered; of the rest some come first.
    assert!((MEETINGS / 2..MEETINGS).contains(&lost), "{lost}");
}

/// The slow request comes before the end, or too late: then its answer says nothing of the cookie,
/// because by then the browser may have another one.
async fn meet(store: &RedisStore, round: usize) {
    let visitor = Visitor::of(store, &format!("subject {}", round % 100)).await;
    let slow = visitor.load(store).await.unwrap();
    let end = visitor.load(store).await.unwrap();
    slow.insert("late", round).unwrap();
    if round.is_multiple_of(5) {
        slow.renew();
    }
    end.destroy();
    let [mut one, mut other] = [visitor.clone(), visitor.clone()];
    let (answer, end) = match round % 4 {
        0 | 1 => {
            let end = other.save(store, &end).await;
            let answer = one.save(store, &slow).await;
            assert_eq!(answer, Ok(Answer::Nothing));
            (answer, end)
        }
        2 => tokio::join!(one.save(store, &slow), other.save(store, &end)),
        _ => {
            let (end, answer) = tokio::join!(other.save(store, &end), one.save(store, &slow));
            (answer, end)
        }
    };
    assert_eq!(end, Ok(Answer::Removal));
    assert_ne!(answer, Ok(Answer::Removal));
    for cookie in [Some(visitor), Some(one).filter(|one| one.cookie.is_some())] {
        let Some(visitor) = cookie else { continue };
        let again = visitor.load(store).await.unwrap();
        let origin = again.origin();
        assert!(
            matches!(origin, Origin::Refused(Refusal::Gone)),
            "{origin:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_requests_that_claim_one_entry_exactly_one_gets_it() {
    let server = Server::start().await;
    let store = RedisStore::new(AppKey::generate().unwrap(), redis(&server).connections(2));
    let mut visitor = Visitor::of(&store, "alice").await;
    for round in 0..100 {
        visitor
            .visit(&store, |session| session.insert("voucher", round).unwrap())
            .await;
        let mut sessions = Vec::new();
        for n in 0..12 {
            let session = visitor.load(&store).await.unwrap();
            assert_eq!(session.claim("voucher"), Ok(Some(round)));
            session.insert(&format!("key {n}"), round).unwrap();
            sessions.push(session);
        }
        let mut tasks = JoinSet::new();
        for session in sessions {
            let (store, mut visitor) = (store.clone(), visitor.clone());
            tasks.spawn(async move {
                let saved = visitor.save(&store, &session).await;
                if let Err(error) = &saved {
                    assert!(error.is_conflict(), "{error}");
                }
                saved.is_ok()
            });
        }
        let won = tasks.join_all().await.into_iter().filter(|won| *won);
        assert_eq!(won.count(), 1, "{round}");
        let session = visitor.load(&store).await.unwrap();
        assert!(!session.contains("voucher"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_change_different_keys_of_one_session_all_succeed() {
    let server = Server::start().await;
    let replays = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&replays);
    let store = RedisStore::builder(AppKey::generate().unwrap(), redis(&server).connections(2))
        .on_event(move |event| {
            counter.fetch_add(usize::from(event == Event::Replayed), Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let visitor = Visitor::of(&store, "alice").await;
    let (rounds, at_once) = (100, 12);
    for round in 0..rounds {
        let mut sessions = Vec::new();
        for _ in 0..at_once {
            sessions.push(visitor.load(&store).await.unwrap());
        }
        let mut tasks = JoinSet::new();
        for n in 0..at_once {
            let (store, mut visitor) = (store.clone(), visitor.clone());
            let session = sessions.pop().unwrap();
            tasks.spawn(async move {
                session.insert(&format!("key {n}"), round).unwrap();
                visitor.save(&store, &session).await.unwrap()
            });
        }
        assert!(
            tasks
                .join_all()
                .await
                .iter()
                .all(|answer| *answer == Answer::Nothing)
        );
        let session = visitor.load(&store).await.unwrap();
        for n in 0..at_once {
            assert_eq!(
                session.get(format!("key {n}").as_str()),
                Ok(Some(round)),
                "{n}"
            );
        }
        assert_eq!(session.get("name"), Ok(Some("alice".to_owned())));
    }
    let replays = replays.load(Ordering::Relaxed);
    println!(
        "{} saves, {replays} of them made again on another's",
        rounds * at_once
    );
    // All but the first of each round come second to another.
    assert!(replays >= rounds * (at_once - 1));
}

#[tokio::test]
async fn of_two_requests_that_change_one_key_the_later_save_stays() {
    let server = Server::start().await;
    let store = store(&server);
    let mut visitor = Visitor::of(&store, "alice").await;
    let [first, second] = [visitor.load(&store).await, visitor.load(&store).await];
    let [first, second] = [first.unwrap(), second.unwrap()];
    second.insert("name", "second").unwrap();
    first.insert("name", "first").unwrap();
    visitor.save(&store, &first).await.unwrap();
    visitor.save(&store, &second).await.unwrap();
    assert_eq!(visitor.get(&store, "name").await.as_deref(), Some("second"));
}

/// A [`Redis`] whose process dies after so many writes: the next never happens.
struct Dies {
    redis: Redis,
    writes: AtomicUsize,
    died: Arc<Notify>,
}

impl Dies {
    fn after(writes: usize, redis: Redis) -> Self {
        Self {
            redis,
            writes: AtomicUsize::new(writes),
            died: Arc::default(),
        }
    }

    async fn live(&self) {
        let left = self
            .writes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        if left.is_err() {
            self.died.notify_one();
            pending::<()>().await;
        }
    }
}

impl Backend for Dies {
    const PROMISE: Promise = Redis::PROMISE;

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        self.redis.load(key).await
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        self.live().await;
        self.redis.put(key, entry).await
    }

    async fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<(), BackendError> {
        self.live().await;
        self.redis.touch(key, ttl).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        self.live().await;
        self.redis.remove(key).await
    }

    async fn scan(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        self.redis.scan(after).await
    }

    async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        self.redis.tagged(tag).await
    }
}

/// Renews a session in a process that dies after each number of steps, and tells what became of
/// it. For a server and for a cluster.
pub(crate) async fn renew_and_die(redis: impl Fn() -> Redis) {
    let key = AppKey::generate().unwrap();
    let store = RedisStore::new(key.clone(), redis());
    for steps in 0..=2 {
        let mut visitor = Visitor::of(&store, "alice").await;
        let old = visitor.clone();
        let dying = ServerStore::new(key.clone(), Dies::after(steps, redis()));
        let died = Arc::clone(&dying.backend().died);
        let session = visitor.load(&dying).await.unwrap();
        session.renew();
        session.insert("name", "renewed").unwrap();
        let saved = tokio::select! {
            saved = visitor.save(&dying, &session) => Some(saved),
            () = died.notified() => None,
        };
        if steps == 2 {
            assert_eq!(saved, Some(Ok(Answer::Cookie)));
            let gone = old.load(&store).await.unwrap();
            assert_eq!(gone.origin(), Origin::Refused(Refusal::Moved));
            assert_eq!(
                visitor.get(&store, "name").await.as_deref(),
                Some("renewed")
            );
        } else {
            assert_eq!(saved, None, "it died");
            // The old session goes on as it was, and can be renewed once more.
            assert_eq!(old.get(&store, "name").await.as_deref(), Some("alice"));
            let mut visitor = old.clone();
            assert_eq!(visitor.visit(&store, |s| s.renew()).await, Answer::Cookie);
            let gone = old.load(&store).await.unwrap();
            assert_eq!(gone.origin(), Origin::Refused(Refusal::Moved));
            assert_eq!(visitor.get(&store, "name").await.as_deref(), Some("alice"));
        }
        // The record that nobody has the id of ends with the others.
        let ended = store.end_all_of("alice").await.unwrap();
        assert_eq!(ended, if steps == 1 { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_renewal_that_dies_between_two_steps_leaves_the_old_session_as_it_was() {
    let server = Server::start().await;
    renew_and_die(|| redis(&server)).await;
}

#[tokio::test]
async fn a_session_that_ends_between_the_steps_of_a_renewal_stays_ended() {
    let server = Server::start().await;
    let key = AppKey::generate().unwrap();
    let store = RedisStore::new(key.clone(), redis(&server));
    let mut visitor = Visitor::of(&store, "alice").await;
    let mut ending = visitor.clone();
    let dying = Dies::after(1, redis(&server));
    let halted = Arc::new(ServerStore::new(key, dying));
    let session = visitor.load(&halted).await.unwrap();
    session.renew();
    let other = Arc::clone(&halted);
    let renewal = tokio::spawn(async move { visitor.save(&other, &session).await });
    let mut connection = server.connection().await;
    let both_are_there = async || records(&mut connection).await.len() == 2;
    wait_for("the new record", both_are_there).await;
    // The task waits in its second step for ever; end the session, and drop it.
    assert_eq!(ending.visit(&store, |s| s.destroy()).await, Answer::Removal);
    renewal.abort();
    assert!(renewal.await.unwrap_err().is_cancelled());
    // What is left has an id that was never sent, and ends with the subject.
    assert_eq!(store.end_all_of("alice").await, Ok(1));
    assert_eq!(records(&mut connection).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_when_connections_break() {
    const KILLS: usize = 50;
    // Breaking waits for saves: however slow the machine, somebody gets through.
    const SAVES_PER_KILL: usize = 4;
    let server = Server::start().await;
    let store = store(&server);
    let visitor = Visitor::of(&store, "alice").await;
    let saves = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for n in 0..4 {
        let (store, mut visitor) = (store.clone(), visitor.clone());
        let (saves, enough) = (Arc::clone(&saves), Arc::clone(&enough));
        tasks.spawn(async move {
            let mut acknowledged = 0;
            for round in 1_u32.. {
                if enough.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(session) = visitor.load(&store).await else {
                    continue;
                };
                session.insert(&format!("counter {n}"), round).unwrap();
                if visitor.save(&store, &session).await.is_ok() {
                    acknowledged = round;
                    saves.fetch_add(1, Ordering::Relaxed);
                }
            }
            (n, acknowledged)
        });
    }
    let mut connection = server.connection().await;
    let mut kills = 0;
    while kills < KILLS {
        let before = saves.load(Ordering::Relaxed);
        wait_for("saves between two breaks", async || {
            saves.load(Ordering::Relaxed) >= before + SAVES_PER_KILL
        })
        .await;
        kills += ask::<usize>(&mut connection, &["CLIENT", "KILL", "SKIPME", "yes"]).await;
    }
    enough.store(true, Ordering::Relaxed);
    let acknowledged = tasks.join_all().await;
    let session = visitor.load(&store).await.unwrap();
    println!("{kills} connections broken; acknowledged up to {acknowledged:?}");
    for (n, acknowledged) in acknowledged {
        let there: Option<u32> = session.get(&format!("counter {n}")).unwrap();
        // What was not acknowledged may be there or not.
        assert!(there.unwrap_or(0) >= acknowledged);
    }
}
