//! Carries the token between client and server: in a cookie, or in a header of its own.

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue};

use crate::caching::is_targeted;
use crate::cookie::header::Candidates;
use crate::cookie::{CookieConfig, MAX_NAME};
use crate::envelope::{Kind, MAX_LABEL};
use crate::error::ConfigError;

/// The keys of a cookie are derived from its name, so the name must be a valid label.
const _: () = assert!(MAX_NAME <= MAX_LABEL);

/// The response header for the token, unless the application names another.
const DEFAULT_HEADER: &str = "x-session-token";

/// Headers that an application cannot redefine. A client, a proxy or a cache on the way would act
/// on the token, replace it, drop it or write it to a log. A name that ends in `-` stands for all
/// names that begin with it.
const RESERVED: [(&str, &[&str]); 12] = [
    (
        "frames the message or belongs to one connection, so that proxies drop it",
        &[
            "alpn",
            "capsule-protocol",
            "connection",
            "content-length",
            "http2-settings",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ],
    ),
    (
        "belongs to proxies, which write and remove it",
        &[
            "b3",
            "baggage",
            "cdn-loop",
            "cf-",
            "client-cert",
            "client-cert-chain",
            "forwarded",
            "max-forwards",
            "proxy-",
            "traceparent",
            "tracestate",
            "true-client-ip",
            "fastly-client-ip",
            "via",
            "x-accel-",
            "x-amz-cf-",
            "x-amzn-",
            "x-b3-",
            "x-cache",
            "x-client-ip",
            "x-cloud-trace-context",
            "x-cluster-client-ip",
            "x-correlation-id",
            "x-envoy-",
            "x-forwarded",
            "x-forwarded-",
            "x-original-",
            "x-real-ip",
            "x-request-id",
            "x-rewrite-url",
            "x-sendfile",
            "x-varnish",
        ],
    ),
    (
        "says who somebody is; for a token in Authorization there is `Transport::bearer`",
        &[
            "authentication-control",
            "authentication-info",
            "authorization",
            "dpop",
            "optional-www-authenticate",
            "remote-user",
            "signature",
            "signature-input",
            "www-authenticate",
            "x-auth-request-",
            "x-client-cert",
            "x-client-verify",
            "x-remote-user",
            "x-ssl-client-",
            "x-webauth-user",
        ],
    ),
    (
        "holds cookies",
        &["cookie", "cookie2", "set-cookie", "set-cookie2"],
    ),
    (
        "describes or negotiates the content",
        &[
            "a-im",
            "accept",
            "accept-",
            "alternates",
            "available-dictionary",
            "content-",
            "delta-base",
            "dictionary-id",
            "digest",
            "im",
            "mime-version",
            "negotiate",
            "prefer",
            "preference-applied",
            "range",
            "repr-digest",
            "tcn",
            "use-as-dictionary",
            "variant-vary",
            "want-",
        ],
    ),
    (
        "makes a request conditional",
        &["etag", "if", "if-", "last-modified"],
    ),
    (
        "speaks to caches",
        &[
            "age",
            "cache-",
            "clear-site-data",
            "expires",
            "no-vary-search",
            "pragma",
            "surrogate-",
            "vary",
            "warning",
        ],
    ),
    (
        "says what other origins may do",
        &[
            "access-control-",
            "cross-origin-",
            "origin",
            "origin-agent-cluster",
            "timing-allow-origin",
        ],
    ),
    (
        "is set by browsers alone",
        &[
            "device-memory",
            "dnt",
            "downlink",
            "dpr",
            "early-data",
            "ect",
            "last-event-id",
            "referer",
            "rtt",
            "save-data",
            "sec-",
            "secure-session-",
            "service-worker",
            "upgrade-insecure-requests",
            "user-agent",
            "viewport-width",
            "width",
        ],
    ),
    (
        "tells a browser how to treat the page or the site",
        &[
            "activate-storage-access",
            "alt-svc",
            "alt-used",
            "attribution-reporting-",
            "critical-ch",
            "document-policy",
            "expect-ct",
            "feature-policy",
            "integrity-policy",
            "integrity-policy-report-only",
            "link",
            "link-template",
            "nel",
            "p3p",
            "permissions-policy",
            "public-key-pins",
            "refresh",
            "referrer-policy",
            "report-to",
            "reporting-endpoints",
            "server-timing",
            "service-worker-allowed",
            "set-login",
            "sourcemap",
            "speculation-rules",
            "strict-transport-security",
            "supports-loading-mode",
            "x-content-type-options",
            "x-dns-prefetch-control",
            "x-download-options",
            "x-frame-options",
            "x-permitted-cross-domain-policies",
            "x-robots-tag",
            "x-ua-compatible",
            "x-xss-protection",
        ],
    ),
    (
        "steers the request or its answer",
        &[
            "allow",
            "date",
            "deprecation",
            "expect",
            "from",
            "host",
            "idempotency-key",
            "location",
            "priority",
            "retry-after",
            "server",
            "status",
            "sunset",
            "x-http-method",
            "x-http-method-override",
            "x-method-override",
        ],
    ),
    (
        "belongs to WebDAV",
        &[
            "dav",
            "depth",
            "destination",
            "lock-token",
            "overwrite",
            "timeout",
        ],
    ),
];

