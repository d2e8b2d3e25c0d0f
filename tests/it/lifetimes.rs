//! Two clocks, both inside the seal: an absolute deadline and an idle timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use sealed_session::{
    CookieStore, CookieStoreBuilder, ErrorKind, Origin, Refusal, Session, Status, Transport,
};

use crate::support::*;

const TICK: Duration = Duration::from_millis(1);

#[test]
fn a_session_lives_for_a_day_by_default_to_the_millisecond() {
    let mut site = Site::new();
    let response = site.visit(|session| session.insert("a", 1).unwrap());
    assert_eq!(max_age(&response), Some(DAY));
    let request = cookies(&[pair(&response)]);
    site.clock.forward(DAY - TICK);
    assert_eq!(site.store.load(&request).origin(), Origin::Opened);
    site.clock.forward(TICK);
    assert_eq!(
        site.store.load(&request).origin(),
        refused(Refusal::Expired)
    );
}

#[test]
fn id_and_times_are_unknown_before_the_first_save_and_then_those_of_the_cookie() {
    let mut site = Site::with(|builder| builder.lifetime(HOUR));
    let session = site.load();
    session.insert("a", 1).unwrap();
    let times = |session: &Session| (session.id(), session.issued_at(), session.expires_at());
    assert_eq!(times(&session), (None, None, None));
    site.clock.forward(MINUTE);
    let response = site.save(&session);
    site.receive(&response);
    let saved = site.clock.now();
    assert_eq!(session.issued_at(), Some(saved), "issued when it was saved");
    assert_eq!(session.expires_at(), Some(saved + HOUR));
    assert_eq!(times(&session), times(&site.load()));

    session.log_in().unwrap();
    assert_eq!(times(&session), (None, None, None));
    site.clock.forward(MINUTE);
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(session.expires_at(), Some(saved + MINUTE + HOUR));
    assert_eq!(times(&session), times(&site.load()));
}

#[test]
fn a_deadline_set_before_the_first_save_is_that_of_the_cookie() {
    let mut site = Site::new();
    let deadline = site.clock.now() + HOUR;
    let session = site.load();
    session.insert("a", 1).unwrap();
    session.set_expiry(deadline).unwrap();
    assert_eq!(session.expires_at(), Some(deadline));
    site.clock.forward(MINUTE);
    let response = site.save(&session);
    assert_eq!(max_age(&response), Some(HOUR - MINUTE));
    site.receive(&response);
    assert_eq!(session.expires_at(), Some(deadline));
    assert_eq!(site.load().expires_at(), Some(deadline));
}

#[test]
fn nothing_but_a_login_and_set_expiry_moves_the_deadline() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    site.visit(|session| session.insert("a", 1).unwrap());
    let start = site.clock.now();
    for n in 2..30_u32 {
        site.clock.forward(30 * MINUTE);
        let response = site.visit(|session| {
            session.insert("a", n).unwrap();
            session.remember(n % 3 != 0);
            session.set_subject(n.to_string()).unwrap();
            if n == 20 {
                session.clear();
            }
        });
        let rest = DAY - site.clock.now().duration_since(start).unwrap();
        assert_eq!(max_age(&response), (n % 3 != 0).then_some(rest));
        let session = site.load();
        assert_eq!(session.issued_at(), Some(start));
        assert_eq!(session.expires_at(), Some(start + DAY));
    }
}

#[test]
fn max_age_is_never_shorter_than_the_deadline() {
    let lifetime = 90 * SECOND + TICK;
    let mut site = Site::with(|builder| builder.lifetime(lifetime));
    let response = site.visit(|session| session.insert("a", 1).unwrap());
    assert_eq!(max_age(&response), Some(91 * SECOND));
    site.clock.forward(TICK);
    let response = site.visit(|session| session.insert("a", 2).unwrap());
    assert_eq!(max_age(&response), Some(90 * SECOND));
}

#[test]
fn lowering_the_longest_lifetime_acts_at_once() {
    let mut site = Site::new();
    let app_key = key();
    site.store = store(&site.clock, app_key.clone(), |builder| builder);
    site.visit(|session| session.insert("a", 1).unwrap());
    let start = site.clock.now();
    site.store = store(&site.clock, app_key, |builder| builder.max_lifetime(HOUR));
    assert_eq!(site.load().expires_at(), Some(start + HOUR));
    site.clock.forward(HOUR - TICK);
    assert_eq!(site.load().origin(), Origin::Opened);
    let response = site.visit(|session| session.insert("a", 2).unwrap());
    assert_eq!(max_age(&response), Some(SECOND));
    let request = cookies(&[pair(&response)]);
    site.clock.forward(TICK);
    assert_eq!(
        site.store.load(&request).origin(),
        refused(Refusal::Expired)
    );
}

