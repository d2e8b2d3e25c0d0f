//! The cookie: its name, its attributes, and the header it is written in.

pub(crate) mod header;

use std::fmt;
use std::net::Ipv6Addr;

use cookie::Cookie;

use crate::error::ConfigError;

/// The default name. Its prefix makes browsers accept the cookie only from this host and over a
/// secure connection.
pub(crate) const DEFAULT_NAME: &str = "__Host-session";

/// The longest name, in bytes.
pub(crate) const MAX_NAME: usize = 255;

/// The most bytes in a cookie's name and value together. Browsers drop longer ones (RFC 6265bis,
/// section 5.6).
pub(crate) const MAX_NAME_AND_VALUE: usize = 4096;

/// The most bytes in one attribute's value. Browsers ignore longer ones.
const MAX_ATTRIBUTE: usize = 1024;

/// When a browser sends the cookie with requests from other sites.
///
/// ```
/// # use sealed_session::{CookieConfig, SameSite};
/// // For an admin page that nobody reaches by a link on another site:
/// let cookie = CookieConfig::builder().same_site(SameSite::Strict).build()?;
/// assert!(format!("{cookie:?}").contains("SameSite=Strict"));
/// # Ok::<(), sealed_session::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SameSite {
    /// Never, not even when the visitor follows a link from another site.
    Strict,
    /// Only when the visitor follows a link to this site. The default.
    #[default]
    Lax,
    /// Always. You need `Secure` for this, and other protection against request forgery.
    None,
}

/// A cookie's name and attributes, checked by the rules of browsers when you build it.
///
/// By default, the cookie is `__Host-session` with `Secure`, `HttpOnly`, `SameSite=Lax`, `Path=/`
/// and no `Domain`. Browsers keep it until the session's deadline.
///
/// ```
/// use sealed_session::CookieConfig;
///
/// let cookie = CookieConfig::builder().name("__Secure-login").domain("example.com").build()?;
/// assert_eq!(cookie.name(), "__Secure-login");
///
/// let error = CookieConfig::builder().domain("example.com").build().unwrap_err();
/// assert_eq!(error.setting(), "cookie domain"); // `__Host-` allows none
/// # Ok::<(), sealed_session::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CookieConfig {
    name: String,
    path: String,
    domain: Option<String>,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
    partitioned: bool,
    persistent: bool,
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self {
            name: DEFAULT_NAME.to_owned(),
            path: "/".to_owned(),
            domain: None,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
            persistent: true,
        }
    }
}

impl CookieConfig {
    /// A builder that starts from the defaults.
    pub fn builder() -> CookieConfigBuilder {
        CookieConfigBuilder {
            config: Self::default(),
        }
    }

    /// The cookie's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    #[cfg(feature = "device-bound")]
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    #[cfg(feature = "device-bound")]
    pub(crate) fn same_site(&self) -> SameSite {
        self.same_site
    }

    #[cfg(feature = "device-bound")]
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    #[cfg(feature = "device-bound")]
    pub(crate) fn is_partitioned(&self) -> bool {
        self.partitioned
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// Whether a browser takes both for the same cookie, so that one replaces the other.
    pub(crate) fn is_same_cookie(&self, other: &Self) -> bool {
        (&self.name, &self.path, &self.domain, self.partitioned)
            == (&other.name, &other.path, &other.domain, other.partitioned)
    }

    /// The parts of the Set-Cookie header before and after the value.
    pub(crate) fn around_value(&self) -> (String, String) {
        let header = self.with_value("").to_string();
        let prefix = format!("{}=", self.name);
        let suffix = header.strip_prefix(&prefix).unwrap_or_default().to_owned();
        (prefix, suffix)
    }

    /// The Set-Cookie header that removes the cookie. It has the attributes that identify the
    /// cookie, no value, and an expiry in the past.
    pub(crate) fn removal(&self) -> String {
        let mut cookie = self.with_value("");
        cookie.set_max_age(cookie::time::Duration::ZERO);
        cookie.set_expires(cookie::time::OffsetDateTime::UNIX_EPOCH);
        cookie.to_string()
    }

    fn with_value<'a>(&'a self, value: &'a str) -> Cookie<'a> {
        let mut cookie = Cookie::new(self.name.as_str(), value);
        cookie.set_path(self.path.as_str());
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.as_str());
        }
        cookie.set_secure(self.secure);
        cookie.set_http_only(self.http_only);
        cookie.set_partitioned(self.partitioned);
        cookie.set_same_site(match self.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::None => cookie::SameSite::None,
        });
        cookie
    }
}

