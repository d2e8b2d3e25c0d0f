use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::super::backend::{Value, When};
use super::*;
use crate::error::BackendErrorKind;
use crate::now::now;

fn key(n: u64) -> StoreKey {
    StoreKey::from_bytes(Sha256::digest(n.to_be_bytes()).into())
}

fn entry(length: usize, tag: Option<Tag>) -> Entry {
    let value = Value::new("v".repeat(length));
    Entry {
        tag,
        ..Entry::new(value, Duration::from_secs(60), When::Absent)
    }
}

fn put(memory: &Memory, n: u64, tag: Option<Tag>) {
    let outcome = now(memory.put(&key(n), &entry(40, tag)));
    assert_eq!(outcome, Ok(Outcome::Stored));
}

#[test]
fn the_thread_removes_what_has_expired_and_ends_with_the_backend() {
    let (asked, asks) = mpsc::channel();
    let memory = Memory::builder()
        .clean_up_every(Duration::from_millis(1))
        .clock(move || {
            // Only the clean-up thread has this name.
            if thread::current().name() == Some("sealed-session") {
                asked.send(()).unwrap();
            }
            UNIX_EPOCH + Duration::from_secs(1)
        })
        .build()
        .unwrap();
    let mut entry = entry(40, None);
    entry.ttl = Duration::from_millis(1);
    for n in 0..5_000 {
        memory
            .shared
            .table()
            .put(&key(n), &entry, Millis::default())
            .unwrap();
    }
    // The thread asks for the time once each round. After two more calls, a whole round is over.
    while asks.try_recv().is_ok() {}
    asks.recv().unwrap();
    asks.recv().unwrap();
    assert_eq!(memory.shared.table().len(), 0);
    drop(memory);
    while asks.try_recv().is_ok() {}
    assert_eq!(asks.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

#[test]
fn a_stopped_backend_goes_on_and_can_be_cleaned_up_by_hand() {
    let seconds = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&seconds);
    let memory = Memory::builder()
        .clock(move || UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed)))
        .build()
        .unwrap();
    memory.stop();
    assert!(format!("{memory:?}").contains("is_running: false"));
    for n in 0..3_000 {
        put(&memory, n, None);
    }
    assert_eq!((memory.len(), memory.bytes()), (3_000, 3_000 * (384 + 40)));
    assert!(!memory.is_empty());
    seconds.store(59, Ordering::Relaxed);
    assert_eq!(memory.clean_up(), 0);
    seconds.store(60, Ordering::Relaxed);
    assert_eq!(memory.clean_up(), 3_000);
    assert!(memory.is_empty());
}

#[test]
fn a_scan_sees_all_that_stays_and_no_key_twice() {
    let memory = Memory::new();
    for n in 0..3_000 {
        put(&memory, n, None);
    }
    let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
    loop {
        let (keys, next) = now(memory.scan(cursor)).unwrap();
        assert!(keys.len() <= PAGE);
        assert!(keys.iter().all(|key| seen.insert(*key)));
        pages += 1;
        cursor = next;
        if cursor.is_none() {
            break;
        }
        // Sessions that come and go meanwhile do not move the others.
        let comes = 10_000 + pages;
        put(&memory, comes, None);
        now(memory.remove(&key(comes - 1))).unwrap();
    }
    assert!((0..3_000).all(|n| seen.contains(&key(n))));
    assert_eq!(pages, 3);
    for junk in ["", "x", &"0".repeat(63), &"é".repeat(32), &"A".repeat(64)] {
        let error = now(memory.scan(Some(Cursor(junk.to_owned())))).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Other, "{junk}");
    }
}

#[test]
fn of_many_that_replace_one_version_one_does() {
    let memory = Memory::new();
    let first = entry(40, None);
    now(memory.put(&key(0), &first)).unwrap();
    let mut version = first.value.version();
    for round in 0..500 {
        let won = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|racer| {
                    let mut entry = entry(0, None);
                    entry.value = Value::new(format!("{racer}-{round:038}"));
                    entry.when = When::Unchanged(version.clone());
                    let memory = &memory;
                    scope.spawn(move || {
                        let outcome = now(memory.put(&key(0), &entry)).unwrap();
                        (outcome == Outcome::Stored).then(|| entry.value.version())
                    })
                })
                .collect();
            let won = threads
                .into_iter()
                .filter_map(|racer| racer.join().unwrap());
            won.collect::<Vec<_>>()
        });
        assert_eq!(won.len(), 1, "round {round}");
        version = won[0].clone();
    }
}

#[test]
fn a_session_takes_no_more_than_it_counts_as() {
    const SESSIONS: u64 = 20_000;
    let memory = Memory::new();
    let tag = |n: u64| Some(Tag::from_bytes(*key(n + 1_000_000).as_bytes()));
    let used = allocation_counter::measure(|| {
        // Inserting and removing leaves the trees' nodes as full as they are in a service.
        for n in 0..3 * SESSIONS {
            let _ = now(memory.put(&key(n), &entry(600, tag(n)))).unwrap();
            if n >= SESSIONS {
                now(memory.remove(&key(n - SESSIONS))).unwrap();
            }
        }
    });
    assert_eq!(memory.len(), usize::try_from(SESSIONS).unwrap());
    let each = used.bytes_current / i64::try_from(SESSIONS).unwrap();
    // 920 when this was written. An allocator adds about 16 bytes for each block.
    assert!((600..600 + 384 - 16).contains(&each), "{each} bytes each");
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    for (builder, setting) in [
        (Memory::builder().max_sessions(0), "max_sessions"),
        (Memory::builder().max_bytes(383), "max_bytes"),
        (
            Memory::builder().clean_up_every(Duration::ZERO),
            "clean_up_every",
        ),
        (
            Memory::builder().clean_up_every(Duration::from_nanos(999_999)),
            "clean_up_every",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().setting(), setting);
    }
    let least = Memory::builder().max_sessions(1).max_bytes(384);
    assert!(least.build().is_ok());
}

#[test]
fn debug_of_a_builder_shows_its_limits() {
    let shown = format!("{:?}", Memory::builder().max_sessions(7).max_bytes(8000));
    assert_eq!(
        shown,
        "MemoryBuilder { limits: Limits { sessions: 7, bytes: 8000 }, clean_up_every: 60s, .. }"
    );
}
