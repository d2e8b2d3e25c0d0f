//! Somebody who may use any command on the keys in Redis, and has no app key.
//!
//! Whatever they do: a process that starts afterwards refuses all that has ended, as long as a
//! process lives that knew of it, and what ends after it reaches all.

use std::time::Instant;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Value};

use super::*;

/// Within which what is missing comes back: it is noticed in a second, or after two rounds of
/// reading a stream of up to 500 entries again. The rest is for a machine that is busy.
const NOTICED: Duration = Duration::from_secs(8);

/// The same, if somebody also says that another process puts it back already.
const HELD_UP: Duration = Duration::from_secs(12);

/// The sessions that have ended, and what can be seen of them.
struct Target<'f> {
    fleet: &'f Fleet,
    prefix: String,
    one: Store,
    ended: Vec<HeaderMap>,
    alive: HeaderMap,
    attacker: Attacker,
}

struct Attacker {
    connection: MultiplexedConnection,
    stream: String,
    /// What the stream held at first: ids and tokens.
    entries: Vec<(String, String)>,
    dump: Vec<u8>,
}

impl<'f> Target<'f> {
    async fn new(fleet: &'f Fleet, prefix: &str) -> Self {
        let prefix = format!("{prefix}:");
        let one = Self::process(fleet, &prefix).await;
        tokio::spawn(one.keep_current());
        let mut ended = Vec::new();
        for _ in 0..4 {
            let request = log_in(&one).await;
            log_out(&one, &request).await;
            ended.push(request);
        }
        one.revoke_subject("grace", fleet.now()).await.unwrap();
        let alive = log_in(&one).await;
        let mut attacker = Attacker {
            connection: fleet.server.connection().await,
            stream: format!("{prefix}revocations:__Host-session"),
            entries: Vec::new(),
            dump: Vec::new(),
        };
        attacker.look().await;
        Self {
            fleet,
            prefix,
            one,
            ended,
            alive,
            attacker,
        }
    }

    async fn process(fleet: &Fleet, prefix: &str) -> Store {
        let redis = fleet.server.redis().prefix(prefix);
        // The machine may be busy, and so may Redis be, with what an attacker has put there.
        let redis = redis.response_timeout(10 * SECOND);
        let store = RevocableCookieStore::builder(fleet.key.clone(), redis);
        let store = store.build().unwrap();
        store.catch_up().await.unwrap();
        store
    }

    /// Whether somebody who comes only now refuses what has ended, and nothing else.
    async fn is_whole(&self) -> bool {
        let late = Self::process(self.fleet, &self.prefix).await;
        assert!(is_alive(&late, &self.alive));
        let subjects = late.listed() - late.listed().min(self.ended.len());
        subjects == 1 && self.ended.iter().all(|request| is_revoked(&late, request))
    }

    async fn until_whole(&self, what: &str, within: Duration) {
        let start = Instant::now();
        wait_for(what, async || self.is_whole().await).await;
        let took = start.elapsed();
        assert!(took < within, "{what}: after {took:?}");
        println!("{what}: whole again after {took:?}");
    }

    /// One more session ends, and all hear of it.
    async fn end_another(&mut self) {
        let request = log_in(&self.one).await;
        log_out(&self.one, &request).await;
        self.ended.push(request);
    }
}

impl Attacker {
    async fn look(&mut self) {
        let stream = self.stream.clone();
        let kind: String = self.ask(&[b"TYPE", stream.as_bytes()]).await;
        if kind != "stream" {
            return;
        }
        type Entries = Vec<(String, Vec<String>)>;
        let entries: Entries = self.ask(&[b"XRANGE", stream.as_bytes(), b"-", b"+"]).await;
        let token = |fields: Vec<String>| fields.into_iter().nth(1).unwrap();
        let entries = entries.into_iter();
        self.entries = entries.map(|(id, it)| (id, token(it))).collect();
        self.dump = self.ask(&[b"DUMP", stream.as_bytes()]).await;
    }

    async fn ask<T: FromRedisValue>(&mut self, words: &[&[u8]]) -> T {
        let mut command = redis::cmd(std::str::from_utf8(words[0]).unwrap());
        command.arg(&words[1..]);
        command.query_async(&mut self.connection).await.unwrap()
    }

