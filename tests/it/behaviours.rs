//! What users of the session libraries that came before expect of a session.

use std::collections::BTreeMap;
use std::time::SystemTime;

use sealed_session::{AppKey, CookieConfig, ErrorKind, Origin, Refusal, Session, Status};
use serde::{Deserialize, Serialize};

use crate::support::*;

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Cart {
    items: Vec<(String, u32)>,
    voucher: Option<String>,
}

#[test]
fn values_set_in_one_request_are_read_in_the_next_and_reading_sends_no_cookie() {
    let mut site = Site::new();
    let cart = || Cart {
        items: vec![("apple".into(), 3)],
        voucher: None,
    };
    site.visit(|session| {
        session.insert("user_id", 42).unwrap();
        session.insert("cart", cart()).unwrap();
    });
    let response = site.visit(|session| {
        assert_eq!(session.get("user_id").unwrap(), Some(42_u64));
        assert_eq!(session.get("cart").unwrap(), Some(cart()));
        assert_eq!(session.get::<u64>("nothing").unwrap(), None);
    });
    assert!(sets_no_cookie(&response));
}

#[test]
fn the_earlier_of_lifetime_and_idle_timeout_ends_a_session() {
    let settings = |builder: sealed_session::CookieStoreBuilder| {
        builder.lifetime(HOUR).idle_timeout(10 * MINUTE)
    };
    let mut idle = Site::with(settings);
    idle.visit(|session| session.insert("a", 1).unwrap());
    idle.clock.forward(10 * MINUTE);
    assert_eq!(idle.load().origin(), refused(Refusal::Idle));

    let mut busy = Site::with(settings);
    busy.visit(|session| session.insert("a", 1).unwrap());
    let cookie = busy.browser.send(busy.clock.now());
    for _ in 0..59 {
        busy.clock.forward(MINUTE);
        busy.visit(|session| assert_eq!(session.get("a").unwrap(), Some(1)));
    }
    assert_eq!(
        busy.store.load(&cookie).origin(),
        refused(Refusal::Idle),
        "it was the refreshes that kept the session"
    );
    let cookie = busy.browser.send(busy.clock.now());
    busy.clock.forward(MINUTE);
    assert_eq!(busy.store.load(&cookie).origin(), refused(Refusal::Expired));
    assert_eq!(
        busy.load().origin(),
        Origin::Absent,
        "the browser has forgotten it too"
    );
}

