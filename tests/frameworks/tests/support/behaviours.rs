//! What every framework does alike. Each builds one site, whose routes are named below, and a macro
//! makes a test of each sentence here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sealed_session::server::{Memory, ServerStore};
use sealed_session::{
    AppKey, CookieConfig, CookieStore, CookieStoreBuilder, ErrorKind, Event, Field, HostStores,
    SameSite, Session, SessionError, SessionLayer, SessionOf, Transport, TypedSession,
};
use serde::{Deserialize, Serialize};

pub const USER: Field<u64> = Field::new("user_id");

/// The name of the second session that each site has.
pub struct Admin;

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Visit {
    pages: u32,
}

/// The layers of a site, besides that of [`admins`], which is always there.
pub enum Layers {
    One(CookieStore),
    /// With a function that answers 503 and [`about`] the failure.
    WithOnError(CookieStore),
    /// A backend that may be full.
    OfBackend(ServerStore<Memory>),
    OfBackendWithOnError(ServerStore<Memory>),
    /// With a store for each host, and the function of `WithOnError`.
    OfHosts(HostStores<CookieStore>),
    /// Two without a name, the first inside.
    Two(CookieStore, CookieStore),
    None,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.headers.iter();
        let fields = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        fields.map(|(_, value)| value.as_str()).collect()
    }

    /// `name=value` of the only Set-Cookie.
    pub fn cookie(&self) -> &str {
        let [set_cookie] = self.values("set-cookie")[..] else {
            panic!("one Set-Cookie expected: {self:?}");
        };
        set_cookie.split(';').next().unwrap()
    }
}

/// Sends a GET with these headers.
pub type Send = Box<dyn Fn(&str, &[(&str, &str)]) -> Answer>;
pub type Start = fn(Layers) -> Send;

/// The layer of the sessions named [`Admin`].
pub fn admins() -> SessionLayer<CookieStore, Admin> {
    let cookie = CookieConfig::builder().name("__Host-admin");
    let cookie = cookie.same_site(SameSite::Strict).build().unwrap();
    SessionLayer::new(builder().cookie(cookie).build().unwrap()).named()
}

/// The text of what a site's `on_error` answers.
pub fn about(failure: &sealed_session::frameworks::tower::Failure) -> String {
    use sealed_session::frameworks::tower::Failure;
    match failure {
        Failure::Load(_) => "load".to_owned(),
        Failure::Call(error) => format!("call: {:?}", error.kind()),
        _ => "save".to_owned(),
    }
}

/// At `/count`.
pub fn count(session: &Session) -> Result<String, SessionError> {
    session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    Ok(format!("visits: {:?}", session.get::<u32>("visits")?))
}

/// At `/too-much`, as the handler's error.
pub fn too_much(session: &Session) -> Result<String, SessionError> {
    session.insert("visits", 6)?;
    session.insert("large", "hunter2".repeat(1000))?;
    Ok("never".to_owned())
}

/// At `/wrong-type`, as the handler's error.
pub fn wrong_type(session: &Session) -> Result<String, SessionError> {
    session.insert("n", "text")?;
    session.get::<u32>("n").map(|_| "never".to_owned())
}

/// At `/both`.
pub fn both(visit: &TypedSession<Visit>, admin: &SessionOf<Admin>) -> Result<String, SessionError> {
    visit.update(|visit| visit.pages += 1)?;
    admin.insert("admin", true)?;
    let keys = visit.session().keys();
    Ok(format!("{} {keys:?}", visit.get()?.pages))
}

/// At `/login`.
pub fn log_in(session: &Session) -> Result<&'static str, SessionError> {
    session.log_in()?;
    session.insert(USER, 42)?;
    Ok("logged in")
}

static HELD: Mutex<Option<Session>> = Mutex::new(None);

/// At `/hold`.
pub fn hold(session: &Session) -> Result<&'static str, SessionError> {
    session.insert("visits", 3)?;
    *HELD.lock().unwrap() = Some(session.clone());
    Ok("held")
}

/// What `/cached` sends besides the session's headers, with [`count`] as its text.
pub const CACHED: [(&str, &str); 4] = [
    ("cache-control", "public, max-age=60"),
    ("cdn-cache-control", "public, max-age=600"),
    ("vary", "accept"),
    ("set-cookie", "other=kept"),
];

