//! The shop with salvo: a hoop, and the session as an extractor.

use std::error::Error;

use salvo::conn::tcp::TcpAcceptor;
use salvo::extract::FormBody;
use salvo::prelude::*;
use sealed_session::{AnyStore, Session, SessionLayer};
use shop::{Add, LogIn, Problem};

type Answer<T> = Result<T, (StatusCode, String)>;

fn failed(problem: Problem) -> (StatusCode, String) {
    let status = StatusCode::from_u16(problem.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, problem.to_string())
}

#[handler]
async fn front() -> Text<&'static str> {
    Text::Html(shop::FRONT)
}

#[handler]
async fn profile(session: Session) -> Answer<String> {
    shop::profile(&session).map_err(failed)
}

#[handler]
async fn cart(session: Session) -> Answer<String> {
    shop::cart(&session).map_err(failed)
}

#[handler]
async fn log_in(session: Session, form: FormBody<LogIn>) -> Answer<Redirect> {
    let next = shop::log_in(&session, &form.name).map_err(failed)?;
    Ok(Redirect::other(next))
}

#[handler]
async fn add_to_cart(session: Session, form: FormBody<Add>) -> Answer<Redirect> {
    let next = shop::add_to_cart(&session, &form.item).map_err(failed)?;
    Ok(Redirect::other(next))
}

#[handler]
async fn log_out(session: Session) -> Redirect {
    Redirect::other(shop::log_out(&session))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // SESSION_DRIVER says where sessions are: cookie, memory, file or redis.
    let store = AnyStore::from_env()?;
    let router = Router::new()
        .get(front)
        .push(Router::with_path("profile").get(profile))
        .push(Router::with_path("cart").get(cart).post(add_to_cart))
        .push(Router::with_path("login").post(log_in))
        .push(Router::with_path("logout").post(log_out));
    let service = Service::new(router).hoop(SessionLayer::new(store));
    let listener = tokio::net::TcpListener::from_std(shop::listen()?)?;
    Server::new(TcpAcceptor::try_from(listener)?)
        .serve(service)
        .await;
    Ok(())
}
