//! Device-bound sessions in a real browser: headless Chromium over https, with software keys.

#[path = "support/browser.rs"]
#[expect(dead_code, reason = "the demo's own tests use the rest")]
mod support;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Router, middleware};
use fantoccini::Locator;
use sealed_session::frameworks::axum::{RequireDevice, SessionLayer};
use sealed_session::{
    AppKey, CookieStore, DeviceBound, DeviceSkip, Event, KeyRing, RevocationList, Session,
    SessionError,
};
use serde_json::json;
use support::Browser;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tower::ServiceExt;

const PROOF: &str = "__Host-device-proof-session";
const ENDPOINTS: &str = "/.device-bound-session";
const REGISTER: &str = "/.device-bound-session/register";
const REFRESH: &str = "/.device-bound-session/refresh";

const BOUND: &str = "42 bound";
const UNBOUND: &str = "42 unbound";
const GUEST: &str = "guest";

const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Strict: no script, no style. Tests fetch from within a page.
const POLICY: &str = "default-src 'none'; connect-src 'self'; frame-ancestors 'none'";

/// A service that is restarted and told the time by its tests.
#[derive(Clone)]
struct Site {
    key: AppKey,
    /// How far its clock is ahead.
    ahead: Arc<Mutex<Duration>>,
    list: Option<RevocationList>,
    running: Arc<Mutex<(CookieStore, Router)>>,
    events: Arc<Mutex<Vec<Event>>>,
    is_broken: Arc<AtomicBool>,
}

impl Site {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(list: Option<RevocationList>) -> Self {
        let key = AppKey::generate().unwrap();
        let (ahead, events) = (Arc::default(), Arc::default());
        let started = started(&key, list.as_ref(), &ahead, &events);
        Self {
            key,
            ahead,
            list,
            running: Arc::new(Mutex::new(started)),
            events,
            is_broken: Arc::default(),
        }
    }

    /// Starts again, with the same keys and nothing else.
    fn restart(&self) {
        let list = self.list.as_ref();
        *self.running.lock().unwrap() = started(&self.key, list, &self.ahead, &self.events);
    }

    fn app(&self) -> Router {
        let site = self.clone();
        let run = move |request: Request| {
            let router = site.running.lock().unwrap().1.clone();
            async move { router.oneshot(request).await }
        };
        Router::new()
            .fallback(run)
            .layer(from_fn_with_state(self.clone(), broken))
            .layer(middleware::map_response(strict))
    }

    fn store(&self) -> CookieStore {
        self.running.lock().unwrap().0.clone()
    }

    fn forward(&self, by: Duration) {
        *self.ahead.lock().unwrap() += by;
    }

    fn count(&self, event: Event) -> usize {
        let events = self.events.lock().unwrap();
        events.iter().filter(|known| **known == event).count()
    }

    /// Waits until this has happened so often.
    async fn wait_for(&self, event: Event, times: usize) {
        let wait = async {
            while self.count(event) < times {
                tokio::task::yield_now().await;
            }
        };
        let waited = timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("waited in vain for {event:?}: {:?}", self.events));
    }

    /// A browser that visits this site and has logged in and registered.
    async fn logged_in(&self) -> Browser {
        let browser = Browser::bound_to(self.app()).await;
        browser.go("/login").await;
        self.wait_for(Event::DeviceRegistered, 1).await;
        assert_eq!(page(&browser).await, BOUND);
        browser
    }
}

fn started(
    key: &AppKey,
    list: Option<&RevocationList>,
    ahead: &Arc<Mutex<Duration>>,
    events: &Arc<Mutex<Vec<Event>>>,
) -> (CookieStore, Router) {
    let (ahead, events) = (Arc::clone(ahead), Arc::clone(events));
    let mut builder = CookieStore::builder(key.clone())
        .device_bound(DeviceBound::default())
        .clock(move || SystemTime::now() + *ahead.lock().unwrap())
        .on_event(move |event| events.lock().unwrap().push(event));
    if let Some(list) = list {
        builder = builder.revocations(list.clone());
    }
    let store = builder.build().unwrap();
    let payment = RequireDevice::new().proven_within(Duration::from_secs(30));
    let router = Router::new()
        .route("/pay", get(who))
        .layer(payment)
        .route("/", get(who))
        .route("/login", get(log_in))
        .route("/logout", get(log_out))
        .fallback(async || Html("<!doctype html>nothing"))
        .layer(SessionLayer::new(store.clone()));
    (store, router)
}

async fn who(session: Session) -> Result<Html<String>, SessionError> {
    let text = match session.get::<u64>("user_id")? {
        Some(user) if session.is_device_bound() => format!("{user} bound"),
        Some(user) => format!("{user} unbound"),
        None => GUEST.to_owned(),
    };
    Ok(Html(format!("<!doctype html><p id=\"who\">{text}</p>")))
}

async fn log_in(session: Session) -> Result<Redirect, SessionError> {
    session.log_in().unwrap();
    session.set_subject("ada")?;
    session.insert("user_id", 42)?;
    Ok(Redirect::to("/"))
}