#[test]
fn destroying_removes_the_cookie_and_a_later_write_begins_a_new_session() {
    let mut site = Site::new();
    site.visit(|session| session.insert("user_id", 1).unwrap());
    let first = site.load().id().unwrap();
    let response = site.visit(|session| {
        session.destroy();
        assert!(session.is_empty());
        assert_eq!(session.status(), Status::Destroyed);
    });
    assert_eq!(
        set_cookie(&response),
        "__Host-session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0; \
         Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    );
    assert!(site.browser.names().is_empty());
    site.visit(|session| {
        assert_eq!(session.origin(), Origin::Absent);
        assert!(session.is_empty());
        session.insert("guest", true).unwrap();
    });
    let session = site.load();
    assert_eq!(session.keys(), ["guest"]);
    assert_ne!(session.id().unwrap(), first);
}

#[test]
fn a_write_after_destroy_in_one_request_begins_a_new_session() {
    let mut site = Site::new();
    site.visit(|session| {
        session.insert("old", 1).unwrap();
        session.set_subject("me").unwrap();
    });
    let first = site.load();
    site.clock.forward(HOUR);
    site.visit(|session| {
        session.destroy();
        session.insert("new", 2).unwrap();
        assert_eq!(session.status(), Status::Modified);
        assert!(session.is_new());
    });
    let second = site.load();
    assert_eq!(second.keys(), ["new"]);
    assert_eq!(second.subject(), None);
    assert_ne!(second.id(), first.id());
    assert_eq!(second.issued_at(), Some(site.clock.now()));
}

#[test]
fn renewing_keeps_the_data_and_the_deadline_under_a_new_id() {
    let mut site = Site::new();
    site.visit(|session| {
        session.insert("cart", 3).unwrap();
        session.flash("note", "hello").unwrap();
        session.set_subject("me").unwrap();
        session.remember(false);
    });
    let before = site.load();
    site.clock.forward(HOUR);
    let response = site.visit(Session::renew);
    let after = site.load();
    assert_ne!(after.id().unwrap(), before.id().unwrap());
    assert_eq!(after.get("cart").unwrap(), Some(3));
    assert_eq!(after.take_flash("note").unwrap(), Some("hello".to_owned()));
    assert_eq!(after.subject().as_deref(), Some("me"));
    assert_eq!(max_age(&response), None, "still not to be remembered");
    assert_eq!(after.issued_at(), Some(site.clock.now()));
    assert_eq!(after.expires_at(), before.expires_at());
}

#[test]
fn remembering_is_switched_off_and_on_again() {
    let mut site = Site::new();
    let response = site.visit(|session| {
        session.insert("a", 1).unwrap();
        session.remember(false);
    });
    assert_eq!(max_age(&response), None);
    let mut closed = site.browser.clone();
    closed.close();
    assert!(closed.names().is_empty());

    let response = site.visit(|session| session.remember(true));
    assert_eq!(max_age(&response), Some(DAY));
    site.browser.close();
    assert_eq!(site.load().get("a").unwrap(), Some(1));

    let by_default = CookieConfig::builder().persistent(false).build().unwrap();
    let mut site = Site::with(|builder| builder.cookie(by_default));
    let response = site.visit(|session| session.insert("a", 1).unwrap());
    assert_eq!(max_age(&response), None);
    let response = site.visit(|session| session.remember(true));
    assert_eq!(max_age(&response), Some(DAY));
}

#[test]
fn an_absent_or_bad_cookie_gives_an_empty_session_and_no_error() {
    let mut site = Site::new();
    let stranger = pair(&Site::new().visit(|session| session.insert("a", 1).unwrap())).to_owned();
    let response = site.visit(|session| session.insert("a", 1).unwrap());
    let forged = forged(pair(&response), 0);
    for (field, origin) in [
        ("", Origin::Absent),
        ("theme=dark", Origin::Absent),
        ("__Host-session=", refused(Refusal::Malformed)),
        ("__Host-session=hunter2", refused(Refusal::Malformed)),
        (&stranger, refused(Refusal::UnknownKey)),
        (&forged, refused(Refusal::Forged)),
        (
            &format!("__Host-session={}", "A".repeat(5000)),
            refused(Refusal::TooLong),
        ),
    ] {
        let session = site.store.load(&cookies(&[field]));
        assert_eq!(session.origin(), origin);
        assert!(session.is_new() && session.is_empty() && session.id().is_none());
        assert_eq!(session.status(), Status::Unmodified);
        assert!(sets_no_cookie(&site.save(&session)), "it is left alone");
        session.insert("b", 2).unwrap();
        assert!(!sets_no_cookie(&site.save(&session)), "until it is used");
    }
}

#[test]
fn the_status_tells_unmodified_modified_and_destroyed() {
    let mut site = Site::new();
    let fresh = site.load();
    assert!(fresh.is_new());
    assert_eq!(fresh.status(), Status::Unmodified);
    site.visit(|session| session.insert("a", 1).unwrap());
    let session = site.load();
    assert!(!session.is_new());
    assert_eq!(session.status(), Status::Unmodified);
    session.insert("a", 2).unwrap();
    assert_eq!(session.status(), Status::Modified);
    session.insert("a", 1).unwrap();
    assert_eq!(session.status(), Status::Unmodified, "as it was");
    session.destroy();
    assert_eq!(session.status(), Status::Destroyed);
}

#[test]
fn typed_get_and_take_and_a_wrong_type_is_an_error_not_a_zero() {
    let mut site = Site::new();
    site.visit(|session| {
        session.insert("count", 7).unwrap();
        session.insert("name", "Ada").unwrap();
    });
    let session = site.load();
    for error in [
        session.get::<String>("count").unwrap_err(),
        session.take::<String>("count").unwrap_err(),
        session
            .update("count", |old: Option<String>| old.unwrap_or_default())
            .unwrap_err(),
        session.get::<u8>("name").unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::WrongType);
    }
    let error = session.get::<u8>("name").unwrap_err().to_string();
    assert!(error.contains("name") && !error.contains("Ada"), "{error}");
    assert_eq!(session.status(), Status::Unmodified, "all is still there");
    assert_eq!(session.take("count").unwrap(), Some(7));
    assert_eq!(session.take::<u8>("count").unwrap(), None);
    assert!(!session.contains("count"));
    assert!(session.contains("name"));
}

