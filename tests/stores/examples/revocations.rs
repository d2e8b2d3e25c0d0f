//! What a million ended sessions cost a fleet: `cargo run --release --example revocations`.

use std::fs;
use std::time::{Duration, Instant};

use http::HeaderMap;
use sealed_session::server::Redis;
use sealed_session::{AppKey, Origin, Refusal, RevocableCookieStore, Session};
use sealed_session_stores::redis::Server;

const MILLION: usize = 1_000_000;
const WRITERS: usize = 64;
const LOGOUTS: usize = 2_000;

#[tokio::main]
async fn main() {
    let server = Server::start().await;
    let key = AppKey::generate().unwrap();
    let process = || {
        let redis = Redis::open(server.url()).unwrap();
        let redis = redis.response_timeout(Duration::from_secs(30));
        let store = RevocableCookieStore::builder(key.clone(), redis);
        store.build().unwrap()
    };
    let (one, other) = (process(), process());
    one.catch_up().await.unwrap();

    let start = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| tokio::spawn(end_sessions(one.clone(), MILLION / WRITERS)))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} sessions ended by {WRITERS} tasks in {seconds:.1} s",
        one.listed()
    );
    println!("Redis holds {}", used_memory(&server).await);

    let (start, before) = (Instant::now(), resident());
    other.catch_up().await.unwrap();
    println!(
        "another process has read {} in {:.1} s and {} KiB more",
        other.listed(),
        start.elapsed().as_secs_f64(),
        resident() - before
    );

    tokio::spawn(other.keep_current());
    let mut delays = Vec::new();
    for _ in 0..LOGOUTS {
        delays.push(delay(&one, &other).await);
    }
    delays.sort();
    println!(
        "{LOGOUTS} logouts, from the handler until another process refuses: median {:?}, \
         99 of 100 within {:?}, at most {:?}",
        delays[LOGOUTS / 2],
        delays[LOGOUTS * 99 / 100],
        delays[LOGOUTS - 1]
    );

    let mut connection = server.connection().await;
    let flush = redis::cmd("FLUSHALL");
    flush.exec_async(&mut connection).await.unwrap();
    let start = Instant::now();
    let late = process();
    while late.listed() < one.listed() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        late.catch_up().await.unwrap();
    }
    println!(
        "emptied, and all put back after {:.1} s",
        start.elapsed().as_secs_f64()
    );
}

async fn end_sessions(store: RevocableCookieStore, count: usize) {
    for _ in 0..count {
        let session = new_session(&store);
        let outgoing = store.respond(&session).await.unwrap();
        drop(outgoing);
        let (id, until) = (session.id().unwrap(), session.expires_at().unwrap());
        store.revoke(id, until).await.unwrap();
    }
}

fn new_session(store: &RevocableCookieStore) -> Session {
    let session = store.load(&HeaderMap::new()).unwrap();
    session.insert("user_id", 42).unwrap();
    session
}

async fn delay(one: &RevocableCookieStore, other: &RevocableCookieStore) -> Duration {
    let session = new_session(one);
    let mut response = HeaderMap::new();
    one.save(&session, &mut response).await.unwrap();
    let field = response["set-cookie"].to_str().unwrap();
    let pair = field.split(';').next().unwrap().to_owned();
    let session = other.load_from([pair.as_str()]).unwrap();
    assert_eq!(session.origin(), Origin::Opened);
    one.catch_up().await.unwrap();
    let session = one.load_from([pair.as_str()]).unwrap();
    session.destroy();
    let start = Instant::now();
    drop(one.respond(&session).await.unwrap());
    let revoked = Origin::Refused(Refusal::Revoked);
    while other.load_from([pair.as_str()]).unwrap().origin() != revoked {
        tokio::task::yield_now().await;
    }
    start.elapsed()
}

async fn used_memory(server: &Server) -> String {
    let info = server.info("memory").await;
    let line = info
        .lines()
        .find(|line| line.starts_with("used_memory_human"));
    line.unwrap_or_default().to_owned()
}

/// The process's memory, in KiB.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}
