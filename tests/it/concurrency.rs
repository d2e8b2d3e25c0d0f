//! One session in several hands at once, and callers' code that calls back into it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;

use sealed_session::Session;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::support::*;

const THREADS: usize = 8;

/// Runs `work` on several threads that start together.
fn together(work: impl Fn(usize) + Sync) {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(n);
            });
        }
    });
}

#[test]
fn no_update_is_lost() {
    without_deadlock(|| {
        let mut site = Site::new();
        site.visit(|session| session.insert("count", 0).unwrap());
        site.visit(|session| {
            together(|_| {
                for _ in 0..1000 {
                    session
                        .update("count", |n: Option<u32>| n.unwrap() + 1)
                        .unwrap();
                }
            });
        });
        assert_eq!(site.load().get("count").unwrap(), Some(8000));
    });
}

#[test]
fn two_hands_change_two_entries_and_both_changes_are_there() {
    without_deadlock(|| {
        let mut site = Site::new();
        site.visit(|session| {
            together(|n| {
                let session = session.clone();
                for round in 0..50 {
                    session.insert(&format!("v{n}"), round).unwrap();
                    session.flash(&format!("f{n}"), round).unwrap();
                    session.insert("passing", n).unwrap();
                    session.remove("passing");
                }
            });
        });
        let session = site.load();
        for n in 0..THREADS {
            assert_eq!(session.get(&format!("v{n}")).unwrap(), Some(49));
            assert_eq!(session.take_flash(&format!("f{n}")).unwrap(), Some(49));
        }
        assert_eq!(session.len(), THREADS);
    });
}

#[test]
fn of_several_takers_one_gets_it() {
    without_deadlock(|| {
        let mut site = Site::new();
        site.visit(|session| {
            session.insert("token", 1).unwrap();
            session.flash("note", 1).unwrap();
        });
        for _ in 0..100 {
            let session = site.load();
            let taken = std::sync::Mutex::new((0, 0));
            together(|_| {
                let value = session.take("token").unwrap().unwrap_or(0);
                let flash = session.take_flash("note").unwrap().unwrap_or(0);
                let mut taken = taken.lock().unwrap();
                *taken = (taken.0 + value, taken.1 + flash);
            });
            assert_eq!(*taken.lock().unwrap(), (1, 1));
        }
    });
}

#[test]
fn merging_both_ways_at_once_ends() {
    without_deadlock(|| {
        let (one, other) = (Session::new(), Session::new());
        one.insert("one", 1).unwrap();
        other.insert("other", 2).unwrap();
        together(|n| {
            for _ in 0..200 {
                if n % 2 == 0 {
                    one.merge(&other).unwrap();
                } else {
                    other.merge(&one).unwrap();
                }
            }
        });
        for session in [one, other] {
            assert_eq!(session.keys(), ["one", "other"]);
        }
    });
}

#[test]
fn saving_while_others_write_saves_some_whole_state() {
    without_deadlock(|| {
        let mut site = Site::new();
        site.visit(|session| session.insert("pair", (0, 0)).unwrap());
        let session = site.load();
        let id = session.id();
        let shared = &site;
        together(|n| {
            for round in 0..20 {
                session.insert("pair", (n + 1, round)).unwrap();
                let response = shared.save(&session);
                let there = shared.store.load(&cookies(&[pair(&response)]));
                assert!(there.get::<(usize, usize)>("pair").unwrap().is_some());
                assert_eq!(there.id(), id);
            }
        });
    });
}

#[test]
fn a_new_session_saved_from_several_threads_has_one_id() {
    without_deadlock(|| {
        let site = Site::new();
        let session = site.load();
        session.insert("a", 1).unwrap();
        together(|_| {
            let response = site.save(&session);
            let there = site.store.load(&cookies(&[pair(&response)]));
            assert_eq!(there.id(), session.id());
        });
    });
}

