//! axum-oidc: who is not logged in is sent to an OpenID provider, and what the login needs is kept
//! in our session. The provider is on loopback.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::error_handling::HandleErrorLayer;
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use axum_oidc::error::MiddlewareError;
use axum_oidc::{
    EmptyAdditionalClaims, OidcAuthLayer, OidcClaims, OidcClient, OidcLoginLayer,
    OidcRpInitiatedLogout,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use sealed_session::frameworks::tower::Sessions;
use sealed_session::frameworks::tower_sessions::TowerSessionsLayer;
use sealed_session::server::Memory;
use sealed_session::{AppKey, CookieStore, MemoryStore, Session, SessionError};
use sealed_session_ecosystem::browser::Browser;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tower::ServiceBuilder;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the provider is asked in the browser.
#[derive(Deserialize)]
struct Asked {
    client_id: String,
    redirect_uri: String,
    state: String,
    nonce: String,
    code_challenge: String,
}

/// A provider that knows one user, who is logged in there.
#[derive(Clone)]
struct Provider {
    issuer: String,
    access_token: String,
    asked: Arc<Mutex<HashMap<String, Asked>>>,
}

impl Provider {
    /// Listens on loopback.
    async fn start(access_token: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            access_token,
            asked: Arc::default(),
        };
        tokio::spawn(axum::serve(listener, provider.routes()).into_future());
        provider
    }

    fn routes(&self) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(self.clone())
    }
}

async fn configuration(State(provider): State<Provider>) -> Json<Value> {
    let at = |path| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/keys"),
        "end_session_endpoint": at("/logout"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

fn key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

async fn keys() -> Json<Value> {
    let point = key().verifying_key().to_sec1_point(false);
    let [x, y] = [point.x(), point.y()].map(|part| encode(part.unwrap()));
    let key = json!({ "kty": "EC", "crv": "P-256", "use": "sig", "x": x, "y": y });
    Json(json!({ "keys": [key] }))
}

async fn authorize(State(provider): State<Provider>, Query(asked): Query<Asked>) -> Redirect {
    let mut all = provider.asked.lock().unwrap();
    let code = format!("code{}", all.len());
    let back = format!("{}?code={code}&state={}", asked.redirect_uri, asked.state);
    all.insert(code, asked);
    Redirect::to(&back)
}

#[derive(Deserialize)]
struct Exchange {
    code: String,
    code_verifier: String,
}

async fn token(
    State(provider): State<Provider>,
    Form(exchange): Form<Exchange>,
) -> Result<Json<Value>, StatusCode> {
    let asked = provider.asked.lock().unwrap().remove(&exchange.code);
    let challenge = encode(Sha256::digest(exchange.code_verifier));
    let asked = asked.filter(|asked| asked.code_challenge == challenge);
    let asked = asked.ok_or(StatusCode::BAD_REQUEST)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = json!({
        "iss": provider.issuer,
        "sub": "ada",
        "aud": asked.client_id,
        "nonce": asked.nonce,
        "iat": now.as_secs(),
        "exp": now.as_secs() + 3600,
    });
    let header = json!({ "alg": "ES256" });
    let signed = [header, claims].map(|part| encode(part.to_string()));
    let signed = signed.join(".");
    let signature: Signature = key().sign(signed.as_bytes());
    Ok(Json(json!({
        "access_token": provider.access_token,
        "token_type": "Bearer",
        "id_token": format!("{signed}.{}", encode(signature.to_bytes())),
    })))
}

type Claims = OidcClaims<EmptyAdditionalClaims>;

async fn greet(claims: Option<Claims>) -> String {
    let name = claims.map(|claims| claims.subject().to_string());
    format!("hello {}", name.as_deref().unwrap_or("stranger"))
}

async fn log_out(logout: OidcRpInitiatedLogout) -> OidcRpInitiatedLogout {
    logout
}

/// What axum-oidc keeps, as our session has it.
async fn kept(session: Session) -> Result<Json<Option<Value>>, SessionError> {
    Ok(Json(session.get("axum-oidc")?))
}

async fn refuse(error: MiddlewareError) -> impl IntoResponse {
    (StatusCode::BAD_REQUEST, error.to_string())
}

/// An application as axum-oidc's examples have it: only the line of the session layer is ours.
async fn app(provider: &Provider, store: impl Sessions) -> Router {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let client = OidcClient::<EmptyAdditionalClaims>::discover_new_with_client(
        Uri::from_static("https://app.example"),
        provider.issuer.clone(),
        "app".to_owned(),
        None,
        Vec::new(),
        &http,
    );
    let client = client.await.unwrap();
    let login = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(refuse))
        .layer(OidcLoginLayer::<EmptyAdditionalClaims>::new());
    let auth = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(refuse))
        .layer(OidcAuthLayer::new(client));
    Router::new()
        .route("/members", get(greet))
        .route("/logout", get(log_out))
        .layer(login)
        .route("/", get(greet))
        .route("/kept", get(kept))
        .layer(auth)
        .layer(TowerSessionsLayer::new(store))
}

