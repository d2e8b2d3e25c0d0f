use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;

use tempfile::TempDir;

use super::super::backend::{Value, When};
use super::dir::Found;
use super::directory::{Directory, UNFINISHED};
use super::*;

mod hostile;
mod swept;

const NOW: u64 = 1_763_697_785_123;

fn private() -> TempDir {
    let mode = PermissionsExt::from_mode(0o700);
    tempfile::Builder::new()
        .permissions(mode)
        .tempdir()
        .unwrap()
}

fn open() -> (TempDir, Directory) {
    let dir = private();
    let directory = Directory::open(dir.path()).unwrap();
    (dir, directory)
}

fn key(n: u8) -> StoreKey {
    StoreKey::from_bytes([n; 32])
}

fn tag(n: u8) -> Tag {
    Tag::from_bytes([n; 32])
}

fn at(millis: u64) -> Millis {
    Millis::from_raw(NOW + millis)
}

fn value(text: &str) -> Value {
    Value::new(text.to_owned())
}

fn entry(text: &str, when: When) -> Entry {
    Entry::new(value(text), Duration::from_millis(1000), when)
}

fn over(text: &str) -> When {
    When::Unchanged(value(text).version())
}

fn tagged(text: &str, n: u8) -> Entry {
    Entry {
        tag: Some(tag(n)),
        ..entry(text, When::Absent)
    }
}

fn text(directory: &Directory, key: &StoreKey) -> Option<String> {
    let (value, _) = directory.load(key).unwrap()?;
    Some(value.as_str().to_owned())
}

fn path_of(dir: &TempDir, key: &StoreKey) -> PathBuf {
    let part = tags::shard(key.as_bytes());
    dir.path().join(part).join(key.to_string())
}

/// Every path below a directory, without following links.
fn tree(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        }
        found.insert(path);
    }
    found
}

#[test]
fn a_put_heeds_what_is_there() {
    let (dir, directory) = open();
    let put = |entry: Entry, millis| directory.put(&key(1), &entry, at(millis)).unwrap();
    assert_eq!(
        put(entry("b", over("a")), 0),
        Outcome::Absent,
        "never creates"
    );
    assert_eq!(put(entry("a", When::Absent), 0), Outcome::Stored);
    assert_eq!(
        put(entry("b", When::Absent), 0),
        Outcome::Conflict,
        "never overwrites"
    );
    assert_eq!(
        put(entry("b", over("c")), 0),
        Outcome::Conflict,
        "another version"
    );
    assert_eq!(text(&directory, &key(1)).as_deref(), Some("a"));
    assert_eq!(put(entry("b", over("a")), 999), Outcome::Stored);
    assert_eq!(
        put(entry("c", over("b")), 1999),
        Outcome::Absent,
        "it has expired"
    );
    assert_eq!(put(entry("c", When::Absent), 1999), Outcome::Stored);
    assert_eq!(text(&directory, &key(1)).as_deref(), Some("c"));
    directory.remove(&key(1)).unwrap();
    assert_eq!(text(&directory, &key(1)), None);
    assert_eq!(
        put(entry("d", over("c")), 1999),
        Outcome::Absent,
        "it stays removed"
    );
    let names = tree(dir.path());
    assert_eq!(names.len(), 1, "nothing unfinished is left: {names:?}");
}

#[test]
fn a_touch_writes_nothing_but_the_expiry_and_wakes_nothing() {
    let (dir, directory) = open();
    directory
        .put(&key(1), &entry("a", When::Absent), at(0))
        .unwrap();
    let before = fs::read(path_of(&dir, &key(1))).unwrap();
    let ttl = Duration::from_millis(5000);
    directory.touch(&key(1), ttl, at(999)).unwrap();
    let (_, expires) = directory.load(&key(1)).unwrap().unwrap();
    assert_eq!(expires, at(5999));
    let after = fs::read(path_of(&dir, &key(1))).unwrap();
    let changed = before
        .iter()
        .zip(&after)
        .filter(|(was, is)| was != is)
        .count();
    assert!((1..=5).contains(&changed) && before.len() == after.len());
    directory.touch(&key(1), ttl, at(5999)).unwrap();
    assert_eq!(directory.load(&key(1)).unwrap().unwrap().1, at(5999));
    directory.touch(&key(2), ttl, at(0)).unwrap();
    assert!(directory.load(&key(2)).unwrap().is_none());
}

