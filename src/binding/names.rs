//! The names of everything that belongs to one store. They are made from the name of its cookie, so
//! two stores with different cookies never use the same name.

use std::fmt::Write;

/// The prefix of cookies that are only for this host.
const HOST: &str = "__Host-";

/// Marks what follows as a cookie's whole name.
const WHOLE: char = '~';

#[derive(Debug)]
pub(crate) struct Names {
    /// What the browser calls the session that it keeps for this store.
    pub(crate) identifier: String,
    /// The path of both endpoints, where the browser sends the key.
    pub(crate) path: String,
    pub(crate) register: String,
    pub(crate) refresh: String,
    pub(crate) proof: String,
    pub(crate) key: String,
    pub(crate) offer: String,
    /// Remembers for a moment that a page was loaded again.
    pub(crate) again: String,
}

impl Names {
    pub(crate) fn of(cookie: &str) -> Self {
        let rest = cookie.strip_prefix(HOST);
        let plain = rest.filter(|rest| !rest.starts_with(WHOLE));
        let identifier = plain.map_or_else(|| format!("{WHOLE}{cookie}"), str::to_owned);
        let path = format!("/.device-bound-{}", in_a_path(&identifier));
        Self {
            register: format!("{path}/register"),
            refresh: format!("{path}/refresh"),
            proof: format!("{HOST}device-proof-{identifier}"),
            key: format!("__Secure-device-key-{identifier}"),
            offer: format!("__Secure-device-offer-{identifier}"),
            again: format!("{HOST}device-again-{identifier}"),
            identifier,
            path,
        }
    }

    /// Whether a cookie's name looks like one of these names, so that it could belong to another
    /// store.
    pub(crate) fn is_reserved(cookie: &str) -> bool {
        let rest = cookie
            .strip_prefix(HOST)
            .or(cookie.strip_prefix("__Secure-"));
        rest.is_some_and(|rest| rest.starts_with("device-"))
    }
}

/// The text as a part of a path. Characters that a browser might rewrite in a URL are
/// percent-encoded.
fn in_a_path(text: &str) -> String {
    text.bytes().fold(String::new(), |mut path, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            // Writing to a string does not fail.
            _ => drop(write!(path, "%{byte:02X}")),
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_cookie_gives_these_names() {
        let names = Names::of("__Host-session");
        assert_eq!(names.identifier, "session");
        assert_eq!(names.register, "/.device-bound-session/register");
        assert_eq!(names.refresh, "/.device-bound-session/refresh");
        assert_eq!(names.proof, "__Host-device-proof-session");
        assert_eq!(names.key, "__Secure-device-key-session");
        assert_eq!(names.offer, "__Secure-device-offer-session");
        assert_eq!(names.again, "__Host-device-again-session");
    }

    #[test]
    fn different_cookies_never_share_a_name() {
        let cookies = [
            "__Host-id",
            "__Secure-id",
            "id",
            "ID",
            "__Host-~id",
            "~id",
            "__Host-~__Host-~id",
            "__host-id",
            "__Host-",
            "..",
            "__Host-..",
            "%2E",
            "a#b",
            "a%23b",
        ];
        let all = |name: fn(Names) -> String| cookies.map(|cookie| name(Names::of(cookie)));
        for names in [
            all(|names| names.identifier),
            all(|names| names.path),
            all(|names| names.proof),
            all(|names| names.key),
            all(|names| names.offer),
            all(|names| names.again),
        ] {
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(distinct.len(), cookies.len(), "{names:?}");
        }
    }

    #[test]
    fn a_path_has_only_what_browsers_leave_alone() {
        let path = Names::of("__Host-a#b%c^d`e|f'g!h$i&j*k+l").path;
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte);
        assert!(path.bytes().all(is_safe), "{path}");
        assert!(path.starts_with("/.device-bound-a%23b%25c%5Ed"), "{path}");
    }

    #[test]
    fn names_like_these_are_reserved() {
        for name in ["__Host-device-proof-x", "__Secure-device-key-session"] {
            assert!(Names::is_reserved(name), "{name}");
        }
        for name in ["__Host-session", "device-proof-x", "__Host-devices"] {
            assert!(!Names::is_reserved(name), "{name}");
        }
    }
}
