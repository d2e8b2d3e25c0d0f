//! actix-session's session over ours, and actix-identity's behaviours over that.

use std::time::Duration;

use actix_identity::config::LogoutBehavior;
use actix_identity::{Identity, IdentityMiddleware};
use actix_session::Session as Theirs;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{COOKIE, SET_COOKIE};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, init_service, read_body};
use actix_web::{App, HttpMessage, HttpRequest, HttpResponse, Responder, web};
use sealed_session::frameworks::tower::Sessions;
use sealed_session::server::Memory;
use sealed_session::{AppKey, CookieStore, MemoryStore, Session, SessionError, SessionLayer};
use sealed_session_ecosystem::actix_session_0_11::as_actix_session;

fn cookies() -> CookieStore {
    CookieStore::new(AppKey::generate().unwrap())
}

fn memory() -> MemoryStore {
    MemoryStore::new(AppKey::generate().unwrap(), Memory::new())
}

async fn log_in(request: HttpRequest, name: web::Path<String>) -> impl Responder {
    Identity::login(&request.extensions(), name.into_inner()).unwrap();
    HttpResponse::Ok()
}

async fn log_out(identity: Identity) -> impl Responder {
    identity.logout();
    HttpResponse::Ok()
}

async fn whoever(identity: Identity) -> impl Responder {
    identity.id().unwrap()
}

async fn current(identity: Option<Identity>, session: Theirs) -> impl Responder {
    let id = identity.map(|identity| identity.id().unwrap());
    let counter = session.get::<u32>("counter").unwrap().unwrap_or(0);
    format!("{id:?} {counter}")
}

async fn increment(session: Theirs) -> impl Responder {
    session.update_or("counter", 1, |n: u32| n + 1).unwrap();
    HttpResponse::Ok()
}

async fn too_large(session: Theirs) -> impl Responder {
    session.insert("counter", 7).unwrap();
    session.insert("story", "x".repeat(5000)).unwrap();
    HttpResponse::Ok()
}

/// An entry that JSON cannot hold.
async fn picture(session: Session) -> Result<HttpResponse, SessionError> {
    struct Bytes;
    impl serde::Serialize for Bytes {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(b"a picture")
        }
    }
    session.insert("picture", Bytes)?;
    Ok(HttpResponse::Ok().finish())
}

async fn has_picture(session: Session, theirs: Theirs) -> impl Responder {
    let known = theirs.entries().contains_key("picture");
    format!("{} {known}", session.contains("picture"))
}

/// Takes both times of actix-identity back to 1970.
async fn long_ago(session: Session) -> Result<HttpResponse, SessionError> {
    for key in session.keys().iter().filter(|key| key.ends_with("_at")) {
        session.insert(key.as_str(), 0)?;
    }
    Ok(HttpResponse::Ok().finish())
}

async fn id(session: Session) -> impl Responder {
    session.id().map_or_else(String::new, |id| id.to_string())
}

struct Browser<S> {
    service: S,
    cookie: String,
}

impl<S, B> Browser<S>
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let request = TestRequest::get().uri(path);
        let request = request.insert_header((COOKIE, self.cookie.as_str()));
        let response = match self.service.call(request.to_request()).await {
            Ok(response) => response,
            Err(error) => return (error.as_response_error().status_code(), String::new()),
        };
        let status = response.status();
        for header in response.headers().get_all(SET_COOKIE) {
            let set_cookie = header.to_str().unwrap();
            self.cookie = if set_cookie.contains("Max-Age=0") {
                String::new()
            } else {
                set_cookie.split(';').next().unwrap().to_owned()
            };
        }
        let body = read_body(response).await;
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

macro_rules! browser {
    ($store:expr, $identity:expr) => {
        browser!($store, $identity, as_actix_session)
    };
    ($store:expr, $identity:expr, $shared:expr) => {
        Browser {
            service: init_service(
                App::new()
                    .route("/login/{name}", web::get().to(log_in))
                    .route("/logout", web::get().to(log_out))
                    .route("/required", web::get().to(whoever))
                    .route("/current", web::get().to(current))
                    .route("/increment", web::get().to(increment))
                    .route("/too-large", web::get().to(too_large))
                    .route("/picture", web::get().to(picture))
                    .route("/has-picture", web::get().to(has_picture))
                    .route("/id", web::get().to(id))
                    .route("/long-ago", web::get().to(long_ago))
                    .wrap($identity)
                    .wrap(from_fn($shared))
                    .wrap(SessionLayer::new($store)),
            )
            .await,
            cookie: String::new(),
        }
    };
}

/// Each test with sessions in cookies and in a backend.
macro_rules! with_each_store {
    ($($sentence:ident)*) => {
        mod in_cookies {
            $(#[actix_web::test]
            async fn $sentence() {
                super::$sentence(super::cookies()).await;
            })*
        }
        mod in_memory {
            $(#[actix_web::test]
            async fn $sentence() {
                super::$sentence(super::memory()).await;
            })*
        }
    };
}

