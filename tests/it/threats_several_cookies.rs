//! Several cookies of our name in one request: tossed by a neighbour, or set in another way on a
//! live site; and removals that remove.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use sealed_session::{CookieConfig, Origin, Refusal, SameSite, Session};

use crate::support::*;

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
fn of_several_cookies_with_one_id_seen_at_one_moment_the_first_counts() {
    let mut site = Site::new();
    let one = site.visit(|session| session.insert("step", 1).unwrap());
    let other = site.visit(|session| session.insert("step", 2).unwrap());
    for (first, second, step) in [(&one, &other, 1), (&other, &one, 2)] {
        let fields = [pair(first), pair(second)].join("; ");
        let session = site.store.load(&cookies(&[fields]));
        assert_eq!(session.get("step").unwrap(), Some(step));
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

/// A site before and after its cookie was set in another way.
fn moved(from: &CookieConfig, to: &CookieConfig) -> (Site, Site) {
    let (clock, key) = (Site::new().clock, key());
    let before = store(&clock, key.clone(), |builder| builder.cookie(from.clone()));
    let after = store(&clock, key, |builder| {
        builder.cookie(to.clone()).former(from.clone())
    });
    (Site::of(&clock, before), Site::of(&clock, after))
}

/// Ways to set a cookie of which a browser keeps one each.
fn ways() -> Vec<CookieConfig> {
    let named = || CookieConfig::builder().name("id");
    [
        named(),
        named().path("/app"),
        named().domain("example.com"),
        named().partitioned(true),
    ]
    .map(|builder| builder.build().unwrap())
    .into()
}

fn moves() -> impl Iterator<Item = (Site, Site)> {
    let pairs = ways().into_iter().flat_map(|from| {
        let others = ways().into_iter().filter({
            let from = from.clone();
            move |to| *to != from
        });
        others.map(move |to| (from.clone(), to))
    });
    pairs.map(|(from, to)| moved(&from, &to))
}

#[test]
fn two_different_sessions_after_a_move_remove_the_former_cookie_and_lock_nobody_out() {
    for (mut before, mut after) in moves() {
        after.visit(|session| session.insert("at", "after").unwrap());
        let old = before.visit(|session| session.insert("at", "before").unwrap());
        after.receive(&old);
        assert_eq!(after.browser.names(), ["id", "id"]);

        let session = after.load();
        assert_eq!(session.origin(), Origin::Ambiguous);
        let mut response = after.save(&session);
        assert!(is_removal(set_cookie(&response)));
        after.store.save(&session, &mut response).unwrap();
        assert!(is_removal(set_cookie(&response)), "once is enough");
        assert_eq!(response[CACHE_CONTROL], "private");
        after.receive(&response);
        assert_eq!(after.browser.names(), ["id"]);
        assert_eq!(after.load().get("at").unwrap(), Some("after".to_owned()));
    }
}

#[test]
fn whoever_logs_in_with_two_different_sessions_has_one_afterwards() {
    for (mut before, mut after) in moves() {
        after.visit(|session| session.insert("a", 1).unwrap());
        let old = before.visit(|session| session.insert("a", 1).unwrap());
        after.receive(&old);
        after.visit(|session| {
            session.renew();
            session.insert("user_id", 42).unwrap();
        });
        assert_eq!(after.browser.names(), ["id"]);
        assert_eq!(after.load().keys(), ["user_id"]);
    }
}

#[test]
fn a_cookie_from_before_a_move_opens_and_ends_with_its_session() {
    type End = fn(&Session);
    let ends: [End; 2] = [Session::destroy, |session| {
        session.set_expiry(SystemTime::UNIX_EPOCH).unwrap();
    }];
    for end in ends {
        for (mut before, mut after) in moves() {
            before.visit(|session| session.insert("a", 1).unwrap());
            after.browser = before.browser;
            after.visit(|session| {
                assert_eq!(session.get("a").unwrap(), Some(1));
                end(session);
            });
            assert!(after.browser.names().is_empty());
        }
    }
}

#[test]
fn a_session_that_gets_a_new_id_takes_its_former_cookie_along() {
    type Change = fn(&Session);
    let changes: [Change; 3] = [
        |session| session.log_in().unwrap(),
        Session::renew,
        |session| {
            session.destroy();
            session.insert("a", 1).unwrap();
        },
    ];
    for change in changes {
        for (mut before, mut after) in moves() {
            before.visit(|session| session.insert("a", 1).unwrap());
            after.browser = before.browser;
            let response = after.visit(change);
            assert_eq!(after.browser.names(), ["id"], "{response:?}");
            let session = after.load();
            assert_eq!(session.origin(), Origin::Opened);
            assert_eq!(session.get("a").unwrap(), Some(1));
        }
    }
}

#[test]
fn a_session_that_goes_on_leaves_former_cookies_alone() {
    for (_, mut after) in moves() {
        let response = after.visit(|session| session.insert("a", 1).unwrap());
        assert!(max_age(&response).is_some(), "one Set-Cookie, to keep");
        assert!(sets_no_cookie(&after.visit(|_| ())));
    }
}

#[test]
fn former_cookies_are_removed_once_however_often_a_response_is_saved_into() {
    let site = Site::with(|builder| {
        let names = ["first", "second"].map(|name| CookieConfig::builder().name(name).build());
        names
            .into_iter()
            .fold(builder, |builder, former| builder.former(former.unwrap()))
    });
    let session = site.load();
    session.destroy();
    let mut response = site.save(&session);
    let once: Vec<_> = response.get_all(SET_COOKIE).iter().cloned().collect();
    site.store.save(&session, &mut response).unwrap();
    assert!(response.get_all(SET_COOKIE).iter().eq(&once));
    session.insert("a", 1).unwrap();
    site.store.save(&session, &mut response).unwrap();
    let names: Vec<_> = response
        .get_all(SET_COOKIE)
        .iter()
        .map(|field| field.to_str().unwrap().split('=').next().unwrap())
        .collect();
    assert_eq!(names, ["first", "second", "__Host-session"]);
}

#[test]
fn a_removal_has_the_attributes_of_the_cookie_that_it_removes() {
    for config in [
        CookieConfig::builder(),
        CookieConfig::builder().name("id").path("/app"),
        CookieConfig::builder().name("id").domain("example.com"),
        CookieConfig::builder()
            .name("id")
            .same_site(SameSite::Strict),
        CookieConfig::builder()
            .name("id")
            .same_site(SameSite::None)
            .partitioned(true),
        CookieConfig::builder().name("id").insecure_over_http(),
        CookieConfig::builder().name("id").insecure_for_scripts(),
        CookieConfig::builder()
            .name("__Secure-id")
            .path("/a/b")
            .domain("a.example"),
        CookieConfig::builder().name("id").persistent(false),
    ] {
        let config = config.build().unwrap();
        let mut site = Site::with(|builder| builder.cookie(config.clone()));
        let set = site.visit(|session| session.insert("a", 1).unwrap());
        let former = config.clone();
        let mut elsewhere = Site::with(|builder| {
            let other = CookieConfig::builder().name("other").build().unwrap();
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
