//! Defects of other libraries in what a response says about its session.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use sealed_session::{Session, Status};

use crate::support::*;

#[test]
fn a_change_after_a_save_is_in_the_next_save() {
    let mut site = Site::visited();
    let session = site.load();
    session.insert("first", 1).unwrap();
    let mut response = site.save(&session);
    session.insert("second", 2).unwrap();
    site.store.save(&session, &mut response).unwrap();
    site.receive(&response);
    assert_eq!(site.load().keys(), ["count", "first", "name", "second"]);
}

#[test]
fn a_change_taken_back_after_a_save_is_taken_back_by_the_next_save() {
    type Step = fn(&Session);
    let steps: [(&str, Step, Step); 7] = [
        (
            "value",
            |session| session.insert("name", "Eve").unwrap(),
            |session| session.insert("name", "Ada").unwrap(),
        ),
        (
            "new value",
            |session| session.insert("new", 1).unwrap(),
            |session| session.remove("new"),
        ),
        (
            "removal",
            |session| session.remove("name"),
            |session| session.insert("name", "Ada").unwrap(),
        ),
        (
            "subject",
            |session| session.set_subject("eve").unwrap(),
            |session| session.set_subject("ada").unwrap(),
        ),
        (
            "persistence",
            |session| session.remember(false),
            |session| session.remember(true),
        ),
        (
            "expiry",
            |session| {
                session
                    .set_expiry(session.issued_at().unwrap() + HOUR)
                    .unwrap();
            },
            |session| {
                session
                    .set_expiry(session.issued_at().unwrap() + DAY)
                    .unwrap();
            },
        ),
        (
            "end",
            |session| session.set_expiry(SystemTime::UNIX_EPOCH).unwrap(),
            |session| {
                session
                    .set_expiry(session.issued_at().unwrap() + DAY)
                    .unwrap();
            },
        ),
    ];
    for (what, there, back) in steps {
        let mut site = Site::visited();
        let before = site.load();
        let session = site.load();
        there(&session);
        let mut response = site.save(&session);
        back(&session);
        assert_eq!(session.status(), Status::Modified, "{what}");
        site.store.save(&session, &mut response).unwrap();
        site.receive(&response);
        let after = site.load();
        assert_eq!(after.to_map().unwrap(), before.to_map().unwrap(), "{what}");
        assert_eq!(after.subject(), before.subject(), "{what}");
        assert_eq!(after.expires_at(), before.expires_at(), "{what}");
        let rest = DAY - MINUTE;
        assert_eq!(max_age(&response), Some(rest), "{what}");
    }
}

#[test]
fn a_new_session_emptied_after_a_save_is_empty_in_the_browser_too() {
    type Step = fn(&Session);
    let steps: [Step; 4] = [
        |session| session.remove("a"),
        Session::clear,
        Session::destroy,
        |session| {
            session.remove("a");
            session.renew();
        },
    ];
    for empty in steps {
        let mut site = Site::new();
        let session = site.load();
        session.insert("a", 1).unwrap();
        let mut response = site.save(&session);
        empty(&session);
        site.store.save(&session, &mut response).unwrap();
        site.receive(&response);
        assert!(site.load().is_empty());
    }
}

#[test]
fn a_response_thrown_away_takes_nothing_with_it() {
    let mut site = Site::visited();
    let session = site.load();
    session.insert("a", 1).unwrap();
    session.renew();
    let (thrown_away, sent) = (site.save(&session), site.save(&session));
    for response in [&thrown_away, &sent] {
        let other = site.store.load(&cookies(&[pair(response)]));
        assert_eq!(other.get("a").unwrap(), Some(1));
        assert_eq!(other.id(), session.id(), "both are the same session");
        assert_eq!(other.issued_at(), session.issued_at());
    }
    site.receive(&sent);
    assert_eq!(site.load().get("a").unwrap(), Some(1));

    let session = site.load();
    session.destroy();
    for response in [site.save(&session), site.save(&session)] {
        assert!(is_removal(set_cookie(&response)));
    }
}

#[test]
fn a_refresh_alone_is_kept_out_of_shared_caches_too() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    site.visit(|session| session.insert("a", 1).unwrap());
    site.clock.forward(6 * MINUTE);
    let session = site.load();
    let mut response = HeaderMap::new();
    response.append(
        CACHE_CONTROL,
        "public, max-age=60, s-maxage=600".parse().unwrap(),
    );
    response.append(VARY, "Accept".parse().unwrap());
    site.store.save(&session, &mut response).unwrap();
    assert!(!sets_no_cookie(&response));
    assert_eq!(response[CACHE_CONTROL], "max-age=60, private");
    let vary: Vec<_> = response.get_all(VARY).iter().collect();
    assert_eq!(vary, ["Accept", "Cookie"]);
}

#[test]
fn a_request_that_only_reads_sends_no_cookie() {
    let mut site = Site::visited();
    let response = site.visit(|session| {
        let _ = session.get::<u64>("count");
        let _ = session.get::<u64>("name");
        let _ = (
            session.keys(),
            session.len(),
            session.is_empty(),
            session.to_map(),
        );
        let _ = (session.contains("x"), session.subject(), session.id());
        let _ = (session.issued_at(), session.expires_at(), session.is_new());
        let _ = (session.status(), session.origin(), format!("{session:?}"));
        let _ = session.take::<u64>("absent");
        let _ = session.take_flash::<u64>("absent");
        let _ = session.take_flash::<u64>("note");
    });
    assert!(sets_no_cookie(&response));
    assert_eq!(response[CACHE_CONTROL], "private");
    assert_eq!(response[VARY], "Cookie");
    assert_eq!(response.len(), 2);
}

#[test]
fn there_is_one_set_cookie_of_our_name_and_all_others_are_kept() {
    let site = Site::visited();
    let session = site.load();
    session.insert("a", 1).unwrap();
    let others = [
        "theme=dark",
        "__Host-session2=x",
        "x__Host-session=y",
        "a=__Host-session=z",
    ];
    let mut response = HeaderMap::new();
    for other in others {
        response.append(SET_COOKIE, other.parse().unwrap());
    }
    for _ in 0..3 {
        site.store.save(&session, &mut response).unwrap();
    }
    let fields: Vec<_> = response.get_all(SET_COOKIE).iter().collect();
    assert_eq!(fields[..4], others);
    assert_eq!(fields.len(), 5);
    assert!(fields[4].is_sensitive());
    session.destroy();
    site.store.save(&session, &mut response).unwrap();
    let fields: Vec<_> = response.get_all(SET_COOKIE).iter().collect();
    assert_eq!(fields.len(), 5);
    assert!(is_removal(fields[4].to_str().unwrap()));
}
