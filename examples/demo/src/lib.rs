//! One page that shows what a sealed session is.

mod page;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::extract::{Form, State};
use axum::http::header::{CACHE_CONTROL, COOKIE, HOST, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use sealed_session::frameworks::axum::SessionLayer;
use sealed_session::{
    AppKey, ConfigError, CookieStore, DeviceBound, Field, KeyRing, Session, SessionError,
};
use serde::Deserialize;

use page::Page;
pub use tls::Certificate;

const COOKIE_NAME: &str = "__Host-session";

/// The proof of a device, which goes with the session's cookie.
const PROOF_NAME: &str = "__Host-device-proof-session";

/// How long such a proof is good.
const PROOF_LIFETIME: Duration = Duration::from_secs(10 * 60);

const USER: Field<String> = Field::new("user");
const CART: Field<Vec<String>> = Field::new("cart");
const NOTICE: Field<String> = Field::new("notice");

/// The store, and the keys that it has: the first seals.
#[derive(Clone)]
struct Demo {
    store: CookieStore,
    keys: Arc<Mutex<Vec<AppKey>>>,
    /// How many seconds the service's clock is ahead, so that nobody has to wait.
    ahead: Arc<AtomicU64>,
}

impl Demo {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let key = AppKey::generate()?;
        let ahead = Arc::new(AtomicU64::new(0));
        let store = store(key.clone(), Arc::clone(&ahead))?;
        Ok(Self {
            store,
            keys: Arc::new(Mutex::new(vec![key])),
            ahead,
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
        .clock(move || SystemTime::now() + Duration::from_secs(ahead.load(Ordering::Relaxed)))
        .build()
}

/// The whole application, with an app key of its own.
///
/// # Errors
///
/// If the operating system has no random bytes.
pub fn app() -> Result<Router, Box<dyn std::error::Error>> {
    let demo = Demo::new()?;
    let layer = SessionLayer::new(demo.store.clone());
    Ok(Router::new()
        .route("/", get(show))
        .route("/login", post(log_in))
        .route("/cart", post(add_to_cart))
        .route("/tamper", post(tamper))
        .route("/rotate", post(rotate))
        .route("/later", post(later))
        .route("/whoami", get(who_am_i))
        .route("/logout", post(log_out))
        .with_state(demo)
        .layer(layer)
        .layer(middleware::map_response(keep_nothing)))
}

/// Pages of somebody who is logged in are not for the browser's cache: after a logout the back
/// button shows none of them.
async fn keep_nothing(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn show(
    State(demo): State<Demo>,
    session: Session,
    headers: HeaderMap,
) -> Result<Response, SessionError> {
    let notice = session.take_flash(NOTICE)?;
    Ok(page(&demo, &session, &headers)?
        .render(notice.as_deref(), None)
        .into_response())
}

#[derive(Deserialize)]
struct LogIn {
    name: String,
}

async fn log_in(session: Session, Form(form): Form<LogIn>) -> Result<Redirect, SessionError> {
    let name = form.name.trim();
    let name: String = if name.is_empty() { "Ada" } else { name }
        .chars()
        .take(40)
        .collect();
    // A new id for somebody with new rights: one that was planted before the login is worthless.
    session.log_in()?;
    session.insert(USER, name.clone())?;
    session.flash(
        NOTICE,
        format!("Welcome, {name}. This message is a flash: reload and it is gone."),
    )?;
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct AddToCart {
    items: usize,
}

async fn add_to_cart(
    State(demo): State<Demo>,
    session: Session,
    headers: HeaderMap,
    Form(form): Form<AddToCart>,
) -> Result<Response, SessionError> {
    let more = form.items.min(50);
    let added = session.update(CART, |cart| {
        let mut cart = cart.unwrap_or_default();
        let first = cart.len() + 1;
        cart.extend((first..first + more).map(|n| format!("pot of orange marmalade no. {n}")));
        cart
    });
    let Err(error) = added else {
        return Ok(Redirect::to("/").into_response());
    };
    let page = page(&demo, &session, &headers)?;
    let body = page.render(None, Some(&error.to_string()));
    Ok((StatusCode::CONFLICT, body).into_response())
}

/// Answers with the visitor's own cookie, one bit of it flipped.
async fn tamper(headers: HeaderMap) -> Response {
    let Some(token) = token(&headers) else {
        return Redirect::to("/").into_response();
    };
    let middle = token.len() / 2;
    let flipped = if token.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    let token = format!("{}{flipped}{}", &token[..middle], &token[middle + 1..]);
    let cookie = format!("{COOKIE_NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Lax");
    (AppendHeaders([(SET_COOKIE, cookie)]), Redirect::to("/")).into_response()
}

async fn rotate(State(demo): State<Demo>) -> Response {
    match demo.rotate() {
        Ok(()) => Redirect::to("/").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Lets the time of a proof pass. The browser is asked for a new one, and goes on.
async fn later(State(demo): State<Demo>, session: Session) -> Redirect {
    let seconds = PROOF_LIFETIME.as_secs();
    demo.ahead.fetch_add(seconds, Ordering::Relaxed);
    session.ask_for_device_proof();
    Redirect::to("/")
}

/// For whoever has copied the cookies: a line of text.
async fn who_am_i(session: Session) -> Result<String, SessionError> {
    Ok(match session.get(USER)? {
        Some(user) => format!("You are {user}.\n"),
        None => format!("You are a guest: {:?}.\n", session.origin()),
    })
}

async fn log_out(session: Session) -> Redirect {
    session.destroy();
    Redirect::to("/")
}

fn page<'a>(
    demo: &Demo,
    session: &Session,
    headers: &'a HeaderMap,
) -> Result<Page<'a>, SessionError> {
    let copied = copied(headers);
    Page::of(session, token(headers), copied, &demo.keys())
}

/// The command that asks with copies of the visitor's cookies who he is.
fn copied(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let pairs = [COOKIE_NAME, PROOF_NAME].into_iter().filter_map(|name| {
        let value = cookie(headers, name)?;
        Some(format!("{name}={value}"))
    });
    let pairs = pairs.collect::<Vec<_>>().join("; ");
    Some(format!(
        "curl -k https://{host}/whoami -H 'Cookie: {pairs}'"
    ))
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
