//! Sessions in axum: extractors, rejections, errors of handlers, guards, streamed bodies.

#[path = "../../support/explained.rs"]
mod explained;
#[path = "../../support/now.rs"]
mod now;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{FromRequestParts, OptionalFromRequestParts, OriginalUri};
use axum::http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY};
use axum::http::request::{self, Parts};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, middleware};
use explained::assert_explained;
use now::now;
use sealed_session::frameworks::axum::{
    Failure, RequireField, RequireSession, SessionLayer, SessionOf,
};
use sealed_session::{
    AppKey, CookieConfig, CookieStore, ErrorKind, Event, LoadError, Session, SessionError,
    TypedSession,
};
use serde::{Deserialize, Serialize};
use tower_service::Service;

struct Admin;

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Visit {
    pages: u32,
}

fn store() -> CookieStore {
    CookieStore::new(AppKey::generate().unwrap())
}

/// Sends a request with this cookie.
fn send(app: &mut Router, path: &str, cookie: &str) -> Response<Body> {
    let request = Request::builder().uri(path).header(COOKIE, cookie);
    let Ok(response) = now(app.call(request.body(Body::empty()).unwrap()));
    response
}

fn text(response: Response<Body>) -> String {
    let bytes = now(to_bytes(response.into_body(), 10_000)).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn cookie(response: &Response<Body>) -> String {
    let set_cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    set_cookie.split(';').next().unwrap().to_owned()
}

async fn count(session: Session) -> Result<String, SessionError> {
    session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    Ok(format!("visits: {:?}", session.get::<u32>("visits")?))
}

#[test]
fn a_handler_counts_the_visits_of_a_browser() {
    let app = Router::new().route("/", get(count));
    let mut app = app.layer(SessionLayer::new(store()));
    let first = send(&mut app, "/", "");
    let second = send(&mut app, "/", &cookie(&first));
    assert_eq!(text(first), "visits: Some(1)");
    assert_eq!(second.headers()[VARY], "Cookie");
    assert_eq!(text(second), "visits: Some(2)");
}

#[test]
fn an_extractor_that_runs_when_the_answer_has_left_gets_no_session_that_nobody_had() {
    let held: Arc<Mutex<Option<Parts>>> = Arc::default();
    let hold = |with: Arc<Mutex<Option<Parts>>>| {
        move |request: Request<Body>| {
            let with = Arc::clone(&with);
            async move {
                *with.lock().unwrap() = Some(request.into_parts().0);
                "streamed"
            }
        }
    };
    let guarded = Router::new()
        .route("/guarded", get(hold(Arc::clone(&held))))
        .route_layer(RequireSession::new());
    let mut app = Router::new()
        .route("/", get(count))
        .route("/ignores", get(hold(Arc::clone(&held))))
        .merge(guarded)
        .layer(SessionLayer::new(store()));
    let cookie = cookie(&send(&mut app, "/", ""));
    let taken = || held.lock().unwrap().take().unwrap();
    async fn named(parts: &mut Parts) -> Result<SessionOf<()>, LoadError> {
        <SessionOf<()> as FromRequestParts<()>>::from_request_parts(parts, &()).await
    }

    let response = send(&mut app, "/ignores", &cookie);
    assert!(!response.headers().contains_key(VARY));
    let mut parts = taken();
    let session = now(named(&mut parts));
    assert!(session.unwrap_err().is_too_late());
    let optional = <Session as OptionalFromRequestParts<()>>::from_request_parts(&mut parts, &());
    assert!(now(optional).unwrap_err().is_too_late(), "and not `None`");
    let typed = <TypedSession<Visit> as FromRequestParts<()>>::from_request_parts(&mut parts, &());
    assert!(now(typed).err().unwrap().is_too_late());

    let response = send(&mut app, "/guarded", &cookie);
    assert_eq!(response.headers()[VARY], "Cookie");
    assert_eq!(response.headers()[CACHE_CONTROL], "private");
    let session = now(named(&mut taken())).unwrap();
    assert_eq!(session.get("visits"), Ok(Some(1)));
}

#[test]
fn without_the_layer_a_session_is_a_500_and_an_optional_one_none() {
    async fn optional(session: Option<Session>) -> String {
        format!("{}", session.is_none())
    }
    async fn options(
        named: Option<SessionOf<Admin>>,
        typed: Option<TypedSession<Visit>>,
    ) -> String {
        format!("{} {}", named.is_none(), typed.is_none())
    }
    async fn told(session: Result<Session, LoadError>) -> String {
        session.unwrap_err().to_string()
    }
    let mut app = Router::new()
        .route("/", get(count))
        .route("/named", get(async |_: SessionOf<Admin>| "never"))
        .route("/typed", get(async |_: TypedSession<Visit>| "never"))
        .route("/optional", get(optional))
        .route("/options", get(options))
        .route("/told", get(told));
    for path in ["/", "/named", "/typed"] {
        let response = send(&mut app, path, "");
        assert_eq!(
            response.status(),
            StatusCode::INTERNAL_SERVER_ERROR,
            "{path}"
        );
        assert_explained(&text(response), "no session layer has seen the request");
    }
    assert_eq!(text(send(&mut app, "/optional", "")), "true");
    assert_eq!(text(send(&mut app, "/options", "")), "true true");
    let developer = text(send(&mut app, "/told", ""));
    assert!(developer.starts_with("no session layer"), "{developer}");

    let layer = SessionLayer::new(store());
    let mut once = app.clone().layer(layer.clone());
    assert_eq!(text(send(&mut once, "/optional", "")), "false");
    assert_eq!(text(send(&mut once, "/options", "")), "true false");
    let named = layer.clone().named::<Admin>();
    let mut both = once.layer(named.clone());
    assert_eq!(text(send(&mut both, "/options", "")), "false false");
    let mut twice = app
        .layer(layer.clone())
        .layer(layer)
        .layer(named.clone())
        .layer(named);
    for path in ["/optional", "/options"] {
        let response = send(&mut twice, path, "");
        assert_eq!(
            response.status(),
            500,
            "two layers are an error, not `None`"
        );
    }
}

#[test]
fn an_error_of_the_session_is_a_500_and_what_was_changed_is_saved() {
    async fn too_much(session: Session) -> Result<String, SessionError> {
        session.insert("n", 1)?;
        session.insert("large", "hunter2".repeat(1000))?;
        Ok("never".to_owned())
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&seen);
    let store = CookieStore::builder(AppKey::generate().unwrap())
        .on_event(move |event| events.lock().unwrap().push(event))
        .build()
        .unwrap();
    let mut app = Router::new()
        .route("/", get(too_much))
        .layer(middleware::map_response(
            async |response: Response<Body>| ([("x-inside", "kept")], response),
        ))
        .layer(SessionLayer::new(store.clone()));
    let response = send(&mut app, "/", "");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["x-inside"], "kept");
    let session = store.load_from([cookie(&response).as_str()]);
    assert_eq!(session.get("n").unwrap(), Some(1));
    let text = text(response);
    assert_explained(&text, "\"large\": ");
    assert!(!text.contains("hunter2"), "{text}");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen, [Event::TooLarge, Event::CallFailed]);
}

