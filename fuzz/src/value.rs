//! The values' decoder and encoder against slow ones, without types and with them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use sealed_session::Value;
use sealed_session::fuzzing::{decode_value, encode_value};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::measure::{OnASmallStack, allocated};
use crate::reference::{MAX_DEPTH, read_value, value_bytes};

static CHECK: LazyLock<OnASmallStack> = LazyLock::new(|| OnASmallStack::new(check));

/// `data`: once the bytes of an entry, and once what a value is grown from.
pub fn value(data: &[u8]) {
    CHECK.run(data);
}

fn check(data: &[u8]) {
    decoding(data);
    encoding(&mut Unstructured::new(data));
}

fn decoding(data: &[u8]) {
    let (read, memory) = allocated(|| decode_value::<Value>(data));
    let room = 256 * data.len() as u64 + 256;
    assert!(memory <= room, "{memory} bytes for {} of input", data.len());
    let expected = read_value(data);
    assert_eq!(read.is_ok(), expected.is_some(), "{:?}", read.err());
    let (skipped, memory) = allocated(|| decode_value::<IgnoredAny>(data));
    assert_eq!(skipped.is_ok(), expected.is_some());
    assert!(memory <= 256, "{memory} bytes for looking at nothing");

    if let (Ok(read), Some(expected)) = (&read, &expected) {
        assert_eq!(value_bytes(read), value_bytes(expected));
        assert_eq!(value_bytes(read), data, "whatever decodes has one encoding");
        assert_eq!(encode_value(read).as_deref(), Ok(data));
    }
    typed(data, expected.as_ref());
}

/// Reads the entry as types that have one form each, then as types that leave something open.
fn typed(data: &[u8], value: Option<&Value>) {
    let integer = value.and_then(|value| match value {
        Value::Unsigned(n) => Some(i128::from(*n)),
        Value::Negative(n) => Some(i128::from(*n)),
        _ => None,
    });
    fn is<T: DeserializeOwned + Serialize + Debug>(data: &[u8], expected: bool) {
        let read = decode_value::<T>(data);
        assert_eq!(read.is_ok(), expected, "{read:?}");
        if let Ok(read) = read {
            assert_eq!(encode_value(&read).as_deref(), Ok(data), "{read:?}");
        }
    }
    macro_rules! integers {
        ($($type:ty),*) => {$(
            is::<$type>(data, integer.is_some_and(|n| <$type>::try_from(n).is_ok()));
        )*};
    }
    integers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);
    is::<bool>(data, matches!(value, Some(Value::Bool(_))));
    is::<()>(data, matches!(value, Some(Value::Null)));
    is::<String>(data, matches!(value, Some(Value::String(_))));
    let chars = value
        .and_then(Value::as_str)
        .map(|text| text.chars().count());
    is::<char>(data, chars == Some(1));
    if matches!(value, Some(Value::String(_))) {
        assert!(decode_value::<ByteBuf>(data).is_err(), "text is not bytes");
    }
    let keys = value.and_then(Value::as_map).map(|map| map.keys());
    let is_written_so = |key: &String| key.parse().is_ok_and(|n: i64| n.to_string() == *key);
    is::<BTreeMap<i64, Value>>(data, keys.is_some_and(|mut keys| keys.all(is_written_so)));

    let exact = integer.filter(|n| n.unsigned_abs() <= 1 << 53);
    let float = value.and_then(Value::as_f64).or(exact.map(|n| n as f64));
    match decode_value::<f64>(data) {
        Ok(read) => assert_eq!(Some(read.to_bits()), float.map(f64::to_bits)),
        Err(_) => assert!(float.is_none()),
    }

    survives::<f32>(data);
    survives::<ByteBuf>(data);
    survives::<Option<u64>>(data);
    survives::<Vec<u8>>(data);
    survives::<Vec<Option<String>>>(data);
    survives::<(u8, bool, String)>(data);
    survives::<BTreeMap<String, u64>>(data);
    survives::<BTreeMap<bool, Value>>(data);
    survives::<Struct>(data);
    survives::<Strict>(data);
    survives::<Variants>(data);
    survives::<Untagged>(data);
    survives::<Tagged>(data);
    survives::<Adjacent>(data);
    survives::<Flattened>(data);
}

