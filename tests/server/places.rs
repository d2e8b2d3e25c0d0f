//! Sessions that change their place: small ones in their cookies, larger ones behind them; from
//! cookies to a backend and back.

use http::HeaderMap;
use sealed_session::{AppKey, CookieStore, ErrorKind, Origin, Refusal, RevocationList, Status};

use crate::now::now;
use crate::shelf::{Incident, Shelf};
use crate::site::Site;
use crate::support::*;

fn large() -> String {
    "x".repeat(5000)
}

/// A service that has sessions in cookies only, and its keys, clock and backend-to-be.
fn cookie_service() -> (AppKey, Clock, Shelf, CookieStore) {
    let (app_key, clock) = (
        key(),
        Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY),
    );
    let shelf = Shelf::new(&clock);
    let cookie_store = store(&clock, app_key.clone(), |builder| builder);
    (app_key, clock, shelf, cookie_store)
}

fn visit(
    store: &CookieStore,
    browser: &mut Browser,
    clock: &Clock,
    handler: impl FnOnce(&sealed_session::Session),
) {
    let session = store.load(&browser.send(clock.now()));
    handler(&session);
    let mut response = HeaderMap::new();
    store.save(&session, &mut response).unwrap();
    browser.receive(&response, clock.now());
}

#[test]
fn a_small_session_stays_in_its_cookie_and_the_backend_is_asked_only_when_it_ends() {
    let mut site = Site::with(|builder| builder.small_in_cookie().idle_timeout(HOUR));
    site.visit(|session| session.insert("a", 1).unwrap());
    for n in 2..5 {
        site.clock.forward(30 * MINUTE);
        let response = site.visit(|_| ());
        assert!(!sets_no_cookie(&response), "refreshed in the cookie");
        let response = site.visit(|session| {
            assert_eq!(session.get("a"), Ok(Some(n - 1)));
            session.insert("a", n).unwrap();
        });
        assert!(!sets_no_cookie(&response));
    }
    site.visit(sealed_session::Session::renew);
    assert_eq!(site.calls(), [""; 0]);
    site.visit(sealed_session::Session::destroy);
    assert_eq!(site.load().origin(), Origin::Absent);
    assert_eq!(site.calls(), ["remove"], "it may have moved there");
}

#[test]
fn a_small_session_that_was_saved_is_as_with_a_cookie_store() {
    let site = Site::with(sealed_session::StoreBuilder::small_in_cookie);
    let small = site.load();
    let cookie_store = CookieStore::new(key());
    let whole = cookie_store.load(&HeaderMap::new());
    for session in [&small, &whole] {
        session.insert("a", 1).unwrap();
    }
    for _ in 0..2 {
        assert!(!sets_no_cookie(&site.save(&small)), "each response gets it");
        let _ = cookie_store.respond(&whole).unwrap();
        assert_eq!(small.status(), whole.status());
    }
}

#[test]
fn a_cutoff_on_the_list_keeps_new_sessions_out_of_their_cookies_and_not_out_of_the_backend() {
    let list = RevocationList::new();
    let mut site = Site::with(|builder| builder.small_in_cookie().revocations(list.clone()));
    list.revoke_subject("ada", site.clock.now() + 5 * SECOND);
    site.visit(|session| session.set_subject("ada").unwrap());
    assert_eq!(
        site.load().origin(),
        Origin::Absent,
        "the list would refuse it"
    );
    site.visit(|session| {
        session.set_subject("ada").unwrap();
        session.insert("story", large()).unwrap();
    });
    assert_eq!(
        site.load().origin(),
        Origin::Opened,
        "the list is not for it"
    );
}

