//! The shop with warp: a tower layer around all filters, and a filter that asks for the session.

use std::error::Error;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sealed_session::frameworks::tower::{Layer, PendingSession, SessionLayer};
use sealed_session::{CookieStore, KeyRing, Session};
use shop::{Add, LogIn, Problem};
use tokio::net::TcpListener;
use warp::http::{StatusCode, Uri};
use warp::reply::{self, Reply, WithStatus};
use warp::{Filter, Rejection, body, get, path, post, redirect, reject};

#[derive(Debug)]
struct NoSession;

impl reject::Reject for NoSession {}

/// The request's session, which the layer saves.
fn session() -> impl Filter<Extract = (Session,), Error = Rejection> + Copy {
    warp::ext::get().and_then(async |pending: PendingSession| {
        pending
            .session()
            .await
            .map_err(|_| reject::custom(NoSession))
    })
}

type Answer<T> = Result<T, WithStatus<String>>;

fn failed(problem: Problem) -> WithStatus<String> {
    let status = StatusCode::from_u16(problem.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply::with_status(problem.to_string(), status)
}

fn profile(session: Session) -> Answer<String> {
    shop::profile(&session).map_err(failed)
}

fn cart(session: Session) -> Answer<String> {
    shop::cart(&session).map_err(failed)
}

fn log_in(session: Session, form: LogIn) -> Answer<impl Reply> {
    let next = shop::log_in(&session, &form.name).map_err(failed)?;
    Ok(redirect::see_other(Uri::from_static(next)))
}

fn add_to_cart(session: Session, form: Add) -> Answer<impl Reply> {
    let next = shop::add_to_cart(&session, &form.item).map_err(failed)?;
    Ok(redirect::see_other(Uri::from_static(next)))
}

fn log_out(session: Session) -> impl Reply {
    redirect::see_other(Uri::from_static(shop::log_out(&session)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = CookieStore::new(KeyRing::from_env()?);
    let front = path::end().and(get()).map(|| reply::html(shop::FRONT));
    let routes = front
        .or(path!("profile").and(get()).and(session()).map(profile))
        .or(path!("cart").and(get()).and(session()).map(cart))
        .or(path!("login")
            .and(post())
            .and(session())
            .and(body::form())
            .map(log_in))
        .or(path!("cart")
            .and(post())
            .and(session())
            .and(body::form())
            .map(add_to_cart))
        .or(path!("logout").and(post()).and(session()).map(log_out));
    let service = SessionLayer::new(store).layer(warp::service(routes));

    let listener = TcpListener::from_std(shop::listen()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
