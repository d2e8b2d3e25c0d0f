//! `claim`: of any number of requests exactly one gets an entry.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use sealed_session::server::{
    Backend, BackendError, Entry, Memory, Outcome, Promise, ServerStore, StoreKey, Stored, Value,
};
use sealed_session::{CookieStore, ErrorKind, RevocationList, Session, Status, StoreBuilder};

use crate::now::now;
use crate::site::Site;
use crate::support::*;

/// What a request does, and its name.
type Act = (&'static str, fn(&Session));

/// A visitor with a voucher, and two requests that have loaded the session.
fn two() -> (Site, Session, Session) {
    let mut site = Site::visited(|builder| builder);
    site.visit(|session| session.insert("voucher", "v").unwrap());
    site.events();
    let (one, other) = (site.load(), site.load());
    (site, one, other)
}

fn claim(session: &Session) -> Option<String> {
    session.claim("voucher").unwrap()
}

fn is_claimed(site: &Site, session: &Session) -> bool {
    let saved = site.try_save(session);
    if let Err(error) = &saved {
        assert!(error.is_conflict() && error.backend().is_none(), "{error}");
    }
    saved.is_ok()
}

#[test]
fn of_two_that_claim_it_the_first_save_has_it_and_the_other_is_told_each_time() {
    let (site, one, other) = two();
    for session in [&one, &other] {
        assert_eq!(claim(session).as_deref(), Some("v"));
        assert!(!session.contains("voucher"));
        assert_eq!(session.status(), Status::Modified);
        assert_eq!(claim(session), None, "it has it already");
        session.insert("mine", 1).unwrap();
    }
    assert!(is_claimed(&site, &one));
    for _ in 0..2 {
        let error = site.try_save(&other).unwrap_err();
        assert!(error.to_string().contains("claimed"), "{error}");
        assert!(error.is_conflict());
    }
    assert!(is_claimed(&site, &one), "what it has it keeps");
    one.insert("b", 1).unwrap();
    assert!(is_claimed(&site, &one));
    assert!(!site.load().contains("voucher"));
}

#[test]
fn what_others_do_to_other_entries_does_not_matter() {
    let (site, one, other) = two();
    claim(&one);
    other.insert("theirs", 1).unwrap();
    site.save(&other);
    assert!(is_claimed(&site, &one));
    assert_eq!(site.load().keys(), ["count", "name", "theirs"]);
}

#[test]
fn what_others_do_to_the_entry_or_to_the_session_is_a_conflict() {
    let others: [Act; 8] = [
        ("take it", |session| drop(session.take::<String>("voucher"))),
        ("remove it", |session| session.remove("voucher")),
        ("change it", |session| {
            session.insert("voucher", "w").unwrap();
        }),
        ("clear", Session::clear),
        ("renew", Session::renew),
        ("destroy", Session::destroy),
        ("begin anew", |session| {
            session.destroy();
            session.insert("voucher", "v").unwrap();
        }),
        ("claim and destroy", |session| {
            claim(session);
            session.destroy();
        }),
    ];
    let afterwards: [Act; 6] = [
        ("", |_| ()),
        ("and puts it back", |session| {
            session.insert("voucher", "v").unwrap();
        }),
        ("and renews", Session::renew),
        ("and destroys", Session::destroy),
        ("and clears", Session::clear),
        ("and begins anew", |session| {
            session.destroy();
            session.insert("voucher", "mine").unwrap();
        }),
    ];
    for (what, act) in others {
        for (then, finish) in afterwards {
            let (mut site, one, other) = two();
            claim(&one);
            finish(&one);
            act(&other);
            let response = site.save(&other);
            site.receive(&response);
            assert!(
                !is_claimed(&site, &one),
                "others {what}, this one claims {then}"
            );
            let now_there = site.load();
            assert_eq!(
                now_there.is_new(),
                what.ends_with("destroy"),
                "{what} {then}"
            );
        }
    }
}

#[test]
fn a_claim_goes_with_whatever_else_is_done_and_holds() {
    let finishes: [Act; 5] = [
        ("puts another back", |session| {
            session.insert("voucher", "w").unwrap();
        }),
        ("renews", Session::renew),
        ("destroys", Session::destroy),
        ("clears", Session::clear),
        ("begins anew", |session| {
            session.destroy();
            session.insert("a", 1).unwrap();
        }),
    ];
    for (what, finish) in finishes {
        let (mut site, one, other) = two();
        claim(&one);
        finish(&one);
        claim(&other);
        let response = site.save(&one);
        site.receive(&response);
        assert!(!is_claimed(&site, &other), "{what}");
        assert_eq!(site.load().is_new(), what == "destroys", "{what}");
        assert_ne!(
            site.load().get("voucher"),
            Ok(Some("v".to_owned())),
            "{what}"
        );
    }
}

#[test]
fn one_that_is_put_back_is_there_for_the_next() {
    let (site, one, other) = two();
    claim(&one);
    one.insert("voucher", "v").unwrap();
    assert!(is_claimed(&site, &one));
    claim(&other);
    assert!(is_claimed(&site, &other));
    assert!(!site.load().contains("voucher"));
}

#[test]
fn what_this_request_has_set_is_nobody_elses() {
    let (site, one, other) = two();
    one.insert("voucher", "mine").unwrap();
    assert_eq!(claim(&one).as_deref(), Some("mine"));
    other.insert("voucher", "theirs").unwrap();
    site.save(&other);
    assert!(is_claimed(&site, &one), "the later save's stays");
    let fresh = Site::new();
    let session = fresh.load();
    assert_eq!(claim(&session), None);
    session.insert("voucher", "v").unwrap();
    assert_eq!(claim(&session).as_deref(), Some("v"));
}

#[test]
fn what_cannot_be_had_alone_is_an_error_that_says_why() {
    let in_a_cookie = |session: &Session| {
        let before = session.status();
        let error = session.claim::<String>("voucher").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotClaimable);
        assert!(error.to_string().contains("sent twice"), "{error}");
        assert_eq!(session.status(), before);
    };
    in_a_cookie(&Session::new());
    for store in [
        CookieStore::new(key()),
        CookieStore::builder(key())
            .revocations(RevocationList::new())
            .build()
            .unwrap(),
    ] {
        let session = store.load(&HeaderMap::new());
        in_a_cookie(&session);
        session.insert("voucher", "v").unwrap();
        in_a_cookie(&session);
    }
    let mut site = Site::with(StoreBuilder::small_in_cookie);
    site.visit(|session| session.insert("voucher", "v").unwrap());
    in_a_cookie(&site.load());
    site.visit(|session| session.insert("large", "x".repeat(5000)).unwrap());
    site.visit(|session| {
        assert_eq!(claim(session).as_deref(), Some("v"));
        session.remove("large");
    });
    in_a_cookie(&site.load());

    let overwrites = ServerStore::new(key(), Overwriting);
    let session = now(overwrites.load(&HeaderMap::new())).unwrap();
    let error = session.claim::<String>("voucher").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotClaimable);
    assert!(error.to_string().contains("overwrites"), "{error}");
    assert!(!error.to_string().contains("\"v\""));
}

