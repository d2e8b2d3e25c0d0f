//! A second process on a directory of sessions, started by the tests of `File`:
//! `file-child DIRECTORY write`, until it is killed; `race NUMBER WRITES`; `hold NUMBER KEYS`.
//! It tells on standard output what has been acknowledged, a line for each.

use std::env;
use std::io::{Write, stdout};
use std::sync::Arc;

use sealed_session::server::{Backend, File, Outcome, StoreKey, When};
use sealed_session_stores::steps::{self, WRITERS, contested, count, counted, lasting};

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let [directory, task, numbers @ ..] = &*arguments else {
        panic!("a directory and a task are missing");
    };
    let file = Arc::new(File::open(directory).unwrap());
    match (*task, numbers) {
        ("write", []) => write(file).await,
        ("race", [by, writes]) => race(&file, by.parse().unwrap(), writes.parse().unwrap()).await,
        ("hold", [by, keys]) => hold(&file, by.parse().unwrap(), keys.parse().unwrap()).await,
        _ => panic!("there is no such task"),
    }
}

/// In one write, so that no line is ever half there.
fn tell(line: String) {
    stdout()
        .lock()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

async fn write(file: Arc<File>) {
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let file = Arc::clone(&file);
            tokio::spawn(async move {
                for step in 0.. {
                    steps::take(&*file, writer, step).await;
                    tell(format!("{writer} {step}"));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Counts up until it has won so often.
async fn race(file: &File, by: u8, writes: u64) {
    let mut won = 0;
    while won < writes {
        let found = file.load(&contested()).await.unwrap().unwrap().value;
        let writes = counted(&found) + 1;
        let entry = lasting(count(writes, by), When::Unchanged(found.version()));
        match file.put(&contested(), &entry).await.unwrap() {
            Outcome::Stored => {
                won += 1;
                tell(format!("won {writes}"));
            }
            Outcome::Conflict => tell(format!("lost {writes}")),
            Outcome::Absent => panic!("it was removed"),
        }
    }
}

/// Writes each key in turn for as long as it is there.
async fn hold(file: &File, by: u8, keys: u8) {
    for key in (0..keys).map(|n| StoreKey::from_bytes([n; 32])) {
        while let Some(found) = file.load(&key).await.unwrap() {
            let writes = counted(&found.value) + 1;
            let entry = lasting(count(writes, by), When::Unchanged(found.value.version()));
            match file.put(&key, &entry).await.unwrap() {
                Outcome::Stored => tell(format!("wrote {key}")),
                Outcome::Conflict => {}
                Outcome::Absent => {
                    tell(format!("absent {key}"));
                    break;
                }
            }
        }
    }
}