fn path_of(location: &str) -> String {
    let uri: Uri = location.parse().unwrap();
    uri.path_and_query().unwrap().to_string()
}

/// Has the browser sent to the provider, and gives where the provider sends it back to.
async fn begin(provider: &Provider, browser: &mut Browser) -> String {
    let page = browser.get("/members").await;
    assert_eq!(page.status, StatusCode::TEMPORARY_REDIRECT, "{}", page.text);
    assert!(page.location.starts_with(&provider.issuer));
    let mut at_the_provider = Browser::new(provider.routes());
    let page = at_the_provider.get(&path_of(&page.location)).await;
    path_of(&page.location)
}

async fn the_story_of_a_login(store: impl Sessions) {
    let provider = Provider::start("opaque".to_owned()).await;
    let mut browser = Browser::new(app(&provider, store).await);
    assert_eq!(browser.get("/").await.text, "hello stranger");
    assert!(browser.jar.is_empty());

    let back = begin(&provider, &mut browser).await;
    let kept: Value = serde_json::from_str(&browser.get("/kept").await.text).unwrap();
    assert!(
        back.ends_with(kept["csrf_token"].as_str().unwrap()),
        "{back}"
    );
    let nonces: Vec<_> = {
        let asked = provider.asked.lock().unwrap();
        asked.values().map(|asked| asked.nonce.clone()).collect()
    };
    assert_eq!(nonces, [kept["nonce"].as_str().unwrap()]);

    let page = browser.get(&back).await;
    assert_eq!(
        page.location, "https://app.example/members",
        "{}",
        page.text
    );
    assert_eq!(browser.get("/members").await.text, "hello ada");
    assert_eq!(browser.get("/").await.text, "hello ada");

    let page = browser.get("/logout").await;
    assert!(page.location.contains("/logout?id_token_hint="));
    assert_eq!(browser.get("/").await.text, "hello stranger");
}

async fn the_answer_to_one_browser_is_worth_nothing_in_another(store: impl Sessions) {
    let provider = Provider::start("opaque".to_owned()).await;
    let app = app(&provider, store).await;
    let back = begin(&provider, &mut Browser::new(app.clone())).await;

    let mut other = Browser::new(app);
    let page = other.get(&back).await;
    assert!(page.location.starts_with(&provider.issuer), "{}", page.text);
    let page = other.get(&back).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert_eq!(other.get("/").await.text, "hello stranger");
}

fn cookies() -> CookieStore {
    CookieStore::new(AppKey::generate().unwrap())
}

fn memory() -> MemoryStore {
    MemoryStore::new(AppKey::generate().unwrap(), Memory::new())
}

#[tokio::test]
async fn somebody_logs_in_with_sessions_in_cookies() {
    the_story_of_a_login(cookies()).await;
}

#[tokio::test]
async fn somebody_logs_in_with_sessions_in_a_backend() {
    the_story_of_a_login(memory()).await;
}

#[tokio::test]
async fn another_browser_cannot_use_the_answer_with_sessions_in_cookies() {
    the_answer_to_one_browser_is_worth_nothing_in_another(cookies()).await;
}

#[tokio::test]
async fn another_browser_cannot_use_the_answer_with_sessions_in_a_backend() {
    the_answer_to_one_browser_is_worth_nothing_in_another(memory()).await;
}

#[tokio::test]
async fn a_provider_with_long_tokens_needs_a_backend() {
    let provider = Provider::start("x".repeat(5000)).await;
    let mut browser = Browser::new(app(&provider, cookies()).await);
    let back = begin(&provider, &mut browser).await;
    let page = browser.get(&back).await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(browser.get("/").await.text, "hello stranger");

    let mut browser = Browser::new(app(&provider, memory()).await);
    let back = begin(&provider, &mut browser).await;
    browser.get(&back).await;
    assert_eq!(browser.get("/members").await.text, "hello ada");
}
