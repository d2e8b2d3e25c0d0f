//! One page that shows what a sealed session is.

mod page;
mod step;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Form, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use maud::Markup;
use sealed_session::frameworks::axum::{Failure, SessionLayer};
use sealed_session::{
    AppKey, ConfigError, CookieStore, DeviceBound, Field, KeyRing, Session, SessionError, SiteData,
};
use serde::Deserialize;

use page::{Copied, Page};
use step::{Did, STEP, Step};
pub use tls::Certificate;

const COOKIE_NAME: &str = "__Host-session";

/// The proof of a device, which goes with the session's cookie.
const PROOF_NAME: &str = "__Host-device-proof-session";

/// How long such a proof is good.
const PROOF_LIFETIME: Duration = Duration::from_secs(10 * 60);

const USER: Field<String> = Field::new("user");
const CART: Field<Vec<String>> = Field::new("cart");

/// The store, and the keys that it has: the first seals.
#[derive(Clone)]
struct Demo {
    store: CookieStore,
    keys: Arc<Mutex<Vec<AppKey>>>,
    /// How many seconds the service's clock is ahead, so that nobody has to wait.
    ahead: Arc<AtomicU64>,
    /// What the demo is served over, `http` or `https`.
    scheme: &'static str,
}

impl Demo {
    fn new(scheme: &'static str) -> Result<Self, Box<dyn std::error::Error>> {
        let key = AppKey::generate()?;
        let ahead = Arc::new(AtomicU64::new(0));
        let store = store(key.clone(), Arc::clone(&ahead))?;
        Ok(Self {
            store,
            keys: Arc::new(Mutex::new(vec![key])),
            ahead,
            scheme,
        })
    }

    fn keys(&self) -> Vec<AppKey> {
        self.keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts a fresh key in front. The last two still open.
    fn rotate(&self) -> Result<(), Box<dyn std::error::Error>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rotated = vec![AppKey::generate()?];
        rotated.extend(keys.iter().take(2).cloned());
        let mut ring = KeyRing::new(rotated[0].clone());
        for key in &rotated[1..] {
            ring = ring.accept(key.clone())?;
        }
        self.store.replace_keys(ring);
        *keys = rotated;
        Ok(())
    }
}

fn store(key: AppKey, ahead: Arc<AtomicU64>) -> Result<CookieStore, ConfigError> {
    CookieStore::builder(key)
        .device_bound(DeviceBound::default().proof_lifetime(PROOF_LIFETIME))
        // With `no-store`, Back shows nothing after a logout, however often it is pressed.
        .clear_site_data([SiteData::Cache])
        .clock(move || SystemTime::now() + Duration::from_secs(ahead.load(Ordering::Relaxed)))
        .build()
}

/// The whole application, with an app key of its own, for plain http.
///
/// # Errors
///
/// If the operating system has no random bytes.
pub fn app() -> Result<Router, Box<dyn std::error::Error>> {
    app_over("http")
}

/// The same, served over this scheme.
///
/// # Errors
///
/// As for [`app`].
pub fn app_over(scheme: &'static str) -> Result<Router, Box<dyn std::error::Error>> {
    let demo = Demo::new(scheme)?;
    let layer = SessionLayer::new(demo.store.clone()).on_error(broken);
    Ok(Router::new()
        .route("/", get(show))
        .route("/login", post(log_in))
        .route("/cart", post(add_to_cart))
        .route("/tamper", post(tamper))
        .route("/repair", post(repair))
        .route("/rotate", post(rotate))
        .route("/later", post(later))
        .route("/whoami", get(who_am_i))
        .route("/logout", post(log_out))
        .route("/favicon.ico", get(icon))
        // Nobody is left at an address that has no page.
        .fallback(async || Redirect::to("/"))
        .method_not_allowed_fallback(async || Redirect::to("/"))
        .with_state(demo)
        .layer(layer)
        .layer(middleware::map_response(keep_nothing)))
}

/// Pages of somebody who is logged in are not for the browser's cache.
async fn keep_nothing(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The reason is for the log, and the page for the visitor.
fn broken(failure: &Failure) -> Response {
    eprintln!("{failure:#}");
    (StatusCode::INTERNAL_SERVER_ERROR, page::broken()).into_response()
}

async fn icon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml")], page::ICON)
}

/// What the address says of the last step, where no flash can: the cookie was altered, or is gone.
#[derive(Clone, Copy, Default, Deserialize)]
struct Asked {
    /// Where the cookie was altered, and what was there.
    at: Option<usize>,
    was: Option<char>,
    /// The size of the cookie that a logout has removed.
    gone: Option<usize>,
}

#[derive(Deserialize)]
struct Altered {
    at: usize,
    was: char,
}