#[test]
fn the_limit_between_the_places_is_that_of_a_cookie_to_the_byte() {
    let mut length = 2900;
    let (in_cookie, behind) = loop {
        let mut site = Site::with(sealed_session::StoreBuilder::small_in_cookie);
        let response = site.visit(|session| session.insert("a", "x".repeat(length)).unwrap());
        if site.calls().is_empty() {
            length += 1;
            continue;
        }
        let cookie_store = CookieStore::new(key());
        let whole = cookie_store.load(&HeaderMap::new());
        whole.insert("a", "x".repeat(length - 1)).unwrap();
        let error = whole.insert("a", "x".repeat(length)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        break (length - 1, pair(&response).len());
    };
    assert!(in_cookie > 2900);
    assert_eq!(behind, NAME.len() + 1 + 155);
}

#[test]
fn a_session_that_grows_moves_to_the_backend_and_one_that_shrinks_moves_back() {
    let mut site = Site::with(sealed_session::StoreBuilder::small_in_cookie);
    site.visit(|session| {
        session.insert("a", 1).unwrap();
        session.set_subject("ada").unwrap();
    });
    let (start, deadline) = (site.load().issued_at(), site.load().expires_at());
    let mut ids = vec![site.load().id()];
    site.clock.forward(HOUR);

    let session = site.load();
    session.insert("large", large()).unwrap();
    let response = site.save(&session);
    assert_eq!(site.calls(), ["put", "put"], "the session, and a mark");
    assert_eq!(pair(&response).len(), NAME.len() + 1 + 155);
    assert!(
        !sets_no_cookie(&site.save(&session)),
        "each response gets it"
    );
    assert_eq!(site.calls(), [""; 0]);
    site.receive(&response);
    let session = site.load();
    assert_eq!(session.keys(), ["a", "large"]);
    assert_eq!(session.subject().as_deref(), Some("ada"));
    ids.push(session.id());

    let stub = site.request();
    site.clock.forward(5 * MINUTE);
    let large_one = site.shelf.only_key();
    site.calls();
    let session = site.load();
    session.remove("large");
    let response = site.save(&session);
    assert_eq!(site.calls(), ["load", "put"], "the mark");
    assert_eq!(site.shelf.ttl(&large_one), 5 * MINUTE);
    for response in [&response, &site.save(&session)] {
        let again = now(site.store.load(&cookies(&[pair(response)]))).unwrap();
        assert_eq!(again.keys(), ["a"]);
    }
    assert_eq!(site.calls(), [""; 0]);
    site.receive(&response);
    let session = site.load();
    ids.push(session.id());
    assert_eq!(
        (session.issued_at(), session.expires_at()),
        (start, deadline)
    );
    let old = now(site.store.load(&stub)).unwrap();
    assert_eq!(old.origin(), refused(Refusal::Moved), "never two truths");
    ids.dedup();
    assert_eq!(ids.len(), 3, "a new id in each place");
}

#[test]
fn a_large_session_that_is_renewed_destroyed_or_ends_small_leaves_nothing_behind() {
    for (what, left) in [
        ("renew", 2),
        ("renew small", 1),
        ("destroy", 0),
        ("destroy and begin", 1),
    ] {
        let mut site = Site::with(sealed_session::StoreBuilder::small_in_cookie);
        site.visit(|session| session.insert("large", large()).unwrap());
        let stub = site.request();
        site.visit(|session| match what {
            "renew" => session.renew(),
            "renew small" => {
                session.renew();
                session.remove("large");
                session.insert("a", 1).unwrap();
            }
            "destroy" => session.destroy(),
            _ => {
                session.destroy();
                session.insert("a", 1).unwrap();
            }
        });
        assert_eq!(site.shelf.slots().len(), left, "{what}");
        let old = now(site.store.load(&stub)).unwrap();
        assert!(
            matches!(
                old.origin(),
                Origin::Refused(Refusal::Moved | Refusal::Gone)
            ),
            "{what}"
        );
    }
}

#[test]
fn the_list_of_revocations_gets_what_was_in_a_cookie_and_nothing_of_the_backends() {
    let list = RevocationList::new();
    let mut site = Site::with(|builder| builder.small_in_cookie().revocations(list.clone()));
    site.visit(|session| session.insert("large", large()).unwrap());
    site.visit(sealed_session::Session::renew);
    site.visit(sealed_session::Session::destroy);
    assert!(list.is_empty());
    site.visit(|session| session.insert("a", 1).unwrap());
    site.visit(|session| session.insert("large", large()).unwrap());
    assert_eq!(list.len(), 1, "it has moved to the backend");
}

#[test]
fn a_move_to_the_cookie_that_another_request_overtakes_takes_its_changes_along() {
    let mut site = Site::with(sealed_session::StoreBuilder::small_in_cookie);
    site.visit(|session| session.insert("large", large()).unwrap());
    site.overtaken("put", |session| session.insert("theirs", 1).unwrap());
    site.visit(|session| {
        session.remove("large");
        session.insert("ours", 2).unwrap();
    });
    assert!(site.shelf.is_as_planned());
    site.calls();
    assert_eq!(site.load().keys(), ["ours", "theirs"]);
    assert_eq!(site.calls(), [""; 0], "it is in the cookie");
}

#[test]
fn a_move_to_the_cookie_of_a_session_destroyed_meanwhile_ends_it() {
    let mut site = Site::with(sealed_session::StoreBuilder::small_in_cookie);
    site.visit(|session| session.insert("large", large()).unwrap());
    site.overtaken("put", sealed_session::Session::destroy);
    let response = site.visit(|session| session.insert("large", 1).unwrap());
    assert!(sets_no_cookie(&response));
    assert!(site.shelf.slots().is_empty());
}

#[test]
fn a_move_that_fails_leaves_the_session_where_it_was() {
    let mut site = Site::with(sealed_session::StoreBuilder::small_in_cookie);
    site.visit(|session| session.insert("a", 1).unwrap());
    let id = site.load().id();
    let session = site.load();
    session.insert("large", large()).unwrap();
    site.shelf.plan("put", Incident::Fails);
    assert!(site.try_save(&session).unwrap_err().backend().is_some());
    assert_eq!((site.load().id(), session.id()), (id, id));
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().keys(), ["a", "large"]);

    let session = site.load();
    session.remove("large");
    site.shelf.plan("put", Incident::Fails);
    assert!(site.try_save(&session).is_err());
    assert_eq!(site.load().keys(), ["a", "large"]);
}

