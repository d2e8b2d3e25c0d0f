//! What a session is: the opened record and the changes since.

use sealed_session::{CookieStore, Field, KeyId, Origin, Session, Status, Token, Value};

use crate::support::*;

const fn assert_shareable<T: Clone + Send + Sync + 'static>() {}
const _: () = assert_shareable::<Session>();
const _: () = assert_shareable::<CookieStore>();

#[test]
fn what_changes_nothing_sends_no_cookie() {
    type Step = fn(&Session);
    let on_any: [(&str, Step); 7] = [
        ("remove what is absent", |session| session.remove("absent")),
        ("take what is absent", |session| {
            assert_eq!(session.take::<u8>("absent").unwrap(), None);
        }),
        ("take no flash", |session| {
            assert_eq!(session.take_flash::<u8>("absent").unwrap(), None);
        }),
        ("merge itself", |session| session.merge(session).unwrap()),
        ("merge nothing", |session| {
            session.merge(&Session::new()).unwrap();
        }),
        ("continue as itself", |session| {
            session.continue_as(session).unwrap();
        }),
        ("continue as nothing", |session| {
            session.continue_as(&Session::new()).unwrap();
        }),
    ];
    let on_new: [(&str, Step); 6] = [
        ("clear", Session::clear),
        ("renew", Session::renew),
        ("insert and remove", |session| {
            session.insert("a", 1).unwrap();
            session.remove("a");
        }),
        ("remember", |session| session.remember(true)),
        ("forget", |session| session.remember(false)),
        ("set a deadline", |session| {
            session
                .set_expiry(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
        }),
    ];
    let on_loaded: [(&str, Step); 10] = [
        ("insert the same", |session| session.insert("a", 1).unwrap()),
        ("update to the same", |session| {
            session.update("a", |a: Option<u8>| a.unwrap()).unwrap();
        }),
        ("insert and insert back", |session| {
            session.insert("a", 2).unwrap();
            session.insert("a", 1).unwrap();
        }),
        ("remove and insert back", |session| {
            session.remove("a");
            session.insert("a", 1).unwrap();
        }),
        ("insert and remove", |session| {
            session.insert("b", 1).unwrap();
            session.remove("b");
        }),
        ("name the same subject", |session| {
            session.set_subject("eve").unwrap();
            session.set_subject("me").unwrap();
        }),
        ("forget and remember", |session| {
            session.remember(false);
            session.remember(true);
        }),
        ("set the same deadline", |session| {
            session.set_expiry(session.expires_at().unwrap()).unwrap();
        }),
        ("merge the same", |session| {
            let other = Session::new();
            other.insert("a", 1).unwrap();
            session.merge(&other).unwrap();
        }),
        ("continue as the same", |session| {
            let other = Session::new();
            other.insert("a", 1).unwrap();
            other.set_subject(session.subject().unwrap()).unwrap();
            session.continue_as(&other).unwrap();
        }),
    ];
    for (what, step) in on_any.iter().chain(&on_new) {
        let mut site = Site::new();
        let response = site.visit(|session| {
            step(session);
            assert_eq!(session.status(), Status::Unmodified, "new: {what}");
        });
        assert!(sets_no_cookie(&response), "new: {what}");
    }
    for (what, step) in on_any.iter().chain(&on_loaded) {
        let mut site = Site::new();
        site.visit(|session| {
            session.insert("a", 1).unwrap();
            session.set_subject("me").unwrap();
        });
        let response = site.visit(|session| {
            step(session);
            assert_eq!(session.status(), Status::Unmodified, "loaded: {what}");
        });
        assert!(sets_no_cookie(&response), "loaded: {what}");
    }
    let mut site = Site::new();
    site.visit(|session| session.insert("a", 1).unwrap());
    site.visit(Session::clear);
    let response = site.visit(Session::clear);
    assert!(sets_no_cookie(&response), "clear what is empty");
}

#[test]
fn a_flash_of_the_same_name_does_not_hide_the_one_that_came_in() {
    let mut site = Site::new();
    site.visit(|session| session.flash("note", "first").unwrap());
    site.visit(|session| {
        session.flash("note", "second").unwrap();
        assert_eq!(
            session.take_flash("note").unwrap(),
            Some("first".to_owned())
        );
        assert_eq!(session.take_flash::<String>("note").unwrap(), None);
    });
    site.visit(|session| {
        assert_eq!(
            session.take_flash("note").unwrap(),
            Some("second".to_owned())
        );
        session.flash("note", "third").unwrap();
        assert_eq!(session.take_flash::<String>("note").unwrap(), None);
    });
    let session = site.load();
    session.take_flash::<u8>("note").unwrap_err();
    assert_eq!(
        session.take_flash("note").unwrap(),
        Some("third".to_owned())
    );
}

#[test]
fn a_flash_and_a_value_of_one_name_are_two_things() {
    let mut site = Site::new();
    site.visit(|session| {
        session.insert("note", 1).unwrap();
        session.flash("note", 2).unwrap();
    });
    site.visit(|session| {
        session.remove("note");
        assert_eq!(session.take_flash("note").unwrap(), Some(2));
    });
    assert!(site.load().is_empty());
}

#[test]
fn a_destroyed_session_has_no_flash_left_and_a_new_one_can_wait() {
    let mut site = Site::new();
    site.visit(|session| session.flash("note", "in").unwrap());
    site.visit(|session| {
        session.flash("note", "out").unwrap();
        session.destroy();
        assert_eq!(session.take_flash::<String>("note").unwrap(), None);
        session.flash("note", "logged out").unwrap();
    });
    let note = site.load().take_flash("note").unwrap();
    assert_eq!(note, Some("logged out".to_owned()));
}

#[test]
fn clones_are_one_session() {
    let mut site = Site::new();
    site.visit(|session| {
        let clone = session.clone();
        clone.insert("a", 1).unwrap();
        assert_eq!(session.get("a").unwrap(), Some(1));
        session.remove("a");
        assert!(clone.is_empty());
        clone.insert("b", 2).unwrap();
    });
    assert_eq!(site.load().keys(), ["b"]);
}

#[test]
fn a_session_outside_of_any_request_is_one_for_testing_handlers() {
    let session = Session::new();
    assert_eq!(session.origin(), Origin::Absent);
    assert!(session.is_new() && session.is_empty());
    session
        .set_expiry(std::time::SystemTime::now() + 10 * DAY)
        .unwrap();
    session.insert("a", 1).unwrap();
    session.remember(false);
    assert_eq!(session.take("a").unwrap(), Some(1));
    let debug = format!("{session:?}");
    assert_eq!(
        debug,
        "Session { origin: Absent, status: Unmodified, len: 0, .. }"
    );
}

/// Which key sealed a response's cookie.
fn key_of(response: &http::HeaderMap) -> KeyId {
    let token = pair(response).strip_prefix("__Host-session=").unwrap();
    Token::parse(token).unwrap().key_id()
}

#[test]
fn a_fleet_rotates_in_three_steps_and_nobody_is_logged_out_between() {
    let mut site = Site::new();
    let (old, new) = (key(), key());
    let nodes: Vec<_> = (0..2)
        .map(|_| store(&site.clock, old.clone(), |builder| builder))
        .collect();
    let steps = [ring(&[&old, &new]), ring(&[&new, &old]), ring(&[&new])];
    site.store = nodes[0].clone();
    site.visit(|session| session.insert("visits", 0).unwrap());
    let mut visits = 0;
    for step in &steps {
        for deployed in 0..nodes.len() {
            nodes[deployed].replace_keys(step.clone());
            for node in [0, 1, 0, 1] {
                site.store = nodes[node].clone();
                site.visit(|session| {
                    assert_eq!(session.get("visits").unwrap(), Some(visits));
                    visits += 1;
                    session.insert("visits", visits).unwrap();
                });
            }
        }
    }
    assert_eq!(visits, 24);
}

#[test]
fn a_session_opened_under_an_old_key_is_sealed_again_with_its_response_read_or_not() {
    let (old, new) = (key(), key());
    let mut site = Site::new();
    site.store.replace_keys(old.clone());
    site.visit(|session| session.insert("a", 1).unwrap());
    site.store.replace_keys(ring(&[&new, &old]));
    let session = site.load();
    for response in [site.save(&session), site.save(&session)] {
        assert_eq!(key_of(&response), new.id());
    }
    session.destroy();
    assert!(is_removal(set_cookie(&site.save(&session))));
}

#[test]
fn a_field_names_an_entry_and_its_type_wherever_text_does() {
    const USER: Field<u64> = Field::new("user_id");
    const NOTE: Field<String> = Field::new("note");
    let mut site = Site::new();
    site.visit(|session| {
        session.insert(USER, 1).unwrap();
        session.update(USER, |id| id.unwrap_or(0) + 1).unwrap();
        session.flash(NOTE, "hi".to_owned()).unwrap();
        assert_eq!(session.get::<u64>("user_id").unwrap(), Some(2));
        assert_eq!(session.get::<u64>(&"user_id".to_owned()).unwrap(), Some(2));
    });
    site.visit(|session| {
        assert!(session.contains(USER));
        assert_eq!(session.get(USER).unwrap(), Some(2));
        assert_eq!(session.take_flash(NOTE).unwrap().as_deref(), Some("hi"));
        assert_eq!(session.take(USER).unwrap(), Some(2));
        session.insert(NOTE, "there".to_owned()).unwrap();
        session.remove(NOTE);
    });
    assert!(site.load().is_empty());
}

#[test]
fn a_session_is_looked_at_without_knowing_its_types() {
    let mut site = Site::new();
    site.visit(|session| {
        let data = serde_json::json!({
            "name": "Ada", "visits": 3, "below": -4, "ratio": 0.5,
            "tags": ["a", null, true],
        });
        session.insert("data", data).unwrap();
    });
    let session = site.load();
    let map = session.to_map().unwrap();
    let data = map["data"].as_map().unwrap();
    assert_eq!(data["name"].as_str(), Some("Ada"));
    assert_eq!(data["visits"].as_u64(), Some(3));
    assert_eq!(data["below"].as_i64(), Some(-4));
    assert_eq!(data["ratio"].as_f64(), Some(0.5));
    let tags = data["tags"].as_list().unwrap();
    assert!(tags[1] == Value::Null && tags[2].as_bool() == Some(true));
    assert_eq!(
        session.get::<serde_json::Value>("data").unwrap().unwrap()["tags"],
        serde_json::json!(["a", null, true])
    );
}
