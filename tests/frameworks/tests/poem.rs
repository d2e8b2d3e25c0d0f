//! Sessions in poem: the layer as a middleware, extractors, errors of handlers, guards.

#[macro_use]
#[path = "support/behaviours.rs"]
mod behaviours;
#[path = "../../support/now.rs"]
mod now;

use std::fmt;

use behaviours::{Admin, Answer, CACHED, Layers, Send, USER, Visit, about, admins};
use now::now;
use poem::endpoint::BoxEndpoint;
use poem::error::{NotFoundError, ResponseError};
use poem::http::StatusCode;
use poem::{
    Endpoint, EndpointExt, Error, IntoResponse, Request, Response, Result, Route, get, handler,
};
use sealed_session::frameworks::poem3::{
    Failure, RequireField, RequireSession, SessionLayer, SessionOf,
};
use sealed_session::frameworks::tower::Sessions;
use sealed_session::{AppKey, CookieStore, LoadError, Session, SessionError, TypedSession};

#[handler]
fn count(session: Session) -> Result<String, SessionError> {
    behaviours::count(&session)
}

#[handler]
fn cached(session: Session) -> Result<Response, SessionError> {
    let mut response = Response::builder();
    for (name, value) in CACHED {
        response = response.header(name, value);
    }
    Ok(response.body(behaviours::count(&session)?))
}

#[handler]
fn too_much(session: Session) -> Result<String, SessionError> {
    behaviours::too_much(&session)
}

#[handler]
fn wrong_type(session: Session) -> Result<String, SessionError> {
    behaviours::wrong_type(&session)
}

#[handler]
fn both(visit: TypedSession<Visit>, admin: SessionOf<Admin>) -> Result<String, SessionError> {
    behaviours::both(&visit, &admin)
}

#[handler]
fn log_in(session: Session) -> Result<&'static str, SessionError> {
    behaviours::log_in(&session)
}

#[handler]
fn hold(session: Session) -> Result<&'static str, SessionError> {
    behaviours::hold(&session)
}

#[handler]
fn read(_session: Session) -> &'static str {
    "read"
}

#[handler]
fn log_out(session: Session) -> StatusCode {
    session.destroy();
    StatusCode::INTERNAL_SERVER_ERROR
}

#[handler]
fn untouched() -> &'static str {
    "untouched"
}

#[handler]
fn yours() -> &'static str {
    "yours"
}

fn routes() -> Route {
    let pages = RequireField::new(USER).or_answer(|request: &Request| {
        let to = format!("/login?next={}", request.uri().path());
        let answer = Response::builder().status(StatusCode::SEE_OTHER);
        answer.header("location", to).finish()
    });
    Route::new()
        .at("/count", get(count))
        .at("/cached", get(cached))
        .at("/too-much", get(too_much))
        .at("/wrong-type", get(wrong_type))
        .at("/both", get(both))
        .at("/login", get(log_in))
        .at("/hold", get(hold))
        .at("/read", get(read))
        .at("/by-path", get(read))
        .at("/logout", get(log_out))
        .at("/untouched", get(untouched))
        .at("/fails", get(fails))
        .at("/refuses", get(refuses))
        .at("/api", get(yours).with(RequireField::new(USER)))
        .at("/profile", get(yours).with(pages))
        .at(
            "/polled",
            get(yours).with(RequireField::new(USER).leave_idle()),
        )
}

