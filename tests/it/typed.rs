//! Typed sessions: a struct's fields are entries, all others are kept.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use sealed_session::{AppKey, CookieStore, ErrorKind, Session, Status, TypedSession, Value};
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
fn a_field_of_another_type_is_given_up_alone() {
    let typed = typed();
    typed.set(&profile()).unwrap();
    typed.session().insert("cart", ["pear"]).unwrap();
    typed.session().flash("note", ["a", "list"]).unwrap();
    let store = CookieStore::new(AppKey::generate().unwrap());
    let session = store.load_from([""]);
    session.merge(typed.session()).unwrap();
    let outgoing = store.respond(&session).unwrap();
    let cookie = outgoing.set_cookies().next().unwrap().split(';').next();
    let session = store.load_from(cookie);

    let typed = TypedSession::<Profile>::from(session.clone());
    typed.get().unwrap_err();
    typed.update(|_| ()).unwrap_err();
    let cart = session.get_or_remove::<Vec<(String, u8)>>("cart");
    assert_eq!(cart, None);
    let expected = Profile {
        cart: Vec::new(),
        ..profile()
    };
    assert_eq!(typed.get(), Ok(expected));

    session.take_flash::<String>("note").unwrap_err();
    assert!(session.take_flash::<Value>("note").unwrap().is_some());
    assert_eq!(session.take_flash::<String>("note"), Ok(None));
}

#[test]
fn an_entry_under_an_alias_is_read_and_gives_way_to_the_fields_own_name() {
    let typed = typed();
    typed.session().insert("nick", "ann").unwrap();
    assert_eq!(typed.get().unwrap().name, "ann");
    typed.update(|profile| profile.name.push('e')).unwrap();
    assert_eq!(typed.session().keys(), ["name"]);
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
        "the typed session: it is of the kind list, not a struct with named fields; use a struct \
         whose fields a session can hold"
    );
    assert_eq!(list.get().unwrap_err().kind(), ErrorKind::WrongType);
    assert!(list.session().is_empty());
}

#[test]
fn a_field_that_is_none_is_no_entry_for_anybody() {
    let typed = typed();
    typed
        .update(|profile| profile.name.push_str("ann"))
        .unwrap();
    assert_eq!(typed.session().keys(), ["name"]);
    assert!(!typed.session().contains("user_id"));
    assert_eq!(typed.session().get::<u64>("user_id"), Ok(None));

    typed.set(&profile()).unwrap();
    typed.update(|profile| profile.user_id = None).unwrap();
    assert_eq!(typed.session().keys(), ["cart", "name"]);
    assert_eq!(typed.get().unwrap().user_id, None);
}

#[test]
fn an_update_that_changes_nothing_is_no_change() {
    let typed = typed();
    typed.update(|_| ()).unwrap();
    typed
        .update(|profile| {
            profile.name.push('x');
            profile.name.pop();
        })
        .unwrap();
    assert_eq!(typed.session().status(), Status::Unmodified);
    // Nor does it tidy up what others have left.
    typed.session().insert("nick", "ann").unwrap();
    typed.session().insert("cart", Vec::<u8>::new()).unwrap();
    typed.update(|_| ()).unwrap();
    assert_eq!(typed.session().keys(), ["cart", "nick"]);
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

    let wrapped = TypedSession::<Wrapped>::from(session.clone());
    assert_eq!(wrapped.get(), Ok(Wrapped(Inner { user_id: 7 })));

    // A flattened map has all that no field has, also what others have put there.
    session.insert("c", 3).unwrap();
    flat.update(|flat| {
        flat.rest.remove("a");
    })
    .unwrap();
    assert_eq!(session.keys(), ["b", "c", "user_id"]);
    let rest = BTreeMap::new();
    flat.set(&Flat { user_id: 8, rest }).unwrap();
    assert_eq!(session.keys(), ["user_id"]);
}

fn five() -> u8 {
    5
}