#[test]
fn a_cutoff_acts_at_once_on_all_clones_and_spares_what_comes_after() {
    let mut site = Site::new();
    let clone = site.store.clone();
    site.visit(|session| session.insert("a", 1).unwrap());
    let issued = site.clock.now();
    clone.set_not_before(issued);
    assert_eq!(site.load().origin(), Origin::Opened);
    clone.set_not_before(issued + TICK);
    assert_eq!(site.load().origin(), refused(Refusal::Cutoff));
    site.clock.forward(TICK);
    site.visit(|session| session.insert("a", 1).unwrap());
    assert_eq!(site.load().origin(), Origin::Opened);

    let mut built = Site::with(|builder| builder.not_before(issued + TICK));
    let session = built.load();
    session.insert("a", 1).unwrap();
    let response = built.save(&session);
    assert!(is_removal(set_cookie(&response)), "it would be refused");
    built.clock.forward(TICK);
    let response = built.save(&session);
    built.receive(&response);
    assert_eq!(built.load().origin(), Origin::Opened);
}

#[test]
fn the_idle_timeout_counts_from_the_answer_however_long_it_took() {
    type Handler = fn(&Session);
    let handlers: [Handler; 4] = [
        |_| (),
        |session| session.insert("a", 2).unwrap(),
        Session::renew,
        |session| session.remember(false),
    ];
    for (n, handler) in handlers.into_iter().enumerate() {
        for taken in [30 * MINUTE, 90 * MINUTE, 20 * HOUR] {
            let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
            site.visit(|session| session.insert("a", 1).unwrap());
            site.clock.forward(HOUR - TICK);
            let session = site.load();
            handler(&session);
            site.clock.forward(taken);
            let response = site.save(&session);
            site.receive(&response);
            let end = site.clock.now() + HOUR;
            assert_eq!(site.load().idle_expires_at(), Some(end), "{n} {taken:?}");
            site.clock.set(end - TICK);
            assert_eq!(site.load().origin(), Origin::Opened, "{n} {taken:?}");
            site.clock.set(end);
            assert_eq!(site.load().origin(), refused(Refusal::Idle), "{n}");
        }
    }
}

#[test]
fn a_slow_answer_that_is_seen_last_takes_no_time_from_who_clicked_meanwhile() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    site.visit(|session| session.insert("a", 1).unwrap());
    let slow = site.load();
    for _ in 0..9 {
        site.clock.forward(10 * MINUTE);
        site.visit(|_| ());
    }
    let before = site.load().idle_expires_at();
    let response = site.save(&slow);
    site.receive(&response);
    let after = site.load();
    assert_eq!(after.origin(), Origin::Opened);
    assert!(after.idle_expires_at() >= before);
}

#[test]
fn nothing_is_sent_that_a_cutoff_would_refuse_by_then() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    site.visit(|session| session.insert("a", 1).unwrap());
    let (read, written) = (site.load(), site.load());
    written.insert("a", 2).unwrap();
    site.clock.forward(30 * MINUTE);
    site.store.set_not_before(site.clock.now());
    assert!(is_removal(set_cookie(&site.save(&read))), "it was due");
    assert!(is_removal(set_cookie(&site.save(&written))));
    let renewed = site.load();
    renewed.insert("a", 3).unwrap();
    let response = site.save(&renewed);
    site.receive(&response);
    assert_eq!(site.load().origin(), Origin::Opened, "issued now");
}

#[test]
fn the_end_from_idleness_is_told_and_never_comes_earlier() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    let start = site.clock.now();
    let fresh = site.load();
    assert_eq!(fresh.idle_expires_at(), None);
    fresh.insert("a", 1).unwrap();
    assert_eq!(fresh.idle_expires_at(), None);
    let response = site.save(&fresh);
    site.receive(&response);
    assert_eq!(fresh.idle_expires_at(), Some(start + HOUR));

    site.clock.forward(6 * MINUTE - TICK);
    let session = site.load();
    let recorded = Some(start + HOUR);
    assert_eq!(session.idle_expires_at(), recorded, "not written down");
    session.insert("a", 2).unwrap();
    assert_eq!(session.idle_expires_at(), Some(site.clock.now() + HOUR));
    site.clock.forward(TICK);
    let session = site.load();
    assert_eq!(session.idle_expires_at(), Some(site.clock.now() + HOUR));
    session.leave_idle();
    assert_eq!(session.idle_expires_at(), recorded, "it is no use");
    session.renew();
    assert_eq!(session.idle_expires_at(), None, "not saved yet");
    session.destroy();
    assert_eq!(session.idle_expires_at(), None);

    assert_eq!(Session::new().idle_expires_at(), None);
    let mut endless = Site::new();
    endless.visit(|session| session.insert("a", 1).unwrap());
    assert_eq!(endless.load().idle_expires_at(), None);
}

