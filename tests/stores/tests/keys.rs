//! Managed keys for real: three processes, one file or one Redis, keys that rotate every few
//! seconds.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sealed_session::keys::{KeyFile, KeyRedis, KeyStore, KeyStoreErrorKind, conformance};
use sealed_session::{AppKey, ManagedKeys};
use sealed_session_stores::patience::PATIENCE;
use sealed_session_stores::redis::{Cluster, Sentinel, Server};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// p(1 + j) + t for the file, which has the longer timeout, and two seconds for a machine that is
/// busy but answers.
const PROMISE: Duration = Duration::from_millis(25 + 1000 + 2000);

/// A session lives for two seconds, which the store counts in whole milliseconds.
const LIFETIME: Duration = Duration::from_millis(2000 - 1);

/// No process takes longer to answer unless the machine is busy with other things.
const STEP: Duration = Duration::from_millis(200);

/// Sees when the machine is too busy. The fleet keeps its promises by the real clock, and cannot
/// keep them while it gets no processor.
struct Machine {
    last_step: Instant,
    last_stall: Option<Instant>,
    /// How long the fleet had the processor.
    ran: Duration,
}

impl Machine {
    fn new() -> Self {
        Self {
            last_step: Instant::now(),
            last_stall: None,
            ran: Duration::ZERO,
        }
    }

    /// A process has answered.
    fn step(&mut self) {
        let now = Instant::now();
        let took = now - self.last_step;
        self.last_step = now;
        if took > STEP {
            self.last_stall = Some(now);
        } else {
            self.ran += took;
        }
    }

    /// Whether a key may be late because of a stall.
    fn has_just_stalled(&self) -> bool {
        self.last_stall.is_some_and(|at| at.elapsed() < 2 * PROMISE)
    }
}

/// Whoever writes to the disk does so alone, because each test writes as much as the disk takes.
static DISK: Mutex<()> = Mutex::new(());

fn disk() -> MutexGuard<'static, ()> {
    DISK.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_keys-child"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "the process has ended: {command}");
        answer.trim_end().to_owned()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder in memory, where the system has one. A disk that others keep busy takes longer for a
/// write than the schedule of these processes allows; with the settings that people have, keys are
/// made a day ahead.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Visitors whose cookies go from process to process while the key is rotated fifty times.
fn rotates_fifty_times_and_logs_nobody_out(arguments: &[&str]) {
    let mut fleet = [(); 3].map(|()| Process::start(arguments));
    let mut sealed_under = BTreeSet::new();
    let mut jars: Vec<(String, Instant)> = Vec::new();
    let (mut turn, mut visitors) = (0_usize, 0);
    let mut machine = Machine::new();
    while sealed_under.len() <= 50 {
        turn += 1;
        let seals = fleet[turn % 3].ask("seals");
        if seals != "none" {
            sealed_under.insert(seals);
        }
        if jars.len() < 20 {
            let since = Instant::now();
            let jar = fleet[turn % 3].ask("new");
            if jar != "none" {
                jars.push((jar, since));
                visitors += 1;
            }
        }
        machine.step();
        jars.retain(|(jar, since)| {
            turn += 1;
            let answer = fleet[turn % 3].ask(&format!("load {jar}"));
            machine.step();
            let is_open = answer == "opened";
            assert!(
                is_open || since.elapsed() >= LIFETIME || machine.has_just_stalled(),
                "a visitor is logged out: {answer}"
            );
            is_open
        });
    }
    assert!(visitors > 100, "only {visitors} could log in");
}

fn dies_everywhere_within_the_promise(arguments: &[&str]) {
    let mut fleet = [(); 3].map(|()| Process::start(arguments));
    for round in 0..5 {
        let mut jar = "none".to_owned();
        while jar == "none" {
            jar = fleet[round % 3].ask("new");
        }
        let mut machine = Machine::new();
        let leaked = fleet[(round + 1) % 3].ask("revoke");
        for process in &mut fleet {
            // An old session of a key that still opens is refused for another reason.
            while process.ask(&format!("load {jar}")) != "Refused(UnknownKey)" {
                machine.step();
                assert!(machine.ran < PROMISE, "a revoked key still opens");
            }
            while ["none", &leaked].contains(&process.ask("seals").as_str()) {
                machine.step();
                assert!(machine.ran < PROMISE, "no fresh key seals");
            }
        }
    }
}

#[test]
fn a_fleet_over_a_file_rotates_fifty_times_and_logs_nobody_out() {
    let _alone = disk();
    let folder = folder();
    let path = folder.path().join("keys");
    rotates_fifty_times_and_logs_nobody_out(&[path.to_str().unwrap()]);
}

#[test]
fn a_fleet_over_redis_rotates_fifty_times_and_logs_nobody_out() {
    let (server, _runtime) = server();
    let root = AppKey::generate().unwrap().to_base64();
    rotates_fifty_times_and_logs_nobody_out(&[&server.url(), &root]);
}

#[test]
fn a_revoked_key_is_dead_everywhere_within_the_promise() {
    let _alone = disk();
    let folder = folder();
    let path = folder.path().join("keys");
    dies_everywhere_within_the_promise(&[path.to_str().unwrap()]);
    let (server, _runtime) = server();
    let root = AppKey::generate().unwrap().to_base64();
    dies_everywhere_within_the_promise(&[&server.url(), &root]);
}

