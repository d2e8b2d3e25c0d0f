//! "Where you are logged in": a page with a visitor's sessions, and buttons that end one of them or
//! all others. SESSION_DRIVER says where sessions are: memory, file or redis. Sessions in cookies
//! cannot be listed.

use std::error::Error;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Form, State};
use axum::http::{StatusCode, request};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use sealed_session::frameworks::tower::RequireLogin;
use sealed_session::server::{BackendError, BackendErrorKind, SessionInfo};
use sealed_session::{AnyStore, Session, SessionError, SessionId, SessionLayer};
use serde::Deserialize;
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct LogIn {
    name: String,
    device: String,
}

#[derive(Deserialize)]
struct End {
    id: String,
}

/// What a handler answers if it cannot do what it should.
enum Problem {
    NotLoggedIn,
    Session(SessionError),
    Store(BackendError),
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self {
            Self::NotLoggedIn => StatusCode::UNAUTHORIZED.into_response(),
            Self::Session(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
            Self::Store(error) => {
                let status = match error.kind() {
                    BackendErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                (status, error.to_string()).into_response()
            }
        }
    }
}

/// Whose session this is. No form says it: a visitor could write anybody's name there.
fn visitor(session: &Session) -> Result<String, Problem> {
    session.subject().ok_or(Problem::NotLoggedIn)
}

// A real login checks a password here, and takes the device's name from the header User-Agent.
async fn log_in(session: Session, Form(form): Form<LogIn>) -> Result<Redirect, Problem> {
    session.log_in()?;
    session.set_subject(form.name)?;
    session.set_label(form.device)?;
    Ok(Redirect::to("/devices"))
}

async fn log_out(session: Session) -> StatusCode {
    session.destroy();
    StatusCode::NO_CONTENT
}

async fn devices(State(store): State<AnyStore>, session: Session) -> Result<Html<String>, Problem> {
    let listed = store.sessions_of(&visitor(&session)?).await?;
    let rows: String = listed.iter().map(|info| row(info, session.id())).collect();
    Ok(Html(format!(
        "<!doctype html><title>Where you are logged in</title>\n\
         <h1>Where you are logged in</h1>\n<ul>\n{rows}</ul>\n\
         <form method=post action=/devices/end-others><button>End all others</button></form>\n"
    )))
}

fn row(info: &SessionInfo, own: Option<SessionId>) -> String {
    let label = escaped(info.label.as_deref().unwrap_or("a device"));
    let hours = |time: SystemTime| time.elapsed().unwrap_or_default().as_secs() / 3600;
    let seen = hours(info.last_seen_at);
    if Some(info.id) == own {
        return format!("<li>{label}: this device</li>\n");
    }
    format!(
        "<li>{label}: last seen {seen} hours ago\n\
         <form method=post action=/devices/end><button name=id value={}>End</button></form></li>\n",
        info.id
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

async fn end_one(
    State(store): State<AnyStore>,
    session: Session,
    Form(form): Form<End>,
) -> Result<Response, Problem> {
    let visitor = visitor(&session)?;
    let has_ended = match SessionId::from_hex(&form.id) {
        Some(id) => store.end_one_of(&visitor, id).await?,
        None => false,
    };
    Ok(match has_ended {
        true => Redirect::to("/devices").into_response(),
        false => StatusCode::NOT_FOUND.into_response(),
    })
}

async fn end_others(State(store): State<AnyStore>, session: Session) -> Result<Redirect, Problem> {
    store.end_others_of(&visitor(&session)?, &session).await?;
    Ok(Redirect::to("/devices"))
}

fn ask_for_the_password(_: &request::Parts) -> Response {
    (StatusCode::SEE_OTHER, [("location", "/login")]).into_response()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = AnyStore::from_env()?;
    // Who finds a browser open must not log its owner out everywhere else.
    let lately = RequireLogin::within(Duration::from_secs(15 * 60));
    let app = Router::new()
        .route("/devices/end", post(end_one))
        .route("/devices/end-others", post(end_others))
        .route_layer(lately.or_answer(ask_for_the_password))
        .route("/devices", get(devices))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .with_state(store.clone())
        .layer(SessionLayer::new(store));
    axum::serve(TcpListener::from_std(shop::listen()?)?, app).await?;
    Ok(())
}
