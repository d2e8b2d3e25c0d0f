//! An answer that takes the place of a handler's.

use std::fmt;

use http::StatusCode;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
};

/// An answer for a browser that binds its session to its device. Send it as it is, and do not call
/// a handler. A `SessionLayer` does this for you.
///
/// `Debug` shows no cookie and no challenge.
///
/// ```
/// # use sealed_session::{AppKey, CookieStore, DeviceBound};
/// # let builder = CookieStore::builder(AppKey::generate()?);
/// # let store = builder.device_bound(DeviceBound::default()).build()?;
/// // Before your handlers, with the request's method, path and headers:
/// let answer = store.device_answer("GET", "/.device-bound-session/register", []);
/// let response = answer.ok_or("call a handler")?.into_response(|text| text.into_bytes());
/// assert_eq!(response.status(), 405); // browsers come here with POST
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DeviceAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

/// Asks the browser to sign.
pub(super) const CHALLENGE: HeaderName = HeaderName::from_static("secure-session-challenge");

impl DeviceAnswer {
    pub(super) fn new(status: StatusCode) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self {
            status,
            headers,
            body: String::new(),
        }
    }

    pub(super) fn json(mut self, body: String) -> Self {
        let json = HeaderValue::from_static("application/json");
        self.headers.insert(CONTENT_TYPE, json);
        self.body = body;
        self
    }

    /// Tells the browser to forget its key.
    pub(super) fn end() -> Self {
        Self::new(StatusCode::OK).json("{\"continue\":false}".to_owned())
    }

    pub(super) fn wrong_method() -> Self {
        let answer = Self::new(StatusCode::METHOD_NOT_ALLOWED);
        answer.with(ALLOW, HeaderValue::from_static("POST"))
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(super) fn cookies(mut self, cookies: impl IntoIterator<Item = HeaderValue>) -> Self {
        for cookie in cookies {
            self.headers.append(SET_COOKIE, cookie);
        }
        self
    }

    pub(super) fn page(mut self, html: &str) -> Self {
        let html_type = HeaderValue::from_static("text/html; charset=utf-8");
        self.headers.insert(CONTENT_TYPE, html_type);
        self.body = html.to_owned();
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers. There are no others, and several may have the same name.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body, which may be empty.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Makes a response of it. `body` turns the text into a body of your server's type.
    pub fn into_response<B>(mut self, body: impl Fn(String) -> B) -> http::Response<B> {
        let text = std::mem::take(&mut self.body);
        self.into_response_with(body(text))
    }

    /// Like [`into_response`](Self::into_response), with a body that was already made from the
    /// text.
    pub(crate) fn into_response_with<B>(self, body: B) -> http::Response<B> {
        let mut response = http::Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl fmt::Debug for DeviceAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceAnswer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