#[test]
fn a_load_waits_for_the_end_of_a_touch() {
    let (dir, directory) = open();
    let entry = entry("a", When::Absent);
    directory.put(&key(1), &entry, at(0)).unwrap();
    let root = dir::Dir::root(dir.path()).unwrap();
    let shard = root.dir(&tags::shard(key(1).as_bytes())).unwrap().unwrap();
    let Found::File(file) = shard.file_to_write(&key(1).to_string()).unwrap() else {
        panic!("it is not there");
    };
    let (begun, has_begun) = mpsc::channel();
    shard.lock().unwrap();
    format::write_expiry(&file, at(0)).unwrap();
    let expires = thread::scope(|scope| {
        let loading = scope.spawn(|| {
            begun.send(()).unwrap();
            directory.load(&key(1)).unwrap().unwrap().1
        });
        has_begun.recv().unwrap();
        // Long enough for a load that does not wait.
        (0..10_000).for_each(|_| thread::yield_now());
        format::write_expiry(&file, at(7)).unwrap();
        shard.unlock().unwrap();
        loading.join().unwrap()
    });
    assert_eq!(expires, at(7));
}

#[test]
fn a_clean_up_leaves_files_that_are_being_written() {
    let (_dir, directory) = open();
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for n in 0..300 {
                let entry = entry(&n.to_string(), When::Absent);
                directory.put(&key(1), &entry, at(n * 1000)).unwrap();
            }
        });
        while !writing.is_finished() {
            directory.clean_up(1, at(0)).unwrap();
        }
    });
}

#[test]
fn of_many_that_replace_one_version_one_does() {
    let (dir, directory) = open();
    directory
        .put(&key(1), &entry("0", When::Absent), at(0))
        .unwrap();
    // Each opens the directory for itself, as another process would.
    let others: Vec<_> = (0..3)
        .map(|_| Directory::open(dir.path()).unwrap())
        .collect();
    let mut version = "0".to_owned();
    for round in 0..60 {
        let won: Vec<_> = thread::scope(|scope| {
            let racers: Vec<_> = [&directory, &directory]
                .into_iter()
                .chain(&others)
                .enumerate()
                .map(|(n, directory)| {
                    let (text, when) = (format!("{round}-{n}"), over(&version));
                    scope.spawn(move || {
                        let outcome = directory.put(&key(1), &entry(&text, when), at(0)).unwrap();
                        (outcome == Outcome::Stored).then_some(text)
                    })
                })
                .collect();
            racers
                .into_iter()
                .filter_map(|racer| racer.join().unwrap())
                .collect()
        });
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        assert_eq!(text(&directory, &key(1)), Some(won[0].clone()));
        version.clone_from(&won[0]);
    }
}

#[test]
fn a_tag_has_the_keys_that_were_last_put_with_it() {
    let (dir, directory) = open();
    for n in 1..=3 {
        directory.put(&key(n), &tagged("a", 7), at(0)).unwrap();
    }
    let keys = |n| {
        let mut keys = directory.tagged(&tag(n)).unwrap();
        keys.sort();
        keys
    };
    assert_eq!(keys(7), [1, 2, 3].map(key));
    let mut moved = entry("b", over("a"));
    moved.tag = Some(tag(8));
    directory.put(&key(1), &moved, at(0)).unwrap();
    directory
        .put(&key(2), &entry("b", over("a")), at(0))
        .unwrap();
    assert_eq!((keys(7), keys(8)), (vec![key(3)], vec![key(1)]));
    directory.remove(&key(3)).unwrap();
    directory.remove(&key(1)).unwrap();
    assert_eq!((keys(7), keys(8)), (vec![], vec![]));
    assert!(!dir.path().join("tags/07").join(tag(7).to_string()).exists());
}