fn plain<S: Sessions>(inner: impl Endpoint + 'static, store: S) -> BoxEndpoint<'static> {
    let layer = SessionLayer::new(store)
        .leave_idle_if(|request: &Request| request.uri().path() == "/by-path");
    inner.with(layer).boxed()
}

fn hooked<S: Sessions>(inner: impl Endpoint + 'static, store: S) -> BoxEndpoint<'static> {
    let layer = SessionLayer::new(store).on_error(|failure: &Failure| {
        let answer = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
        answer.body(about(failure))
    });
    inner.with(layer).boxed()
}

fn send(app: &impl Endpoint, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().uri_str(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    // As poem's server does it.
    let outcome = now(app.call(request.finish()));
    let response = outcome.map_or_else(Error::into_response, IntoResponse::into_response);
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
    Answer {
        status: response.status().as_u16(),
        headers: headers.collect(),
        text: now(response.into_body().into_string()).unwrap(),
    }
}

fn start(layers: Layers) -> Send {
    let routes = routes();
    let app = match layers {
        Layers::One(store) => plain(routes, store),
        Layers::WithOnError(store) => hooked(routes, store),
        Layers::OfBackend(store) => plain(routes, store),
        Layers::OfBackendWithOnError(store) => hooked(routes, store),
        Layers::OfHosts(stores) => hooked(routes, stores),
        Layers::Two(inner, outer) => plain(plain(routes, inner), outer),
        Layers::None => routes.boxed(),
    };
    let app = app.with(admins());
    Box::new(move |path, headers| send(&app, path, headers))
}

const EXPLAINS_WITHOUT_LAYER: bool = true;

behaviours!(start);

/// An error of the application's own.
#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

impl ResponseError for Refused {
    fn status(&self) -> StatusCode {
        StatusCode::FORBIDDEN
    }
}

#[handler]
fn refuses(_session: Session) -> Result<(), Refused> {
    Err(Refused)
}

#[handler]
fn fails(session: Session) -> Result<(), Refused> {
    session.insert("wanted", true).unwrap();
    Err(Refused)
}

fn store() -> CookieStore {
    CookieStore::new(AppKey::generate().unwrap())
}

#[test]
fn what_catches_an_error_by_its_type_works_outside_of_the_layer() {
    let layer = SessionLayer::new(store());
    let app = Route::new()
        .at("/refuses", get(refuses))
        .at("/count", get(count))
        .with(layer)
        .catch_error(async |_: NotFoundError| "no such page")
        .catch_error(async |_: Refused| "caught");
    assert_eq!(send(&app, "/nowhere", &[]).text, "no such page");
    assert_eq!(send(&app, "/refuses", &[]).text, "caught");
    let alone = Route::new().at("/count", get(count));
    let alone = alone.catch_error(async |error: LoadError| error.to_string());
    let missing = send(&alone, "/count", &[]).text;
    assert!(missing.starts_with("no session layer"), "{missing}");
}

#[test]
fn what_catches_an_error_inside_answers_with_the_session() {
    let inside = routes().catch_error(async |_: Refused| "caught");
    let store = store();
    let app = plain(inside, store.clone());
    let caught = send(&app, "/fails", &[]);
    assert_eq!(caught.text, "caught");
    let session = store.load_from([caught.cookie()]);
    assert_eq!(session.get("wanted"), Ok(Some(true)));
}

#[test]
fn an_error_with_which_the_session_is_saved_answers_as_it_would_and_is_still_an_error() {
    let app = plain(routes(), store());
    let answer = send(&app, "/fails", &[]);
    assert_eq!((answer.status, answer.text.as_str()), (403, "refused"));
    assert_eq!(answer.values("vary"), ["Cookie"]);
    answer.cookie();

    let seen = app.catch_all_error(async |error: Error| format!("{}", error.status()));
    let seen = send(&seen, "/fails", &[]);
    assert_eq!((seen.status, seen.text.as_str()), (200, "403 Forbidden"));
}

#[test]
fn an_error_that_has_a_response_gets_the_headers_of_a_session_that_was_read() {
    #[handler]
    fn answers(_session: Session) -> Result<()> {
        Err(Error::from_response(StatusCode::GONE.into()))
    }
    let app = Route::new().at("/", get(answers));
    let app = app.with(SessionLayer::new(store()));
    let answer = send(&app, "/", &[]);
    assert_eq!(
        (answer.status, answer.values("vary")),
        (410, vec!["Cookie"])
    );
}

#[test]
fn the_error_handler_answers_for_a_layer_that_is_there_twice() {
    let app = plain(hooked(routes(), store()), store());
    for path in ["/count", "/api"] {
        let twice = send(&app, path, &[]);
        assert_eq!((twice.status, twice.text.as_str()), (503, "load"), "{path}");
    }
}

#[test]
fn a_session_may_be_asked_for_as_an_option_or_a_result() {
    #[handler]
    fn asks(named: Option<SessionOf<Admin>>, session: Result<Session>) -> String {
        format!("{} {}", named.is_some(), session.is_ok())
    }
    let app = Route::new().at("/", get(asks));
    let app = app.with(SessionLayer::new(store()));
    assert_eq!(send(&app, "/", &[]).text, "false true");
}

#[test]
fn a_guard_for_any_session_is_a_middleware_too() {
    let guarded = Route::new().at("/guarded", get(yours).with(RequireSession::new()));
    let guarded = guarded.at("/count", get(count));
    let app = guarded.with(SessionLayer::new(store()));
    assert_eq!(send(&app, "/guarded", &[]).status, 401);
    let visited = send(&app, "/count", &[]);
    let cookie = [("cookie", visited.cookie())];
    assert_eq!(send(&app, "/guarded", &cookie).text, "yours");
}

#[test]
fn bytes_that_are_not_ascii_beside_the_cookie_do_no_harm() {
    let app = plain(routes(), store());
    let first = send(&app, "/count", &[]);
    let field = [b"name=\xff\xfe; ", first.cookie().as_bytes()].concat();
    let field = poem::http::HeaderValue::from_bytes(&field).unwrap();
    let request = Request::builder().uri_str("/count").header("cookie", field);
    let response = now(app.call(request.finish())).unwrap();
    let text = now(response.into_body().into_string()).unwrap();
    assert_eq!(text, "visits: Some(2)");
}