with_each_store! {
    an_opaque_401_is_returned_for_unauthenticated_users
    login_works
    custom_keys_work_as_expected
    logging_in_again_replaces_the_current_identity
    the_session_is_renewed_on_login
    logout_works
    logout_can_avoid_destroying_the_whole_session
    a_user_is_logged_out_when_the_login_deadline_has_passed
    the_login_deadline_logs_nobody_out_before_the_time
    the_visit_deadline_logs_nobody_out_before_the_time
    a_user_is_logged_out_when_the_visit_deadline_has_passed
    what_only_reads_sets_no_cookie
}

fn by_default() -> IdentityMiddleware {
    IdentityMiddleware::default()
}

const ALICE: &str = "Some(\"alice\")";

async fn an_opaque_401_is_returned_for_unauthenticated_users(store: impl Sessions) {
    let mut browser = browser!(store, by_default());
    let answer = browser.get("/required").await;
    assert_eq!(answer, (StatusCode::UNAUTHORIZED, String::new()));
}

async fn login_works(store: impl Sessions) {
    let mut browser = browser!(store, by_default());
    browser.get("/login/alice").await;
    let answer = browser.get("/required").await;
    assert_eq!(answer, (StatusCode::OK, "alice".to_owned()));
}

async fn custom_keys_work_as_expected(store: impl Sessions) {
    let identity = IdentityMiddleware::builder()
        .id_key("custom.user_id")
        .last_visit_unix_timestamp_key("custom.last_visited_at")
        .login_unix_timestamp_key("custom.logged_in_at")
        .build();
    let mut browser = browser!(store, identity);
    browser.get("/login/alice").await;
    assert_eq!(browser.get("/required").await.0, StatusCode::OK);
    assert_eq!(browser.get("/logout").await.0, StatusCode::OK);
    assert_eq!(browser.get("/required").await.0, StatusCode::UNAUTHORIZED);
}

async fn logging_in_again_replaces_the_current_identity(store: impl Sessions) {
    let mut browser = browser!(store, by_default());
    browser.get("/login/alice").await;
    browser.get("/login/bob").await;
    assert_eq!(browser.get("/current").await.1, "Some(\"bob\") 0");
}

async fn the_session_is_renewed_on_login(store: impl Sessions) {
    let mut browser = browser!(store.clone(), by_default());
    browser.get("/increment").await;
    let before = browser.get("/id").await.1;
    assert_eq!(browser.get("/id").await.1, before);
    browser.get("/login/alice").await;
    assert_ne!(browser.get("/id").await.1, before);
    assert_eq!(browser.get("/current").await.1, format!("{ALICE} 1"));
}

async fn logout_works(store: impl Sessions) {
    let mut browser = browser!(store, by_default());
    browser.get("/login/alice").await;
    assert_eq!(browser.get("/logout").await.0, StatusCode::OK);
    assert_eq!(browser.cookie, "");
    assert_eq!(browser.get("/required").await.0, StatusCode::UNAUTHORIZED);
}

async fn logout_can_avoid_destroying_the_whole_session(store: impl Sessions) {
    let identity = IdentityMiddleware::builder()
        .logout_behavior(LogoutBehavior::DeleteIdentityKeys)
        .build();
    let mut browser = browser!(store, identity);
    browser.get("/login/alice").await;
    browser.get("/increment").await;
    assert_eq!(browser.get("/current").await.1, format!("{ALICE} 1"));
    browser.get("/logout").await;
    assert_eq!(browser.get("/current").await.1, "None 1");
}

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

async fn a_user_is_logged_out_when_the_login_deadline_has_passed(store: impl Sessions) {
    let identity = IdentityMiddleware::builder().login_deadline(HOUR).build();
    let mut browser = browser!(store, identity);
    browser.get("/login/alice").await;
    browser.get("/long-ago").await;
    assert_eq!(browser.get("/current").await.1, "None 0");
    assert_eq!(browser.cookie, "");
}

async fn the_login_deadline_logs_nobody_out_before_the_time(store: impl Sessions) {
    let identity = IdentityMiddleware::builder().login_deadline(HOUR).build();
    let mut browser = browser!(store, identity);
    browser.get("/login/alice").await;
    assert_eq!(browser.get("/current").await.1, format!("{ALICE} 0"));
}

async fn the_visit_deadline_logs_nobody_out_before_the_time(store: impl Sessions) {
    let identity = IdentityMiddleware::builder().visit_deadline(HOUR).build();
    let mut browser = browser!(store, identity);
    browser.get("/login/alice").await;
    assert_eq!(browser.get("/current").await.1, format!("{ALICE} 0"));
}

async fn a_user_is_logged_out_when_the_visit_deadline_has_passed(store: impl Sessions) {
    let identity = IdentityMiddleware::builder().visit_deadline(HOUR).build();
    let mut browser = browser!(store, identity);
    browser.get("/login/alice").await;
    browser.get("/long-ago").await;
    assert_eq!(browser.get("/current").await.1, "None 0");
    assert_eq!(browser.cookie, "");
}

async fn what_only_reads_sets_no_cookie(store: impl Sessions) {
    let mut browser = browser!(store, by_default());
    browser.get("/login/alice").await;
    let before = browser.cookie.clone();
    browser.get("/current").await;
    assert_eq!(browser.cookie, before);
}

