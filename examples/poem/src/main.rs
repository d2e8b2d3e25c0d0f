//! The shop with poem: a middleware, and the session as an extractor.

use std::error::Error;

use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::web::{Form, Html, Redirect};
use poem::{EndpointExt, Result, Route, Server, get, handler, post};
use sealed_session::{AnyStore, Session, SessionLayer};
use shop::{Add, LogIn, Problem};

fn failed(problem: Problem) -> poem::Error {
    let status = StatusCode::from_u16(problem.status());
    poem::Error::new(problem, status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

#[handler]
fn front() -> Html<&'static str> {
    Html(shop::FRONT)
}

#[handler]
fn profile(session: Session) -> Result<String> {
    shop::profile(&session).map_err(failed)
}

#[handler]
fn cart(session: Session) -> Result<String> {
    shop::cart(&session).map_err(failed)
}

#[handler]
fn log_in(session: Session, Form(form): Form<LogIn>) -> Result<Redirect> {
    let next = shop::log_in(&session, &form.name).map_err(failed)?;
    Ok(Redirect::see_other(next))
}

#[handler]
fn add_to_cart(session: Session, Form(form): Form<Add>) -> Result<Redirect> {
    let next = shop::add_to_cart(&session, &form.item).map_err(failed)?;
    Ok(Redirect::see_other(next))
}

#[handler]
fn log_out(session: Session) -> Redirect {
    Redirect::see_other(shop::log_out(&session))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // SESSION_DRIVER says where sessions are: cookie, memory, file or redis.
    let store = AnyStore::from_env()?;
    let app = Route::new()
        .at("/", get(front))
        .at("/profile", get(profile))
        .at("/cart", get(cart).post(add_to_cart))
        .at("/login", post(log_in))
        .at("/logout", post(log_out))
        .with(SessionLayer::new(store));
    let acceptor = TcpAcceptor::from_std(shop::listen()?)?;
    Server::new_with_acceptor(acceptor).run(app).await?;
    Ok(())
}
