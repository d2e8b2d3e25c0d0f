//! Messages from one request to the next, as in the example of axum-messages.

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use axum_messages::{Messages, MessagesManagerLayer};

pub fn app() -> Router {
    Router::new()
        .route("/", get(write))
        .route("/read-messages", get(read))
        .layer(MessagesManagerLayer)
}

async fn write(messages: Messages) -> Redirect {
    messages.info("Hello, world!").debug("For developers.");
    Redirect::to("/read-messages")
}

async fn read(messages: Messages) -> String {
    let lines: Vec<_> = messages
        .into_iter()
        .map(|message| format!("{}: {message}", message.level))
        .collect();
    if lines.is_empty() {
        return "none".to_owned();
    }
    lines.join(", ")
}
