//! What is in Redis, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use redis::AsyncCommands;
use sealed_session::server::conformance::Suite;
use sealed_session::server::{BackendErrorKind, Redis};
use sealed_session::{AppKey, Origin, RedisStore, Refusal};
use sealed_session_stores::patience::wait_for;
use sealed_session_stores::redis::{Server, patient};

use crate::{Answer, PREFIX, Visitor, ask, records, redis, store};

#[tokio::test]
async fn a_dump_of_redis_shows_no_id_no_subject_no_value_and_no_cookie() {
    let server = Server::start().await;
    let store = store(&server);
    let mut visitor = Visitor::of(&store, "alice@example.org").await;
    visitor
        .visit(&store, |s| s.insert("secret", "xyzzy").unwrap())
        .await;
    let session = visitor.load(&store).await.unwrap();
    let id = session.id().unwrap();

    let mut connection = server.connection().await;
    let keys: Vec<Vec<u8>> = connection.keys("*").await.unwrap();
    assert_eq!(keys.len(), 2);
    let mut dump = Vec::new();
    for key in keys {
        let mut get = redis::cmd("DUMP");
        let value: Vec<u8> = get.arg(&key).query_async(&mut connection).await.unwrap();
        dump.extend([key, value].concat());
    }
    assert!(dump.len() > 200);
    let cookie = visitor.cookie.as_ref().unwrap();
    let (_, token) = cookie.split_once('=').unwrap();
    for (what, needle) in [
        ("id", id.as_bytes().as_slice()),
        ("id in digits", id.to_string().as_bytes()),
        ("subject", b"alice"),
        ("name of a value", b"secret"),
        ("value", b"xyzzy"),
        ("cookie's nonce and ciphertext", &token.as_bytes()[8..40]),
    ] {
        let is_there = dump.windows(needle.len()).any(|part| part == needle);
        assert!(!is_there, "{what}");
    }
}

#[tokio::test]
async fn what_redis_has_does_not_open_as_a_cookie() {
    let server = Server::start().await;
    let store = store(&server);
    let _alice = Visitor::of(&store, "alice").await;
    let mut connection = server.connection().await;
    let key = records(&mut connection).await.remove(0);
    let value: String = connection.get(key).await.unwrap();
    let thief = Visitor {
        cookie: Some(format!("__Host-session={value}")),
    };
    let session = thief.load(&store).await.unwrap();
    assert_eq!(session.origin(), Origin::Refused(Refusal::Forged));
}

#[tokio::test]
async fn values_swapped_between_two_keys_are_refused() {
    let server = Server::start().await;
    let store = store(&server);
    let visitors = [
        Visitor::of(&store, "alice").await,
        Visitor::of(&store, "bob").await,
    ];
    let mut connection = server.connection().await;
    let keys = records(&mut connection).await;
    let [one, other] = keys.as_slice() else {
        panic!("{} records", keys.len());
    };
    let () = connection.rename(one, "aside").await.unwrap();
    let () = connection.rename(other, one).await.unwrap();
    let () = connection.rename("aside", other).await.unwrap();
    for visitor in visitors {
        let session = visitor.load(&store).await.unwrap();
        assert_eq!(session.origin(), Origin::Refused(Refusal::Swapped));
        assert!(session.is_empty());
    }
}

#[tokio::test]
async fn whatever_is_put_in_a_records_place_gives_a_fresh_session_or_an_error() {
    let server = Server::start().await;
    let store = store(&server);
    let alice = Visitor::of(&store, "alice").await;
    let mut connection = server.connection().await;
    let key = records(&mut connection).await.remove(0);
    let value: String = connection.get(&key).await.unwrap();
    let half = &value[..value.len() / 2];
    for hostile in [
        b"".as_slice(),
        b"junk",
        b"\xff\xfe\x00",
        half.as_bytes(),
        &[b'A'; 3_000_000],
    ] {
        let () = connection.set(&key, hostile).await.unwrap();
        let session = alice.load(&store).await.unwrap();
        let origin = session.origin();
        assert!(
            matches!(
                origin,
                Origin::Refused(Refusal::BadValue | Refusal::UnknownVersion)
            ),
            "{origin:?}"
        );
    }
    let () = connection.del(&key).await.unwrap();
    let () = connection.sadd(&key, "member").await.unwrap();
    let error = alice.load(&store).await.unwrap_err();
    let error = error.backend().unwrap();
    assert_eq!(error.kind(), BackendErrorKind::Other);
    let start = "redis refused: it answers WRONGTYPE;";
    assert!(error.to_string().starts_with(start), "{error}");
}

