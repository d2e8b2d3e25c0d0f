//! Features `tower` and `tower-sessions`: our session as the session of tower-sessions, in a cookie
//! and in a backend.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod ends;
#[path = "../support/explained.rs"]
mod explained;
mod ids;
mod refused;
#[path = "../support/service.rs"]
mod service;
mod shared;
mod untouched;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cookie::time::OffsetDateTime;
use explained::assert_explained;
use http::header::{COOKIE, SET_COOKIE, VARY};
use http::{Request, Response, StatusCode, request};
use pollster::block_on;
use sealed_session::frameworks::tower::{
    Answer, Failure, Leaves, PendingSession, SessionLayer, Sessions,
};
use sealed_session::frameworks::tower_sessions::TowerSessionsLayer;
use sealed_session::server::{Memory, ServerStore, TowerSessions};
use sealed_session::{AppKey, CookieStore, Event, MemoryStore, Session};
use service::service;
use tower_layer::Layer;
use tower_service::Service;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::{Expiry, Session as Theirs, SessionStore};

type Reply = Result<Response<String>, Infallible>;

/// Runs each test with sessions in cookies, and with sessions in a backend.
macro_rules! with_each_store {
    ($($sentence:ident)*) => {
        mod in_cookies {
            $(#[test]
            fn $sentence() {
                super::$sentence(crate::Browser::new(crate::cookies()));
            })*
        }
        mod in_memory {
            $(#[test]
            fn $sentence() {
                super::$sentence(crate::Browser::new(crate::memory()));
            })*
        }
    };
}
pub(crate) use with_each_store;

fn key() -> AppKey {
    AppKey::generate().unwrap()
}

fn cookies() -> CookieStore {
    CookieStore::new(key())
}

fn memory() -> MemoryStore {
    MemoryStore::new(key(), Memory::new())
}

/// A browser with the cookie of one store.
struct Browser<S> {
    store: S,
    cookie: String,
}

impl<S: Sessions> Browser<S> {
    fn new(store: S) -> Self {
        let cookie = String::new();
        Self { store, cookie }
    }

    /// Sends a request with the cookie to a service of this handler, and keeps the new cookie.
    fn visit(&mut self, handler: impl AsyncFnOnce(Request<()>) -> Reply) -> Response<String> {
        let layer = TowerSessionsLayer::new(self.store.clone());
        let response = layer.answer(&self.cookie, handler);
        for header in response.headers().get_all(SET_COOKIE) {
            let set_cookie = header.to_str().unwrap();
            self.cookie = if set_cookie.contains("Max-Age=0") {
                String::new()
            } else {
                set_cookie.split(';').next().unwrap().to_owned()
            };
        }
        response
    }

    /// What a later request finds: the entries, as our session has them.
    fn entries(&mut self) -> BTreeMap<String, u64> {
        let found: Mutex<BTreeMap<String, u64>> = Mutex::default();
        self.visit(async |request: Request<()>| {
            let session = ours(&request).await;
            for key in session.keys() {
                let value = session.get(key.as_str()).unwrap().unwrap();
                found.lock().unwrap().insert(key, value);
            }
            ok()
        });
        found.into_inner().unwrap()
    }
}

trait Answers {
    /// Answers one request with this handler.
    fn answer(
        &self,
        cookie: &str,
        handler: impl AsyncFnOnce(Request<()>) -> Reply,
    ) -> Response<String>;
}

impl<S, N, H, L> Answers for TowerSessionsLayer<S, N, H, L>
where
    S: Sessions,
    N: 'static,
    H: Answer<Failure, Response<String>>,
    L: Leaves<request::Parts>,
{
    fn answer(
        &self,
        cookie: &str,
        handler: impl AsyncFnOnce(Request<()>) -> Reply,
    ) -> Response<String> {
        let request = Request::builder().header(COOKIE, cookie).body(()).unwrap();
        let handler = Cell::new(Some(handler));
        let once = service(|request| {
            let handler = handler.take().unwrap();
            async move { handler(request).await }
        });
        let Ok(response) = block_on(self.layer(once).call(request));
        response
    }
}

fn theirs(request: &Request<()>) -> Theirs {
    request.extensions().get::<Theirs>().unwrap().clone()
}

async fn ours(request: &Request<()>) -> Session {
    let pending = request.extensions().get::<PendingSession>().unwrap();
    pending.session().await.unwrap()
}

fn ok() -> Reply {
    Ok(Response::new("ok".to_owned()))
}

fn status(status: StatusCode) -> Reply {
    let mut response = Response::new("of the handler".to_owned());
    *response.status_mut() = status;
    Ok(response)
}