fn is_five(n: &u8) -> bool {
    *n == 5
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Renamed {
    user_id: Option<u64>,
    #[serde(rename = "n", alias = "name")]
    display_name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cart_items: Vec<Option<u8>>,
    #[serde(default = "five", skip_serializing_if = "is_five")]
    five: u8,
    nested: Option<Nested>,
    by_number: BTreeMap<u64, Option<i8>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct Nested {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    level: Option<Vec<Option<u8>>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Flattened {
    id: Option<u32>,
    #[serde(flatten)]
    always: Nested,
    #[serde(flatten)]
    sometimes: Option<Sometimes>,
    by_number: BTreeMap<i8, bool>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Sometimes {
    x: u8,
    y: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Visitor {
    Guest,
    ReturningGuest { last: Option<u32> },
    Member { user_id: u64, rights: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "step", content = "answers")]
enum Form {
    Empty,
    Begun(BTreeMap<u64, String>),
    Sent { at: Option<u64> },
}

/// Sets each value after the others, in one request each, beside an entry of somebody else's.
fn each_is_what_is_read<T>(values: Vec<T>)
where
    T: Clone + std::fmt::Debug + PartialEq + Serialize + serde::de::DeserializeOwned,
{
    let store = CookieStore::new(AppKey::generate().unwrap());
    let session = store.load_from([""]);
    session.insert("csrf", "x").unwrap();
    let reloaded = |session: &Session| {
        let outgoing = store.respond(session).unwrap();
        let cookie = outgoing.set_cookies().next().unwrap().split(';').next();
        store.load_from(cookie)
    };
    let mut session = reloaded(&session);
    for value in values {
        // Something else each time, so that there is something to save.
        let more = |csrf: Option<String>| csrf.unwrap() + "x";
        session.update("csrf", more).unwrap();
        let typed = TypedSession::from(session);
        let was = typed.get();
        typed.set(&value).unwrap();
        assert_eq!(typed.get().as_ref(), Ok(&value));
        // Nothing is there but what it has, and what is not its own.
        let json = serde_json::to_value(&value).unwrap();
        let fields = json.as_object().unwrap().iter();
        let mut expected: Vec<_> = fields
            .filter(|(_, field)| !field.is_null())
            .map(|(name, _)| name.as_str())
            .chain(["csrf"])
            .collect();
        expected.sort_unstable();
        assert_eq!(typed.session().keys(), expected);

        // The same in the next request, which may write it again without any change.
        session = reloaded(typed.session());
        let typed = TypedSession::from(session);
        assert_eq!(typed.get().as_ref(), Ok(&value));
        typed.set(&value).unwrap();
        typed.update(|_| ()).unwrap();
        assert_eq!(typed.session().status(), Status::Unmodified);
        // And there and back is no change either.
        if let Ok(was) = was {
            typed.update(|now| *now = was.clone()).unwrap();
            assert_eq!(typed.get(), Ok(was));
            typed.update(|now| *now = value.clone()).unwrap();
            assert_eq!(typed.session().keys(), expected);
            assert_eq!(typed.session().status(), Status::Unmodified);
        }
        session = typed.session().clone();
    }
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z]{0,3}", 0..3)
}

fn nested() -> impl Strategy<Value = Nested> {
    let level = any::<Option<[Option<u8>; 2]>>();
    (texts(), level).prop_map(|(tags, level)| Nested {
        tags,
        level: level.map(Vec::from),
    })
}

fn renamed() -> impl Strategy<Value = Renamed> {
    let cart = prop::collection::vec(any::<Option<u8>>(), 0..3);
    let by_number = prop::collection::btree_map(any::<u64>(), any::<Option<i8>>(), 0..3);
    let parts = (
        any::<Option<u64>>(),
        "[a-z]{0,3}",
        cart,
        4..7_u8,
        prop::option::of(nested()),
        by_number,
    );
    parts.prop_map(
        |(user_id, display_name, cart_items, five, nested, by_number)| Renamed {
            user_id,
            display_name,
            cart_items,
            five,
            nested,
            by_number,
        },
    )
}

fn flattened() -> impl Strategy<Value = Flattened> {
    let sometimes = any::<Option<(u8, Option<bool>)>>();
    let by_number = prop::collection::btree_map(any::<i8>(), any::<bool>(), 0..3);
    (any::<Option<u32>>(), nested(), sometimes, by_number).prop_map(
        |(id, always, sometimes, by_number)| Flattened {
            id,
            always,
            sometimes: sometimes.map(|(x, y)| Sometimes { x, y }),
            by_number,
        },
    )
}

fn visitor() -> impl Strategy<Value = Visitor> {
    prop_oneof![
        Just(Visitor::Guest),
        any::<Option<u32>>().prop_map(|last| Visitor::ReturningGuest { last }),
        (any::<u64>(), texts()).prop_map(|(user_id, rights)| Visitor::Member { user_id, rights }),
    ]
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        Just(Form::Empty),
        prop::collection::btree_map(any::<u64>(), "[a-z]{0,3}", 0..3).prop_map(Form::Begun),
        any::<Option<u64>>().prop_map(|at| Form::Sent { at }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_written_is_what_is_read_and_nothing_stays_behind(
        renamed in prop::collection::vec(renamed(), 1..4),
        flattened in prop::collection::vec(flattened(), 1..4),
        visitors in prop::collection::vec(visitor(), 1..4),
        forms in prop::collection::vec(form(), 1..4),
        maps in prop::collection::vec(
            prop::collection::btree_map("[a-z]{1,2}", prop::collection::vec(any::<u8>(), 0..3), 0..3),
            1..4,
        ),
    ) {
        each_is_what_is_read(renamed);
        each_is_what_is_read(flattened);
        each_is_what_is_read(visitors);
        each_is_what_is_read(forms);
        for map in maps {
            let session = Session::new();
            session.insert("of-others", vec![1_u8]).unwrap();
            let typed = TypedSession::from(session);
            typed.set(&map).unwrap();
            prop_assert_eq!(typed.get(), Ok(map));
        }
    }
}

/// Reading it back gives another value, or none.
fn is_refused<T: Serialize + serde::de::DeserializeOwned>(value: &T, names: &str) {
    let session = Session::new();
    session.insert("kept", 1).unwrap();
    let error = TypedSession::from(session.clone()).set(value).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStorable);
    let text = error.to_string();
    assert!(text.contains("could not be read back"), "{text}");
    assert!(text.contains(names), "{text}");
    assert_eq!(session.keys(), ["kept"]);
}

#[test]
fn what_could_not_be_read_back_is_refused_by_name() {
    #[derive(Deserialize, Serialize)]
    #[serde(default)]
    struct Theme {
        theme: Option<String>,
    }
    impl Default for Theme {
        fn default() -> Self {
            let theme = Some("dark".to_owned());
            Self { theme }
        }
    }
    is_refused(&Theme { theme: None }, "theme");
    let typed = TypedSession::<Theme>::from(Session::new());
    typed
        .set(&Theme {
            theme: Some("light".to_owned()),
        })
        .unwrap();

    #[derive(Deserialize, Serialize)]
    struct NoDefault {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        cart: Vec<u8>,
    }
    is_refused(&NoDefault { cart: vec![] }, "cart");

    #[derive(Deserialize, Serialize)]
    struct OtherDefault {
        #[serde(default = "five", skip_serializing_if = "Option::is_none")]
        five: Option<u8>,
    }
    fn five() -> Option<u8> {
        Some(5)
    }
    is_refused(&OtherDefault { five: None }, "five");

    #[derive(Deserialize, Serialize)]
    struct Sideways {
        #[serde(default, rename(serialize = "writtenName", deserialize = "read_name"))]
        name: String,
    }
    is_refused(
        &Sideways {
            name: "ann".to_owned(),
        },
        "writtenName",
    );

    #[derive(Deserialize, Serialize)]
    struct Crossed {
        #[serde(rename(serialize = "a", deserialize = "b"))]
        first: u8,
        #[serde(rename(serialize = "b", deserialize = "a"))]
        second: Option<u8>,
    }
    is_refused(
        &Crossed {
            first: 1,
            second: None,
        },
        "b",
    );

    #[derive(Deserialize, Serialize)]
    struct Computed {
        #[serde(skip_deserializing)]
        greeting: String,
    }
    is_refused(
        &Computed {
            greeting: "hi".to_owned(),
        },
        "greeting",
    );

    #[derive(Deserialize, Serialize)]
    struct Rest {
        #[serde(flatten)]
        rest: BTreeMap<String, Option<u8>>,
    }
    is_refused(
        &Rest {
            rest: [("lost".to_owned(), None)].into(),
        },
        "lost",
    );

    #[derive(Deserialize, Serialize)]
    enum External {
        Variant { a: u8 },
    }
    is_refused(&External::Variant { a: 1 }, "");
}

#[test]
fn what_only_looks_as_if_it_would_come_back_otherwise_is_written() {
    /// Without a default, serde wants the entry of such a field.
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Strict {
        #[serde(with = "as_text")]
        since: Option<u64>,
        marker: std::marker::PhantomData<u8>,
        nothing: (),
        #[serde(flatten)]
        flat: Inner,
    }
    mod as_text {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub(super) fn serialize<S: Serializer>(n: &Option<u64>, s: S) -> Result<S::Ok, S::Error> {
            n.map(|n| n.to_string()).serialize(s)
        }

        pub(super) fn deserialize<'de, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<u64>, D::Error> {
            let text = Option::<String>::deserialize(d)?;
            Ok(text.and_then(|text| text.parse().ok()))
        }
    }
    for since in [Some(7), None] {
        let typed = TypedSession::from(Session::new());
        let value = || Strict {
            since,
            marker: std::marker::PhantomData,
            nothing: (),
            flat: Inner { user_id: 7 },
        };
        typed.set(&value()).unwrap();
        assert_eq!(typed.get(), Ok(value()));
        assert_eq!(typed.session().contains("since"), since.is_some());
        typed.session().remove("user_id");
        let error = typed.get().unwrap_err().to_string();
        assert!(
            error.contains(": it has no field user_id; make the field an `Option`"),
            "{error}"
        );
    }

    /// Comes back in another order each time.
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Set {
        seen: HashSet<u32>,
    }
    let typed = TypedSession::from(Session::new());
    let seen = (0..100).collect();
    typed.set(&Set { seen }).unwrap();
    assert_eq!(typed.get().unwrap().seen.len(), 100);

    /// Is another text each time that it is written.
    #[derive(Debug, Deserialize)]
    struct Counted(#[expect(dead_code, reason = "it is only read")] u32);
    impl Serialize for Counted {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            COUNT.with(|count| count.set(count.get() + 1));
            serializer.serialize_u32(COUNT.get())
        }
    }
    thread_local!(static COUNT: Cell<u32> = const { Cell::new(0) });
    #[derive(Debug, Deserialize, Serialize)]
    struct Clock {
        at: Counted,
    }
    let typed = TypedSession::from(Session::new());
    typed.set(&Clock { at: Counted(0) }).unwrap();
    assert!(typed.session().contains("at"));
}

#[test]
fn a_null_that_another_program_has_stored_is_what_the_field_is_by_default() {
    let session = Session::new();
    session.insert("user_id", serde_json::Value::Null).unwrap();
    session.insert("name", None::<String>).unwrap();
    assert!(session.is_empty());
    let typed = TypedSession::<Profile>::from(session);
    assert_eq!(typed.get(), Ok(Profile::default()));
}
