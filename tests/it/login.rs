//! When somebody last proved who they are, and what a new id does to a session's lifetime.

use std::time::Duration;

use sealed_session::{ErrorKind, Origin, Refusal, RevocationList, Session, SiteData, Status};

use crate::support::*;

const MINUTES: u32 = 60;

/// A site whose visitor has just logged in as ada.
fn logged_in_site() -> Site {
    let mut site = Site::new();
    site.visit(log_in);
    site
}

fn log_in(session: &Session) {
    session.log_in().unwrap();
    session.insert("user_id", 42).unwrap();
    session.set_subject("ada").unwrap();
}

#[test]
fn a_login_gives_a_new_id_and_a_new_lifetime_and_is_remembered() {
    let mut site = Site::visited();
    let before = site.load();
    assert_eq!(before.logged_in_at(), None);
    site.clock.forward(HOUR);
    let login = site.clock.now();
    site.visit(log_in);
    let session = site.load();
    assert_ne!(session.id(), before.id());
    assert_eq!(session.logged_in_at(), Some(login));
    assert_eq!(session.issued_at(), Some(login));
    assert_eq!(session.expires_at(), Some(login + DAY));
    assert_eq!(
        session.get("name"),
        Ok(Some("Ada".to_owned())),
        "the data stays"
    );

    site.clock.forward(HOUR);
    site.visit(|session| session.log_in().unwrap());
    let again = site.load();
    assert_eq!(again.logged_in_at(), Some(login + HOUR));
    assert_eq!(again.expires_at(), Some(login + HOUR + DAY));
}

#[test]
fn rights_that_change_all_the_time_do_not_move_the_deadline() {
    for is_login in [false, true] {
        let mut site = Site::visited();
        if is_login {
            site.visit(log_in);
        }
        let (start, first) = (site.load(), site.load().expires_at());
        let mut last = start.id();
        for _ in 0..23 * MINUTES {
            site.clock.forward(MINUTE);
            site.visit(Session::renew);
            let session = site.load();
            assert_ne!(session.id(), last);
            last = session.id();
            assert_eq!(session.expires_at(), first);
            assert_eq!(session.issued_at(), Some(site.clock.now()));
            assert_eq!(session.logged_in_at(), start.logged_in_at());
        }
        let browser = site.browser.send(site.clock.now());
        site.clock.set(first.unwrap() - Duration::from_millis(1));
        assert_eq!(site.store.load(&browser).origin(), Origin::Opened);
        site.clock.set(first.unwrap());
        let refused = site.store.load(&browser);
        assert_eq!(refused.origin(), Origin::Refused(Refusal::Expired));
    }
}

#[test]
fn a_lifetime_that_is_lowered_counts_from_the_login_and_not_from_a_later_id() {
    let (clock, key) = (
        Clock::at(std::time::SystemTime::UNIX_EPOCH + 20_000 * DAY),
        key(),
    );
    let mut site = Site::of(
        &clock,
        store(&clock, key.clone(), |it| it.lifetime(30 * DAY)),
    );
    site.visit(log_in);
    clock.forward(HOUR);
    site.visit(Session::renew);
    site.store = store(&clock, key, |it| {
        it.lifetime(2 * HOUR).max_lifetime(2 * HOUR)
    });
    assert_eq!(site.load().expires_at(), Some(clock.now() + HOUR));
    let set = site.load().set_expiry(clock.now() + HOUR + SECOND);
    assert_eq!(set.unwrap_err().kind(), ErrorKind::TooLongLived);
    clock.forward(HOUR);
    assert_eq!(site.load().origin(), refused(Refusal::Expired));
}

#[test]
fn a_new_id_keeps_a_deadline_that_was_chosen_and_a_login_begins_another() {
    let mut site = logged_in_site();
    let soon = site.clock.now() + HOUR;
    site.visit(|session| session.set_expiry(soon).unwrap());
    site.clock.forward(MINUTE);
    site.visit(Session::renew);
    assert_eq!(site.load().expires_at(), Some(soon));
    site.visit(|session| session.log_in().unwrap());
    assert_eq!(site.load().expires_at(), Some(site.clock.now() + DAY));
}

