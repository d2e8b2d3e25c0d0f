//! Sessions in cookies that end across processes: stores that share nothing but keys and a real
//! Redis.

#[path = "revocation/attacks.rs"]
mod attacks;
#[path = "revocation/bound.rs"]
mod bound;
#[path = "revocation/lifetimes.rs"]
mod lifetimes;
#[path = "revocation/managed.rs"]
mod managed;
#[path = "revocation/stopped.rs"]
mod stopped;

use std::future::{Ready, ready};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use http::header::{COOKIE, SET_COOKIE, VARY};
use http::{HeaderMap, Request, Response, StatusCode};
use sealed_session::frameworks::tower::PendingSession;
use sealed_session::server::{BackendErrorKind, Memory, Redis, ServerStore};
use sealed_session::{
    AppKey, Event, InFleet, KeyRing, Origin, Refusal, RevocableCookieStore, RevocationList,
    Session, SessionLayer, StoreBuilder,
};
use sealed_session_stores::patience::{PATIENCE, wait_for};
use sealed_session_stores::redis::{Cluster, Sentinel, Server, patient};
use tower_layer::Layer;
use tower_service::Service;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const STREAM: &str = "session:revocations:__Host-session";

type Store = RevocableCookieStore;

/// A time that moves only when it is told to, and what all processes of a fleet have in common.
struct Fleet<S = Server> {
    server: S,
    key: AppKey,
    now: Arc<Mutex<SystemTime>>,
    events: Arc<Mutex<Vec<Event>>>,
}

/// What a fleet's processes have in common.
trait Common {
    fn redis(&self) -> Redis;
}

impl Common for Server {
    fn redis(&self) -> Redis {
        patient(Redis::client(self.client()))
    }
}

impl Common for Sentinel {
    fn redis(&self) -> Redis {
        patient(Redis::sentinel(self.client()))
    }
}

impl Common for Cluster {
    fn redis(&self) -> Redis {
        Redis::cluster(self.client())
    }
}

impl Fleet {
    async fn new() -> Self {
        Self::of(Server::start().await)
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let mut ask = redis::cmd(command[0]);
        ask.arg(&command[1..]);
        let mut connection = self.server.connection().await;
        ask.query_async(&mut connection).await.unwrap()
    }
}

impl<S: Common> Fleet<S> {
    fn of(server: S) -> Self {
        Self {
            server,
            key: AppKey::generate().unwrap(),
            now: Arc::new(Mutex::new(SystemTime::now())),
            events: Arc::default(),
        }
    }

    fn builder(&self) -> StoreBuilder<InFleet> {
        self.builder_on(self.server.redis())
    }

    fn builder_on(&self, redis: Redis) -> StoreBuilder<InFleet> {
        let (now, events) = (Arc::clone(&self.now), Arc::clone(&self.events));
        RevocableCookieStore::builder(self.key.clone(), redis)
            .clock(move || *now.lock().unwrap())
            .on_event(move |event| events.lock().unwrap().push(event))
    }

    /// One more process, with what has ended so far.
    async fn process(&self) -> Store {
        let store = self.builder().build().unwrap();
        // A client of sentinels gives each of them half a second, which a busy machine may need.
        let is_current = async || store.catch_up().await.is_ok();
        wait_for("a process that has caught up", is_current).await;
        store
    }

    /// One that hears of what ends, too.
    async fn listening(&self) -> Store {
        let store = self.process().await;
        tokio::spawn(store.keep_current());
        store
    }

    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }

    fn forward(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
    }

    fn reported(&self, event: Event) -> bool {
        self.events.lock().unwrap().contains(&event)
    }
}

/// The request that follows a response which sets a session's cookie.
fn request_after(response: &HeaderMap) -> HeaderMap {
    let field = response[SET_COOKIE].to_str().unwrap();
    let pair = field.split(';').next().unwrap();
    HeaderMap::from_iter([(COOKIE, pair.parse().unwrap())])
}

async fn saved(store: &Store, session: &Session) -> HeaderMap {
    let mut response = HeaderMap::new();
    store.save(session, &mut response).await.unwrap();
    response
}

/// The requests of a visitor who has logged in.
async fn log_in(store: &Store) -> HeaderMap {
    let session = store.load(&HeaderMap::new()).unwrap();
    session.insert("user_id", 42).unwrap();
    session.set_subject("ada").unwrap();
    request_after(&saved(store, &session).await)
}

