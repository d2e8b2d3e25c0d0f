//! Managed keys for real: three processes, one file or one Redis, keys that rotate each second.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use sealed_session::AppKey;
use sealed_session::keys::{KeyFile, KeyRedis, conformance};
use sealed_session_stores::redis::Server;

/// As the file's and the server's settings have it: p(1 + j) + t + V, and the slack of a machine
/// that does something else.
const PROMISE: Duration = Duration::from_millis(25 + 300 + 2000);

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

/// Visitors whose cookies go from process to process while the key is rotated fifty times.
fn rotates_fifty_times_and_logs_nobody_out(arguments: &[&str]) {
    let mut fleet = [(); 3].map(|()| Process::start(arguments));
    let mut sealed_under = BTreeSet::new();
    let mut jars: Vec<(String, Instant)> = Vec::new();
    let mut turn = 0_usize;
    while sealed_under.len() <= 50 {
        turn += 1;
        sealed_under.insert(fleet[turn % 3].ask("seals"));
        if jars.len() < 20 {
            jars.push((fleet[turn % 3].ask("new"), Instant::now()));
        }
        // A session lives for two seconds; one in its last half is not asked for any more.
        jars.retain(|(_, since)| since.elapsed() < Duration::from_millis(1500));
        for (jar, _) in &jars {
            turn += 1;
            assert_eq!(fleet[turn % 3].ask(&format!("load {jar}")), "opened");
        }
    }
    assert!(!sealed_under.contains("none"));
}

fn dies_everywhere_within_the_promise(arguments: &[&str]) {
    let mut fleet = [(); 3].map(|()| Process::start(arguments));
    for round in 0..5 {
        let jar = fleet[round % 3].ask("new");
        let began = Instant::now();
        let fresh = fleet[(round + 1) % 3].ask("revoke");
        for process in &mut fleet {
            while process.ask(&format!("load {jar}")) == "opened" {
                assert!(began.elapsed() < PROMISE, "a revoked key still opens");
            }
            while process.ask("seals") != fresh {
                assert!(began.elapsed() < PROMISE, "the fresh key does not seal");
            }
        }
    }
}

#[test]
fn a_fleet_over_a_file_rotates_fifty_times_and_logs_nobody_out() {
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
    let folder = folder();
    let path = folder.path().join("keys");
    dies_everywhere_within_the_promise(&[path.to_str().unwrap()]);
    let (server, _runtime) = server();
    let root = AppKey::generate().unwrap().to_base64();
    dies_everywhere_within_the_promise(&[&server.url(), &root]);
}

/// In memory where there is such a place: a disk that is busy for longer than the timeout would
/// bring a key later than the schedule, shrunk to seconds, allows for.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn files_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_process_that_is_killed_fifty_times_in_the_middle_of_its_work_leaves_a_good_ring() {
    let folder = folder();
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
        let jar = Process::start(&[path]).ask("new");
        let began = Instant::now();
        while witness.ask(&format!("load {jar}")) != "opened" {
            assert!(began.elapsed() < PROMISE, "the fleet has come apart");
        }
    }
    let mut last = Process::start(&[path]);
    last.ask("revoke");
    let expected = ["keys", "keys.lock"].map(str::to_owned);
    assert_eq!(files_in(folder.path()), BTreeSet::from(expected));
}

#[test]
fn a_file_and_redis_keep_the_promises_of_a_key_store() {
    let folder = folder();
    let path = folder.path().join("keys");
    conformance::check(|| KeyFile::owned(&path)).unwrap();
    let (server, _runtime) = server();
    let url = server.url();
    conformance::check(|| KeyRedis::open(url.as_str()).unwrap().key("ring")).unwrap();
}

fn server() -> (Server, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    (server, runtime)
}
