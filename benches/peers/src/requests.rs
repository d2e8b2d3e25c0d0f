//! A whole request through a framework: one that reads a value, one that writes one.

use std::rc::Rc;
use std::time::Instant;

use actix_session::SessionMiddleware;
use actix_session::storage::CookieSessionStore;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderValue as ActixValue};
use actix_web::{App, HttpResponse, test, web};
use axum::body::Body;
use axum::extract::FromRef;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderValue, Request, StatusCode, Uri};
use axum::routing::{RouterIntoService, get};
use axum::{Extension, Router};
use axum_extra::extract::PrivateCookieJar;
use axum_extra::extract::cookie::{Cookie, Key};
use sealed_session::frameworks::axum::SessionLayer;
#[cfg(feature = "tower-sessions")]
use sealed_session::frameworks::tower_sessions::TowerSessionsLayer;
use sealed_session::{AppKey, CookieStore};
use tokio::runtime::Runtime;
use tower_service::Service;
use tower_sessions::{MemoryStore, SessionManagerLayer};
use tower_sessions_cookie_store::CookieSessionManagerLayer;

use crate::data::Data;
use crate::round::{Contestant, Work};

/// What the contestants do.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Job {
    /// A request that asks for no session.
    #[cfg(feature = "tower-sessions")]
    Nothing,
    Read,
    Write,
}

impl Job {
    fn path(self) -> &'static str {
        match self {
            #[cfg(feature = "tower-sessions")]
            Self::Nothing => "/nothing",
            Self::Read => "/read",
            Self::Write => "/write",
        }
    }
}

/// The handlers of both kinds of tower-sessions.
macro_rules! tower_sessions_routes {
    ($session:ty, $data:expr) => {{
        let data = $data.clone();
        let start = async move |session: $session| {
            session.insert("user_id", data.user_id).await.unwrap();
            session.insert("name", &data.name).await.unwrap();
            session.insert("email", &data.email).await.unwrap();
            session.insert("role", &data.role).await.unwrap();
            session.insert("csrf", &data.csrf).await.unwrap();
            session.insert("cart", data.cart).await.unwrap();
            if let Some(text) = &data.text {
                session.insert("text", text).await.unwrap();
            }
        };
        let read = async |session: $session| {
            assert_eq!(session.get::<u64>("user_id").await.unwrap(), Some(48_213));
            StatusCode::OK
        };
        let write = async |session: $session| {
            let cart: u32 = session.get("cart").await.unwrap().unwrap();
            session.insert("cart", cart ^ 1).await.unwrap();
            StatusCode::OK
        };
        Router::new()
            .route("/start", get(start))
            .route("/nothing", get(async || StatusCode::OK))
            .route("/read", get(read))
            .route("/write", get(write))
    }};
}

/// Everybody who takes part, each with a session of `data` in its cookie.
pub(crate) fn contestants(data: &Data, job: Job, runtime: &Rc<Runtime>) -> Vec<Contestant> {
    let cookie = our_cookie(data, runtime);
    let on_axum = |name, router| on_axum(name, router, job, &cookie, runtime);
    vec![
        on_axum("bare axum", bare()),
        on_axum(
            "axum, a layer that does nothing",
            bare().layer(Extension(())),
        ),
        on_axum("sealed-session", ours(data)),
        on_axum("axum-extra PrivateCookieJar", private_jar(data)),
        on_axum("seshcookie", seshcookie(data)),
        on_axum("tower-sessions-cookie-store", cookie_store(data)),
        on_axum("tower-sessions, in memory", in_memory(data)),
        on_actix("bare actix-web", None, job, &cookie, runtime),
        on_actix("actix-session cookies", Some(data), job, &cookie, runtime),
    ]
}

/// Our session, and the same one taken as a session of tower-sessions.
#[cfg(feature = "tower-sessions")]
pub(crate) fn as_tower_sessions(data: &Data, job: Job, runtime: &Rc<Runtime>) -> Vec<Contestant> {
    let cookie = our_cookie(data, runtime);
    let on_axum = |name, router| on_axum(name, router, job, &cookie, runtime);
    let routes = || tower_sessions_routes!(tower_sessions_core::Session, data);
    let layer = || TowerSessionsLayer::new(CookieStore::new(AppKey::generate().unwrap()));
    vec![
        on_axum("bare axum", bare()),
        on_axum(
            "axum, a layer that does nothing",
            bare().layer(Extension(())),
        ),
        on_axum("sealed-session", ours(data)),
        on_axum("TowerSessionsLayer", routes().layer(layer())),
        on_axum(
            "the same without_ids",
            routes().layer(layer().without_ids()),
        ),
        on_axum("tower-sessions-cookie-store", cookie_store(data)),
    ]
}

