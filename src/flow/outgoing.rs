//! The headers that a response needs for its session: Set-Cookie or the token's own header,
//! Cache-Control, Vary.

use std::fmt;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, VARY};

use crate::caching::{Orders, Said, is_said, private};
use crate::transport::{Carried, Vary};

/// The header changes that a response needs for its session.
///
/// With the header types of `http` 1.x, call [`apply`](Self::apply). For others, pass the
/// response's present headers to [`changes`](Self::changes), which returns the changes as names and
/// values:
///
/// ```
/// # use sealed_session::{AppKey, CookieStore};
/// # let store = CookieStore::new(AppKey::generate()?);
/// # let session = store.load_from(["theme=dark"]);
/// # session.insert("user_id", 42)?;
/// let mut headers = vec![("cache-control".to_owned(), b"public, max-age=60".to_vec())];
///
/// let outgoing = store.respond(&session)?;
/// let changes = outgoing.changes(headers.iter().map(|(name, value)| (name.as_str(), &value[..])));
/// for change in changes {
///     headers.retain(|(name, _)| !name.eq_ignore_ascii_case(change.name()));
///     headers.extend(change.values().map(|value| (change.name().to_owned(), value.to_vec())));
/// }
/// # assert!(headers.contains(&("cache-control".to_owned(), b"max-age=60, private".to_vec())));
/// # assert!(headers.contains(&("vary".to_owned(), b"Cookie".to_vec())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `Debug` never shows a cookie's value.
#[derive(Clone)]
#[must_use = "a session is saved only when the response gets these headers"]
pub struct Outgoing {
    pub(super) carried: Option<Carried>,
    /// Removals of cookies that were set with former attributes.
    pub(super) former: Option<Arc<[String]>>,
    /// The session came from a request and was handed out, so the response depends on the request.
    pub(super) varies: bool,
    /// The session came with the request and opened, so the response is private unless its handler
    /// says otherwise.
    pub(super) is_personal: bool,
    /// The request's header that holds the session.
    pub(super) vary: Vary,
    /// What the browser is to clear after a logout.
    pub(super) clears: Option<Box<HeaderValue>>,
    /// What else a device-bound session needs.
    pub(super) beside: Option<Box<Beside>>,
}

/// The header that asks a browser to register a key for its session.
#[cfg(feature = "device-bound")]
pub(super) const REGISTRATION: HeaderName = HeaderName::from_static("secure-session-registration");

/// The header with what a browser has to sign next.
#[cfg(feature = "device-bound")]
pub(super) const CHALLENGE: HeaderName = HeaderName::from_static("secure-session-challenge");

/// The headers of a device-bound session beside the session's own.
#[derive(Clone, Default)]
pub(super) struct Beside {
    /// Cookies to set or to remove.
    pub(super) cookies: Vec<HeaderValue>,
    /// Asks the browser to register or to sign. Other layers may have headers of that name.
    pub(super) request: Option<(HeaderName, HeaderValue)>,
}

/// What a browser clears after a logout: see
/// [`clear_site_data`](crate::StoreBuilder::clear_site_data).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SiteData {
    /// Cached responses, so that the Back button shows no page of the visitor who has left.
    Cache,
    /// All cookies of the host's registrable domain, also those of other applications.
    Cookies,
    /// Local storage, databases and service workers of the origin.
    Storage,
    /// Everything, including what browsers add to the list later.
    Everything,
}

impl SiteData {
    fn directive(self) -> &'static str {
        match self {
            Self::Cache => "\"cache\"",
            Self::Cookies => "\"cookies\"",
            Self::Storage => "\"storage\"",
            Self::Everything => "\"*\"",
        }
    }

    /// The header's value; `None` if nothing is to be cleared.
    fn header(data: impl IntoIterator<Item = Self>) -> Option<HeaderValue> {
        let directives: Vec<_> = data.into_iter().map(Self::directive).collect();
        HeaderValue::try_from(directives.join(", "))
            .ok()
            .filter(|value| !value.is_empty())
    }
}

/// What browsers clear when a session is destroyed, as the header's value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clears {
    all: Option<HeaderValue>,
    but_cookies: Option<HeaderValue>,
}

