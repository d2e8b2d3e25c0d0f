//! The shop with bare hyper: a session is loaded from the request's headers and saved into the
//! response's.

use std::error::Error;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sealed_session::{CookieStore, KeyRing, SaveError, Session};
use serde::de::DeserializeOwned;
use shop::{Add, LogIn, Problem};
use tokio::net::TcpListener;

type Page = Response<Full<Bytes>>;

const MAX_FORM: usize = 16 * 1024;

/// All that sessions need. An answer that is an error is saved like any other.
async fn serve(store: &CookieStore, request: Request<Incoming>) -> Result<Page, SaveError> {
    if request.uri().path() == "/" {
        return Ok(html(shop::FRONT));
    }
    let session = store.load(request.headers());
    let answer = answer(&session, request).await;
    let mut response = answer.unwrap_or_else(|Failure(status, reason)| text(status, reason));
    store.save(&session, response.headers_mut())?;
    Ok(response)
}

async fn answer(session: &Session, request: Request<Incoming>) -> Result<Page, Failure> {
    let path = request.uri().path().to_owned();
    Ok(match (request.method(), path.as_str()) {
        (&Method::GET, "/profile") => text(StatusCode::OK, shop::profile(session)?),
        (&Method::GET, "/cart") => text(StatusCode::OK, shop::cart(session)?),
        (&Method::POST, "/login") => {
            let LogIn { name } = form(request).await?;
            see_other(shop::log_in(session, &name)?)
        }
        (&Method::POST, "/cart") => {
            let Add { item } = form(request).await?;
            see_other(shop::add_to_cart(session, &item)?)
        }
        (&Method::POST, "/logout") => see_other(shop::log_out(session)),
        _ => text(StatusCode::NOT_FOUND, "there is no such page".to_owned()),
    })
}

async fn form<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Failure> {
    let bad = |reason: &dyn ToString| Failure(StatusCode::BAD_REQUEST, reason.to_string());
    let body = Limited::new(request.into_body(), MAX_FORM).collect().await;
    let body = body.map_err(|error| bad(&error))?;
    serde_urlencoded::from_bytes(&body.to_bytes()).map_err(|error| bad(&error))
}

fn text(status: StatusCode, text: String) -> Page {
    page(
        status,
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        text.into(),
    )
}

fn html(html: &'static str) -> Page {
    let header = (CONTENT_TYPE, "text/html; charset=utf-8");
    page(StatusCode::OK, header, html.into())
}

fn see_other(path: &'static str) -> Page {
    page(StatusCode::SEE_OTHER, (LOCATION, path), Bytes::new())
}

fn page(status: StatusCode, (name, value): (HeaderName, &'static str), body: Bytes) -> Page {
    let mut page = Response::new(body.into());
    *page.status_mut() = status;
    page.headers_mut()
        .insert(name, HeaderValue::from_static(value));
    page
}

struct Failure(StatusCode, String);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self(status, problem.to_string())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = CookieStore::new(KeyRing::from_env()?);
    let listener = TcpListener::from_std(shop::listen()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let store = store.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| serve(&store, request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connection.await
        });
    }
}
