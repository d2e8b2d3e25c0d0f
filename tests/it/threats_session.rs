//! Attacks on a session's life, and defects of other libraries there.

use std::time::SystemTime;

use http::HeaderMap;
use sealed_session::{Origin, Refusal, Session, Status};

use crate::support::*;

#[test]
fn an_id_that_a_client_offers_is_never_adopted() {
    let mut attacker = Site::new();
    let response = attacker.visit(|session| session.insert("a", 1).unwrap());
    let foreign = pair(&response).to_owned();
    let offered = attacker.load().id().unwrap();
    for field in [
        format!("__Host-session={offered}"),
        format!("__Host-session=s:{offered}.c2lnbmF0dXJl"),
        foreign,
    ] {
        let mut site = Site::new();
        let session = site.store.load(&cookies(&[field]));
        assert!(matches!(session.origin(), Origin::Refused(_)));
        assert_eq!(session.id(), None);
        session.insert("user_id", 1).unwrap();
        let response = site.save(&session);
        assert_ne!(session.id().unwrap(), offered);
        site.receive(&response);
        assert_eq!(site.load().id(), session.id());
    }
}

#[test]
fn a_session_planted_by_an_attacker_is_another_one_after_login_renews_it() {
    let mut attacker = Site::visited();
    let planted = attacker.browser.clone();
    let mut victim = Site {
        browser: planted.clone(),
        clock: attacker.clock.clone(),
        store: attacker.store.clone(),
    };
    victim.visit(|session| {
        session.renew();
        session.insert("user_id", 42).unwrap();
    });
    attacker.browser = planted;
    assert_eq!(attacker.load().get::<u64>("user_id").unwrap(), None);
    assert_ne!(attacker.load().id(), victim.load().id());
}

#[test]
fn every_mutating_method_alone_survives_a_round_trip() {
    type Change = fn(&Session);
    type Check = fn(before: &Session, after: &Session);
    let methods: [(&str, Change, Check); 18] = [
        (
            "insert",
            |session| session.insert("new", true).unwrap(),
            |_, after| assert_eq!(after.get("new").unwrap(), Some(true)),
        ),
        (
            "insert over",
            |session| session.insert("count", "text now").unwrap(),
            |_, after| assert_eq!(after.get("count").unwrap(), Some("text now".to_owned())),
        ),
        (
            "remove",
            |session| session.remove("count"),
            |_, after| assert_eq!(after.keys(), ["name"]),
        ),
        (
            "take",
            |session| assert_eq!(session.take("count").unwrap(), Some(1)),
            |_, after| assert_eq!(after.keys(), ["name"]),
        ),
        (
            "update",
            |session| {
                session
                    .update("count", |n: Option<u8>| n.unwrap_or(0) + 1)
                    .unwrap();
            },
            |_, after| assert_eq!(after.get("count").unwrap(), Some(2)),
        ),
        (
            "update of nothing",
            |session| {
                session
                    .update("new", |n: Option<u8>| n.unwrap_or(9))
                    .unwrap();
            },
            |_, after| assert_eq!(after.get("new").unwrap(), Some(9)),
        ),
        ("clear", Session::clear, |_, after| {
            assert!(after.is_empty() && after.subject().is_none());
            assert_eq!(after.take_flash::<String>("note").unwrap(), None);
        }),
        (
            "flash",
            |session| session.flash("later", 5).unwrap(),
            |_, after| assert_eq!(after.take_flash("later").unwrap(), Some(5)),
        ),
        (
            "take_flash",
            |session| assert!(session.take_flash::<String>("note").unwrap().is_some()),
            |_, after| assert_eq!(after.take_flash::<String>("note").unwrap(), None),
        ),
        ("renew", Session::renew, |before, after| {
            assert_ne!(after.id(), before.id());
            assert_eq!(after.to_map().unwrap(), before.to_map().unwrap());
        }),
        ("destroy", Session::destroy, |_, after| {
            assert_eq!(after.origin(), Origin::Absent);
        }),
        (
            "remember",
            |session| session.remember(false),
            |_, after| {
                after.remember(false);
                assert_eq!(after.status(), Status::Unmodified);
            },
        ),
        (
            "set_expiry",
            |session| {
                session
                    .set_expiry(session.issued_at().unwrap() + HOUR)
                    .unwrap();
            },
            |before, after| {
                assert_eq!(after.expires_at(), Some(before.issued_at().unwrap() + HOUR));
            },
        ),
        (
            "set_subject",
            |session| session.set_subject("eve").unwrap(),
            |_, after| assert_eq!(after.subject().as_deref(), Some("eve")),
        ),
        (
            "set_subject to nobody",
            |session| session.set_subject("").unwrap(),
            |_, after| assert_eq!(after.subject(), None),
        ),
        (
            "merge",
            |session| {
                let other = Session::new();
                other.insert("merged", 1).unwrap();
                session.merge(&other).unwrap();
            },
            |_, after| assert_eq!(after.keys(), ["count", "merged", "name"]),
        ),
        (
            "continue_as",
            |session| {
                let other = Session::new();
                other.set_label("laptop").unwrap();
                session.continue_as(&other).unwrap();
            },
            |_, after| assert_eq!(after.label().as_deref(), Some("laptop")),
        ),
        (
            "get_or_remove",
            |session| assert_eq!(session.get_or_remove::<bool>("name"), None),
            |_, after| assert_eq!(after.keys(), ["count"]),
        ),
    ];
    for (method, change, check) in methods {
        let mut site = Site::visited();
        let before = site.load();
        let response = site.visit(change);
        assert!(!sets_no_cookie(&response), "{method}");
        let after = site.load();
        check(&before, &after);
        if !["renew", "destroy"].contains(&method) {
            assert_eq!(after.id(), before.id(), "{method}");
        }
    }
}