#[actix_web::test]
async fn what_is_too_large_is_an_error_and_nothing_is_saved() {
    let mut browser = browser!(cookies(), by_default());
    browser.get("/increment").await;
    let answer = browser.get("/too-large").await;
    assert_eq!(answer.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(browser.get("/current").await.1, "None 1");
}

#[actix_web::test]
async fn what_json_cannot_hold_stays_in_our_session_alone() {
    let mut browser = browser!(cookies(), by_default());
    browser.get("/picture").await;
    assert_eq!(browser.get("/increment").await.0, StatusCode::OK);
    assert_eq!(browser.get("/current").await.1, "None 1");
    assert_eq!(browser.get("/has-picture").await.1, "true false");
}

#[actix_web::test]
async fn the_same_lines_work_with_actix_session_0_10() {
    use actix_session_0_10::Session as Theirs;
    use sealed_session_ecosystem::actix_session_0_10::as_actix_session;

    async fn count(session: Theirs) -> impl Responder {
        let count = session.get::<u32>("count").unwrap().unwrap_or(0) + 1;
        session.insert("count", count).unwrap();
        session.renew();
        count.to_string()
    }
    async fn end(session: Theirs) -> impl Responder {
        session.purge();
        HttpResponse::Ok()
    }
    let app = App::new()
        .route("/count", web::get().to(count))
        .route("/end", web::get().to(end))
        .wrap(from_fn(as_actix_session))
        .wrap(SessionLayer::new(cookies()));
    let mut browser = Browser {
        service: init_service(app).await,
        cookie: String::new(),
    };
    assert_eq!(browser.get("/count").await.1, "1");
    assert_eq!(browser.get("/count").await.1, "2");
    browser.get("/end").await;
    assert_eq!(browser.cookie, "");
    assert_eq!(browser.get("/count").await.1, "1");
}

#[actix_web::test]
async fn flash_messages_are_shown_once() {
    use actix_web_flash_messages::storage::SessionMessageStore;
    use actix_web_flash_messages::{FlashMessage, FlashMessagesFramework, IncomingFlashMessages};
    use sealed_session_ecosystem::actix_session_0_10::as_actix_session;

    async fn send() -> impl Responder {
        FlashMessage::info("saved").send();
        FlashMessage::error("but not all").send();
        HttpResponse::Ok()
    }
    async fn show(messages: IncomingFlashMessages) -> impl Responder {
        let texts: Vec<_> = messages.iter().map(|message| message.content()).collect();
        texts.join(", ")
    }
    let messages = FlashMessagesFramework::builder(SessionMessageStore::default()).build();
    let app = App::new()
        .route("/send", web::get().to(send))
        .route("/show", web::get().to(show))
        .wrap(messages)
        .wrap(from_fn(as_actix_session))
        .wrap(SessionLayer::new(cookies()));
    let mut browser = Browser {
        service: init_service(app).await,
        cookie: String::new(),
    };
    assert_eq!(browser.get("/show").await.1, "");
    assert_eq!(browser.cookie, "", "nothing was sent");
    browser.get("/send").await;
    assert_eq!(browser.get("/show").await.1, "saved, but not all");
    assert_eq!(browser.get("/show").await.1, "");
}

#[actix_web::test]
async fn a_user_has_the_same_limit_in_every_browser() {
    use actix_limitation::{Limiter, RateLimiter};
    use actix_session::SessionExt;
    use sealed_session_stores::redis::Server;

    async fn log_in(session: Session, name: web::Path<String>) -> Result<String, SessionError> {
        session.log_in()?;
        session.insert("user_id", name.into_inner())?;
        Ok(String::new())
    }
    let redis = Server::start().await;
    let limiter = Limiter::builder(redis.url())
        .limit(2)
        .period(Duration::from_secs(3600))
        .key_by(|request| request.get_session().get("user_id").unwrap_or_default())
        .build()
        .unwrap();
    let search = web::scope("/search").route("/", web::get().to(async || "found"));
    let app = App::new()
        .app_data(web::Data::new(limiter))
        .route("/login/{name}", web::get().to(log_in))
        .service(search.wrap(RateLimiter::default()))
        .wrap(from_fn(as_actix_session))
        .wrap(SessionLayer::new(cookies()));
    let mut browser = Browser {
        service: init_service(app).await,
        cookie: String::new(),
    };
    let mut expect = async |name: &str, status: StatusCode| {
        browser.cookie = String::new();
        if !name.is_empty() {
            browser.get(&format!("/login/{name}")).await;
        }
        assert_eq!(browser.get("/search/").await.0, status, "{name}");
    };
    expect("ada", StatusCode::OK).await;
    expect("ada", StatusCode::OK).await;
    expect("ada", StatusCode::TOO_MANY_REQUESTS).await;
    expect("bob", StatusCode::OK).await;
    for _ in 0..3 {
        expect("", StatusCode::OK).await;
    }
}

#[test]
fn the_documentation_prints_the_middleware_that_these_tests_run() {
    let page = include_str!("../../../docs/actix.md");
    assert!(page.contains(include_str!("../src/as_actix_session.rs").trim_end()));
}