fn is_alive(store: &Store, request: &HeaderMap) -> bool {
    store.load(request).unwrap().contains("user_id")
}

fn is_revoked(store: &Store, request: &HeaderMap) -> bool {
    store.load(request).unwrap().origin() == Origin::Refused(Refusal::Revoked)
}

async fn until_revoked(store: &Store, request: &HeaderMap) {
    wait_for("a session's end", async || is_revoked(store, request)).await;
}

async fn log_out(store: &Store, request: &HeaderMap) {
    let session = store.load(request).unwrap();
    session.destroy();
    saved(store, &session).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_reaches_another_process_within_what_is_promised() {
    const RUNS: usize = 300;
    let fleet = Fleet::new().await;
    let one = fleet.listening().await;
    // By a real clock: what it has not heard in time it does not go by any more.
    let other = fleet.builder().clock(SystemTime::now).build().unwrap();
    other.catch_up().await.unwrap();
    tokio::spawn(other.keep_current());
    let mut delays = Vec::new();
    for _ in 0..RUNS {
        let request = log_in(&one).await;
        log_out(&one, &request).await;
        assert!(is_revoked(&one, &request), "at once where it happened");
        let start = Instant::now();
        loop {
            let asked = start.elapsed();
            assert!(asked < PATIENCE, "waited in vain for a session's end");
            match other.load(&request) {
                Ok(session) if session.contains("user_id") => assert!(asked < PROMISED),
                Ok(_) => break,
                Err(_) => {}
            }
            tokio::task::yield_now().await;
        }
        assert!(is_revoked(&other, &request));
        delays.push(start.elapsed());
    }
    delays.sort();
    let (median, most) = (delays[RUNS / 2], delays[RUNS - 1]);
    println!("{RUNS} logouts reached another process: median {median:?}, at most {most:?}");
}

/// The longest that a process may be without news, and so what is promised.
const PROMISED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_session_is_ended_by_another_process_of_the_system_that_was_told_its_id() {
    let fleet = Fleet::new().await;
    let store = fleet.listening().await;
    let (request, bystander) = (log_in(&store).await, log_in(&store).await);
    let id = store.load(&request).unwrap().id().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_revocation-child"));
    child.args(["end", &fleet.server.url(), &id.to_string()]);
    child.env("APP_KEY", &*fleet.key.to_base64());
    let status = tokio::task::spawn_blocking(move || child.status());
    assert!(status.await.unwrap().unwrap().success());
    until_revoked(&store, &request).await;
    assert!(is_alive(&store, &bystander));
}

#[tokio::test]
async fn a_copied_cookie_opens_nowhere_after_logout_and_in_no_process_that_starts_later() {
    let fleet = Fleet::new().await;
    let (one, other) = (fleet.process().await, fleet.listening().await);
    let request = log_in(&one).await;
    log_out(&one, &request).await;
    until_revoked(&other, &request).await;
    assert!(is_revoked(&fleet.process().await, &request));
    assert!(fleet.reported(Event::Expired(Refusal::Revoked)));
}

#[tokio::test]
async fn an_id_before_its_renewal_opens_for_ten_seconds_everywhere() {
    let fleet = Fleet::new().await;
    let one = fleet.process().await;
    let before = log_in(&one).await;
    let session = one.load(&before).unwrap();
    session.renew();
    let after = request_after(&saved(&one, &session).await);
    let other = fleet.process().await;
    for store in [&one, &other] {
        assert!(is_alive(store, &before) && is_alive(store, &after));
    }
    fleet.forward(10 * SECOND);
    for store in [&one, &other] {
        assert!(is_revoked(store, &before) && is_alive(store, &after));
    }
}

#[tokio::test]
async fn a_logout_in_one_process_ends_what_another_has_made_of_the_session() {
    let fleet = Fleet::new().await;
    let (one, other) = (fleet.listening().await, fleet.listening().await);
    let before = log_in(&one).await;
    let mut now = before.clone();
    for _ in 0..2 {
        let session = one.load(&now).unwrap();
        session.renew();
        now = request_after(&saved(&one, &session).await);
    }
    // In the order of the stream: what comes last is known with all before it.
    let witness = log_in(&one).await;
    log_out(&one, &witness).await;
    until_revoked(&other, &witness).await;

    let late = other.load(&before).unwrap();
    late.insert("late", 1).unwrap();
    let error = other.save(&late, &mut HeaderMap::new()).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");

    log_out(&other, &before).await;
    assert!(is_revoked(&other, &now) && is_revoked(&other, &before));
    until_revoked(&one, &now).await;
    assert!(is_revoked(&fleet.process().await, &now));
}

#[tokio::test]
async fn a_copy_that_a_thief_has_renewed_ends_with_its_subject() {
    let fleet = Fleet::new().await;
    let (one, other) = (fleet.process().await, fleet.listening().await);
    let own = log_in(&one).await;
    let stolen = other.load(&own).unwrap();
    stolen.renew();
    let stolen = request_after(&saved(&other, &stolen).await);
    log_out(&one, &own).await;
    fleet.forward(SECOND);
    assert!(is_alive(&other, &stolen), "it is another session by now");

    one.revoke_subject("ada", fleet.now()).await.unwrap();
    until_revoked(&other, &stolen).await;
    let again = log_in(&one).await;
    assert!(is_alive(&one, &again) && is_alive(&other, &again));
}

#[tokio::test]
async fn one_session_and_all_end_from_elsewhere() {
    let fleet = Fleet::new().await;
    let (one, other) = (fleet.process().await, fleet.listening().await);
    let (first, second) = (log_in(&one).await, log_in(&one).await);
    let session = other.load(&first).unwrap();
    let (id, until) = (session.id().unwrap(), session.expires_at().unwrap());
    one.revoke(id, until).await.unwrap();
    until_revoked(&other, &first).await;
    assert!(is_alive(&other, &second));

    fleet.forward(SECOND);
    one.revoke_all(fleet.now()).await.unwrap();
    let ended = async || !is_alive(&other, &second);
    wait_for("the end of all sessions", ended).await;
    let origin = other.load(&second).unwrap().origin();
    assert_eq!(origin, Origin::Refused(Refusal::Cutoff));
}

#[tokio::test]
async fn a_moment_counts_at_most_a_minute_ahead() {
    let fleet = Fleet::new().await;
    let one = fleet.process().await;
    one.revoke_subject("ada", fleet.now() + HOUR).await.unwrap();
    fleet.forward(60 * SECOND);
    one.catch_up().await.unwrap();
    assert!(is_alive(&one, &log_in(&one).await));
}

#[tokio::test]
async fn what_ends_no_session_asks_nobody() {
    let fleet = Fleet::new().await;
    let store = fleet.process().await;
    let request = log_in(&store).await;
    fleet.server.pause();
    let session = store.load(&request).unwrap();
    session.insert("cart", 3).unwrap();
    let next = request_after(&saved(&store, &session).await);
    assert_eq!(store.load(&next).unwrap().get("cart"), Ok(Some(3)));
    fleet.server.resume();
}

#[tokio::test]
async fn an_end_that_redis_does_not_take_is_an_error_and_no_header() {
    type End = fn(&Session);
    for end in [Session::destroy as End, Session::renew] {
        let mut fleet = Fleet::new().await;
        let store = fleet.process().await;
        let request = log_in(&store).await;
        for kind in [BackendErrorKind::Timeout, BackendErrorKind::Unavailable] {
            if kind == BackendErrorKind::Timeout {
                fleet.server.pause();
            } else {
                fleet.server.kill();
            }
            let session = store.load(&request).unwrap();
            end(&session);
            let mut response = HeaderMap::new();
            // It is later only when everybody waits.
            tokio::time::pause();
            let error = store.save(&session, &mut response).await.unwrap_err();
            tokio::time::resume();
            assert_eq!(error.backend().unwrap().kind(), kind);
            assert!(response.is_empty());
            assert!(is_alive(&store, &request), "nothing has happened here");
        }
        fleet.server.start_again().await;
        let session = store.load(&request).unwrap();
        end(&session);
        saved(&store, &session).await;
        fleet.forward(10 * SECOND);
        store.catch_up().await.unwrap();
        assert!(is_revoked(&store, &request));
    }
}

#[tokio::test]
async fn a_full_redis_takes_no_end() {
    let fleet = Fleet::new().await;
    let store = fleet.process().await;
    let request = log_in(&store).await;
    let _: () = fleet.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let session = store.load(&request).unwrap();
    session.destroy();
    let error = store.respond(&session).await.unwrap_err();
    assert_eq!(error.backend().unwrap().kind(), BackendErrorKind::Full);
}

/// Ends the session of every request.
#[derive(Clone)]
struct LogOut;

impl Service<Request<()>> for LogOut {
    type Response = Response<String>;
    type Error = ();
    type Future = Ready<Result<Response<String>, ()>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let pending: &PendingSession = request.extensions().get().unwrap();
        let mut session = std::pin::pin!(pending.session());
        let mut context = Context::from_waker(std::task::Waker::noop());
        // Loading never waits.
        match session.as_mut().poll(&mut context) {
            Poll::Ready(Ok(session)) => session.destroy(),
            outcome => panic!("{outcome:?}"),
        }
        ready(Ok(Response::new("bye".to_owned())))
    }
}