async fn log_out(session: Session) -> Redirect {
    session.destroy();
    Redirect::to("/")
}

async fn broken(State(site): State<Site>, request: Request, next: Next) -> Response {
    let is_endpoint = [REGISTER, REFRESH].contains(&request.uri().path());
    if is_endpoint && site.is_broken.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    next.run(request).await
}

async fn strict(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(POLICY);
    response
        .headers_mut()
        .insert("content-security-policy", policy);
    response
}

/// What a page says that is loaded now.
async fn page(browser: &Browser) -> String {
    browser.go("/").await;
    browser.text("#who").await
}

/// The same once the browser's proof is gone, as it is after some minutes.
async fn page_without_proof(browser: &Browser) -> String {
    browser.client.delete_cookie(PROOF).await.unwrap();
    page(browser).await
}

/// Fetches from within a page, all at once, and returns what the answers say.
async fn fetched(browser: &Browser, paths: &[&str]) -> Vec<String> {
    let script = "const [paths, done] = arguments;
        Promise.all(paths.map(path => fetch(path).then(it => it.text())))
            .then(done, error => done([String(error)]));";
    let texts = browser
        .client
        .execute_async(script, vec![json!(paths)])
        .await
        .unwrap();
    serde_json::from_value(texts).unwrap()
}

/// All cookies that the browser has, as a request to the endpoint carries them.
async fn jar(browser: &Browser) -> String {
    browser.go(&format!("{ENDPOINTS}/nothing")).await;
    let cookies = browser.client.get_all_cookies().await.unwrap();
    let pairs = cookies
        .iter()
        .map(|it| format!("{}={}", it.name(), it.value()));
    pairs.collect::<Vec<_>>().join("; ")
}