/// How the token travels: in a cookie, or in a header for clients that keep no cookies.
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
///
/// With a header, the client keeps the token of the last response that had this header, and sends
/// it with each request. It forgets the token when the header comes empty. The rules for size,
/// deadlines and caching are the same as for a cookie. A token for a cookie does not open in a
/// header, nor the other way round, and the store reads no cookie. You lose the cookie's protection
/// from scripts and its Max-Age, so [`remember`](crate::Session::remember) has no effect.
///
/// A script of another origin can read the header only if the response names it in
/// `Access-Control-Expose-Headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport(Carrier);

/// The two carriers of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Carrier {
    Cookie(CookieConfig),
    Header {
        name: HeaderName,
        /// Whether requests carry the token as `Authorization: Bearer` instead of in this header.
        bearer: bool,
    },
}

/// The token in a response: a whole Set-Cookie, or a header and its value.
#[derive(Clone)]
pub(crate) enum Carried {
    SetCookie(HeaderValue),
    /// Boxed, because few services have this and every response is as large.
    Header(Box<(HeaderName, HeaderValue)>),
}

/// The request's header that a response varies by.
#[derive(Clone, Debug)]
pub(crate) enum Vary {
    Cookie,
    Authorization,
    Other(Box<HeaderName>),
}

impl Vary {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Cookie => "Cookie",
            Self::Authorization => "Authorization",
            Self::Other(name) => name.as_str(),
        }
    }

    pub(crate) fn value(&self) -> HeaderValue {
        match self {
            Self::Cookie => HeaderValue::from_static("Cookie"),
            Self::Authorization => HeaderValue::from_static("Authorization"),
            Self::Other(name) => HeaderName::clone(name).into(),
        }
    }
}

/// Carries the token in a cookie with these attributes.
impl From<CookieConfig> for Transport {
    fn from(cookie: CookieConfig) -> Self {
        Self(Carrier::Cookie(cookie))
    }
}

impl Transport {
    /// Carries the token in the header `name`, in requests and responses. Upper and lower case are
    /// the same.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Transport};
    /// let transport = Transport::header("X-Session-Token")?;
    /// let store = CookieStore::builder(AppKey::generate()?).transport(transport).build()?;
    /// assert_eq!(store.request_header(), "x-session-token");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If `name` is not a header's name, has more than 255 bytes, or already has a meaning. Choose
    /// a name of your own, such as `X-Session-Token`. These headers are refused: those that frame,
    /// negotiate or describe a message, conditions, caching, cookies, `Authorization`, those that
    /// proxies and browsers set, and all that begin with `Accept-`, `Access-Control-`, `Content-`,
    /// `If-`, `Proxy-` or `Sec-`.
    pub fn header(name: &str) -> Result<Self, ConfigError> {
        Ok(Self(Carrier::Header {
            name: checked(name)?,
            bearer: false,
        }))
    }

    /// Carries the token as `Authorization: Bearer` in requests, and in `X-Session-Token` in
    /// responses, as in the example of [`Transport`].
    pub fn bearer() -> Self {
        Self(Carrier::Header {
            name: HeaderName::from_static(DEFAULT_HEADER),
            bearer: true,
        })
    }

    /// Carries the token as `Authorization: Bearer` in requests, and in the header `name` in
    /// responses.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Transport};
    /// let transport = Transport::bearer_answered_in("X-Shop-Token")?;
    /// let store = CookieStore::builder(AppKey::generate()?).transport(transport).build()?;
    /// assert_eq!(store.request_header(), "authorization");
    ///
    /// let session = store.load_from::<str>([]);
    /// session.insert("user_id", 42)?;
    /// let mut answer = http::HeaderMap::new();
    /// store.save(&session, &mut answer)?;
    /// assert!(answer.contains_key("x-shop-token"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as for [`header`](Self::header).
    pub fn bearer_answered_in(name: &str) -> Result<Self, ConfigError> {
        Ok(Self(Carrier::Header {
            name: checked(name)?,
            bearer: true,
        }))
    }

    /// The request's header to read.
    pub(crate) fn request_header(&self) -> HeaderName {
        match &self.0 {
            Carrier::Cookie(_) => COOKIE,
            Carrier::Header { bearer: true, .. } => AUTHORIZATION,
            Carrier::Header { name, .. } => name.clone(),
        }
    }

