//! A route for each thing that a session of tower-sessions can do.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use time::OffsetDateTime;
use tower_sessions::session::Error;
use tower_sessions::{Expiry, Session};

pub fn routes() -> Router {
    Router::new()
        .route("/", get(async |_: Session| "hello"))
        .route("/insert", get(insert))
        .route("/get", get(read))
        .route("/get_value", get(read_value))
        .route("/remove", get(remove))
        .route("/remove_value", get(remove_value))
        .route("/cycle_id", get(cycle_id))
        .route("/flush", get(flush))
        .route("/set_expiry", get(set_expiry))
        .route("/remove_expiry", get(remove_expiry))
}

type Answer = Result<String, (StatusCode, String)>;

fn failed(error: Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn done(outcome: Result<(), Error>) -> Answer {
    outcome.map(|()| "done".to_owned()).map_err(failed)
}

async fn insert(session: Session) -> Answer {
    done(session.insert("foo", 42).await)
}

async fn read(session: Session) -> Answer {
    let value: Option<usize> = session.get("foo").await.map_err(failed)?;
    Ok(format!("{value:?}"))
}

async fn read_value(session: Session) -> Answer {
    let value = session.get_value("foo").await.map_err(failed)?;
    Ok(format!("{value:?}"))
}

async fn remove(session: Session) -> Answer {
    let value: Option<usize> = session.remove("foo").await.map_err(failed)?;
    Ok(format!("{value:?}"))
}

async fn remove_value(session: Session) -> Answer {
    let value = session.remove_value("foo").await.map_err(failed)?;
    Ok(format!("{value:?}"))
}

async fn cycle_id(session: Session) -> Answer {
    done(session.cycle_id().await)
}

async fn flush(session: Session) -> Answer {
    done(session.flush().await)
}

async fn set_expiry(session: Session) {
    let at = OffsetDateTime::now_utc() + Duration::from_secs(24 * 3600);
    session.set_expiry(Some(Expiry::AtDateTime(at)));
}

async fn remove_expiry(session: Session) {
    session.set_expiry(Some(Expiry::OnSessionEnd));
}
