use axum::Router;
use axum::extract::Form;
use axum::http::StatusCode;
use axum::response::{Html, Redirect};
use axum::routing::get;
use sealed_session::{CookieStore, Field, Session, SessionError, SessionLayer};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// What each form of this visitor has to bring along.
const TOKEN: Field<String> = Field::new("csrf_token");

pub fn app(store: CookieStore) -> Router {
    Router::new()
        .route("/login", get(login_page).post(log_in))
        .route("/address", get(address_page).post(save_address))
        .layer(SessionLayer::new(store))
}

/// Returns the session's token, and makes one for a new visitor.
fn csrf_token(session: &Session) -> Result<String, SessionError> {
    if let Some(token) = session.get(TOKEN)? {
        return Ok(token);
    }
    let token = Uuid::new_v4().simple().to_string(); // 122 random bits
    session.insert(TOKEN, token.clone())?;
    Ok(token)
}

/// Refuses a form that does not bring the session's token.
fn check(session: &Session, sent: &str) -> Result<(), StatusCode> {
    let token = session.get(TOKEN).ok().flatten();
    let token = token.ok_or(StatusCode::FORBIDDEN)?;
    match token.as_bytes().ct_eq(sent.as_bytes()).into() {
        true => Ok(()),
        false => Err(StatusCode::FORBIDDEN),
    }
}

async fn login_page(session: Session) -> Result<Html<String>, SessionError> {
    let token = csrf_token(&session)?;
    Ok(Html(format!(
        r#"<form method="post">
<input type="hidden" name="csrf_token" value="{token}">
<input name="name"> <button>Log in</button>
</form>"#
    )))
}

#[derive(Deserialize)]
struct Login {
    csrf_token: String,
    name: String,
}

/// A real login checks a password too.
async fn log_in(session: Session, Form(form): Form<Login>) -> axum::response::Result<Redirect> {
    check(&session, &form.csrf_token)?;
    session.log_in()?;
    session.remove(TOKEN); // the next page gets a new one
    session.insert("name", form.name)?;
    Ok(Redirect::to("/address"))
}

async fn address_page(session: Session) -> Result<Html<String>, SessionError> {
    let token = csrf_token(&session)?;
    Ok(Html(format!(
        r#"<form method="post">
<input type="hidden" name="csrf_token" value="{token}">
<input name="address"> <button>Save</button>
</form>"#
    )))
}

#[derive(Deserialize)]
struct Address {
    csrf_token: String,
    address: String,
}

async fn save_address(
    session: Session,
    Form(form): Form<Address>,
) -> axum::response::Result<Redirect> {
    check(&session, &form.csrf_token)?;
    session.insert("address", form.address)?;
    Ok(Redirect::to("/address"))
}
