//! What carries the token between client and server: a cookie, or a header of its own.

use http::HeaderName;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderValue,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
};

use crate::cookie::CookieConfig;
use crate::cookie::header::Candidates;
use crate::envelope::{Kind, MAX_LABEL};
use crate::error::ConfigError;

/// The header in which a response carries the token, unless another is named.
const DEFAULT_HEADER: &str = "x-session-token";

/// Headers that have a meaning of their own in a request or a response.
const RESERVED: [HeaderName; 12] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONNECTION,
    CONTENT_LENGTH,
    COOKIE,
    HOST,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    VARY,
];

/// What carries the token: a cookie, or a header for clients that keep no cookies.
///
/// With a header, the client keeps what the last response with that header said, sends it with
/// each request, and forgets it when the header comes empty. The rules are those of the cookie:
/// its size, its deadlines, its caching. A token that was sealed for a cookie does not open in a
/// header, nor the other way round, and no cookie is read. What has no counterpart is the
/// cookie's protection from scripts and its Max-Age: [`remember`](crate::Session::remember) has
/// no effect.
///
/// A script of another origin reads the header only if the response names it in
/// `Access-Control-Expose-Headers`.
///
/// ```
/// use sealed_session::{AppKey, CookieStore, Transport};
///
/// let store = CookieStore::builder(AppKey::generate()?)
///     .transport(Transport::bearer())
///     .build()?;
///
/// let mut answer = http::HeaderMap::new();
/// let session = store.load(&http::HeaderMap::new());
/// session.insert("user_id", 42)?;
/// store.save(&session, &mut answer)?;
///
/// let token = answer["x-session-token"].to_str()?;
/// let mut request = http::HeaderMap::new();
/// request.insert("authorization", format!("Bearer {token}").parse()?);
/// assert_eq!(store.load(&request).get("user_id")?, Some(42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport(Carrier);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Carrier {
    Cookie(CookieConfig),
    Header {
        name: HeaderName,
        /// Requests carry it as `Authorization: Bearer` instead of in the header of that name.
        bearer: bool,
    },
}

/// What a response is to carry: all of a Set-Cookie, or a header and its value.
#[derive(Clone)]
pub(crate) enum Carried {
    SetCookie(HeaderValue),
    Header(HeaderName, HeaderValue),
}

/// A cookie with these attributes.
impl From<CookieConfig> for Transport {
    fn from(cookie: CookieConfig) -> Self {
        Self(Carrier::Cookie(cookie))
    }
}

impl Transport {
    /// Requests and responses carry the token in the header `name`, of which case does not
    /// matter.
    ///
    /// # Errors
    ///
    /// If it is no header's name, has more than 255 bytes, or has a meaning of its own, such as
    /// `Authorization`.
    pub fn header(name: &str) -> Result<Self, ConfigError> {
        Ok(Self(Carrier::Header {
            name: checked(name)?,
            bearer: false,
        }))
    }

    /// Requests carry the token as `Authorization: Bearer`, responses in `X-Session-Token`.
    pub fn bearer() -> Self {
        Self(Carrier::Header {
            name: HeaderName::from_static(DEFAULT_HEADER),
            bearer: true,
        })
    }

    /// Requests carry the token as `Authorization: Bearer`, responses in the header `name`.
    ///
    /// # Errors
    ///
    /// As [`header`](Self::header).
    pub fn bearer_answered_in(name: &str) -> Result<Self, ConfigError> {
        Ok(Self(Carrier::Header {
            name: checked(name)?,
            bearer: true,
        }))
    }

    /// The request's header that is read.
    pub(crate) fn request_header(&self) -> HeaderName {
        match &self.0 {
            Carrier::Cookie(_) => COOKIE,
            Carrier::Header { bearer: true, .. } => AUTHORIZATION,
            Carrier::Header { name, .. } => name.clone(),
        }
    }

    /// What `Vary` says when the session was read.
    pub(crate) fn vary(&self) -> HeaderValue {
        match self.request_header() {
            COOKIE => HeaderValue::from_static("Cookie"),
            AUTHORIZATION => HeaderValue::from_static("Authorization"),
            name => name.into(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.0 {
            Carrier::Cookie(_) => Kind::Cookie,
            Carrier::Header { .. } => Kind::Header,
        }
    }

    /// The name that counts for the size and goes into the keys.
    pub(crate) fn name(&self) -> &str {
        match &self.0 {
            Carrier::Cookie(cookie) => cookie.name(),
            Carrier::Header { name, .. } => name.as_str(),
        }
    }

    pub(crate) fn cookie(&self) -> Option<&CookieConfig> {
        match &self.0 {
            Carrier::Cookie(cookie) => Some(cookie),
            Carrier::Header { .. } => None,
        }
    }

    pub(crate) fn candidates<'a>(
        &self,
        fields: impl IntoIterator<Item = &'a [u8]>,
    ) -> Candidates<'a> {
        match &self.0 {
            Carrier::Cookie(cookie) => Candidates::find(cookie.name(), fields),
            Carrier::Header { bearer: true, .. } => Candidates::bearer(fields),
            Carrier::Header { .. } => Candidates::listed(fields),
        }
    }

    /// What makes the client forget the token.
    pub(crate) fn removal(&self) -> String {
        self.cookie()
            .map_or_else(String::new, CookieConfig::removal)
    }

    /// What stands before and after the token.
    pub(crate) fn around_token(&self) -> (String, String) {
        self.cookie()
            .map_or_else(Default::default, CookieConfig::around_value)
    }

    pub(crate) fn carry(&self, value: HeaderValue) -> Carried {
        match &self.0 {
            Carrier::Cookie(_) => Carried::SetCookie(value),
            Carrier::Header { name, .. } => Carried::Header(name.clone(), value),
        }
    }
}

fn checked(name: &str) -> Result<HeaderName, ConfigError> {
    let problem = match HeaderName::from_bytes(name.as_bytes()) {
        Err(_) => "it is no header's name: only letters, digits and !#$%&'*+-.^_`|~ are possible",
        Ok(name) if RESERVED.contains(&name) => {
            "this header has a meaning of its own; choose another, such as X-Session-Token"
        }
        Ok(name) if name.as_str().len() > MAX_LABEL => "it has more than the 255 possible bytes",
        Ok(name) => return Ok(name),
    };
    Err(ConfigError::new("transport header", problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_has_another_meaning_or_no_name_is_refused() {
        for name in [
            "Authorization",
            "COOKIE",
            "set-cookie",
            "vary",
            "host",
            "",
            "a b",
            "é",
            "a\r\nb",
        ] {
            let error = Transport::header(name).unwrap_err();
            assert_eq!(error.setting(), "transport header", "{name:?}");
            assert_eq!(Transport::bearer_answered_in(name), Err(error), "{name:?}");
        }
        assert!(Transport::header(&"n".repeat(255)).is_ok());
        assert!(Transport::header(&"n".repeat(256)).is_err());
    }

    #[test]
    fn a_headers_name_is_the_same_in_any_case() {
        assert_eq!(Transport::header("X-Login"), Transport::header("x-login"));
        assert_eq!(
            Transport::bearer_answered_in("X-Session-Token"),
            Ok(Transport::bearer())
        );
    }
}
