use std::time::Duration;

use axum::Router;
use axum::extract::Form;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::{get, post};
use sealed_session::{
    ConfigError, CookieConfig, CookieStore, KeyRing, SameSite, Session, SessionError, SessionLayer,
    SessionOf,
};
use serde::Deserialize;

/// The cookie that comes back with the other site's POST.
struct Payment;

#[derive(Deserialize)]
struct Answer {
    order: String,
    signature: String,
}

pub fn app(keys: &KeyRing) -> Result<Router, ConfigError> {
    let cookie = CookieConfig::builder()
        .name("__Host-payment")
        .same_site(SameSite::None)
        .build()?;
    let payments = CookieStore::builder(keys.clone())
        .cookie(cookie)
        .lifetime(Duration::from_secs(60 * 60))
        .build()?;
    Ok(Router::new()
        .route("/pay", post(pay))
        .route("/payment/returned", post(returned))
        .route("/payment/done", get(done))
        .layer(SessionLayer::new(payments).named::<Payment>())
        .layer(SessionLayer::new(CookieStore::new(keys.clone()))))
}

async fn pay(payment: SessionOf<Payment>) -> Result<Redirect, SessionError> {
    payment.insert("order", "1001")?; // an order of this visitor
    Ok(Redirect::to("https://pay.example/1001"))
}

/// The other site's POST. The visitor's session is not here, so it is no argument.
async fn returned(
    payment: SessionOf<Payment>,
    Form(answer): Form<Answer>,
) -> axum::response::Result<Redirect> {
    let order: Option<String> = payment.get("order")?;
    if order.as_ref() != Some(&answer.order) || !is_signed(&answer) {
        return Err(StatusCode::BAD_REQUEST.into());
    }
    payment.insert("paid", answer.order)?;
    Ok(Redirect::to("/payment/done")) // a 303, so that the browser goes on with a GET
}

/// A GET on the way from a link or a redirect has both.
async fn done(session: Session, payment: SessionOf<Payment>) -> Result<String, SessionError> {
    session.merge(&payment)?; // `order` and `paid`
    payment.destroy();
    let paid: Option<String> = session.get("paid")?;
    Ok(format!("paid: {paid:?}"))
}
