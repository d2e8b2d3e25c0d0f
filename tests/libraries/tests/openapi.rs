//! Handlers that aide and utoipa document.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::openapi::OpenApi;
use sealed_session::{Session, SessionError, SessionOf, TypedSession};
use sealed_session_libraries::{Site, cookie, text};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

struct Admin;

/// Counts the visits of a browser.
#[utoipa::path(get, path = "/", responses((status = 200, body = String)))]
async fn count(session: Session) -> Result<String, SessionError> {
    sealed_session_libraries::count(&session)
}

#[tokio::test]
async fn a_handler_that_utoipa_documents_takes_the_session() {
    let (router, api) = OpenApiRouter::new()
        .routes(routes!(count))
        .split_for_parts();
    let documented = serde_json::to_value(api).unwrap();
    let operation = &documented["paths"]["/"]["get"];
    assert_eq!(operation["summary"], "Counts the visits of a browser.");
    assert!(operation.get("parameters").is_none(), "{operation}");

    let mut site = Site::new(router);
    let first = site.get("/", "").await;
    let second = site.get("/", &cookie(&first)).await;
    assert_eq!(text(second).await, "visits: Some(2)");
}

#[tokio::test]
async fn a_handler_that_aide_documents_takes_the_session_as_a_plain_argument() {
    async fn others(
        named: Option<SessionOf<Admin>>,
        typed: TypedSession<()>,
    ) -> Result<String, SessionError> {
        typed.session().insert("n", 1)?;
        Ok(named.is_none().to_string())
    }
    let mut api = OpenApi::default();
    let router = ApiRouter::new()
        .api_route(
            "/",
            get_with(count, |operation| operation.summary("Counts")),
        )
        .api_route("/others", aide::axum::routing::get(others))
        .finish_api(&mut api);
    let documented = serde_json::to_value(api).unwrap();
    let operation = &documented["paths"]["/"]["get"];
    assert_eq!(operation["summary"], "Counts");
    assert!(operation.get("parameters").is_none(), "{operation}");
    let failed = &operation["responses"]["500"]["description"];
    assert_eq!(failed, "the session could not be used", "{operation}");

    let mut site = Site::new(router);
    let first = site.get("/", "").await;
    let second = site.get("/", &cookie(&first)).await;
    assert_eq!(text(second).await, "visits: Some(2)");
    let others = site.get("/others", "").await;
    assert_eq!(text(others).await, "true");
}
