//! Tests with a directory that somebody has tampered with.

use super::*;

/// Creates something under a session's name.
type Make = fn(&Path);

const STRANGE: [(&str, Make); 8] = [
    ("an empty file", |path| fs::write(path, "").unwrap()),
    ("junk", |path| fs::write(path, [0xff; 5000]).unwrap()),
    ("a link", |path| {
        let header = format!("1 {:015} {}\n", u64::pow(10, 14), "-".repeat(64));
        let target = path.with_extension("target");
        fs::write(&target, header + "value").unwrap();
        symlink(target, path).unwrap();
    }),
    ("a link to nothing", |path| {
        symlink("nothing", path).unwrap();
    }),
    ("a link to itself", |path| symlink(path, path).unwrap()),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a pipe", |path| {
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }),
    ("a huge file", |path| {
        let file = fs::File::create(path).unwrap();
        file.set_len(1 << 40).unwrap();
    }),
];

#[test]
fn what_is_not_a_sessions_file_is_never_one_and_never_written_over() {
    for (what, make) in STRANGE {
        let (dir, directory) = open();
        directory
            .put(&key(1), &entry("a", When::Absent), at(0))
            .unwrap();
        let path = path_of(&dir, &key(1));
        fs::remove_file(&path).unwrap();
        make(&path);
        let before = tree(dir.path());
        assert_eq!(text(&directory, &key(1)), None, "{what}");
        for when in [When::Absent, over("a"), over("")] {
            let outcome = directory.put(&key(1), &entry("b", when), at(0)).unwrap();
            assert_eq!(outcome, Outcome::Conflict, "{what}");
        }
        let ttl = Duration::from_secs(1);
        directory.touch(&key(1), ttl, at(0)).unwrap();
        assert_eq!(directory.clean_up(1, Millis::MAX).unwrap(), 0, "{what}");
        assert_eq!(
            directory.keys_from(key(0), 10).unwrap().0,
            [key(1)],
            "{what}"
        );
        assert_eq!(tree(dir.path()), before, "{what}");
        if what == "a link" {
            let target = fs::read_to_string(path.with_extension("target")).unwrap();
            assert!(
                target.ends_with("value") && target.starts_with("1 1000"),
                "{target}"
            );
        }
        directory.remove(&key(1)).unwrap();
        let stays = path.symlink_metadata().is_ok();
        assert_eq!(stays, what == "a directory", "{what}");
    }
}

#[test]
fn no_link_leads_out_of_the_directory() {
    let outside = tempfile::tempdir().unwrap();
    for name in ["01", "tags"] {
        let (dir, directory) = open();
        symlink(outside.path(), dir.path().join(name)).unwrap();
        directory.put(&key(1), &tagged("a", 1), at(0)).unwrap_err();
        if name == "01" {
            directory.load(&key(1)).unwrap_err();
            directory.touch(&key(1), Duration::ZERO, at(0)).unwrap_err();
            directory.remove(&key(1)).unwrap_err();
            directory.keys_from(key(0), 1).unwrap_err();
            directory.clean_up(1, at(0)).unwrap_err();
        } else {
            directory.tagged(&tag(1)).unwrap_err();
            directory.clean_up_tags(1).unwrap_err();
        }
    }
    assert_eq!(tree(outside.path()), BTreeSet::new());
}

#[test]
fn no_link_in_place_of_a_tagged_key_makes_a_file_elsewhere() {
    let outside = tempfile::tempdir().unwrap();
    let (dir, directory) = open();
    directory.put(&key(2), &tagged("a", 7), at(0)).unwrap();
    let keys = dir.path().join("tags/07").join(tag(7).to_string());
    symlink(outside.path().join("made"), keys.join(key(1).to_string())).unwrap();
    directory.put(&key(1), &tagged("a", 7), at(0)).unwrap();
    assert_eq!(tree(outside.path()), BTreeSet::new());
}