impl fmt::Debug for CookieConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_value("").to_string())
    }
}

/// Builds a [`CookieConfig`]. [`build`](Self::build) checks the rules of browsers.
///
/// ```
/// use sealed_session::{AppKey, CookieConfig, CookieStore, SameSite};
///
/// let cookie = CookieConfig::builder()
///     .name("__Host-staff") // two applications on one host need two names
///     .same_site(SameSite::Strict)
///     .persistent(false) // until the browser is closed
///     .build()?;
/// assert!(format!("{cookie:?}").contains("SameSite=Strict"));
///
/// let store = CookieStore::builder(AppKey::generate()?).cookie(cookie).build()?;
/// # let _ = store;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CookieConfigBuilder {
    config: CookieConfig,
}

impl CookieConfigBuilder {
    /// Sets the name: 1 to 255 characters of a token (RFC 9110). Default: `__Host-session`.
    ///
    /// Some prefixes are promises. Browsers enforce them, and so does this builder: `__Host-`
    /// (Secure, Path=/, no Domain), `__Secure-` (Secure), `__Http-` and `__Host-Http-` (HttpOnly as
    /// well).
    ///
    /// ```
    /// # use sealed_session::CookieConfig;
    /// let error = CookieConfig::builder().name("__Host-admin").path("/admin").build().unwrap_err();
    /// assert_eq!(error.setting(), "cookie path"); // `__Host-` needs `/`
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// Sets the path below which browsers send the cookie. Default: `/`. Another path needs another
    /// name than the default, whose prefix forbids it:
    ///
    /// ```
    /// # use sealed_session::CookieConfig;
    /// let cookie = CookieConfig::builder().name("__Secure-staff").path("/staff").build()?;
    /// assert!(CookieConfig::builder().path("/staff").build().is_err());
    /// # assert!(format!("{cookie:?}").contains("Path=/staff"));
    /// # Ok::<(), sealed_session::ConfigError>(())
    /// ```
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.config.path = path.into();
        self
    }

    /// Sets the domain whose hosts all get the cookie, as in the example of [`CookieConfig`]. By
    /// default, only the host that set the cookie gets it.
    ///
    /// The domain needs two labels or more, because browsers refuse `com`. They also refuse longer
    /// public suffixes such as `co.uk`, silently. Only browsers have that list, so this builder
    /// cannot check it. For `localhost` or an IP address, set no domain: browsers keep no cookie
    /// with one. Upper and lower case are the same.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.config.domain = Some(domain.into());
        self
    }

    /// Sets when requests from other sites carry the cookie. Default: [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.config.same_site = same_site;
        self
    }

    /// Sets whether an embedded site gets a separate cookie jar for each site that embeds it
    /// (CHIPS). Default: off.
    ///
    /// ```
    /// # use sealed_session::{CookieConfig, SameSite};
    /// // For a chat window that other sites show in a frame.
    /// let cookie = CookieConfig::builder().same_site(SameSite::None).partitioned(true).build()?;
    /// assert!(format!("{cookie:?}").contains("Partitioned"));
    /// # Ok::<(), sealed_session::ConfigError>(())
    /// ```
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.config.partitioned = partitioned;
        self
    }

    /// Sets whether browsers keep the cookie after they are closed. Default: on. A session can
    /// choose otherwise with [`remember`](crate::Session::remember).
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.config.persistent = persistent;
        self
    }

    /// Sends the cookie over plain http too, so anyone who listens can take over the session.
    /// Choose another name than the default, whose prefix forbids this:
    ///
    /// ```
    /// # use sealed_session::CookieConfig;
    /// let cookie = CookieConfig::builder().name("session").insecure_over_http().build()?;
    /// assert!(!format!("{cookie:?}").contains("Secure"));
    /// # Ok::<(), sealed_session::ConfigError>(())
    /// ```
    pub fn insecure_over_http(mut self) -> Self {
        self.config.secure = false;
        self
    }

    /// Lets scripts read the cookie, so one injected script can steal the session.
    ///
    /// ```
    /// # use sealed_session::CookieConfig;
    /// let cookie = CookieConfig::builder().insecure_for_scripts().build()?;
    /// assert!(!format!("{cookie:?}").contains("HttpOnly"));
    /// # Ok::<(), sealed_session::ConfigError>(())
    /// ```
    pub fn insecure_for_scripts(mut self) -> Self {
        self.config.http_only = false;
        self
    }

    /// Checks the rules and returns the configuration.
    ///
    /// # Errors
    ///
    /// If browsers would refuse the cookie, or a value could split a header. The error names the
    /// attribute.
    pub fn build(self) -> Result<CookieConfig, ConfigError> {
        let mut config = self.config;
        check_name(&config.name)?;
        check_path(&config.path)?;
        if let Some(domain) = &mut config.domain {
            check_domain(domain)?;
            // In lower case, as browsers keep it: one domain has one spelling.
            domain.make_ascii_lowercase();
        }
        check_prefix(&config)?;
        if !config.secure {
            if config.same_site == SameSite::None {
                let problem = "browsers refuse `None` without Secure";
                return Err(ConfigError::new("cookie same_site", problem));
            }
            if config.partitioned {
                let problem = "browsers refuse it without Secure";
                return Err(ConfigError::new("cookie partitioned", problem));
            }
        }
        Ok(config)
    }
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let problem = if name.is_empty() || name.len() > MAX_NAME {
        format!("it has {} bytes, 1 to {MAX_NAME} are possible", name.len())
    } else if !name.bytes().all(is_token) {
        "only letters, digits and !#$%&'*+-.^_`|~ are possible".to_owned()
    } else {
        return Ok(());
    };
    Err(ConfigError::new("cookie name", problem))
}