// Besides: `/untouched` asks for no session. `/read` takes it and answers "read". `/by-path` does
// the same, and is left idle by the layer. `/logout` destroys it and answers 500. Guarded are
// `/api`; `/profile`, whose guard redirects to `/login?next=` and its path; and `/polled`, whose
// guard leaves idle. They all answer "yours".

fn builder() -> CookieStoreBuilder {
    CookieStore::builder(AppKey::generate().unwrap())
}

fn store() -> CookieStore {
    builder().build().unwrap()
}

type Seen = Arc<Mutex<Vec<Event>>>;

/// A store that notes its events.
fn watched() -> (CookieStore, Seen) {
    let seen = Seen::default();
    let events = Arc::clone(&seen);
    let builder = builder().on_event(move |event| events.lock().unwrap().push(event));
    (builder.build().unwrap(), seen)
}

fn taken(seen: &Seen) -> Vec<Event> {
    std::mem::take(&mut seen.lock().unwrap())
}

/// Asserts that in debug builds the answer says this. Release builds tell the visitor nothing.
fn assert_explained(answer: &Answer, reason: &str) {
    if !cfg!(debug_assertions) {
        assert!(!answer.text.contains(reason), "{}", answer.text);
        return;
    }
    assert!(answer.text.contains(reason), "{}", answer.text);
    assert_eq!(answer.values("content-type"), ["text/plain; charset=utf-8"]);
    assert_eq!(answer.values("x-content-type-options"), ["nosniff"]);
}

pub fn a_handler_counts_the_visits_of_a_browser(start: Start) {
    let send = start(Layers::One(store()));
    let first = send("/count", &[]);
    assert_eq!(
        (first.status, first.text.as_str()),
        (200, "visits: Some(1)")
    );
    assert_eq!(first.values("cache-control"), ["private"]);
    assert_eq!(first.values("vary"), ["Cookie"]);
    let crumbs = [("cookie", "theme=dark"), ("cookie", first.cookie())];
    assert_eq!(send("/count", &crumbs).text, "visits: Some(2)");
}

pub fn a_session_joins_the_headers_that_the_handler_has_set(start: Start) {
    let send = start(Layers::One(store()));
    let cached = send("/cached", &[]);
    assert_eq!(cached.text, "visits: Some(1)");
    assert_eq!(cached.values("cache-control"), ["max-age=60, private"]);
    assert_eq!(cached.values("cdn-cache-control"), ["no-store"]);
    assert_eq!(cached.values("vary"), ["accept", "Cookie"]);
    let set_cookies = cached.values("set-cookie");
    assert_eq!(set_cookies[0], "other=kept");
    assert!(set_cookies[1].starts_with("__Host-session="));
    assert_eq!(set_cookies.len(), 2);
}

pub fn an_answer_for_which_nobody_asked_for_the_session_is_left_alone(start: Start) {
    let send = start(Layers::One(store()));
    let cookie = send("/count", &[]);
    for headers in [&[][..], &[("cookie", cookie.cookie())]] {
        let untouched = send("/untouched", headers);
        assert_eq!(untouched.text, "untouched");
        for name in ["vary", "set-cookie"] {
            assert_eq!(untouched.values(name), [""; 0], "{name}");
        }
    }
}

pub fn an_answer_that_only_reads_says_so_to_caches(start: Start) {
    let send = start(Layers::One(store()));
    let first = send("/count", &[]);
    let read = send("/read", &[("cookie", first.cookie())]);
    assert_eq!(read.text, "read");
    assert_eq!(read.values("vary"), ["Cookie"]);
    assert_eq!(read.values("cache-control"), ["private"]);
    assert_eq!(read.values("set-cookie"), [""; 0]);
}

pub fn without_the_layer_a_session_is_a_500(start: Start) {
    let send = start(Layers::None);
    for path in ["/count", "/both", "/api"] {
        let answer = send(path, &[]);
        assert_eq!(answer.status, 500, "{path}");
        if crate::EXPLAINS_WITHOUT_LAYER {
            assert_explained(&answer, "no session layer has seen the request");
        }
    }
    assert_eq!(send("/untouched", &[]).text, "untouched");
}