#[test]
fn keys_are_sorted_by_their_bytes() {
    let mut site = Site::new();
    let names = ["é", "", "b", "a", "B", "ab", "\u{ff5e}", "\u{1f511}"];
    site.visit(|session| {
        for name in names {
            session.insert(name, name).unwrap();
        }
    });
    let session = site.load();
    session.remove("b");
    session.insert("aa", 0).unwrap();
    let sorted = ["", "B", "a", "aa", "ab", "é", "\u{ff5e}", "\u{1f511}"];
    assert_eq!(session.keys(), sorted);
    assert_eq!(session.len(), 8);
    assert!(session.to_map().unwrap().into_keys().eq(sorted));
}

#[test]
fn clearing_keeps_the_id_and_the_deadline() {
    let mut site = Site::new();
    site.visit(|session| {
        session.insert("a", 1).unwrap();
        session.flash("f", 1).unwrap();
        session.set_subject("me").unwrap();
        session.remember(false);
    });
    let before = site.load();
    site.clock.forward(MINUTE);
    let response = site.visit(|session| {
        session.clear();
        assert!(session.is_empty());
    });
    assert_eq!(max_age(&response), None, "how long it is kept stays too");
    let after = site.load();
    assert_eq!(after.origin(), Origin::Opened);
    assert!(after.is_empty());
    assert_eq!(after.take_flash::<u8>("f").unwrap(), None);
    assert_eq!(after.subject(), None);
    assert_eq!(after.id(), before.id());
    assert_eq!(after.issued_at(), before.issued_at());
    assert_eq!(after.expires_at(), before.expires_at());
}

#[test]
fn a_flash_is_read_once_and_in_a_later_request() {
    let mut site = Site::new();
    site.visit(|session| {
        session.flash("note", "saved").unwrap();
        assert_eq!(session.take_flash::<String>("note").unwrap(), None);
        assert!(session.is_empty(), "a flash is no value");
    });
    site.visit(|_| ());
    let response = site.visit(|session| {
        let note = session.take_flash("note").unwrap();
        assert_eq!(note, Some("saved".to_owned()), "it waits until it is taken");
        assert_eq!(session.take_flash::<String>("note").unwrap(), None);
    });
    assert!(!sets_no_cookie(&response));
    site.visit(|session| assert_eq!(session.take_flash::<String>("note").unwrap(), None));
}

#[test]
fn another_session_is_merged_in_and_ours_keeps_its_id_deadline_and_subject() {
    let mut site = Site::new();
    site.visit(|session| {
        session.insert("mine", 1).unwrap();
        session.insert("both", "mine").unwrap();
        session.set_subject("me").unwrap();
    });
    let mut found = Site::new();
    found.visit(|session| {
        session.insert("both", "theirs").unwrap();
        session.insert("cart", [1, 2]).unwrap();
        session.flash("note", "welcome back").unwrap();
        session.set_subject("them").unwrap();
    });
    let before = site.load();
    site.visit(|session| {
        session.merge(&found.load()).unwrap();
        assert_eq!(session.take_flash::<String>("note").unwrap(), None);
    });
    let after = site.load();
    assert_eq!(after.keys(), ["both", "cart", "mine"]);
    assert_eq!(after.get("both").unwrap(), Some("theirs".to_owned()));
    assert_eq!(
        after.take_flash("note").unwrap(),
        Some("welcome back".to_owned())
    );
    assert_eq!(after.subject().as_deref(), Some("me"));
    assert_eq!(after.id(), before.id());
    assert_eq!(after.expires_at(), before.expires_at());
}

