//! What a response gets, and what a browser makes of it.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use sealed_session::{CookieConfig, SameSite, Session};

use crate::support::*;

fn set_cookie_of(config: CookieConfig) -> String {
    let mut site = Site::with(|builder| builder.cookie(config));
    let response = site.visit(|session| session.insert("a", 1).unwrap());
    set_cookie(&response).to_owned()
}

#[test]
fn the_defaults_are_a_host_cookie_for_this_site_over_https_for_no_script() {
    let header = set_cookie_of(CookieConfig::default());
    let (pair, attributes) = header.split_once("; ").unwrap();
    assert!(pair.starts_with("__Host-session="));
    assert_eq!(
        attributes,
        "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=86400"
    );
}

#[test]
fn every_attribute_can_be_chosen() {
    let named = || CookieConfig::builder().name("id");
    for (builder, attributes) in [
        (
            named().path("/app").domain("example.com"),
            "HttpOnly; SameSite=Lax; Secure; Path=/app; Domain=example.com; Max-Age=86400",
        ),
        (
            named().same_site(SameSite::None).partitioned(true),
            "HttpOnly; SameSite=None; Partitioned; Secure; Path=/; Max-Age=86400",
        ),
        (
            named().same_site(SameSite::Strict).insecure_over_http(),
            "HttpOnly; SameSite=Strict; Path=/; Max-Age=86400",
        ),
        (
            named().insecure_for_scripts().persistent(false),
            "SameSite=Lax; Secure; Path=/",
        ),
    ] {
        let header = set_cookie_of(builder.build().unwrap());
        let (pair, rest) = header.split_once("; ").unwrap();
        assert!(pair.starts_with("id="));
        assert_eq!(rest, attributes);
    }
}

#[test]
fn what_a_browser_would_refuse_is_refused_when_it_is_configured() {
    let named = |name: &str| CookieConfig::builder().name(name);
    for (builder, setting) in [
        (named("__Host-a").domain("example.com"), "cookie domain"),
        (named("__Host-a").path("/app"), "cookie path"),
        (named("__Host-a").insecure_over_http(), "cookie secure"),
        (named("__hOST-a").insecure_over_http(), "cookie secure"),
        (named("__Secure-a").insecure_over_http(), "cookie secure"),
        (
            named("a").same_site(SameSite::None).insecure_over_http(),
            "cookie same_site",
        ),
        (
            named("a").partitioned(true).insecure_over_http(),
            "cookie partitioned",
        ),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.setting(), setting);
    }
}

#[test]
fn a_session_that_was_handed_out_changes_no_header_but_vary_and_an_absent_cache_control() {
    let mut site = Site::new();
    let mut response = HeaderMap::new();
    response.append(CACHE_CONTROL, "public".parse().unwrap());
    response.append(SET_COOKIE, "__Host-session=theirs".parse().unwrap());
    let mut then = response.clone();
    then.append(VARY, "Cookie".parse().unwrap());
    // The handler may have asked it nothing yet; a body that it streams may do so later.
    site.store.save(&site.load(), &mut response).unwrap();
    assert_eq!(response, then, "a new one");
    site.visit(|session| session.insert("a", 1).unwrap());
    let session = site.load();
    site.store.save(&session, &mut response).unwrap();
    assert_eq!(response, then, "one that was loaded");
    let response = site.save(&session);
    assert_eq!(response[CACHE_CONTROL], "private");
    assert_eq!(response.len(), 2);
}

#[test]
fn every_set_cookie_keeps_its_response_out_of_shared_caches() {
    type Handler = fn(&Session);
    let handlers: [Handler; 3] = [
        |session| session.insert("a", 2).unwrap(),
        Session::renew,
        Session::destroy,
    ];
    for handler in handlers {
        for (present, then) in [
            (&[][..], Some("private")),
            (&["public"], Some("private")),
            (&["public, max-age=60"], Some("max-age=60, private")),
            (&["s-maxage=60", "max-age=5"], Some("max-age=5, private")),
            (&["no-cache"], Some("no-cache, private")),
            (&["private, max-age=5"], Some("private, max-age=5")),
            (&["No-Store"], Some("No-Store")),
            (&["public, no-store"], Some("public, no-store")),
        ] {
            let mut site = Site::new();
            site.visit(|session| session.insert("a", 1).unwrap());
            let session = site.load();
            handler(&session);
            let mut response = HeaderMap::new();
            for value in present {
                response.append(CACHE_CONTROL, value.parse().unwrap());
            }
            site.store.save(&session, &mut response).unwrap();
            site.store.save(&session, &mut response).unwrap();
            let values: Vec<_> = response.get_all(CACHE_CONTROL).iter().collect();
            assert_eq!(values, Vec::from_iter(then), "{present:?}");
            assert_eq!(response[VARY], "Cookie");
        }
    }
}

#[test]
fn a_session_that_is_no_ones_adds_vary_and_nothing_else() {
    for (present, then) in [
        (&[][..], &["Cookie"][..]),
        (&["Accept"], &["Accept", "Cookie"]),
        (&["accept, cookie"], &["accept, cookie"]),
        (&["*"], &["*"]),
    ] {
        let site = Site::new();
        let session = site.load();
        assert!(session.is_new(), "an absent session is an answer too");
        let mut response = HeaderMap::new();
        response.append(CACHE_CONTROL, "public".parse().unwrap());
        for value in present {
            response.append(VARY, value.parse().unwrap());
        }
        site.store.save(&session, &mut response).unwrap();
        let values: Vec<_> = response.get_all(VARY).iter().collect();
        assert_eq!(values, then);
        assert_eq!(response[CACHE_CONTROL], "public");
        assert!(sets_no_cookie(&response));
    }
}

#[test]
fn a_set_cookie_is_sensitive_and_no_debug_output_shows_it() {
    let mut site = Site::new();
    let response = site.visit(|session| session.insert("password", "hunter2").unwrap());
    assert!(response[SET_COOKIE].is_sensitive());
    let token = pair(&response).strip_prefix("__Host-session=").unwrap();
    let session = site.load();
    session.insert("password", "hunter3").unwrap();
    let outgoing = site.store.respond(&session).unwrap();
    let new = outgoing.set_cookies().next().unwrap().to_owned();
    let new = new.split(['=', ';']).nth(1).unwrap();
    let debug = format!(
        "{session:?} {outgoing:?} {response:?} {:?} {:?}",
        outgoing.changes([]),
        site.store,
    );
    for secret in [token, new, "hunter"] {
        assert!(!debug.contains(secret), "{debug}");
    }
}