#[test]
fn a_deadline_that_is_chosen_with_a_login_holds_even_if_the_session_had_it_before() {
    let mut site = Site::new();
    let end = site.clock.now() + 6 * HOUR;
    site.visit(|session| {
        session.log_in().unwrap();
        session.set_expiry(end).unwrap();
    });
    site.clock.forward(HOUR);
    let same = site.visit(|session| session.set_expiry(end).unwrap());
    assert!(sets_no_cookie(&same), "nothing has changed");
    for back_and_forth in [&[][..], &[end - MINUTE]] {
        site.visit(|session| {
            for other in back_and_forth {
                session.set_expiry(*other).unwrap();
            }
            session.set_expiry(end).unwrap();
            session.log_in().unwrap();
        });
        assert_eq!(site.load().expires_at(), Some(end), "{back_and_forth:?}");
    }
}

#[test]
fn a_login_is_recent_for_as_long_as_is_asked_to_the_millisecond() {
    let mut site = Site::visited();
    let quarter = 15 * MINUTE;
    assert!(!site.load().logged_in_within(Duration::MAX), "nobody has");
    site.visit(|session| {
        log_in(session);
        assert!(session.logged_in_within(Duration::ZERO), "in this request");
    });
    site.clock.forward(quarter - Duration::from_millis(1));
    assert!(site.load().logged_in_within(quarter));
    site.clock.forward(Duration::from_millis(1));
    assert!(!site.load().logged_in_within(quarter));
    site.visit(Session::renew);
    assert!(
        !site.load().logged_in_within(quarter),
        "a new id is no login"
    );
    assert!(!Session::new().logged_in_within(Duration::MAX));
}

#[test]
fn who_never_logs_in_pays_no_character_for_it() {
    let length = |response| pair(&response).len();
    let mut site = Site::new();
    let first = length(site.visit(|session| session.insert("user_id", 42).unwrap()));
    assert_eq!(length(site.visit(Session::renew)), first);
    assert_eq!(
        length(site.visit(|session| session.log_in().unwrap())),
        first + 9
    );
    assert_eq!(length(site.visit(Session::renew)), first + 9);
}

#[test]
fn a_login_that_does_not_fit_the_cookie_is_refused_and_changes_nothing() {
    let mut site = Site::new();
    site.visit(|session| session.insert("k", "x".repeat(2935)).unwrap());
    let session = site.load();
    let error = session.log_in().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(session.status(), Status::Unmodified);
    assert!(!session.logged_in_within(HOUR));
    session.remove("k");
    session.log_in().unwrap();
    site.save(&session);
}

#[test]
fn a_login_is_all_that_a_new_session_needs_to_be_sent() {
    let mut site = Site::new();
    site.visit(|session| session.log_in().unwrap());
    assert_eq!(site.load().logged_in_at(), Some(site.clock.now()));
    site.visit(|session| {
        session.destroy();
        session.log_in().unwrap();
    });
    assert_eq!(site.load().origin(), Origin::Opened);
}

#[test]
fn what_ends_the_session_or_empties_it_forgets_the_login() {
    let mut site = logged_in_site();
    let deadline = site.load().expires_at();
    site.clock.forward(HOUR);
    site.visit(Session::renew);
    site.visit(|session| {
        session.clear();
        assert_eq!(session.logged_in_at(), None);
        assert_eq!(session.expires_at(), deadline);
    });
    let session = site.load();
    assert_eq!(session.logged_in_at(), None);
    assert_eq!(session.expires_at(), deadline, "the deadline stays");

    let mut site = logged_in_site();
    site.visit(|session| {
        session.destroy();
        session.insert("user_id", 7).unwrap();
    });
    assert_eq!(site.load().logged_in_at(), None);
}

type Order = fn(&Session, &RevocationList, std::time::SystemTime);

