//! The shop with poem: an extractor loads the session, a middleware saves it.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::web::{Form, Html, Redirect};
use poem::{
    Endpoint, EndpointExt, FromRequest, Middleware, Request, RequestBody, Response, Result, Route,
    Server, get, handler, post,
};
use sealed_session::{CookieStore, KeyRing, Session};
use shop::{Add, LogIn, Problem};

/// Put it around endpoints with `with`, and handlers take a [`Visitor`].
struct Sessions(CookieStore);

/// An endpoint with [`Sessions`] around it.
struct WithSessions<E> {
    inner: E,
    store: CookieStore,
}

/// What the first extractor loads and the middleware saves. If none asks, no cookie is opened.
#[derive(Clone)]
struct Pending {
    store: CookieStore,
    session: Arc<OnceLock<Session>>,
}

/// The extractor: the request's session.
struct Visitor(Session);

impl<E: Endpoint> Middleware<E> for Sessions {
    type Output = WithSessions<E>;

    fn transform(&self, inner: E) -> Self::Output {
        let store = self.0.clone();
        WithSessions { inner, store }
    }
}

impl<E: Endpoint> Endpoint for WithSessions<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let pending = Pending {
            store: self.store.clone(),
            session: Arc::default(),
        };
        request.set_data(pending.clone());
        // An error becomes a response here, so that it is saved like any other.
        let mut response = self.inner.get_response(request).await;
        if let Some(session) = pending.session.get() {
            let saved = self.store.save(session, response.headers_mut());
            saved.map_err(|error| poem::Error::new(error, StatusCode::INTERNAL_SERVER_ERROR))?;
        }
        Ok(response)
    }
}

impl<'r> FromRequest<'r> for Visitor {
    async fn from_request(request: &'r Request, _: &mut RequestBody) -> Result<Self> {
        let Some(Pending { store, session }) = request.data() else {
            let advice = "put `Sessions` around the endpoint";
            return Err(poem::Error::from_string(
                advice,
                StatusCode::INTERNAL_SERVER_ERROR,
            ));
        };
        let session = session.get_or_init(|| store.load(request.headers()));
        Ok(Self(session.clone()))
    }
}

fn failed(problem: Problem) -> poem::Error {
    let status = StatusCode::from_u16(problem.status());
    poem::Error::new(problem, status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

#[handler]
fn front() -> Html<&'static str> {
    Html(shop::FRONT)
}

#[handler]
fn profile(Visitor(session): Visitor) -> Result<String> {
    shop::profile(&session).map_err(failed)
}

#[handler]
fn cart(Visitor(session): Visitor) -> Result<String> {
    shop::cart(&session).map_err(failed)
}

#[handler]
fn log_in(Visitor(session): Visitor, Form(form): Form<LogIn>) -> Result<Redirect> {
    let next = shop::log_in(&session, &form.name).map_err(failed)?;
    Ok(Redirect::see_other(next))
}

#[handler]
fn add_to_cart(Visitor(session): Visitor, Form(form): Form<Add>) -> Result<Redirect> {
    let next = shop::add_to_cart(&session, &form.item).map_err(failed)?;
    Ok(Redirect::see_other(next))
}

#[handler]
fn log_out(Visitor(session): Visitor) -> Redirect {
    Redirect::see_other(shop::log_out(&session))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = CookieStore::new(KeyRing::from_env()?);
    let app = Route::new()
        .at("/", get(front))
        .at("/profile", get(profile))
        .at("/cart", get(cart).post(add_to_cart))
        .at("/login", post(log_in))
        .at("/logout", post(log_out))
        .with(Sessions(store));
    let acceptor = TcpAcceptor::from_std(shop::listen()?)?;
    Server::new_with_acceptor(acceptor).run(app).await?;
    Ok(())
}