async fn show(
    State(demo): State<Demo>,
    session: Session,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Markup, SessionError> {
    let (token, keys) = (token(&headers), demo.keys());
    let step = Step::taken(&session)?;
    let copied = copied(&demo, &headers);
    let page = Page::of(&session, token, step, copied, &keys)?;
    let asked = asked.map_or_else(|_| Asked::default(), |Query(asked)| asked);
    Ok(page.render(asked))
}

#[derive(Deserialize)]
struct LogIn {
    name: String,
}

async fn log_in(
    session: Session,
    headers: HeaderMap,
    Form(form): Form<LogIn>,
) -> Result<Redirect, SessionError> {
    let name = form.name.trim();
    let name = if name.is_empty() { "Ada" } else { name };
    let name: String = name.chars().take(40).collect();
    // A new id for somebody with new rights: one that was planted before the login is worthless.
    session.log_in()?;
    session.insert(USER, name)?;
    session.flash(STEP, Step::now(Did::LoggedIn, token(&headers)))?;
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct AddToCart {
    items: usize,
}

async fn add_to_cart(
    session: Session,
    headers: HeaderMap,
    Form(form): Form<AddToCart>,
) -> Result<Redirect, SessionError> {
    let more = form.items.min(50);
    // Before the pots, so that there is room to say that there is none for them.
    session.flash(STEP, Step::now(Did::Added, token(&headers)))?;
    let added = session.update(CART, |cart| {
        let mut cart = cart.unwrap_or_default();
        let first = cart.len() + 1;
        cart.extend((first..first + more).map(|n| format!("pot of orange marmalade no. {n}")));
        cart
    });
    if added.is_err() {
        session.flash(STEP, Step::now(Did::Filled, token(&headers)))?;
    }
    Ok(Redirect::to("/"))
}

/// Answers with the visitor's own cookie, one character changed.
async fn tamper(headers: HeaderMap) -> Response {
    let Some(token) = token(&headers) else {
        return Redirect::to("/").into_response();
    };
    let at = token.len() / 2;
    let was = token.as_bytes()[at] as char;
    let new = if was == 'A' { 'B' } else { 'A' };
    let to = format!("/?at={at}&was={was}");
    (altered(token, at, new), Redirect::to(&to)).into_response()
}

/// Puts the character back.
async fn repair(headers: HeaderMap, Form(form): Form<Altered>) -> Response {
    let token =
        token(&headers).filter(|token| form.at < token.len() && form.was.is_ascii_graphic());
    let Some(token) = token else {
        return Redirect::to("/").into_response();
    };
    let Altered { at, was } = form;
    let to = Redirect::to(&format!("/?at={at}&was={was}"));
    (altered(token, at, was), to).into_response()
}

/// Sets the session's cookie as nobody but the visitor could: behind the layer's back.
fn altered(
    token: &str,
    at: usize,
    new: char,
) -> AppendHeaders<[(axum::http::HeaderName, String); 1]> {
    let token = format!("{}{new}{}", &token[..at], &token[at + 1..]);
    let cookie = format!("{COOKIE_NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Lax");
    AppendHeaders([(SET_COOKIE, cookie)])
}

async fn rotate(
    State(demo): State<Demo>,
    session: Session,
    headers: HeaderMap,
) -> Result<Response, SessionError> {
    if let Err(error) = demo.rotate() {
        eprintln!("{error}");
        return Ok((StatusCode::INTERNAL_SERVER_ERROR, page::broken()).into_response());
    }
    session.flash(STEP, Step::now(Did::Rotated, token(&headers)))?;
    Ok(Redirect::to("/").into_response())
}

/// Lets the time of a proof pass. The browser is asked for a new one, and goes on.
async fn later(
    State(demo): State<Demo>,
    session: Session,
    headers: HeaderMap,
) -> Result<Redirect, SessionError> {
    let seconds = PROOF_LIFETIME.as_secs();
    demo.ahead.fetch_add(seconds, Ordering::Relaxed);
    session.ask_for_device_proof();
    session.flash(STEP, Step::now(Did::Waited, token(&headers)))?;
    Ok(Redirect::to("/"))
}

/// For whoever has copied the cookies: a line of text.
async fn who_am_i(session: Session) -> Result<String, SessionError> {
    Ok(match session.get(USER)? {
        Some(user) => format!("You are {user}.\n"),
        None => format!("You are a guest: {:?}.\n", session.origin()),
    })
}

async fn log_out(session: Session, headers: HeaderMap) -> Redirect {
    session.destroy();
    let size = token(&headers).map_or(0, |token| COOKIE_NAME.len() + token.len());
    Redirect::to(&format!("/?gone={size}"))
}

/// The command that asks with copies of the visitor's cookies who he is.
fn copied(demo: &Demo, headers: &HeaderMap) -> Option<Copied> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let pairs = [COOKIE_NAME, PROOF_NAME].into_iter().filter_map(|name| {
        let value = cookie(headers, name)?;
        Some(format!("{name}={value}"))
    });
    let pairs = pairs.collect::<Vec<_>>().join("; ");
    let scheme = demo.scheme;
    let is_https = scheme == "https";
    let curl = if is_https { "curl -k" } else { "curl" };
    let command = format!("{curl} {scheme}://{host}/whoami -H 'Cookie: {pairs}'");
    Some(Copied { command, is_https })
}

/// The session's cookie as the browser sent it; to look at, not to trust.
fn token(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, COOKIE_NAME)
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok());
    let mut pairs = pairs
        .flat_map(|field| field.split("; "))
        .filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(of, token)| *of == name && token.is_ascii())
        .map(|(_, token)| token)
}
