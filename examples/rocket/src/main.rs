//! The shop with Rocket: a fairing, and the session as a request guard.

use std::error::Error;

use rocket::fairing::AdHoc;
use rocket::form::Form;
use rocket::http::Status;
use rocket::response::Redirect;
use rocket::response::content::RawHtml;
use rocket::{Config, FromForm, get, post, routes};
use sealed_session::{AnyStore, Session, SessionLayer};
use shop::Problem;

#[get("/")]
fn front() -> RawHtml<&'static str> {
    RawHtml(shop::FRONT)
}

type Answer<T> = Result<T, (Status, String)>;

fn failed(problem: Problem) -> (Status, String) {
    (Status::new(problem.status()), problem.to_string())
}

#[get("/profile")]
fn profile(session: Session) -> Answer<String> {
    shop::profile(&session).map_err(failed)
}

#[get("/cart")]
fn cart(session: Session) -> Answer<String> {
    shop::cart(&session).map_err(failed)
}

#[derive(FromForm)]
struct LogIn<'r> {
    name: &'r str,
}

#[post("/login", data = "<form>")]
fn log_in(session: Session, form: Form<LogIn<'_>>) -> Answer<Redirect> {
    let next = shop::log_in(&session, form.name).map_err(failed)?;
    Ok(Redirect::to(next))
}

#[derive(FromForm)]
struct Add<'r> {
    item: &'r str,
}

#[post("/cart", data = "<form>")]
fn add_to_cart(session: Session, form: Form<Add<'_>>) -> Answer<Redirect> {
    let next = shop::add_to_cart(&session, form.item).map_err(failed)?;
    Ok(Redirect::to(next))
}

#[post("/logout")]
fn log_out(session: Session) -> Redirect {
    Redirect::to(shop::log_out(&session))
}

#[rocket::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // SESSION_DRIVER says where sessions are: cookie, memory, file or redis.
    let store = AnyStore::from_env()?;
    let config = Config::figment()
        .merge(("port", shop::port()?))
        .merge(("log_level", "critical"));
    let announce = AdHoc::on_liftoff("announce", |rocket| {
        Box::pin(async { shop::announce(rocket.config().port) })
    });
    rocket::custom(config)
        .attach(SessionLayer::new(store))
        .attach(announce)
        .mount(
            "/",
            routes![front, profile, cart, log_in, add_to_cart, log_out],
        )
        .launch()
        .await?;
    Ok(())
}
