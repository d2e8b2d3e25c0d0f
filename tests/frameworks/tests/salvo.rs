//! Sessions in salvo: the layer as a hoop, extractors, errors of handlers, guards, catchers.

#[macro_use]
#[path = "support/behaviours.rs"]
mod behaviours;

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use behaviours::{Admin, Answer, CACHED, Layers, Send, USER, Visit, about, admins};
use salvo::http::ResBody;
use salvo::http::cookie::Cookie;
use salvo::prelude::*;
use salvo::test::{ResponseExt, TestClient};
use sealed_session::frameworks::salvo1::{
    Failure, RequireField, RequireSession, SessionLayer, SessionOf,
};
use sealed_session::frameworks::tower::Sessions;
use sealed_session::server::{
    Backend, BackendError, Entry, Outcome, Promise, ServerStore, StoreKey, Stored, Value,
};
use sealed_session::{AppKey, CookieStore, Event, Session, SessionError, TypedSession};

#[handler]
async fn count(session: Session) -> Result<String, SessionError> {
    behaviours::count(&session)
}

#[handler]
async fn cached(session: Session, response: &mut Response) -> Result<String, SessionError> {
    for (name, value) in CACHED {
        response.add_header(name, value, false).unwrap();
    }
    behaviours::count(&session)
}

#[handler]
async fn too_much(session: Session) -> Result<String, SessionError> {
    behaviours::too_much(&session)
}

#[handler]
async fn wrong_type(session: Session) -> Result<String, SessionError> {
    behaviours::wrong_type(&session)
}

#[handler]
async fn both(visit: TypedSession<Visit>, admin: SessionOf<Admin>) -> Result<String, SessionError> {
    behaviours::both(&visit, &admin)
}

#[handler]
async fn log_in(session: Session) -> Result<&'static str, SessionError> {
    behaviours::log_in(&session)
}

#[handler]
async fn hold(session: Session) -> Result<&'static str, SessionError> {
    behaviours::hold(&session)
}

#[handler]
async fn read(_session: Session) -> &'static str {
    "read"
}

#[handler]
async fn log_out(session: Session, response: &mut Response) {
    session.destroy();
    response.status_code(StatusCode::INTERNAL_SERVER_ERROR);
}

#[handler]
async fn untouched() -> &'static str {
    "untouched"
}

#[handler]
async fn yours() -> &'static str {
    "yours"
}

/// The routes below these hoops.
fn routes(hoops: impl FnOnce(Router) -> Router) -> Router {
    let pages = RequireField::new(USER).or_answer(|request: &http::request::Parts| {
        let to = format!("/login?next={}", request.uri.path());
        let answer = http::Response::builder().status(StatusCode::SEE_OTHER);
        answer.header("location", to).body(ResBody::None).unwrap()
    });
    let polled = RequireField::new(USER).leave_idle();
    hoops(Router::new().hoop(admins()))
        .push(Router::with_path("count").get(count))
        .push(Router::with_path("cached").get(cached))
        .push(Router::with_path("too-much").get(too_much))
        .push(Router::with_path("wrong-type").get(wrong_type))
        .push(Router::with_path("both").get(both))
        .push(Router::with_path("login").get(log_in))
        .push(Router::with_path("hold").get(hold))
        .push(Router::with_path("read").get(read))
        .push(Router::with_path("by-path").get(read))
        .push(Router::with_path("logout").get(log_out))
        .push(Router::with_path("untouched").get(untouched))
        .push(guarded("api", RequireField::new(USER)))
        .push(guarded("profile", pages))
        .push(guarded("polled", polled))
}

fn guarded(path: &str, guard: impl Handler) -> Router {
    Router::with_path(path).hoop(guard).get(yours)
}

fn plain<S: Sessions>(store: S) -> impl Handler {
    SessionLayer::new(store)
        .leave_idle_if(|request: &http::request::Parts| request.uri.path() == "/by-path")
}

fn hooked<S: Sessions>(store: S) -> impl Handler {
    SessionLayer::new(store).on_error(|failure: &Failure| {
        let answer = http::Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
        answer.body(ResBody::from(about(failure))).unwrap()
    })
}