fn bare() -> Router {
    let ok = || async { StatusCode::OK };
    Router::new()
        .route("/nothing", get(ok))
        .route("/start", get(ok))
        .route("/read", get(ok))
        .route("/write", get(ok))
}

fn ours(data: &Data) -> Router {
    use sealed_session::Session;
    let store = CookieStore::new(AppKey::generate().unwrap());
    let data = data.clone();
    let start = async move |session: Session| {
        session.insert("user_id", data.user_id).unwrap();
        session.insert("name", &data.name).unwrap();
        session.insert("email", &data.email).unwrap();
        session.insert("role", &data.role).unwrap();
        session.insert("csrf", &data.csrf).unwrap();
        session.insert("cart", data.cart).unwrap();
        if let Some(text) = &data.text {
            session.insert("text", text).unwrap();
        }
    };
    let read = async |session: Session| {
        assert_eq!(session.get::<u64>("user_id").unwrap(), Some(48_213));
        StatusCode::OK
    };
    let write = async |session: Session| {
        session
            .update("cart", |cart: Option<u32>| cart.unwrap() ^ 1)
            .unwrap();
        StatusCode::OK
    };
    Router::new()
        .route("/start", get(start))
        .route("/nothing", get(async || StatusCode::OK))
        .route("/read", get(read))
        .route("/write", get(write))
        .layer(SessionLayer::new(store))
}

#[derive(Clone)]
struct JarKey(Key);

impl FromRef<JarKey> for Key {
    fn from_ref(key: &JarKey) -> Self {
        key.0.clone()
    }
}

fn private_jar(data: &Data) -> Router {
    fn set(jar: PrivateCookieJar, data: &Data) -> PrivateCookieJar {
        let mut cookie = Cookie::new("session", serde_json::to_string(data).unwrap());
        cookie.set_path("/");
        cookie.set_http_only(true);
        cookie.set_secure(true);
        jar.add(cookie)
    }
    fn stored(jar: &PrivateCookieJar) -> Data {
        serde_json::from_str(jar.get("session").unwrap().value()).unwrap()
    }
    let data = data.clone();
    let start = async move |jar: PrivateCookieJar| set(jar, &data);
    let read = async |jar: PrivateCookieJar| {
        assert_eq!(stored(&jar).user_id, 48_213);
        StatusCode::OK
    };
    let write = async |jar: PrivateCookieJar| {
        let mut data = stored(&jar);
        data.cart ^= 1;
        (set(jar, &data), StatusCode::OK)
    };
    Router::new()
        .route("/start", get(start))
        .route("/read", get(read))
        .route("/write", get(write))
        .with_state(JarKey(Key::generate()))
}

fn seshcookie(data: &Data) -> Router {
    use seshcookie::{Session, SessionConfig, SessionKeys, SessionLayer};
    let secret = Key::generate();
    let keys = SessionKeys::new(secret.master()).unwrap();
    let layer = SessionLayer::<Data>::new(keys, SessionConfig::default()).unwrap();
    let data = data.clone();
    let start = async move |session: Session<Data>| session.insert(data).await;
    let read = async |session: Session<Data>| {
        assert_eq!(session.get().await.unwrap().user_id, 48_213);
        StatusCode::OK
    };
    let write = async |session: Session<Data>| {
        session
            .modify(|data| data.as_mut().unwrap().cart ^= 1)
            .await;
        StatusCode::OK
    };
    Router::new()
        .route("/start", get(start))
        .route("/read", get(read))
        .route("/write", get(write))
        .layer(layer)
}

fn in_memory(data: &Data) -> Router {
    tower_sessions_routes!(tower_sessions::Session, data)
        .layer(SessionManagerLayer::new(MemoryStore::default()))
}

fn cookie_store(data: &Data) -> Router {
    let key = tower_sessions_cookie_store::Key::generate();
    tower_sessions_routes!(tower_sessions_cookie_store::Session, data)
        .layer(CookieSessionManagerLayer::private(key))
}

/// `spare` is the Cookie header of whoever sets none, so that all get a request of the same parts.
fn on_axum(
    name: &'static str,
    router: Router,
    job: Job,
    spare: &HeaderValue,
    runtime: &Rc<Runtime>,
) -> Contestant {
    let runtime = Rc::clone(runtime);
    let mut service = served(router);
    let own = started(&mut service, &runtime);
    let cookie = own.as_ref().unwrap_or(spare).clone();
    let request = move || {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static(job.path());
        request.headers_mut().insert(COOKIE, cookie.clone());
        request
    };
    let probe = runtime.block_on(service.call(request())).unwrap();
    assert_eq!(probe.status(), StatusCode::OK, "{name}");
    let own = own.filter(|_| !name.ends_with("in memory"));
    if own.is_some() {
        let sets = probe.headers().contains_key(SET_COOKIE);
        assert_eq!(
            sets,
            job == Job::Write,
            "{name}: a cookie when it writes, and only then"
        );
    }
    let work: Work = Box::new(move |times| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..times {
                let response = service.call(request()).await.unwrap();
                assert_eq!(std::hint::black_box(response).status(), StatusCode::OK);
            }
            start.elapsed()
        })
    });
    Contestant {
        name,
        work,
        cookie: own.map(|cookie| value_size(&cookie)),
    }
}

