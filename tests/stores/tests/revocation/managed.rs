//! Entries in the stream under keys that rotate and are revoked.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use base64::Engine;
use sealed_session::ManagedKeys;
use sealed_session::keys::{KeyFile, KeyStore, KeyStoreError, ManagedKeysBuilder, Zeroizing};

use super::*;

/// A file of keys, which each process polls only when the test says so.
struct Ring {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Ring {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        Self {
            _folder: folder,
            path,
        }
    }

    fn builder(&self) -> ManagedKeysBuilder {
        ManagedKeys::builder(KeyFile::owned(&self.path)).without_thread()
    }

    fn keys(&self) -> ManagedKeys {
        self.builder().build().unwrap()
    }
}

impl Fleet {
    fn store(&self, keys: &ManagedKeys) -> Store {
        let now = Arc::clone(&self.now);
        let redis = self.server.redis();
        let builder = RevocableCookieStore::builder(keys, redis);
        builder.clock(move || *now.lock().unwrap()).build().unwrap()
    }

    async fn reads(&self) -> usize {
        let info = self.server.info("commandstats").await;
        let line = info.lines().find(|line| line.starts_with("cmdstat_eval:"));
        let calls = line.unwrap().split(['=', ',']).nth(1).unwrap();
        calls.parse().unwrap()
    }
}

#[tokio::test]
async fn an_entry_under_an_unknown_key_leaves_a_process_stale_until_it_has_the_key() {
    let (fleet, ring) = (Fleet::new().await, Ring::new());
    let [ours, theirs] = [(); 2].map(|()| ring.keys());
    let [one, other] = [&ours, &theirs].map(|keys| fleet.store(keys));
    for store in [&one, &other] {
        store.catch_up().await.unwrap();
    }
    let alive = log_in(&other).await;

    ours.revoke(ours.seals().unwrap()).unwrap();
    let ended = log_in(&one).await;
    log_out(&one, &ended).await;

    let error = other.catch_up().await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    fleet.forward(11 * SECOND);
    assert!(
        other.load_current(&alive).await.is_err(),
        "it is not current"
    );
    theirs.refresh().unwrap();
    other.catch_up().await.unwrap();
    assert!(is_revoked(&other, &ended));
    assert!(is_alive(&other, &log_in(&one).await));
}

#[tokio::test]
async fn an_entry_under_a_key_that_nobody_has_is_passed_over_after_a_poll() {
    let (fleet, ring) = (Fleet::new().await, Ring::new());
    let keys = ring.keys();
    let (store, stranger) = (fleet.store(&keys), fleet.process().await);
    let ended = log_in(&stranger).await;
    log_out(&stranger, &ended).await;
    assert!(store.catch_up().await.is_err());
    keys.refresh().unwrap();
    store.catch_up().await.unwrap();
    assert!(store.load(&HeaderMap::new()).is_ok());
}

/// A key store that is read each time that the test says so.
struct Gated {
    file: KeyFile,
    opens: Mutex<Receiver<()>>,
    begins: Sender<()>,
}

impl KeyStore for Gated {
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        self.begins.send(()).unwrap();
        let opens = self.opens.lock().unwrap();
        opens.recv_timeout(PATIENCE).unwrap();
        drop(opens);
        self.file.load()
    }

    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError> {
        self.file.replace(there, with)
    }

    fn describe(&self) -> String {
        self.file.describe()
    }

    fn is_private(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_key_store_that_hangs_holds_up_no_runtime() {
    let (fleet, ring) = (Fleet::new().await, Ring::new());
    let ((open, opens), (begins, has_begun)) = (channel(), channel());
    let gated = Gated {
        file: KeyFile::owned(&ring.path),
        opens: Mutex::new(opens),
        begins,
    };
    open.send(()).unwrap();
    // So long that no store needs to raise it.
    let keys = ManagedKeys::builder(gated).longest_lifetime(100_000 * SECOND);
    let keys = keys.without_thread().build().unwrap();
    has_begun.recv().unwrap();
    let (store, stranger) = (fleet.store(&keys), fleet.process().await);
    let ended = log_in(&stranger).await;
    log_out(&stranger, &ended).await;

    let poll = std::thread::spawn(move || keys.refresh());
    has_begun.recv().unwrap();
    let error = store.catch_up().await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    open.send(()).unwrap();
    poll.join().unwrap().unwrap();
    store.catch_up().await.unwrap();
}

#[tokio::test]
async fn entries_under_any_number_of_keys_that_nobody_has_are_passed_over_too() {
    let (fleet, ring) = (Fleet::new().await, Ring::new());
    let keys = ring.keys();
    let store = fleet.store(&keys);
    store.catch_up().await.unwrap();
    let mut connection = fleet.server.connection().await;
    for n in 0..700_u32 {
        let mut token = [0; 100];
        token[0] = 1;
        token[1..5].copy_from_slice(&n.to_be_bytes());
        let token = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(token);
        let mut add = redis::cmd("XADD");
        add.arg("session:revocations:__Host-session")
            .arg("*")
            .arg("t")
            .arg(token);
        add.exec_async(&mut connection).await.unwrap();
    }
    assert!(store.catch_up().await.is_err());
    keys.refresh().unwrap();
    store.catch_up().await.unwrap();
    let alive = log_in(&store).await;
    fleet.forward(5 * SECOND);
    store.catch_up().await.unwrap();
    assert!(is_alive(&store, &alive));
}

#[tokio::test]
async fn what_was_published_under_a_revoked_key_is_published_again() {
    let (fleet, ring) = (Fleet::new().await, Ring::new());
    let [present, former] = [(); 2].map(|()| AppKey::generate().unwrap());
    // A session from before, and its end under the key that is revoked later.
    let before = RevocableCookieStore::builder(former.clone(), fleet.server.redis());
    let now = Arc::clone(&fleet.now);
    let before = before.clock(move || *now.lock().unwrap()).build().unwrap();
    before.catch_up().await.unwrap();
    let [ended, alive] = [log_in(&before).await, log_in(&before).await];
    let both = KeyRing::new(present.clone()).accept(former).unwrap();
    let ours = ring.builder().adopt(both).build().unwrap();
    let one = fleet.store(&ours);
    one.catch_up().await.unwrap();
    log_out(&one, &ended).await;
    assert!(is_revoked(&one, &ended));

    ours.revoke_only(present.id()).unwrap();
    one.catch_up().await.unwrap();
    let fresh = fleet.store(&ring.keys());
    fresh.catch_up().await.unwrap();
    assert!(is_revoked(&fresh, &ended));
    assert!(is_alive(&fresh, &alive));
}

#[tokio::test]
async fn a_key_that_comes_by_rotation_makes_nobody_read_the_stream_again() {
    let (fleet, ring) = (Fleet::new().await, Ring::new());
    let [ours, theirs] = [(); 2].map(|()| ring.keys());
    let store = fleet.store(&theirs);
    store.catch_up().await.unwrap();
    let reads = async || {
        let before = fleet.reads().await;
        store.catch_up().await.unwrap();
        fleet.reads().await - before
    };
    let usual = reads().await;
    ours.add().unwrap().unwrap();
    theirs.refresh().unwrap();
    assert_eq!(theirs.opens().len(), 2);
    assert_eq!(reads().await, usual);
    // Where keys are replaced by hand, the stream is read again.
    store.replace_keys(AppKey::generate().unwrap());
    assert!(reads().await > usual);
}