    /// Commands, one a line. `S` is the stream, `L` the lock, `X` another key of theirs; `ID2` and
    /// `TOKEN2` the third entry, `DUMP` the stream as it was. What Redis says to them does not
    /// matter.
    async fn run(&mut self, commands: &str) {
        for line in commands.lines().map(str::trim).filter(|it| !it.is_empty()) {
            let words: Vec<Vec<u8>> = line.split(' ').map(|word| self.word(word)).collect();
            let mut command = redis::Cmd::new();
            words.iter().for_each(|word| {
                command.arg(&word[..]);
            });
            let _: Result<Value, _> = command.query_async(&mut self.connection).await;
        }
    }

    fn word(&self, word: &str) -> Vec<u8> {
        let entry = |number: &str| {
            let number: usize = number.parse().unwrap();
            &self.entries[number % self.entries.len()]
        };
        let text = match word {
            "S" => self.stream.clone(),
            "L" => format!("{}:restoring", self.stream),
            "X" => format!("{}:x", self.stream),
            "DUMP" => return self.dump.clone(),
            _ if word.starts_with("ID") => entry(&word[2..]).0.clone(),
            _ if word.starts_with("TOKEN") => entry(&word[5..]).1.clone(),
            _ => word.to_owned(),
        };
        text.into_bytes()
    }
}

/// Each changes the stream or the lock. What the stream holds at first: a lifetime, four sessions,
/// a subject.
const ATTACKS: &[(&str, &str)] = &[
    ("the first entry", "XDEL S ID0"),
    ("one in the middle", "XDEL S ID2"),
    ("the last", "XDEL S ID5"),
    ("all but the last", "XDEL S ID0 ID1 ID2 ID3 ID4"),
    ("all, one by one", "XDEL S ID0 ID1 ID2 ID3 ID4 ID5"),
    ("one deleted, junk added", "XDEL S ID2\nXADD S * t junk"),
    (
        "one deleted, a genuine one added twice",
        "XDEL S ID2\nXADD S * t TOKEN3",
    ),
    ("trimmed by number", "XTRIM S MAXLEN 1"),
    ("trimmed to nothing", "XTRIM S MAXLEN 0"),
    ("trimmed by id", "XTRIM S MINID ID4"),
    ("deleted", "DEL S"),
    ("unlinked", "UNLINK S"),
    ("expired", "PEXPIRE S 1"),
    ("expired at once", "EXPIRE S -1"),
    ("kept for ever, and emptied", "PERSIST S\nXTRIM S MAXLEN 0"),
    ("renamed", "RENAME S X"),
    ("replaced by a string", "SET S junk"),
    (
        "replaced by a string, long",
        "SET S junk\nSETRANGE S 30000000 x",
    ),
    ("replaced by a hash", "DEL S\nHSET S t junk"),
    ("replaced by a list", "DEL S\nRPUSH S junk"),
    ("replaced by a set", "DEL S\nSADD S junk"),
    ("replaced by a sorted set", "DEL S\nZADD S 1 junk"),
    ("replaced by what was computed", "SADD X a\nSUNIONSTORE S X"),
    (
        "replaced by another stream",
        "XADD X 1-1 t junk\nRENAME X S",
    ),
    ("replaced by a copy", "XADD X * t TOKEN3\nCOPY X S REPLACE"),
    (
        "taken back to what it was",
        "XDEL S ID5\nXADD S * t junk\nRESTORE S 0 DUMP REPLACE\nXDEL S ID2",
    ),
    (
        "one replaced under its own id, all else as it was",
        "MULTI
         DEL S
         XADD S ID0 t TOKEN0
         XADD S ID1 t TOKEN1
         XADD S ID2 t junk
         XADD S ID3 t TOKEN3
         XADD S ID4 t TOKEN4
         XADD S ID5 t TOKEN5
         EXEC",
    ),
    (
        "one replaced by another genuine one, all else as it was",
        "MULTI
         DEL S
         XADD S ID0 t TOKEN0
         XADD S ID1 t TOKEN1
         XADD S ID2 t TOKEN1
         XADD S ID3 t TOKEN3
         XADD S ID4 t TOKEN4
         XADD S ID5 t TOKEN5
         EXEC",
    ),
    (
        "all put where they would be trimmed, behind the last",
        "MULTI
         DEL S
         XADD S 1-1 t TOKEN0
         XADD S 1-2 t TOKEN1
         XADD S 1-3 t TOKEN2
         XADD S 1-4 t TOKEN3
         XADD S 1-5 t TOKEN4
         XADD S ID5 t TOKEN5
         EXEC",
    ),
    ("an entry at the last of all ids", LAST_ID),
    (
        "the last of all ids given away",
        "XSETID S 18446744073709551615-18446744073709551615\nXDEL S ID2",
    ),
    (
        "an entry far ahead of the time",
        "XADD S 9999999999999-0 t junk\nXDEL S ID2",
    ),
    (
        "a genuine one far ahead of the time",
        "XDEL S ID2\nXADD S 18446744073709551614-7 t TOKEN3",
    ),
    (
        "ids that go back",
        "XDEL S ID2 ID5\nXSETID S ID4\nXADD S * t junk",
    ),
    (
        "a false account of what was deleted",
        "XDEL S ID2\nXSETID S ID5 ENTRIESADDED 6 MAXDELETEDID 0-0",
    ),
    (
        "groups that read",
        "XGROUP CREATE S g 0
         XREADGROUP GROUP g c STREAMS S >
         XACK S g ID2
         XCLAIM S g d 0 ID3
         XAUTOCLAIM S g d 0 0
         XGROUP DESTROY S g
         XDEL S ID2",
    ),
    ("an entry without our field", "XADD S * a b c d\nXDEL S ID2"),
    ("the lock deleted meanwhile", "XDEL S ID2\nDEL L"),
];