#[test]
fn a_new_session_continues_as_another_one_with_all_but_its_id() {
    let (mut former, mut site) = (Site::new(), Site::new());
    former.visit(|session| {
        session.log_in().unwrap();
        session.insert("cart", [1, 2]).unwrap();
        session.flash("note", "welcome back").unwrap();
        session.set_subject("me").unwrap();
        session.set_label("laptop").unwrap();
        session.set_sid("sid-1").unwrap();
        session.remember(false);
    });
    former.clock.forward(HOUR);
    former.visit(Session::renew);
    let before = former.load();
    site.clock.forward(HOUR);

    let response = site.visit(|session| {
        session.continue_as(&before).unwrap();
        assert_eq!(session.logged_in_at(), before.logged_in_at());
        assert!(!session.logged_in_within(HOUR));
    });
    assert_eq!(max_age(&response), None, "browsers forget it");
    let after = site.load();
    assert_ne!(after.id(), before.id());
    assert_eq!(after.issued_at(), Some(site.clock.now()));
    assert_eq!(after.expires_at(), before.expires_at());
    assert_eq!(after.logged_in_at(), before.logged_in_at());
    assert_eq!(after.keys(), ["cart"]);
    assert_eq!(after.subject(), before.subject());
    assert_eq!(after.label().as_deref(), Some("laptop"));
    assert_eq!(after.sid().as_deref(), Some("sid-1"));
    let note = after.take_flash("note").unwrap();
    assert_eq!(note, Some("welcome back".to_owned()));
    assert_eq!(before.status(), Status::Unmodified);

    // A session that has its own lifetime keeps it.
    let mut other = Site::new();
    other.clock.forward(HOUR * 2);
    other.visit(|session| session.insert("mine", 1).unwrap());
    let own = other.load();
    other.visit(|session| session.continue_as(&before).unwrap());
    let after = other.load();
    assert_eq!(
        (after.id(), after.expires_at()),
        (own.id(), own.expires_at())
    );
    assert_eq!(after.logged_in_at(), None);
    assert_eq!(after.keys(), ["cart", "mine"]);
    assert_eq!(after.subject().as_deref(), Some("me"));
}

#[test]
fn a_new_session_that_was_saved_already_continues_as_another_one_too() {
    let monthly = || Site::with(|builder| builder.lifetime(DAY).max_lifetime(30 * DAY));
    for logs_in in [false, true] {
        let (mut former, mut site) = (monthly(), monthly());
        former.visit(|session| {
            session.insert("n", 1).unwrap();
            if logs_in {
                session.log_in().unwrap();
            }
        });
        let before = former.load();
        site.clock.forward(HOUR);
        let session = site.load();
        session.insert("mine", 1).unwrap();
        site.save(&session);
        session.continue_as(&before).unwrap();
        let response = site.save(&session);
        site.receive(&response);
        for session in [session, site.load()] {
            assert_eq!(session.expires_at(), before.expires_at());
            assert_eq!(session.logged_in_at(), before.logged_in_at());
            assert_eq!(session.issued_at(), Some(site.clock.now()));
        }
    }
}

#[test]
fn a_login_that_was_saved_already_keeps_its_moment_when_the_session_continues_as_another_one() {
    let (mut former, mut site) = (Site::new(), Site::new());
    former.visit(|session| session.insert("n", 1).unwrap());
    let before = former.load();
    site.clock.forward(HOUR);
    let session = site.load();
    session.log_in().unwrap();
    site.save(&session);
    session.continue_as(&before).unwrap();
    let response = site.save(&session);
    site.receive(&response);
    for session in [session, site.load()] {
        assert_eq!(session.logged_in_at(), Some(site.clock.now()));
        assert_eq!(session.expires_at(), Some(site.clock.now() + DAY));
        assert_eq!(session.get("n"), Ok(Some(1)));
    }
}

#[test]
fn a_session_that_continues_as_another_one_begins_anew_with_a_login_or_a_logout() {
    let mut former = Site::new();
    former.visit(|session| {
        session.log_in().unwrap();
        session.insert("n", 1).unwrap();
    });
    let before = former.load();
    let later = |change: fn(&Session)| {
        let mut site = Site::new();
        site.clock.forward(HOUR);
        site.visit(|session| {
            session.continue_as(&before).unwrap();
            change(session);
        });
        let session = site.load();
        let lifetime = |at: SystemTime| at.duration_since(site.clock.now()).unwrap();
        (
            session.logged_in_at().is_some(),
            session.expires_at().map(lifetime),
        )
    };
    assert_eq!(later(Session::renew), (true, Some(DAY - HOUR)));
    assert_eq!(
        later(|session| session.log_in().unwrap()),
        (true, Some(DAY))
    );
    let afresh = |session: &Session| {
        session.destroy();
        session.insert("n", 2).unwrap();
    };
    assert_eq!(later(afresh), (false, Some(DAY)));
    let emptied = |session: &Session| {
        session.clear();
        session.insert("n", 2).unwrap();
    };
    assert_eq!(later(emptied), (false, Some(DAY - HOUR)));
}