#[test]
fn renew_is_not_lost_by_what_comes_before_or_after() {
    type Change = fn(&Session);
    let changes: [Change; 5] = [
        |session| session.insert("user_id", 1).unwrap(),
        |session| session.remove("count"),
        Session::clear,
        |session| session.set_subject("eve").unwrap(),
        |session| session.remember(false),
    ];
    for change in changes {
        for renew_first in [true, false] {
            let mut site = Site::visited();
            let before = site.load();
            site.visit(|session| {
                if renew_first {
                    session.renew();
                }
                change(session);
                if !renew_first {
                    session.renew();
                }
            });
            let after = site.load();
            assert_ne!(after.id().unwrap(), before.id().unwrap());
            assert_eq!(after.issued_at(), Some(site.clock.now()));
            let expected = site.load();
            change(&expected);
            assert_eq!(expected.status(), Status::Unmodified, "the change is there");
        }
    }
}

#[test]
fn destroy_wins_over_everything_before_it() {
    let mut site = Site::visited();
    let response = site.visit(|session| {
        session.insert("a", 1).unwrap();
        session.flash("b", 1).unwrap();
        session.renew();
        session.remember(false);
        session
            .set_expiry(session.issued_at().unwrap_or(SystemTime::UNIX_EPOCH) + HOUR)
            .unwrap();
        session.set_subject("eve").unwrap();
        session.destroy();
        assert_eq!(session.status(), Status::Destroyed);
        session.renew();
        session.clear();
        session.remove("a");
        session.destroy();
    });
    assert!(is_removal(set_cookie(&response)));
    assert!(site.browser.names().is_empty());
}

#[test]
fn a_session_of_one_store_is_not_saved_by_another_and_merge_is_the_way_across() {
    let site = Site::visited();
    let twin = store(&site.clock, key(), |builder| builder);
    let session = site.load();
    session.insert("new", 1).unwrap();
    let mut response = HeaderMap::new();
    let error = twin.save(&session, &mut response).unwrap_err();
    assert!(error.to_string().contains("merge"), "{error}");
    assert!(response.is_empty());
    assert!(twin.respond(&session).is_err());
    assert!(twin.respond(&site.store.load(&HeaderMap::new())).is_err());

    let own = twin.load(&HeaderMap::new());
    own.merge(&session).unwrap();
    twin.save(&own, &mut response).unwrap();
    let there = twin.load(&cookies(&[pair(&response)]));
    assert_eq!(there.keys(), ["count", "name", "new"]);

    let clone = site.store.clone();
    clone.save(&session, &mut response).unwrap();
    let made_by_a_test = Session::new();
    made_by_a_test.insert("a", 1).unwrap();
    for store in [&site.store, &twin] {
        store.save(&made_by_a_test, &mut response).unwrap();
    }
}

#[test]
fn a_slow_answer_that_only_refreshes_brings_a_destroyed_session_back() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    site.visit(|session| session.insert("user_id", 42).unwrap());

    site.clock.forward(6 * MINUTE);
    let slow = site.load();
    site.visit(Session::destroy);
    assert!(site.browser.names().is_empty());
    let answer = site.save(&slow);
    site.receive(&answer);
    assert_eq!(
        site.load().get("user_id").unwrap(),
        Some(42),
        "the limit of a session that no server remembers"
    );

    site.store.set_not_before(site.clock.now());
    assert_eq!(site.load().origin(), refused(Refusal::Cutoff));
}

#[test]
fn a_slow_answer_that_changes_the_session_brings_a_destroyed_one_back() {
    let changes: [fn(&Session); 3] = [
        |session| session.insert("page", 2).unwrap(),
        Session::renew,
        |session| session.remember(false),
    ];
    for change in changes {
        let mut site = Site::new();
        site.visit(|session| session.insert("user_id", 42).unwrap());
        let slow = site.load();
        change(&slow);
        site.visit(Session::destroy);
        let answer = site.save(&slow);
        site.receive(&answer);
        assert_eq!(site.load().get("user_id").unwrap(), Some(42));
    }
}

#[test]
fn a_slow_answer_that_sets_no_cookie_brings_nothing_back() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    site.visit(|session| session.insert("user_id", 42).unwrap());
    site.clock.forward(6 * MINUTE - SECOND);
    let slow = site.load();
    assert!(slow.contains("user_id"));
    site.visit(Session::destroy);
    let answer = site.save(&slow);
    site.receive(&answer);
    assert!(site.load().is_empty());
}
