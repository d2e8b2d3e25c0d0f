//! Attacks through the Cookie header, and on what is set there.

use http::HeaderMap;
use http::header::SET_COOKIE;
use sealed_session::{CookieConfig, CookieConfigBuilder, Origin, Refusal, SameSite, Session};

use crate::support::*;

const NAME: &str = "__Host-session";

/// A site, and the token of a session that it has opened.
fn logged_in() -> (Site, String) {
    let mut site = Site::new();
    let response = site.visit(|session| session.insert("user_id", 42).unwrap());
    let token = pair(&response).strip_prefix("__Host-session=").unwrap();
    let token = token.to_owned();
    (site, token)
}

fn named(name: &str) -> CookieConfigBuilder {
    CookieConfig::builder().name(name)
}

#[test]
fn a_name_that_only_looks_like_ours_is_not_ours() {
    let (site, token) = logged_in();
    for name in [
        "%5F%5FHost-session",
        "__Host%2Dsession",
        "__Host-%73ession",
        "\u{2000}__Host-session",
        "__Host-session\u{2000}",
        "\u{a0}__Host-session",
        "\u{feff}__Host-session",
        "\x0b__Host-session",
        "\x0c__Host-session",
        "\r\n__Host-session",
        "\0__Host-session",
        "\"__Host-session\"",
        "'__Host-session'",
        "$__Host-session",
        "$Version=1, __Host-session",
        "__host-session",
        "__HOST-SESSION",
        "__Host_session",
        "__Host.session",
        "__Host-session[]",
        "x__Host-session",
        "x=__Host-session",
        "x=\"__Host-session",
        "=__Host-session",
        " = __Host-session",
        "",
        "=",
    ] {
        for field in [
            format!("{name}={token}"),
            format!("a=b; {name}={token}"),
            format!("{name}={token}; c=d"),
        ] {
            let session = site.store.load_from([field.as_str()]);
            assert_eq!(session.origin(), Origin::Absent, "{name:?}");
        }
    }
}

#[test]
fn a_value_is_taken_as_it_stands() {
    let (site, token) = logged_in();
    for value in [
        format!("\"{token}\""),
        format!("\"{token}"),
        format!("{token}%3D"),
        format!("{token}="),
        format!("{token},"),
        format!("{token}\u{2000}"),
        format!("\x0b{token}"),
        token.replacen(&token[..1], &format!("%{:02X}", token.as_bytes()[0]), 1),
    ] {
        let session = site.store.load_from([format!("{NAME}={value}").as_str()]);
        assert_eq!(session.origin(), refused(Refusal::Malformed), "{value:?}");
    }
    for field in [
        format!(" \t{NAME}\t = \t{token} \t"),
        format!("{NAME}={token};"),
        format!(";;{NAME}={token}"),
        format!("$Version=1; {NAME}={token}; $Path=\"/\""),
        format!("a=\"b; {NAME}={token}; c=d\""),
    ] {
        let session = site.store.load_from([field.as_str()]);
        assert_eq!(session.origin(), Origin::Opened, "{field:?}");
    }
}

#[test]
fn bytes_that_are_not_ascii_in_other_cookies_do_no_harm() {
    let (site, token) = logged_in();
    for other in [
        &b"name=\xe9"[..],
        b"\xff=\xff",
        "caf\u{e9}=cr\u{e8}me".as_bytes(),
        b"\xc3",
        b"a=\x80\x81",
    ] {
        let ours = format!("{NAME}={token}");
        for field in [
            [other, b"; ", ours.as_bytes()].concat(),
            [ours.as_bytes(), b"; ", other].concat(),
            [other, b"; ", ours.as_bytes(), b"; ", other].concat(),
        ] {
            let session = site.store.load(&cookies(&[field]));
            assert_eq!(session.get("user_id").unwrap(), Some(42), "{other:?}");
        }
    }
}

#[test]
fn all_fields_of_a_request_are_read() {
    let (site, token) = logged_in();
    let ours = format!("{NAME}={token}");
    let both = format!("a=b; {ours}");
    for fields in [
        vec![ours.as_str()],
        vec!["a=b", &ours, "c=d"],
        vec!["a=b; c=d", &ours],
        vec![&both, "c=d"],
        vec!["", &both, ""],
        vec![&ours, &both],
    ] {
        let session = site.store.load(&cookies(&fields));
        assert_eq!(session.get("user_id").unwrap(), Some(42), "{fields:?}");
    }
}

#[test]
fn of_several_cookies_with_one_id_the_one_seen_later_counts() {
    let mut site = Site::new();
    let old = site.visit(|session| session.insert("step", 1).unwrap());
    site.clock.forward(MINUTE);
    let new = site.visit(|session| session.insert("step", 2).unwrap());
    for fields in [[pair(&old), pair(&new)], [pair(&new), pair(&old)]] {
        let session = site.store.load(&cookies(&[fields.join("; ")]));
        assert_eq!(session.origin(), Origin::Opened);
        assert_eq!(session.get("step").unwrap(), Some(2));
    }
}

