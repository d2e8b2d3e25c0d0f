//! Resolvers of async-graphql.

use async_graphql::{Context, EmptyMutation, EmptySubscription, Object, Request, Result, Schema};
use axum::routing::post;
use axum::{Json, Router};
use sealed_session::Session;
use sealed_session_libraries::{Site, cookie, text};
use serde_json::json;

struct Query;

#[Object]
impl Query {
    async fn count(&self, context: &Context<'_>) -> Result<String> {
        let session: &Session = context.data()?;
        Ok(sealed_session_libraries::count(session)?)
    }
}

async fn graphql(session: Session, query: String) -> Json<async_graphql::Response> {
    let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
    Json(schema.execute(Request::new(query).data(session)).await)
}

#[tokio::test]
async fn a_resolver_takes_the_session_from_the_data_of_its_request() {
    let mut site = Site::new(Router::new().route("/", post(graphql)));
    let first = site.post("/", "", "{ count }", &[]).await;
    let second = site.post("/", &cookie(&first), "{ count }", &[]).await;
    let answer: serde_json::Value = serde_json::from_str(&text(second).await).unwrap();
    assert_eq!(answer, json!({"data": {"count": "visits: Some(2)"}}));
}