#[test]
fn a_page_that_polls_does_not_keep_a_session_alive_and_what_it_changes_is_saved() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    site.visit(|session| session.insert("a", 1).unwrap());
    let poll = |session: &Session| {
        session.clone().leave_idle();
        assert_eq!(session.get("a"), Ok(Some(1)));
    };
    for _ in 0..59 {
        site.clock.forward(MINUTE);
        assert!(sets_no_cookie(&site.visit(poll)));
    }
    let late = site.load();
    poll(&late);
    site.clock.forward(MINUTE);
    assert!(sets_no_cookie(&site.save(&late)));
    assert_eq!(site.load().origin(), refused(Refusal::Idle));

    site.visit(|session| session.insert("a", 1).unwrap());
    site.clock.forward(50 * MINUTE);
    site.visit(|session| {
        poll(session);
        session.insert("b", 2).unwrap();
    });
    let session = site.load();
    assert_eq!(session.get("b"), Ok(Some(2)));
    assert_eq!(session.idle_expires_at(), Some(site.clock.now() + HOUR));
}

#[test]
fn a_request_that_leaves_a_session_idle_leaves_a_rotated_key_to_one_that_does_not() {
    let old = key();
    for has_timeout in [true, false] {
        let mut site = Site::new();
        let build = |builder: CookieStoreBuilder| match has_timeout {
            true => builder.idle_timeout(HOUR),
            false => builder,
        };
        site.store = store(&site.clock, old.clone(), build);
        site.visit(|session| session.insert("a", 1).unwrap());
        site.store.replace_keys(ring(&[&key(), &old]));
        let response = site.visit(Session::leave_idle);
        assert_eq!(sets_no_cookie(&response), has_timeout);
        assert_eq!(sets_no_cookie(&site.visit(|_| ())), !has_timeout);
    }
}

#[test]
fn one_handle_that_is_saved_all_day_takes_no_more_than_at_its_first_saves() {
    for revokes in [true, false] {
        let site = Site::with(|builder| match revokes {
            true => builder.revocations(sealed_session::RevocationList::new()),
            false => builder,
        });
        let session = site.load();
        let save = |n: usize| {
            session
                .insert("text", ["a", "b", "c"][n % 3].repeat(1000))
                .unwrap();
            session.flash(&*format!("note {n}"), n).unwrap();
            assert!(!sets_no_cookie(&site.save(&session)));
            session.clear();
        };
        (0..20).for_each(save);
        let early = allocation_counter::measure(|| save(20));
        let many = allocation_counter::measure(|| (21..200).for_each(save));
        let late = allocation_counter::measure(|| save(200));
        assert!(many.bytes_current.abs() < 1000, "{many:?}");
        assert!(
            many.bytes_max < early.bytes_max + 1000,
            "{many:?} {early:?}"
        );
        assert_eq!(late.count_total, early.count_total, "{late:?} {early:?}");
    }
}

#[test]
fn use_is_written_back_when_a_tenth_of_the_timeout_has_passed() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    site.visit(|session| session.insert("a", 1).unwrap());
    let session = site.load();
    site.clock.forward(6 * MINUTE - TICK);
    assert!(sets_no_cookie(&site.visit(|_| ())));
    let response = site.visit(|session| assert_eq!(session.status(), Status::Unmodified));
    assert!(sets_no_cookie(&response));
    site.clock.forward(TICK);
    assert!(
        !sets_no_cookie(&site.save(&session)),
        "the answer is use, not the request"
    );
    let response = site.visit(|_| ());
    assert!(!sets_no_cookie(&response));
    assert!(sets_no_cookie(&site.visit(|_| ())), "and then counts anew");

    let mut site = Site::with(|builder| builder.idle_timeout(HOUR).refresh_after(SECOND));
    site.visit(|session| session.insert("a", 1).unwrap());
    site.clock.forward(SECOND);
    assert!(!sets_no_cookie(&site.visit(|_| ())));
}