#[test]
fn of_several_cookies_those_that_do_not_open_do_no_harm() {
    let (site, token) = logged_in();
    let ours = format!("{NAME}={token}");
    let stranger = pair(&Site::new().visit(|session| session.insert("a", 1).unwrap())).to_owned();
    for fields in [
        format!("{NAME}=junk; {ours}"),
        format!("{ours}; {NAME}=junk"),
        format!("{stranger}; {NAME}=; {ours}"),
        format!("{ours}; {ours}"),
    ] {
        let session = site.store.load(&cookies(&[fields]));
        assert_eq!(session.get("user_id").unwrap(), Some(42));
    }
    let session = site.store.load(&cookies(&[format!("{stranger}; {NAME}=")]));
    assert_eq!(
        session.origin(),
        refused(Refusal::UnknownKey),
        "the first reason is told"
    );
}

#[test]
fn of_two_different_sessions_none_is_believed() {
    let (site, token) = logged_in();
    let other = site.store.load(&HeaderMap::new());
    other.insert("user_id", 666).unwrap();
    let tossed = pair(&site.save(&other)).to_owned();
    for fields in [
        format!("{NAME}={token}; {tossed}"),
        format!("{tossed}; {NAME}={token}"),
        format!("{tossed}; {NAME}=junk; {NAME}={token}"),
    ] {
        let session = site.store.load(&cookies(&[fields]));
        assert_eq!(session.origin(), Origin::Ambiguous);
        assert!(session.is_empty() && session.is_new() && session.id().is_none());
        assert!(sets_no_cookie(&site.save(&session)), "without `former`");
    }
}

/// A site before and after its cookie moved from `/app`, and from another name, to `/`.
fn moved() -> (Site, Site) {
    let old_path = || named("id").path("/app").build().unwrap();
    let old_name = named("sid").domain("example.com").build().unwrap();
    let (clock, key) = (Site::new().clock, key());
    let before = store(&clock, key.clone(), |builder| builder.cookie(old_path()));
    let after = store(&clock, key, |builder| {
        let cookie = named("id").build().unwrap();
        builder.cookie(cookie).former(old_path()).former(old_name)
    });
    (Site::of(&clock, before), Site::of(&clock, after))
}

#[test]
fn two_different_sessions_after_a_move_remove_the_former_cookies_and_lock_nobody_out() {
    let (mut before, mut after) = moved();
    after.visit(|session| session.insert("at", "after").unwrap());
    let old = before.visit(|session| session.insert("at", "before").unwrap());
    after.receive(&old);
    assert_eq!(after.browser.names(), ["id", "id"]);

    let response = after.visit(|session| assert_eq!(session.origin(), Origin::Ambiguous));
    assert_eq!(response.get_all(SET_COOKIE).iter().count(), 2);
    assert_eq!(after.browser.names(), ["id"]);
    assert_eq!(after.load().get("at").unwrap(), Some("after".to_owned()));
}

