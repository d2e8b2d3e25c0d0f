//! The shop with axum: a layer, and the session as an extractor.

use std::error::Error;

use axum::Router;
use axum::extract::Form;
use axum::http::StatusCode;
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use sealed_session::{AnyStore, Session, SessionLayer};
use shop::{Add, LogIn, Problem};
use tokio::net::TcpListener;

type Answer<T> = Result<T, (StatusCode, String)>;

fn failed(problem: Problem) -> (StatusCode, String) {
    let status = StatusCode::from_u16(problem.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, problem.to_string())
}

async fn front() -> Html<&'static str> {
    Html(shop::FRONT)
}

async fn profile(session: Session) -> Answer<String> {
    shop::profile(&session).map_err(failed)
}

async fn cart(session: Session) -> Answer<String> {
    shop::cart(&session).map_err(failed)
}

async fn log_in(session: Session, Form(form): Form<LogIn>) -> Answer<Redirect> {
    let next = shop::log_in(&session, &form.name).map_err(failed)?;
    Ok(Redirect::to(next))
}

async fn add_to_cart(session: Session, Form(form): Form<Add>) -> Answer<Redirect> {
    let next = shop::add_to_cart(&session, &form.item).map_err(failed)?;
    Ok(Redirect::to(next))
}

async fn log_out(session: Session) -> Redirect {
    Redirect::to(shop::log_out(&session))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // SESSION_DRIVER says where sessions are: cookie, memory, file or redis.
    let store = AnyStore::from_env()?;
    let app = Router::new()
        .route("/", get(front))
        .route("/profile", get(profile))
        .route("/cart", get(cart).post(add_to_cart))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .layer(SessionLayer::new(store));
    axum::serve(TcpListener::from_std(shop::listen()?)?, app).await?;
    Ok(())
}