#[tokio::test]
async fn no_answer_leaves_the_layer_before_redis_knows() {
    let mut fleet = Fleet::new().await;
    let (store, other) = (fleet.process().await, fleet.process().await);
    let mut service = SessionLayer::new(store.clone()).layer(LogOut);
    let mut answer = async |request: &HeaderMap| {
        let mut get = Request::new(());
        *get.headers_mut() = request.clone();
        service.call(get).await.unwrap()
    };
    let request = log_in(&store).await;
    let response = answer(&request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let removal = response.headers()[SET_COOKIE].to_str().unwrap();
    assert!(removal.starts_with("__Host-session=; "));
    other.catch_up().await.unwrap();
    assert!(is_revoked(&other, &request));

    let request = log_in(&store).await;
    fleet.server.kill();
    let response = answer(&request).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!response.headers().contains_key(SET_COOKIE));
    assert_eq!(
        response.headers()[VARY],
        "Cookie",
        "the 500 is the visitor's own"
    );
    assert!(fleet.reported(Event::SaveFailed));
    fleet.server.start_again().await;
}

#[tokio::test]
async fn a_process_that_does_not_hear_from_redis_opens_no_session_and_guests_come_in() {
    let mut fleet = Fleet::new().await;
    let store = fleet.builder().build().unwrap();
    let elsewhere = fleet.process().await;
    let request = log_in(&elsewhere).await;
    let error = store.load(&request).unwrap_err();
    let kind = BackendErrorKind::Unavailable;
    assert_eq!(error.backend().unwrap().kind(), kind, "never caught up");

    store.catch_up().await.unwrap();
    let following = tokio::spawn(store.keep_current());
    assert!(is_alive(&store, &request));
    fleet.server.kill();
    wait_for("a report", async || fleet.reported(Event::BackendFailed)).await;
    fleet.forward(10 * SECOND);
    assert!(is_alive(&store, &request));
    fleet.forward(Duration::from_millis(1));
    assert_eq!(store.load(&request).unwrap_err(), error);
    assert_eq!(
        store.load(&HeaderMap::new()).unwrap().origin(),
        Origin::Absent
    );

    fleet.server.start_again().await;
    let opens = async || store.load(&request).is_ok();
    wait_for("Redis to be heard again", opens).await;
    drop(store);
    following.await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_to_go_on_does_so_with_what_it_knows_and_says_so() {
    let mut fleet = Fleet::new().await;
    let store = fleet.builder().go_on_while_away().build().unwrap();
    store.catch_up().await.unwrap();
    let (ended, alive) = (log_in(&store).await, log_in(&store).await);
    log_out(&store, &ended).await;
    fleet.server.kill();
    assert!(is_alive(&store, &alive) && !fleet.reported(Event::BackendFailed));
    fleet.forward(11 * SECOND);
    assert!(is_alive(&store, &alive) && fleet.reported(Event::BackendFailed));
    assert!(is_revoked(&store, &ended));
    let session = store.load(&alive).unwrap();
    session.destroy();
    assert!(store.respond(&session).await.is_err(), "nothing ends");
    fleet.server.start_again().await;
}

#[tokio::test]
async fn what_redis_has_lost_is_put_back() {
    let mut fleet = Fleet::new().await;
    let processes = [fleet.listening().await, fleet.listening().await];
    let [one, other] = &processes;
    for how in ["restart", "FLUSHALL", "the last entry"] {
        let (first, last) = (log_in(one).await, log_in(one).await);
        log_out(one, &first).await;
        log_out(other, &last).await;
        one.revoke_subject(how, fleet.now()).await.unwrap();
        until_revoked(other, &first).await;
        until_revoked(one, &last).await;
        let before = one.listed();
        match how {
            "restart" => fleet.server.start_again().await,
            "FLUSHALL" => fleet.ask(&[how]).await,
            _ => {
                let last: Vec<(String, Vec<String>)> = fleet
                    .ask(&["XREVRANGE", STREAM, "+", "-", "COUNT", "1"])
                    .await;
                let _: () = fleet.ask(&["XDEL", STREAM, &last[0].0]).await;
            }
        }
        // With how long sessions live.
        let is_back = async || fleet.ask::<usize>(&["XLEN", STREAM]).await > before;
        wait_for("a whole stream", is_back).await;
        let late = fleet.process().await;
        assert!(is_revoked(&late, &first) && is_revoked(&late, &last));
        assert_eq!(late.listed(), before);
        // Neither process puts back what the other has put back already.
        for store in &processes {
            store.catch_up().await.unwrap();
        }
        let length: usize = fleet.ask(&["XLEN", STREAM]).await;
        assert_eq!(length, before + 1, "{how}");
    }
}

#[tokio::test]
async fn a_failover_brings_no_session_back() {
    let mut fleet = Fleet::of(Sentinel::start().await);
    let (one, other) = (fleet.listening().await, fleet.listening().await);
    let (first, last) = (log_in(&one).await, log_in(&one).await);
    log_out(&one, &first).await;
    until_revoked(&other, &first).await;
    // The replica hears no more, and becomes the master without the last entry.
    let [master, replica] = &fleet.server.servers;
    replica.pause();
    let cut = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "REPLICA"])
        .take();
    let cut: usize = cut
        .query_async(&mut master.connection().await)
        .await
        .unwrap();
    assert_eq!(cut, 1);
    log_out(&one, &last).await;
    until_revoked(&other, &last).await;
    fleet.server.servers[0].kill();
    fleet.server.servers[1].resume();
    fleet.server.fail_over().await;
    wait_for("a whole stream", async || {
        let late = fleet.builder().build().unwrap();
        late.catch_up().await.is_ok() && is_revoked(&late, &first) && is_revoked(&late, &last)
    })
    .await;
    let is_current = async || one.catch_up().await.is_ok();
    wait_for("a process that follows the new master", is_current).await;
    let third = log_in(&one).await;
    log_out(&one, &third).await;
    until_revoked(&other, &third).await;
}

