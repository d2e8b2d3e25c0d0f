//! Requests that come with the cookie from before a change of id: what they may do, and for how
//! long.

use std::time::Duration;

use sealed_session::{Event, Origin, Refusal, RevocationList, SaveError, Session, StoreBuilder};

use crate::now::now;
use crate::site::Site;
use crate::support::*;

type Handler = fn(&Session);
type Settings = fn(crate::site::Builder) -> crate::site::Builder;

fn large(session: &Session) {
    session.insert("large", "x".repeat(5000)).unwrap();
}

fn small(session: &Session) {
    session.remove("large");
}

fn login(session: &Session) {
    session.renew();
    session.insert("user_id", 42).unwrap();
}

fn begin(session: &Session) {
    session.destroy();
    session.insert("user_id", 42).unwrap();
}

const TICK: Duration = Duration::from_millis(1);

/// What changes the id of a session in a backend, and what the store must be for it.
const CHANGES: [(&str, Settings, Handler); 5] = [
    ("renewed", |it| it, Session::renew),
    ("logged in", |it| it, login),
    ("begun anew", |it| it, begin),
    ("into the cookie", StoreBuilder::small_in_cookie, small),
    (
        "renewed into the cookie",
        StoreBuilder::small_in_cookie,
        |session| {
            small(session);
            session.renew();
        },
    ),
];

/// A site whose session has just got another id, and a browser that has not heard of it.
fn moved(settings: Settings, change: Handler) -> (Site, Browser) {
    let mut site = Site::with(settings);
    site.visit(|session| {
        session.insert("a", 1).unwrap();
        large(session);
    });
    let old = site.browser.clone();
    site.visit(change);
    site.events();
    (site, old)
}

fn try_visit(site: &Site, old: &Browser, handler: Handler) -> Result<http::HeaderMap, SaveError> {
    let session = now(site.store.load(&old.send(site.clock.now()))).unwrap();
    assert!(
        session.is_empty() && session.is_new(),
        "never followed to the data"
    );
    handler(&session);
    site.try_save(&session)
}

#[test]
fn a_write_with_the_old_id_is_a_conflict_and_no_cookie_takes_the_place_of_the_new_one() {
    let writes: [Handler; 6] = [
        |session| session.insert("b", 2).unwrap(),
        |session| session.flash("b", 2).unwrap(),
        |session| session.set_subject("eve").unwrap(),
        |session| {
            session
                .update("n", |n: Option<u8>| n.unwrap_or(0) + 1)
                .unwrap();
        },
        login,
        begin,
    ];
    for (what, settings, change) in CHANGES {
        for write in writes {
            let (site, old) = moved(settings, change);
            site.clock.forward(10 * SECOND - TICK);
            let error = try_visit(&site, &old, write).unwrap_err();
            assert!(error.is_conflict() && error.backend().is_none(), "{what}");
            assert!(error.to_string().contains("new id"), "{error}");
            assert_eq!(site.load().origin(), Origin::Opened, "{what}");
        }
    }
}

#[test]
fn reading_with_the_old_id_is_as_empty_as_ever_and_says_nothing_to_the_browser() {
    let reads: [Handler; 4] = [
        |session| assert!(!session.contains("a")),
        |session| session.remove("a"),
        |session| assert_eq!(session.take::<u8>("a"), Ok(None)),
        Session::clear,
    ];
    for (what, settings, change) in CHANGES {
        for read in reads {
            let (site, old) = moved(settings, change);
            assert!(
                sets_no_cookie(&try_visit(&site, &old, read).unwrap()),
                "{what}"
            );
        }
    }
}

#[test]
fn after_ten_seconds_an_old_id_is_as_any_that_is_dead() {
    for (what, settings, change) in CHANGES {
        let (mut site, old) = moved(settings, change);
        site.clock.forward(10 * SECOND);
        let response = try_visit(&site, &old, |session| session.insert("b", 2).unwrap());
        site.receive(&response.unwrap());
        let session = site.load();
        assert_eq!(
            session.keys(),
            ["b"],
            "{what}: a browser that lost the answer goes on"
        );
        assert_eq!(session.origin(), Origin::Opened);
    }
}

#[test]
fn clocks_that_differ_by_a_minute_do_not_matter() {
    for is_ahead in [true, false] {
        let app_key = key();
        let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
        let shelf = crate::shelf::Shelf::new(&clock);
        // The backend has a clock of its own.
        let off = Clock::at(clock.now());
        let mut here = Site::of(&clock, &shelf, app_key.clone(), |it| it);
        let mut there = Site::of(&off, &shelf, app_key, |it| it);
        here.visit(|session| session.insert("a", 1).unwrap());
        there.browser = here.browser.clone();
        if is_ahead {
            off.forward(MINUTE);
        } else {
            off.back(MINUTE);
        }
        here.visit(login);
        let session = there.load();
        session.insert("b", 2).unwrap();
        assert!(
            there.try_save(&session).unwrap_err().is_conflict(),
            "{is_ahead}"
        );
    }
}

#[test]
fn a_logout_with_the_old_id_ends_what_the_session_has_become() {
    for (what, settings, change) in CHANGES {
        for after in [Duration::ZERO, MINUTE, 5 * MINUTE - TICK] {
            let (site, old) = moved(settings, change);
            if what.contains("cookie") {
                continue;
            }
            site.clock.forward(after);
            let response = try_visit(&site, &old, Session::destroy).unwrap();
            assert!(is_removal(set_cookie(&response)), "{what}");
            assert_ne!(site.load().origin(), Origin::Opened, "{what}");
            assert!(site.shelf.slots().is_empty(), "{what}");
        }
    }
}

