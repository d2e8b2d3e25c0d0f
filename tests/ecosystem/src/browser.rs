//! A browser with a jar of cookies, in front of an axum application.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{Request, Response, StatusCode};
use cookie::Cookie;
use tower_service::Service;

/// Sends requests with the cookies that the answers have set.
pub struct Browser {
    app: Router,
    pub jar: Vec<Cookie<'static>>,
}

pub struct Page {
    pub status: StatusCode,
    pub location: String,
    pub cookies: Vec<Cookie<'static>>,
    pub text: String,
}

impl Browser {
    pub fn new(app: Router) -> Self {
        let jar = Vec::new();
        Self { app, jar }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub async fn post(&mut self, path: &str, form: &'static str) -> Page {
        let request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(form)).unwrap()).await
    }

    async fn send(&mut self, mut request: Request<Body>) -> Page {
        let pairs = self.jar.iter().map(|cookie| cookie.stripped().to_string());
        let header = pairs.collect::<Vec<_>>().join("; ");
        if !header.is_empty() {
            let header = header.try_into().unwrap();
            request.headers_mut().insert(COOKIE, header);
        }
        let Ok(response) = self.app.call(request).await;
        let page = page_of(response).await;
        for cookie in &page.cookies {
            self.jar.retain(|known| known.name() != cookie.name());
            let is_gone = cookie.max_age().is_some_and(|age| age.is_zero());
            if !is_gone {
                self.jar.push(cookie.clone());
            }
        }
        page
    }
}

async fn page_of(response: Response<Body>) -> Page {
    let headers = response.headers();
    let cookies = headers.get_all(SET_COOKIE).iter();
    let cookies = cookies.map(|header| Cookie::parse(header.to_str().unwrap().to_owned()).unwrap());
    let location = headers.get(LOCATION);
    Page {
        status: response.status(),
        location: location
            .map_or("", |location| location.to_str().unwrap())
            .to_owned(),
        cookies: cookies.collect(),
        text: {
            let body = to_bytes(response.into_body(), 10_000).await.unwrap();
            String::from_utf8(body.to_vec()).unwrap()
        },
    }
}