impl Clears {
    pub(crate) fn of(data: impl IntoIterator<Item = SiteData>) -> Self {
        let data: Vec<SiteData> = data.into_iter().collect();
        let but_cookies = [SiteData::Cache, SiteData::Storage].into_iter();
        let is_asked = |it: &SiteData| data.contains(it) || data.contains(&SiteData::Everything);
        Self {
            but_cookies: SiteData::header(but_cookies.filter(is_asked)),
            all: SiteData::header(data),
        }
    }

    /// If the response sets a cookie for a new session, cookies stay.
    pub(super) fn at_end(&self, sets_cookie: bool) -> Option<HeaderValue> {
        let clears = if sets_cookie {
            &self.but_cookies
        } else {
            &self.all
        };
        clears.clone()
    }
}

/// The header of the response that clears site data.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// A change to one header field: its name and all its values after the change. [`Outgoing`] has an
/// example.
#[derive(Clone)]
pub struct HeaderChange {
    name: HeaderName,
    values: Vec<Vec<u8>>,
    is_sensitive: bool,
}

impl HeaderChange {
    fn new(name: HeaderName, values: &[&[u8]], is_sensitive: bool) -> Self {
        let values = values.iter().map(|value| value.to_vec()).collect();
        Self {
            name,
            values,
            is_sensitive,
        }
    }

    /// The field's name, in lower case.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Whether a value holds a token. Keep such a value out of logs and HTTP/2 tables.
    pub fn is_sensitive(&self) -> bool {
        self.is_sensitive
    }

    /// All values of the field, which replace the present ones. Each gets a field line of its own.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter().map(Vec::as_slice)
    }
}

impl Outgoing {
    /// Whether the response needs no changes.
    pub fn is_empty(&self) -> bool {
        !self.varies && !self.writes() && self.clears.is_none()
    }

    /// No changes at all.
    #[cfg(feature = "tower")]
    pub(crate) fn nothing() -> Self {
        Self {
            carried: None,
            former: None,
            varies: false,
            is_personal: false,
            vary: Vary::Cookie,
            clears: None,
            beside: None,
        }
    }

    /// Whether the response carries a cookie or a token for its session, or a cookie beside it.
    pub(crate) fn writes(&self) -> bool {
        self.carried.is_some() || !self.former().is_empty() || !self.beside().is_empty()
    }

    fn beside(&self) -> &[HeaderValue] {
        self.beside.as_ref().map_or(&[], |beside| &beside.cookies)
    }

    /// The header that asks the browser for something, if there is one.
    fn request(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.beside.as_ref()?.request.as_ref()
    }

    fn former(&self) -> &[String] {
        self.former.as_deref().unwrap_or_default()
    }

    /// Drops all changes to cookies.
    pub(crate) fn leave_cookies_alone(&mut self) {
        self.carried = None;
        self.former = None;
        self.clears = None;
        self.beside = None;
    }