#[test]
fn a_logout_follows_several_changes_also_into_the_cookie_and_out_of_it() {
    let list = RevocationList::new();
    for listed in [false, true] {
        let mut site = Site::with(|builder| match listed {
            true => builder.small_in_cookie().revocations(list.clone()),
            false => builder.small_in_cookie(),
        });
        site.visit(large);
        let old = site.browser.clone();
        let held = site.load();
        site.visit(Session::renew);
        site.visit(small);
        if listed {
            site.visit(Session::renew);
        }
        let in_cookie = site.request();
        let late = site.load();
        if listed {
            held.destroy();
            assert!(is_removal(set_cookie(&site.save(&held))));
            assert_eq!(site.load().origin(), refused(Refusal::Revoked));
            continue;
        }
        site.visit(large);
        let response = try_visit(&site, &old, Session::destroy).unwrap();
        assert!(is_removal(set_cookie(&response)));
        assert_eq!(site.load().origin(), refused(Refusal::Gone));
        // Who held it whole in its cookie has heard of no end.
        late.insert("b", 2).unwrap();
        assert!(!sets_no_cookie(&site.save(&late)));
        assert_eq!(
            now(site.store.load(&in_cookie)).unwrap().origin(),
            Origin::Opened
        );
    }
}

#[test]
fn of_two_requests_that_move_one_session_out_of_its_cookie_one_is_told() {
    let app_key = key();
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let shelf = crate::shelf::Shelf::new(&clock);
    let before = store(&clock, app_key.clone(), |builder| builder);
    let mut site = Site::of(&clock, &shelf, app_key, StoreBuilder::adopt_cookies);
    let session = before.load(&http::HeaderMap::new());
    session.insert("a", 1).unwrap();
    let mut response = http::HeaderMap::new();
    before.save(&session, &mut response).unwrap();
    site.receive(&response);

    let old = site.browser.clone();
    let (first, second, third) = (site.load(), site.load(), site.load());
    first.insert("b", 2).unwrap();
    second.insert("c", 3).unwrap();
    let response = site.save(&first);
    site.receive(&response);
    assert!(site.try_save(&second).unwrap_err().is_conflict());
    assert_eq!(site.load().keys(), ["a", "b"]);

    // One whose answer got lost is not held up for as long as marks stay.
    site.clock.forward(10 * SECOND);
    let again = now(site.store.load(&old.send(clock.now()))).unwrap();
    again.insert("d", 4).unwrap();
    let response = site.save(&again);
    assert_eq!(
        now(site.store.load(&cookies(&[pair(&response)])))
            .unwrap()
            .keys(),
        ["a", "d"]
    );

    // And one that logs out ends what it has become.
    third.destroy();
    assert!(is_removal(set_cookie(&site.save(&third))));
    let last = now(site.store.load(&cookies(&[pair(&response)]))).unwrap();
    assert_eq!(last.origin(), refused(Refusal::Gone));
}

#[test]
fn a_logout_that_finds_nothing_to_end_leaves_the_browser_alone() {
    let mut site = Site::visited(|builder| builder);
    let old = site.browser.clone();
    let slow = site.load();
    site.visit(Session::destroy);
    site.visit(|session| session.insert("user_id", 42).unwrap());
    slow.destroy();
    for _ in 0..2 {
        assert!(sets_no_cookie(&site.save(&slow)));
        assert!(sets_no_cookie(
            &try_visit(&site, &old, Session::destroy).unwrap()
        ));
    }
    assert_eq!(site.load().get("user_id"), Ok(Some(42)));
}

#[test]
fn a_logout_that_may_have_been_carried_out_already_removes_the_cookie() {
    let site = Site::visited(|builder| builder);
    let session = site.load();
    session.destroy();
    site.shelf
        .plan("remove", crate::shelf::Incident::FailsAfter);
    assert!(site.try_save(&session).is_err());
    assert!(is_removal(set_cookie(&site.save(&session))));
}

#[test]
fn what_is_only_read_leaves_the_new_cookie_alone_although_a_save_would_be_due() {
    let (old_key, new_key) = (key(), key());
    for renewed in [true, false] {
        let mut site = Site::with(|builder| builder);
        site = site.rebuilt(old_key.clone(), |builder| builder);
        site.visit(|session| session.insert("a", 1).unwrap());
        if !renewed {
            // The value is under the new key, the stub still under the old one.
            site.store.replace_keys(ring(&[&new_key, &old_key]));
            let session = site.load();
            site.save(&session);
        }
        site.store.replace_keys(ring(&[&new_key, &old_key]));
        let slow = site.load();
        site.visit(Session::renew);
        site.events();
        assert!(sets_no_cookie(&site.save(&slow)), "{renewed}");
        assert_eq!(site.events(), [], "nothing of it is lost");
        assert_eq!(site.load().get("a"), Ok(Some(1)));
    }
}

#[test]
fn what_comes_with_an_old_id_is_counted() {
    let (site, old) = moved(|it| it, Session::renew);
    try_visit(&site, &old, |_| ()).unwrap();
    assert_eq!(site.events(), [Event::Expired(Refusal::Moved)]);
}
