//! Other processes on the same directory, and processes that are killed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use sealed_session::server::{Backend, File, Outcome, StoreKey, When};
use sealed_session_stores::patience::wait_for;
use sealed_session_stores::steps::{self, WRITERS, contested, count, counted, lasting};

use crate::private;

/// How many processes are killed at least.
const KILLS: u64 = 50;

/// Another process, which does not outlive the test, and never waits for somebody to listen.
struct Process {
    child: Child,
    told: Option<Receiver<String>>,
}

impl Process {
    fn start(directory: &Path, task: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_file-child"));
        command.arg(directory).args(task).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tells, told) = channel();
        // Nobody may be there any more to hear it.
        let listen = move || {
            lines
                .map(Result::unwrap)
                .all(|line| tells.send(line).is_ok())
        };
        thread::spawn(listen);
        Self {
            child,
            told: Some(told),
        }
    }

    /// What it tells, until it ends.
    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        self.told.take().unwrap().into_iter()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

fn unfinished(directory: &Path) -> usize {
    let parts = fs::read_dir(directory).unwrap();
    let names = parts.flat_map(|part| fs::read_dir(part.unwrap().path()).unwrap());
    names
        .filter(|name| {
            name.as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with("new-")
        })
        .count()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_whenever_the_process_is_killed() {
    let (mut acknowledged, mut in_flight, mut abandoned) = (0, 0, 0);
    let mut kills = 0;
    wait_for(
        "a process that is killed while it writes a file",
        async || {
            let kill = kills;
            kills += 1;
            let dir = private();
            let mut child = Process::start(dir.path(), &["write"]);
            let mut done = BTreeMap::new();
            let mut lines = child.lines();
            let mut hear = |line: String| {
                let (writer, step) = line.split_once(' ').unwrap();
                let step: u64 = step.parse().unwrap();
                let before = done.insert(writer.parse::<u8>().unwrap(), step);
                assert_eq!(
                    before.map_or(0, |before| before + 1),
                    step,
                    "no step is left out"
                );
            };
            lines
                .by_ref()
                .take(usize::try_from(20 + kill % KILLS * 3).unwrap())
                .for_each(&mut hear);
            child.child.kill().unwrap();
            lines.for_each(&mut hear);
            drop(child);
            abandoned += unfinished(dir.path());

            let file = File::open(dir.path()).unwrap();
            for writer in 0..WRITERS {
                let next = done.get(&writer).map_or(0, |last| last + 1);
                acknowledged += next;
                // What each key had when it was last acknowledged, and what the step in flight, which
                // may have happened, would have made of it.
                let mut expected = BTreeMap::new();
                for step in 0..next {
                    expected.insert(steps::key(writer, step), vec![steps::after(writer, step)]);
                }
                let may_be = steps::after(writer, next);
                expected
                    .entry(steps::key(writer, next))
                    .or_insert_with(|| vec![None])
                    .push(may_be);
                for (key, allowed) in expected {
                    let found = file.load(&key).await.unwrap().map(|stored| stored.value);
                    assert!(
                        allowed.contains(&found),
                        "kill {kill}, writer {writer}: {found:?}"
                    );
                    in_flight += u64::from(allowed.len() > 1 && found == allowed[1]);
                }
            }
            // Nothing that the process has left is in anybody's way.
            assert_eq!(file.clean_up(), Ok(0));
            assert_eq!(unfinished(dir.path()), 0);
            file.put(&contested(), &lasting(count(0, 0), When::Absent))
                .await
                .unwrap();
            kills >= KILLS && abandoned > 0
        },
    )
    .await;
    println!(
        "{kills} kills, {acknowledged} writes acknowledged, {abandoned} files left half written, \
         {in_flight} writes done and not acknowledged"
    );
}

#[tokio::test]
async fn of_two_processes_one_replaces_each_version() {
    let meet = async || race().await > 0;
    wait_for("two processes that meet", meet).await;
}

/// How many attempts came too late.
async fn race() -> usize {
    const WRITES: u64 = 1000;
    let dir = private();
    let file = File::open(dir.path()).unwrap();
    let first = lasting(count(0, 0), When::Absent);
    assert_eq!(file.put(&contested(), &first).await, Ok(Outcome::Stored));
    let mut racers =
        ["1", "2"].map(|by| Process::start(dir.path(), &["race", by, &WRITES.to_string()]));
    let told = racers.each_mut().map(Process::lines);
    let mut won = Vec::new();
    let mut lost = 0;
    for told in told {
        for line in told {
            match line.split_once(' ').unwrap() {
                ("won", writes) => won.push(writes.parse::<u64>().unwrap()),
                _ => lost += 1,
            }
        }
    }
    assert!(
        racers
            .iter_mut()
            .all(|racer| racer.child.wait().unwrap().success())
    );
    won.sort();
    assert!(
        won.iter().copied().eq(1..=2 * WRITES),
        "each version was replaced once"
    );
    let last = file.load(&contested()).await.unwrap().unwrap();
    assert_eq!(counted(&last.value), 2 * WRITES);
    println!(
        "{} versions, each replaced once; {lost} attempts came too late",
        won.len()
    );
    lost
}

#[tokio::test]
async fn what_was_removed_stays_removed_whoever_holds_it() {
    let is_held = async || remove().await > 0;
    wait_for("a writer that holds what is removed", is_held).await;
}

/// How many writes came too late.
async fn remove() -> usize {
    const KEYS: u8 = 200;
    let dir = private();
    let file = File::open(dir.path()).unwrap();
    let key = |n| StoreKey::from_bytes([n; 32]);
    for n in 0..KEYS {
        let entry = lasting(count(0, 0), When::Absent);
        assert_eq!(file.put(&key(n), &entry).await, Ok(Outcome::Stored));
    }
    let holders = ["1", "2"].map(|by| Process::start(dir.path(), &["hold", by, &KEYS.to_string()]));
    for n in 0..KEYS {
        // Both are at it once it has been written.
        wait_for("a writer", async || {
            let before = file.load(&key(n.saturating_sub(1))).await.unwrap();
            assert!(n == 0 || before.is_none(), "key {n} has come back");
            counted(&file.load(&key(n)).await.unwrap().unwrap().value) > 0
        })
        .await;
        file.remove(&key(n)).await.unwrap();
    }
    let mut caught = 0;
    for mut holder in holders {
        let absent = holder.lines().filter(|line| line.starts_with("absent"));
        caught += absent.count();
        assert!(holder.child.wait().unwrap().success());
    }
    for n in 0..KEYS {
        assert!(
            file.load(&key(n)).await.unwrap().is_none(),
            "key {n} came back"
        );
    }
    println!("{KEYS} removed, {caught} writes came too late");
    caught
}