#[test]
fn without_an_idle_timeout_nothing_is_refreshed() {
    let mut site = Site::new();
    site.visit(|session| session.insert("a", 1).unwrap());
    site.clock.forward(DAY - TICK);
    assert!(sets_no_cookie(&site.visit(|_| ())));
}

/// How long browsers keep a cookie at most.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);

#[test]
fn no_cookie_is_to_be_kept_for_longer_than_browsers_keep_one() {
    for (lifetime, expected) in [
        (LONGEST - TICK, LONGEST),
        (LONGEST, LONGEST),
        (LONGEST + TICK, LONGEST),
        (1000 * DAY, LONGEST),
        (Duration::MAX, LONGEST),
    ] {
        let mut site = Site::with(|builder| builder.lifetime(lifetime));
        let response = site.visit(|session| session.insert("a", 1).unwrap());
        assert_eq!(max_age(&response), Some(expected), "{lifetime:?}");
    }
    let mut site = Site::with(|builder| builder.max_lifetime(1000 * DAY));
    let end = site.clock.now() + 900 * DAY;
    let response = site.visit(|session| {
        session.insert("a", 1).unwrap();
        session.set_expiry(end).unwrap();
    });
    assert_eq!(max_age(&response), Some(LONGEST));
    assert_eq!(
        site.load().expires_at(),
        Some(end),
        "the server's is as set"
    );
}

#[test]
fn a_cookie_that_browsers_would_forget_before_its_session_ends_is_written_anew_in_time() {
    type Settings = fn(CookieStoreBuilder) -> CookieStoreBuilder;
    let settings: [Settings; 2] = [
        |builder| builder.lifetime(1000 * DAY),
        // The use alone would be written back after 50 days.
        |builder| builder.lifetime(1000 * DAY).idle_timeout(500 * DAY),
    ];
    for with in settings {
        let mut site = Site::with(with);
        site.visit(|session| session.insert("a", 1).unwrap());
        let (start, before) = (site.clock.now(), site.load());
        site.clock.forward(40 * DAY - TICK);
        assert!(sets_no_cookie(&site.visit(|_| ())), "refreshes are rare");
        site.clock.forward(TICK);
        assert_eq!(max_age(&site.visit(|_| ())), Some(LONGEST));
        site.clock.forward(40 * DAY - TICK);
        assert!(sets_no_cookie(&site.visit(|_| ())), "and then counts anew");
        for day in [439, 838] {
            site.clock.set(start + day * DAY);
            let response = site.visit(|session| assert_eq!(session.get("a").unwrap(), Some(1)));
            assert_eq!(max_age(&response), Some(LONGEST.min((1000 - day) * DAY)));
        }
        site.clock.set(start + 999 * DAY);
        let session = site.load();
        assert_eq!(session.id(), before.id());
        assert_eq!(session.expires_at(), before.expires_at());
    }
}

#[test]
fn who_stays_away_for_longer_than_browsers_keep_a_cookie_has_lost_it() {
    let mut site = Site::with(|builder| builder.lifetime(1000 * DAY));
    let response = site.visit(|session| session.insert("a", 1).unwrap());
    site.clock.forward(LONGEST);
    assert_eq!(site.load().origin(), Origin::Absent);
    let kept_longer = cookies(&[pair(&response)]);
    let session = site.store.load(&kept_longer);
    assert_eq!(
        session.origin(),
        Origin::Opened,
        "the deadline is the server's"
    );
}

#[test]
fn a_token_that_no_browser_forgets_by_itself_is_not_written_anew_for_it() {
    let mut site = Site::with(|builder| builder.lifetime(1000 * DAY));
    site.visit(|session| {
        session.insert("a", 1).unwrap();
        session.remember(false);
    });
    site.clock.forward(399 * DAY);
    assert!(sets_no_cookie(&site.visit(|_| ())), "it has no Max-Age");

    let mut site = Site::with(|builder| builder.lifetime(400 * DAY));
    site.visit(|session| session.insert("a", 1).unwrap());
    site.clock.forward(399 * DAY);
    assert!(sets_no_cookie(&site.visit(|_| ())), "it is kept to the end");

    let site = Site::with(|builder| {
        let bearer = Transport::bearer();
        builder.lifetime(1000 * DAY).transport(bearer)
    });
    let session = site.load();
    session.insert("a", 1).unwrap();
    let response = site.save(&session);
    let token = response["x-session-token"].to_str().unwrap();
    site.clock.forward(399 * DAY);
    let session = site.store.load_from([&format!("Bearer {token}")]);
    assert_eq!(session.origin(), Origin::Opened);
    assert!(!site.save(&session).contains_key("x-session-token"));
}