#[test]
fn who_logs_out_everywhere_else_stays_whatever_comes_first() {
    let orders: [(&str, Order); 6] = [
        ("end the others", |session, list, now| {
            list.end_others_of("ada", session, now).unwrap();
        }),
        ("end the others, a minute ahead", |session, list, now| {
            list.end_others_of("ada", session, now + MINUTE).unwrap();
        }),
        ("end the others, then renew", |session, list, now| {
            list.end_others_of("ada", session, now).unwrap();
            session.renew();
        }),
        ("renew, then revoke", |session, list, now| {
            session.renew();
            list.revoke_subject("ada", now);
        }),
        ("revoke, then renew", |session, list, now| {
            list.revoke_subject("ada", now);
            session.renew();
        }),
        ("revoke, then log in", |session, list, now| {
            list.revoke_subject("ada", now);
            session.log_in().unwrap();
        }),
    ];
    for (what, order) in orders {
        let list = RevocationList::new();
        let mut site = Site::with(|builder| builder.revocations(list.clone()));
        site.visit(log_in);
        let elsewhere = Site {
            browser: site.browser.clone(),
            ..Site::of(&site.clock, site.store.clone())
        };
        site.browser = Browser::default();
        site.visit(log_in);
        let copy = site.browser.clone();
        site.clock.forward(HOUR);

        let now = site.clock.now();
        site.visit(|session| order(session, &list, now));
        assert_eq!(site.load().subject().as_deref(), Some("ada"), "{what}");
        assert_eq!(
            elsewhere.load().origin(),
            refused(Refusal::Revoked),
            "{what}"
        );
        let copied = site.store.load(&copy.send(site.clock.now()));
        assert_eq!(copied.origin(), refused(Refusal::Revoked), "{what}");
        site.clock.forward(2 * MINUTE);
        site.visit(Session::renew);
        assert_eq!(site.load().subject().as_deref(), Some("ada"), "{what}");
    }
}

#[test]
fn ending_the_others_of_somebody_else_or_of_nobody_leaves_the_session_as_it_is() {
    let list = RevocationList::new();
    let mut site = Site::with(|builder| builder.revocations(list.clone()));
    site.visit(log_in);
    site.clock.forward(MINUTE);
    let session = site.load();
    list.end_others_of("eve", &session, site.clock.now())
        .unwrap();
    list.end_others_of("", &session, site.clock.now()).unwrap();
    let response = site.save(&session);
    site.receive(&response);
    assert_eq!(site.load().subject().as_deref(), Some("ada"));
}

#[test]
fn a_session_whose_end_is_near_ends_then_even_if_it_ends_the_others() {
    let list = RevocationList::new();
    let mut site = Site::with(|builder| builder.revocations(list.clone()));
    site.visit(log_in);
    let end = site.load().expires_at().unwrap();
    let browser = site.browser.send(site.clock.now());
    site.clock.set(end - 10 * SECOND);
    let session = site.store.load(&browser);
    list.end_others_of("ada", &session, end + 10 * SECOND)
        .unwrap();
    assert!(is_removal(set_cookie(&site.save(&session))));
}

#[test]
fn names_have_at_most_255_bytes_and_survive_a_renewal() {
    type Set = fn(&Session, String) -> Result<(), sealed_session::SessionError>;
    type Get = fn(&Session) -> Option<String>;
    let names: [(Set, Get); 3] = [
        (|s, name| s.set_subject(name), Session::subject),
        (|s, name| s.set_label(name), Session::label),
        (|s, name| s.set_sid(name), Session::sid),
    ];
    for (set, get) in names {
        let mut site = Site::new();
        site.visit(|session| {
            assert_eq!(get(session), None);
            set(session, "é".repeat(127)).unwrap();
            let error = set(session, "é".repeat(128)).unwrap_err();
            assert_eq!(error.sizes(), Some((256, 255)));
        });
        site.visit(|session| {
            assert_eq!(session.status(), Status::Unmodified);
            set(session, "é".repeat(127)).unwrap();
            assert_eq!(
                session.status(),
                Status::Unmodified,
                "the same is no change"
            );
            session.renew();
        });
        assert_eq!(get(&site.load()), Some("é".repeat(127)));
        site.visit(|session| set(session, String::new()).unwrap());
        assert_eq!(get(&site.load()), None);
        site.visit(|session| set(session, "a".to_owned()).unwrap());
        site.visit(Session::clear);
        assert_eq!(get(&site.load()), None);
    }
}

