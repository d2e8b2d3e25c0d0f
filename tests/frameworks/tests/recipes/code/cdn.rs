use axum::Router;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::get;
use sealed_session::{CookieStore, Session, SessionError, SessionLayer};

pub fn app(store: CookieStore) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/greeting", get(greeting))
        .layer(SessionLayer::new(store))
}

/// The same for everybody, so it takes no session. A script puts the greeting in.
async fn front() -> impl IntoResponse {
    let for_a_minute = [(CACHE_CONTROL, "public, max-age=60")];
    (for_a_minute, r#"<p id="greeting"></p>"#)
}

/// Somebody's own: it takes the session, so the answer is `private`.
async fn greeting(session: Session) -> Result<String, SessionError> {
    let name: Option<String> = session.get("name")?;
    Ok(format!("hello, {}", name.as_deref().unwrap_or("stranger")))
}