#[test]
fn one_of_the_wrong_type_stays() {
    let (site, one, other) = two();
    assert_eq!(
        one.claim::<u8>("voucher").unwrap_err().kind(),
        ErrorKind::WrongType
    );
    assert_eq!(one.status(), Status::Unmodified);
    claim(&other);
    assert!(is_claimed(&site, &other) && is_claimed(&site, &one));
}

/// Keeps nothing, and says so.
struct Overwriting;

impl Backend for Overwriting {
    const PROMISE: Promise = Promise::Upsert;

    async fn load(&self, _: &StoreKey) -> Result<Option<Stored>, BackendError> {
        Ok(None)
    }

    async fn put(&self, _: &StoreKey, _: &Entry) -> Result<Outcome, BackendError> {
        Ok(Outcome::Stored)
    }

    async fn touch(&self, _: &StoreKey, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    async fn remove(&self, _: &StoreKey) -> Result<Option<Value>, BackendError> {
        Ok(None)
    }
}

/// Requests on as many threads, each of which claims the entry and changes one of its own.
fn winners<B: Backend>(store: &ServerStore<B>, threads: usize) -> usize {
    let first = pollster::block_on(store.load(&HeaderMap::new())).unwrap();
    first.insert("voucher", "v").unwrap();
    let mut response = HeaderMap::new();
    pollster::block_on(store.save(&first, &mut response)).unwrap();
    let cookie = response[SET_COOKIE].to_str().unwrap();
    let mut request = HeaderMap::new();
    request.insert(COOKIE, cookie.split(';').next().unwrap().parse().unwrap());
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|n| {
                let (store, request, start) = (store, &request, &start);
                scope.spawn(move || {
                    let session = pollster::block_on(store.load(request)).unwrap();
                    assert_eq!(claim(&session).as_deref(), Some("v"));
                    match n % 4 {
                        0 => session.insert("n", n).unwrap(),
                        1 => session.renew(),
                        2 => session.destroy(),
                        _ => {}
                    }
                    start.wait();
                    let saved = pollster::block_on(store.save(&session, &mut HeaderMap::new()));
                    if let Err(error) = &saved {
                        assert!(error.is_conflict(), "{error}");
                    }
                    saved.is_ok()
                })
            })
            .collect();
        running
            .into_iter()
            .filter_map(|it| it.join().unwrap().then_some(()))
            .count()
    })
}

