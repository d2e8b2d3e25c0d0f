//! Sessions in cookies that end before their deadline, by a list.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use sealed_session::{Event, Refusal, RevocationList, Session};

use crate::support::*;

/// A site with a list, and a visitor who has logged in.
fn site() -> (Site, RevocationList) {
    let list = RevocationList::new();
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR).revocations(list.clone()));
    site.visit(|session| {
        session.insert("user_id", 42).unwrap();
        session.set_subject("ada").unwrap();
    });
    site.clock.forward(MINUTE);
    (site, list)
}

/// The same site, visited with what the browser has now.
fn copy(site: &Site) -> Site {
    Site {
        clock: site.clock.clone(),
        store: site.store.clone(),
        browser: site.browser.clone(),
    }
}

#[test]
fn a_copied_cookie_opens_no_more_after_logout() {
    let (mut site, list) = site();
    let thief = copy(&site);
    assert_eq!(thief.load().get("user_id").unwrap(), Some(42));
    site.visit(Session::destroy);
    assert_eq!(thief.load().origin(), refused(Refusal::Revoked));
    assert!(thief.load().is_empty());
    assert_eq!(list.len(), 1);

    let sent = thief.browser.send(site.clock.now());
    site.clock.forward(DAY);
    let session = site.store.load(&sent);
    assert_eq!(session.origin(), refused(Refusal::Expired));
}

#[test]
fn no_cookie_is_sent_that_a_cutoff_on_the_list_would_refuse() {
    let soon = |site: &Site| site.clock.now() + 5 * SECOND;
    type Cutoff = fn(&RevocationList, std::time::SystemTime);
    let cutoffs: [Cutoff; 3] = [
        |list, moment| list.revoke_subject("ada", moment),
        |list, moment| list.revoke_sid("08a5019c", moment),
        |list, moment| list.revoke_all(moment),
    ];
    for cutoff in cutoffs {
        for has_session in [false, true] {
            let list = RevocationList::new();
            let mut site = Site::with(|builder| builder.revocations(list.clone()));
            if has_session {
                site.visit(|session| session.insert("a", 1).unwrap());
            }
            cutoff(&list, soon(&site));
            let log_in = |session: &Session| {
                session.log_in().unwrap();
                session.set_subject("ada").unwrap();
                session.set_sid("08a5019c").unwrap();
            };
            let response = site.visit(log_in);
            let cookies: Vec<_> = response.get_all("set-cookie").iter().collect();
            assert!(
                cookies.iter().all(|it| is_removal(it.to_str().unwrap())),
                "{response:?}"
            );
            site.clock.forward(5 * SECOND);
            site.visit(log_in);
            assert_eq!(site.load().subject().as_deref(), Some("ada"));
        }
    }
}

#[test]
fn without_a_list_it_does() {
    let mut site = Site::visited();
    let thief = copy(&site);
    site.visit(Session::destroy);
    assert_eq!(thief.load().get("count").unwrap(), Some(1));
}

#[test]
fn a_deadline_that_is_set_into_the_past_ends_copies_too() {
    let (mut site, _) = site();
    let thief = copy(&site);
    let past = site.clock.now() - SECOND;
    site.visit(|session| session.set_expiry(past).unwrap());
    assert_eq!(thief.load().origin(), refused(Refusal::Revoked));
}

#[test]
fn a_copy_whose_deadline_a_thief_has_moved_stays_ended() {
    let list = RevocationList::new();
    let mut site = Site::with(|it| {
        it.lifetime(HOUR)
            .max_lifetime(DAY)
            .revocations(list.clone())
    });
    site.visit(|session| session.insert("user_id", 42).unwrap());
    let (late, mut thief) = (site.clock.now() + 20 * HOUR, copy(&site));
    thief.visit(|session| session.set_expiry(late).unwrap());
    site.visit(Session::destroy);
    site.clock.forward(2 * HOUR);
    assert_eq!(thief.load().origin(), refused(Refusal::Revoked));
}

