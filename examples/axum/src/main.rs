use std::env;
use std::error::Error;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use sealed_session::{CookieStore, Field, KeyRing, Session};
use tokio::net::TcpListener;

const NAME: Field<String> = Field::new("name");

type Answer = Result<(HeaderMap, String), StatusCode>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = CookieStore::new(KeyRing::from_env()?);
    let app = Router::new()
        .route("/", get(greet))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .with_state(store);
    let address = env::var("ADDRESS").unwrap_or("127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn greet(State(store): State<CookieStore>, request: HeaderMap) -> Answer {
    let session = store.load(&request);
    let name = session.get(NAME).map_err(failed)?;
    let name = name.as_deref().unwrap_or("stranger");
    answer(&store, &session, format!("hello, {name}\n"))
}

// A real login checks a password here.
async fn log_in(State(store): State<CookieStore>, request: HeaderMap, name: String) -> Answer {
    let session = store.load(&request);
    session.renew(); // a new id at every login
    session.insert(NAME, name).map_err(failed)?;
    answer(&store, &session, "logged in\n".to_owned())
}

async fn log_out(State(store): State<CookieStore>, request: HeaderMap) -> Answer {
    let session = store.load(&request);
    session.destroy();
    answer(&store, &session, "logged out\n".to_owned())
}

fn answer(store: &CookieStore, session: &Session, body: String) -> Answer {
    let mut headers = HeaderMap::new();
    store.save(session, &mut headers).map_err(failed)?;
    Ok((headers, body))
}

fn failed(error: impl Error) -> StatusCode {
    eprintln!("{error}");
    StatusCode::INTERNAL_SERVER_ERROR
}