#[tokio::test]
async fn a_cluster_and_a_connection_that_was_handed_in_are_asked_ten_times_a_second() {
    let fleet = Fleet::of(Cluster::start().await);
    let (one, other) = (fleet.process().await, fleet.listening().await);
    let request = log_in(&one).await;
    log_out(&one, &request).await;
    until_revoked(&other, &request).await;
    one.revoke_subject("ada", fleet.now()).await.unwrap();
    assert_eq!(fleet.process().await.listed(), 2);

    let fleet = Fleet::new().await;
    let given = Redis::connection(fleet.server.connection().await);
    let now = Arc::clone(&fleet.now);
    let other = RevocableCookieStore::builder(fleet.key.clone(), given)
        .clock(move || *now.lock().unwrap())
        .build()
        .unwrap();
    other.catch_up().await.unwrap();
    tokio::spawn(other.keep_current());
    let one = fleet.process().await;
    let request = log_in(&one).await;
    log_out(&one, &request).await;
    until_revoked(&other, &request).await;
}

#[tokio::test]
async fn nothing_is_kept_that_cannot_matter_any_more() {
    let fleet = Fleet::new().await;
    let builder = || fleet.builder().lifetime(SECOND / 2);
    let store = builder().build().unwrap();
    store.catch_up().await.unwrap();
    let request = log_in(&store).await;
    log_out(&store, &request).await;
    let until: u64 = fleet.ask(&["PEXPIRETIME", STREAM]).await;
    let entries: Vec<(String, Vec<String>)> = fleet.ask(&["XRANGE", STREAM, "-", "+"]).await;
    let (added, _) = entries[entries.len() - 1].0.split_once('-').unwrap();
    let ttl = until - added.parse::<u64>().unwrap();
    // The lifetime, an hour in which its news is told again, a minute for clocks that differ, ten
    // seconds of grace.
    assert!((3_660_000..3_680_000).contains(&ttl), "{ttl}");

    // An entry from so long ago, as Redis counts, that none of its time can be alive.
    let _: () = fleet.ask(&["DEL", STREAM]).await;
    let _: () = fleet.ask(&["XADD", STREAM, "1000-0", "t", "old"]).await;
    let request = log_in(&store).await;
    log_out(&store, &request).await;
    store.catch_up().await.unwrap();
    let oldest: Vec<(String, Vec<String>)> =
        fleet.ask(&["XRANGE", STREAM, "-", "+", "COUNT", "1"]).await;
    assert_ne!(oldest[0].0, "1000-0");
    fleet.forward(2 * HOUR);
    let late = builder().build().unwrap();
    late.catch_up().await.unwrap();
    assert_eq!(late.listed(), 0, "dead by the process's own clock");
}

