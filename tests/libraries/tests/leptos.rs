//! Server functions of leptos.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use leptos::prelude::{ServerFnError, server};
use leptos_axum::{extract, handle_server_fns};
use sealed_session::Session;
use sealed_session_libraries::{Site, cookie, text};

#[server(endpoint = "count")]
async fn count() -> Result<String, ServerFnError> {
    let session: Session = extract().await?;
    Ok(sealed_session_libraries::count(&session)?)
}

fn routes() -> Router {
    Router::new().route("/api/{*function}", post(handle_server_fns))
}

#[tokio::test]
async fn a_server_function_reads_and_changes_the_session() {
    let mut site = Site::new(routes());
    let first = site.post("/api/count", "", "", &[]).await;
    let second = site.post("/api/count", &cookie(&first), "", &[]).await;
    assert_eq!(text(second).await, r#""visits: Some(2)""#);
}

#[tokio::test]
async fn a_server_function_without_the_layer_is_told_what_is_missing() {
    let answer = Site(routes()).post("/api/count", "", "", &[]).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let text = text(answer).await;
    assert!(text.contains("MissingLayer"), "{text}");
}