fn user(site: &Site, jar: &str) -> Option<u64> {
    site.store().load_from([jar]).get("user_id").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_registers_and_a_request_without_a_proof_is_held_back() {
    let site = Site::new();
    let browser = site.logged_in().await;
    assert_eq!(page(&browser).await, BOUND);
    assert_eq!(site.count(Event::DeviceRefreshed), 0);
    assert_eq!(page_without_proof(&browser).await, BOUND);
    assert_eq!(site.count(Event::DeviceRefreshed), 1);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_requests_at_once_cause_one_refresh() {
    let site = Site::new();
    let browser = site.logged_in().await;
    browser.client.delete_cookie(PROOF).await.unwrap();
    let texts = fetched(&browser, &["/"; 10]).await;
    assert_eq!(texts.len(), 10);
    assert!(texts.iter().all(|text| text.contains(BOUND)), "{texts:?}");
    assert_eq!(site.count(Event::DeviceRefreshed), 1);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_again_stays_bound() {
    let site = Site::new();
    let browser = site.logged_in().await;
    browser.go("/login").await;
    assert_eq!(page_without_proof(&browser).await, BOUND);
    assert_eq!(site.count(Event::DeviceRegistered), 1, "it keeps its key");
    // Out, and in again at once: the browser may still refresh for the old key.
    browser.client.delete_cookie(PROOF).await.unwrap();
    browser.go("/logout").await;
    assert_eq!(browser.text("#who").await, GUEST);
    browser.go("/login").await;
    site.wait_for(Event::DeviceRegistered, 2).await;
    assert_eq!(page_without_proof(&browser).await, BOUND);
    assert_eq!(page(&browser).await, BOUND);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_leaves_nothing_in_the_browser() {
    let site = Site::new();
    let browser = site.logged_in().await;
    assert_eq!(jar(&browser).await.split("; ").count(), 3);
    browser.go("/logout").await;
    assert_eq!(browser.text("#who").await, GUEST);
    assert_eq!(jar(&browser).await, "");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_is_started_again_has_its_key_still() {
    let site = Site::new();
    let browser = site.logged_in().await;
    // What is written to the disk last is written a while after it has changed.
    let browser = browser.restarted().await;
    browser.go("/").await;
    assert_eq!(page_without_proof(&browser).await, BOUND);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_key_is_rotated_and_the_server_restarted_while_a_session_is_bound() {
    let site = Site::new();
    let browser = site.logged_in().await;
    site.restart();
    assert_eq!(page_without_proof(&browser).await, BOUND);
    let new = AppKey::generate().unwrap();
    let both = KeyRing::new(new.clone()).accept(site.key.clone()).unwrap();
    site.store().replace_keys(both);
    assert_eq!(page_without_proof(&browser).await, BOUND);
    site.store().replace_keys(new);
    assert_eq!(page_without_proof(&browser).await, BOUND);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_with_all_cookies_has_ten_minutes_and_no_new_proof() {
    let site = Site::new();
    let browser = site.logged_in().await;
    let stolen = jar(&browser).await;
    assert_eq!(user(&site, &stolen), Some(42));
    site.forward(Duration::from_secs(10 * 60));
    assert_eq!(user(&site, &stolen), None);
    let store = site.store();
    let field = |name, value: &'static str| (name, value.as_bytes());
    let headers = [
        ("cookie", stolen.as_bytes()),
        field("sec-fetch-site", "same-origin"),
        field("secure-session-response", "e30.e30.AAAA"),
    ];
    let answer = store.device_answer("POST", REFRESH, headers).unwrap();
    assert!(!answer.headers().contains_key("set-cookie"));
    // The browser goes on.
    assert_eq!(page_without_proof(&browser).await, BOUND);
    assert_eq!(user(&site, &jar(&browser).await), Some(42));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_on_another_site_leads_to_a_page_that_knows_the_visitor() {
    let site = Site::new();
    let browser = site.logged_in().await;
    let link = format!(
        "<!doctype html><a id=\"link\" href=\"{}/\">a shop</a>",
        browser.url
    );
    let elsewhere = Router::new().route("/", get(async || Html(link)));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, elsewhere).await });

    browser.client.delete_cookie(PROOF).await.unwrap();
    browser.client.goto(&url).await.unwrap();
    let link = browser.client.find(Locator::Id("link")).await.unwrap();
    link.click().await.unwrap();
    assert_eq!(browser.text("#who").await, BOUND);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_has_signed_too_often_is_a_guest_until_it_logs_in() {
    let site = Site::new();
    let browser = site.logged_in().await;
    let skipped = Event::DeviceSkipped(DeviceSkip::Quota);
    let mut refreshed = 0;
    // What it has signed lately it can show again, and need not sign.
    let next = async || {
        site.forward(Duration::from_secs(10 * 60));
        page_without_proof(&browser).await
    };
    while next().await == BOUND {
        refreshed += 1;
        assert!(refreshed < 50, "there is a quota");
    }
    assert_eq!(refreshed, 5, "six signatures, the registration among them");
    assert_eq!(browser.text("#who").await, GUEST);
    assert!(site.count(skipped) >= 1);
    // It does not register either, and the new session works without.
    browser.go("/login").await;
    assert_eq!(page(&browser).await, UNBOUND);
    assert_eq!(site.count(Event::DeviceRegistered), 1);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_ends_nothing() {
    let site = Site::new();
    let browser = site.logged_in().await;
    site.is_broken.store(true, Ordering::Relaxed);
    assert_eq!(page_without_proof(&browser).await, GUEST);
    site.is_broken.store(false, Ordering::Relaxed);
    assert_eq!(page(&browser).await, BOUND);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_gets_a_new_proof_at_once() {
    let site = Site::new();
    let browser = site.logged_in().await;
    assert!(fetched(&browser, &["/pay"]).await[0].contains(BOUND));
    assert_eq!(site.count(Event::DeviceRefreshed), 0, "the proof is new");
    for times in 1..4 {
        site.forward(Duration::from_secs(31));
        assert!(fetched(&browser, &["/pay"]).await[0].contains(BOUND));
        assert_eq!(site.count(Event::DeviceRefreshed), times, "signed anew");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_list_a_copy_from_before_the_binding_ends() {
    let site = Site::with(Some(RevocationList::new()));
    let browser = Browser::bound_to(site.app()).await;
    site.is_broken.store(true, Ordering::Relaxed);
    browser.go("/login").await;
    let copied = jar(&browser).await;
    assert_eq!(user(&site, &copied), Some(42));
    site.is_broken.store(false, Ordering::Relaxed);
    // The browser does not try again: only the next login registers.
    browser.go("/login").await;
    site.wait_for(Event::DeviceRegistered, 1).await;
    let copied = jar(&browser).await;
    let before = copied
        .split("; ")
        .find(|pair| pair.starts_with("__Host-session="));
    let before = before.unwrap().to_owned();
    assert_eq!(page(&browser).await, BOUND);
    assert_eq!(user(&site, &before), None);
    assert_eq!(page(&browser).await, BOUND);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_demo_a_copy_of_the_cookies_works_until_ten_minutes_have_passed() {
    let app = sealed_session_demo::app().unwrap();
    let browser = Browser::bound_to(app.clone()).await;
    browser.go("/").await;
    browser.press("#login").await;
    while !browser.has("#bound").await {
        browser.go("/").await;
    }
    browser.go("/").await;
    let command = browser.text("#copied").await;
    let cookies = command.split_once("Cookie: ").unwrap().1;
    let cookies = cookies.trim_end_matches('\'').to_owned();
    let asked = async || {
        let request = axum::http::Request::get("/whoami").header("cookie", &cookies);
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let text = axum::body::to_bytes(response.into_body(), 1024)
            .await
            .unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    };
    assert_eq!(asked().await, "You are Ada.\n");
    browser.press("#later").await;
    assert_eq!(browser.text("#who").await, "You are Ada");
    assert!(browser.has("#bound").await);
    assert_eq!(asked().await, "You are a guest: Refused(Unproven).\n");
    browser.close().await;
}
