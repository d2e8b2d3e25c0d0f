use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Redirect;
use sealed_session::{Session, SessionError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many logins a browser can have begun at the same time.
const MAX_FLOWS: usize = 4;

/// A login that has begun, under a key of its own.
#[derive(Deserialize, Serialize)]
struct Flow {
    verifier: String,
    next: String,
}

#[derive(Deserialize)]
pub struct Begin {
    next: String,
}

#[derive(Deserialize)]
pub struct Callback {
    state: String,
    code: String,
}

pub async fn begin(session: Session, Query(begin): Query<Begin>) -> Result<Redirect, SessionError> {
    let mut flows = session.keys();
    flows.retain(|key| key.starts_with("oauth:"));
    // Keys are sorted, and a UUID of version 7 begins with the time, so the oldest come first.
    for oldest in flows.iter().rev().skip(MAX_FLOWS - 1) {
        session.remove(oldest);
    }
    let state = Uuid::now_v7();
    let verifier = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let to = format!("https://login.example/?state={state}"); // and the challenge of PKCE
    let is_ours = begin.next.starts_with("/account");
    let next = if is_ours { begin.next } else { "/".to_owned() };
    session.insert(&format!("oauth:{state}"), Flow { verifier, next })?;
    Ok(Redirect::to(&to))
}

pub async fn callback(
    session: Session,
    Query(callback): Query<Callback>,
) -> axum::response::Result<Redirect> {
    let flow: Option<Flow> = session.take(&format!("oauth:{}", callback.state))?;
    let Some(flow) = flow else {
        return Err(StatusCode::BAD_REQUEST.into()); // of another browser, used, or too old
    };
    let user = exchange(&callback.code, &flow.verifier)?;
    session.log_in()?; // keeps the logins that other tabs have begun
    session.insert("user_id", user)?;
    Ok(Redirect::to(&flow.next))
}