/// The router as `axum::serve` has it: with its state, and so with its routes layered once.
fn served(router: Router) -> RouterIntoService<Body> {
    router.with_state::<()>(()).into_service()
}

/// The Cookie header of a browser that has asked for a session.
fn started(service: &mut RouterIntoService<Body>, runtime: &Runtime) -> Option<HeaderValue> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static("/start");
    let start = runtime.block_on(service.call(request)).unwrap();
    assert_eq!(start.status(), StatusCode::OK);
    let set_cookie = start.headers().get(SET_COOKIE)?.to_str().unwrap();
    Some(HeaderValue::from_str(set_cookie.split(';').next().unwrap()).unwrap())
}

fn our_cookie(data: &Data, runtime: &Runtime) -> HeaderValue {
    started(&mut served(ours(data)), runtime).unwrap()
}

fn value_size(cookie: &HeaderValue) -> usize {
    let (_, value) = cookie.to_str().unwrap().split_once('=').unwrap();
    value.len()
}

fn on_actix(
    name: &'static str,
    data: Option<&Data>,
    job: Job,
    spare: &HeaderValue,
    runtime: &Rc<Runtime>,
) -> Contestant {
    use actix_session::Session;
    let runtime = Rc::clone(runtime);
    let ok = || async { HttpResponse::Ok().finish() };
    let (service, own) = runtime.block_on(async {
        let Some(data) = data.cloned() else {
            let app = App::new()
                .route("/read", web::get().to(ok))
                .route("/write", web::get().to(ok));
            return (boxed(test::init_service(app).await), None);
        };
        let start = move |session: Session| {
            let data = data.clone();
            async move {
                session.insert("user_id", data.user_id).unwrap();
                session.insert("name", &data.name).unwrap();
                session.insert("email", &data.email).unwrap();
                session.insert("role", &data.role).unwrap();
                session.insert("csrf", &data.csrf).unwrap();
                session.insert("cart", data.cart).unwrap();
                if let Some(text) = &data.text {
                    session.insert("text", text).unwrap();
                }
                HttpResponse::Ok().finish()
            }
        };
        let read = |session: Session| async move {
            assert_eq!(session.get::<u64>("user_id").unwrap(), Some(48_213));
            HttpResponse::Ok().finish()
        };
        let write = |session: Session| async move {
            let cart: u32 = session.get("cart").unwrap().unwrap();
            session.insert("cart", cart ^ 1).unwrap();
            HttpResponse::Ok().finish()
        };
        let key = actix_web::cookie::Key::generate();
        let app = App::new()
            .wrap(SessionMiddleware::new(CookieSessionStore::default(), key))
            .route("/start", web::get().to(start))
            .route("/read", web::get().to(read))
            .route("/write", web::get().to(write));
        let service = test::init_service(app).await;
        let response =
            test::call_service(&service, test::TestRequest::with_uri("/start").to_request()).await;
        let cookie = response
            .headers()
            .get("set-cookie")
            .unwrap()
            .to_str()
            .unwrap();
        let cookie = HeaderValue::from_str(cookie.split(';').next().unwrap()).unwrap();
        (boxed(service), Some(cookie))
    });
    let size = own.as_ref().map(value_size);
    let cookie = own.as_ref().unwrap_or(spare);
    let cookie = ActixValue::from_bytes(cookie.as_bytes()).unwrap();
    let work: Work = Box::new(move |times| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..times {
                let cookie = (header::COOKIE, cookie.clone());
                let request = test::TestRequest::with_uri(job.path()).insert_header(cookie);
                assert!(service(request.to_request()).await, "{name}");
            }
            start.elapsed()
        })
    });
    Contestant {
        name,
        work,
        cookie: size,
    }
}

type Local<T> = std::pin::Pin<Box<dyn Future<Output = T>>>;

/// An actix service whose body type nobody needs to name: true if it answers 200.
fn boxed<S, B>(service: S) -> Box<dyn Fn(actix_http::Request) -> Local<bool>>
where
    S: actix_web::dev::Service<
            actix_http::Request,
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
        > + 'static,
    S::Future: 'static,
{
    Box::new(move |request| {
        let response = service.call(request);
        Box::pin(async move {
            std::hint::black_box(response.await.unwrap())
                .status()
                .as_u16()
                == 200
        })
    })
}