#[test]
fn a_login_that_the_identity_provider_ends_takes_its_sessions_with_it() {
    let list = RevocationList::new();
    let mut site = Site::with(|builder| builder.revocations(list.clone()));
    site.visit(|session| {
        log_in(session);
        session.set_sid("s1").unwrap();
    });
    site.clock.forward(SECOND);
    list.revoke_sid("", site.clock.now());
    list.revoke_sid("ada", site.clock.now());
    list.revoke_subject("s1", site.clock.now());
    assert_eq!(site.load().origin(), Origin::Opened);
    assert_eq!(list.len(), 2);
    list.revoke_sid("s1", site.clock.now());
    assert_eq!(site.load().origin(), refused(Refusal::Revoked));
}

#[test]
fn a_logout_clears_site_data_if_asked_and_nothing_else_does() {
    let cleared = |response: http::HeaderMap| {
        let value = response.get("clear-site-data");
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let data = [SiteData::Cache, SiteData::Storage];
    for (asked, value) in [(&data[..], Some("\"cache\", \"storage\"")), (&[], None)] {
        let mut site = Site::with(|builder| builder.clear_site_data(asked.iter().copied()));
        assert_eq!(cleared(site.visit(log_in)), None);
        assert_eq!(cleared(site.visit(|_| ())), None);
        assert_eq!(cleared(site.visit(Session::destroy)).as_deref(), value);
        site.visit(log_in);
        let begins_anew = site.visit(|session| {
            session.destroy();
            session.insert("user_id", 7).unwrap();
        });
        assert_eq!(cleared(begins_anew).as_deref(), value);
        let site_time = site.clock.now();
        let past = site.visit(|session| session.set_expiry(site_time).unwrap());
        assert_eq!(cleared(past), None);
    }
}

#[test]
fn a_logout_that_begins_a_new_session_clears_all_but_its_cookie() {
    for (asked, alone, beside) in [
        (&[SiteData::Cache][..], r#""cache""#, Some(r#""cache""#)),
        (&[SiteData::Cookies], r#""cookies""#, None),
        (
            &[SiteData::Cookies, SiteData::Storage, SiteData::Cache],
            r#""cookies", "storage", "cache""#,
            Some(r#""cache", "storage""#),
        ),
        (
            &[SiteData::Everything],
            r#""*""#,
            Some(r#""cache", "storage""#),
        ),
    ] {
        let mut site = Site::with(|builder| builder.clear_site_data(asked.iter().copied()));
        let mut cleared = |end: fn(&Session)| {
            site.visit(log_in);
            let response = site.visit(end);
            let value = response.get("clear-site-data");
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(cleared(Session::destroy).as_deref(), Some(alone));
        let and_says_goodbye = cleared(|session| {
            session.destroy();
            session.flash("notice", "goodbye").unwrap();
        });
        assert_eq!(and_says_goodbye.as_deref(), beside, "{asked:?}");
        let goodbye = site.load().take_flash::<String>("notice").unwrap();
        assert_eq!(goodbye.as_deref(), Some("goodbye"));
    }
}

#[test]
fn a_new_id_after_the_clock_has_gone_back_is_not_older_than_the_login() {
    let mut site = logged_in_site();
    let login = site.clock.now();
    site.clock.back(SECOND);
    site.visit(Session::renew);
    let session = site.load();
    assert_eq!(session.origin(), Origin::Opened);
    assert_eq!(
        (session.issued_at(), session.logged_in_at()),
        (Some(login), Some(login))
    );
}