#[test]
fn a_cookie_that_holds_a_session_is_refused_by_default_and_left_alone() {
    let (app_key, clock, shelf, cookie_store) = cookie_service();
    let mut browser = Browser::default();
    visit(&cookie_store, &mut browser, &clock, |session| {
        session.insert("a", 1).unwrap();
    });
    let mut site = Site::of(&clock, &shelf, app_key, |builder| builder);
    site.browser = browser;
    assert_eq!(site.load().origin(), refused(Refusal::InCookie));
    assert!(sets_no_cookie(&site.visit(|_| ())));
    assert_eq!(site.calls(), [""; 0]);
}

#[test]
fn a_running_service_moves_from_cookies_to_a_backend_and_back_and_nobody_is_logged_out() {
    let (app_key, clock, shelf, cookie_store) = cookie_service();
    let mut browser = Browser::default();
    visit(&cookie_store, &mut browser, &clock, |session| {
        session.insert("user_id", 42).unwrap();
    });
    let is_logged_in = |session: &sealed_session::Session| {
        assert_eq!(session.get("user_id"), Ok(Some(42)));
        assert_eq!(session.origin(), Origin::Opened);
    };

    let mut adopting = Site::of(&clock, &shelf, app_key.clone(), |builder| {
        builder.adopt_cookies()
    });
    adopting.browser = browser;
    let first = adopting.load().id();
    let response = adopting.visit(is_logged_in);
    assert!(sets_no_cookie(&response), "it moves with its next save");
    assert_eq!(adopting.calls(), [""; 0]);
    let deadline = adopting.load().expires_at();
    adopting.visit(|session| session.insert("page", 1).unwrap());
    assert_eq!(adopting.calls(), ["put", "put"]);
    assert_ne!(adopting.load().id(), first);
    assert_eq!(adopting.load().expires_at(), deadline);

    // All cookies that hold one have moved or expired.
    let mut server = adopting.rebuilt(app_key.clone(), |builder| builder);
    server.visit(is_logged_in);
    server.visit(|session| session.insert("page", 2).unwrap());

    let mut back = server.rebuilt(
        app_key.clone(),
        sealed_session::StoreBuilder::small_in_cookie,
    );
    back.visit(is_logged_in);
    let on_the_way = back.request();
    back.visit(|session| session.insert("page", 3).unwrap());

    visit(&cookie_store, &mut back.browser, &clock, |session| {
        is_logged_in(session);
        assert_eq!(session.get("page"), Ok(Some(3)));
        assert_eq!(session.expires_at(), deadline);
    });
    assert_eq!(
        cookie_store.load(&on_the_way).origin(),
        refused(Refusal::Elsewhere)
    );
}

