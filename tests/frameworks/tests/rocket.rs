//! Sessions in Rocket: the layer as a fairing, request guards, errors of handlers, guarded routes.

#[macro_use]
#[path = "support/behaviours.rs"]
mod behaviours;

use std::io::Cursor;

use behaviours::{Admin, Answer, CACHED, Layers, Send, USER, Visit, about, admins};
use rocket::fairing::Fairing;
use rocket::http::{Header, Status};
use rocket::local::blocking::{Client, LocalResponse};
use rocket::{Build, Config, Response, Rocket, catch, catchers, get, routes};
use sealed_session::frameworks::rocket::{
    Failure, RequireField, RequireSession, SessionLayer, SessionOf,
};
use sealed_session::frameworks::tower::Sessions;
use sealed_session::{AppKey, CookieStore, LoadError, Session, SessionError, TypedSession};

#[get("/count")]
fn count(session: Session) -> Result<String, SessionError> {
    behaviours::count(&session)
}

#[derive(rocket::Responder)]
struct WithHeaders {
    text: String,
    cache_control: Header<'static>,
    cdn_cache_control: Header<'static>,
    vary: Header<'static>,
    set_cookie: Header<'static>,
}

#[get("/cached")]
fn cached(session: Session) -> Result<WithHeaders, SessionError> {
    let [cache_control, cdn_cache_control, vary, set_cookie] =
        CACHED.map(|(name, value)| Header::new(name, value));
    Ok(WithHeaders {
        text: behaviours::count(&session)?,
        cache_control,
        cdn_cache_control,
        vary,
        set_cookie,
    })
}

#[get("/too-much")]
fn too_much(session: Session) -> Result<String, SessionError> {
    behaviours::too_much(&session)
}

#[get("/wrong-type")]
fn wrong_type(session: Session) -> Result<String, SessionError> {
    behaviours::wrong_type(&session)
}

#[get("/both")]
fn both(visit: TypedSession<Visit>, admin: SessionOf<Admin>) -> Result<String, SessionError> {
    behaviours::both(&visit, &admin)
}

#[get("/login")]
fn log_in(session: Session) -> Result<&'static str, SessionError> {
    behaviours::log_in(&session)
}

#[get("/hold")]
fn hold(session: Session) -> Result<&'static str, SessionError> {
    behaviours::hold(&session)
}

#[get("/read")]
fn read(_session: Session) -> &'static str {
    "read"
}

#[get("/by-path")]
fn by_path(_session: Session) -> &'static str {
    "read"
}

#[get("/logout")]
fn log_out(session: Session) -> Status {
    session.destroy();
    Status::InternalServerError
}

#[get("/untouched")]
fn untouched() -> &'static str {
    "untouched"
}

#[get("/told")]
fn told(session: Result<Session, LoadError>) -> String {
    session.map_or_else(|error| error.to_string(), |_| "a session".to_owned())
}

#[get("/optional")]
fn optional(session: Option<Session>) -> String {
    session.is_some().to_string()
}

#[get("/api")]
fn api() -> &'static str {
    "yours"
}

#[get("/profile")]
fn profile() -> &'static str {
    "yours"
}

#[get("/polled")]
fn polled() -> &'static str {
    "yours"
}

fn rocket() -> Rocket<Build> {
    let pages = RequireField::new(USER).or_answer(|request: &http::request::Parts| {
        let to = format!("/login?next={}", request.uri.path());
        let mut answer = Response::build();
        answer.status(Status::SeeOther).raw_header("location", to);
        answer.finalize()
    });
    let plain = routes![
        count, cached, too_much, wrong_type, both, log_in, hold, read, by_path, log_out, untouched,
        told, optional,
    ];
    rocket::custom(Config::figment().merge(("log_level", "off")))
        .mount("/", plain)
        .mount("/", RequireField::new(USER).guard(routes![api]))
        .mount("/", pages.guard(routes![profile]))
        .mount(
            "/",
            RequireField::new(USER).leave_idle().guard(routes![polled]),
        )
}

fn plain<S: Sessions>(store: S) -> impl Fairing {
    SessionLayer::new(store)
        .leave_idle_if(|request: &http::request::Parts| request.uri.path() == "/by-path")
}

fn hooked<S: Sessions>(store: S) -> impl Fairing {
    SessionLayer::new(store).on_error(|failure: &Failure| {
        let text = about(failure);
        let mut answer = Response::build();
        answer.status(Status::ServiceUnavailable);
        answer.sized_body(text.len(), Cursor::new(text)).finalize()
    })
}

fn answer(response: LocalResponse<'_>) -> Answer {
    let status = response.status().code;
    let headers = response.headers().iter();
    let headers = headers.map(|it| (it.name().to_string(), it.value().to_owned()));
    Answer {
        status,
        headers: headers.collect(),
        text: response.into_string().unwrap_or_default(),
    }
}

fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = client.get(path);
    for (name, value) in headers {
        request.add_header(Header::new((*name).to_owned(), (*value).to_owned()));
    }
    answer(request.dispatch())
}