async fn send(router: &Service, path: &str, headers: &[(&str, &str)]) -> Answer {
    let (hosts, headers): (Vec<_>, Vec<_>) = headers.iter().partition(|(name, _)| *name == "host");
    let host = hosts.first().map_or("localhost", |(_, host)| host);
    let mut request = TestClient::get(format!("http://{host}{path}"));
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request = request.add_header(name, value, false);
    }
    let mut response = request.send(router).await;
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
    Answer {
        status: response.status_code.unwrap().as_u16(),
        headers: headers.collect(),
        text: response.take_string().await.unwrap_or_default(),
    }
}

/// Without salvo's catchers, which would write a page into each empty error.
fn service(router: Router) -> Service {
    let quiet = salvo::catcher::Catcher::new(skip_all);
    Service::new(router).catcher(quiet)
}

#[handler]
async fn skip_all(flow: &mut FlowCtrl) {
    flow.skip_rest();
}

fn start(layers: Layers) -> Send {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let context = runtime.enter();
    let service = service(match layers {
        Layers::One(store) => routes(|router| router.hoop(plain(store))),
        Layers::WithOnError(store) => routes(|router| router.hoop(hooked(store))),
        Layers::OfBackend(store) => routes(|router| router.hoop(plain(store))),
        Layers::OfBackendWithOnError(store) => routes(|router| router.hoop(hooked(store))),
        Layers::OfHosts(stores) => routes(|router| router.hoop(hooked(stores))),
        Layers::Two(inner, outer) => routes(|router| router.hoop(plain(outer)).hoop(plain(inner))),
        Layers::None => routes(|router| router),
    });
    drop(context);
    Box::new(move |path, headers| runtime.block_on(send(&service, path, headers)))
}

const EXPLAINS_WITHOUT_LAYER: bool = true;

behaviours!(start);

