//! Keys in a file: who may touch it, and what a process that dies leaves.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealed_session::keys::{KeyEvent, KeyFile, KeyStore, KeyStoreErrorKind};
use sealed_session::{CookieStore, ManagedKeys, Origin};
use tempfile::TempDir;

use crate::shelf::{Clock, MINUTE, Process};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.keys");
    (folder, path)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn problem(file: KeyFile) -> String {
    let built = ManagedKeys::builder(file).without_thread().build();
    built.unwrap_err().to_string()
}

#[test]
fn one_line_makes_a_file_that_nobody_else_may_read() {
    let (_folder, path) = folder();
    let store = CookieStore::new(ManagedKeys::file(&path).unwrap());
    let session = store.load_from::<str>([]);
    session.insert("user", 42).unwrap();
    let outgoing = store.respond(&session).unwrap();
    let cookie = outgoing.set_cookies().next().unwrap().to_owned();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o600, 1));
    drop(store);
    let again = CookieStore::new(ManagedKeys::file(&path).unwrap());
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(again.load_from([pair]).origin(), Origin::Opened);
}

#[test]
fn whoever_else_may_touch_it_is_named_with_what_to_do() {
    let (folder, path) = folder();
    let own = || KeyFile::owned(&path);
    ManagedKeys::file(&path).unwrap().stop();
    mode(&path, 0o640);
    assert!(problem(own()).ends_with("its mode is 640; `chmod 600` it"));
    mode(&path, 0o600);
    mode(folder.path(), 0o770);
    assert!(problem(own()).contains("`chmod go-w` it"));
    mode(folder.path(), 0o700);

    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(problem(KeyFile::owned(&link)).contains("symbolic link"));
    let twin = folder.path().join("twin");
    fs::hard_link(&path, &twin).unwrap();
    assert!(problem(own()).contains("hard link"));
    fs::remove_file(&twin).unwrap();
    assert!(ManagedKeys::file(&path).is_ok());

    let sub = folder.path().join("sub");
    fs::create_dir(&sub).unwrap();
    mode(&sub, 0o700);
    let told = problem(KeyFile::owned(&sub));
    assert!(told.contains("not a file"), "{told}");
    assert!(problem(KeyFile::owned("/")).contains("not the path of a file"));
    let nowhere = folder.path().join("nowhere/keys");
    assert!(problem(KeyFile::owned(nowhere)).contains("its directory cannot be opened"));
}

#[test]
fn a_file_that_is_wrong_is_told_by_file_line_and_remedy() {
    let (_folder, path) = folder();
    ManagedKeys::file(&path).unwrap().stop();
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("disabled", "enabled")).unwrap();
    let told = problem(KeyFile::owned(&path));
    let expected = format!(
        "{}: line 8: it is not a key with its dates; put a backup",
        path.display()
    );
    assert!(told.starts_with(&expected), "{told}");
    fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    assert!(problem(KeyFile::owned(&path)).contains("longer than a ring"));
    fs::write(&path, "").unwrap();
    assert!(problem(KeyFile::owned(&path)).contains("cut short"));
}

#[test]
fn what_a_process_that_died_has_left_is_cleared_away() {
    let (folder, path) = folder();
    let left = folder.path().join("session.keys.new");
    fs::write(&left, "half a ri").unwrap();
    let keys = ManagedKeys::file(&path).unwrap();
    assert!(!left.exists());
    // It died after it gave the file its name, and before it took the other one away.
    fs::hard_link(&path, &left).unwrap();
    keys.refresh().unwrap();
    assert!(!left.exists());
    // It died while it wrote the next one.
    fs::write(&left, "half a ri").unwrap();
    keys.add().unwrap();
    assert!(!left.exists());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn ten_processes_that_start_at_once_make_one_file_with_one_key() {
    let (_folder, path) = folder();
    let ids: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
        let start = || ManagedKeys::file(&path).unwrap().seals();
        let started = [(); 10].map(|()| scope.spawn(start));
        started.map(|it| it.join().unwrap()).into_iter().collect()
    });
    assert_eq!(ids.len(), 1);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("end 1\n"));
}

#[test]
fn a_file_is_only_exchanged_if_it_is_as_it_was_known() {
    let (_folder, path) = folder();
    let file = KeyFile::owned(&path);
    assert_eq!(file.load().unwrap(), None);
    assert!(!file.replace(Some(b"a"), b"b").unwrap());
    assert!(file.replace(None, b"a").unwrap());
    assert!(!file.replace(None, b"b").unwrap());
    assert!(!file.replace(Some(b"b"), b"c").unwrap());
    assert!(file.replace(Some(b"a"), b"b").unwrap());
    assert_eq!(file.load().unwrap().unwrap().as_slice(), b"b");
}