#[test]
fn a_cookie_from_before_a_move_opens_and_ends_with_its_session() {
    type End = fn(&Session);
    let ends: [End; 2] = [Session::destroy, |session| {
        session
            .set_expiry(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
    }];
    for end in ends {
        let (mut before, mut after) = moved();
        before.visit(|session| session.insert("a", 1).unwrap());
        after.browser = before.browser;
        after.visit(|session| {
            assert_eq!(session.get("a").unwrap(), Some(1));
            end(session);
        });
        assert!(after.browser.names().is_empty());
    }
}

#[test]
fn former_cookies_are_removed_once_however_often_a_response_is_saved_into() {
    let (_, after) = moved();
    let session = after.store.load(&HeaderMap::new());
    session.destroy();
    let mut response = after.save(&session);
    let once = response.clone();
    after.store.save(&session, &mut response).unwrap();
    assert_eq!(response, once);
    assert_eq!(response.get_all(SET_COOKIE).iter().count(), 3);
    session.insert("a", 1).unwrap();
    after.store.save(&session, &mut response).unwrap();
    assert_eq!(response.get_all(SET_COOKIE).iter().count(), 3);
}

#[test]
fn at_most_four_cookies_of_our_name_are_tried() {
    let (site, token) = logged_in();
    let after = |junk: usize| {
        let junk: String = (0..junk).map(|n| format!("{NAME}=junk{n}; ")).collect();
        let session = site
            .store
            .load(&cookies(&[format!("{junk}{NAME}={token}")]));
        session.origin()
    };
    assert_eq!(after(0), Origin::Opened);
    assert_eq!(after(3), Origin::Opened);
    assert_eq!(after(4), refused(Refusal::Malformed));
    assert_eq!(after(1000), refused(Refusal::Malformed));

    // Each token whose mac is checked is decoded into memory of its own.
    let allocations = |tokens: usize| {
        let other = |n| format!("{NAME}={}", forged(&token, n));
        let fields = cookies(&[(0..tokens).map(other).collect::<Vec<_>>().join("; ")]);
        let used = allocation_counter::measure(|| {
            let origin = site.store.load(&fields).origin();
            assert_eq!(origin, refused(Refusal::Forged));
        });
        used.count_total
    };
    assert!(allocations(3) < allocations(4));
    assert_eq!(allocations(4), allocations(5));
    assert_eq!(allocations(4), allocations(100));
}

#[test]
fn a_long_header_of_junk_costs_no_memory_that_grows_with_it() {
    let (site, token) = logged_in();
    let forged = format!("{NAME}={}; ", forged(&token, 0));
    for (junk, origin) in [
        ("a=b; ", Origin::Absent),
        (";", Origin::Absent),
        ("=", Origin::Absent),
        ("\"", Origin::Absent),
        ("__Host-", Origin::Absent),
        ("__Host-session", Origin::Absent),
        ("__Host-session ", Origin::Absent),
        ("__Host-session=; ", refused(Refusal::Malformed)),
        ("__Host-session=x", refused(Refusal::TooLong)),
        (&forged, refused(Refusal::Forged)),
    ] {
        let used_by = |length: usize| {
            let request = cookies(&[&junk.repeat(length / junk.len())]);
            allocation_counter::measure(|| {
                assert_eq!(site.store.load(&request).origin(), origin, "{junk:?}");
            })
        };
        let (short, long) = (used_by(8 * 1024), used_by(64 * 1024));
        assert_eq!(short.bytes_total, long.bytes_total, "{junk:?}");
        assert_eq!(short.count_total, long.count_total, "{junk:?}");
    }
}

#[test]
fn what_stands_beyond_64_kib_is_not_looked_at() {
    let (site, token) = logged_in();
    let ours = format!("; {NAME}={token}");
    let session = |junk: usize| {
        let field = "j".repeat(junk) + &ours;
        site.store.load_from([field.as_str()]).origin()
    };
    assert_eq!(session(64 * 1024 - ours.len()), Origin::Opened);
    assert_eq!(session(64 * 1024), Origin::Absent);
    assert_eq!(session(8 * 1024 * 1024), Origin::Absent);
}

#[test]
fn a_name_path_or_domain_that_could_split_a_header_is_refused() {
    let splits = [
        "a;b",
        "a\r\nSet-Cookie: x=y",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\tb",
        "a b",
        "a\u{7f}b",
        "é",
        "a\u{2028}b",
        "",
    ];
    for evil in splits {
        let path = format!("/{evil}");
        for (builder, setting) in [
            (named(evil), "cookie name"),
            (named("id").domain(evil), "cookie domain"),
            (
                named("id").path(if evil.is_empty() { evil } else { &path }),
                "cookie path",
            ),
        ] {
            assert_eq!(builder.build().unwrap_err().setting(), setting, "{evil:?}");
        }
    }
    for evil in ["a=b", "a,b", "a\"b", "a/b", "(a)", "__Host-session="] {
        let error = named(evil).build().unwrap_err();
        assert_eq!(error.setting(), "cookie name", "{evil:?}");
    }
}

#[test]
fn a_removal_has_the_attributes_of_the_cookie_that_it_removes() {
    for config in [
        CookieConfig::builder(),
        named("id").path("/app"),
        named("id").domain("example.com"),
        named("id").same_site(SameSite::Strict),
        named("id").same_site(SameSite::None).partitioned(true),
        named("id").insecure_over_http(),
        named("id").insecure_for_scripts(),
        named("__Secure-id").path("/a/b").domain("a.example"),
        named("id").persistent(false),
    ] {
        let config = config.build().unwrap();
        let mut site = Site::with(|builder| builder.cookie(config.clone()));
        let set = site.visit(|session| session.insert("a", 1).unwrap());
        let former = config.clone();
        let mut elsewhere = Site::with(|builder| {
            let other = named("other").build().unwrap();
            builder.cookie(other).former(former)
        });
        elsewhere.browser = site.browser.clone();
        let removed = site.visit(Session::destroy);
        let attributes = |set_cookie: &str| {
            let (_, attributes) = set_cookie.split_once("; ").unwrap();
            let attributes = attributes.split("; ").filter(|attribute| {
                !attribute.starts_with("Max-Age=") && !attribute.starts_with("Expires=")
            });
            attributes.map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(is_removal(set_cookie(&removed)));
        assert_eq!(
            attributes(set_cookie(&removed)),
            attributes(set_cookie(&set)),
            "{config:?}"
        );
        assert!(site.browser.names().is_empty());

        let response = elsewhere.visit(Session::destroy);
        let first = response.get_all(SET_COOKIE).iter().next().unwrap();
        assert_eq!(first.to_str().unwrap(), set_cookie(&removed));
        assert!(elsewhere.browser.names().is_empty());
    }
}
