//! The readers of the Cookie header and of headers with tokens against slow ones, and what a store makes of the same bytes.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use sealed_session::{AppKey, CookieConfig, CookieStore, Origin, fuzzing};

use crate::measure::allocated;
use crate::reference;

static STORE: LazyLock<CookieStore> =
    LazyLock::new(|| CookieStore::new(AppKey::generate().expect("a random source")));

/// `data`: a cookie's name and then the values of Cookie fields, with a zero byte between them.
/// A name that cannot be one is read as the default name.
pub fn cookie_header(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0);
    let name = parts.next().and_then(|name| str::from_utf8(name).ok());
    let name = name
        .filter(|name| is_a_name(name))
        .unwrap_or("__Host-session");
    let fields: Vec<&[u8]> = parts.collect();

    let all = || fields.iter().copied();
    let expected = reference::cookie_values(name.as_bytes(), &fields);
    agree(|| fuzzing::cookie_values(name, all()), &expected);
    agree(
        || fuzzing::listed_values(all()),
        &reference::listed_values(&fields),
    );
    agree(
        || fuzzing::bearer_values(all()),
        &reference::bearer_values(&fields),
    );

    let session = STORE.load_from(fields.iter().copied());
    let candidates = reference::cookie_values(b"__Host-session", &fields);
    match session.origin() {
        Origin::Absent => assert!(candidates.is_empty()),
        Origin::Refused(_) => assert!(!candidates.is_empty()),
        origin => panic!("junk gave a session: {origin:?}"),
    }
    assert!(session.is_empty() && session.is_new() && session.id().is_none());

    let values: Result<Vec<_>, _> = fields
        .iter()
        .map(|field| HeaderValue::from_bytes(field))
        .collect();
    if let Ok(values) = values {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("cookie", value);
        }
        assert_eq!(STORE.load(&headers).origin(), session.origin());
    }
}

fn agree<'a>(read: impl FnOnce() -> [Option<&'a [u8]>; 4], expected: &[Vec<u8>]) {
    let (found, allocated) = allocated(read);
    assert_eq!(allocated, 0, "reading a header needs no memory");
    assert!(
        found.into_iter().flatten().eq(expected),
        "{found:?} is not {expected:?}"
    );
}

fn is_a_name(name: &str) -> bool {
    CookieConfig::builder().name(name).build().is_ok()
}