#[test]
fn a_refresh_keeps_id_times_size_and_persistence() {
    let mut site = Site::with(|builder| builder.idle_timeout(HOUR));
    let first = site.visit(|session| {
        session.insert("a", 1).unwrap();
        session.remember(false);
    });
    let before = site.load();
    for _ in 0..3 {
        site.clock.forward(30 * MINUTE);
        let response = site.visit(|_| ());
        assert_eq!(max_age(&response), None);
        assert_eq!(pair(&response).len(), pair(&first).len());
        assert_ne!(pair(&response), pair(&first));
    }
    let after = site.load();
    assert_eq!(after.id(), before.id());
    assert_eq!(after.issued_at(), before.issued_at());
    assert_eq!(after.expires_at(), before.expires_at());
}

#[test]
fn a_deadline_beyond_the_longest_lifetime_is_refused_and_one_in_the_past_ends_the_session() {
    let mut site = Site::with(|builder| builder.lifetime(HOUR).max_lifetime(DAY));
    let start = site.clock.now();
    site.visit(|session| {
        session.insert("a", 1).unwrap();
        session.set_expiry(start + DAY).unwrap();
        let error = session.set_expiry(start + DAY + TICK).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLongLived);
        assert_eq!(session.expires_at(), Some(start + DAY));
    });
    site.clock.forward(MINUTE);
    let session = site.load();
    let error = session.set_expiry(start + DAY + TICK).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::TooLongLived,
        "counted from its issue"
    );
    assert_eq!(session.status(), Status::Unmodified);
    for past in [SystemTime::UNIX_EPOCH, start, site.clock.now()] {
        let session = site.load();
        session.insert("b", 2).unwrap();
        session.set_expiry(past).unwrap();
        assert!(is_removal(set_cookie(&site.save(&session))));
    }
    site.visit(|session| session.set_expiry(SystemTime::UNIX_EPOCH).unwrap());
    assert!(site.browser.names().is_empty());
}

#[test]
fn a_deadline_before_the_issue_by_a_clock_that_was_ahead_ends_the_session() {
    let mut site = Site::new();
    site.visit(|session| session.insert("a", 1).unwrap());
    let issued = site.clock.now();
    site.clock.back(30 * SECOND);
    for deadline in [site.clock.now() - SECOND, site.clock.now() + SECOND, issued] {
        let session = site.load();
        session.set_expiry(deadline).unwrap();
        assert!(is_removal(set_cookie(&site.save(&session))));
    }
    let session = site.load();
    session.set_expiry(issued + TICK).unwrap();
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().expires_at(), Some(issued + TICK));
}

#[test]
fn an_answer_that_comes_after_the_deadline_removes_the_cookie_if_it_says_anything() {
    let mut site = Site::new();
    site.visit(|session| session.insert("a", 1).unwrap());
    let (read, written) = (site.load(), site.load());
    assert!(read.contains("a"));
    written.insert("b", 2).unwrap();
    site.clock.forward(DAY);
    assert!(sets_no_cookie(&site.save(&read)));
    assert!(is_removal(set_cookie(&site.save(&written))));
}

#[test]
fn the_time_is_asked_once_for_a_load_and_once_for_a_save() {
    let asked = Arc::new(AtomicUsize::new(0));
    let store = {
        let asked = Arc::clone(&asked);
        CookieStore::builder(key())
            .idle_timeout(HOUR)
            .clock(move || {
                asked.fetch_add(1, Ordering::Relaxed);
                SystemTime::UNIX_EPOCH + DAY
            })
            .build()
            .unwrap()
    };
    let mut response = http::HeaderMap::new();
    let session = store.load(&response);
    assert_eq!(asked.swap(0, Ordering::Relaxed), 1);
    session.insert("a", 1).unwrap();
    session
        .set_expiry(SystemTime::UNIX_EPOCH + DAY + HOUR)
        .unwrap();
    assert_eq!(asked.swap(0, Ordering::Relaxed), 0);
    store.save(&session, &mut response).unwrap();
    assert_eq!(asked.swap(0, Ordering::Relaxed), 1);
    let request = cookies(&[pair(&response)]);
    assert_eq!(store.load(&request).origin(), Origin::Opened);
    assert_eq!(asked.swap(0, Ordering::Relaxed), 1);
}
