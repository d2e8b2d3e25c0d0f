use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::*;

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = encode(value).unwrap();
    assert_eq!(&decode::<T>(&bytes).unwrap(), value);
    let seen: Value = decode(&bytes).unwrap();
    assert_eq!(
        encode(&seen).unwrap(),
        bytes,
        "a value without types is the same bytes"
    );
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Unit;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Newtype(u8);

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Pair(u8, String);

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Eq, Hash, PartialOrd, Ord)]
enum Shape {
    Revision,
    Circle(u32),
    Line(i8, i8),
    Box { wide: u64, high: Option<u64> },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "type")]
enum Tagged {
    Apple { weight: u32 },
    Pear,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Nested {
    zulu: Vec<Shape>,
    alpha: HashMap<u64, (bool, char)>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[test]
fn integers_of_64_bits_are_exact_in_both_signs() {
    for value in [0, 1, 127, 128, u64::MAX] {
        round_trip(&value);
    }
    for value in [i64::MIN, -1, 0, 1, i64::MAX] {
        round_trip(&value);
        round_trip(&i128::from(value));
    }
    round_trip(&u128::from(u64::MAX));
    assert_eq!(
        encode(&1_i8).unwrap(),
        encode(&1_u64).unwrap(),
        "one spelling of one number"
    );
}

#[test]
fn an_integer_beyond_64_bits_is_an_error() {
    for error in [
        encode(&(u128::from(u64::MAX) + 1)).unwrap_err(),
        encode(&(i128::from(i64::MIN) - 1)).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "it holds an integer beyond 64 bits");
    }
}

#[test]
fn any_serde_type_comes_back_as_it_went_in() {
    round_trip(&());
    round_trip(&true);
    round_trip(&'é');
    round_trip(&"text".to_owned());
    round_trip(&1.5_f32);
    round_trip(&-0.1_f64);
    round_trip(&Some(3_u8));
    round_trip(&None::<u8>);
    round_trip(&Unit);
    round_trip(&Newtype(7));
    round_trip(&Pair(7, "seven".to_owned()));
    round_trip(&[Shape::Revision, Shape::Circle(3), Shape::Line(-1, 1)]);
    round_trip(&Shape::Box {
        wide: u64::MAX,
        high: None,
    });
    round_trip(&vec![Tagged::Pear, Tagged::Apple { weight: 9 }]);
    round_trip(&BTreeMap::from([(true, 1), (false, 2)]));
    round_trip(&BTreeMap::from([(-5_i8, "minus five".to_owned())]));
    round_trip(&HashMap::from([(Shape::Revision, 1)]));
    round_trip(&HashMap::from([(std::net::Ipv6Addr::LOCALHOST, 1)]));
    round_trip(&"127.0.0.1".parse::<std::net::IpAddr>().unwrap());
    round_trip(&std::time::Duration::from_millis(1500));
    round_trip(&Nested {
        zulu: vec![Shape::Revision],
        alpha: HashMap::from([(u64::MAX, (true, 'x'))]),
        rest: BTreeMap::from([("more".to_owned(), Value::Null)]),
    });
}

#[test]
fn floats_keep_their_bits() {
    for bits in [
        0,
        1,
        (-0.0_f64).to_bits(),
        f64::INFINITY.to_bits(),
        0x7ff8_0000_0000_1234,
    ] {
        let bytes = encode(&f64::from_bits(bits)).unwrap();
        assert_eq!(decode::<f64>(&bytes).unwrap().to_bits(), bits);
    }
}

#[test]
fn a_number_is_never_rounded_into_another_type() {
    let third = encode(&(1.0 / 3.0_f64)).unwrap();
    assert!(decode::<f32>(&third).is_err());
    assert_eq!(decode::<f64>(&encode(&3).unwrap()), Ok(3.0));
    assert_eq!(decode::<f64>(&encode(&-3).unwrap()), Ok(-3.0));
    assert_eq!(
        decode::<f64>(&encode(&(1_u64 << 53)).unwrap()),
        Ok(9_007_199_254_740_992.0)
    );
    assert!(decode::<f64>(&encode(&((1_u64 << 53) + 1)).unwrap()).is_err());
    assert!(decode::<f32>(&encode(&((1_u64 << 24) + 1)).unwrap()).is_err());
    assert!(decode::<u8>(&encode(&256).unwrap()).is_err());
    assert!(decode::<u64>(&encode(&-1).unwrap()).is_err());
    assert!(decode::<u64>(&encode(&1.0).unwrap()).is_err());
}

#[test]
fn a_narrow_float_is_read_from_its_own_value_and_from_its_decimal() {
    for float in [0.1_f32, -1e-7, 16_777_217.0, f32::MIN_POSITIVE, f32::MAX] {
        round_trip(&float);
        let decimal: f64 = float.to_string().parse().unwrap();
        assert_eq!(decode(&encode(&decimal).unwrap()), Ok(float), "{float}");
    }
    for float in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0] {
        let back: f32 = decode(&encode(&float).unwrap()).unwrap();
        assert_eq!(back.to_bits(), float.to_bits());
    }
    for beyond in [1e39, 1e-60, 0.1 + 1e-10] {
        assert!(decode::<f32>(&encode(&beyond).unwrap()).is_err());
    }
}