#[test]
fn what_is_no_directory_is_an_error_and_nobody_waits_for_it() {
    for name in ["01", "tags"] {
        for (_, make) in [STRANGE[0], STRANGE[6]] {
            let (dir, directory) = open();
            make(&dir.path().join(name));
            directory.put(&key(1), &tagged("a", 1), at(0)).unwrap_err();
            if name == "01" {
                directory.load(&key(1)).unwrap_err();
                directory.remove(&key(1)).unwrap_err();
            } else {
                directory.tagged(&tag(1)).unwrap_err();
            }
        }
    }
}

#[test]
fn a_clean_up_goes_on_past_what_it_cannot_read() {
    let dir = private();
    let file = File::builder(dir.path())
        .clock(|| Millis::MAX.into())
        .build()
        .unwrap();
    let put = |n| {
        file.shared
            .place
            .directory()
            .unwrap()
            .put(&key(n), &entry("a", When::Absent), at(0))
    };
    put(0x10).unwrap();
    put(0xf0).unwrap();
    symlink("nowhere", dir.path().join("80")).unwrap();
    let error = file.clean_up().unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Other);
    for n in [0x10, 0xf0] {
        assert!(!path_of(&dir, &key(n)).exists());
    }
    fs::remove_file(dir.path().join("80")).unwrap();
    put(0x10).unwrap();
    assert_eq!(file.clean_up(), Ok(1));
}

#[test]
fn nobody_else_may_enter() {
    let (dir, directory) = open();
    directory.put(&key(1), &tagged("a", 7), at(0)).unwrap();
    for path in tree(dir.path()) {
        let metadata = path.metadata().unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{path:?}");
    }
    let problem = |path: &Path| {
        let error = File::open(path).unwrap_err();
        assert_eq!(error.setting(), "path");
        error.to_string()
    };
    let made = dir.path().join("made");
    drop(File::open(&made).unwrap());
    assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(&made, PermissionsExt::from_mode(0o710)).unwrap();
    assert!(problem(&made).ends_with("its mode is 710; `chmod 700` it"));
    problem(Path::new("/"));
    let nowhere = problem(&dir.path().join("not/there"));
    assert!(nowhere.contains("cannot be made"));
    assert!(nowhere.contains("whose parent exists"), "{nowhere}");
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(problem(&dir.path().join("file")).contains("cannot be opened"));
}

#[test]
fn errors_of_the_system_have_a_kind() {
    use rustix::io::Errno;
    for (errno, kind) in [
        (Errno::NOSPC, BackendErrorKind::Full),
        (Errno::DQUOT, BackendErrorKind::Full),
        (Errno::MFILE, BackendErrorKind::Unavailable),
        (Errno::NFILE, BackendErrorKind::Unavailable),
        (Errno::NOMEM, BackendErrorKind::Unavailable),
        (Errno::IO, BackendErrorKind::Other),
    ] {
        assert_eq!(failed(&errno.into()).kind(), kind, "{errno}");
    }
    let (_dir, directory) = open();
    let mut large = "v".repeat(format::MAX_VALUE + 1);
    let error = directory
        .put(&key(1), &entry(&large, When::Absent), at(0))
        .unwrap_err();
    assert!(error.to_string().contains("16777217 bytes"), "{error}");
    large.pop();
    let largest = entry(&large, When::Absent);
    let outcome = directory.put(&key(1), &largest, at(0)).unwrap();
    assert_eq!(outcome, Outcome::Stored);
}

#[cfg(target_os = "linux")]
#[test]
fn a_lock_that_cannot_be_asked_for_is_an_error_and_not_another_ones() {
    use rustix::fs::{CWD, Mode, OFlags};
    let (dir, _) = open();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let file = fs::File::open(&path).unwrap();
    let other = fs::File::open(&path).unwrap();
    assert!(dir::try_lock(&file).unwrap());
    assert!(!dir::try_lock(&other).unwrap());
    let name_only = rustix::fs::openat(CWD, &path, OFlags::PATH, Mode::empty()).unwrap();
    dir::try_lock(&name_only.into()).unwrap_err();
}
