//! The shop with actix-web: a middleware, and the session as an extractor.

use std::error::Error;

use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::web::{Form, Html, Redirect};
use actix_web::{App, HttpServer, get, post};
use sealed_session::{AnyStore, Session, SessionLayer};
use shop::{Add, LogIn, Problem};

fn failed(problem: Problem) -> InternalError<Problem> {
    let status = StatusCode::from_u16(problem.status());
    InternalError::new(problem, status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

type Answer<T> = Result<T, InternalError<Problem>>;

#[get("/")]
async fn front() -> Html {
    Html::new(shop::FRONT)
}

#[get("/profile")]
async fn profile(session: Session) -> Answer<String> {
    shop::profile(&session).map_err(failed)
}

#[get("/cart")]
async fn cart(session: Session) -> Answer<String> {
    shop::cart(&session).map_err(failed)
}

#[post("/login")]
async fn log_in(session: Session, form: Form<LogIn>) -> Answer<Redirect> {
    let next = shop::log_in(&session, &form.name).map_err(failed)?;
    Ok(Redirect::to(next).see_other())
}

#[post("/cart")]
async fn add_to_cart(session: Session, form: Form<Add>) -> Answer<Redirect> {
    let next = shop::add_to_cart(&session, &form.item).map_err(failed)?;
    Ok(Redirect::to(next).see_other())
}

#[post("/logout")]
async fn log_out(session: Session) -> Redirect {
    Redirect::to(shop::log_out(&session)).see_other()
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // SESSION_DRIVER says where sessions are: cookie, memory, file or redis.
    let store = AnyStore::from_env()?;
    let app = move || {
        App::new()
            .service(front)
            .service(profile)
            .service(cart)
            .service(log_in)
            .service(add_to_cart)
            .service(log_out)
            .wrap(SessionLayer::new(store.clone()))
    };
    HttpServer::new(app).listen(shop::listen()?)?.run().await?;
    Ok(())
}