fn check_path(path: &str) -> Result<(), ConfigError> {
    let problem = if !path.starts_with('/') {
        "it must start with `/`; browsers ignore any other"
    } else if path.len() > MAX_ATTRIBUTE {
        "it is longer than the 1024 bytes that browsers read"
    } else if path.contains(';') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        "only visible ASCII without `;` is possible; write others percent-encoded"
    } else {
        return Ok(());
    };
    Err(ConfigError::new("cookie path", problem))
}

fn check_domain(domain: &str) -> Result<(), ConfigError> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = domain.rsplit('.').next().unwrap_or_default();
    let problem = if is_ipv6(domain) || is_number(last) {
        "browsers keep no cookie for an IP address with a domain; leave `domain` out, and only this \
         host gets it"
    } else if domain.len() > 253 || !domain.split('.').all(is_label) {
        "it must be a host name such as `example.com`, without a leading dot or a port, with other \
         letters than ASCII in their `xn--` form"
    } else if !domain.contains('.') {
        "browsers refuse a domain of one label; for a single host such as `localhost` leave \
         `domain` out, otherwise name a domain of yours such as `example.com`"
    } else {
        return Ok(());
    };
    Err(ConfigError::new("cookie domain", problem))
}

/// Whether this is an IPv6 address: plain, in a URL's brackets, or with a zone.
fn is_ipv6(domain: &str) -> bool {
    let domain = domain.strip_prefix('[').unwrap_or(domain);
    let domain = domain.strip_suffix(']').unwrap_or(domain);
    let address = domain.split('%').next().unwrap_or_default();
    address.parse::<Ipv6Addr>().is_ok()
}