#[test]
fn an_adopted_session_that_is_destroyed_or_renewed_does_not_come_back_by_itself() {
    for ends in [true, false] {
        let (app_key, clock, shelf, cookie_store) = cookie_service();
        let mut browser = Browser::default();
        visit(&cookie_store, &mut browser, &clock, |session| {
            session.insert("a", 1).unwrap();
        });
        let mut site = Site::of(
            &clock,
            &shelf,
            app_key,
            sealed_session::StoreBuilder::adopt_cookies,
        );
        site.browser = browser;
        site.visit(|session| {
            if ends {
                session.destroy();
            } else {
                session.renew();
            }
        });
        let with_a_mark = if ends { 0 } else { 2 };
        assert_eq!(shelf.slots().len(), with_a_mark);
        assert_eq!(site.load().is_new(), ends);
    }
}

#[test]
fn a_move_writes_what_was_changed_since_once() {
    let (app_key, clock, shelf, cookie_store) = cookie_service();
    let mut browser = Browser::default();
    visit(&cookie_store, &mut browser, &clock, |session| {
        session.insert("a", 1).unwrap();
    });
    let mut site = Site::of(
        &clock,
        &shelf,
        app_key,
        sealed_session::StoreBuilder::adopt_cookies,
    );
    site.browser = browser;
    let session = site.load();
    session.insert("b", 2).unwrap();
    let first = site.save(&session);
    assert_eq!(session.status(), Status::Unmodified);
    session.insert("c", 3).unwrap();
    let second = site.save(&session);
    assert_eq!(shelf.slots().len(), 2, "it has moved once, and left a mark");
    for response in [first, second] {
        let session = now(site.store.load(&cookies(&[pair(&response)]))).unwrap();
        assert_eq!(session.keys(), ["a", "b", "c"]);
    }
}

#[test]
fn a_session_whose_first_answer_had_it_whole_moves_like_any_other_when_it_grows() {
    for is_renewed in [false, true] {
        let list = RevocationList::new();
        let mut site = Site::with(|builder| builder.small_in_cookie().revocations(list.clone()));
        if is_renewed {
            site.visit(|session| session.insert("before", 1).unwrap());
        }
        let session = site.load();
        session.renew();
        session.insert("a", 1).unwrap();
        let whole = cookies(&[pair(&site.save(&session))]);
        let id = session.id();
        session.insert("large", large()).unwrap();
        let response = site.save(&session);
        site.receive(&response);
        assert_ne!(session.id(), id);
        assert_eq!(site.shelf.slots().len(), 2, "the session, and a mark");
        assert!(site.load().contains("large"));
        site.visit(sealed_session::Session::destroy);
        site.clock.forward(10 * SECOND);
        let copy = now(site.store.load(&whole)).unwrap();
        assert_eq!(copy.origin(), refused(Refusal::Revoked), "{is_renewed}");
    }
}

#[test]
fn what_a_failed_save_has_left_never_takes_the_place_of_a_session_that_is_in_its_cookie() {
    for incident in [Incident::FailsAfter, Incident::WaitsAfter] {
        let mut site = Site::with(sealed_session::StoreBuilder::small_in_cookie);
        let session = site.load();
        session.insert("never told", large()).unwrap();
        site.shelf.plan("put", incident);
        let mut response = HeaderMap::new();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = std::pin::pin!(site.store.save(&session, &mut response)).poll(&mut context);
        assert!(response.is_empty());
        session.remove("never told");
        session.insert("a", 1).unwrap();
        let response = site.save(&session);
        site.receive(&response);
        site.visit(|session| session.insert("a", 2).unwrap());
        let response = site.visit(|session| session.insert("large", large()).unwrap());
        assert_eq!(pair(&response).len(), NAME.len() + 1 + 155);
        let session = site.load();
        assert_eq!(session.keys(), ["a", "large"]);
        assert_eq!(session.get("a"), Ok(Some(2)));
    }
}

#[test]
fn a_logout_with_a_cookie_that_still_opens_removes_it_whatever_has_become_of_the_session() {
    let mut site = Site::with(sealed_session::StoreBuilder::small_in_cookie);
    site.visit(|session| session.insert("a", 1).unwrap());
    let whole = site.browser.clone();
    site.visit(|session| session.insert("large", large()).unwrap());
    site.visit(sealed_session::Session::destroy);
    site.browser = whole;
    assert_eq!(site.load().origin(), Origin::Opened, "nothing tells");
    let response = site.visit(sealed_session::Session::destroy);
    assert!(is_removal(set_cookie(&response)));
    assert_eq!(site.load().origin(), Origin::Absent);
}