    /// The values of the Set-Cookie fields to add, in order.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Session};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// let outgoing = store.respond(&session)?;
    /// let cookie = outgoing.set_cookies().next().ok_or("no cookie is due")?;
    /// assert!(cookie.starts_with("__Host-session="));
    /// assert!(cookie.contains("HttpOnly"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_cookies(&self) -> impl Iterator<Item = &str> {
        let ours = match &self.carried {
            Some(Carried::SetCookie(set_cookie)) => set_cookie.to_str().ok(),
            _ => None,
        };
        let beside = self
            .beside()
            .iter()
            .filter_map(|cookie| cookie.to_str().ok());
        self.former()
            .iter()
            .map(String::as_str)
            .chain(ours)
            .chain(beside)
    }

    /// The `Cookie` header that a browser sends after this response, as `name=value`. Empty if the
    /// response sets no cookie or takes it away.
    ///
    /// Use it to test a route as a logged-in user. The session that you give to
    /// [`CookieStore::respond`](crate::CookieStore::respond), or to that of any other store, can be
    /// a new one:
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Session};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// let session = Session::new();
    /// session.insert("user_id", 42)?;
    /// let cookie = store.respond(&session)?.cookie_header();
    ///
    /// let request = http::Request::builder().uri("/profile").header("cookie", cookie);
    /// # let session = store.load(request.headers_ref().ok_or("no headers")?);
    /// # assert_eq!(session.get("user_id"), Ok(Some(42)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cookie_header(&self) -> String {
        let set_cookie = match &self.carried {
            Some(Carried::SetCookie(set_cookie)) => set_cookie.to_str().unwrap_or_default(),
            _ => "",
        };
        let pair = set_cookie.split(';').next().unwrap_or_default();
        if pair.ends_with('=') {
            return String::new();
        }
        pair.to_owned()
    }

    /// The header that carries the token, and its value. An empty value makes the client forget the
    /// token. `None` if the token is in a cookie, or if the header needs no change.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Session, Transport};
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// let transport = Transport::bearer_answered_in("X-Login-Token")?;
    /// let store = CookieStore::builder(AppKey::generate()?).transport(transport).build()?;
    /// let outgoing = store.respond(&session)?;
    /// let (name, token) = outgoing.token_header().ok_or("no header is due")?;
    /// assert_eq!(name, "x-login-token");
    /// # assert!(!token.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn token_header(&self) -> Option<(&HeaderName, &str)> {
        match &self.carried {
            Some(Carried::Header(header)) => {
                let (name, value) = &**header;
                Some((name, value.to_str().ok()?))
            }
            _ => None,
        }
    }

    /// Makes the changes in `headers`.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Session};
    /// # let store = CookieStore::new(AppKey::generate()?);
    /// # let session = Session::new();
    /// # session.insert("user_id", 42)?;
    /// let mut response = http::Response::new("hello");
    /// store.respond(&session)?.apply(response.headers_mut());
    /// assert!(response.headers().contains_key("set-cookie"));
    /// assert_eq!(response.headers()["cache-control"], "private");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A Set-Cookie or token of an earlier save is replaced. All others stay.
    ///
    /// A response with a Set-Cookie or a token is kept out of shared caches: `Cache-Control:
    /// private` replaces `public` and `s-maxage`, and `no-store` goes into the fields that a CDN
    /// obeys instead, such as `CDN-Cache-Control` and `Surrogate-Control`. `Vary` names the request
    /// header that holds the session.
    ///
    /// If a session came with the request and nothing is written, the response gets
    /// `Cache-Control: private`, unless it already has Cache-Control or one of those CDN fields.
    /// You can turn this off with [`private_by_default`](crate::StoreBuilder::private_by_default).
    pub fn apply(&self, headers: &mut HeaderMap) {
        self.clone().apply_once(headers);
    }

    /// Like [`apply`](Self::apply), but moves the token into the headers instead of copying it.
    pub(crate) fn apply_once(&mut self, headers: &mut HeaderMap) {
        if self.is_empty() {
            return;
        }
        let present = headers.get_all(VARY).iter().map(HeaderValue::as_bytes);
        let varies = self.is_varied_by(present);
        let present = headers.iter();
        let orders = self.orders(present.map(|(name, value)| (name.as_str(), value.as_bytes())));
        if self.writes() {
            self.replace_earlier(headers);
            for value in self.former().iter().cloned().filter_map(sensitive) {
                headers.append(SET_COOKIE, value);
            }
            let beside = self.beside().to_vec();
            match self.carried.take() {
                Some(Carried::SetCookie(value)) => drop(headers.append(SET_COOKIE, value)),
                Some(Carried::Header(header)) => {
                    let (name, value) = *header;
                    headers.insert(name, value);
                }
                None => {}
            }
            for value in beside {
                headers.append(SET_COOKIE, value);
            }
        }
        if let Some((name, ours)) = self.request().cloned() {
            let present = headers.get_all(&name).iter();
            let others = present.filter(|it| !is_of_same(it.as_bytes(), &ours));
            let others: Vec<_> = others.cloned().collect();
            headers.insert(&name, ours);
            for value in others {
                headers.append(&name, value);
            }
        }
        if let Some(value) = orders.cache_control {
            headers.insert(CACHE_CONTROL, value);
        }
        for (name, value) in orders.targeted {
            headers.insert(name, value);
        }
        if let Some(clears) = self.clears.take() {
            headers.entry(CLEAR_SITE_DATA).or_insert(*clears);
        }
        if !varies {
            headers.append(VARY, self.vary.value());
        }
    }

    /// Returns the changes to a response that has the headers `present`: pairs of a name, in any
    /// case, and a value. [`Outgoing`] has an example.
    pub fn changes<'h>(
        &self,
        present: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> Vec<HeaderChange> {
        let (mut set_cookies, mut vary) = (Vec::new(), Vec::new());
        let mut clears = self.clears.as_ref();
        let present: Vec<_> = present.into_iter().collect();
        for &(name, value) in &present {
            if SET_COOKIE == name {
                set_cookies.push(value);
            } else if VARY == name {
                vary.push(value);
            } else if CLEAR_SITE_DATA == name {
                clears = None;
            }
        }
        let others: Vec<&[u8]> = match self.request() {
            Some((name, ours)) => present
                .iter()
                .filter(|(of, value)| name == *of && !is_of_same(value, ours))
                .map(|(_, value)| *value)
                .collect(),
            None => Vec::new(),
        };
        let orders = self.orders(present.into_iter());
        let mut changes = Vec::new();
        let added: Vec<&str> = self.set_cookies().collect();
        if !added.is_empty() {
            set_cookies.retain(|value| !self.replaces(value));
            set_cookies.extend(added.iter().map(|value| value.as_bytes()));
            changes.push(HeaderChange::new(SET_COOKIE, &set_cookies, true));
        }
        if let Some((name, value)) = self.token_header() {
            changes.push(HeaderChange::new(name.clone(), &[value.as_bytes()], true));
        }
        if let Some((name, ours)) = self.request() {
            let mut values = vec![ours.as_bytes()];
            values.extend(others);
            changes.push(HeaderChange::new(name.clone(), &values, true));
        }
        let cache_control = orders.cache_control.map(|value| (CACHE_CONTROL, value));
        for (name, value) in cache_control.into_iter().chain(orders.targeted) {
            changes.push(HeaderChange::new(name, &[value.as_bytes()], false));
        }
        if let Some(clears) = clears {
            changes.push(HeaderChange::new(
                CLEAR_SITE_DATA,
                &[clears.as_bytes()],
                false,
            ));
        }
        if !self.is_empty() && !self.is_varied_by(vary.iter().copied()) {
            vary.push(self.vary.as_str().as_bytes());
            changes.push(HeaderChange::new(VARY, &vary, false));
        }
        changes
    }

    /// The directives for caches, given the present headers.
    fn orders<'h>(&self, present: impl Iterator<Item = (&'h str, &'h [u8])>) -> Orders {
        if self.writes() {
            return present.collect::<Said<'_>>().withheld();
        }
        let is_private = self.is_personal && !is_said(present);
        Orders {
            cache_control: is_private.then(private),
            targeted: Vec::new(),
        }
    }

    /// Whether these Vary fields already name the request's header.
    fn is_varied_by<'h>(&self, mut present: impl Iterator<Item = &'h [u8]>) -> bool {
        present.any(|value| {
            let mut names = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            names.any(|name| {
                name == b"*" || name.eq_ignore_ascii_case(self.vary.as_str().as_bytes())
            })
        })
    }

    /// Whether `set_cookie`, from an earlier save, is the cookie that is set now or a removal that
    /// is sent again.
    fn replaces(&self, set_cookie: &[u8]) -> bool {
        let ours = match &self.carried {
            Some(Carried::SetCookie(ours)) => Some(name_of(ours.as_bytes())),
            _ => None,
        };
        let is_same = |ours: &HeaderValue| is_same_name(ours.as_bytes(), set_cookie);
        ours.is_some_and(|ours| ours == name_of(set_cookie).trim_ascii())
            || self.beside().iter().any(is_same)
            || self
                .former()
                .iter()
                .any(|removal| removal.as_bytes() == set_cookie)
    }

    fn replace_earlier(&self, headers: &mut HeaderMap) {
        let is_there = |value: &HeaderValue| self.replaces(value.as_bytes());
        if !headers.get_all(SET_COOKIE).iter().any(is_there) {
            return;
        }
        let kept: Vec<HeaderValue> = headers
            .get_all(SET_COOKIE)
            .iter()
            .filter(|value| !is_there(value))
            .cloned()
            .collect();
        headers.remove(SET_COOKIE);
        for value in kept {
            headers.append(SET_COOKIE, value);
        }
    }
}