fn start(layers: Layers) -> Send {
    let rocket = rocket();
    let rocket = match layers {
        Layers::One(store) => rocket.attach(plain(store)),
        Layers::WithOnError(store) => rocket.attach(hooked(store)),
        Layers::OfBackend(store) => rocket.attach(plain(store)),
        Layers::OfBackendWithOnError(store) => rocket.attach(hooked(store)),
        Layers::OfHosts(stores) => rocket.attach(hooked(stores)),
        Layers::Two(first, second) => rocket.attach(plain(first)).attach(plain(second)),
        Layers::None => rocket,
    };
    let client = Client::untracked(rocket.attach(admins())).unwrap();
    Box::new(move |path, headers| get(&client, path, headers))
}

/// Rocket answers for its guards by a catcher, and only a fairing could change that answer.
const EXPLAINS_WITHOUT_LAYER: bool = false;

behaviours!(start);

fn store() -> CookieStore {
    CookieStore::new(AppKey::generate().unwrap())
}

#[test]
fn rockets_own_client_keeps_the_session_in_its_jar() {
    let client = Client::tracked(rocket().attach(plain(store()))).unwrap();
    for visits in 1..4 {
        let text = format!("visits: Some({visits})");
        assert_eq!(answer(client.get("/count").dispatch()).text, text);
    }
    client.get("/logout").dispatch();
    assert_eq!(
        answer(client.get("/count").dispatch()).text,
        "visits: Some(1)"
    );
}

#[test]
fn a_request_that_is_cloned_and_sent_again_is_another_request() {
    let client = Client::untracked(rocket().attach(plain(store()))).unwrap();
    let request = client.get("/count");
    for _ in 0..2 {
        let sent = answer(request.clone().dispatch());
        assert_eq!((sent.status, sent.text.as_str()), (200, "visits: Some(1)"));
    }
}

#[test]
fn the_error_handler_answers_for_a_layer_that_is_there_twice() {
    let rocket = rocket().attach(hooked(store())).attach(plain(store()));
    let client = Client::untracked(rocket).unwrap();
    let twice = get(&client, "/count", &[]);
    assert_eq!((twice.status, twice.text.as_str()), (503, "load"));
    let told = get(&client, "/told", &[]);
    assert!(told.text.starts_with("two session layers"), "{}", told.text);
    assert_eq!(told.status, 200, "who copes with it keeps the answer");
    assert_eq!(get(&client, "/optional", &[]).text, "false");
}

#[test]
fn a_catcher_has_the_session_and_answers_for_guards() {
    #[catch(401)]
    async fn stranger(request: &rocket::Request<'_>) -> String {
        let session: Session = request.guard().await.unwrap();
        session.insert("wanted", request.uri().to_string()).unwrap();
        "please log in".to_owned()
    }
    let store = store();
    let layer = SessionLayer::new(store.clone());
    let guarded = RequireSession::new().guard(routes![read]);
    let rocket = rocket::custom(Config::figment().merge(("log_level", "off")))
        .mount("/", guarded)
        .register("/", catchers![stranger])
        .attach(layer);
    let client = Client::untracked(rocket).unwrap();
    let refused = get(&client, "/read", &[]);
    assert_eq!(
        (refused.status, refused.text.as_str()),
        (401, "please log in")
    );
    let session = store.load_from([refused.cookie()]);
    assert_eq!(session.get("wanted"), Ok(Some("/read".to_owned())));
    let came_back = get(&client, "/read", &[("cookie", refused.cookie())]);
    assert_eq!(came_back.text, "read");
}

#[test]
fn a_catcher_of_ones_own_answers_for_the_layer_in_debug_builds_too() {
    #[catch(500)]
    fn broken() -> &'static str {
        "something is broken"
    }
    #[catch(500)]
    fn elsewhere() -> &'static str {
        "elsewhere"
    }
    let app = |base: &str, catchers| {
        let app = rocket().register(base, catchers).attach(plain(store()));
        get(&Client::untracked(app).unwrap(), "/too-much", &[])
    };
    let answer = app("/", catchers![broken]);
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (500, "something is broken")
    );
    answer.cookie();
    let answer = app("/too", catchers![elsewhere]);
    assert_eq!(
        answer.text.starts_with("sealed-session answered"),
        cfg!(debug_assertions),
        "{}",
        answer.text
    );
}

#[test]
fn a_handler_that_panics_has_saved_what_it_changed_when_rocket_answers() {
    #[get("/panics")]
    fn panics(session: Session) -> &'static str {
        session.destroy();
        std::panic::resume_unwind(Box::new("a bug"))
    }
    let rocket = rocket().mount("/", routes![panics]).attach(plain(store()));
    let client = Client::untracked(rocket).unwrap();
    let logged_in = get(&client, "/login", &[]);
    let answer = get(&client, "/panics", &[("cookie", logged_in.cookie())]);
    assert_eq!(answer.status, 500);
    assert_eq!(answer.cookie(), "__Host-session=");
}