#[tokio::test]
async fn redis_sees_no_id_and_no_subject_and_what_it_makes_up_ends_nothing() {
    let fleet = Fleet::new().await;
    let store = fleet.process().await;
    let (ended, alive) = (log_in(&store).await, log_in(&store).await);
    let id = store.load(&ended).unwrap().id().unwrap();
    log_out(&store, &ended).await;
    store.revoke_subject("grace", fleet.now()).await.unwrap();
    let entries: Vec<(String, Vec<String>)> = fleet.ask(&["XRANGE", STREAM, "-", "+"]).await;
    assert_eq!(entries.len(), 3, "and how long sessions live");
    for (_, fields) in &entries {
        let shown = fields.join(" ");
        assert!(!shown.contains("grace") && !shown.contains(&id.to_string()));
        assert!(fields[1].len() < 220, "{}", fields[1].len());
    }

    let cookie = alive[COOKIE].to_str().unwrap().split_once('=').unwrap().1;
    let mut forged = entries[1].1[1].clone();
    forged.replace_range(60..61, if &forged[60..61] == "A" { "B" } else { "A" });
    for junk in ["", "junk", cookie, &forged, &"x".repeat(100_000)] {
        let _: () = fleet.ask(&["XADD", STREAM, "*", "t", junk]).await;
    }
    let _: () = fleet.ask(&["XADD", STREAM, "*", "a", "b", "c", "d"]).await;
    let late = fleet.process().await;
    assert!(fleet.reported(Event::BackendFailed));
    assert_eq!(late.listed(), 2);
    assert!(is_revoked(&late, &ended) && is_alive(&late, &alive));

    let _: () = fleet.ask(&["DEL", STREAM]).await;
    let _: () = fleet.ask(&["SET", STREAM, "no stream"]).await;
    late.catch_up().await.unwrap();
    assert!(is_revoked(&fleet.process().await, &ended));
}

