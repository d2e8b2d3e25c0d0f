use std::env;
use std::error::Error;

use axum::Router;
use axum::routing::{get, post};
use sealed_session::{CookieStore, Field, ManagedKeys, Session, SessionError, SessionLayer};
use tokio::net::TcpListener;

const NAME: Field<String> = Field::new("name");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = CookieStore::new(ManagedKeys::file("session.keys")?);
    let app = Router::new()
        .route("/", get(greet))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .layer(SessionLayer::new(store)); // loads when a handler asks, saves by itself
    let address = env::var("ADDRESS").unwrap_or("127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn greet(session: Session) -> Result<String, SessionError> {
    let name = session.get(NAME)?;
    let name = name.as_deref().unwrap_or("stranger");
    Ok(format!("hello, {name}\n"))
}

// A real login checks a password here.
async fn log_in(session: Session, name: String) -> Result<&'static str, SessionError> {
    session.log_in()?; // a new id at every login
    session.insert(NAME, name)?;
    Ok("logged in\n")
}

async fn log_out(session: Session) -> &'static str {
    session.destroy();
    "logged out\n"
}
