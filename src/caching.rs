//! What a response says to caches: Cache-Control (RFC 9111), and the targeted fields that only one
//! kind of cache obeys (RFC 9213, and older fields for the same purpose).

use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};

/// The usual end of a targeted field's name: `CDN-Cache-Control`, `Vercel-CDN-Cache-Control`,
/// `X-LiteSpeed-Cache-Control`. RFC 9213 allows no cache to obey a field for its name alone. It
/// does no harm to silence a field that no cache obeys.
const SUFFIX: &[u8; 14] = b"-cache-control";

/// Targeted fields from before this convention: of the Edge Architecture (Fastly, Varnish, Squid,
/// Akamai), of Akamai, of nginx.
const OLDER: [&str; 3] = ["surrogate-control", "edge-control", X_ACCEL_EXPIRES];

/// This field holds only a time, no directives.
const X_ACCEL_EXPIRES: &str = "x-accel-expires";

/// Directives for processing a page, not for storing it. Without them, visitors would see the tags
/// that are meant for the cache.
const PROCESSING: [&[u8]; 2] = [b"content", b"dca"];

/// Whether one kind of cache obeys this field instead of Cache-Control.
pub(crate) fn is_targeted(name: &str) -> bool {
    let end = name.as_bytes().last_chunk();
    end.is_some_and(|end: &[u8; SUFFIX.len()]| end.eq_ignore_ascii_case(SUFFIX))
        || OLDER.iter().any(|older| name.eq_ignore_ascii_case(older))
}

/// Whether these headers say which caches may keep the response. Expires and Pragma do not.
pub(crate) fn is_said<'h>(mut headers: impl Iterator<Item = (&'h str, &'h [u8])>) -> bool {
    headers.any(|(name, value)| {
        (CACHE_CONTROL == name || is_targeted(name)) && directives(value).next().is_some()
    })
}

pub(crate) fn private() -> HeaderValue {
    HeaderValue::from_static("private")
}

/// The caching fields that a response already has.
#[derive(Debug, Default)]
pub(crate) struct Said<'h> {
    cache_control: Vec<&'h [u8]>,
    targeted: Vec<(&'h str, &'h [u8])>,
}

/// The new caching fields, which replace all fields of the same names.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) cache_control: Option<HeaderValue>,
    pub(crate) targeted: Vec<(HeaderName, HeaderValue)>,
}

impl<'h> FromIterator<(&'h str, &'h [u8])> for Said<'h> {
    fn from_iter<I: IntoIterator<Item = (&'h str, &'h [u8])>>(headers: I) -> Self {
        let mut said = Self::default();
        for (name, value) in headers {
            if CACHE_CONTROL == name {
                said.cache_control.push(value);
            } else if is_targeted(name) {
                said.targeted.push((name, value));
            }
        }
        said
    }
}

impl Said<'_> {
    /// The fields that keep the response out of shared caches, whatever it said before.
    pub(crate) fn withheld(&self) -> Orders {
        Orders {
            cache_control: self.private(),
            targeted: self.silenced(),
        }
    }

    /// `None` if the present Cache-Control already keeps it out (RFC 9111, section 5.2.2).
    fn private(&self) -> Option<HeaderValue> {
        let mut kept = Vec::new();
        let (mut is_private, mut is_stored_nowhere) = (false, false);
        let (mut is_shared, mut is_conditional) = (false, false);
        for directive in self
            .cache_control
            .iter()
            .flat_map(|value| directives(value))
        {
            let Some(directive) = directive else {
                // Its open quotes may hold the next field.
                (is_shared, is_conditional) = (true, true);
                continue;
            };
            let name = name_of(directive);
            let is_bare = name.len() == directive.len();
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            if is(b"public") || is(b"s-maxage") || (is(b"private") && !is_bare) {
                // With a list of fields, `private` keeps only those fields out.
                is_shared = true;
                continue;
            }
            is_private |= is(b"private");
            is_stored_nowhere |= is(b"no-store") && is_bare;
            // A cache that understands this and the status may ignore `no-store` (5.2.2.3).
            is_conditional |= is(b"must-understand");
            kept.push(directive);
        }
        let is_out = (is_private && !is_shared) || (is_stored_nowhere && !is_conditional);
        if is_out {
            return None;
        }
        if kept.is_empty() {
            return Some(private());
        }
        if !is_private {
            kept.push(b"private");
        }
        Some(joined(&kept))
    }

    /// A cache that obeys a targeted field ignores Cache-Control, so the field itself must say
    /// `no-store`. No older caching directive stays beside it, because caches might read its syntax
    /// differently.
    fn silenced(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut silenced = Vec::new();
        for (name, _) in &self.targeted {
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
                continue;
            };
            if silenced.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let own = self.targeted.iter().filter(|(other, _)| name == *other);
            let values: Vec<_> = own.map(|(_, value)| *value).collect();
            let silence = if name == X_ACCEL_EXPIRES {
                HeaderValue::from_static("0")
            } else {
                let said = values.iter().flat_map(|value| directives(value)).flatten();
                let kept = said.filter(|directive| {
                    let name = name_of(directive);
                    PROCESSING
                        .iter()
                        .any(|known| name.eq_ignore_ascii_case(known))
                });
                let mut orders: Vec<&[u8]> = vec![b"no-store"];
                orders.extend(kept);
                joined(&orders)
            };
            if values != [silence.as_bytes()] {
                silenced.push((name, silence));
            }
        }
        silenced
    }
}

/// Falls back to `private` if the directives cannot be a header's value.
fn joined(directives: &[&[u8]]) -> HeaderValue {
    HeaderValue::from_bytes(&directives.join(&b", "[..])).unwrap_or_else(|_| private())
}

/// The directive's name, without its argument.
fn name_of(directive: &[u8]) -> &[u8] {
    let mut parts = directive.split(|&byte| byte == b'=');
    parts.next().unwrap_or_default().trim_ascii()
}

/// The parts between commas outside of quotes. `None` stands for an unreadable part: its quotes do
/// not end, so they would take in anything that is added after it.
fn directives(value: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut quotes = Quotes::default();
    let parts = value.split(move |&byte| !quotes.are_open_after(byte) && byte == b',');
    let is_whole = |part: &&[u8]| {
        let mut quotes = Quotes::default();
        !part
            .iter()
            .fold(false, |_, &byte| quotes.are_open_after(byte))
    };
    let parts = parts.map(<[u8]>::trim_ascii);
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(move |part| Some(part).filter(is_whole))
}

/// Tracks quotes. In them, a backslash makes the next character an ordinary one (RFC 9110, section
/// 5.6.4).
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    fn are_open_after(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = self.open,
            b'"' => self.open = !self.open,
            _ => {}
        }
        self.open
    }
}