#[tokio::test]
async fn the_error_handler_answers_for_a_layer_that_is_there_twice() {
    let store = || CookieStore::new(AppKey::generate().unwrap());
    let twice = |router: Router| router.hoop(plain(store())).hoop(hooked(store()));
    let twice = service(routes(twice));
    for path in ["/count", "/api"] {
        let answer = send(&twice, path, &[]).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (503, "load"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_guard_for_any_session_is_a_hoop_too() {
    let layer = SessionLayer::new(CookieStore::new(AppKey::generate().unwrap()));
    let router = Router::new()
        .hoop(layer)
        .push(Router::with_path("count").get(count))
        .push(guarded("guarded", RequireSession::new()));
    let router = service(router);
    assert_eq!(send(&router, "/guarded", &[]).await.status, 401);
    let visited = send(&router, "/count", &[]).await;
    let cookie = [("cookie", visited.cookie())];
    assert_eq!(send(&router, "/guarded", &cookie).await.text, "yours");
}

#[tokio::test]
async fn catchers_answer_for_errors_below_the_layer_as_without_it() {
    #[handler]
    async fn gone(session: Session) -> Result<(), StatusError> {
        session.insert("wanted", true).unwrap();
        Err(StatusError::gone().brief("it is gone"))
    }
    #[handler]
    async fn page(response: &mut Response, flow: &mut FlowCtrl) {
        let brief = match &response.body {
            ResBody::Error(error) => error.brief.clone(),
            _ => String::new(),
        };
        response.render(format!("a page of ours: {brief}"));
        flow.skip_rest();
    }
    let store = CookieStore::new(AppKey::generate().unwrap());
    let router = Router::new()
        .push(Router::with_path("gone").get(gone))
        .push(guarded("guarded", RequireSession::new()));
    let service = Service::new(router)
        .hoop(SessionLayer::new(store.clone()))
        .catcher(salvo::catcher::Catcher::default().hoop(page));
    for (path, status) in [("/nowhere", 404), ("/guarded", 401)] {
        let answer = send(&service, path, &[]).await;
        assert_eq!(answer.text, "a page of ours: ", "{path}");
        assert_eq!(answer.status, status, "{path}");
    }
    let caught = send(&service, "/gone", &[]).await;
    assert_eq!(
        (caught.status, caught.text.as_str()),
        (410, "a page of ours: it is gone")
    );
    let session = store.load_from([caught.cookie()]);
    assert_eq!(session.get("wanted"), Ok(Some(true)));
}

/// A hoop that sets a header before the others run.
#[handler]
async fn allow(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert("access-control-allow-origin", "*".parse().unwrap());
}

#[tokio::test]
async fn a_guard_that_refuses_keeps_the_headers_of_hoops_outside() {
    let layer = SessionLayer::new(CookieStore::new(AppKey::generate().unwrap()));
    let router = Router::new()
        .hoop(layer)
        .hoop(allow)
        .push(guarded("guarded", RequireSession::new()));
    let refused = send(&service(router), "/guarded", &[]).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.values("access-control-allow-origin"), ["*"]);
}

#[tokio::test]
async fn headers_and_cookies_of_hoops_stay_unless_on_error_replaces_the_answer_that_they_are_for() {
    #[handler]
    async fn tag(response: &mut Response) {
        response.add_header("etag", "\"1\"", true).unwrap();
        response.add_cookie(Cookie::new("theme", "dark"));
        response.add_cookie(Cookie::new("__Host-session", "not ours"));
    }
    let router = Router::new()
        .hoop(allow)
        .hoop(hooked(CookieStore::new(AppKey::generate().unwrap())))
        .hoop(tag)
        .push(Router::with_path("count").get(count))
        .push(Router::with_path("too-much").get(too_much));
    let router = service(router);
    let counted = send(&router, "/count", &[]).await;
    let set_cookies = counted.values("set-cookie");
    assert_eq!(set_cookies.len(), 2);
    assert_eq!(set_cookies[0], "theme=dark");
    assert!(set_cookies[1].contains("; HttpOnly; SameSite=Lax; Secure; Path=/"));
    let failed = send(&router, "/too-much", &[]).await;
    assert_eq!(failed.status, 503);
    assert_eq!(failed.values("access-control-allow-origin"), ["*"]);
    assert_eq!(failed.values("etag"), [""; 0]);
    assert!(failed.cookie().starts_with("__Host-session="));
}

#[tokio::test]
async fn a_hoop_that_gives_up_on_a_save_still_has_the_response() {
    struct Hanging;
    impl Backend for Hanging {
        const PROMISE: Promise = Promise::Full;

        async fn load(&self, _: &StoreKey) -> Result<Option<Stored>, BackendError> {
            pending().await
        }

        async fn put(&self, _: &StoreKey, _: &Entry) -> Result<Outcome, BackendError> {
            pending().await
        }

        async fn touch(&self, _: &StoreKey, _: Duration) -> Result<(), BackendError> {
            pending().await
        }

        async fn remove(&self, _: &StoreKey) -> Result<Option<Value>, BackendError> {
            pending().await
        }
    }

    /// As salvo's `Timeout` does.
    #[handler]
    async fn give_up(
        request: &mut Request,
        depot: &mut Depot,
        response: &mut Response,
        flow: &mut FlowCtrl,
    ) {
        let mut rest = Box::pin(flow.call_next(request, depot, response));
        let is_waiting = poll_fn(|context| Poll::Ready(rest.as_mut().poll(context).is_pending()));
        assert!(is_waiting.await);
        drop(rest);
        response.status_code(StatusCode::GATEWAY_TIMEOUT);
        flow.skip_rest();
    }

    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&seen);
    let store = ServerStore::builder(AppKey::generate().unwrap(), Hanging)
        .on_event(move |event| events.lock().unwrap().push(event));
    let router = Router::new()
        .hoop(allow)
        .hoop(give_up)
        .hoop(SessionLayer::new(store.build().unwrap()))
        .push(Router::with_path("count").get(count));
    let answer = send(&service(router), "/count", &[]).await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.values("access-control-allow-origin"), ["*"]);
    assert_eq!(*seen.lock().unwrap(), [Event::Unsaved]);
}