#[tokio::test]
async fn keys_rotate_and_entries_of_either_count() {
    let fleet = Fleet::new().await;
    let next = AppKey::generate().unwrap();
    let (one, other) = (fleet.process().await, fleet.process().await);
    let (first, second) = (log_in(&one).await, log_in(&one).await);
    one.replace_keys(
        KeyRing::new(next.clone())
            .accept(fleet.key.clone())
            .unwrap(),
    );
    log_out(&one, &first).await;
    other.catch_up().await.unwrap();
    assert!(is_alive(&other, &first), "it has not heard of the key");
    assert!(fleet.reported(Event::BackendFailed), "and says so");
    other.replace_keys(KeyRing::new(fleet.key.clone()).accept(next).unwrap());
    other.catch_up().await.unwrap();
    assert!(is_revoked(&other, &first));
    log_out(&other, &second).await;
    one.catch_up().await.unwrap();
    assert!(is_revoked(&one, &second));
}

#[tokio::test]
async fn many_ends_come_in_pages() {
    let fleet = Fleet::new().await;
    let store = fleet.process().await;
    let subjects: Vec<_> = (0..2500).map(|n| format!("user {n}")).collect();
    for subjects in subjects.chunks(100) {
        let ends = subjects.iter().map(|subject| {
            let (store, subject, now) = (store.clone(), subject.clone(), fleet.now());
            tokio::spawn(async move { store.revoke_subject(&subject, now).await })
        });
        for end in ends.collect::<Vec<_>>() {
            end.await.unwrap().unwrap();
        }
    }
    assert_eq!(fleet.process().await.listed(), 2500);
    let _: () = fleet.ask(&["FLUSHALL"]).await;
    store.catch_up().await.unwrap();
    assert_eq!(fleet.process().await.listed(), 2500);
}