#[test]
fn a_key_that_a_tag_has_left_over_is_in_nobodys_way() {
    let (dir, directory) = open();
    directory.put(&key(1), &tagged("a", 7), at(0)).unwrap();
    fs::remove_file(path_of(&dir, &key(1))).unwrap();
    let outcome = directory.put(&key(1), &tagged("b", 7), at(0)).unwrap();
    assert_eq!(outcome, Outcome::Stored);
    assert_eq!(directory.tagged(&tag(7)).unwrap(), [key(1)]);
}

#[test]
fn a_clean_up_removes_what_is_over_and_nothing_else() {
    let (dir, directory) = open();
    for n in 1..=4 {
        directory.put(&key(n), &tagged("a", 7), at(0)).unwrap();
    }
    directory
        .touch(&key(1), Duration::from_millis(2000), at(0))
        .unwrap();
    let shard = path_of(&dir, &key(1)).parent().unwrap().to_owned();
    let kept = ["notes.txt", &"f".repeat(63), &"F".repeat(64), ".hidden"];
    for name in kept {
        fs::write(shard.join(name), "not ours").unwrap();
    }
    // A killed process leaves the first file; a live one is writing the second.
    fs::write(shard.join(format!("{UNFINISHED}1")), "half").unwrap();
    let at_work = fs::File::create(shard.join(format!("{UNFINISHED}2"))).unwrap();
    assert!(dir::try_lock(&at_work).unwrap());
    // As if a process had ended between the session and its tag, and between the tag and its
    // directory.
    fs::remove_file(path_of(&dir, &key(2))).unwrap();
    let empty = dir
        .path()
        .join("tags/07")
        .join(format!("07{}", "0".repeat(62)));
    fs::create_dir(&empty).unwrap();
    let clean_up = |millis| -> usize {
        let removed = (0..=u8::MAX).map(|first| directory.clean_up(first, at(millis)).unwrap());
        let removed = removed.sum();
        (0..=u8::MAX).for_each(|first| directory.clean_up_tags(first).unwrap());
        removed
    };
    assert_eq!(clean_up(999), 0, "nothing has expired");
    assert!(!empty.exists());
    assert_eq!(directory.tagged(&tag(7)).unwrap().len(), 3);
    assert_eq!(clean_up(1000), 2);
    assert_eq!(directory.tagged(&tag(7)).unwrap(), [key(1)]);
    assert_eq!(text(&directory, &key(1)).as_deref(), Some("a"));
    let names: BTreeSet<_> = fs::read_dir(&shard)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected: BTreeSet<_> = kept.map(str::to_owned).into();
    expected.extend([key(1).to_string(), format!("{UNFINISHED}2")]);
    assert_eq!(names, expected);
    drop(at_work);
    assert_eq!(clean_up(1000), 0);
    assert!(!shard.join(format!("{UNFINISHED}2")).exists());
}

#[test]
fn a_clean_up_that_fails_for_some_does_its_work_for_all_others() {
    let (dir, directory) = open();
    let key_of = |first, last| {
        let mut bytes = [first; 32];
        bytes[31] = last;
        StoreKey::from_bytes(bytes)
    };
    for n in 0..20 {
        let (over, alive) = (key_of(1, n), key_of(1, n + 20));
        let put = |key: StoreKey, entry: Entry| directory.put(&key, &entry, at(0)).unwrap();
        put(over, entry("a", When::Absent));
        put(alive, tagged("a", 7));
        let ttl = Duration::from_millis(2000);
        directory.touch(&alive, ttl, at(0)).unwrap();
        // A process ended between the session and its tag.
        put(key_of(2, n), tagged("a", 8));
        fs::remove_file(dir.path().join("02").join(key_of(2, n).to_string())).unwrap();
        put(key_of(3, n), tagged("a", 8));
    }
    // Somebody puts files in the place of directories.
    for part in ["tags/07", "03"] {
        fs::remove_dir_all(dir.path().join(part)).unwrap();
        fs::write(dir.path().join(part), "not ours").unwrap();
    }
    directory.clean_up(1, at(1000)).unwrap_err();
    let (keys, _) = directory.keys_from(key(1), 1000).unwrap();
    assert!(keys.iter().copied().eq((20..40).map(|n| key_of(1, n))));
    directory.clean_up_tags(8).unwrap_err();
    let mut keys = directory.tagged(&tag(8)).unwrap();
    keys.sort();
    assert!(keys.into_iter().eq((0..20).map(|n| key_of(3, n))));
}