#[test]
fn text_is_not_bytes_and_bytes_are_not_text() {
    let (text, bytes) = (Value::String("a".to_owned()), Value::Bytes(b"a".to_vec()));
    let (text, bytes) = (encode(&text).unwrap(), encode(&bytes).unwrap());
    assert!(decode::<CString>(&text).is_err());
    assert_eq!(decode::<CString>(&bytes), Ok(c"a".to_owned()));
    assert!(decode::<String>(&bytes).is_err());
    assert_eq!(decode::<String>(&text), Ok("a".to_owned()));
}

#[test]
fn a_key_is_an_integer_only_in_the_form_in_which_it_is_stored() {
    for key in ["+7", "07", "-0", "7 "] {
        let map = encode(&BTreeMap::from([(key, 1), ("7", 2)])).unwrap();
        assert!(decode::<BTreeMap<i32, u8>>(&map).is_err(), "{key:?}");
        assert!(decode::<BTreeMap<String, u8>>(&map).is_ok());
    }
}

#[test]
fn a_wrong_type_is_told_by_kinds_and_never_by_content() {
    let secret = encode("correct horse battery staple").unwrap();
    let number = encode(&987_654_321).unwrap();
    let map = encode(&BTreeMap::from([("hunter2", 1)])).unwrap();
    for (error, text) in [
        (
            decode::<u64>(&secret).unwrap_err(),
            "it is a string, not u64",
        ),
        (
            decode::<u8>(&number).unwrap_err(),
            "it is an integer out of range for u8",
        ),
        (
            decode::<bool>(&number).unwrap_err(),
            "it is an integer, not a boolean",
        ),
        (
            decode::<Shape>(&secret).unwrap_err(),
            "it is none of the variants Revision, Circle, Line, Box",
        ),
        (
            decode::<(u8,)>(&map).unwrap_err(),
            "it is a map, not a tuple of size 1",
        ),
        (
            decode::<std::net::IpAddr>(&map).unwrap_err(),
            "it is a map, not IP address",
        ),
        (decode::<Nested>(&map).unwrap_err(), "it has no field zulu"),
    ] {
        assert_eq!(error.to_string(), text);
    }
    for (value, text) in [
        (Value::Null, "it is null, not u64"),
        (Value::Bool(true), "it is a boolean, not u64"),
        (Value::Float(1.5), "it is a float, not u64"),
        (Value::Bytes(b"hunter2".to_vec()), "it is bytes, not u64"),
        (vec![Value::Null].into(), "it is a list, not u64"),
        (BTreeMap::new().into(), "it is a map, not u64"),
    ] {
        let error = decode::<u64>(&encode(&value).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_list_longer_than_its_type_is_an_error() {
    assert!(decode::<(u8, u8)>(&encode(&[1, 2, 3]).unwrap()).is_err());
    assert!(decode::<Shape>(&encode(&BTreeMap::from([("Line", [1, 2, 3])])).unwrap()).is_err());
}

#[test]
fn a_variant_without_content_is_its_name_or_has_null() {
    let revision = |content: Value| {
        let map = BTreeMap::from([("Revision", content)]);
        decode::<Shape>(&encode(&map).unwrap())
    };
    assert_eq!(revision(Value::Null), Ok(Shape::Revision));
    assert!(revision(Value::from(3_u64)).is_err());
}

#[test]
fn a_list_and_a_map_are_read_into_the_room_that_they_need() {
    let numbers: Vec<u64> = (0..100).collect();
    let list = encode(&numbers).unwrap();
    let map = encode(&numbers.iter().zip(&numbers).collect::<HashMap<_, _>>()).unwrap();
    let reading = allocation_counter::measure(|| {
        assert_eq!(decode::<Vec<u64>>(&list).unwrap().len(), 100);
        assert_eq!(decode::<HashMap<u64, u64>>(&map).unwrap().len(), 100);
    });
    // Each key is formatted again, to check that the text is its one spelling.
    assert_eq!(reading.count_total, 2 + numbers.len() as u64);
}

#[test]
fn thirty_two_levels_pass_and_thirty_three_do_not() {
    fn nested(levels: usize) -> Value {
        (0..levels).fold(Value::Null, |inner, _| Value::List(vec![inner]))
    }
    let bytes = encode(&nested(32)).unwrap();
    assert_eq!(decode::<Value>(&bytes).unwrap(), nested(32));
    let error = encode(&nested(33)).unwrap_err();
    assert_eq!(error.to_string(), "it is nested deeper than 32 levels");
    let mut deeper = vec![tag_of(&[0_u8; 0]), 1];
    deeper.extend_from_slice(&bytes);
    assert_eq!(decode::<Value>(&deeper), Err(ValueError::Malformed));
}

fn tag_of<T: Serialize>(value: &T) -> u8 {
    encode(value).unwrap()[0]
}

#[test]
fn ten_thousand_levels_on_a_small_stack_are_an_error_and_drop_safely() {
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(|| {
            let bytes = [7, 1].repeat(10_000);
            assert_eq!(decode::<Value>(&bytes), Err(ValueError::Malformed));
            let value = (0..10_000).fold(Value::Null, |inner, n| {
                if n % 2 == 0 {
                    Value::List(vec![inner])
                } else {
                    Value::Map(BTreeMap::from([("k".to_owned(), inner)]))
                }
            });
            assert!(encode(&value).is_err());
            drop(value);
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn a_promise_of_more_than_is_there_is_refused() {
    for tag in [5, 6, 7, 8] {
        let bytes = [tag, 0x80, 0x80, 0x80, 0x80, 0x04];
        assert_eq!(decode::<Value>(&bytes), Err(ValueError::Malformed));
    }
}

#[test]
fn only_the_canonical_spelling_is_a_value() {
    for bytes in [
        &[][..],
        &[9],
        &[0, 0],
        &[1, 2],
        &[2, 0x80, 0x00],
        &[3, 0x02],
        &[5, 1, 0xff],
        &[8, 2, 1, b'b', 0, 1, b'a', 0],
        &[8, 2, 1, b'a', 0, 1, b'a', 0],
        &[4, 0, 0, 0],
    ] {
        assert_eq!(
            decode::<Value>(bytes),
            Err(ValueError::Malformed),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn a_map_that_has_a_key_twice_or_no_text_for_keys_is_refused() {
    struct Twice;
    impl Serialize for Twice {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map([("a", 1), ("a", 2)])
        }
    }
    assert!(encode(&Twice).is_err());
    for error in [
        encode(&Keyed((1, 2))),
        encode(&Keyed(f32::INFINITY)),
        encode(&Keyed(f64::NAN)),
        encode(&Keyed(c"bytes")),
        encode(&Keyed(None::<u8>)),
        encode(&Keyed(())),
        encode(&Keyed(Unit)),
        encode(&Keyed(Shape::Circle(1))),
        encode(&Keyed(Shape::Line(1, 1))),
    ] {
        let expected = "it has a map whose keys are neither text nor numbers";
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
    assert_eq!(encode(&Keyed(Newtype(7))), encode(&Keyed("7")));
    assert_eq!(encode(&Keyed(Some(-7))), encode(&Keyed("-7")));
    assert_eq!(encode(&Keyed(2.0)), encode(&Keyed("2.0")));
}

/// A map of one entry with this key.
#[derive(Debug)]
struct Keyed<K>(K);

impl<'de, K: Deserialize<'de> + Debug> Deserialize<'de> for Keyed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One<K>(std::marker::PhantomData<K>);
        impl<'de, K: Deserialize<'de>> Visitor<'de> for One<K> {
            type Value = K;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of one entry")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<K, A::Error> {
                let entry = access.next_entry::<K, u8>()?;
                Ok(entry.ok_or_else(|| A::Error::missing_field("key"))?.0)
            }
        }
        deserializer
            .deserialize_map(One(std::marker::PhantomData))
            .map(Self)
    }
}

impl<K: Serialize> Serialize for Keyed<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(&self.0, 1)])
    }
}

#[test]
fn a_key_is_read_as_the_number_truth_value_or_text_that_it_was() {
    fn round_trip_key<K: Serialize + DeserializeOwned + PartialEq + Debug>(key: K) {
        let back: Keyed<K> = decode(&encode(&Keyed(&key)).unwrap()).unwrap();
        assert_eq!(back.0, key);
    }
    round_trip_key(u64::MAX);
    round_trip_key(i128::MIN);
    round_trip_key(u128::MAX);
    round_trip_key(false);
    round_trip_key('7');
    round_trip_key(Some(Newtype(7)));
    round_trip_key(0.1_f32);
    round_trip_key(f32::MIN_POSITIVE);
    round_trip_key(1.0);
    round_trip_key(-1e300);
    round_trip_key(5e-324);
    for text in ["inf", "NaN", "+1", "1e999", "", "-", ".5", " 1"] {
        let bytes = encode(&Keyed(text)).unwrap();
        assert!(decode::<Keyed<f64>>(&bytes).is_err(), "{text:?}");
    }
    for text in ["1", "0.00001", "1E5"] {
        let bytes = encode(&Keyed(text)).unwrap();
        assert!(decode::<Keyed<f32>>(&bytes).is_ok(), "{text:?}");
    }
    let third = encode(&Keyed(1.0 / 3.0_f64)).unwrap();
    assert!(decode::<Keyed<f32>>(&third).is_err(), "rounded");
}

#[test]
fn keys_that_serde_cannot_read_back_are_refused_where_that_shows() {
    #[derive(Serialize)]
    struct Beside<T> {
        id: u8,
        #[serde(flatten)]
        inner: T,
    }
    #[derive(Serialize)]
    struct Alone<T> {
        #[serde(flatten)]
        inner: T,
    }
    #[derive(Serialize)]
    #[serde(tag = "kind")]
    enum Inside<T> {
        Map(T),
    }
    fn refused<T: Serialize + Clone>(map: &T) -> [bool; 3] {
        let inner = || map.clone();
        let encoded = [
            encode(&Beside {
                id: 1,
                inner: inner(),
            }),
            encode(&Alone { inner: inner() }),
            encode(&Inside::Map(inner())),
        ];
        encoded.map(|encoded| {
            encoded.is_err_and(|error| {
                error
                    .to_string()
                    .contains("give the map a field of its own")
            })
        })
    }
    assert_eq!(refused(&BTreeMap::from([(1, 1)])), [true; 3]);
    assert_eq!(refused(&BTreeMap::from([(true, 1)])), [true; 3]);
    assert_eq!(refused(&BTreeMap::from([('1', 1)])), [false; 3]);
    assert_eq!(refused(&BTreeMap::from([("1", 1)])), [false; 3]);
    assert_eq!(refused(&BTreeMap::from([(Shape::Revision, 1)])), [false; 3]);
    assert_eq!(refused(&BTreeMap::<u8, u8>::new()), [false; 3]);
    round_trip(&BTreeMap::from([(
        1,
        BTreeMap::from([("1".to_owned(), 1)]),
    )]));
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "what", content = "held", deny_unknown_fields)]
enum Adjacent {
    Nothing,
    Map(HashMap<u64, u128>),
    Tuple(i128, bool),
    Struct { by_number: BTreeMap<i8, u8> },
}