pub fn an_error_of_the_session_is_a_500_and_what_was_changed_is_saved(start: Start) {
    let (store, seen) = watched();
    let send = start(Layers::One(store));
    let answer = send("/too-much", &[]);
    assert_eq!(answer.status, 500);
    assert_explained(&answer, "\"large\": ");
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    assert_eq!(taken(&seen), [Event::TooLarge, Event::CallFailed]);
    let again = send("/count", &[("cookie", answer.cookie())]);
    assert_eq!(again.text, "visits: Some(7)");
}

pub fn the_error_handler_answers_for_handlers_and_extractors(start: Start) {
    let send = start(Layers::WithOnError(store()));
    let answer = send("/wrong-type", &[]);
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (503, "call: WrongType")
    );
    answer.cookie();
    assert_eq!(send("/count", &[]).text, "visits: Some(1)");
    let own = send("/logout", &[]);
    assert_eq!(own.status, 500, "an answer of the handler's own stays");
}

pub fn a_failed_save_replaces_the_answer_by_a_500_or_by_the_error_handlers(start: Start) {
    let memory = Memory::builder().max_sessions(1).build().unwrap();
    let store = ServerStore::new(AppKey::generate().unwrap(), memory);
    let plain = start(Layers::OfBackend(store.clone()));
    let hooked = start(Layers::OfBackendWithOnError(store));
    let only = plain("/count", &[]);
    assert_eq!(only.status, 200);

    let failed = plain("/count", &[]);
    assert_eq!(failed.status, 500);
    assert_explained(&failed, "1 sessions are in memory");
    assert_eq!(failed.values("set-cookie"), [""; 0]);
    let failed = hooked("/count", &[]);
    assert_eq!((failed.status, failed.text.as_str()), (503, "save"));
    assert_eq!(failed.values("set-cookie"), [""; 0]);
    assert_eq!(failed.values("vary"), ["Cookie"]);
    let again = hooked("/count", &[("cookie", only.cookie())]);
    assert_eq!(again.text, "visits: Some(2)");
}

pub fn a_second_layer_of_one_name_is_an_error_and_is_reported(start: Start) {
    let ((inner, seen), (outer, outside)) = (watched(), watched());
    let send = start(Layers::Two(inner, outer));
    for path in ["/count", "/api"] {
        let answer = send(path, &[]);
        assert_eq!(answer.status, 500, "{path}");
        assert_explained(&answer, "two session layers of the same name");
        assert_eq!(taken(&seen), [Event::LoadFailed], "{path}");
    }
    assert_eq!(taken(&outside), []);
}

pub fn a_logout_holds_whatever_the_status(start: Start) {
    let send = start(Layers::One(store()));
    let logged_in = send("/login", &[]);
    let logged_out = send("/logout", &[("cookie", logged_in.cookie())]);
    assert_eq!(logged_out.status, 500);
    assert_eq!(logged_out.cookie(), "__Host-session=");
}

pub fn typed_and_named_sessions_are_extractors(start: Start) {
    let send = start(Layers::One(store()));
    let answer = send("/both", &[]);
    assert_eq!(answer.text, "1 [\"pages\"]");
    let set_cookies = answer.values("set-cookie");
    let mut names: Vec<_> = set_cookies
        .iter()
        .map(|set_cookie| &set_cookie[..12])
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["__Host-admin", "__Host-sessi"]);
    let cookies: Vec<_> = set_cookies
        .iter()
        .map(|it| it.split(';').next().unwrap())
        .collect();
    let again = send("/both", &[("cookie", &cookies.join("; "))]);
    assert_eq!(again.text, "2 [\"pages\"]");
    assert_eq!(
        again.values("set-cookie").len(),
        1,
        "the admin's is as it was"
    );
}

pub fn a_guard_keeps_out_who_is_not_logged_in(start: Start) {
    let send = start(Layers::One(store()));
    let visited = send("/count", &[]);
    for headers in [&[][..], &[("cookie", visited.cookie())]] {
        assert_eq!(send("/api", headers).status, 401);
        let profile = send("/profile", headers);
        assert_eq!(profile.status, 303);
        assert_eq!(profile.values("location"), ["/login?next=/profile"]);
        assert_eq!(profile.values("vary"), ["Cookie"]);
    }
    let logged_in = send("/login", &[]);
    for path in ["/api", "/profile"] {
        let answer = send(path, &[("cookie", logged_in.cookie())]);
        assert_eq!((answer.status, answer.text.as_str()), (200, "yours"));
    }
}