#[test]
fn of_eight_threads_one_gets_it_in_memory() {
    let store = ServerStore::new(key(), Memory::new());
    for round in 0..100 {
        assert_eq!(winners(&store, 8), 1, "{round}");
    }
}

#[cfg(all(feature = "file", unix))]
#[test]
fn of_eight_threads_one_gets_it_in_files() {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::Permissions::from_mode(0o700);
    let dir = tempfile::Builder::new()
        .permissions(mode)
        .tempdir()
        .unwrap();
    let file = sealed_session::server::File::open(dir.path()).unwrap();
    let store = ServerStore::new(key(), file);
    for round in 0..10 {
        assert_eq!(winners(&store, 8), 1, "{round}");
    }
}

#[cfg(feature = "tower")]
#[test]
fn under_the_layer_one_answer_goes_out_and_the_others_are_told() {
    use http::{Request, Response, StatusCode};
    use sealed_session::frameworks::tower::{Failure, PendingSession, SessionLayer};
    use tower_layer::Layer;
    use tower_service::Service;

    const AT_ONCE: usize = 4;

    let store = ServerStore::new(key(), Memory::new());
    let first = now(store.load(&HeaderMap::new())).unwrap();
    first.insert("voucher", "v").unwrap();
    let mut response = HeaderMap::new();
    now(store.save(&first, &mut response)).unwrap();
    let request = cookies(&[pair(&response)]);
    let start = Barrier::new(AT_ONCE);
    let answers: Vec<_> = thread::scope(|scope| {
        let answer = || {
            let layer = SessionLayer::new(store.clone()).on_error(|_: &Failure| {
                let mut response = Response::new(String::new());
                *response.status_mut() = StatusCode::CONFLICT;
                response
            });
            let handler = async |request: Request<()>| -> Result<Response<String>, &'static str> {
                let pending = request.extensions().get::<PendingSession>().unwrap();
                let voucher = claim(&pending.session().await.unwrap());
                start.wait();
                Ok(Response::new(voucher.unwrap()))
            };
            let mut layered = layer.layer(crate::service::service(handler));
            let mut asked = Request::new(());
            *asked.headers_mut() = request.clone();
            now(layered.call(asked)).unwrap().status()
        };
        let running: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(answer)).collect();
        running.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let is_ok = |status: &&StatusCode| **status == StatusCode::OK;
    assert_eq!(answers.iter().filter(is_ok).count(), 1, "{answers:?}");
}
