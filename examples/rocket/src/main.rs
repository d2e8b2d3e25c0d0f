//! The shop with Rocket: a request guard loads the session, a fairing saves it.

use std::error::Error;
use std::sync::OnceLock;

use rocket::fairing::{self, AdHoc, Fairing, Info, Kind};
use rocket::form::Form;
use rocket::http::{Header, Status};
use rocket::request::{FromRequest, Outcome};
use rocket::response::Redirect;
use rocket::response::content::RawHtml;
use rocket::{Build, Config, FromForm, Request, Response, Rocket, async_trait, get, post, routes};
use sealed_session::{CookieStore, KeyRing, Session};
use shop::Problem;

/// Attach it, and handlers take a [`Visitor`].
struct Sessions(CookieStore);

/// The guard: the request's session.
struct Visitor<'r>(&'r Session);

/// What the first guard has loaded and the fairing saves.
#[derive(Default)]
struct Loaded(OnceLock<Session>);

#[async_trait]
impl<'r> FromRequest<'r> for Visitor<'r> {
    type Error = &'static str;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Self::Error> {
        let Some(store) = request.rocket().state::<CookieStore>() else {
            let advice = "attach `Sessions` to the rocket";
            return Outcome::Error((Status::InternalServerError, advice));
        };
        // Rocket drops a field that is not UTF-8: one bad byte beside the cookie, and it is lost.
        let load = || store.load_from(request.headers().get("cookie"));
        let Loaded(session) = request.local_cache(Loaded::default);
        Outcome::Success(Visitor(session.get_or_init(load)))
    }
}

#[async_trait]
impl Fairing for Sessions {
    fn info(&self) -> Info {
        Info {
            name: "sessions",
            kind: Kind::Ignite | Kind::Response,
        }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> fairing::Result {
        Ok(rocket.manage(self.0.clone()))
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let Loaded(session) = request.local_cache(Loaded::default);
        let Some(session) = session.get() else {
            return;
        };
        let Ok(outgoing) = self.0.respond(session) else {
            *response = Response::build()
                .status(Status::InternalServerError)
                .finalize();
            return;
        };
        let headers: Vec<Header<'_>> = response.headers().iter().collect();
        let present = headers
            .iter()
            .map(|header| (header.name().as_str(), header.value().as_bytes()));
        for change in outgoing.changes(present) {
            response.remove_header(change.name());
            for value in change.values() {
                let value = String::from_utf8_lossy(value).into_owned();
                response.adjoin_raw_header(change.name().to_owned(), value);
            }
        }
    }
}

#[get("/")]
fn front() -> RawHtml<&'static str> {
    RawHtml(shop::FRONT)
}

type Answer<T> = Result<T, (Status, String)>;

fn failed(problem: Problem) -> (Status, String) {
    (Status::new(problem.status()), problem.to_string())
}

#[get("/profile")]
fn profile(visitor: Visitor<'_>) -> Answer<String> {
    shop::profile(visitor.0).map_err(failed)
}

#[get("/cart")]
fn cart(visitor: Visitor<'_>) -> Answer<String> {
    shop::cart(visitor.0).map_err(failed)
}

#[derive(FromForm)]
struct LogIn<'r> {
    name: &'r str,
}

#[post("/login", data = "<form>")]
fn log_in(visitor: Visitor<'_>, form: Form<LogIn<'_>>) -> Answer<Redirect> {
    let next = shop::log_in(visitor.0, form.name).map_err(failed)?;
    Ok(Redirect::to(next))
}

#[derive(FromForm)]
struct Add<'r> {
    item: &'r str,
}

#[post("/cart", data = "<form>")]
fn add_to_cart(visitor: Visitor<'_>, form: Form<Add<'_>>) -> Answer<Redirect> {
    let next = shop::add_to_cart(visitor.0, form.item).map_err(failed)?;
    Ok(Redirect::to(next))
}

#[post("/logout")]
fn log_out(visitor: Visitor<'_>) -> Redirect {
    Redirect::to(shop::log_out(visitor.0))
}

#[rocket::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = CookieStore::new(KeyRing::from_env()?);
    let config = Config::figment()
        .merge(("port", shop::port()?))
        .merge(("log_level", "critical"));
    let announce = AdHoc::on_liftoff("announce", |rocket| {
        Box::pin(async { shop::announce(rocket.config().port) })
    });
    rocket::custom(config)
        .attach(Sessions(store))
        .attach(announce)
        .mount(
            "/",
            routes![front, profile, cart, log_in, add_to_cart, log_out],
        )
        .launch()
        .await?;
    Ok(())
}