/// The part before the first `=`.
fn name_of(set_cookie: &[u8]) -> &[u8] {
    let mut parts = set_cookie.split(|&byte| byte == b'=');
    parts.next().unwrap_or_default()
}

fn is_same_name(ours: &[u8], set_cookie: &[u8]) -> bool {
    name_of(ours) == name_of(set_cookie).trim_ascii()
}

/// Whether both headers are of the same store: one is from an earlier save.
fn is_of_same(present: &[u8], ours: &HeaderValue) -> bool {
    let store = |value: &[u8]| {
        let mut parts = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let part = parts.find(|part| part.starts_with(b"path=") || part.starts_with(b"id="));
        part.map(<[u8]>::to_vec)
    };
    store(present) == store(ours.as_bytes())
}

/// Never `None` in practice: names, paths and domains are checked when they are configured, and
/// base64url is ASCII.
pub(super) fn sensitive(value: impl TryInto<HeaderValue>) -> Option<HeaderValue> {
    let mut value = value.try_into().ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A Set-Cookie without its value, for `Debug`.
struct WithoutValue<'a>(&'a str);

impl fmt::Debug for WithoutValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, rest) = self.0.split_once('=').unwrap_or_default();
        let attributes = rest.split_once(';').unwrap_or_default().1;
        write!(f, "{name}=..;{attributes}")
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field(
                "set_cookies",
                &self.set_cookies().map(WithoutValue).collect::<Vec<_>>(),
            )
            .field("token_header", &self.token_header().map(|(name, _)| name))
            .field(
                "vary",
                &Some(self.vary.as_str()).filter(|_| !self.is_empty()),
            )
            .finish()
    }
}

