use std::sync::LazyLock;

use axum::Router;
use axum::extract::{Form, FromRequestParts, RawQuery, State};
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use password_auth::{generate_hash, verify_password};
use sealed_session::{CookieStore, Field, Session, SessionLayer};
use serde::Deserialize;
use tokio::task::spawn_blocking;

const USER: Field<u64> = Field::new("user_id");

/// A row of your table of users.
#[derive(Clone)]
pub struct User {
    pub id: u64,
    pub name: String,
    /// What `generate_hash(password)` returned when the user signed up.
    pub hash: String,
}

pub fn app(store: CookieStore, users: Users) -> Router {
    Router::new()
        .route("/login", get(login_page).post(log_in))
        .route("/logout", post(log_out))
        .route("/account", get(account))
        .layer(SessionLayer::new(store))
        .with_state(users)
}

/// A handler that takes a `User` is for members only. All others are sent to the login.
impl FromRequestParts<Users> for User {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, users: &Users) -> Result<Self, Response> {
        let session = Session::from_request_parts(parts, users).await;
        let session = session.map_err(IntoResponse::into_response)?;
        let id = session.get(USER).map_err(IntoResponse::into_response)?;
        let Some(id) = id else {
            return Err(Redirect::to("/login").into_response());
        };
        users.with_id(id).await.ok_or_else(|| {
            session.destroy(); // the account was deleted
            Redirect::to("/login").into_response()
        })
    }
}

async fn account(user: User) -> String {
    format!("hello, {}", user.name)
}

async fn login_page(RawQuery(query): RawQuery) -> Html<String> {
    let problem = match query.as_deref() {
        Some("wrong") => "Wrong name or password.",
        _ => "",
    };
    Html(format!(
        r#"<p>{problem}</p>
<form method="post">
<input name="name"> <input name="password" type="password"> <button>Log in</button>
</form>"#
    ))
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

/// A hash for names that nobody has, so that the time of the answer does not tell who exists.
static NOBODY: LazyLock<String> = LazyLock::new(|| generate_hash("nobody"));

async fn log_in(
    State(users): State<Users>,
    session: Session,
    Form(login): Form<Login>,
) -> axum::response::Result<Redirect> {
    let user = users.named(&login.name).await;
    let hash = user.as_ref().map(|user| user.hash.clone());
    // Hashing takes long on purpose, so it must not hold up other requests.
    let is_right = spawn_blocking(move || {
        let hash = hash.as_ref().unwrap_or(&NOBODY);
        verify_password(login.password, hash).is_ok()
    });
    let is_right = is_right.await.unwrap_or(false);
    let Some(user) = user.filter(|_| is_right) else {
        return Ok(Redirect::to("/login?wrong"));
    };
    session.log_in()?; // a new id and a new lifetime
    session.insert(USER, user.id)?;
    session.set_subject(user.id.to_string())?; // so that you can end all sessions of this user
    Ok(Redirect::to("/account"))
}

async fn log_out(session: Session) -> Redirect {
    session.destroy();
    Redirect::to("/login")
}
