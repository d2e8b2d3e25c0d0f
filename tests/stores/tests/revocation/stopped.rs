//! A process that hears nothing for a while, because it was stopped and not because Redis is away.

use std::io::{BufRead, BufReader, Lines, Write};
use std::pin::pin;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::task::Poll;
use std::time::UNIX_EPOCH;

use super::*;

/// A process that answers requests, and may be without news for 100 milliseconds.
struct Serving {
    process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Serving {
    fn start(fleet: &Fleet, how: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_revocation-child"));
        command.args([how, &fleet.server.url()]);
        command.env("APP_KEY", &*fleet.key.to_base64());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut serving = Self {
            requests: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
        };
        assert_eq!(serving.answer(), "ready");
        serving
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(status.unwrap().success());
    }

    fn request(&mut self, request: &HeaderMap) {
        writeln!(self.requests, "{}", request[COOKIE].to_str().unwrap()).unwrap();
    }

    fn answer(&mut self) -> String {
        self.answers.next().unwrap().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.signal("CONT");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Until Redis's clock says that so much has passed.
async fn pass(fleet: &Fleet, time: Duration) {
    let now = async || {
        let (seconds, micros): (u64, u64) = fleet.ask(&["TIME"]).await;
        UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    let end = now().await + time;
    wait_for("time to pass", async || now().await > end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_answers_its_first_request_and_knows_what_has_ended() {
    let fleet = Fleet::new().await;
    let one = fleet.process().await;
    for how in ["serve", "follow"] {
        let mut serving = Serving::start(&fleet, how);
        for round in 0..8 {
            let (alive, ended) = (log_in(&one).await, log_in(&one).await);
            serving.request(&ended);
            assert_eq!(serving.answer(), "200 Some(42)", "{how} {round}");
            serving.signal("STOP");
            log_out(&one, &ended).await;
            pass(&fleet, SECOND / 5).await;
            let (first, second) = if round % 2 == 0 {
                (&alive, &ended)
            } else {
                (&ended, &alive)
            };
            serving.request(first);
            serving.request(second);
            serving.signal("CONT");
            let mut answers = [serving.answer(), serving.answer()];
            if round % 2 == 1 {
                answers.reverse();
            }
            assert_eq!(answers, ["200 Some(42)", "200 None"], "{how} {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_while_redis_went_away_says_so() {
    let mut fleet = Fleet::new().await;
    let one = fleet.process().await;
    let mut serving = Serving::start(&fleet, "follow");
    let request = log_in(&one).await;
    serving.signal("STOP");
    fleet.server.kill();
    // Redis's clock does not go on; this process's does.
    let stopped = SystemTime::now();
    wait_for("time to pass", async || {
        stopped.elapsed().unwrap() > SECOND / 5
    })
    .await;
    serving.request(&request);
    serving.signal("CONT");
    assert_eq!(serving.answer(), "500 ");
    fleet.server.start_again().await;
    wait_for("Redis to be heard again", async || {
        serving.request(&request);
        serving.answer() == "200 Some(42)"
    })
    .await;
}

#[tokio::test]
async fn all_requests_that_wait_wait_for_one_read() {
    let fleet = Fleet::new().await;
    let (store, elsewhere) = (fleet.process().await, fleet.process().await);
    let (alive, ended) = (log_in(&store).await, log_in(&store).await);
    log_out(&elsewhere, &ended).await;
    fleet.forward(11 * SECOND);
    assert!(store.load(&alive).is_err() && store.load(&ended).is_err());
    let guest = store.load_current(&HeaderMap::new()).await.unwrap();
    assert_eq!(guest.origin(), Origin::Absent);
    let reads = async || {
        let info = fleet.server.info("commandstats").await;
        let line = info.lines().find(|line| line.starts_with("cmdstat_eval:"));
        let calls = line.unwrap().split(['=', ',']).nth(1).unwrap();
        calls.parse::<usize>().unwrap()
    };
    let before = reads().await;
    let loads = (0..50).map(|n| store.load_current(if n % 2 == 0 { &alive } else { &ended }));
    let loaded = futures_util::future::join_all(loads).await;
    assert_eq!(reads().await - before, 1);
    for (n, session) in loaded.into_iter().enumerate() {
        assert_eq!(session.unwrap().contains("user_id"), n % 2 == 0);
    }
    assert!(is_alive(&store, &alive), "nobody waits any more");
}

#[tokio::test]
async fn while_redis_is_silent_a_request_waits_no_longer_than_the_timeouts_and_most_do_not() {
    let fleet = Fleet::new().await;
    let redis = Redis::client(fleet.server.client())
        .connection_timeout(SECOND)
        .response_timeout(SECOND);
    let store = fleet.builder_on(redis).build().unwrap();
    wait_for("Redis to answer within a second", async || {
        store.catch_up().await.is_ok()
    })
    .await;
    let request = log_in(&store).await;
    fleet.forward(11 * SECOND);
    fleet.server.pause();
    let error = store.load_current(&request).await.unwrap_err();
    assert_eq!(
        error.backend().unwrap().kind(),
        BackendErrorKind::Unavailable
    );
    store.load_current(&request).await.unwrap_err();
    let at_once = futures_util::poll!(pin!(store.load_current(&request)));
    assert!(
        matches!(at_once, Poll::Ready(Err(_))),
        "Redis is known to be away"
    );
    fleet.server.resume();
    wait_for("Redis to be heard again", async || {
        store.load_current(&request).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_request_that_goes_away_leaves_no_other_waiting() {
    let fleet = Fleet::new().await;
    let store = fleet.process().await;
    let request = log_in(&store).await;
    fleet.forward(11 * SECOND);
    let mut gone = Box::pin(store.load_current(&request));
    assert!(futures_util::poll!(&mut gone).is_pending());
    drop(gone);
    assert!(
        store
            .load_current(&request)
            .await
            .unwrap()
            .contains("user_id")
    );
}
