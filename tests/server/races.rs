//! Requests that meet on one session. Each race is one order of calls, made to happen.

use sealed_session::{Event, Origin, Refusal};

use crate::shelf::Incident;
use crate::site::Site;
use crate::support::*;

#[test]
fn two_requests_that_change_different_keys_both_succeed() {
    let mut site = Site::visited(|builder| builder);
    site.overtaken("put", |session| {
        session.insert("theirs", 1).unwrap();
        session.remove("name");
        session.set_subject("eve").unwrap();
    });
    let response = site.visit(|session| {
        session.insert("ours", 2).unwrap();
        session.flash("flash", 3).unwrap();
    });
    assert!(sets_no_cookie(&response));
    assert!(site.shelf.is_as_planned());
    assert_eq!(site.events(), [Event::Replayed]);
    let calls = ["load", "put", "load", "put", "load", "put"];
    assert_eq!(
        site.calls(),
        calls,
        "the other request's load and put, then once more"
    );
    let session = site.load();
    assert_eq!(session.keys(), ["count", "ours", "theirs"]);
    assert_eq!(session.subject().as_deref(), Some("eve"));
    assert_eq!(session.take_flash("flash"), Ok(Some(3)));
    assert_eq!(session.take_flash("note"), Ok(Some("hello".to_owned())));
}

#[test]
fn of_two_changes_of_one_key_the_later_saves_stays() {
    let mut site = Site::visited(|builder| builder);
    site.overtaken("put", |session| {
        session.insert("count", 100).unwrap();
        session.insert("name", "Eve").unwrap();
    });
    site.visit(|session| {
        session.insert("count", 2).unwrap();
        session.remove("name");
    });
    let session = site.load();
    assert_eq!(session.get("count"), Ok(Some(2)));
    assert!(!session.contains("name"));
}

#[test]
fn three_requests_and_more_each_replay_until_all_is_there() {
    for crowd in [2, 5, 15] {
        let mut site = Site::visited(|builder| builder);
        for n in 0..crowd {
            if n > 0 {
                // The one that overtook last has its own put in between.
                site.shelf.plan("put", Incident::Passes);
            }
            site.overtaken("put", move |session| {
                session.insert(&format!("k{n}"), n).unwrap();
            });
        }
        site.visit(|session| session.insert("mine", 1).unwrap());
        assert!(site.shelf.is_as_planned());
        let session = site.load();
        assert_eq!(session.len(), 3 + crowd, "{:?}", session.keys());
        let replayed = vec![Event::Replayed; crowd];
        assert_eq!(site.events(), replayed);
    }
}

#[test]
fn a_request_that_never_comes_through_is_told_so_and_can_try_again() {
    let mut site = Site::visited(|builder| builder);
    for n in 0..16 {
        if n > 0 {
            site.shelf.plan("put", Incident::Passes);
        }
        site.overtaken("put", move |session| session.insert("theirs", n).unwrap());
    }
    let session = site.load();
    session.insert("ours", 1).unwrap();
    let error = site.try_save(&session).unwrap_err();
    assert!(error.to_string().contains("try again"), "{error}");
    assert!(error.is_conflict() && error.backend().is_none());
    assert!(!site.load().contains("ours"));
    let response = site.save(&session);
    site.receive(&response);
    let session = site.load();
    assert_eq!(session.get("ours"), Ok(Some(1)));
    assert_eq!(session.get("theirs"), Ok(Some(15)));
}

#[test]
fn clearing_wins_over_what_it_did_not_see() {
    let mut site = Site::visited(|builder| builder);
    site.overtaken("put", |session| session.insert("theirs", 1).unwrap());
    site.visit(|session| {
        session.clear();
        session.insert("ours", 2).unwrap();
    });
    assert_eq!(site.load().keys(), ["ours"]);
}

#[test]
fn a_session_destroyed_while_a_slow_request_held_it_stays_destroyed() {
    type Handler = fn(&sealed_session::Session);
    let slow: [(&str, Handler); 5] = [
        ("changes it", |session| session.insert("a", 1).unwrap()),
        ("renews it", |session| session.renew()),
        ("clears it", |session| session.clear()),
        ("changes its cookie", |session| session.remember(false)),
        ("destroys it", |session| session.destroy()),
    ];
    for (what, handler) in slow {
        let mut site = Site::visited(|builder| builder);
        let session = site.load();
        site.visit(sealed_session::Session::destroy);
        handler(&session);
        let is_lost = |site: &Site| {
            assert!(sets_no_cookie(&site.save(&session)), "{what}");
            assert!(site.shelf.slots().is_empty(), "{what}");
            site.events()
        };
        let lost = vec![Event::Lost; usize::from(what != "destroys it")];
        assert_eq!(is_lost(&site), lost, "{what}");
        assert_eq!(is_lost(&site), [], "{what}: again");
        assert!(session.is_empty() && session.is_new());
        if what != "destroys it" {
            session.insert("late", 1).unwrap();
            assert_eq!(is_lost(&site), [Event::Lost], "{what}: changed again");
            session.destroy();
            assert_eq!(
                is_lost(&site),
                [],
                "{what}: it is not for this one to remove"
            );
        }
        session.insert("new", 1).unwrap();
        let response = site.save(&session);
        site.receive(&response);
        assert_eq!(
            site.load().keys(),
            ["new"],
            "{what}: a new session, of new values only"
        );
    }
}