/// What was read as a `T` is stored and read again as the same `T`.
fn survives<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(read) = decode_value::<T>(data) else {
        return;
    };
    let stored = encode_value(&read).expect("what was read can be stored");
    let again = decode_value::<T>(&stored).expect("what was stored can be read");
    assert_eq!(encode_value(&again), Ok(stored));
}

#[derive(Serialize, Deserialize)]
struct Struct {
    a: u8,
    b: Option<String>,
    #[serde(default)]
    c: Vec<Struct>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    a: i64,
}

#[derive(Serialize, Deserialize)]
enum Variants {
    Unit,
    Newtype(Box<Variants>),
    Tuple(u8, String),
    Struct { a: Option<bool> },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text(String),
    List(Vec<Untagged>),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "b")]
enum Tagged {
    Unit,
    Struct { a: Option<ByteBuf> },
}

/// Its content is stored before its tag.
#[derive(Serialize, Deserialize)]
#[serde(tag = "b", content = "a")]
enum Adjacent {
    Unit,
    Numbers(BTreeMap<u64, f32>),
}

#[derive(Serialize, Deserialize)]
struct Flattened {
    a: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// A value of any shape is stored as the reference stores it, unless it is nested too deep.
fn encoding(input: &mut Unstructured<'_>) {
    let (value, depth) = grow(input);
    let stored = encode_value(&value);
    assert_eq!(stored.is_ok(), depth <= MAX_DEPTH, "{depth} levels");
    if let Ok(stored) = stored {
        assert_eq!(stored, value_bytes(&value));
        assert_eq!(
            decode_value::<Value>(&stored).map(|v| value_bytes(&v)),
            Ok(stored)
        );
    }
}

/// A value from a stack of parts: each step puts one on it or wraps what lies on it. Returns the
/// value and how deep it is.
fn grow(input: &mut Unstructured<'_>) -> (Value, usize) {
    let mut parts = Vec::new();
    while !input.is_empty() {
        let part = step(input, &mut parts).unwrap_or((Value::Null, 0));
        parts.push(part);
    }
    wrap(parts, Value::List)
}

fn step(
    input: &mut Unstructured<'_>,
    parts: &mut Vec<(Value, usize)>,
) -> arbitrary::Result<(Value, usize)> {
    let leaf = match input.int_in_range(0..=8_u8)? {
        0 => Value::Null,
        1 => Value::Bool(bool::arbitrary(input)?),
        2 => Value::Unsigned(u64::arbitrary(input)?),
        3 => Value::from(i64::arbitrary(input)?),
        4 => Value::Float(f64::arbitrary(input)?),
        5 => Value::String(String::arbitrary(input)?),
        6 => Value::Bytes(Vec::arbitrary(input)?),
        kind => {
            let n = usize::from(u8::arbitrary(input)?).min(parts.len());
            let inside = parts.split_off(parts.len() - n);
            if kind == 7 {
                return Ok(wrap(inside, Value::List));
            }
            let keyed = inside.into_iter().enumerate();
            let (entries, depth) =
                keyed.fold((BTreeMap::new(), 0), |(mut map, depth), (n, part)| {
                    map.insert(format!("{n:b}"), part.0);
                    (map, depth.max(part.1))
                });
            return Ok((Value::Map(entries), depth + 1));
        }
    };
    Ok((leaf, 0))
}

fn wrap(parts: Vec<(Value, usize)>, list: fn(Vec<Value>) -> Value) -> (Value, usize) {
    let depth = parts.iter().map(|part| part.1).max().unwrap_or(0);
    (
        list(parts.into_iter().map(|part| part.0).collect()),
        depth + 1,
    )
}