#[test]
fn an_adjacently_tagged_content_is_read_as_what_it_is_though_it_stands_before_its_tag() {
    round_trip(&[
        Adjacent::Nothing,
        Adjacent::Map([(7, 1)].into()),
        Adjacent::Tuple(-1, true),
        Adjacent::Struct {
            by_number: [(-1, 1)].into(),
        },
    ]);
    let map = |entries: &[(&str, Value)]| {
        let entries = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        decode::<Adjacent>(&encode(&Value::Map(entries.collect())).unwrap())
    };
    let numbers = || Value::Map(BTreeMap::from([("7".to_owned(), Value::from(1_u64))]));
    let (what, held) = (("what", Value::from("Map")), ("held", numbers()));
    assert!(map(&[what.clone(), held.clone()]).is_ok());
    assert!(map(&[what.clone(), ("help", numbers())]).is_err());
    assert!(map(&[what.clone(), held.clone(), ("more", Value::Null)]).is_err());
    assert!(map(&[("what", Value::Null), held]).is_err());
    assert_eq!(
        map(&[what]).unwrap_err().to_string(),
        "it has no field held"
    );
}

#[test]
fn json_that_is_not_parsed_is_refused() {
    #[derive(Serialize)]
    #[serde(rename = "$serde_json::private::RawValue")]
    struct RawValue {
        #[serde(rename = "$serde_json::private::RawValue")]
        json: &'static str,
    }
    let error = encode(&[RawValue { json: "1" }]).unwrap_err().to_string();
    assert!(error.contains("insert a `serde_json::Value`"), "{error}");
}