#[test]
fn what_has_ended_under_a_shorter_lifetime_stays_ended_when_it_is_raised_again() {
    let (list, key) = (RevocationList::new(), key());
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let living = |lifetime| {
        let list = list.clone();
        store(&clock, key.clone(), |it| {
            it.lifetime(lifetime).revocations(list)
        })
    };
    type End = fn(&Session, &RevocationList, std::time::SystemTime);
    let ends: [End; 3] = [
        |session, _, _| session.destroy(),
        |session, _, _| session.renew(),
        |_, list, now| list.revoke_subject("ada", now),
    ];
    for end in ends {
        let mut site = Site::of(&clock, living(30 * DAY));
        site.visit(|session| {
            session.insert("user_id", 42).unwrap();
            session.set_subject("ada").unwrap();
        });
        let (thief, late) = (copy(&site), clock.now() + 2 * HOUR);
        // The cookie that logs out may end long before a copy of it.
        site.visit(|session| session.set_expiry(late).unwrap());
        clock.forward(HOUR);
        site.store = living(DAY);
        site.visit(|session| end(session, &list, clock.now()));
        for _ in 0..28 {
            clock.forward(DAY);
            // As a busy list does, it forgets what it may.
            for n in 0..100 {
                list.revoke_subject(&n.to_string(), clock.now());
            }
            let raised = Site {
                store: living(30 * DAY),
                ..copy(&thief)
            };
            assert_eq!(raised.load().origin(), refused(Refusal::Revoked));
        }
    }
}

