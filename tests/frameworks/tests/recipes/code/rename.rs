use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use sealed_session::{
    ConfigError, CookieConfig, CookieStore, KeyRing, Origin, Session, SessionError, SessionLayer,
    SessionOf,
};

/// The cookie under its former name.
struct Former;

pub fn with_sessions(routes: Router, keys: &KeyRing) -> Result<Router, ConfigError> {
    let former = CookieConfig::builder().name("sid").build()?; // with all its attributes
    let present = CookieStore::builder(keys.clone())
        .former(former.clone()) // a logout removes both
        .build()?;
    let former = CookieStore::builder(keys.clone()).cookie(former).build()?;
    Ok(routes
        .layer(middleware::from_fn(move_over))
        .layer(SessionLayer::new(former).named::<Former>())
        .layer(SessionLayer::new(present)))
}

async fn move_over(
    session: Session,
    former: SessionOf<Former>,
    request: Request,
    next: Next,
) -> Result<Response, SessionError> {
    if session.origin() == Origin::Absent && former.origin() == Origin::Opened {
        session.continue_as(&former)?;
    }
    Ok(next.run(request).await)
}