#[test]
fn a_types_form_is_the_one_for_people_in_entries_and_keys_as_in_values() {
    #[derive(PartialEq, Debug)]
    struct Form;
    impl Serialize for Form {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(serializer.is_human_readable());
            serializer.serialize_str("form")
        }
    }
    impl<'de> Deserialize<'de> for Form {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            assert!(deserializer.is_human_readable());
            String::deserialize(deserializer).map(|_| Self)
        }
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct BackendState {
        form: Form,
    }
    round_trip(&BackendState { form: Form });
    assert!(decode::<Keyed<Form>>(&encode(&Keyed(Form)).unwrap()).is_ok());
    let entries = [("form".to_owned(), encode(&Form).unwrap())];
    assert_eq!(decode_entries(&entries), Ok(BackendState { form: Form }));
    assert!(encode_fields(&BackendState { form: Form }).is_ok());
}

#[test]
fn a_value_is_seen_as_its_own_kind_and_as_no_other_and_debug_shows_no_content() {
    let list = vec![Value::from("hunter2"), Value::from(4711_u64)];
    let map = BTreeMap::from([("hunter2".to_owned(), Value::from(4711_u64))]);
    let seen = |value: &Value| {
        [
            value.as_bool().map(Value::from),
            value.as_u64().map(Value::from),
            value.as_i64().map(Value::from),
            value.as_f64().map(Value::from),
            value.as_str().map(Value::from),
            value.as_bytes().map(|bytes| Value::Bytes(bytes.to_vec())),
            value.as_list().map(|items| Value::List(items.to_vec())),
            value.as_map().map(|entries| Value::Map(entries.clone())),
        ]
    };
    for (value, accessors, shown) in [
        (Value::Null, &[][..], "Value(null)"),
        (false.into(), &[0], "Value(boolean)"),
        (4711_u64.into(), &[1, 2], "Value(integer)"),
        (u64::MAX.into(), &[1], "Value(integer)"),
        ((-4711_i64).into(), &[2], "Value(integer)"),
        (47.11.into(), &[3], "Value(float)"),
        ("hunter2".into(), &[4], "Value(string, 7)"),
        (Value::Bytes(b"hunter2".to_vec()), &[5], "Value(bytes, 7)"),
        (list.into(), &[6], "Value(list, 2)"),
        (map.into(), &[7], "Value(map, 1)"),
    ] {
        let mut expected: [Option<Value>; 8] = Default::default();
        for &accessor in accessors {
            expected[accessor] = Some(value.clone());
        }
        assert_eq!(seen(&value), expected);
        assert_eq!(format!("{value:?}"), shown);
    }
}