#[test]
fn a_lifetime_without_end_ends_nobodys_logout() {
    let list = RevocationList::new();
    let mut site = Site::with(|it| {
        it.lifetime(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .revocations(list.clone())
    });
    site.visit(|session| session.insert("user_id", 42).unwrap());
    // A browser would forget it after 400 days, a thief does not.
    let stolen = site.browser.send(site.clock.now());
    site.visit(Session::destroy);
    site.clock.forward(8000 * 365 * DAY);
    let session = site.store.load(&stolen);
    assert_eq!(session.origin(), refused(Refusal::Revoked));
}

#[test]
fn what_is_written_after_the_end_is_a_new_session_and_the_old_one_stays_ended() {
    let (mut site, _) = site();
    let thief = copy(&site);
    site.visit(|session| {
        session.destroy();
        session.insert("user_id", 7).unwrap();
    });
    assert_eq!(site.load().get("user_id").unwrap(), Some(7));
    assert_eq!(thief.load().origin(), refused(Refusal::Revoked));
}

#[test]
fn the_id_before_a_renewal_opens_for_ten_seconds_more() {
    let (mut site, _) = site();
    let before = copy(&site);
    site.visit(Session::renew);
    for (after, opens) in [(0, true), (9999, true), (10_000, false)] {
        let clock = Clock::at(site.clock.now());
        site.clock.forward(Duration::from_millis(after));
        assert_eq!(before.load().contains("user_id"), opens, "{after}");
        site.clock.set(clock.now());
    }
    site.clock.forward(HOUR / 2);
    assert_eq!(before.load().origin(), refused(Refusal::Revoked));
    assert_eq!(site.load().get("user_id").unwrap(), Some(42));
}

#[test]
fn a_copy_that_a_thief_has_renewed_ends_with_a_logout_within_five_minutes() {
    for (minutes, opens) in [(0, false), (4, false), (5, true)] {
        let (mut site, _) = site();
        let mut thief = copy(&site);
        thief.visit(Session::renew);
        site.clock.forward(minutes * MINUTE);
        site.visit(Session::destroy);
        assert_eq!(thief.load().contains("user_id"), opens, "{minutes}");
    }
}

#[test]
fn a_copy_that_a_thief_has_renewed_long_ago_ends_with_its_subject_and_not_with_the_session() {
    let (mut site, list) = site();
    let mut thief = copy(&site);
    thief.visit(Session::renew);
    site.clock.forward(5 * MINUTE);
    site.visit(Session::destroy);
    site.clock.forward(MINUTE);
    assert_eq!(thief.load().get("user_id").unwrap(), Some(42));

    list.revoke_subject("ada", site.clock.now());
    assert_eq!(thief.load().origin(), refused(Refusal::Revoked));
    thief.visit(Session::renew);
    assert!(thief.load().is_empty(), "it does not get out by renewing");

    site.visit(|session| session.set_subject("ada").unwrap());
    assert_eq!(site.load().subject().as_deref(), Some("ada"), "a new login");
}

#[test]
fn one_session_ends_by_its_id_from_elsewhere() {
    let (site, list) = site();
    let session = site.load();
    list.revoke(session.id().unwrap(), session.expires_at().unwrap());
    assert_eq!(site.load().origin(), refused(Refusal::Revoked));
}

#[test]
fn all_end_by_a_cutoff() {
    let (mut site, list) = site();
    list.revoke_all(site.clock.now());
    assert_eq!(site.load().origin(), refused(Refusal::Cutoff));
    site.visit(|session| session.insert("user_id", 1).unwrap());
    assert_eq!(site.load().get("user_id").unwrap(), Some(1));
}

#[test]
fn stores_that_share_a_list_end_each_others_sessions() {
    let list = RevocationList::new();
    let key = key();
    let clock = Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let store = || store(&clock, key.clone(), |it| it.revocations(list.clone()));
    let (mut one, mut other) = (Site::of(&clock, store()), Site::of(&clock, store()));
    one.visit(|session| session.insert("user_id", 42).unwrap());
    other.browser = one.browser.clone();
    other.visit(Session::destroy);
    assert_eq!(one.load().origin(), refused(Refusal::Revoked));
}

#[test]
fn a_slow_answer_brings_nothing_back() {
    type Slow = fn(&Session);
    let slow: [(&str, Slow); 4] = [
        ("only refreshes", |_| {}),
        ("writes", |session| session.insert("cart", 3).unwrap()),
        ("renews", Session::renew),
        ("renews and writes", |session| {
            session.renew();
            session.insert("cart", 3).unwrap();
        }),
    ];
    for (what, change) in slow {
        let (mut site, _) = site();
        site.clock.forward(6 * MINUTE);
        let session = site.load();
        change(&session);
        site.visit(Session::destroy);
        let answer = site.save(&session);
        assert!(sets_no_cookie(&answer), "{what}");
        site.receive(&answer);
        assert!(site.load().is_empty(), "{what}");
        assert!(session.is_empty(), "{what}");
    }
}

type Change = fn(&Session);

/// What a request can do to a session that another one has given a new id meanwhile.
const CHANGES: [(&str, Change); 5] = [
    ("writes", |session| session.insert("cart", 3).unwrap()),
    ("renews", Session::renew),
    ("logs in", |session| {
        session.renew();
        session.insert("user_id", 7).unwrap();
    }),
    ("begins anew", |session| {
        session.destroy();
        session.insert("user_id", 7).unwrap();
    }),
    ("clears", Session::clear),
];

#[test]
fn a_change_under_an_id_that_has_become_another_is_a_conflict() {
    let moves: [(&str, Change); 2] = [
        ("renewed", Session::renew),
        ("begun anew", |session| {
            session.destroy();
            session.insert("user_id", 42).unwrap();
        }),
    ];
    for (moved, change_id) in moves {
        for (what, change) in CHANGES {
            for (seconds, comes_later) in [(0, false), (9, false), (20, false), (9, true)] {
                let (mut site, _) = site();
                let (mut slow, old) = (site.load(), copy(&site));
                site.visit(change_id);
                site.clock.forward(seconds * SECOND);
                if comes_later {
                    slow = old.load();
                }
                change(&slow);
                if slow.status() == sealed_session::Status::Unmodified {
                    continue;
                }
                let mut answer = http::HeaderMap::new();
                for _ in 0..2 {
                    let error = site.store.save(&slow, &mut answer).unwrap_err();
                    assert!(error.is_conflict(), "{moved}, {what} after {seconds}");
                    assert!(answer.is_empty());
                }
                site.clock.forward(MINUTE);
                assert_eq!(site.load().get("user_id").unwrap(), Some(42));
            }
        }
    }
}

#[test]
fn a_cookie_that_does_not_open_hides_no_session_that_has_just_moved() {
    let begin_anew = |session: &Session| {
        session.destroy();
        session.insert("user_id", 42).unwrap();
        session.set_subject("ada").unwrap();
    };
    for junk_is_first in [false, true] {
        let (mut site, _) = site();
        let old = pair_of(&site);
        site.visit(begin_anew);
        let mut fields = ["__Host-session=junk".to_owned(), old];
        if !junk_is_first {
            fields.reverse();
        }
        let slow = site.store.load(&cookies(&fields));
        slow.insert("cart", 1).unwrap();
        let saved = site.store.save(&slow, &mut http::HeaderMap::new());
        assert!(saved.unwrap_err().is_conflict(), "{junk_is_first}");

        let logout = site.store.load(&cookies(&fields));
        logout.destroy();
        site.save(&logout);
        assert_eq!(site.load().origin(), refused(Refusal::Revoked));
    }
}

/// The cookie that the site's browser sends.
fn pair_of(site: &Site) -> String {
    let sent = site.browser.send(site.clock.now());
    sent["cookie"].to_str().unwrap().to_owned()
}

#[test]
fn a_request_that_only_reads_leaves_the_cookie_of_the_new_id_alone() {
    for seconds in [1, 20] {
        let (mut site, _) = site();
        site.clock.forward(6 * MINUTE);
        let slow = site.load();
        assert!(slow.contains("user_id"));
        site.visit(Session::renew);
        site.clock.forward(seconds * SECOND);
        assert!(
            sets_no_cookie(&site.save(&slow)),
            "although it is due for a refresh"
        );
        assert_eq!(site.load().get("user_id").unwrap(), Some(42));
    }
}

#[test]
fn of_two_logins_sent_at_once_one_wins_and_the_other_is_told() {
    let (mut site, _) = site();
    let (first, second) = (site.load(), site.load());
    first.renew();
    second.renew();
    let answer = site.save(&first);
    site.receive(&answer);
    let mut answer = http::HeaderMap::new();
    assert!(
        site.store
            .save(&second, &mut answer)
            .unwrap_err()
            .is_conflict()
    );
    site.clock.forward(MINUTE);
    assert_eq!(site.load().id(), first.id());
}

#[test]
fn a_logout_with_the_old_cookie_ends_what_the_session_has_become() {
    for renewals in [1, 3] {
        for (seconds, was_held) in [
            (0, true),
            (9, true),
            (60, true),
            (0, false),
            (9, false),
            (60, false),
        ] {
            let (mut site, _) = site();
            let (held, old) = (site.load(), copy(&site));
            for _ in 0..renewals {
                site.visit(Session::renew);
            }
            let thief = copy(&site);
            site.clock.forward(seconds * SECOND);
            let leaving = if was_held { held } else { old.load() };
            leaving.destroy();
            for _ in 0..2 {
                assert!(is_removal(set_cookie(&site.save(&leaving))), "{seconds}");
            }
            assert_eq!(thief.load().origin(), refused(Refusal::Revoked));
            assert_eq!(old.load().origin(), refused(Refusal::Revoked));
        }
    }
}

#[test]
fn what_one_request_has_renewed_it_may_save_again_and_renew_again_and_end() {
    let (mut site, list) = site();
    let before = copy(&site);
    let session = site.load();
    let mut copies = vec![before];
    for _ in 0..3 {
        session.renew();
        session
            .update("n", |n: Option<u32>| n.unwrap_or(0) + 1)
            .unwrap();
        for _ in 0..2 {
            let answer = site.save(&session);
            site.receive(&answer);
            site.clock.forward(20 * SECOND);
        }
        assert_eq!(site.load().id(), session.id());
        copies.push(copy(&site));
    }
    assert_eq!(site.load().get("n").unwrap(), Some(3));
    session.destroy();
    let answer = site.save(&session);
    assert!(is_removal(set_cookie(&answer)));
    for copy in copies {
        assert_eq!(copy.load().origin(), refused(Refusal::Revoked));
    }
    let length = list.len();
    session.insert("user_id", 7).unwrap();
    let answer = site.save(&session);
    site.receive(&answer);
    assert_eq!(site.load().get("user_id").unwrap(), Some(7));
    assert_eq!(list.len(), length);
}

#[test]
fn a_session_that_begins_and_ends_in_one_request_leaves_no_cookie_that_opens() {
    let (mut site, _) = site();
    site.browser = Browser::default();
    let session = site.load();
    session.insert("a", 1).unwrap();
    let answer = site.save(&session);
    site.receive(&answer);
    let thief = copy(&site);
    session.destroy();
    assert!(is_removal(set_cookie(&site.save(&session))));
    assert_eq!(thief.load().origin(), refused(Refusal::Revoked));
}

#[test]
fn what_somebody_else_has_ended_is_left_alone_in_the_browser() {
    let ends: [(&str, Change); 2] = [("reads", |_| ()), ("logs out too", Session::destroy)];
    for (what, change) in ends {
        let (mut site, _) = site();
        let (slow, old) = (site.load(), copy(&site));
        site.visit(Session::destroy);
        site.visit(|session| session.insert("user_id", 7).unwrap());
        change(&slow);
        let late = old.load();
        change(&late);
        for session in [&slow, &late, &slow, &late] {
            assert!(sets_no_cookie(&site.save(session)), "{what}");
        }
        assert_eq!(site.load().get("user_id").unwrap(), Some(7));
    }
}

#[test]
fn what_a_slow_answer_has_lost_is_reported() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&events);
    let list = RevocationList::new();
    let mut site = Site::with(|builder| {
        builder
            .revocations(list.clone())
            .on_event(move |event| hook.lock().unwrap().push(event))
    });
    site.visit(|session| session.insert("user_id", 42).unwrap());
    let (reads, writes, thief) = (site.load(), site.load(), copy(&site));
    writes.insert("cart", 3).unwrap();
    site.visit(Session::destroy);
    site.save(&reads);
    assert_eq!(*events.lock().unwrap(), []);
    site.save(&writes);
    thief.load();
    assert_eq!(
        *events.lock().unwrap(),
        [Event::Lost, Event::Expired(Refusal::Revoked)]
    );
}

