//! Sessions in actix-web: the same layer as a middleware, extractors, errors of handlers, guards.

#[path = "../../support/explained.rs"]
mod explained;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, COOKIE, HeaderMap, HeaderName, SET_COOKIE, VARY};
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{get, scope};
use actix_web::{App, Error, FromRequest, HttpRequest, HttpResponse, error};
use explained::assert_explained;
use sealed_session::frameworks::actix::{
    Failure, RequireField, RequireLogin, SessionLayer, SessionOf,
};
use sealed_session::server::{Memory, ServerStore};
use sealed_session::{
    AppKey, CookieConfig, CookieStore, CookieStoreBuilder, Event, HostStores, LoadError, Session,
    SessionError, Transport, TypedSession,
};
use serde::{Deserialize, Serialize};

struct Admin;

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Visit {
    pages: u32,
}

type Seen = Arc<Mutex<Vec<Event>>>;

fn builder() -> CookieStoreBuilder {
    CookieStore::builder(AppKey::generate().unwrap())
}

fn layer() -> SessionLayer<CookieStore> {
    SessionLayer::new(builder().build().unwrap())
}

/// A layer that notes its store's events.
fn watched() -> (SessionLayer<CookieStore>, Seen) {
    let seen = Seen::default();
    let events = Arc::clone(&seen);
    let builder = builder().on_event(move |event| events.lock().unwrap().push(event));
    (SessionLayer::new(builder.build().unwrap()), seen)
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    /// `name=value` of the only Set-Cookie.
    fn cookie(&self) -> &str {
        assert_eq!(self.headers.get_all(SET_COOKIE).count(), 1);
        let value = self.headers.get(SET_COOKIE).unwrap();
        assert!(value.is_sensitive());
        value.to_str().unwrap().split(';').next().unwrap()
    }
}