fn files_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_process_that_is_killed_fifty_times_in_the_middle_of_its_work_leaves_a_good_ring() {
    let _alone = disk();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let path = path.to_str().unwrap();
    let mut witness = Process::start(&[path]);
    for round in 0..50_u32 {
        let mut victim = Process::start(&[path]);
        // Each revocation writes the file; it dies at another place of it each time.
        writeln!(victim.input, "revoke\nrevoke\nrevoke").unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_micros(u64::from(round) * 300) {
            std::hint::spin_loop();
        }
        victim.kill();
        let (mut jar, mut since) = (String::new(), None);
        let mut machine = Machine::new();
        while witness.ask(&format!("load {jar}")) != "opened" {
            machine.step();
            assert!(machine.ran < PROMISE, "the fleet has come apart");
            if since.is_none_or(|since: Instant| since.elapsed() >= LIFETIME) {
                since = Some(Instant::now());
                jar = Process::start(&[path]).ask("new");
            }
        }
    }
    let mut last = Process::start(&[path]);
    last.ask("revoke");
    let expected = ["keys", "keys.lock"].map(str::to_owned);
    assert_eq!(files_in(folder.path()), BTreeSet::from(expected));
}

#[test]
fn a_file_and_redis_keep_the_promises_of_a_key_store() {
    let _alone = disk();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    conformance::check(|| KeyFile::owned(&path)).unwrap();
    let (server, _runtime) = server();
    let url = server.url();
    conformance::check(|| KeyRedis::open(url.as_str()).unwrap().key("ring")).unwrap();
}

#[test]
fn a_cluster_and_a_master_behind_a_sentinel_keep_the_promises_of_a_key_store() {
    let runtime = Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    conformance::check(|| patient(KeyRedis::cluster(cluster.client()))).unwrap();
    let sentinel = runtime.block_on(Sentinel::start());
    conformance::check(|| patient(KeyRedis::sentinel(sentinel.client()))).unwrap();
}

#[test]
fn after_a_failover_the_keys_are_read_from_the_new_master_and_written_there() {
    let runtime = Runtime::new().unwrap();
    let sentinel = runtime.block_on(Sentinel::start());
    let root = AppKey::generate().unwrap();
    let builder = || {
        let store = patient(KeyRedis::sentinel(sentinel.client()));
        let builder = ManagedKeys::builder(store).root(root.clone());
        builder.without_thread()
    };
    let keys = builder().build().unwrap();
    let [master, replica] = &sentinel.servers;
    runtime.block_on(master.wait_until_on(replica));
    runtime.block_on(sentinel.fail_over());
    // Until the former master knows that it is none, it takes writes that are lost later.
    runtime.block_on(sentinel.wait_for_demotion());
    let revocation = keys.revoke(keys.seals().unwrap()).unwrap();
    let other = builder().must_exist().build().unwrap();
    assert_eq!(other.seals(), revocation.fresh);
    runtime.block_on(replica.wait_until_on(master));
    assert_eq!(keys.refresh(), Ok(()));
}

#[test]
fn a_redis_that_was_away_is_asked_again_on_a_new_connection() {
    let (mut server, runtime) = server();
    let store = patient(KeyRedis::client(server.client()));
    let keys = ManagedKeys::builder(store).root(AppKey::generate().unwrap());
    let keys = keys.without_thread().build().unwrap();
    let sealing = keys.seals();
    server.kill();
    let error = keys.refresh().unwrap_err();
    assert_eq!(error.kind(), KeyStoreErrorKind::Unavailable);
    // It comes back empty, and the process puts back what it knows.
    runtime.block_on(server.start_again());
    keys.refresh().unwrap();
    assert_eq!(keys.seals(), sealing);
    let load = KeyRedis::client(server.client()).load().unwrap();
    assert!(load.is_some());
}

#[test]
fn what_redis_refuses_is_told_by_its_kind() {
    let (server, runtime) = server();
    let ask = |words: &str| {
        let mut command = redis::Cmd::new();
        command.arg(words.split(' ').collect::<Vec<_>>());
        runtime.block_on(async {
            let mut connection = server.connection().await;
            let _: redis::Value = command.query_async(&mut connection).await.unwrap();
        });
    };
    let store = patient(KeyRedis::open(server.url()).unwrap());
    ask("LPUSH session:keys x");
    let error = store.load().unwrap_err();
    assert_eq!(error.kind(), KeyStoreErrorKind::Damaged);
    assert!(error.to_string().contains("use another key"), "{error}");
    // An empty text is no ring, and keeps nobody from making one.
    ask("SET session:keys ");
    assert_eq!(store.load(), Ok(None));
    assert_eq!(store.replace(None, b"a ring"), Ok(true));
    assert_eq!(store.replace(None, b"another"), Ok(false));
    ask("CONFIG SET maxmemory 1");
    let error = store.replace(Some(b"a ring"), b"another").unwrap_err();
    assert_eq!(error.kind(), KeyStoreErrorKind::Full);
    ask("CONFIG SET maxmemory 0");
    ask("CONFIG SET min-replicas-to-write 1");
    let error = store.replace(Some(b"a ring"), b"another").unwrap_err();
    assert_eq!(error.kind(), KeyStoreErrorKind::Unavailable);
    assert!(error.to_string().contains("NOREPLICAS"), "{error}");
}

#[test]
fn keys_in_redis_are_built_and_changed_within_another_runtime() {
    let (server, runtime) = server();
    runtime.block_on(async {
        let store = patient(KeyRedis::client(server.client()));
        let keys = ManagedKeys::builder(store).root(AppKey::generate().unwrap());
        let keys = keys.build().unwrap();
        keys.add().unwrap().unwrap();
        assert_eq!(keys.opens().len(), 2);
    });
}

/// A store that never takes a slow machine for a server that is away.
fn patient(store: KeyRedis) -> KeyRedis {
    store.timeout(PATIENCE)
}

fn server() -> (Server, Runtime) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    (server, runtime)
}