#[test]
fn junk_and_forgeries_put_nothing_on_the_list() {
    let (site, list) = site();
    let pair = site.browser.send(site.clock.now());
    let token = pair["cookie"].to_str().unwrap().split_once('=').unwrap().1;
    for field in ["__Host-session=junk".to_owned(), {
        format!("__Host-session={}", forged(token, 1))
    }] {
        for end in [Session::destroy as fn(&Session), Session::renew] {
            let session = site.store.load(&cookies(&[&field]));
            end(&session);
            site.save(&session);
        }
    }
    assert!(list.is_empty());
}

#[test]
fn ending_a_session_again_does_not_make_the_list_longer() {
    let (site, list) = site();
    let sessions: Vec<_> = (0..100).map(|_| site.load()).collect();
    for session in &sessions {
        session.destroy();
        site.save(session);
    }
    assert_eq!(list.len(), 1);
}

#[test]
fn a_logout_holds_against_a_slower_request_in_ten_thousand_races() {
    let (mut site, _) = site();
    let runs: Vec<_> = (0..10_000)
        .map(|_| {
            site.browser = Browser::default();
            site.visit(|session| session.insert("user_id", 42).unwrap());
            (
                site.load(),
                site.load(),
                site.browser.send(site.clock.now()),
            )
        })
        .collect();
    let (start, end) = (Barrier::new(2), Barrier::new(2));
    let logged_out = AtomicUsize::new(0);
    // Looked at in the end: whoever panics in a race leaves the other one waiting.
    let (mut revived, mut not_ended) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (session, ..) in &runs {
                start.wait();
                session.destroy();
                site.save(session);
                logged_out.fetch_add(1, Ordering::SeqCst);
                end.wait();
            }
        });
        for (run, (_, slow, copied)) in runs.iter().enumerate() {
            start.wait();
            let renews = run % 2 == 0;
            if renews {
                slow.renew();
            } else {
                slow.insert("cart", 3).unwrap();
            }
            let came_later = logged_out.load(Ordering::SeqCst) > run;
            let mut browser = Browser::default();
            browser.receive(&site.save(slow), site.clock.now());
            end.wait();
            let sent = browser.send(site.clock.now());
            // A renewal that came first is a session of its own.
            if (came_later || !renews) && !site.store.load(&sent).is_empty() {
                revived.push(run);
            }
            if !site.store.load(copied).is_empty() {
                not_ended.push(run);
            }
        }
    });
    assert!(revived.is_empty(), "revived by the runs {revived:?}");
    assert!(not_ended.is_empty(), "not ended in the runs {not_ended:?}");
}