/// Reads every command of the server, those within scripts too, while a session goes through
/// all that happens to one.
#[tokio::test]
async fn no_record_is_without_an_expiry_at_any_moment() {
    let server = Server::start().await;
    let mut monitor = server
        .client()
        .get_async_monitor()
        .await
        .unwrap()
        .into_on_message();
    let now = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now);
    let start = SystemTime::now();
    let store = RedisStore::builder(AppKey::generate().unwrap(), redis(&server))
        .idle_timeout(Duration::from_secs(6000))
        .longest_request(Duration::ZERO)
        .clock(move || start + Duration::from_secs(clock.load(Ordering::Relaxed)))
        .build()
        .unwrap();
    let mut connection = server.connection().await;
    let mut visitor = Visitor::of(&store, "alice").await;
    visitor.visit(&store, |s| s.insert("a", 1).unwrap()).await;
    // As if half of the time had passed, for the server and for the store.
    let record = records(&mut connection).await.remove(0);
    let () = connection.pexpire(&record, 3_000_000).await.unwrap();
    now.store(3000, Ordering::Relaxed);
    visitor.visit(&store, |_| ()).await;
    visitor.visit(&store, |s| s.renew()).await;
    for key in connection.keys::<_, Vec<String>>("*").await.unwrap() {
        let ttl: i64 = connection.pttl(&key).await.unwrap();
        assert!(ttl > 0, "{key}: {ttl}");
    }
    visitor.visit(&store, |s| s.destroy()).await;
    let () = ask(&mut connection, &["PING", "the end"]).await;

    let mut sent = Vec::new();
    loop {
        let line: String = monitor.next().await.unwrap();
        if line.contains("the end") {
            break;
        }
        sent.push(line);
    }
    let by_script = |line: &&String| line.contains(" lua] ");
    let of = |name: &str| {
        let name = format!(" \"{name}\" ");
        let is_meant = move |line: &&String| line.contains(&name);
        sent.iter().filter(is_meant).collect::<Vec<_>>()
    };
    let sets = of("SET");
    // Two saves; for the renewal a record and a mark.
    assert_eq!(sets.len(), 4, "{sent:#?}");
    assert!(sets.iter().all(|line| line.contains("\"PX\"")));
    assert!(sets.iter().all(by_script));
    // An index is written by a script too, which nothing comes between, and gets its expiry there.
    assert_eq!(of("ZADD").len(), 3);
    assert_eq!(of("PEXPIREAT").len(), 3);
    assert!(of("ZADD").iter().chain(&of("PEXPIREAT")).all(by_script));
    // The test's own, and the touch.
    assert_eq!(of("PEXPIRE").len(), 2);
    let writes = [
        "PERSIST", "GETSET", "APPEND", "SETRANGE", "RENAME", "COPY", "RESTORE",
    ];
    assert!(writes.iter().all(|name| of(name).is_empty()));
}

#[tokio::test]
async fn a_record_expires_with_its_session_to_the_millisecond() {
    let server = Server::start().await;
    let mut monitor = server
        .client()
        .get_async_monitor()
        .await
        .unwrap()
        .into_on_message();
    let start = SystemTime::now();
    let store = RedisStore::builder(AppKey::generate().unwrap(), redis(&server))
        .lifetime(Duration::from_millis(3_456_789))
        .clock(move || start)
        .build()
        .unwrap();
    let mut connection = server.connection().await;
    let mut visitor = Visitor::default();
    visitor.visit(&store, |s| s.insert("a", 1).unwrap()).await;
    let () = ask(&mut connection, &["PING", "the end"]).await;
    let mut milliseconds = None;
    loop {
        let line: String = monitor.next().await.unwrap();
        if line.contains("the end") {
            break;
        }
        if let Some((_, after)) = line.split_once("\"PX\" ") {
            milliseconds = Some(after.trim().to_owned());
        }
    }
    assert_eq!(milliseconds.as_deref(), Some("\"3456789\""));

    // And Redis gives nothing out once it has passed.
    let milliseconds = |time: (i64, i64)| time.0 * 1000 + time.1 / 1000;
    let before = milliseconds(ask(&mut connection, &["TIME"]).await);
    let soon = start + Duration::from_millis(60);
    visitor.visit(&store, |s| s.set_expiry(soon).unwrap()).await;
    wait_for("the expiry", async || {
        records(&mut connection).await.is_empty()
    })
    .await;
    let after = milliseconds(ask(&mut connection, &["TIME"]).await);
    assert!(after >= before + 60);
    let session = visitor.load(&store).await.unwrap();
    assert_eq!(session.origin(), Origin::Refused(Refusal::Gone));
}