#[test]
fn a_mounted_secret_is_followed_when_it_is_exchanged_and_never_written() {
    let (owned, path) = folder();
    let owner = ManagedKeys::builder(KeyFile::owned(&path))
        .propagation(Duration::from_secs(180))
        .without_thread()
        .build()
        .unwrap();
    // As Kubernetes does it: a link to a folder of a version, and a link to that one.
    let mount = tempfile::tempdir().unwrap();
    let publish = |version: &str| {
        let folder = mount.path().join(version);
        fs::create_dir(&folder).unwrap();
        fs::copy(&path, folder.join("keys")).unwrap();
        mode(&folder.join("keys"), 0o440);
        let data = mount.path().join("..new");
        symlink(version, &data).unwrap();
        fs::rename(data, mount.path().join("..data")).unwrap();
    };
    publish("v1");
    let mounted = mount.path().join("keys");
    symlink("..data/keys", &mounted).unwrap();
    let reader = ManagedKeys::builder(KeyFile::mounted(&mounted));
    let reader = reader.without_thread().build().unwrap();
    assert_eq!(reader.seals(), owner.seals());
    let next = owner.add().unwrap().unwrap();
    publish("v2");
    reader.refresh().unwrap();
    assert!(reader.opens().contains(&next));
    let refused = reader.revoke(next).unwrap_err();
    assert_eq!(refused.kind(), KeyStoreErrorKind::Refused);
    let fresh = owner.revoke(next).unwrap().fresh;
    publish("v3");
    reader.refresh().unwrap();
    assert_eq!(reader.seals(), fresh);
    drop(owned);
}

#[test]
fn a_mounted_secret_that_everybody_reads_or_that_is_not_there_is_refused() {
    let (_folder, path) = folder();
    assert!(problem(KeyFile::mounted(&path)).contains("there is no ring of keys"));
    assert!(!path.exists());
    ManagedKeys::file(&path).unwrap().stop();
    mode(&path, 0o444);
    assert!(problem(KeyFile::mounted(&path)).contains("mount it with mode 440"));
    mode(&path, 0o440);
    let told = problem(KeyFile::mounted(&path));
    assert!(told.contains("a propagation of 0ns"), "{told}");
}

#[test]
fn any_name_that_a_file_can_have_is_good() {
    let (folder, _) = folder();
    for name in [
        &b"caf\xe9"[..],
        b"a b",
        b"-rf",
        b"two\nlines",
        b".keys",
        b"keys.lock",
    ] {
        let path = folder.path().join(OsStr::from_bytes(name));
        let keys = [(); 2].map(|()| ManagedKeys::file(&path).unwrap());
        assert_eq!(keys[0].seals(), keys[1].seals(), "{path:?}");
    }
}

#[test]
fn what_is_unsafe_is_told_even_if_it_cannot_be_locked() {
    let (_folder, path) = folder();
    ManagedKeys::file(&path).unwrap().stop();
    mode(&path, 0o644);
    let lock = path.with_extension("keys.lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let told = problem(KeyFile::owned(&path));
    assert!(told.ends_with("its mode is 644; `chmod 600` it"), "{told}");
}

#[test]
fn a_mounted_secret_that_is_gone_is_a_store_that_is_not_heard_from() {
    let (_folder, path) = folder();
    let owner = ManagedKeys::builder(KeyFile::owned(&path)).propagation(Duration::from_secs(180));
    owner.without_thread().build().unwrap().stop();
    mode(&path, 0o440);
    let clock = Clock::new();
    let (asked, reader) = (clock.clone(), ManagedKeys::builder(KeyFile::mounted(&path)));
    let reader = reader.without_thread().clock(move || asked.now());
    let reader = Process::start_with(&clock, reader.max_staleness(MINUTE));
    reader.events();
    let store = CookieStore::new(&reader.keys);
    let session = store.load_from::<str>([]);
    session.insert("user", 42).unwrap();
    fs::remove_file(&path).unwrap();
    let error = reader.keys.refresh().unwrap_err();
    assert_eq!(error.kind(), KeyStoreErrorKind::Missing);
    assert_eq!(reader.events(), [KeyEvent::StoreDamaged]);
    assert!(store.respond(&session).is_ok());
    clock.forward(2 * MINUTE);
    assert!(reader.keys.refresh().is_err());
    assert!(
        store.respond(&session).is_err(),
        "it may have missed a revocation"
    );
}
