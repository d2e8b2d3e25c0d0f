use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::map_response;
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use sealed_session::{
    ConfigError, CookieStore, KeyRing, Session, SessionError, SessionLayer, SiteData,
};

pub fn app(keys: KeyRing) -> Result<Router, ConfigError> {
    let store = CookieStore::builder(keys)
        .clear_site_data([SiteData::Cache]) // the pages before the last one
        .build()?;
    Ok(Router::new()
        .route("/account", get(account))
        .route_layer(map_response(no_store)) // the page that the visitor logs out from
        .route("/logout", post(log_out))
        .layer(SessionLayer::new(store)))
}

async fn no_store(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

async fn account(session: Session) -> Result<String, SessionError> {
    let name: Option<String> = session.get("name")?;
    Ok(format!("hello, {}", name.as_deref().unwrap_or("stranger")))
}

async fn log_out(session: Session) -> Redirect {
    session.destroy();
    Redirect::to("/")
}