const LAST_ID: &str = "XADD S 18446744073709551615-18446744073709551615 t junk";

/// Each says for ever that another process puts back what is missing.
const HOLD_UPS: &[(&str, &str)] = &[
    ("the lock is held", "SET L 1\nXDEL S ID2"),
    ("the lock is of another type", "HSET L a b\nDEL S"),
    (
        "the lock lasts",
        "SET L 1 PX 30000\nPERSIST L\nXTRIM S MAXLEN 0",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_done_to_the_stream_or_the_lock_what_has_ended_stays_ended() {
    let fleet = Fleet::new().await;
    let attacks = ATTACKS.iter().map(|attack| (attack, NOTICED));
    let attacks = attacks.chain(HOLD_UPS.iter().map(|attack| (attack, HELD_UP)));
    let all = attacks
        .enumerate()
        .map(async |(number, ((what, commands), within))| {
            let mut target = Target::new(&fleet, &format!("attack {number}")).await;
            assert_eq!(target.attacker.entries.len(), 6);
            target.attacker.run(commands).await;
            target.until_whole(what, within).await;
            target.end_another().await;
            target.until_whole(what, within).await;
            for request in &target.ended {
                assert!(is_revoked(&target.one, request), "{what}");
            }
            assert!(is_alive(&target.one, &target.alive), "{what}");
        });
    join_all(all).await;
}

#[tokio::test]
async fn a_whole_database_that_is_emptied_or_exchanged_gets_back_what_has_ended() {
    for command in ["FLUSHDB", "FLUSHALL", "SWAPDB 0 1", "MOVE S 1"] {
        let fleet = Fleet::new().await;
        let mut target = Target::new(&fleet, "all").await;
        target.attacker.run(command).await;
        target.until_whole(command, NOTICED).await;
    }
}

#[tokio::test]
async fn a_logout_gets_through_at_once_whatever_the_stream_is() {
    let fleet = Fleet::new().await;
    let ways = ["SET S junk", LAST_ID, "DEL S\nZADD S 1 junk"];
    for (number, commands) in ways.iter().enumerate() {
        let prefix = format!("way {number}");
        let mut target = Target::new(&fleet, &prefix).await;
        // A process that only ends a session, and has read nothing before.
        let redis = fleet.server.redis().prefix(&target.prefix);
        let other = RevocableCookieStore::builder(fleet.key.clone(), redis);
        let other = other.build().unwrap();
        let request = log_in(&target.one).await;
        let id = target.one.load(&request).unwrap().id().unwrap();
        target.attacker.run(commands).await;
        let until = SystemTime::now() + 24 * HOUR;
        other.revoke(id, until).await.unwrap();
        let late = Target::process(&fleet, &target.prefix).await;
        assert!(is_revoked(&late, &request), "{commands}");
        target.ended.push(request);
        target.until_whole(commands, NOTICED).await;
    }
}

#[tokio::test]
async fn a_process_that_only_ends_a_session_loses_nothing_that_others_have_written() {
    let fleet = Fleet::new().await;
    let mut target = Target::new(&fleet, "alone").await;
    // Nobody is there any more who knows what has ended, but Redis.
    let stopped = std::mem::replace(&mut target.one, Target::process(&fleet, "none:").await);
    drop(stopped);
    target.attacker.run(LAST_ID).await;
    let redis = fleet.server.redis().prefix(&target.prefix);
    let other = RevocableCookieStore::builder(fleet.key.clone(), redis);
    let other = other.build().unwrap();
    let session = other.load(&HeaderMap::new()).unwrap();
    session.insert("user_id", 42).unwrap();
    let request = request_after(&saved(&other, &session).await);
    let until = session.expires_at().unwrap();
    other.revoke(session.id().unwrap(), until).await.unwrap();
    target.ended.push(request);
    assert!(target.is_whole().await);
}

/// Numbers from a seed: the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_sequence_of_attacks_a_process_that_starts_refuses_all_that_has_ended() {
    let fleet = Fleet::new().await;
    let all = (0..16).map(async |seed| {
        let mut target = Target::new(&fleet, &format!("sequence {seed}")).await;
        let mut dice = Dice(seed);
        let mut done = Vec::new();
        for _ in 0..12 {
            match dice.below(4) {
                0 => target.end_another().await,
                1 => target.attacker.look().await,
                _ => {
                    let attacks = ATTACKS.len() + HOLD_UPS.len();
                    let number = dice.below(attacks);
                    let (what, commands) = ATTACKS.iter().chain(HOLD_UPS).nth(number).unwrap();
                    if !target.attacker.entries.is_empty() {
                        target.attacker.run(commands).await;
                        done.push(*what);
                    }
                }
            }
        }
        // As another process that lives does.
        let what = format!("{seed}: {done:?}");
        target.until_whole(&what, HELD_UP).await;
    });
    join_all(all).await;
}

#[tokio::test]
async fn no_more_of_a_huge_entry_is_fetched_than_an_entry_has() {
    let fleet = Fleet::new().await;
    let mut target = Target::new(&fleet, "huge").await;
    let sent = async || {
        let info = fleet.server.info("stats").await;
        let mut lines = info.lines();
        let line = lines.find_map(|it| it.strip_prefix("total_net_output_bytes:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = sent().await;
    let huge = vec![b'x'; 20_000_000];
    let stream = target.attacker.stream.clone();
    let _: String = target
        .attacker
        .ask(&[b"XADD", stream.as_bytes(), b"*", b"t", &huge])
        .await;
    target.end_another().await;
    target.until_whole("beside a huge entry", NOTICED).await;
    let fetched = sent().await - before;
    assert!(fetched < 1_000_000, "{fetched}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_junk_keeps_nothing_from_coming_back() {
    let fleet = Fleet::new().await;
    let mut target = Target::new(&fleet, "flood").await;
    let flood = {
        let stream = target.attacker.stream.clone();
        let mut connection = fleet.server.connection().await;
        tokio::spawn(async move {
            loop {
                let mut pipeline = redis::pipe();
                for _ in 0..200 {
                    pipeline
                        .cmd("XADD")
                        .arg(&[&stream, "*", "t", "junk"])
                        .ignore();
                }
                pipeline.exec_async(&mut connection).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    target.attacker.run("XDEL S ID2").await;
    target.end_another().await;
    wait_for("all in the flood", async || {
        let late = Target::process(&fleet, &target.prefix).await;
        target
            .ended
            .iter()
            .all(|request| is_revoked(&late, request))
    })
    .await;
    flood.abort();
}