#[test]
fn keys_and_cutoff_change_while_requests_run() {
    without_deadlock(|| {
        let mut site = Site::new();
        let (old, new) = (key(), key());
        site.store.replace_keys(old.clone());
        site.visit(|session| session.insert("a", 1).unwrap());
        let request = site.browser.send(site.clock.now());
        together(|n| {
            for round in 0..50 {
                if n == 0 {
                    let sealing = [[&new, &old], [&old, &new]][round % 2];
                    site.store.replace_keys(ring(&sealing));
                    site.store.set_not_before(std::time::SystemTime::UNIX_EPOCH);
                }
                let session = site.store.load(&request);
                assert_eq!(session.get("a").unwrap(), Some(1));
                session.insert("b", n).unwrap();
                let response = site.save(&session);
                let there = site.store.load(&cookies(&[pair(&response)]));
                assert_eq!(there.get("b").unwrap(), Some(n));
            }
        });
    });
}

thread_local! {
    /// The session that a value of [`Calling`] calls back into.
    static CALLED: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Uses the session while it is written into it and while it is read from it.
struct Calling;

impl Calling {
    fn call() {
        CALLED.with_borrow(|session| {
            let session = session.as_ref().unwrap();
            session.insert("called", true).unwrap();
            session
                .update("calls", |n: Option<u32>| n.unwrap_or(0) + 1)
                .unwrap();
            session.flash("called", 1).unwrap();
            session.merge(&session.clone()).unwrap();
            let _ = (session.status(), session.keys(), format!("{session:?}"));
        });
    }
}

impl Serialize for Calling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::call();
        serializer.serialize_bool(true)
    }
}

impl<'de> Deserialize<'de> for Calling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::call();
        bool::deserialize(deserializer).map(|_| Self)
    }
}

#[test]
fn a_type_that_calls_back_into_the_session_does_not_lock_it_up() {
    without_deadlock(|| {
        let mut site = Site::new();
        site.visit(|session| {
            session.insert("it", false).unwrap();
            session.flash("it", false).unwrap();
        });
        let session = site.load();
        CALLED.set(Some(session.clone()));
        session.insert("it", Calling).unwrap();
        assert!(session.get::<Calling>("it").unwrap().is_some());
        session
            .update("it", |it: Option<Calling>| it.unwrap())
            .unwrap();
        assert!(session.take::<Calling>("it").unwrap().is_some());
        assert!(session.take_flash::<Calling>("it").unwrap().is_some());
        session.flash("it", Calling).unwrap();
        assert_eq!(session.get("calls").unwrap(), Some(7));
        let response = site.save(&session);
        site.receive(&response);
        assert_eq!(site.load().keys(), ["called", "calls"]);
    });
}

#[test]
fn an_update_that_changes_the_entry_itself_is_called_again_with_the_newer_value() {
    without_deadlock(|| {
        let session = Session::new();
        let mut calls = 0;
        session
            .update("n", |n: Option<u32>| {
                calls += 1;
                if calls == 1 {
                    session.insert("n", 10).unwrap();
                    session.insert("other", true).unwrap();
                }
                n.unwrap_or(0) + 1
            })
            .unwrap();
        assert_eq!(session.get("n").unwrap(), Some(11));
        assert_eq!(session.get("other").unwrap(), Some(true));
        assert_eq!(calls, 2);
    });
}

#[test]
fn a_panic_in_a_callers_code_leaves_the_session_usable_and_as_it_was() {
    struct Panics;
    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("a caller's own")
        }
    }
    without_deadlock(|| {
        let mut site = Site::new();
        site.visit(|session| session.insert("n", 1).unwrap());
        let session = site.load();
        let update = || session.update("n", |_: Option<u32>| panic!("a caller's own"));
        let insert = || session.insert("n", Panics);
        assert!(catch_unwind(AssertUnwindSafe(update)).is_err());
        assert!(catch_unwind(AssertUnwindSafe(insert)).is_err());
        assert!(sets_no_cookie(&site.save(&session)));
        session
            .update("n", |n: Option<u32>| n.unwrap() + 1)
            .unwrap();
        let response = site.save(&session);
        site.receive(&response);
        assert_eq!(site.load().get("n").unwrap(), Some(2));
    });
}