#[test]
fn settings_that_cannot_be_are_refused_and_no_debug_shows_a_password() {
    let builder = || {
        let redis = Redis::open("redis://:swordfish@127.0.0.1/").unwrap();
        RevocableCookieStore::builder(AppKey::generate().unwrap(), redis)
    };
    let error = builder().max_staleness(SECOND / 100).build().unwrap_err();
    assert_eq!(error.setting(), "max_staleness");
    let shown = format!("{:?} {:?}", builder(), builder().build().unwrap());
    assert!(!shown.contains("swordfish"));
}

#[tokio::test]
async fn a_server_store_ends_those_of_its_sessions_that_are_in_cookies() {
    let list = RevocationList::new();
    let now = Arc::new(Mutex::new(SystemTime::now()));
    let clock = Arc::clone(&now);
    let store = ServerStore::builder(AppKey::generate().unwrap(), Memory::new())
        .small_in_cookie()
        .revocations(list.clone())
        .clock(move || *clock.lock().unwrap())
        .build()
        .unwrap();
    let log_in = async || {
        let session = store.load(&HeaderMap::new()).await.unwrap();
        session.insert("user_id", 42).unwrap();
        session.set_subject("ada").unwrap();
        let mut response = HeaderMap::new();
        store.save(&session, &mut response).await.unwrap();
        request_after(&response)
    };
    let change = async |request: &HeaderMap, change: &dyn Fn(&Session)| {
        let session = store.load(request).await.unwrap();
        change(&session);
        let mut response = HeaderMap::new();
        store.save(&session, &mut response).await.unwrap();
        response
    };
    let is_revoked = async |request: &HeaderMap| {
        let session = store.load(request).await.unwrap();
        session.origin() == Origin::Refused(Refusal::Revoked)
    };

    let request = log_in().await;
    change(&request, &Session::destroy).await;
    assert!(is_revoked(&request).await);

    // It moves to the backend, and there a list is not needed.
    let small = log_in().await;
    let grow = |session: &Session| session.insert("text", "x".repeat(5000)).unwrap();
    let large = request_after(&change(&small, &grow).await);
    assert!(!is_revoked(&small).await);
    *now.lock().unwrap() += 10 * SECOND;
    assert!(is_revoked(&small).await && !is_revoked(&large).await);
    let listed = list.len();
    change(&large, &Session::destroy).await;
    assert_eq!(list.len(), listed);

    let in_cookie = log_in().await;
    let in_backend = request_after(&change(&log_in().await, &grow).await);
    *now.lock().unwrap() += SECOND;
    assert_eq!(store.end_all_of("ada").await, Ok(1));
    assert!(is_revoked(&in_cookie).await);
    let session = store.load(&in_backend).await.unwrap();
    assert_eq!(session.origin(), Origin::Refused(Refusal::Gone));
}

#[tokio::test]
async fn a_visitor_logs_out_everywhere_else_and_stays_in_every_process() {
    let fleet = Fleet::new().await;
    let (one, other) = (fleet.process().await, fleet.listening().await);
    let (mut own, elsewhere) = (log_in(&one).await, log_in(&other).await);
    for ahead in [Duration::ZERO, HOUR] {
        fleet.forward(SECOND);
        let session = one.load(&own).unwrap();
        one.end_others_of("ada", &session, fleet.now() + ahead)
            .await
            .unwrap();
        own = request_after(&saved(&one, &session).await);
        until_revoked(&other, &elsewhere).await;
        assert!(is_alive(&one, &own) && is_alive(&other, &own));
    }
}

#[tokio::test]
async fn the_identity_provider_ends_a_login_in_every_process() {
    let fleet = Fleet::new().await;
    let (one, other) = (fleet.process().await, fleet.listening().await);
    let with_sid = async |sid: &str| {
        let session = one.load(&log_in(&one).await).unwrap();
        session.set_sid(sid).unwrap();
        request_after(&saved(&one, &session).await)
    };
    let longest = "s".repeat(255);
    for sid in ["s1", &longest] {
        let (ends, stays) = (with_sid(sid).await, with_sid("s2").await);
        fleet.forward(SECOND);
        one.revoke_sid(sid, fleet.now()).await.unwrap();
        one.revoke_sid("", fleet.now()).await.unwrap();
        until_revoked(&other, &ends).await;
        assert!(is_alive(&other, &stays));
        assert!(is_revoked(&fleet.process().await, &ends));
    }
}