#[test]
fn the_error_handler_answers_for_handlers_and_extractors_but_not_for_an_answer_of_ones_own() {
    async fn fails(session: Session) -> Result<String, SessionError> {
        session.insert("n", "text")?;
        session.get::<u32>("n").map(|_| "never".to_owned())
    }
    async fn answers(session: Session) -> Response<Body> {
        let error = fails(session).await.unwrap_err();
        (StatusCode::BAD_REQUEST, error).into_response()
    }
    let layer = SessionLayer::new(store()).on_error(|failure: &Failure| {
        let about = match failure {
            Failure::Call(error) => format!("{:?}", error.kind()),
            other => format!("{other:?}"),
        };
        (StatusCode::SERVICE_UNAVAILABLE, about).into_response()
    });
    let app = Router::new()
        .route("/fails", get(fails))
        .route("/answers", get(answers));
    let mut app = app.layer(layer);
    let response = send(&mut app, "/fails", "");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    cookie(&response);
    assert_eq!(text(response), "WrongType");
    let response = send(&mut app, "/answers", "");
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[test]
fn typed_and_named_sessions_are_extractors() {
    async fn visit(
        visit: TypedSession<Visit>,
        admin: SessionOf<Admin>,
    ) -> Result<String, SessionError> {
        visit.update(|visit| visit.pages += 1)?;
        admin.insert("admin", true)?;
        Ok(format!(
            "{} {:?}",
            visit.get()?.pages,
            visit.session().keys()
        ))
    }
    let admins = CookieConfig::builder()
        .name("__Host-admin")
        .build()
        .unwrap();
    let admins = CookieStore::builder(AppKey::generate().unwrap()).cookie(admins);
    let admins = SessionLayer::new(admins.build().unwrap()).named::<Admin>();
    let app = Router::new().route("/", get(visit));
    let mut app = app.layer(admins).layer(SessionLayer::new(store()));
    let response = send(&mut app, "/", "");
    assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 2);
    assert_eq!(text(response), "1 [\"pages\"]");
}

