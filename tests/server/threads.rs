//! The races once more, between threads and over the memory of the process.

use std::sync::Barrier;
use std::thread;

use http::HeaderMap;
use sealed_session::server::{Memory, MemoryStore};
use sealed_session::{Origin, Session};

use crate::now::now;
use crate::support::*;

/// A store, and the cookie of a session with `n` = 0.
fn store_and_cookie() -> (MemoryStore, HeaderMap) {
    let store = MemoryStore::new(key(), Memory::new());
    let response = answer(&store, &HeaderMap::new(), |session| {
        session.insert("n", 0).unwrap();
    });
    let request = cookies(&[pair(&response)]);
    (store, request)
}

fn answer(store: &MemoryStore, request: &HeaderMap, handler: impl Fn(&Session)) -> HeaderMap {
    let session = now(store.load(request)).unwrap();
    handler(&session);
    let mut response = HeaderMap::new();
    now(store.save(&session, &mut response)).unwrap();
    response
}

#[test]
fn a_session_that_one_thread_destroys_is_never_revived_by_another() {
    for _ in 0..2000 {
        let (store, request) = store_and_cookie();
        let slow = now(store.load(&request)).unwrap();
        slow.insert("late", 1).unwrap();
        let start = Barrier::new(2);
        let response = thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                answer(&store, &request, Session::destroy);
            });
            let mut response = HeaderMap::new();
            start.wait();
            now(store.save(&slow, &mut response)).unwrap();
            response
        });
        assert!(sets_no_cookie(&response), "the browser is left alone");
        let session = now(store.load(&request)).unwrap();
        assert_ne!(session.origin(), Origin::Opened);
    }
}

#[test]
fn what_eight_threads_insert_under_keys_of_their_own_is_all_there() {
    for _ in 0..50 {
        let (store, request) = store_and_cookie();
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for n in 0..8 {
                let (store, request, start) = (&store, &request, &start);
                scope.spawn(move || {
                    start.wait();
                    answer(store, request, |session| {
                        session.insert(&format!("n{n}"), n).unwrap();
                    });
                });
            }
        });
        let session = now(store.load(&request)).unwrap();
        assert_eq!(session.len(), 9, "{:?}", session.keys());
    }
}

#[test]
fn one_session_that_threads_change_and_save_loses_nothing() {
    without_deadlock(|| {
        let (store, request) = store_and_cookie();
        let session = now(store.load(&request)).unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let (store, session) = (&store, &session);
                scope.spawn(move || {
                    for n in 0..50 {
                        session.insert(&format!("{thread} {n}"), n).unwrap();
                        session
                            .update("n", |n: Option<u32>| n.unwrap() + 1)
                            .unwrap();
                        // Others save it too, and one that never comes through tries again later.
                        let _ = now(store.respond(session));
                    }
                });
            }
        });
        let _ = now(store.respond(&session)).unwrap();
        let loaded = now(store.load(&request)).unwrap();
        assert_eq!(loaded.len(), 201);
        assert_eq!(loaded.get("n"), Ok(Some(200)));
    });
}