#[test]
fn a_scan_goes_through_all_in_pages() {
    let (dir, directory) = open();
    // Many keys in one part, few in others, in the first and in the last.
    let many = (0..25).map(|n| {
        let mut bytes = [0x91; 32];
        bytes[31] = n;
        StoreKey::from_bytes(bytes)
    });
    let keys: BTreeSet<_> = many.chain([0, 1, 254, 255].map(key)).collect();
    for key in &keys {
        directory
            .put(key, &entry("a", When::Absent), at(0))
            .unwrap();
    }
    let misplaced = dir.path().join("91").join(key(0x92).to_string());
    fs::write(misplaced, "").unwrap();
    for at_most in [1, 2, 5, 25, 1000] {
        let (mut seen, mut from) = (Vec::new(), key(0));
        loop {
            let (page, next) = directory.keys_from(from, at_most).unwrap();
            assert!(page.len() <= at_most);
            seen.extend(page);
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert!(seen.iter().eq(&keys), "pages of {at_most}");
    }
}

#[test]
fn a_stopped_backend_goes_on_and_can_be_cleaned_up_by_hand() {
    let dir = private();
    let builder = File::builder(dir.path()).clock(|| at(1000).into());
    let file = builder.build().unwrap();
    assert!(format!("{file:?}").contains("is_running: true"));
    file.stop();
    assert!(format!("{file:?}").contains("is_running: false"));
    let directory = &file.shared.place.directory().unwrap();
    for (n, put_at) in [(1, 0), (2, 1)] {
        directory
            .put(&key(n), &entry("a", When::Absent), at(put_at))
            .unwrap();
    }
    assert_eq!(file.clean_up(), Ok(1));
    assert_eq!(text(directory, &key(2)).as_deref(), Some("a"));
}

#[test]
fn a_session_is_there_up_to_the_millisecond_in_which_it_expires() {
    let dir = private();
    let time = Arc::new(AtomicU64::new(999));
    let clock = Arc::clone(&time);
    let builder = File::builder(dir.path()).clock(move || at(clock.load(Relaxed)).into());
    let file = builder.build().unwrap();
    file.stop();
    file.shared
        .place
        .directory()
        .unwrap()
        .put(&key(1), &entry("a", When::Absent), at(0))
        .unwrap();
    let load = || pollster::block_on(file.load(&key(1))).unwrap();
    assert_eq!(load().unwrap().ttl, Duration::from_millis(1));
    time.store(1000, Relaxed);
    assert!(load().is_none());
    let shown = format!("{file:?}");
    assert!(
        shown.starts_with("File { directory: Directory {"),
        "{shown}"
    );
}

#[test]
fn the_thread_removes_what_has_expired() {
    let (asked, asks) = mpsc::sync_channel(0);
    let dir = private();
    let file = File::builder(dir.path())
        .clean_up_every(Duration::from_millis(1))
        .clock(move || {
            // Nobody receives after the test is over.
            let _ = asked.send(());
            at(1000).into()
        })
        .build()
        .unwrap();
    let directory = &file.shared.place.directory().unwrap();
    directory
        .put(&key(1), &entry("a", When::Absent), at(0))
        .unwrap();
    // The thread asks for the time before each of 256 parts, so 512 calls contain a whole round.
    for _ in 0..=512 {
        asks.recv_timeout(Duration::from_secs(5 * 60)).unwrap();
    }
    assert_eq!(text(directory, &key(1)), None);
    drop(asks);
}

#[test]
fn debug_of_a_builder_shows_where_it_is_and_how_often_it_is_cleaned_up() {
    let shown = format!("{:?}", File::builder("sessions"));
    assert_eq!(
        shown,
        r#"FileBuilder { path: "sessions", clean_up_every: 600s, .. }"#
    );
}
