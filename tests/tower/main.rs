//! Feature `tower`: the layer and the guards, with a cookie store that never waits.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod explained;
#[path = "../support/explained.rs"]
mod explains;
mod guards;
mod hosts;
mod late;
#[path = "../support/now.rs"]
mod now;
mod saving;
#[path = "../support/service.rs"]
mod service;
mod several;

use std::cell::Cell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use explains::assert_explained;
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request};
use now::now;
use sealed_session::frameworks::tower::{
    Failure, PendingSession, RequireField, RequireLogin, RequireSession, SessionLayer, SessionOf,
};
use sealed_session::{
    AppKey, CookieConfig, CookieStore, CookieStoreBuilder, ErrorKind, Event, Field, KeyRing,
    LoadError, Origin, Refusal, Session, SessionError, Transport, TypedSession,
};
use service::service;
use tower_layer::Layer;
use tower_service::Service;

type Reply = Result<Response<String>, &'static str>;
type Seen = Arc<Mutex<Vec<Event>>>;

struct Admin;

/// The session that the layer named `N` has put into the request.
async fn session_of<N: 'static>(request: &Request<()>) -> Result<Session, LoadError> {
    let pending = request.extensions().get::<PendingSession<N>>();
    pending.expect("the layer is there").session().await
}

async fn session(request: &Request<()>) -> Session {
    session_of::<()>(request).await.unwrap()
}

fn ok() -> Reply {
    Ok(Response::new("ok".to_owned()))
}

fn key() -> AppKey {
    AppKey::generate().unwrap()
}

/// A store that notes its events.
fn watched(with: impl FnOnce(CookieStoreBuilder) -> CookieStoreBuilder) -> (CookieStore, Seen) {
    let seen = Seen::default();
    let events = Arc::clone(&seen);
    let builder = with(CookieStore::builder(key()));
    let builder = builder.on_event(move |event| events.lock().unwrap().push(event));
    (builder.build().unwrap(), seen)
}

fn taken(seen: &Seen) -> Vec<Event> {
    std::mem::take(&mut seen.lock().unwrap())
}

fn request(name: HeaderName, value: &str) -> Request<()> {
    Request::builder().header(name, value).body(()).unwrap()
}

fn no_cookie() -> Request<()> {
    Request::new(())
}

/// `name=value` of the only Set-Cookie.
fn cookie(headers: &HeaderMap) -> &str {
    assert_eq!(headers.get_all(SET_COOKIE).iter().count(), 1);
    let set_cookie = headers[SET_COOKIE].to_str().unwrap();
    set_cookie.split(';').next().unwrap()
}

/// A cookie of `store` for a session with `n` = 1.
fn new_cookie(store: &CookieStore) -> String {
    let session = store.load_from([""]);
    session.insert("n", 1).unwrap();
    let mut headers = HeaderMap::new();
    store.save(&session, &mut headers).unwrap();
    cookie(&headers).to_owned()
}

fn admins(key: &AppKey) -> CookieStore {
    let cookie = CookieConfig::builder()
        .name("__Host-admin")
        .build()
        .unwrap();
    CookieStore::builder(key.clone())
        .cookie(cookie)
        .build()
        .unwrap()
}
