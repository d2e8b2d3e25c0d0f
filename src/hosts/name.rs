//! The host names of requests.

use http::header::{HOST, HeaderMap, HeaderValue};
use http::uri::{Authority, Uri};

/// The longest name of a host (RFC 1035).
const LONGEST: usize = 253;

/// Returns a host's name in lower case, without port and final dot. `None` if it is not a name.
pub(super) fn normalized(host: &str) -> Option<String> {
    let (name, is_literal) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            (Some(address).filter(|_| is_port)?, true)
        }
        None => match host.rsplit_once(':') {
            Some((name, port)) => (Some(name).filter(|_| is_port(port))?, false),
            None => (host, false),
        },
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_allowed = |byte: u8| match byte {
        b':' => is_literal,
        b'-' | b'_' | b'.' => true,
        _ => byte.is_ascii_alphanumeric(),
    };
    let has_empty_label = !is_literal && name.split('.').any(str::is_empty);
    if name.is_empty() || name.len() > LONGEST || has_empty_label || !name.bytes().all(is_allowed) {
        return None;
    }
    let name = name.to_ascii_lowercase();
    Some(if is_literal {
        format!("[{name}]")
    } else {
        name
    })
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The host that a request names: the host of its URI, which HTTP/2 and proxies use, or else that
/// of its only `Host` header.
pub(super) fn of_request(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let hosts = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    named_by(uri.authority().map(Authority::as_str), hosts)
}

pub(crate) fn named_by<'h>(
    authority: Option<&str>,
    mut hosts: impl Iterator<Item = &'h [u8]>,
) -> Option<String> {
    if let Some(authority) = authority {
        // A user's name before `@` does not belong to the host.
        let host = authority.rsplit('@').next()?;
        return Some(host.to_owned());
    }
    let host = hosts.next()?;
    if hosts.next().is_some() {
        return None;
    }
    std::str::from_utf8(host).ok().map(str::to_owned)
}
