//! What clients send, and where it does not go.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use sealed_session::server::File;
use sealed_session::{AppKey, FileStore};

use crate::private;

/// Paths below a directory, without those of directories.
fn files(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path);
        }
    }
    found
}

fn cookie(response: &HeaderMap) -> String {
    let cookie = response[SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn request(cookie: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, cookie.parse().unwrap());
    headers
}

const PATHS: [&str; 8] = [
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "tags",
    ".",
    "a/b",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "x\u{e9}\u{202e}",
];

#[tokio::test]
async fn nothing_that_a_client_sends_becomes_part_of_a_path() {
    let outer = private();
    let inner = outer.path().join("sessions");
    let store = FileStore::new(AppKey::generate().unwrap(), File::open(&inner).unwrap());
    for path in PATHS {
        for value in [path.to_owned(), path.repeat(50), format!("{path}\\0")] {
            let request = request(&format!("__Host-session={value}"));
            let session = store.load(&request).await.unwrap();
            session.insert(path, path).unwrap();
            session.set_subject(path).unwrap();
            let mut response = HeaderMap::new();
            store.save(&session, &mut response).await.unwrap();
        }
    }
    let is_hex = |name: &str, length| {
        name.len() == length
            && name
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let found = files(outer.path());
    assert_eq!(
        found.len(),
        2 * 3 * PATHS.len(),
        "one for each session, one for its tag"
    );
    for path in found {
        let names: Vec<_> = path.strip_prefix(&inner).unwrap().iter().collect();
        let names: Vec<_> = names.iter().map(|name| name.to_str().unwrap()).collect();
        let is_ours = match &*names {
            [part, key] => is_hex(part, 2) && is_hex(key, 64),
            ["tags", part, tag, key] => is_hex(part, 2) && is_hex(tag, 64) && is_hex(key, 64),
            _ => false,
        };
        assert!(is_ours, "{path:?}");
    }
}

#[tokio::test]
async fn whoever_reads_the_files_sees_neither_ids_nor_data_and_whoever_writes_them_gains_nothing() {
    let dir = private();
    let store = FileStore::new(AppKey::generate().unwrap(), File::open(dir.path()).unwrap());
    let mut cookies = Vec::new();
    for name in ["alice", "mallory"] {
        let session = store.load(&HeaderMap::new()).await.unwrap();
        session.insert("name", name).unwrap();
        session.set_subject(name).unwrap();
        let mut response = HeaderMap::new();
        store.save(&session, &mut response).await.unwrap();
        cookies.push((cookie(&response), session.id().unwrap().to_string()));
    }
    let sessions: Vec<_> = files(dir.path())
        .into_iter()
        .filter(|path| !path.starts_with(dir.path().join("tags")))
        .collect();
    for path in &sessions {
        let text = fs::read_to_string(path).unwrap() + path.to_str().unwrap();
        for (cookie, id) in &cookies {
            let token = cookie.split_once('=').unwrap().1;
            for secret in ["alice", "mallory", token, id] {
                assert!(!text.contains(secret));
            }
        }
    }
    let [one, other] = &*sessions else {
        panic!("{sessions:?}")
    };
    let is_anyones = async || {
        let mut found = 0;
        for (cookie, _) in &cookies {
            let session = store.load(&request(cookie)).await.unwrap();
            found += usize::from(session.get::<String>("name").unwrap().is_some());
        }
        found
    };
    assert_eq!(is_anyones().await, 2);
    let [was, others] = [one, other].map(|path| fs::read(path).unwrap());
    fs::write(one, &others).unwrap();
    assert_eq!(
        is_anyones().await,
        1,
        "one session's file in another's place"
    );
    for position in 0..was.len() {
        let mut bytes = was.clone();
        bytes[position] ^= 1;
        fs::write(one, &bytes).unwrap();
        // The expiry and the tag are not sealed: the deadline in the session is.
        let may_open = position < 83;
        assert!(is_anyones().await == 1 || may_open, "byte {position}");
    }
    fs::write(one, was).unwrap();
    assert_eq!(is_anyones().await, 2);
}