pub fn who_has_a_session_reads_it_when_the_answer_has_left_and_changes_nothing(start: Start) {
    let send = start(Layers::One(store()));
    assert_eq!(send("/hold", &[]).text, "held");
    let session = HELD.lock().unwrap().take().unwrap();
    assert_eq!(session.get("visits"), Ok(Some(3)));
    let late = session.insert("visits", 4).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
}

pub fn a_token_in_a_header_goes_the_same_way(start: Start) {
    let store = builder().transport(Transport::bearer()).build().unwrap();
    let send = start(Layers::One(store));
    let first = send("/count", &[]);
    assert_eq!(first.values("set-cookie"), [""; 0]);
    let [token] = first.values("x-session-token")[..] else {
        panic!("{first:?}");
    };
    let bearer = format!("Bearer {token}");
    let second = send("/count", &[("authorization", &bearer)]);
    assert_eq!(second.text, "visits: Some(2)");
    assert_eq!(second.values("vary"), ["Authorization"]);
    let as_cookie = format!("x-session-token={token}");
    let third = send("/count", &[("cookie", &as_cookie)]);
    assert_eq!(third.text, "visits: Some(1)");
}

pub fn a_route_that_a_page_polls_does_not_keep_a_session_alive(start: Start) {
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
    let send = start(Layers::One(store));
    let logged_in = send("/login", &[]);
    let cookie = [("cookie", logged_in.cookie())];
    minutes.store(50, Ordering::Relaxed);
    for (path, text) in [("/polled", "yours"), ("/by-path", "read")] {
        let polled = send(path, &cookie);
        assert_eq!(polled.text, text, "{path}");
        assert_eq!(polled.values("set-cookie"), [""; 0], "{path}");
    }
    assert_eq!(send("/read", &cookie).values("set-cookie").len(), 1);
    minutes.store(60, Ordering::Relaxed);
    assert_eq!(send("/polled", &cookie).status, 401);
}

pub fn each_host_has_a_session_of_its_own(start: Start) {
    let key = AppKey::generate().unwrap();
    let send = start(Layers::OfHosts(HostStores::new(move |host| {
        let tenant = host.strip_suffix(".example.org");
        let store = |tenant| CookieStore::builder(key.clone()).context(tenant).build();
        tenant.map(store).transpose()
    })));
    let get = |host: &str, cookie: &str| send("/count", &[("host", host), ("cookie", cookie)]);
    let shop = get("shop.example.org:8443", "");
    let ask = |host: &str| get(host, shop.cookie());
    assert_eq!(ask("SHOP.example.org.").text, "visits: Some(2)");
    assert_eq!(ask("blog.example.org").text, "visits: Some(1)");
    let unknown = ask("evil.example");
    assert_eq!((unknown.status, unknown.text.as_str()), (503, "load"));
    assert_eq!(unknown.values("set-cookie"), [""; 0]);
}

macro_rules! behaviours {
    ($start:expr => $($sentence:ident)*) => {
        $(
            #[test]
            fn $sentence() {
                behaviours::$sentence($start);
            }
        )*
    };
    ($start:expr) => {
        behaviours! { $start =>
            a_handler_counts_the_visits_of_a_browser
            a_session_joins_the_headers_that_the_handler_has_set
            an_answer_for_which_nobody_asked_for_the_session_is_left_alone
            an_answer_that_only_reads_says_so_to_caches
            without_the_layer_a_session_is_a_500
            an_error_of_the_session_is_a_500_and_what_was_changed_is_saved
            the_error_handler_answers_for_handlers_and_extractors
            a_failed_save_replaces_the_answer_by_a_500_or_by_the_error_handlers
            a_second_layer_of_one_name_is_an_error_and_is_reported
            a_logout_holds_whatever_the_status
            typed_and_named_sessions_are_extractors
            a_guard_keeps_out_who_is_not_logged_in
            who_has_a_session_reads_it_when_the_answer_has_left_and_changes_nothing
            a_token_in_a_header_goes_the_same_way
            a_route_that_a_page_polls_does_not_keep_a_session_alive
            each_host_has_a_session_of_its_own
        }
    };
}