#[tokio::test]
async fn a_touch_moves_the_expiry_and_writes_no_value() {
    let server = Server::start().await;
    let now = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now);
    let start = SystemTime::now();
    let store = RedisStore::builder(AppKey::generate().unwrap(), redis(&server))
        .idle_timeout(Duration::from_secs(1000))
        .longest_request(Duration::ZERO)
        .clock(move || start + Duration::from_secs(clock.load(Ordering::Relaxed)))
        .build()
        .unwrap();
    let mut visitor = Visitor::of(&store, "alice").await;
    let mut connection = server.connection().await;
    let key = records(&mut connection).await.remove(0);
    let before: String = connection.get(&key).await.unwrap();
    // As if half of the time had passed, for the server and for the store.
    let () = connection.pexpire(&key, 500_000).await.unwrap();
    now.store(500, Ordering::Relaxed);
    let () = ask(&mut connection, &["CONFIG", "RESETSTAT"]).await;
    assert_eq!(visitor.visit(&store, |_| ()).await, Answer::Nothing);
    let stats = server.info("commandstats").await;
    assert!(stats.contains("cmdstat_pexpire:calls=1,"), "{stats}");
    assert!(!stats.contains("cmdstat_eval"), "{stats}");
    assert_eq!(connection.get::<_, String>(&key).await.unwrap(), before);
    let ttl: i64 = connection.pttl(&key).await.unwrap();
    assert!((500_001..=1_000_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_subjects_index_lasts_as_long_as_its_sessions_may_be_touched_and_no_longer() {
    let server = Server::start().await;
    let hour = Duration::from_secs(3600);
    let store = RedisStore::builder(AppKey::generate().unwrap(), redis(&server))
        .lifetime(2 * hour)
        .idle_timeout(hour)
        .longest_request(Duration::ZERO)
        .build()
        .unwrap();
    let mut visitor = Visitor::of(&store, "alice").await;
    let mut connection = server.connection().await;
    let record = records(&mut connection).await.remove(0);
    let ttl: i64 = connection.pttl(&record).await.unwrap();
    assert!((1_800_000..=3_600_000).contains(&ttl), "{ttl}");
    let indexes: Vec<String> = connection.keys(format!("{PREFIX}subject:*")).await.unwrap();
    let [index] = indexes.as_slice() else {
        panic!("{indexes:?}");
    };
    let ttl: i64 = connection.pttl(index).await.unwrap();
    assert!((9_000_000..=10_800_000).contains(&ttl), "{ttl}");
    // A key whose time has come goes with the next save.
    let () = connection.zadd(index, "old", 1).await.unwrap();
    assert_eq!(connection.zcard(index).await, Ok(2));
    visitor.visit(&store, |s| s.insert("a", 1).unwrap()).await;
    assert_eq!(connection.zcard(index).await, Ok(1));
}

#[tokio::test]
async fn ending_all_sessions_of_a_subject_costs_as_many_commands_as_it_has_sessions() {
    let server = Server::start().await;
    let store = store(&server);
    let mut connection = server.connection().await;
    let mut costs = Vec::new();
    for others in [5, 300] {
        let mut devices = Vec::new();
        for _ in 0..4 {
            devices.push(Visitor::of(&store, "alice").await);
        }
        let bob = Visitor::of(&store, "bob").await;
        for other in 0..others {
            Visitor::of(&store, &format!("other {other}")).await;
        }
        let () = ask(&mut connection, &["CONFIG", "RESETSTAT"]).await;
        assert_eq!(store.end_all_of("alice").await, Ok(4));
        let stats = server.info("commandstats").await;
        assert!(
            !stats.contains("cmdstat_scan") && !stats.contains("keys"),
            "{stats}"
        );
        costs.push(calls(&stats));
        for device in devices {
            let session = device.load(&store).await.unwrap();
            assert_eq!(session.origin(), Origin::Refused(Refusal::Gone));
        }
        assert_eq!(bob.get(&store, "name").await.as_deref(), Some("bob"));
    }
    // The index twice, each time a script with one command; each session's value, expiry and end,
    // which is a script with two; the second time also the keys of the sessions that have ended
    // the first time.
    assert_eq!(costs, [2 * 2 + 5 * 4, 2 * 2 + 5 * 4 + 2 * 4]);
    assert_eq!(store.end_all_of("nobody").await, Ok(0));
}

/// All calls but those of the test itself.
fn calls(stats: &str) -> u64 {
    let own = ["info", "config|resetstat", "client|setinfo"];
    let lines = stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_"));
    let counts = lines.filter_map(|line| {
        let (name, rest) = line.split_once(":calls=")?;
        let count: u64 = rest.split(',').next()?.parse().ok()?;
        Some(count).filter(|_| !own.contains(&name))
    });
    counts.sum()
}

#[tokio::test]
async fn ending_those_that_match_sees_every_session_and_nothing_else() {
    let server = Server::start().await;
    let key = AppKey::generate().unwrap();
    let odd = r"sh*p[1]?\^-:";
    let redis = redis(&server).prefix(odd);
    let store = RedisStore::new(key, redis);
    let neighbour = crate::store(&server);
    let mut connection = server.connection().await;
    let ours = Visitor::of(&neighbour, "alice").await;
    let () = connection.set("ship1:a stranger's", 1).await.unwrap();
    let () = connection
        .set(format!("{odd}a stranger's"), 1)
        .await
        .unwrap();
    let mut visitors = Vec::new();
    for n in 0..1200 {
        visitors.push(Visitor::of(&store, ["even", "odd"][n % 2]).await);
    }
    let mut seen = 0;
    let ended = store
        .retain(|session| {
            seen += 1;
            session.subject().as_deref() != Some("odd")
        })
        .await;
    assert_eq!(ended, Ok(600));
    assert!(seen >= 1200);
    for (n, visitor) in visitors.iter().enumerate().step_by(97) {
        let session = visitor.load(&store).await.unwrap();
        assert_eq!(session.is_empty(), n % 2 == 1);
    }
    assert_eq!(ours.get(&neighbour, "name").await.as_deref(), Some("alice"));
    assert_eq!(
        connection.exists(format!("{odd}a stranger's")).await,
        Ok(true)
    );
}

#[tokio::test]
async fn it_keeps_what_the_trait_asks_of_a_backend() {
    let server = Server::start().await;
    for redis in [
        redis(&server),
        redis(&server).connections(4).prefix("four:"),
        patient(Redis::open(format!("redis+unix://{}", server.socket().display())).unwrap()),
        Redis::connection(server.connection().await),
    ] {
        let suite = Suite::new(&redis, tokio::time::sleep);
        suite.check().await.unwrap();
    }
}

#[tokio::test]
async fn no_error_and_no_debug_text_holds_a_key_a_value_or_a_password() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    let alice = [
        "ACL", "SETUSER", "alice", "on", ">hunter2", "~*", "+@all", "-eval",
    ];
    let () = ask(&mut connection, &alice).await;
    let at = |password: &str| {
        let port = server.port();
        patient(Redis::open(format!("redis://alice:{password}@127.0.0.1:{port}")).unwrap())
    };
    let ring = AppKey::generate().unwrap();
    for (password, said) in [
        (
            "hunter3",
            "redis refused: authentication failed; see its log, and what its user may do",
        ),
        (
            "hunter2",
            "redis refused: it answers NOPERM; see its log, and what its user may do",
        ),
    ] {
        let store = RedisStore::new(ring.clone(), at(password));
        let mut visitor = Visitor::default();
        let session = visitor.load(&store).await.unwrap();
        session.insert("secret", "xyzzy").unwrap();
        let error = visitor.save(&store, &session).await.unwrap_err();
        let backend = error.backend().unwrap();
        assert_eq!(backend.kind(), BackendErrorKind::Other);
        assert_eq!(backend.to_string(), said);
        let text = format!("{error} {error:?} {store:?} {:?}", store.backend());
        for needle in ["hunter", "xyzzy", "session:"] {
            // The prefix is no key.
            let text = text.replace("prefix: \"session:\"", "");
            assert!(!text.contains(needle), "{text}");
        }
    }
    let error = Redis::open("http://user:hunter2@localhost").unwrap_err();
    assert_eq!(error.setting(), "redis URL");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_subjects_sessions_are_listed_and_end_one_by_one_all_others_and_by_their_sid() {
    let server = Server::start().await;
    let store = store(&server);
    let mut visitors = Vec::new();
    for (label, sid) in [("phone", "s1"), ("laptop", "s2"), ("tablet", "s1")] {
        let mut visitor = Visitor::of(&store, "alice").await;
        visitor
            .visit(&store, |session| {
                session.set_label(label).unwrap();
                session.set_sid(sid).unwrap();
            })
            .await;
        visitors.push(visitor);
    }
    let _bob = Visitor::of(&store, "bob").await;
    let labels = async || {
        let listed = store.sessions_of("alice").await.unwrap();
        let mut labels: Vec<_> = listed.into_iter().filter_map(|it| it.label).collect();
        labels.sort();
        labels
    };
    assert_eq!(labels().await, ["laptop", "phone", "tablet"]);
    let phone = visitors[0].load(&store).await.unwrap();
    let id = phone.id().unwrap();
    assert_eq!(store.end_one_of("bob", id).await, Ok(false));
    assert_eq!(store.end_one_of("alice", id).await, Ok(true));
    assert_eq!(labels().await, ["laptop", "tablet"]);
    assert_eq!(store.end_all_of_sid("s1").await, Ok(1));
    assert_eq!(labels().await, ["laptop"]);
    let _other = Visitor::of(&store, "alice").await;
    let laptop = visitors[1].load(&store).await.unwrap();
    assert_eq!(store.end_others_of("alice", &laptop).await, Ok(1));
    assert_eq!(labels().await, ["laptop"]);
    assert_eq!(store.sessions_of("bob").await.unwrap().len(), 1);
}