#[test]
fn what_no_value_can_be_is_told_by_another_formats_reader_too() {
    use serde::de::value::{Error, I128Deserializer};
    let wide = I128Deserializer::<Error>::new(i128::MAX);
    let error = Value::deserialize(wide).unwrap_err().to_string();
    let expected = "expected any value with string keys and integers of 64 bits";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn dropping_a_value_without_lists_in_its_lists_allocates_nothing() {
    let list = Value::from(vec![Value::from("a"), Value::from(1_u64)]);
    let map = Value::from(BTreeMap::from([("k".to_owned(), Value::from("a"))]));
    let dropping = allocation_counter::measure(|| drop((list, map)));
    assert_eq!(dropping.count_total, 0);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::Unsigned),
        (i64::MIN..0).prop_map(Value::Negative),
        any::<f64>().prop_map(Value::Float),
        ".*".prop_map(Value::String),
        any::<Vec<u8>>().prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            prop::collection::btree_map(".*", inner, 0..8).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(value in any_value()) {
        let bytes = encode(&value).unwrap();
        let back: Value = decode(&bytes).unwrap();
        prop_assert_eq!(encode(&back).unwrap(), bytes);
    }

    #[test]
    fn whatever_decodes_encodes_back_to_the_same_bytes(bytes in any::<Vec<u8>>()) {
        if let Ok(value) = decode::<Value>(&bytes) {
            prop_assert_eq!(&encode(&value).unwrap()[..], &bytes[..]);
        }
    }
}