    /// What a response varies by after the session was read.
    pub(crate) fn vary(&self) -> Vary {
        match &self.0 {
            Carrier::Cookie(_) => Vary::Cookie,
            Carrier::Header { bearer: true, .. } => Vary::Authorization,
            Carrier::Header { name, .. } => Vary::Other(Box::new(name.clone())),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.0 {
            Carrier::Cookie(_) => Kind::Cookie,
            Carrier::Header { .. } => Kind::Header,
        }
    }

    /// The name that counts towards the size and goes into the keys.
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

    /// The value that makes the client forget the token.
    pub(crate) fn removal(&self) -> String {
        self.cookie()
            .map_or_else(String::new, CookieConfig::removal)
    }

    /// The parts of the value before and after the token.
    pub(crate) fn around_token(&self) -> (String, String) {
        self.cookie()
            .map_or_else(Default::default, CookieConfig::around_value)
    }

    pub(crate) fn carry(&self, value: HeaderValue) -> Carried {
        match &self.0 {
            Carrier::Cookie(_) => Carried::SetCookie(value),
            Carrier::Header { name, .. } => Carried::Header(Box::new((name.clone(), value))),
        }
    }
}

fn checked(name: &str) -> Result<HeaderName, ConfigError> {
    let problem = match HeaderName::from_bytes(name.as_bytes()) {
        Err(_) => "it is no header's name: only letters, digits and !#$%&'*+-.^_`|~ are possible"
            .to_owned(),
        Ok(name) if name.as_str().len() > MAX_LABEL => {
            format!("it has more than the {MAX_LABEL} possible bytes")
        }
        Ok(name) => match meaning_of(name.as_str()) {
            None => return Ok(name),
            Some(meaning) => {
                format!("`{name}` {meaning}; choose a name of your own, such as X-Session-Token")
            }
        },
    };
    Err(ConfigError::new("transport header", problem))
}

/// The present meaning of a header, whose name is in lower case.
fn meaning_of(name: &str) -> Option<&'static str> {
    let is_of = |known: &&str| *known == name || (known.ends_with('-') && name.starts_with(known));
    let reserved = RESERVED.iter().find(|(_, names)| names.iter().any(is_of));
    let reserved = reserved.map(|(meaning, _)| *meaning);
    reserved.or_else(|| is_targeted(name).then_some("speaks to caches"))
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
    fn what_http_itself_or_somebody_on_the_way_owns_carries_no_token() {
        let of_http = "
            accept accept-ch accept-charset accept-encoding accept-language accept-patch
            accept-ranges access-control-allow-credentials access-control-allow-headers
            access-control-allow-methods access-control-allow-origin
            access-control-expose-headers access-control-max-age access-control-request-headers
            access-control-request-method age allow alt-svc authentication-info authorization
            cache-control cache-status cdn-cache-control clear-site-data connection
            content-disposition content-encoding content-language content-length
            content-location content-md5 content-range content-security-policy
            content-security-policy-report-only content-type cookie cookie2
            cross-origin-embedder-policy cross-origin-opener-policy
            cross-origin-resource-policy date digest dnt early-data edge-control etag expect
            expires forwarded from host http2-settings if-match if-modified-since if-none-match
            if-range if-unmodified-since keep-alive last-modified link location max-forwards
            mime-version nel origin permissions-policy pragma prefer priority
            proxy-authenticate proxy-authentication-info proxy-authorization proxy-connection
            proxy-status range referer referrer-policy refresh repr-digest report-to
            retry-after sec-ch-ua sec-fetch-site sec-websocket-accept sec-websocket-key
            sec-websocket-protocol server server-timing set-cookie set-cookie2 sourcemap
            strict-transport-security surrogate-capability surrogate-control te
            timing-allow-origin trailer transfer-encoding upgrade upgrade-insecure-requests
            user-agent vary vercel-cdn-cache-control via want-digest warning www-authenticate
            x-accel-expires x-accel-redirect x-content-type-options x-forwarded-for
            x-forwarded-proto x-frame-options x-http-method-override x-real-ip
            x-litespeed-cache-control x-xss-protection x-sendfile status client-cert dpop
            x-request-id x-correlation-id traceparent tracestate baggage b3 x-b3-traceid
            x-amzn-trace-id x-cloud-trace-context true-client-ip cf-connecting-ip x-client-ip
            x-original-url x-rewrite-url x-envoy-original-path x-cache x-varnish
            last-event-id width dpr if depth lock-token p3p expect-ct
            secure-session-registration secure-session-challenge secure-session-response
            activate-storage-access integrity-policy use-as-dictionary available-dictionary
            dictionary-id link-template deprecation sunset idempotency-key x-forwarded
            remote-user x-remote-user x-auth-request-user x-ssl-client-cert fastly-client-ip
            attribution-reporting-register-source x-download-options";
        for name in of_http.split_whitespace() {
            for name in [name.to_owned(), name.to_uppercase()] {
                let error = Transport::header(&name).unwrap_err();
                assert_eq!(error.setting(), "transport header", "{name}");
                let text = error.to_string();
                assert!(text.contains(&name.to_lowercase()), "{text}");
                assert!(text.contains("X-Session-Token"), "{text}");
                assert_eq!(Transport::bearer_answered_in(&name), Err(error), "{name}");
            }
        }
        let own = "x-session-token x-session session session-token x-auth-token auth-token \
                   x-login token x-api-key x-csrf-token x-content x-host acceptance contents \
                   hosting sector iffy teapot proxyless x-if-match my-content-type iff widths x-status \
                   x-request x-trace-token x-cached x-b3x cfx b3x";
        for name in own.split_whitespace() {
            assert!(Transport::header(name).is_ok(), "{name}");
        }
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