#[test]
fn a_session_destroyed_between_any_two_calls_of_a_save_stays_destroyed() {
    for (passes, renews) in [(0, false), (0, true), (1, true)] {
        let site = Site::visited(|builder| builder);
        let before = site.request();
        for _ in 0..passes {
            site.shelf.plan("put", Incident::Passes);
        }
        site.overtaken("put", sealed_session::Session::destroy);
        let session = site.load();
        session.insert("a", 1).unwrap();
        if renews {
            session.renew();
        }
        let response = site.save(&session);
        assert!(site.shelf.is_as_planned());
        assert!(sets_no_cookie(&response));
        assert!(site.shelf.slots().is_empty(), "neither old nor new");
        assert_eq!(site.events(), [Event::Lost]);
        let session = crate::now::now(site.store.load(&before)).unwrap();
        assert_eq!(session.origin(), refused(Refusal::Gone));
    }
}

#[test]
fn a_session_destroyed_while_a_save_catches_up_stays_destroyed() {
    let site = Site::visited(|builder| builder);
    site.overtaken("put", |session| session.insert("theirs", 1).unwrap());
    let session = site.load();
    session.insert("ours", 1).unwrap();
    site.shelf.plan("load", Incident::Passes);
    site.overtaken("load", sealed_session::Session::destroy);
    let response = site.save(&session);
    assert!(site.shelf.is_as_planned());
    assert!(sets_no_cookie(&response));
    assert!(site.shelf.slots().is_empty());
    assert_eq!(site.events(), [Event::Lost]);
}

#[test]
fn a_slow_request_that_only_reads_brings_nothing_back() {
    let mut site = Site::visited(|builder| builder.idle_timeout(HOUR));
    let session = site.load();
    site.clock.forward(30 * MINUTE);
    site.visit(sealed_session::Session::destroy);
    site.calls();
    assert!(sets_no_cookie(&site.save(&session)));
    assert_eq!(site.calls(), ["touch"]);
    assert!(site.shelf.slots().is_empty());
}

#[test]
fn a_write_after_destroy_begins_a_new_session_and_the_old_one_is_gone() {
    let mut site = Site::visited(|builder| builder);
    let (before, old) = (site.request(), site.load().id());
    let response = site.visit(|session| {
        session.destroy();
        session.insert("a", 1).unwrap();
    });
    assert!(!is_removal(set_cookie(&response)));
    let session = site.load();
    assert_ne!(session.id(), old);
    assert_eq!(session.keys(), ["a"]);
    assert_eq!(session.subject(), None);
    assert_eq!(site.shelf.slots().len(), 2, "the new one and a mark");
    let copied = crate::now::now(site.store.load(&before)).unwrap();
    assert_eq!(copied.origin(), refused(Refusal::Moved));
}

#[test]
fn renewing_gives_a_new_id_keeps_the_data_and_refuses_the_old_cookie() {
    let mut site = Site::visited(|builder| builder);
    let (before, old) = (site.request(), site.load().id());
    site.clock.forward(HOUR);
    site.calls();
    let response = site.visit(|session| {
        session.renew();
        session.insert("user_id", 42).unwrap();
    });
    assert_eq!(site.calls(), ["load", "put", "put"]);
    assert_eq!(max_age(&response), Some(DAY - HOUR), "the deadline stays");
    let session = site.load();
    assert_ne!(session.id(), old);
    assert_eq!(session.keys(), ["count", "name", "user_id"]);
    assert_eq!(session.subject().as_deref(), Some("ada"));
    assert_eq!(session.take_flash("note"), Ok(Some("hello".to_owned())));

    let copied = crate::now::now(site.store.load(&before)).unwrap();
    assert_eq!(copied.origin(), refused(Refusal::Moved));
    assert!(copied.is_empty() && copied.id().is_none());
    assert!(
        sets_no_cookie(&site.save(&copied)),
        "the new cookie is left alone"
    );
    assert_eq!(site.events(), [Event::Expired(Refusal::Moved)]);
    site.clock.forward(5 * MINUTE);
    assert_eq!(site.shelf.slots().len(), 1, "the mark goes by itself");
    let copied = crate::now::now(site.store.load(&before)).unwrap();
    assert_eq!(copied.origin(), refused(Refusal::Gone));
}

