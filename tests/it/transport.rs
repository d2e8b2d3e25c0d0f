//! A token in a header instead of a cookie: the same rules, and neither opens as the other.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, IntoHeaderName, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderValue};
use sealed_session::{
    AppKey, CookieConfig, CookieStore, ErrorKind, KeyRing, Origin, Refusal, Transport,
};

use crate::support::key;

fn store(key: &AppKey, transport: Transport) -> CookieStore {
    let builder = CookieStore::builder(key.clone()).transport(transport);
    builder.build().unwrap()
}

/// The token's header after `change` was made to a session of the request `headers`.
fn answer(store: &CookieStore, headers: &HeaderMap, name: &str, value: u8) -> HeaderMap {
    let session = store.load(headers);
    session.insert(name, value).unwrap();
    let mut answer = HeaderMap::new();
    store.save(&session, &mut answer).unwrap();
    answer
}

fn request(name: impl IntoHeaderName, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_str(value).unwrap());
    headers
}

#[test]
fn a_token_travels_in_the_header_and_as_a_bearer_token() {
    let key = key();
    for (transport, sent, received, scheme) in [
        (
            Transport::header("X-Login").unwrap(),
            "x-login",
            "x-login",
            "",
        ),
        (
            Transport::bearer(),
            "authorization",
            "x-session-token",
            "Bearer ",
        ),
        (
            Transport::bearer_answered_in("X-Login").unwrap(),
            "authorization",
            "x-login",
            "bearer ",
        ),
    ] {
        let store = store(&key, transport);
        assert_eq!(store.request_header(), sent);
        let first = answer(&store, &HeaderMap::new(), "n", 1);
        assert!(!first.contains_key(SET_COOKIE));
        assert!(first[received].is_sensitive());
        assert_eq!(first[CACHE_CONTROL], "private");
        assert!(first[VARY].as_bytes().eq_ignore_ascii_case(sent.as_bytes()));

        let token = first[received].to_str().unwrap();
        let request = request(sent, &format!("{scheme}{token}"));
        let session = store.load(&request);
        assert_eq!(session.get("n").unwrap(), Some(1));
        assert_eq!(session.origin(), Origin::Opened);

        let mut read_only = HeaderMap::new();
        store.save(&session, &mut read_only).unwrap();
        assert!(!read_only.contains_key(received), "nothing is due");
        assert!(read_only.contains_key(VARY));

        session.destroy();
        let mut gone = HeaderMap::new();
        store.save(&session, &mut gone).unwrap();
        assert_eq!(gone[received], "", "empty to remove");
        assert!(!gone.contains_key(SET_COOKIE));
        assert_eq!(store.load_from([""]).origin(), Origin::Absent);
    }
}

#[test]
fn a_cookies_token_opens_in_no_header_and_a_headers_token_in_no_cookie() {
    let key = key();
    let name = "x-session-token";
    let cookie = CookieConfig::builder().name(name).build().unwrap();
    let cookies = CookieStore::builder(key.clone())
        .cookie(cookie)
        .build()
        .unwrap();
    let headers = store(&key, Transport::header(name).unwrap());
    let bearer = store(&key, Transport::bearer());

    let set_cookie = answer(&cookies, &HeaderMap::new(), "n", 1);
    let set_cookie = set_cookie[SET_COOKIE].to_str().unwrap();
    let pair = set_cookie.split(';').next().unwrap();
    let cookie_token = pair.strip_prefix("x-session-token=").unwrap();
    let header_token = answer(&headers, &HeaderMap::new(), "n", 1);
    let header_token = header_token[name].to_str().unwrap();

    let origin = |store: &CookieStore, request: HeaderMap| store.load(&request).origin();
    let forged = Origin::Refused(Refusal::Forged);
    let as_cookie = format!("{name}={header_token}");
    let as_bearer = format!("Bearer {header_token}");
    for (store, request, expected) in [
        (&headers, request(name, cookie_token), forged),
        (&cookies, request(COOKIE, &as_cookie), forged),
        (&headers, request(COOKIE, pair), Origin::Absent),
        (&headers, request(COOKIE, &as_cookie), Origin::Absent),
        (&headers, request(AUTHORIZATION, &as_bearer), Origin::Absent),
        (&bearer, request(name, header_token), Origin::Absent),
        (
            &bearer,
            request(AUTHORIZATION, header_token),
            Origin::Absent,
        ),
        (&bearer, request(AUTHORIZATION, &as_bearer), Origin::Opened),
        (&headers, request(name, header_token), Origin::Opened),
    ] {
        assert_eq!(origin(store, request.clone()), expected, "{request:?}");
    }
}

#[test]
fn several_headers_follow_the_rules_of_several_cookies() {
    let key = key();
    let store = store(&key, Transport::header("x-login").unwrap());
    let token = |value| answer(&store, &HeaderMap::new(), "n", value)["x-login"].clone();
    let (one, other) = (token(1), token(2));
    let origin = |values: &[&HeaderValue]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-login", (*value).clone());
        }
        store.load(&headers).origin()
    };
    let junk = HeaderValue::from_static("junk, more");
    assert_eq!(origin(&[&one, &one]), Origin::Opened);
    assert_eq!(origin(&[&junk, &one]), Origin::Opened);
    assert_eq!(origin(&[&one, &other]), Origin::Ambiguous);
}

#[test]
fn the_size_limit_counts_the_headers_name() {
    let key = key();
    let name = "x-a-rather-long-name";
    let store = store(&key, Transport::header(name).unwrap());
    let session = store.load(&HeaderMap::new());
    let fits = (0..4096)
        .rev()
        .find(|n| session.insert("a", "x".repeat(*n)).is_ok())
        .unwrap();
    let mut headers = HeaderMap::new();
    store.save(&session, &mut headers).unwrap();
    let size = name.len() + headers[name].len();
    assert!((4094..=4096).contains(&size), "{size}");
    assert_eq!(store.load(&headers).origin(), Origin::Opened);
    let error = session.insert("a", "x".repeat(fits + 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.sizes().unwrap().0 > 4096);
}

#[test]
fn a_rotation_seals_the_headers_token_again() {
    let (old, new) = (key(), key());
    let store = store(&old, Transport::header("x-login").unwrap());
    let first = answer(&store, &HeaderMap::new(), "n", 1);
    store.replace_keys(KeyRing::new(new).accept(old).unwrap());
    let session = store.load(&first);
    let mut second = HeaderMap::new();
    store.save(&session, &mut second).unwrap();
    assert_ne!(first["x-login"], second["x-login"]);
    assert_eq!(first["x-login"].len(), second["x-login"].len());
}
