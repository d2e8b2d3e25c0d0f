//! Typed sessions: a struct's fields are entries, all others are kept.

use std::cell::Cell;
use std::collections::BTreeMap;

use sealed_session::{AppKey, CookieStore, ErrorKind, Session, Status, TypedSession};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Profile {
    user_id: Option<u64>,
    #[serde(alias = "nick")]
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cart: Vec<(String, u8)>,
}

fn profile() -> Profile {
    Profile {
        user_id: Some(42),
        name: "ann".to_owned(),
        cart: vec![("pear".to_owned(), 2)],
    }
}

fn typed() -> TypedSession<Profile> {
    Session::new().into()
}

#[test]
fn fields_are_entries_and_survive_a_cookie() {
    let store = CookieStore::new(AppKey::generate().unwrap());
    let typed = TypedSession::<Profile>::from(store.load_from([""]));
    assert_eq!(typed.get().unwrap(), Profile::default());
    typed.set(&profile()).unwrap();
    assert_eq!(typed.session().keys(), ["cart", "name", "user_id"]);

    let outgoing = store.respond(typed.session()).unwrap();
    let cookie = outgoing.set_cookies().next().unwrap().split(';').next();
    let session = store.load_from(cookie);
    assert_eq!(session.get("user_id").unwrap(), Some(42));
    assert_eq!(TypedSession::from(session).get(), Ok(profile()));
}

#[test]
fn entries_that_are_no_fields_are_kept_and_not_looked_at() {
    let typed = typed();
    typed.session().insert("csrf", "x").unwrap();
    typed.set(&profile()).unwrap();
    typed.update(|profile| profile.cart.clear()).unwrap();
    assert_eq!(typed.session().get("csrf").unwrap(), Some("x".to_owned()));
    let cart = "a field that is left out is removed";
    assert!(!typed.session().contains("cart"), "{cart}");
    assert!(typed.get().unwrap().cart.is_empty(), "{cart}");
}

#[test]
fn an_entry_under_an_alias_is_read_and_gives_way_to_the_fields_own_name() {
    let typed = typed();
    typed.session().insert("nick", "ann").unwrap();
    assert_eq!(typed.get().unwrap().name, "ann");
    typed.update(|profile| profile.name.push('e')).unwrap();
    assert_eq!(typed.session().keys(), ["name", "user_id"]);
    assert_eq!(typed.get().unwrap().name, "anne");
}

#[test]
fn looking_at_it_and_dropping_it_write_nothing() {
    let session = Session::new();
    let typed = TypedSession::<Profile>::from(session.clone());
    let mut profile = typed.get().unwrap();
    profile.name.push('x');
    drop((profile, typed));
    assert_eq!(session.status(), Status::Unmodified);
}

#[test]
fn setting_what_is_there_is_no_change() {
    let store = CookieStore::new(AppKey::generate().unwrap());
    let typed = TypedSession::from(store.load_from([""]));
    typed.set(&profile()).unwrap();
    let outgoing = store.respond(typed.session()).unwrap();
    let cookie = outgoing.set_cookies().next().unwrap().split(';').next();
    let typed = TypedSession::from(store.load_from(cookie));
    typed.set(&profile()).unwrap();
    assert_eq!(typed.session().status(), Status::Unmodified);
}

#[derive(Debug, Deserialize, Serialize)]
struct Strict {
    user_id: u64,
}

#[test]
fn a_missing_field_and_one_of_another_type_are_errors_that_name_it() {
    let typed = TypedSession::<Strict>::from(Session::new());
    let error = typed.get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert!(error.to_string().contains("user_id"), "{error}");

    typed.session().insert("user_id", "hunter2").unwrap();
    for error in [typed.get().unwrap_err(), typed.update(|_| ()).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::WrongType);
        assert!(error.to_string().contains("\"user_id\""), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn what_does_not_fit_leaves_every_field_as_it_was() {
    let typed = typed();
    typed.set(&profile()).unwrap();
    let mut large = profile();
    large.user_id = None;
    large.name = "x".repeat(4000);
    for error in [
        typed.set(&large).unwrap_err(),
        typed
            .update(|profile| *profile = large.clone())
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(error.sizes().unwrap().1, 4096);
    }
    assert_eq!(typed.get(), Ok(profile()));
}

#[test]
fn an_update_that_met_another_change_is_made_again() {
    let typed = typed();
    let calls = Cell::new(0);
    typed
        .update(|profile| {
            calls.set(calls.get() + 1);
            if calls.get() == 1 {
                let other = typed.clone();
                other.update(|profile| profile.name.push('a')).unwrap();
            }
            profile.name.push('b');
        })
        .unwrap();
    assert_eq!(calls.get(), 2);
    assert_eq!(typed.get().unwrap().name, "ab");
}

#[test]
fn what_has_no_named_fields_is_refused() {
    let list = TypedSession::<Vec<u8>>::from(Session::new());
    let error = list.set(&vec![1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStorable);
    assert_eq!(
        error.to_string(),
        "the typed session: it is of the kind list, not a struct with named fields"
    );
    assert_eq!(list.get().unwrap_err().kind(), ErrorKind::WrongType);
    assert!(list.session().is_empty());
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Flat {
    user_id: u64,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Wrapped(Inner);

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Inner {
    user_id: u64,
}

#[test]
fn maps_flattened_fields_and_wrappers_are_entries_too() {
    let session = Session::new();
    let map: BTreeMap<String, u8> = [("a".to_owned(), 1), ("b".to_owned(), 2)].into();
    let typed = TypedSession::from(session.clone());
    typed.set(&map).unwrap();
    assert_eq!(typed.get(), Ok(map.clone()));

    let flat = TypedSession::from(session.clone());
    let value = Flat {
        user_id: 7,
        rest: map,
    };
    flat.set(&value).unwrap();
    assert_eq!(flat.get(), Ok(value));

    let wrapped = TypedSession::<Wrapped>::from(session);
    assert_eq!(wrapped.get(), Ok(Wrapped(Inner { user_id: 7 })));
}
