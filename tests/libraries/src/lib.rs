//! A site on axum as its tests see it.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{Request, Response};
use sealed_session::{AppKey, CookieStore, Session, SessionError, SessionLayer};
use tower_service::Service;

pub fn store() -> CookieStore {
    CookieStore::new(AppKey::generate().unwrap())
}

/// A router that answers requests.
pub struct Site(pub Router);

impl Site {
    /// Puts the layer around the router.
    pub fn new(router: Router) -> Self {
        Self(router.layer(SessionLayer::new(store())))
    }

    /// Sends a GET.
    pub async fn get(&mut self, path: &str, cookie: &str) -> Response<Body> {
        let request = Request::builder().uri(path).header(COOKIE, cookie);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Sends JSON, with these headers besides.
    pub async fn post(
        &mut self,
        path: &str,
        cookie: &str,
        json: &str,
        headers: &[(&str, &str)],
    ) -> Response<Body> {
        let mut request = Request::builder()
            .method("POST")
            .uri(path)
            .header(COOKIE, cookie)
            .header(CONTENT_TYPE, "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(json.to_owned().into()).unwrap())
            .await
    }

    async fn send(&mut self, request: Request<Body>) -> Response<Body> {
        let Ok(response) = self.0.call(request).await;
        response
    }
}

pub async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `name=value` of the Set-Cookie.
pub fn cookie<B>(response: &Response<B>) -> String {
    let set_cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    set_cookie.split(';').next().unwrap().to_owned()
}

pub fn count(session: &Session) -> Result<String, SessionError> {
    session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    Ok(format!("visits: {:?}", session.get::<u32>("visits")?))
}