/// Sends a request with these headers; an error of the whole app is its text.
async fn send<B: MessageBody>(
    app: &impl Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Answer, String> {
    let mut request = TestRequest::with_uri(path);
    for header in headers {
        request = request.append_header(*header);
    }
    let response = app.call(request.to_request()).await;
    let response = response.map_err(|error| error.to_string())?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = to_bytes(response.into_body()).await;
    let body = body.unwrap_or_else(|_| panic!("the body fails"));
    let text = String::from_utf8(body.to_vec()).unwrap();
    Ok(Answer {
        status,
        headers,
        text,
    })
}

async fn count(session: Session) -> Result<String, SessionError> {
    session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    Ok(format!("visits: {:?}", session.get::<u32>("visits")?))
}

#[actix_web::test]
async fn a_handler_counts_the_visits_of_a_browser() {
    async fn cached(session: Session) -> Result<HttpResponse, SessionError> {
        session.insert("n", 1)?;
        Ok(HttpResponse::Ok()
            .insert_header(("cache-control", "public, max-age=60"))
            .append_header(("CDN-Cache-Control", "public, max-age=600"))
            .append_header(("cdn-cache-control", "s-maxage=600"))
            .insert_header(("vary", "accept"))
            .append_header(("set-cookie", "other=kept"))
            .finish())
    }
    let app = App::new()
        .route("/", get().to(count))
        .route("/cached", get().to(cached))
        .route("/untouched", get().to(async || "untouched"));
    let app = init_service(app.wrap(layer())).await;
    let first = send(&app, "/", &[]).await.unwrap();
    assert_eq!(first.text, "visits: Some(1)");
    let crumbs = [("cookie", "theme=dark"), ("cookie", first.cookie())];
    let second = send(&app, "/", &crumbs).await.unwrap();
    assert_eq!(second.text, "visits: Some(2)");

    let cached = send(&app, "/cached", &[]).await.unwrap();
    let values = |name| -> Vec<&str> {
        let values = cached.headers.get_all(name);
        values.map(|value| value.to_str().unwrap()).collect()
    };
    assert_eq!(values(CACHE_CONTROL), ["max-age=60, private"]);
    let targeted = HeaderName::from_static("cdn-cache-control");
    assert_eq!(values(targeted), ["no-store"]);
    assert_eq!(values(VARY), ["accept", "Cookie"]);
    let set_cookies = values(SET_COOKIE);
    assert_eq!(set_cookies[0], "other=kept");
    assert!(set_cookies[1].starts_with("__Host-session="));
    assert_eq!(set_cookies.len(), 2);

    let untouched = send(&app, "/untouched", &[]).await.unwrap();
    assert!(!untouched.headers.contains_key(VARY));
    assert!(!untouched.headers.contains_key(SET_COOKIE));
}

thread_local! {
    /// What a body that is streamed would hold.
    static HELD: RefCell<Option<(HttpRequest, Option<Session>)>> = const { RefCell::new(None) };
}

#[actix_web::test]
async fn who_has_a_session_reads_it_when_the_answer_has_left_and_nobody_else_gets_it() {
    let app = App::new()
        .route("/", get().to(count))
        .route(
            "/takes",
            get().to(async |request: HttpRequest, session: Session| {
                HELD.set(Some((request, Some(session))));
                "streamed"
            }),
        )
        .route(
            "/ignores",
            get().to(async |request: HttpRequest| {
                HELD.set(Some((request, None)));
                "streamed"
            }),
        );
    let app = init_service(app.wrap(layer())).await;
    let first = send(&app, "/", &[]).await.unwrap();
    let cookie = [("cookie", first.cookie())];

    let taken = send(&app, "/takes", &cookie).await.unwrap();
    assert_eq!(taken.headers.get(VARY).unwrap(), "Cookie");
    assert_eq!(taken.headers.get(CACHE_CONTROL).unwrap(), "private");
    let (request, session) = HELD.take().unwrap();
    assert_eq!(session.unwrap().get("visits"), Ok(Some(1)));
    let again = Session::extract(&request).await.unwrap();
    assert_eq!(again.get("visits"), Ok(Some(1)));

    let ignored = send(&app, "/ignores", &cookie).await.unwrap();
    assert!(!ignored.headers.contains_key(VARY));
    assert!(!ignored.headers.contains_key(CACHE_CONTROL));
    let (request, _) = HELD.take().unwrap();
    assert!(Session::extract(&request).await.unwrap_err().is_too_late());
    let typed = TypedSession::<Visit>::extract(&request).await;
    assert!(typed.unwrap_err().is_too_late());
}

#[actix_web::test]
async fn without_the_layer_a_session_is_a_500() {
    async fn told(session: Result<Session, LoadError>) -> String {
        session.unwrap_err().to_string()
    }
    async fn optional(session: Option<Session>) -> String {
        session.is_none().to_string()
    }
    let app = App::new()
        .route("/", get().to(count))
        .route("/named", get().to(async |_: SessionOf<Admin>| "never"))
        .route("/typed", get().to(async |_: TypedSession<Visit>| "never"))
        .route("/optional", get().to(optional))
        .route("/told", get().to(told));
    let app = init_service(app).await;
    for path in ["/", "/named", "/typed"] {
        let answer = send(&app, path, &[]).await.unwrap();
        assert_eq!(answer.status, 500, "{path}");
        assert_explained(&answer.text, "no session layer has seen the request");
        if cfg!(debug_assertions) {
            let header = |name| answer.headers.get(name).unwrap();
            assert_eq!(header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(header("x-content-type-options"), "nosniff");
        }
    }
    assert_eq!(send(&app, "/optional", &[]).await.unwrap().text, "true");
    let developer = send(&app, "/told", &[]).await.unwrap().text;
    assert!(developer.starts_with("no session layer"), "{developer}");
}

#[actix_web::test]
async fn an_error_of_the_session_is_a_500_and_what_was_changed_is_saved() {
    async fn too_much(session: Session) -> Result<String, SessionError> {
        session.insert("n", 1)?;
        session.insert("large", "hunter2".repeat(1000))?;
        Ok("never".to_owned())
    }
    async fn read(session: Session) -> Result<String, SessionError> {
        Ok(format!("{:?}", session.get::<u32>("n")?))
    }
    let (layer, seen) = watched();
    let app = App::new().route("/", get().to(too_much));
    let app = app.route("/read", get().to(read));
    let app = init_service(app.wrap(layer)).await;
    let answer = send(&app, "/", &[]).await.unwrap();
    assert_eq!(answer.status, 500);
    assert_explained(&answer.text, "\"large\": ");
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    let read = send(&app, "/read", &[("cookie", answer.cookie())]).await;
    assert_eq!(read.unwrap().text, "Some(1)");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen, [Event::TooLarge, Event::CallFailed]);
}

#[actix_web::test]
async fn the_error_handler_answers_for_handlers_and_extractors() {
    async fn fails(session: Session) -> Result<String, SessionError> {
        session.insert("n", "text")?;
        session.get::<u32>("n").map(|_| "never".to_owned())
    }
    let on_error = |failure: &Failure| match failure {
        Failure::Call(error) => {
            HttpResponse::ServiceUnavailable().body(format!("{:?}", error.kind()))
        }
        _ => HttpResponse::ServiceUnavailable().body("load"),
    };
    let hooked = layer().on_error(on_error);
    let app = App::new().route("/", get().to(fails));
    let app = init_service(app.wrap(hooked)).await;
    let answer = send(&app, "/", &[]).await.unwrap();
    assert_eq!((answer.status, answer.text.as_str()), (503, "WrongType"));
    answer.cookie();

    let (outer, seen) = watched();
    let twice = App::new().route("/", get().to(count));
    let twice = twice.wrap(layer().on_error(on_error)).wrap(outer);
    let twice = init_service(twice).await;
    let answer = send(&twice, "/", &[]).await.unwrap();
    assert_eq!((answer.status, answer.text.as_str()), (503, "load"));
    assert!(!answer.headers.contains_key(SET_COOKIE));
    assert!(
        seen.lock().unwrap().is_empty(),
        "the inner layer's store tells"
    );
}

#[actix_web::test]
async fn a_failed_save_replaces_the_response_by_a_bare_500_or_by_the_error_handlers() {
    let memory = Memory::builder().max_sessions(1).build().unwrap();
    let store = ServerStore::new(AppKey::generate().unwrap(), memory);
    let layer = SessionLayer::new(store);
    let hooked = layer.clone().on_error(|failure: &Failure| {
        assert!(matches!(failure, Failure::Save(_)));
        HttpResponse::ServiceUnavailable().body("please try again")
    });
    let plain = App::new().route("/", get().to(count)).wrap(layer);
    let plain = init_service(plain).await;
    let hooked = App::new().route("/", get().to(count)).wrap(hooked);
    let hooked = init_service(hooked).await;
    let only = send(&plain, "/", &[]).await.unwrap();
    assert_eq!(only.status, 200);

    let failed = send(&plain, "/", &[]).await.unwrap();
    assert_eq!(failed.status, 500);
    assert_explained(&failed.text, "1 sessions are in memory");
    assert!(!failed.headers.contains_key(SET_COOKIE));
    let failed = send(&hooked, "/", &[]).await.unwrap();
    assert_eq!(
        (failed.status, failed.text.as_str()),
        (503, "please try again")
    );
    assert!(!failed.headers.contains_key(SET_COOKIE));
    let again = send(&hooked, "/", &[("cookie", only.cookie())]).await;
    assert_eq!(again.unwrap().text, "visits: Some(2)");
}

#[actix_web::test]
async fn a_second_layer_of_one_name_is_an_error_and_is_reported() {
    let (inner, seen) = watched();
    let app = App::new().route("/", get().to(count));
    let app = init_service(app.wrap(inner.clone()).wrap(layer())).await;
    assert_eq!(send(&app, "/", &[]).await.unwrap().status, 500);
    assert_eq!(*seen.lock().unwrap(), [Event::LoadFailed]);
}

#[actix_web::test]
async fn a_middleware_that_fails_saves_nothing() {
    async fn fail(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
        next.call(request).await?;
        Err(error::ErrorImATeapot("a failure of the middleware's own"))
    }
    let (layer, seen) = watched();
    let app = App::new().route("/", get().to(count)).wrap(from_fn(fail));
    let app = init_service(app.wrap(layer)).await;
    let error = send(&app, "/", &[]).await.err();
    assert_eq!(error.as_deref(), Some("a failure of the middleware's own"));
    assert_eq!(*seen.lock().unwrap(), [Event::Unsaved]);
}

#[actix_web::test]
async fn the_error_handler_answers_for_a_middleware_that_fails_with_an_error_of_the_session() {
    async fn takes(
        _: Session,
        request: ServiceRequest,
        next: Next<BoxBody>,
    ) -> Result<ServiceResponse, Error> {
        next.call(request).await
    }
    async fn calls(
        mut request: ServiceRequest,
        next: Next<BoxBody>,
    ) -> Result<ServiceResponse, Error> {
        let session = request.extract::<Session>().await?;
        session.insert("n", "text")?;
        session.get::<u32>("n")?;
        next.call(request).await
    }
    let on_error = |failure: &Failure| match failure {
        Failure::Load(_) => HttpResponse::ServiceUnavailable().body("load"),
        _ => HttpResponse::ServiceUnavailable().body("call"),
    };
    let answer = async |error: Error| {
        let response = error.error_response();
        let status = response.status().as_u16();
        (status, to_bytes(response.into_body()).await.unwrap())
    };
    let request = || TestRequest::default().to_request();

    let (watched, seen) = watched();
    let app = App::new().route("/", get().to(async || "never"));
    let app = app.wrap(from_fn(calls)).wrap(watched.on_error(on_error));
    let error = init_service(app).await.call(request()).await.err().unwrap();
    assert_eq!(answer(error).await, (503, "call".into()));
    assert_eq!(
        *seen.lock().unwrap(),
        [Event::CallFailed, Event::Unsaved],
        "an error is no answer"
    );

    let outer = layer().on_error(|_: &Failure| HttpResponse::Ok().body("outer"));
    let app = App::new().route("/", get().to(async || "never"));
    let app = app.wrap(from_fn(takes));
    let app = app.wrap(layer().on_error(on_error)).wrap(outer);
    let error = init_service(app).await.call(request()).await.err().unwrap();
    assert!(error.to_string().starts_with("two session layers"));
    assert_eq!(answer(error).await, (503, "load".into()));
}

#[actix_web::test]
async fn a_logout_holds_whatever_the_status() {
    async fn log_out(session: Session) -> HttpResponse {
        session.destroy();
        HttpResponse::InternalServerError().finish()
    }
    let app = App::new().route("/", get().to(count));
    let app = app.route("/logout", get().to(log_out)).wrap(layer());
    let app = init_service(app).await;
    let logged_in = send(&app, "/", &[]).await.unwrap();
    let request = [("cookie", logged_in.cookie())];
    let logged_out = send(&app, "/logout", &request).await.unwrap();
    assert_eq!(logged_out.status, 500);
    assert_eq!(logged_out.cookie(), "__Host-session=");
}

#[actix_web::test]
async fn typed_and_named_sessions_are_extractors() {
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
    let cookie = CookieConfig::builder()
        .name("__Host-admin")
        .build()
        .unwrap();
    let admins = SessionLayer::new(builder().cookie(cookie).build().unwrap());
    let app = App::new().route("/", get().to(visit));
    let app = app.wrap(admins.named::<Admin>()).wrap(layer());
    let app = init_service(app).await;
    let answer = send(&app, "/", &[]).await.unwrap();
    assert_eq!(answer.text, "1 [\"pages\"]");
    assert_eq!(answer.headers.get_all(SET_COOKIE).count(), 2);
}

#[actix_web::test]
async fn a_guard_keeps_out_who_is_not_logged_in() {
    async fn log_in(session: Session) -> Result<HttpResponse, SessionError> {
        session.log_in()?;
        session.insert("user_id", 42)?;
        Ok(HttpResponse::NoContent().finish())
    }
    let to_login = |request: &HttpRequest| {
        let to = format!("/login?next={}", request.path());
        HttpResponse::SeeOther()
            .insert_header(("location", to))
            .finish()
    };
    let api = scope("/api").route("", get().to(async || "yours"));
    let pages = scope("/profile").route("", get().to(async || "yours"));
    let app = App::new()
        .route("/login", get().to(log_in))
        .service(api.wrap(RequireField::new("user_id")))
        .service(pages.wrap(RequireField::new("user_id").or_answer(to_login)));
    let guarded = init_service(app.wrap(layer())).await;
    assert_eq!(send(&guarded, "/api", &[]).await.unwrap().status, 401);
    let profile = send(&guarded, "/profile", &[]).await.unwrap();
    assert_eq!(
        profile.headers.get("location").unwrap(),
        "/login?next=/profile"
    );
    let logged_in = send(&guarded, "/login", &[]).await.unwrap();
    assert_eq!(logged_in.status, 204);
    for path in ["/api", "/profile"] {
        let answer = send(&guarded, path, &[("cookie", logged_in.cookie())]).await;
        assert_eq!(answer.unwrap().text, "yours");
    }

    let alone = App::new().route("/", get().to(async || "never"));
    let alone = init_service(alone.wrap(RequireField::new("user_id"))).await;
    let answer = send(&alone, "/", &[]).await.unwrap();
    assert_eq!(answer.status, 500);
    assert_explained(&answer.text, "no session layer has seen the request");
}

#[actix_web::test]
async fn a_token_in_a_header_goes_through_the_same_middleware() {
    let store = builder().transport(Transport::bearer()).build().unwrap();
    let app = App::new().route("/", get().to(count));
    let app = init_service(app.wrap(SessionLayer::new(store))).await;
    let first = send(&app, "/", &[]).await.unwrap();
    assert!(!first.headers.contains_key(SET_COOKIE));
    let token = first.headers.get("x-session-token").unwrap();
    assert!(token.is_sensitive());
    let bearer = format!("Bearer {}", token.to_str().unwrap());
    let second = send(&app, "/", &[("authorization", &bearer)])
        .await
        .unwrap();
    assert_eq!(second.text, "visits: Some(2)");
    assert_eq!(second.headers.get(VARY).unwrap(), "Authorization");
    let as_cookie = format!("x-session-token={}", token.to_str().unwrap());
    let third = send(&app, "/", &[(COOKIE.as_str(), &as_cookie)]).await;
    assert_eq!(third.unwrap().text, "visits: Some(1)");
}

#[actix_web::test]
async fn a_route_that_a_page_polls_does_not_keep_a_session_alive() {
    let minutes = Arc::new(AtomicU64::new(0));
    let asked = Arc::clone(&minutes);
    let store = builder()
        .idle_timeout(Duration::from_secs(3600))
        .clock(move || {
            let minutes = asked.load(Ordering::Relaxed);
            SystemTime::UNIX_EPOCH + Duration::from_secs(60 * minutes)
        })
        .build()
        .unwrap();
    let guarded = scope("/guarded").route("", get().to(async || "polled"));
    let layer = SessionLayer::new(store)
        .leave_idle_if(|request: &HttpRequest| request.path() == "/by-path");
    let app = App::new()
        .route("/", get().to(count))
        .route("/by-path", get().to(async |_: Session| "polled"))
        .route("/read", get().to(async |_: Session| "read"))
        .service(guarded.wrap(RequireField::new("visits").leave_idle()));
    let app = init_service(app.wrap(layer)).await;
    let first = send(&app, "/", &[]).await.unwrap();
    let cookie = [("cookie", first.cookie())];
    minutes.store(50, Ordering::Relaxed);
    for path in ["/guarded", "/by-path"] {
        let polled = send(&app, path, &cookie).await.unwrap();
        assert_eq!(polled.headers.get_all(SET_COOKIE).count(), 0, "{path}");
        assert_eq!(polled.text, "polled", "{path}");
    }
    let read = send(&app, "/read", &cookie).await.unwrap();
    assert_eq!(read.headers.get_all(SET_COOKIE).count(), 1);
    minutes.store(60, Ordering::Relaxed);
    assert_eq!(send(&app, "/guarded", &cookie).await.unwrap().status, 401);
}

#[actix_web::test]
async fn who_has_not_logged_in_lately_is_asked_for_the_password_again() {
    async fn log_in(session: Session) -> Result<HttpResponse, SessionError> {
        session.log_in()?;
        Ok(HttpResponse::NoContent().finish())
    }
    let minutes = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&minutes);
    let store = builder().clock(move || {
        SystemTime::UNIX_EPOCH + Duration::from_secs(60 * clock.load(Ordering::Relaxed))
    });
    let ask = |request: &HttpRequest| {
        let to = format!("/password?next={}", request.path());
        HttpResponse::SeeOther()
            .insert_header(("location", to))
            .finish()
    };
    let lately = RequireLogin::within(Duration::from_secs(15 * 60)).or_answer(ask);
    let address = scope("/address").route("", get().to(async || "yours"));
    let app = App::new()
        .route("/login", get().to(log_in))
        .service(address.wrap(lately));
    let app = init_service(app.wrap(SessionLayer::new(store.build().unwrap()))).await;
    let logged_in = send(&app, "/login", &[]).await.unwrap();
    let cookie = [("cookie", logged_in.cookie())];
    for (passed, status) in [(0, 200), (14, 200), (15, 303)] {
        minutes.store(passed, Ordering::Relaxed);
        let answer = send(&app, "/address", &cookie).await.unwrap();
        assert_eq!(answer.status, status, "{passed}");
    }
    let guest = send(&app, "/address", &[]).await.unwrap();
    assert_eq!(
        guest.headers.get("location").unwrap(),
        "/password?next=/address"
    );
}

#[actix_web::test]
async fn each_host_has_its_own_cookie() {
    let key = AppKey::generate().unwrap();
    let stores = HostStores::new(move |host| {
        let Some(tenant) = host.strip_suffix(".example.org") else {
            return Ok(None);
        };
        let cookie = CookieConfig::builder()
            .name(format!("__Secure-{tenant}"))
            .domain(host);
        let store = CookieStore::builder(key.clone()).cookie(cookie.build()?);
        store.context(tenant).build().map(Some)
    });
    let app = App::new().route("/", get().to(count));
    let app = init_service(app.wrap(SessionLayer::new(stores))).await;
    let shop = send(&app, "/", &[("host", "shop.example.org:8443")])
        .await
        .unwrap();
    assert!(shop.cookie().starts_with("__Secure-shop="));
    let ask = async |host| {
        let sent = [("host", host), ("cookie", shop.cookie())];
        send(&app, "/", &sent).await.unwrap()
    };
    assert_eq!(ask("shop.example.org").await.text, "visits: Some(2)");
    assert_eq!(ask("blog.example.org").await.text, "visits: Some(1)");
    let unknown = ask("evil.example").await;
    assert_eq!(unknown.status, 500);
    assert_explained(&unknown.text, "no sessions for this host");
}