#[test]
fn a_change_that_was_acknowledged_before_a_renewal_ended_moves_along() {
    for passes in [0, 1] {
        let mut site = Site::visited(|builder| builder);
        for _ in 0..passes {
            site.shelf.plan("put", Incident::Passes);
        }
        site.overtaken("put", |session| session.insert("theirs", 1).unwrap());
        site.visit(|session| {
            session.renew();
            session.insert("ours", 2).unwrap();
        });
        assert!(site.shelf.is_as_planned());
        let session = site.load();
        assert_eq!(session.keys(), ["count", "name", "ours", "theirs"]);
        assert_eq!(site.shelf.slots().len(), 2, "the new one and the mark");
    }
}

#[test]
fn a_slow_request_whose_session_has_moved_is_an_error_that_leaves_the_cookie_alone() {
    let mut site = Site::visited(|builder| builder);
    let session = site.load();
    site.visit(sealed_session::Session::renew);
    session.insert("late", 1).unwrap();
    for _ in 0..2 {
        let error = site.try_save(&session).unwrap_err();
        assert!(error.to_string().contains("new id"), "{error}");
        assert!(error.is_conflict() && error.backend().is_none());
    }
    let session = site.load();
    assert_eq!(session.origin(), Origin::Opened);
    assert!(!session.contains("late"));
}

#[test]
fn of_two_renewals_at_once_one_wins_and_the_other_is_told() {
    let site = Site::visited(|builder| builder);
    site.shelf.plan("put", Incident::Passes);
    site.overtaken("put", sealed_session::Session::renew);
    let session = site.load();
    session.renew();
    let error = site.try_save(&session).unwrap_err();
    assert!(error.to_string().contains("new id"), "{error}");
    assert_eq!(
        site.shelf.slots().len(),
        2,
        "the winner and the mark: no copy is left"
    );
}

#[test]
fn a_new_session_that_is_saved_twice_at_once_is_one_session() {
    let mut site = Site::new();
    let session = site.load();
    session.insert("a", 1).unwrap();
    let (store, clone) = (site.store.clone(), session.clone());
    site.shelf.plan(
        "put",
        Incident::Before(Box::new(move || {
            clone.insert("b", 2).unwrap();
            let mut headers = http::HeaderMap::new();
            crate::now::now(store.save(&clone, &mut headers)).unwrap();
        })),
    );
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.shelf.slots().len(), 1);
    assert_eq!(site.load().keys(), ["a", "b"]);
}

#[test]
fn an_untouched_session_under_an_old_key_yields_to_whoever_saves_it() {
    let (old, new) = (key(), key());
    let mut site = Site::with(|builder| builder);
    site = site.rebuilt(old.clone(), |builder| builder);
    site.visit(|session| session.insert("a", 1).unwrap());
    site.store.replace_keys(ring(&[&new, &old]));
    site.overtaken("put", |session| session.insert("a", 2).unwrap());
    let response = site.visit(|_| ());
    assert!(
        !sets_no_cookie(&response),
        "its stub is under the old key still"
    );
    assert_eq!(site.load().get("a"), Ok(Some(2)));
}

#[test]
fn a_session_that_is_destroyed_by_a_request_that_has_not_heard_of_its_new_id_ends_there() {
    for renewals in [1, 3] {
        let mut site = Site::visited(|builder| builder);
        let session = site.load();
        for _ in 0..renewals {
            site.visit(|session| {
                session.renew();
                session.set_subject("eve").unwrap();
            });
        }
        let renewed = site.request();
        session.destroy();
        site.calls();
        assert!(is_removal(set_cookie(&site.save(&session))));
        assert_eq!(site.calls(), vec!["remove"; renewals + 1]);
        let renewed = crate::now::now(site.store.load(&renewed)).unwrap();
        assert_eq!(renewed.origin(), refused(Refusal::Gone));
        assert!(site.shelf.slots().is_empty());
    }
}

#[test]
fn a_session_that_has_moved_into_its_cookie_leaves_a_mark_that_leads_there() {
    let mut site = Site::with(sealed_session::StoreBuilder::small_in_cookie);
    site.visit(|session| session.insert("large", "x".repeat(5000)).unwrap());
    let session = site.load();
    site.visit(|session| session.remove("large"));
    session.destroy();
    site.calls();
    site.save(&session);
    assert_eq!(site.calls(), ["remove", "remove"]);
    assert!(site.shelf.slots().is_empty());
}