fn entries<const N: usize>(entries: [(&str, u64); N]) -> BTreeMap<String, u64> {
    let entries = entries.into_iter();
    entries.map(|(key, n)| (key.to_owned(), n)).collect()
}

with_each_store! {
    a_handler_reads_what_an_earlier_request_wrote
    a_handler_removes_what_an_earlier_request_wrote
    clear_removes_all_entries_even_if_nothing_was_read
    an_answer_with_an_error_is_saved_too
    clones_in_many_threads_lose_nothing
    what_is_only_read_sets_no_cookie
}

fn a_handler_reads_what_an_earlier_request_wrote<S: Sessions>(mut browser: Browser<S>) {
    let cart = vec![("pear".to_owned(), 1.5), ("fig".to_owned(), -2.0)];
    let written = cart.clone();
    browser.visit(async move |request: Request<()>| {
        let session = theirs(&request);
        session.insert("cart", &written).await.unwrap();
        session.insert("n", u64::MAX).await.unwrap();
        assert_eq!(session.get("n").await.unwrap(), Some(u64::MAX));
        ok()
    });
    browser.visit(async move |request: Request<()>| {
        let session = theirs(&request);
        assert_eq!(session.get("cart").await.unwrap(), Some(cart.clone()));
        assert_eq!(session.get("n").await.unwrap(), Some(u64::MAX));
        assert_eq!(session.get::<u64>("m").await.unwrap(), None);
        assert!(session.get::<String>("n").await.is_err());
        assert!(!session.is_modified());
        ok()
    });
}

fn a_handler_removes_what_an_earlier_request_wrote<S: Sessions>(mut browser: Browser<S>) {
    browser.visit(async |request: Request<()>| {
        let session = theirs(&request);
        session.insert("a", 1).await.unwrap();
        session.insert("b", 2).await.unwrap();
        ok()
    });
    browser.visit(async |request: Request<()>| {
        let session = theirs(&request);
        assert_eq!(session.remove("a").await.unwrap(), Some(1));
        // Null is what tower-sessions makes of `None`. Here an entry has a value, or is none.
        session.insert("b", None::<u64>).await.unwrap();
        session.insert("c", 3).await.unwrap();
        ok()
    });
    assert_eq!(browser.entries(), entries([("c", 3)]));
}

fn clear_removes_all_entries_even_if_nothing_was_read<S: Sessions>(mut browser: Browser<S>) {
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ok()
    });
    browser.visit(async |request: Request<()>| {
        let session = theirs(&request);
        session.clear().await;
        session.insert("b", 2).await.unwrap();
        assert_eq!(session.get::<u64>("a").await.unwrap(), None);
        ok()
    });
    assert_eq!(browser.entries(), entries([("b", 2)]));
}

fn an_answer_with_an_error_is_saved_too<S: Sessions>(mut browser: Browser<S>) {
    let response = browser.visit(async |request: Request<()>| {
        theirs(&request).insert("failures", 1).await.unwrap();
        status(StatusCode::BAD_GATEWAY)
    });
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.body(), "of the handler");
    assert_eq!(browser.entries(), entries([("failures", 1)]));
}

fn clones_in_many_threads_lose_nothing<S: Sessions>(mut browser: Browser<S>) {
    browser.visit(async |request: Request<()>| {
        let (session, ours) = (theirs(&request), ours(&request).await);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (session, ours) = (session.clone(), ours.clone());
                scope.spawn(move || {
                    for n in 0..10_u64 {
                        let key = format!("{thread}{n}");
                        block_on(session.insert(&key, n)).unwrap();
                        ours.insert(format!("ours-{key}").as_str(), n).unwrap();
                        assert_eq!(block_on(session.get(&key)).unwrap(), Some(n));
                    }
                });
            }
        });
        ok()
    });
    let found = browser.entries();
    for thread in 0..4 {
        for n in 0..10_u64 {
            assert_eq!(found.get(&format!("{thread}{n}")), Some(&n));
            assert_eq!(found.get(&format!("ours-{thread}{n}")), Some(&n));
        }
    }
    assert_eq!(found.len(), 80);
}

fn what_is_only_read_sets_no_cookie<S: Sessions>(mut browser: Browser<S>) {
    browser.visit(async |request: Request<()>| {
        theirs(&request).insert("a", 1).await.unwrap();
        ok()
    });
    let response = browser.visit(async |request: Request<()>| {
        assert_eq!(theirs(&request).get("a").await.unwrap(), Some(1));
        ok()
    });
    assert!(!response.headers().contains_key(SET_COOKIE));
    assert_eq!(response.headers()[VARY], "Cookie");
}
