//! A browser with a jar of cookies. It knows where a request comes from, and what SameSite makes of
//! that.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use cookie::{Cookie, SameSite};
use sealed_session::{AppKey, KeyRing};
use tower_service::Service;

pub fn keys() -> KeyRing {
    KeyRing::new(AppKey::generate().unwrap())
}

/// A host's cookies. Browsers keep them apart by host and not by port.
#[derive(Clone, Default)]
pub struct Browser {
    jar: Vec<Cookie<'static>>,
}

pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    pub fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }

    pub fn sets_cookies(&self) -> bool {
        self.headers.contains_key(SET_COOKIE)
    }
}

impl Browser {
    pub async fn get(&mut self, app: &Router, path: &str) -> Page {
        self.send(app, Method::GET, path, "", |_| true).await
    }

    /// A form of the same site.
    pub async fn post(&mut self, app: &Router, path: &str, body: &str) -> Page {
        self.send(app, Method::POST, path, body, |_| true).await
    }

    /// A form of another site that leads here: only cookies with SameSite=None come with it.
    pub async fn post_from_elsewhere(&mut self, app: &Router, path: &str, body: &str) -> Page {
        let comes = |cookie: &Cookie<'_>| cookie.same_site() == Some(SameSite::None);
        self.send(app, Method::POST, path, body, comes).await
    }

    /// A link or a redirect of another site that leads here: Lax lets the cookies come with it.
    pub async fn follow_from_elsewhere(&mut self, app: &Router, path: &str) -> Page {
        let comes = |cookie: &Cookie<'_>| cookie.same_site() != Some(SameSite::Strict);
        self.send(app, Method::GET, path, "", comes).await
    }

    async fn send(
        &mut self,
        app: &Router,
        method: Method,
        path: &str,
        body: &str,
        comes: impl Fn(&Cookie<'_>) -> bool,
    ) -> Page {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(COOKIE, self.header(comes));
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let Ok(response) = app.clone().call(request).await;
        let (parts, body) = response.into_parts();
        self.take(&parts.headers);
        let bytes = to_bytes(body, 10_000).await.unwrap();
        Page {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// The Cookie header of a request of the same site.
    pub fn cookies(&self) -> String {
        self.header(|_| true)
    }

    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.jar.iter().map(Cookie::name).collect();
        names.sort_unstable();
        names
    }

    fn header(&self, comes: impl Fn(&Cookie<'_>) -> bool) -> String {
        let sent = self.jar.iter().filter(|cookie| comes(cookie));
        let pairs: Vec<_> = sent.map(|cookie| cookie.stripped().to_string()).collect();
        pairs.join("; ")
    }

    pub fn take(&mut self, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            let cookie = Cookie::parse(header.to_str().unwrap().to_owned()).unwrap();
            self.jar.retain(|known| known.name() != cookie.name());
            if cookie.max_age().is_none_or(|age| !age.is_zero()) {
                self.jar.push(cookie);
            }
        }
    }
}