/// Whether browsers take a host with this last label for an IPv4 address: decimal, octal or
/// hexadecimal. WHATWG URL, "ends in a number".
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or(label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Checks the promises of a name's prefix. Browsers ignore its case (RFC 6265bis, section 4.1.3).
fn check_prefix(config: &CookieConfig) -> Result<(), ConfigError> {
    let name = config.name.to_ascii_lowercase();
    let has = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let refuse = |attribute: &str, rule: &str| {
        let advice = "choose another `name` or keep the default";
        Err(ConfigError::new(
            format!("cookie {attribute}"),
            format!("the prefix of the name `{}` {rule}; {advice}", config.name),
        ))
    };
    if has(&["__host-", "__secure-", "__http-"]) && !config.secure {
        return refuse("secure", "requires Secure");
    }
    if has(&["__http-", "__host-http-"]) && !config.http_only {
        return refuse("http_only", "requires HttpOnly");
    }
    if has(&["__host-"]) && config.domain.is_some() {
        return refuse("domain", "allows no Domain");
    }
    if has(&["__host-"]) && config.path != "/" {
        return refuse("path", "requires Path=/");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> CookieConfigBuilder {
        CookieConfig::builder()
    }

    fn refused(builder: CookieConfigBuilder) -> String {
        builder.build().unwrap_err().setting().to_owned()
    }

    #[test]
    fn the_default_is_what_the_builder_starts_from_and_is_valid() {
        assert_eq!(builder().build().unwrap(), CookieConfig::default());
        let (prefix, suffix) = CookieConfig::default().around_value();
        assert_eq!(prefix, "__Host-session=");
        assert_eq!(suffix, "; HttpOnly; SameSite=Lax; Secure; Path=/");
    }

    #[test]
    fn what_a_browser_would_refuse_is_refused_by_name() {
        let plain = || builder().name("id");
        assert_eq!(refused(builder().domain("example.com")), "cookie domain");
        assert_eq!(refused(builder().path("/app")), "cookie path");
        assert_eq!(refused(builder().insecure_over_http()), "cookie secure");
        assert_eq!(
            refused(builder().name("__SECURE-x").insecure_over_http()),
            "cookie secure"
        );
        assert_eq!(
            refused(builder().name("__host-x").domain("a.b")),
            "cookie domain"
        );
        assert_eq!(
            refused(builder().name("__Http-x").insecure_for_scripts()),
            "cookie http_only"
        );
        assert_eq!(
            refused(builder().name("__Host-Http-x").insecure_for_scripts()),
            "cookie http_only"
        );
        let none = plain().same_site(SameSite::None).insecure_over_http();
        assert_eq!(refused(none), "cookie same_site");
        assert_eq!(
            refused(plain().partitioned(true).insecure_over_http()),
            "cookie partitioned"
        );
        assert!(plain().insecure_over_http().build().is_ok());
        assert!(plain().insecure_for_scripts().build().is_ok());
        assert!(builder().name("__Http-x").build().is_ok());
        assert!(
            builder()
                .name("__Secure-x")
                .domain("example.com")
                .path("/a")
                .build()
                .is_ok()
        );
    }

    #[test]
    fn nothing_that_could_split_a_header_is_accepted() {
        for evil in [
            "a;b",
            "a\r\nb",
            "a\nb",
            "a\0b",
            "a\tb",
            "a b",
            "é",
            "",
            "a=b",
            "a,b\u{7f}",
        ] {
            assert_eq!(refused(builder().name(evil)), "cookie name", "{evil:?}");
            assert_eq!(
                refused(builder().name("id").domain(evil)),
                "cookie domain",
                "{evil:?}"
            );
        }
        for evil in ["/a;b", "/a\r\nb", "/a\0", "/é", "", "a", "/a b"] {
            assert_eq!(
                refused(builder().name("id").path(evil)),
                "cookie path",
                "{evil:?}"
            );
        }
        for evil in [
            ".example.com",
            "example.com.",
            "example.com:80",
            "-a.b",
            "a-.b",
            "a..b",
        ] {
            assert_eq!(
                refused(builder().name("id").domain(evil)),
                "cookie domain",
                "{evil:?}"
            );
        }
        assert_eq!(refused(builder().name("n".repeat(256))), "cookie name");
        assert_eq!(
            refused(builder().name("id").path(format!("/{}", "p".repeat(1024)))),
            "cookie path"
        );
    }

    #[test]
    fn a_domain_is_refused_that_browsers_take_for_an_address_or_for_nobodys() {
        let domain = |domain: &str| builder().name("id").domain(domain);
        for (refusal, domains) in [
            (
                "IP address",
                &[
                    "1.2.3.4",
                    "127.1",
                    "2130706433",
                    "0x7f.0.0.1",
                    "0X7F000001",
                    "0x",
                    "0177.0.0.1",
                    "256.256.256.256",
                    "1.2.3.4.5",
                    "example.1",
                    "a.0x1f",
                    "::1",
                    "[::1]",
                    "2001:DB8::1",
                    "[2001:db8::1]",
                    "::ffff:1.2.3.4",
                    "fe80::1%eth0",
                ][..],
            ),
            (
                "one label",
                &["com", "COM", "localhost", "intranet", "xn--p1ai", "0xg"],
            ),
            (
                "host name",
                &[
                    "1.2.3.4.",
                    "localhost.",
                    ".localhost",
                    "[::1]:80",
                    "bücher.example",
                    ":",
                    "[]",
                ],
            ),
        ] {
            for evil in domains {
                let error = domain(evil).build().unwrap_err();
                assert_eq!(error.setting(), "cookie domain", "{evil:?}");
                assert!(error.to_string().contains(refusal), "{evil:?}: {error}");
            }
        }
        for good in [
            "example.com",
            "1.2.3.4.example.com",
            "127.0.0.1.nip.io",
            "a.localhost",
            "example.x1",
            "0x1.0xg",
            "xn--bcher-kva.example",
            "co.uk",
        ] {
            assert!(domain(good).build().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_domain_is_the_same_in_any_case() {
        let domain = |domain: &str| {
            let builder = builder().name("id").domain(domain);
            builder.build().unwrap()
        };
        let (lower, upper) = (domain("www.example.com"), domain("WWW.Example.COM"));
        assert!(lower.is_same_cookie(&upper));
        assert_eq!(lower, upper);
        assert_eq!(lower.removal(), upper.removal());
    }

    #[test]
    fn each_length_is_exact_to_the_byte() {
        let name = |length| builder().name("n".repeat(length));
        let path = |length| builder().name("id").path("/".repeat(length));
        let domain = |labels: [usize; 4]| {
            let labels = labels.map(|length| "l".repeat(length));
            builder().name("id").domain(labels.join("."))
        };
        for (most, more, setting) in [
            (name(255), name(256), "cookie name"),
            (path(1024), path(1025), "cookie path"),
            (
                domain([63, 1, 1, 1]),
                domain([64, 1, 1, 1]),
                "cookie domain",
            ),
            (
                domain([63, 63, 63, 61]),
                domain([63, 63, 63, 62]),
                "cookie domain",
            ),
        ] {
            assert!(most.build().is_ok(), "{setting}");
            assert_eq!(refused(more), setting);
        }
    }

    #[test]
    fn which_of_two_cookies_a_browser_replaces_hangs_on_name_path_domain_and_partition() {
        let cookie = |change: fn(CookieConfigBuilder) -> CookieConfigBuilder| {
            change(builder().name("id")).build().unwrap()
        };
        let id = cookie(|cookie| cookie);
        assert!(id.is_same_cookie(&cookie(|cookie| cookie.same_site(SameSite::Strict))));
        for other in [
            cookie(|cookie| cookie.name("other")),
            cookie(|cookie| cookie.path("/app")),
            cookie(|cookie| cookie.domain("example.com")),
            cookie(|cookie| cookie.partitioned(true)),
        ] {
            assert!(!id.is_same_cookie(&other), "{other:?}");
        }
    }

    #[test]
    fn debug_shows_the_header_without_a_value() {
        assert_eq!(
            format!("{:?}", CookieConfig::default()),
            "__Host-session=; HttpOnly; SameSite=Lax; Secure; Path=/"
        );
    }

    #[test]
    fn a_removal_has_the_attributes_of_the_cookie_and_an_expiry_in_the_past() {
        let cookie = builder()
            .name("__Secure-x")
            .domain("example.com")
            .path("/app")
            .same_site(SameSite::None)
            .partitioned(true)
            .build()
            .unwrap();
        assert_eq!(
            cookie.removal(),
            "__Secure-x=; HttpOnly; SameSite=None; Partitioned; Secure; Path=/app; \
             Domain=example.com; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }
}