impl fmt::Debug for HeaderChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderChange")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(set_cookie: Option<&str>, varies: bool) -> Outgoing {
        Outgoing {
            carried: set_cookie.and_then(sensitive).map(Carried::SetCookie),
            former: None,
            varies,
            is_personal: false,
            vary: Vary::Cookie,
            clears: None,
            beside: None,
        }
    }

    #[test]
    fn a_logout_clears_what_it_is_told_unless_the_handler_says_what() {
        for (data, value) in [
            (&[SiteData::Cache][..], "\"cache\""),
            (
                &[SiteData::Cookies, SiteData::Storage],
                "\"cookies\", \"storage\"",
            ),
            (&[SiteData::Everything], "\"*\""),
        ] {
            let clearing = Outgoing {
                clears: SiteData::header(data.iter().copied()).map(Box::new),
                ..outgoing(Some("id="), false)
            };
            let field = format!("clear-site-data: {value}");
            assert!(applied(&clearing, &[]).contains(&field));
            let own = applied(&clearing, &[("Clear-Site-Data", "\"cache\"")]);
            let fields = own
                .iter()
                .filter(|field| field.starts_with("clear-site-data"));
            assert_eq!(fields.collect::<Vec<_>>(), ["clear-site-data: \"cache\""]);
        }
        assert_eq!(SiteData::header([]), None);
    }

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn a_browser_comes_back_with_the_cookie_that_it_got_and_with_none_that_was_taken() {
        for (set_cookie, header) in [
            (Some("a=1=2; Path=/; Secure"), "a=1=2"),
            (Some("a=; Path=/; Max-Age=0"), ""),
            (None, ""),
        ] {
            assert_eq!(outgoing(set_cookie, true).cookie_header(), header);
        }
    }

    /// Applies the changes in both ways, which must agree. Returns the fields as sorted text.
    fn applied(outgoing: &Outgoing, list: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut map = headers(list);
        outgoing.apply(&mut map);
        let text = |name: &str, value: &[u8]| format!("{name}: {}", String::from_utf8_lossy(value));
        let mut one: Vec<_> = map
            .iter()
            .map(|(n, v)| text(n.as_str(), v.as_bytes()))
            .collect();
        one.sort();

        let changes = outgoing.changes(list.iter().map(|(n, v)| (*n, v.as_bytes())));
        let is_kept = |name: &str| !changes.iter().any(|change| change.name() == name);
        let mut other: Vec<_> = list
            .iter()
            .filter(|(name, _)| is_kept(&name.to_lowercase()))
            .map(|(name, value)| text(&name.to_lowercase(), value.as_bytes()))
            .chain(
                changes
                    .iter()
                    .flat_map(|c| c.values().map(|v| text(c.name(), v))),
            )
            .collect();
        other.sort();
        assert_eq!(one, other);
        one
    }

    #[test]
    fn nothing_changes_nothing() {
        let nothing = outgoing(None, false);
        assert!(nothing.is_empty());
        assert_eq!(
            applied(&nothing, &[("Cache-Control", "public")]),
            ["cache-control: public"]
        );
    }

    #[test]
    fn a_session_that_was_handed_out_adds_vary_once() {
        let handed_out = outgoing(None, true);
        assert_eq!(applied(&handed_out, &[]), ["vary: Cookie"]);
        for present in ["cookie", "Accept, COOKIE", "*"] {
            let list: &[(&str, &str)] = Box::leak(Box::new([("vary", present)]));
            assert_eq!(applied(&handed_out, list), [format!("vary: {present}")]);
        }
        assert_eq!(
            applied(&handed_out, &[("Vary", "Accept")]),
            ["vary: Accept", "vary: Cookie"]
        );
    }

    #[test]
    fn a_cookie_replaces_its_earlier_self_and_keeps_all_others() {
        let fields = applied(
            &outgoing(Some("id=new; Path=/"), false),
            &[
                ("Set-Cookie", "a=b"),
                ("set-cookie", "id=old"),
                ("Set-Cookie", "idx=c; id=d"),
            ],
        );
        assert_eq!(
            fields,
            [
                "cache-control: private",
                "set-cookie: a=b",
                "set-cookie: id=new; Path=/",
                "set-cookie: idx=c; id=d",
                "vary: Cookie"
            ]
        );
    }

    fn in_header(token: &str) -> Outgoing {
        let name = HeaderName::from_static("x-session-token");
        Outgoing {
            carried: Some(Carried::Header(Box::new((name, sensitive(token).unwrap())))),
            vary: Vary::Authorization,
            ..outgoing(None, false)
        }
    }

    #[test]
    fn a_token_in_a_header_follows_the_cookies_rules() {
        let present = [
            ("Set-Cookie", "x-session-token=kept"),
            ("X-Session-Token", "old"),
            ("x-session-token", "older"),
            ("Cache-Control", "public"),
            ("Vary", "Accept"),
        ];
        for (token, field) in [("new", "x-session-token: new"), ("", "x-session-token: ")] {
            assert_eq!(
                applied(&in_header(token), &present),
                [
                    "cache-control: private",
                    "set-cookie: x-session-token=kept",
                    "vary: Accept",
                    "vary: Authorization",
                    field,
                ]
            );
        }
    }

    #[test]
    fn the_token_is_sensitive_and_in_no_debug_output() {
        for (set, header, seen) in [
            (
                outgoing(Some("id=hunter2; Path=/"), true),
                "set-cookie",
                "id=..; Path=/",
            ),
            (in_header("hunter2"), "x-session-token", "x-session-token"),
        ] {
            let mut map = HeaderMap::new();
            set.apply(&mut map);
            assert!(map[header].is_sensitive());
            let changes = set.changes([]);
            let changed = |change: &HeaderChange| (change.name().to_owned(), change.is_sensitive());
            assert_eq!(
                changes.iter().map(changed).collect::<Vec<_>>(),
                [
                    (header.to_owned(), true),
                    ("cache-control".to_owned(), false),
                    ("vary".to_owned(), false),
                ]
            );
            let debug = format!("{set:?} {map:?} {:?}", set.changes([]));
            assert!(!debug.contains("hunter2"), "{debug}");
            assert!(debug.contains(seen), "{debug}");
            assert!(debug.contains("vary: Some("), "{debug}");
            let change = format!("HeaderChange {{ name: {header:?}, .. }}");
            assert!(debug.contains(&change), "{debug}");
        }
        let nothing = format!("{:?}", outgoing(None, false));
        assert!(nothing.contains("vary: None"), "{nothing}");
    }
}
