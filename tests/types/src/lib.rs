//! What a value can be held in, and what becomes of it in a session.

mod any;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use sealed_session::{ErrorKind, Session, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use any::Any;

/// A type that can be put into a session and compared.
pub trait Storable: Serialize + DeserializeOwned + Clone + PartialEq + Debug + 'static {}
impl<T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + 'static> Storable for T {}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Holder {
    value: Any,
    more: Option<Any>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct FlatStruct {
    id: u8,
    #[serde(flatten)]
    holder: Holder,
    last: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct FlatMap {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, Any>,
}

/// Only structs and maps can be flattened themselves, and some enums.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct FlatItself {
    #[serde(rename = "an id that no other has")]
    id: u8,
    #[serde(flatten)]
    value: Any,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Never {
    never: (),
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
enum Untagged {
    Never(Never),
    Newtype(Any),
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
enum UntaggedStruct {
    Never(Never),
    Tuple(bool, Any, u8),
    Struct { value: Any },
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "which")]
enum Internal {
    Struct { value: Any, more: Option<Any> },
    Holder(Holder),
    Itself(Any),
}

/// The content comes before its tag when names are sorted.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Newtype(Any),
    Tuple(Any, u8),
    Struct { value: Any },
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
enum External {
    Newtype(Any),
    Tuple(Any, u8),
    Struct { value: Any },
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Wrapper(Box<Any>);

/// What did not come back equal: was refused when it was inserted, or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// By `insert`.
    Stored,
    /// By `get`, where serde reads through its buffer.
    Read,
}

/// Inserts `held` and gets it again: equal, or why not. Never another value.
fn there_and_back<T: Storable>(held: &T) -> Option<Refused> {
    let session = Session::new();
    if let Err(error) = session.insert("held", held) {
        assert_eq!(error.kind(), ErrorKind::NotStorable, "{held:?}: {error}");
        return Some(Refused::Stored);
    }
    match session.get::<T>("held") {
        Ok(Some(back)) => assert_eq!(back, *held),
        Ok(None) => assert_eq!(
            serde_json::to_value(held).expect("JSON"),
            serde_json::Value::Null,
            "only what is nothing is not there"
        ),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WrongType, "{held:?}: {error}");
            return Some(Refused::Read);
        }
    }
    None
}

/// Where a value did not come back equal.
pub type Exceptions = Vec<(&'static str, Refused)>;

/// Holds `value` in everything, and tells where it does not come back.
pub fn exceptions<T: Storable>(value: &T) -> Exceptions {
    let v = || Any::from(value);
    let holder = || Holder {
        value: v(),
        more: Some(v()),
    };
    let names = || [("a".to_owned(), v()), ("1".to_owned(), v())];
    let outcomes = [
        ("plain", there_and_back(&v())),
        ("option", there_and_back(&[Some(v()), None])),
        ("list", there_and_back(&vec![v(), v()])),
        ("tuple", there_and_back(&(1, v(), (v(), "x".to_owned())))),
        ("newtype", there_and_back(&Wrapper(Box::new(v())))),
        ("map", there_and_back(&HashMap::from(names()))),
        ("struct", there_and_back(&holder())),
        (
            "flattened struct",
            there_and_back(&FlatStruct {
                id: 1,
                holder: holder(),
                last: None,
            }),
        ),
        (
            "flattened map",
            there_and_back(&FlatMap {
                id: 1,
                rest: names().into(),
            }),
        ),
        (
            "untagged",
            there_and_back(&[Untagged::Newtype(v()), Untagged::Newtype(v())]),
        ),
        (
            "untagged struct",
            there_and_back(&UntaggedStruct::Struct { value: v() }),
        ),
        (
            "untagged tuple",
            there_and_back(&UntaggedStruct::Tuple(true, v(), 1)),
        ),
        (
            "internal",
            there_and_back(&Internal::Struct {
                value: v(),
                more: None,
            }),
        ),
        (
            "internal holder",
            there_and_back(&Internal::Holder(holder())),
        ),
        ("adjacent", there_and_back(&Adjacent::Newtype(v()))),
        ("adjacent tuple", there_and_back(&Adjacent::Tuple(v(), 1))),
        (
            "adjacent struct",
            there_and_back(&Adjacent::Struct { value: v() }),
        ),
        ("external", there_and_back(&External::Newtype(v()))),
        ("external tuple", there_and_back(&External::Tuple(v(), 1))),
        (
            "external struct",
            there_and_back(&External::Struct { value: v() }),
        ),
    ];
    let refused = outcomes.into_iter();
    refused
        .filter_map(|(held_in, refused)| Some((held_in, refused?)))
        .collect()
}

/// Flattens the value itself, and puts it behind an internal tag. `None` if it came back.
pub fn itself<T: Storable>(value: &T) -> [Option<Refused>; 2] {
    let flat = FlatItself {
        id: 1,
        value: value.into(),
    };
    [
        there_and_back(&flat),
        there_and_back(&Internal::Itself(value.into())),
    ]
}

/// Uses the value as a key of a map, plain and behind an adjacent tag.
pub fn as_key<T: Storable>(value: &T) -> Option<Refused> {
    let entry = || BTreeMap::from([(Any::from(value), 1)]);
    let outcome = there_and_back(&Keyed(entry()));
    assert_eq!(outcome, there_and_back(&AdjacentlyKeyed::Newtype(entry())));
    outcome
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Keyed(BTreeMap<Any, u8>);

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "t", content = "c")]
enum AdjacentlyKeyed {
    Newtype(BTreeMap<Any, u8>),
}

/// That JSON and a session hold the same: what was sealed from JSON reads as the value, and what
/// was inserted looks like that JSON, also where serde reads through its buffer.
pub fn is_the_same_as_json<T: Storable>(value: &T) {
    same_as_json(&Any::from(value));
    same_as_json(&FlatStruct {
        id: 1,
        holder: Holder {
            value: value.into(),
            more: None,
        },
        last: Some(true),
    });
}

fn same_as_json<T: Storable>(value: &T) {
    let text = serde_json::to_string(value).expect("JSON");
    let session = Session::new();
    // As the command seals it, and as a store has it that keeps JSON.
    let sealed: Value = serde_json::from_str(&text).expect("a value");
    let stored: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    session.insert("sealed", &sealed).expect("a value");
    session.insert("stored", &stored).expect("a value");
    session.insert("written", value).expect("a value");
    for origin in ["sealed", "stored", "written"] {
        let back = session.get::<T>(origin).expect("the type that it was");
        assert_eq!(back.as_ref(), Some(value), "{origin}");
    }
    let written: serde_json::Value = session.get("written").expect("JSON").expect("an entry");
    let sealed: serde_json::Value = session.get("sealed").expect("JSON").expect("an entry");
    assert_eq!(sealed, stored);
    if !has_floats(&stored) {
        assert_eq!(written, stored);
        assert!(session.get::<Value>("written") == Ok(Some(session_value(&sealed))));
    }
}

/// The 0.1 of a narrow float is another number than that of JSON.
fn has_floats(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Number(number) => number.is_f64(),
        serde_json::Value::Array(items) => items.iter().any(has_floats),
        serde_json::Value::Object(members) => members.values().any(has_floats),
        _ => false,
    }
}

fn session_value(json: &serde_json::Value) -> Value {
    let session = Session::new();
    session.insert("json", json).expect("a value");
    let value = session.get("json").expect("a value");
    value.expect("an entry")
}
