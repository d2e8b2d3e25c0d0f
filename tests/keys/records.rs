//! Sessions in a backend, under keys that a process may not have heard of.

use std::sync::Arc;

use pollster::block_on;
use sealed_session::server::{
    Backend, BackendError, BackendErrorKind, Cursor, Entry, Memory, Outcome, Promise, ServerStore,
    StoreKey, Stored, Tag, Value,
};
use sealed_session::{ManagedKeys, Origin};

use crate::shelf::{Clock, Fault, Process, Shelf};

/// One backend for several processes.
#[derive(Clone)]
struct Shared(Arc<Memory>);

impl Backend for Shared {
    const PROMISE: Promise = Memory::PROMISE;

    async fn load(&self, key: &StoreKey) -> Result<Option<Stored>, BackendError> {
        self.0.load(key).await
    }

    async fn put(&self, key: &StoreKey, entry: &Entry) -> Result<Outcome, BackendError> {
        self.0.put(key, entry).await
    }

    async fn touch(&self, key: &StoreKey, ttl: std::time::Duration) -> Result<(), BackendError> {
        self.0.touch(key, ttl).await
    }

    async fn remove(&self, key: &StoreKey) -> Result<Option<Value>, BackendError> {
        self.0.remove(key).await
    }

    async fn scan(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        self.0.scan(after).await
    }

    async fn tagged(&self, tag: &Tag) -> Result<Vec<StoreKey>, BackendError> {
        self.0.tagged(tag).await
    }
}

type Store = ServerStore<Shared>;

fn log_in(store: &Store) -> String {
    let session = block_on(store.load_from::<str>([])).unwrap();
    session.insert("user", 42).unwrap();
    session.set_subject("ann").unwrap();
    let outgoing = block_on(store.respond(&session)).unwrap();
    let cookie = outgoing.set_cookies().next().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn is_open(store: &Store, cookie: &str) -> bool {
    block_on(store.load_from([cookie])).unwrap().origin() == Origin::Opened
}

/// Two processes, of which the second has not heard of the key that the first seals under.
fn apart() -> (Shelf, [Process; 2], [Store; 2]) {
    let (shelf, clock) = (Shelf::default(), Clock::new());
    let fleet = [(); 2].map(|()| Process::start(&shelf, &clock));
    let backend = Shared(Arc::new(Memory::new()));
    let store = |keys: &ManagedKeys| ServerStore::new(keys, backend.clone());
    let stores = fleet.each_ref().map(|process| store(&process.keys));
    let leaked = fleet[0].keys.seals().unwrap();
    fleet[0].keys.revoke(leaked).unwrap();
    (shelf, fleet, stores)
}

#[test]
fn all_sessions_of_a_user_end_also_those_under_a_key_that_is_not_known_yet() {
    let (_, _, [one, other]) = apart();
    let cookie = log_in(&one);
    assert!(is_open(&one, &cookie) && !is_open(&other, &cookie));
    assert_eq!(block_on(other.end_all_of("ann")).unwrap(), 1);
    assert!(!is_open(&one, &cookie));
}

#[test]
fn sessions_are_gone_through_also_those_under_a_key_that_is_not_known_yet() {
    let (_, _, [one, other]) = apart();
    let cookie = log_in(&one);
    let is_anns = |session: &sealed_session::Session| session.subject().as_deref() != Some("ann");
    assert_eq!(block_on(other.retain(is_anns)).unwrap(), 1);
    assert!(!is_open(&one, &cookie));
}

#[test]
fn one_session_ends_also_under_a_key_that_is_not_known_yet() {
    let (_, _, [one, other]) = apart();
    let cookie = log_in(&one);
    let id = block_on(one.load_from([&cookie])).unwrap().id().unwrap();
    assert!(block_on(other.end_one_of("ann", id)).unwrap());
    assert!(!is_open(&one, &cookie));
}

#[test]
fn without_the_key_store_ending_sessions_is_an_error_and_not_half_done() {
    let (shelf, _, [one, other]) = apart();
    let cookie = log_in(&one);
    let id = block_on(one.load_from([&cookie])).unwrap().id().unwrap();
    shelf.fault(Fault::Away);
    assert!(block_on(other.end_one_of("ann", id)).is_err());
    let error = block_on(other.end_all_of("ann")).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    assert!(block_on(other.retain(|_| false)).is_err());
    assert!(is_open(&one, &cookie));
}
