//! Device-bound sessions in each framework: the layer answers by itself, and the guard asks for a
//! new proof.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use actix_web::App;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use axum::body::{Body, to_bytes};
use axum::routing::get;
use axum::{Router, http::Request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use sealed_session::frameworks::{actix, axum as ours};
use sealed_session::{CookieStore, DeviceBound, Session};
use tower_service::Service;

const REGISTER: &str = "/.device-bound-session/register";
const REFRESH: &str = "/.device-bound-session/refresh";
const KEY: &str = "__Secure-device-key-session";
const PROOF: &str = "__Host-device-proof-session";

/// A store whose clock is moved on, and the cookies of a bound session.
struct Site {
    store: CookieStore,
    ahead: Arc<AtomicU64>,
    cookies: String,
}

impl Site {
    fn new() -> Self {
        let ahead = Arc::new(AtomicU64::new(0));
        let asked = Arc::clone(&ahead);
        let clock = move || SystemTime::now() + Duration::from_secs(asked.load(Ordering::Relaxed));
        let key = sealed_session::AppKey::generate().unwrap();
        let store = CookieStore::builder(key)
            .device_bound(DeviceBound::default())
            .clock(clock)
            .build()
            .unwrap();
        let session = store.load(&HeaderMap::new());
        session.set_subject("ada").unwrap();
        session.insert("user_id", 42).unwrap();
        let mut response = HeaderMap::new();
        store.save(&session, &mut response).unwrap();
        let mut cookies = set(&response);
        let offer = response["secure-session-registration"].to_str().unwrap();
        let jwt = registration(offer.split('"').nth(3).unwrap());
        let sent = cookies.join("; ");
        let headers = [
            ("cookie", sent.as_bytes()),
            ("sec-fetch-site", b"same-origin"),
            ("secure-session-response", jwt.as_bytes()),
        ];
        let answer = store.device_answer("POST", REGISTER, headers).unwrap();
        cookies.extend(set(answer.headers()));
        // The first page with the proof binds the session.
        let session = store.load_from([&cookies.join("; ")]);
        let mut response = HeaderMap::new();
        store.save(&session, &mut response).unwrap();
        cookies.retain(|pair| pair.starts_with(PROOF));
        cookies.extend(set(&response));
        Self {
            store,
            ahead,
            cookies: cookies.join("; "),
        }
    }

    fn forward(&self, seconds: u64) {
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn set(headers: &HeaderMap) -> Vec<String> {
    let fields = headers.get_all("set-cookie").iter();
    let pairs = fields.map(|field| field.to_str().unwrap().split(';').next().unwrap());
    pairs.map(str::to_owned).collect()
}

fn registration(challenge: &str) -> String {
    let key = SigningKey::from_slice(&[7; 32]).unwrap();
    let point = key.verifying_key().to_sec1_point(false);
    let [x, y] = [point.x(), point.y()].map(|part| URL_SAFE_NO_PAD.encode(part.unwrap()));
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let header = format!(r#"{{"alg":"ES256","jwk":{jwk},"typ":"dbsc+jwt"}}"#);
    let claims = format!(r#"{{"jti":"{challenge}"}}"#);
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = format!("{header}.{claims}");
    let signature: Signature = key.sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// An answer: status, `Location`, names of cookies that are removed, and text.
type Answer = (u16, Option<String>, Vec<String>, String);

const HERE: &[(&str, &str)] = &[("sec-fetch-site", "same-origin")];
const LINK: &[(&str, &str)] = &[
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

/// Asks an application, whichever framework it is made with, and checks what it says.
async fn holds(
    site: &Site,
    ask: impl AsyncFn(&'static str, &'static str, &'static [(&str, &str)], &str) -> Answer,
) {
    let cookies = &site.cookies;
    let text = |text: &str| (200, None, Vec::new(), text.to_owned());
    assert_eq!(ask("GET", "/who", HERE, cookies).await, text("true"));
    assert_eq!(
        ask("GET", "/shop/pay?n=1", HERE, cookies).await,
        text("true")
    );
    let (status, _, removed, end) = ask("POST", REFRESH, HERE, "").await;
    assert_eq!((status, end.as_str()), (200, r#"{"continue":false}"#));
    assert_eq!(removed, [PROOF, KEY]);
    assert_eq!(ask("GET", REFRESH, HERE, cookies).await.0, 405);

    site.forward(31);
    let (status, to, removed, _) = ask("GET", "/shop/pay?n=1", HERE, cookies).await;
    assert_eq!((status, to.as_deref()), (307, Some("./pay?n=1")));
    assert_eq!(removed, [PROOF]);
    assert_eq!(ask("GET", "/shop/pay?n=1", LINK, cookies).await.0, 401);

    site.forward(600);
    assert_eq!(ask("GET", "/shop/pay?n=1", HERE, cookies).await.0, 401);
    assert_eq!(ask("GET", "/who", HERE, cookies).await.3, "false");
    let page = ask("GET", "/who", LINK, cookies).await;
    assert!(
        page.0 == 200 && page.3.starts_with("<!doctype html>"),
        "{page:?}"
    );
}

fn removed<'h>(fields: impl Iterator<Item = &'h str>) -> Vec<String> {
    let removed = fields.filter_map(|field| Some(field.split_once("=;")?.0.to_owned()));
    removed.collect()
}

async fn who(session: Session) -> String {
    session.is_device_bound().to_string()
}

#[actix_web::test]
async fn the_layer_and_the_guard_answer_in_axum() {
    let site = Site::new();
    let guard = ours::RequireDevice::new().proven_within(Duration::from_secs(30));
    let shop = Router::new().route("/pay", get(who)).layer(guard);
    let app = Router::new()
        .route("/who", get(who))
        .nest("/shop", shop)
        .layer(ours::SessionLayer::new(site.store.clone()));
    holds(&site, async |method, uri, fields, cookies| {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields.iter().copied().chain([("cookie", cookies)]) {
            request = request.header(name, value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = app.clone().call(request).await.unwrap();
        let headers = response.headers();
        let location = headers
            .get("location")
            .map(|it| it.to_str().unwrap().to_owned());
        let fields = headers.get_all("set-cookie").iter();
        let removed = removed(fields.map(|field| field.to_str().unwrap()));
        let status = response.status().as_u16();
        let text = to_bytes(response.into_body(), 4096).await.unwrap();
        (
            status,
            location,
            removed,
            String::from_utf8(text.to_vec()).unwrap(),
        )
    })
    .await;
}

#[actix_web::test]
async fn the_layer_and_the_guard_answer_in_actix() {
    let site = Site::new();
    let guard = actix::RequireDevice::new().proven_within(Duration::from_secs(30));
    let shop = actix_web::web::scope("/shop").wrap(guard);
    let app = App::new()
        .route("/who", actix_web::web::get().to(who))
        .service(shop.route("/pay", actix_web::web::get().to(who)))
        .wrap(actix::SessionLayer::new(site.store.clone()));
    let app = init_service(app).await;
    holds(&site, async |method, uri, fields, cookies| {
        let mut request = TestRequest::with_uri(uri).method(method.parse().unwrap());
        for field in fields.iter().copied().chain([("cookie", cookies)]) {
            request = request.append_header(field);
        }
        let response = call_service(&app, request.to_request()).await;
        let headers = response.headers();
        let location = headers
            .get("location")
            .map(|it| it.to_str().unwrap().to_owned());
        let fields = headers.get_all("set-cookie");
        let removed = removed(fields.map(|field| field.to_str().unwrap()));
        let status = response.status().as_u16();
        let text = read_body(response).await;
        (
            status,
            location,
            removed,
            String::from_utf8(text.to_vec()).unwrap(),
        )
    })
    .await;
}

#[tokio::test]
async fn the_layer_and_the_guard_answer_in_poem() {
    use poem::{Endpoint, EndpointExt, FromRequest, Request, Route};

    let endpoint = || {
        poem::endpoint::make(|request: Request| async move {
            let session = Session::from_request_without_body(&request).await?;
            Ok::<_, poem::Error>(who(session).await)
        })
    };
    let site = Site::new();
    let guard = ours::RequireDevice::new().proven_within(Duration::from_secs(30));
    let app = Route::new()
        .at("/who", endpoint())
        .nest("/shop", Route::new().at("/pay", endpoint()).with(guard))
        .with(ours::SessionLayer::new(site.store.clone()));
    holds(&site, async |method, uri, fields, cookies| {
        let uri: poem::http::Uri = uri.parse().unwrap();
        let mut request = Request::builder().method(method.parse().unwrap()).uri(uri);
        for (name, value) in fields.iter().copied().chain([("cookie", cookies)]) {
            request = request.header(name, value);
        }
        let response = app.get_response(request.finish()).await;
        let headers = response.headers();
        let location = headers
            .get("location")
            .map(|it| it.to_str().unwrap().to_owned());
        let fields = headers.get_all("set-cookie").iter();
        let removed = removed(fields.map(|field| field.to_str().unwrap()));
        let status = response.status().as_u16();
        let text = response.into_body().into_string().await.unwrap();
        (status, location, removed, text)
    })
    .await;
}

#[rocket::get("/who")]
async fn who_in_rocket(session: Session) -> String {
    who(session).await
}

#[rocket::get("/pay")]
async fn pay_in_rocket(session: Session) -> String {
    who(session).await
}

#[tokio::test]
async fn the_layer_and_the_guard_answer_in_rocket() {
    use rocket::http::Header;
    use rocket::local::asynchronous::Client;

    let site = Site::new();
    let guard = ours::RequireDevice::new().proven_within(Duration::from_secs(30));
    let config = rocket::Config {
        log_level: rocket::config::LogLevel::Off,
        ..rocket::Config::debug_default()
    };
    let app = rocket::custom(config)
        .attach(ours::SessionLayer::new(site.store.clone()))
        .mount("/", rocket::routes![who_in_rocket])
        .mount("/shop", guard.guard(rocket::routes![pay_in_rocket]));
    let client = Client::untracked(app).await.unwrap();
    holds(&site, async |method, uri, fields, cookies| {
        let method: rocket::http::Method = method.parse().unwrap();
        let mut request = client.req(method, uri.to_owned());
        for (name, value) in fields.iter().copied().chain([("cookie", cookies)]) {
            request.add_header(Header::new(name.to_owned(), value.to_owned()));
        }
        let response = request.dispatch().await;
        let headers = response.headers();
        let location = headers.get_one("location").map(ToOwned::to_owned);
        let removed = removed(headers.get("set-cookie"));
        let status = response.status().code;
        let text = response.into_string().await.unwrap_or_default();
        (status, location, removed, text)
    })
    .await;
}

mod in_salvo {
    use salvo::prelude::*;
    use sealed_session::Session;

    #[handler]
    pub(super) async fn page(session: Session) -> String {
        super::who(session).await
    }
}

#[tokio::test]
async fn the_layer_and_the_guard_answer_in_salvo() {
    use salvo::prelude::{Router, Service};
    use salvo::test::{RequestBuilder, ResponseExt};

    let site = Site::new();
    let guard = ours::RequireDevice::new().proven_within(Duration::from_secs(30));
    let layer = ours::SessionLayer::new(site.store.clone());
    let shop = Router::with_path("shop").hoop(guard);
    let router = Router::new()
        .push(Router::with_path("who").get(in_salvo::page))
        .push(shop.push(Router::with_path("pay").get(in_salvo::page)));
    let app = Service::new(router).hoop(layer);
    holds(&site, async |method, uri, fields, cookies| {
        let method: http::Method = method.parse().unwrap();
        let mut request = RequestBuilder::new(format!("http://localhost{uri}"), method);
        for (name, value) in fields.iter().copied().chain([("cookie", cookies)]) {
            request = request.add_header(name, value, false);
        }
        let mut response = request.send(&app).await;
        let headers = response.headers();
        let location = headers
            .get("location")
            .map(|it| it.to_str().unwrap().to_owned());
        let fields = headers.get_all("set-cookie").iter();
        let removed = removed(fields.map(|field| field.to_str().unwrap()));
        let status = response.status_code.unwrap().as_u16();
        let text = response.take_string().await.unwrap_or_default();
        (status, location, removed, text)
    })
    .await;
}