#[test]
fn a_guard_as_a_route_layer_keeps_out_who_is_not_logged_in() {
    async fn log_in(session: Session) -> Result<(), SessionError> {
        session.log_in()?;
        session.insert("user_id", 42)
    }
    let to_login = |request: &request::Parts| {
        let to = format!("/login?next={}", request.uri.path());
        (StatusCode::SEE_OTHER, [("location", to)]).into_response()
    };
    let api = Router::new()
        .route("/api", get(async || "yours"))
        .route_layer(RequireField::new("user_id"));
    let pages = Router::new()
        .route("/profile", get(async || "yours"))
        .route_layer(RequireField::new("user_id").or_answer(to_login));
    let app = Router::new().route("/login", get(log_in));
    let app = app.merge(api).merge(pages);
    let mut app = app.layer(SessionLayer::new(store()));
    assert_eq!(
        send(&mut app, "/api", "").status(),
        StatusCode::UNAUTHORIZED
    );
    let response = send(&mut app, "/profile", "");
    assert_eq!(response.headers()["location"], "/login?next=/profile");
    let logged_in = cookie(&send(&mut app, "/login", ""));
    for path in ["/api", "/profile"] {
        assert_eq!(text(send(&mut app, path, &logged_in)), "yours");
    }
}

#[test]
fn a_guard_in_a_nested_router_finds_the_whole_path() {
    let to_login = |request: &request::Parts| {
        let OriginalUri(uri) = request.extensions.get().unwrap();
        let seen = request.uri.path();
        (StatusCode::SEE_OTHER, format!("{seen} {}", uri.path())).into_response()
    };
    let members = Router::new()
        .route("/profile", get(async || "never"))
        .route_layer(RequireField::new("user_id").or_answer(to_login));
    let mut app = Router::new()
        .nest("/members", members)
        .layer(SessionLayer::new(store()));
    let refused = send(&mut app, "/members/profile", "");
    assert_eq!(text(refused), "/profile /members/profile");
}

/// A body that uses the session when it is streamed.
struct Late(Option<Session>);

impl HttpBody for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let frame = self.0.take().map(|session| {
            let changed = session.insert("n", 2).map_err(|error| error.kind());
            assert_eq!(changed, Err(ErrorKind::Closed));
            let text = format!("{:?}", session.get::<u32>("n").unwrap());
            Ok(http_body::Frame::data(text.into()))
        });
        Poll::Ready(frame)
    }
}

#[test]
fn a_streamed_body_reads_the_session_that_its_headers_carry() {
    async fn stream(session: Session) -> Result<Body, SessionError> {
        session.insert("n", 1)?;
        Ok(Body::new(Late(Some(session))))
    }
    let store = store();
    let app = Router::new().route("/", get(stream));
    let mut app = app.layer(SessionLayer::new(store.clone()));
    let response = send(&mut app, "/", "");
    let sent = cookie(&response);
    assert_eq!(text(response), "Some(1)");
    assert_eq!(store.load_from([sent.as_str()]).get("n").unwrap(), Some(1));
}

#[test]
fn a_route_that_a_page_polls_does_not_keep_a_session_alive() {
    let minutes = Arc::new(AtomicU64::new(0));
    let asked = Arc::clone(&minutes);
    let store = CookieStore::builder(AppKey::generate().unwrap())
        .idle_timeout(Duration::from_secs(3600))
        .clock(move || {
            let minutes = asked.load(Ordering::Relaxed);
            SystemTime::UNIX_EPOCH + Duration::from_secs(60 * minutes)
        })
        .build()
        .unwrap();
    let guarded = Router::new()
        .route("/guarded", get(async || "polled"))
        .route_layer(RequireField::new("visits").leave_idle());
    let layer = SessionLayer::new(store)
        .leave_idle_if(|request: &request::Parts| request.uri.path() == "/by-path");
    let mut app = Router::new()
        .route("/", get(count))
        .route("/by-path", get(async |_: Session| "polled"))
        .route("/read", get(async |_: Session| "read"))
        .merge(guarded)
        .layer(layer);
    let cookie = cookie(&send(&mut app, "/", ""));
    minutes.store(50, Ordering::Relaxed);
    for path in ["/guarded", "/by-path"] {
        let polled = send(&mut app, path, &cookie);
        assert!(!polled.headers().contains_key(SET_COOKIE), "{path}");
        assert_eq!(text(polled), "polled", "{path}");
    }
    let read = send(&mut app, "/read", &cookie);
    assert!(read.headers().contains_key(SET_COOKIE));
    minutes.store(60, Ordering::Relaxed);
    assert_eq!(send(&mut app, "/guarded", &cookie).status(), 401);
}
