//! The shop with salvo: an extractor loads the session, a hoop saves it.

use std::error::Error;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use salvo::conn::tcp::TcpAcceptor;
use salvo::extract::{Extractible, FormBody, Metadata};
use salvo::prelude::*;
use sealed_session::{CookieStore, KeyRing, Session};
use shop::{Add, LogIn, Problem};

/// Hoop it into a router, and handlers take a [`Visitor`].
struct Sessions(CookieStore);

/// What the first extractor loads and the hoop saves. If none asks, no cookie is opened.
#[derive(Clone)]
struct Pending {
    store: CookieStore,
    session: Arc<OnceLock<Session>>,
}

/// The extractor: the request's session.
struct Visitor(Session);

#[handler]
impl Sessions {
    async fn handle(
        &self,
        request: &mut Request,
        depot: &mut Depot,
        response: &mut Response,
        flow: &mut FlowCtrl,
    ) {
        let pending = Pending {
            store: self.0.clone(),
            session: Arc::default(),
        };
        depot.insert_typed(pending.clone());
        flow.call_next(request, depot, response).await;
        let Some(session) = pending.session.get() else {
            return;
        };
        if self.0.save(session, response.headers_mut()).is_err() {
            response.take_body();
            response.render(StatusError::internal_server_error());
        }
    }
}

impl<'r> Extractible<'r> for Visitor {
    fn metadata() -> &'static Metadata {
        static METADATA: Metadata = Metadata::new("");
        &METADATA
    }

    async fn extract(
        request: &'r mut Request,
        depot: &'r mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        let Ok(Pending { store, session }) = depot.get_typed() else {
            let advice = "hoop `Sessions` into the router";
            return Err(StatusError::internal_server_error().brief(advice));
        };
        let session = session.get_or_init(|| store.load(request.headers()));
        Ok(Self(session.clone()))
    }
}

type Answer<T> = Result<T, (StatusCode, String)>;

fn failed(problem: Problem) -> (StatusCode, String) {
    let status = StatusCode::from_u16(problem.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, problem.to_string())
}

#[handler]
async fn front() -> Text<&'static str> {
    Text::Html(shop::FRONT)
}

#[handler]
async fn profile(visitor: Visitor) -> Answer<String> {
    shop::profile(&visitor.0).map_err(failed)
}

#[handler]
async fn cart(visitor: Visitor) -> Answer<String> {
    shop::cart(&visitor.0).map_err(failed)
}

#[handler]
async fn log_in(visitor: Visitor, form: FormBody<LogIn>) -> Answer<Redirect> {
    let next = shop::log_in(&visitor.0, &form.name).map_err(failed)?;
    Ok(Redirect::other(next))
}

#[handler]
async fn add_to_cart(visitor: Visitor, form: FormBody<Add>) -> Answer<Redirect> {
    let next = shop::add_to_cart(&visitor.0, &form.item).map_err(failed)?;
    Ok(Redirect::other(next))
}

#[handler]
async fn log_out(visitor: Visitor) -> Redirect {
    Redirect::other(shop::log_out(&visitor.0))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = CookieStore::new(KeyRing::from_env()?);
    let router = Router::new()
        .hoop(Sessions(store))
        .get(front)
        .push(Router::with_path("profile").get(profile))
        .push(Router::with_path("cart").get(cart).post(add_to_cart))
        .push(Router::with_path("login").post(log_in))
        .push(Router::with_path("logout").post(log_out));
    let listener = tokio::net::TcpListener::from_std(shop::listen()?)?;
    Server::new(TcpAcceptor::try_from(listener)?)
        .serve(router)
        .await;
    Ok(())
}