#[test]
fn the_deadline_of_one_session_is_read_and_set() {
    let mut site = Site::new();
    site.visit(|session| session.insert("a", 1).unwrap());
    let start = site.clock.now();
    assert_eq!(site.load().expires_at(), Some(start + DAY));
    let response = site.visit(|session| session.set_expiry(start + HOUR).unwrap());
    assert_eq!(max_age(&response), Some(HOUR));
    assert_eq!(site.load().expires_at(), Some(start + HOUR));
    let cookie = site.browser.send(site.clock.now());
    site.clock.forward(HOUR);
    assert_eq!(site.store.load(&cookie).origin(), refused(Refusal::Expired));
}

#[test]
fn several_sessions_live_side_by_side_in_one_request() {
    let mut site = Site::new();
    let named = CookieConfig::builder()
        .name("__Host-admin")
        .build()
        .unwrap();
    let admins = store(&site.clock, key(), |builder| builder.cookie(named));
    let request = site.browser.send(site.clock.now());
    let (user, admin) = (site.store.load(&request), admins.load(&request));
    user.insert("who", "user").unwrap();
    admin.insert("who", "admin").unwrap();
    let mut response = site.save(&user);
    admins.save(&admin, &mut response).unwrap();
    site.receive(&response);
    assert_eq!(site.browser.names(), ["__Host-session", "__Host-admin"]);
    let request = site.browser.send(site.clock.now());
    let who = |session: Session| session.get::<String>("who").unwrap().unwrap();
    assert_eq!(who(site.store.load(&request)), "user");
    assert_eq!(who(admins.load(&request)), "admin");
}

#[test]
fn nothing_is_kept_between_requests_but_in_the_cookie_and_any_app_key_of_32_bytes_does() {
    let clock = Site::new().clock;
    assert!(AppKey::from_bytes(&[7; 31]).is_err());
    let bytes: Vec<u8> = (0..32).map(|n| 200 - n).collect();
    let process = || {
        store(&clock, AppKey::from_bytes(&bytes).unwrap(), |builder| {
            builder
        })
    };
    let session = process().load(&cookies::<&str>(&[]));
    session.insert("a", 1).unwrap();
    let mut response = http::HeaderMap::new();
    let another = process();
    another
        .save(&session, &mut response)
        .expect_err("a session stays with its store");
    let one = process();
    let session = one.load(&cookies::<&str>(&[]));
    session.insert("a", 1).unwrap();
    one.save(&session, &mut response).unwrap();
    let there = process().load(&cookies(&[pair(&response)]));
    assert_eq!(there.get("a").unwrap(), Some(1));
}

#[test]
fn a_session_is_the_same_over_plain_strings_and_bytes() {
    let mut site = Site::new();
    let response = site.visit(|session| session.insert("a", 1).unwrap());
    let field = format!("theme=dark; {}", pair(&response));
    for session in [
        site.store.load_from([field.as_str()]),
        site.store.load_from([field.as_bytes()]),
        site.store
            .load_from(["x=y".to_owned(), field.clone()].iter()),
    ] {
        assert_eq!(session.get("a").unwrap(), Some(1));
        session.insert("a", 2).unwrap();
        let outgoing = site.store.respond(&session).unwrap();
        let headers = [("Vary", &b"Accept"[..]), ("Cache-Control", b"public")];
        let changes = outgoing.changes(headers);
        let by_name: BTreeMap<_, Vec<_>> = changes
            .iter()
            .map(|change| (change.name(), change.values().collect()))
            .collect();
        assert_eq!(by_name["cache-control"], [b"private"]);
        assert_eq!(by_name["vary"], [&b"Accept"[..], b"Cookie"]);
        let set_cookie = std::str::from_utf8(by_name["set-cookie"][0]).unwrap();
        let pair = set_cookie.split(';').next().unwrap();
        assert_eq!(site.store.load_from([pair]).get("a").unwrap(), Some(2));
    }
}
