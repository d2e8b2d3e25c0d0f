//! A session that is changed while a save of it waits for the backend.

use std::sync::{Arc, Mutex};

use http::HeaderMap;
use sealed_session::{Session, Status};

use crate::now::now;
use crate::shelf::Incident;
use crate::site::Site;
use crate::support::*;

type Change = (&'static str, fn(&Session));

/// What can be done to a session with `count` = 1, the flash `note` and the subject `ada`, and
/// what takes each back.
const CHANGES: [Change; 20] = [
    ("nothing", |_| ()),
    ("count = 2", |session| session.insert("count", 2).unwrap()),
    ("count = 1", |session| session.insert("count", 1).unwrap()),
    ("without count", |session| session.remove("count")),
    ("new = 1", |session| session.insert("new", 1).unwrap()),
    ("new = 2", |session| session.insert("new", 2).unwrap()),
    ("without new", |session| session.remove("new")),
    ("clear", Session::clear),
    ("flash note", |session| {
        session.flash("note", "new").unwrap();
    }),
    ("flash other", |session| session.flash("other", 1).unwrap()),
    ("take note", |session| {
        drop(session.take_flash::<String>("note"));
    }),
    ("subject eve", |session| session.set_subject("eve").unwrap()),
    ("subject ada", |session| session.set_subject("ada").unwrap()),
    ("not remembered", |session| session.remember(false)),
    ("remembered", |session| session.remember(true)),
    ("an hour", |session| {
        session.set_expiry(start() + HOUR).unwrap();
    }),
    ("a day", |session| {
        session.set_expiry(start() + DAY).unwrap();
    }),
    ("past", |session| session.set_expiry(start()).unwrap()),
    ("renew", Session::renew),
    ("destroy", Session::destroy),
];

fn start() -> std::time::SystemTime {
    std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY
}

/// What the session holds that the browser has in the end, and how long it is kept. One that was
/// not worth a cookie when it began has no end.
fn told(site: &mut Site) -> (String, Option<String>) {
    let session = site.load();
    let (values, subject) = (session.to_map().unwrap(), session.subject());
    let flashes = ["note", "other"].map(|name| {
        let flash: Option<sealed_session::Value> = session.take_flash(name).unwrap();
        flash
    });
    let content = format!("{values:?} {subject:?} {flashes:?}");
    let deadline = session.expires_at();
    site.browser.close();
    let is_kept = !site.browser.names().is_empty();
    (content, deadline.map(|end| format!("{end:?} {is_kept}")))
}

#[test]
fn nothing_is_lost_and_nothing_comes_back_whatever_changes_when() {
    for is_new in [false, true] {
        let site = || match is_new {
            true => Site::new(),
            false => Site::visited(|builder| builder),
        };
        for (first, change) in CHANGES {
            for (second, meanwhile) in CHANGES {
                let what = format!("new: {is_new}, {first}, meanwhile {second}");
                let mut at_once = site();
                at_once.visit(|session| {
                    change(session);
                    meanwhile(session);
                });

                let mut site = site();
                let session = site.load();
                change(&session);
                let pending = Arc::new(Mutex::new(Some((session.clone(), meanwhile))));
                let run = move || {
                    if let Some((session, meanwhile)) = pending.lock().unwrap().take() {
                        meanwhile(&session);
                    }
                };
                for call in ["put", "remove"] {
                    site.shelf
                        .plan(call, Incident::Before(Box::new(run.clone())));
                }
                let response = site.save(&session);
                run();
                site.shelf.forget_plans();
                site.receive(&response);
                let response = site.save(&session);
                site.receive(&response);
                // A session that has ended stays so, and the save that ended it took all with it.
                let has_ended = first == "past" || (second == "past" && first != "destroy");
                // A deadline that was saved goes with the id that is given up.
                let has_new_deadline = second == "renew" && ["an hour", "a day"].contains(&first);
                if !has_ended && !has_new_deadline {
                    let (told, expected) = (told(&mut site), told(&mut at_once));
                    assert_eq!(told.0, expected.0, "{what}");
                    assert!(expected.1.is_none() || told.1 == expected.1, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_flash_that_another_request_has_set_anew_outlives_the_taking_of_the_one_before() {
    for taken_too in [false, true] {
        let mut site = Site::visited(|builder| builder);
        let (reads, writes) = (site.load(), site.load());
        assert_eq!(reads.take_flash("note"), Ok(Some("hello".to_owned())));
        if taken_too {
            let taken = writes.take_flash("note");
            assert_eq!(taken, Ok(Some("hello".to_owned())));
        }
        writes.flash("note", "new").unwrap();
        for session in [&writes, &reads] {
            let response = site.save(session);
            site.receive(&response);
        }
        let session = site.load();
        assert_eq!(session.take_flash("note"), Ok(Some("new".to_owned())));
    }
}

#[test]
fn what_is_changed_while_a_save_waits_is_there_to_read_and_to_save() {
    let mut site = Site::visited(|builder| builder);
    let session = site.load();
    session.insert("count", 2).unwrap();
    let clone = session.clone();
    site.shelf.plan(
        "put",
        Incident::Before(Box::new(move || {
            clone.insert("count", 1).unwrap();
            clone.insert("new", 1).unwrap();
            clone.remove("name");
        })),
    );
    site.save(&session);
    assert_eq!(
        site.load().get("count"),
        Ok(Some(2)),
        "as it was when the save began"
    );
    assert_eq!(session.status(), Status::Modified);
    assert_eq!(session.get("count"), Ok(Some(1)));
    assert_eq!(session.keys(), ["count", "new"]);
    let response = site.save(&session);
    site.receive(&response);
    let session = site.load();
    assert_eq!(session.get("count"), Ok(Some(1)));
    assert_eq!(session.keys(), ["count", "new"]);
}

/// Saves the session once, with a change made while that waits, and once more.
fn save_around(site: &mut Site, session: &Session, meanwhile: fn(&Session)) {
    let clone = session.clone();
    let incident = Incident::Before(Box::new(move || meanwhile(&clone)));
    site.shelf.plan("put", incident);
    for _ in 0..2 {
        let response = site.save(session);
        site.receive(&response);
    }
    assert!(site.shelf.is_as_planned());
}

#[test]
fn a_session_that_is_renewed_while_a_save_waits_gets_a_new_id_with_the_next() {
    for is_new in [true, false] {
        let mut site = match is_new {
            true => Site::new(),
            false => Site::visited(|builder| builder),
        };
        let session = site.load();
        session.insert("a", 1).unwrap();
        save_around(&mut site, &session, Session::renew);
        assert_eq!(
            site.shelf.slots().len(),
            2,
            "new: {is_new}: the session and a mark"
        );
        assert_eq!(site.load().get("a"), Ok(Some(1)));
        assert_eq!(site.load().id(), session.id());
    }
}

#[test]
fn a_session_that_is_destroyed_while_a_save_waits_is_gone_with_the_next() {
    for is_new in [true, false] {
        let mut site = match is_new {
            true => Site::new(),
            false => Site::visited(|builder| builder),
        };
        let session = site.load();
        session.insert("a", 1).unwrap();
        save_around(&mut site, &session, Session::destroy);
        assert!(site.shelf.slots().is_empty(), "new: {is_new}");
        assert!(site.load().is_new());
    }
    let mut site = Site::visited(|builder| builder);
    let (old, session) = (site.load().id(), site.load());
    session.insert("a", 1).unwrap();
    save_around(&mut site, &session, |session| {
        session.destroy();
        session.insert("b", 2).unwrap();
    });
    assert_eq!(site.shelf.slots().len(), 2, "the new one and a mark");
    assert_eq!(site.load().keys(), ["b"]);
    assert_ne!(site.load().id(), old);
}

#[test]
fn what_begins_anew_while_a_save_waits_stays_whoever_else_ends_the_old_one() {
    let mut site = Site::visited(|builder| builder);
    let session = site.load();
    session.insert("a", 1).unwrap();
    let (clone, shelf, key) = (session.clone(), site.shelf.clone(), site.shelf.only_key());
    let incident = Incident::Before(Box::new(move || {
        clone.destroy();
        clone.insert("b", 2).unwrap();
        shelf.lose(&key);
    }));
    site.shelf.plan("put", incident);
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().keys(), ["b"]);
    assert_eq!(site.shelf.slots().len(), 1);
}

#[test]
fn a_session_that_somebody_else_ends_stays_ended_whatever_is_changed_while_a_save_waits() {
    let changes: [Change; 3] = [
        ("a value", |session| session.insert("b", 2).unwrap()),
        ("cleared", Session::clear),
        ("renewed", Session::renew),
    ];
    for (what, meanwhile) in changes {
        let site = Site::visited(|builder| builder);
        let session = site.load();
        session.insert("a", 1).unwrap();
        let (clone, shelf, key) = (session.clone(), site.shelf.clone(), site.shelf.only_key());
        let incident = Incident::Before(Box::new(move || {
            meanwhile(&clone);
            shelf.lose(&key);
        }));
        site.shelf.plan("put", incident);
        assert!(sets_no_cookie(&site.save(&session)), "{what}");
        assert!(session.is_empty(), "{what}");
        assert!(site.shelf.slots().is_empty(), "{what}");
    }
}

#[test]
fn a_save_that_ends_a_session_takes_all_with_it_that_was_not_begun_anew() {
    let changes: [Change; 2] = [
        ("its deadline", |session| {
            session.set_expiry(start()).unwrap();
        }),
        ("destroyed before", |session| {
            session.destroy();
            session.insert("a", 1).unwrap();
            session.set_expiry(start()).unwrap();
        }),
    ];
    for (what, change) in changes {
        let site = Site::visited(|builder| builder);
        let session = site.load();
        change(&session);
        if what == "its deadline" {
            let clone = session.clone();
            let incident = Incident::Before(Box::new(move || clone.insert("b", 2).unwrap()));
            site.shelf.plan("remove", incident);
        }
        for _ in 0..2 {
            assert!(is_removal(set_cookie(&site.save(&session))), "{what}");
            assert!(session.is_empty(), "{what}");
        }
        assert!(site.shelf.is_as_planned() && site.shelf.slots().is_empty());
    }
}

#[test]
fn a_flash_of_this_request_stays_unreadable_in_it_however_often_it_is_saved() {
    let mut site = Site::visited(|builder| builder);
    let store = site.store.clone();
    site.visit(|session| {
        session.flash("own", 1).unwrap();
        let mut headers = HeaderMap::new();
        now(store.save(session, &mut headers)).unwrap();
        assert_eq!(session.take_flash::<u8>("own"), Ok(None));
        assert_eq!(session.take_flash("note"), Ok(Some("hello".to_owned())));
        now(store.save(session, &mut headers)).unwrap();
        assert_eq!(session.take_flash::<u8>("own"), Ok(None));
        assert_eq!(session.take_flash::<String>("note"), Ok(None));
    });
    let session = site.load();
    assert_eq!(session.take_flash("own"), Ok(Some(1)));
    assert_eq!(session.take_flash::<String>("note"), Ok(None));
}

#[test]
fn a_session_that_is_saved_all_day_can_be_dropped() {
    let on_a_small_stack = || {
        let site = Site::new();
        let session = site.load();
        for n in 0..5_000 {
            session.insert("n", n).unwrap();
            site.save(&session);
        }
        drop(session);
    };
    std::thread::Builder::new()
        .stack_size(128 * 1024)
        .spawn(on_a_small_stack)
        .unwrap()
        .join()
        .unwrap();
}
