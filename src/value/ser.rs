//! Serializes any serde type into the bytes of a [`Value`].

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::ser::{
    Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct,
    SerializeStructVariant, SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
    Serializer,
};
use zeroize::Zeroizing;

use super::{MAX_DEPTH, Value, ValueError, too_deep};

/// The canonical bytes of `value`.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Zeroizing<Vec<u8>>, ValueError> {
    let value = to_value(value)?;
    postcard::to_allocvec(&Wire(&value))
        .map(Zeroizing::new)
        .map_err(|_| ValueError::Mismatch("it could not be written".to_owned()))
}

pub(super) fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ValueError> {
    value.serialize(ToValue { depth: 0 })
}

/// A value as the wire's enum: the variant's number, then the content.
struct Wire<'a>(&'a Value);

impl Serialize for Wire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const NAME: &str = "Value";
        match self.0 {
            Value::Null => serializer.serialize_unit_variant(NAME, 0, "Null"),
            Value::Bool(v) => serializer.serialize_newtype_variant(NAME, 1, "Bool", v),
            Value::Unsigned(v) => serializer.serialize_newtype_variant(NAME, 2, "Unsigned", v),
            Value::Negative(v) => serializer.serialize_newtype_variant(NAME, 3, "Negative", v),
            Value::Float(v) => serializer.serialize_newtype_variant(NAME, 4, "Float", v),
            Value::String(v) => serializer.serialize_newtype_variant(NAME, 5, "String", v),
            Value::Bytes(v) => {
                serializer.serialize_newtype_variant(NAME, 6, "Bytes", &WireBytes(v))
            }
            Value::List(v) => serializer.serialize_newtype_variant(NAME, 7, "List", &WireList(v)),
            Value::Map(v) => serializer.serialize_newtype_variant(NAME, 8, "Map", &WireMap(v)),
        }
    }
}

struct WireBytes<'a>(&'a [u8]);

impl Serialize for WireBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct WireList<'a>(&'a [Value]);

impl Serialize for WireList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Wire))
    }
}

struct WireMap<'a>(&'a BTreeMap<String, Value>);

impl Serialize for WireMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, Wire(value))))
    }
}

/// A type's own message may quote the data that it refused, so the message is dropped.
impl Error for ValueError {
    fn custom<T: Display>(_: T) -> Self {
        Self::Mismatch("its type refuses to be serialized".to_owned())
    }
}

fn beyond_64_bits() -> ValueError {
    ValueError::Mismatch("it holds an integer beyond 64 bits".to_owned())
}

/// The name of `serde_json::value::RawValue` in serde. Only JSON can be read back into that type.
const RAW_JSON: &str = "$serde_json::private::RawValue";

/// Serializes into a [`Value`] that is inside of `depth` lists and maps.
#[derive(Clone, Copy)]
struct ToValue {
    depth: usize,
}

impl ToValue {
    fn inside(self) -> Result<Self, ValueError> {
        if self.depth == MAX_DEPTH {
            Err(too_deep())
        } else {
            Ok(Self {
                depth: self.depth + 1,
            })
        }
    }

    fn list(self) -> Result<List, ValueError> {
        Ok(List {
            items: Vec::new(),
            inside: self.inside()?,
        })
    }

    fn map(self) -> Result<Map, ValueError> {
        Ok(Map {
            entries: BTreeMap::new(),
            key: None,
            keys: Keys::default(),
            inside: self.inside()?,
        })
    }
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = Variant<List>;
    type SerializeMap = Map;
    type SerializeStruct = Map;
    type SerializeStructVariant = Variant<Map>;

    fn serialize_bool(self, v: bool) -> Result<Value, ValueError> {
        Ok(Value::Bool(v))
    }

    fn serialize_i8(self, v: i8) -> Result<Value, ValueError> {
        Ok(i64::from(v).into())
    }

    fn serialize_i16(self, v: i16) -> Result<Value, ValueError> {
        Ok(i64::from(v).into())
    }

    fn serialize_i32(self, v: i32) -> Result<Value, ValueError> {
        Ok(i64::from(v).into())
    }

    fn serialize_i64(self, v: i64) -> Result<Value, ValueError> {
        Ok(v.into())
    }

    fn serialize_i128(self, v: i128) -> Result<Value, ValueError> {
        if let Ok(v) = u64::try_from(v) {
            return Ok(v.into());
        }
        i64::try_from(v)
            .map(Value::from)
            .map_err(|_| beyond_64_bits())
    }

    fn serialize_u8(self, v: u8) -> Result<Value, ValueError> {
        Ok(u64::from(v).into())
    }

    fn serialize_u16(self, v: u16) -> Result<Value, ValueError> {
        Ok(u64::from(v).into())
    }

    fn serialize_u32(self, v: u32) -> Result<Value, ValueError> {
        Ok(u64::from(v).into())
    }

    fn serialize_u64(self, v: u64) -> Result<Value, ValueError> {
        Ok(v.into())
    }

    fn serialize_u128(self, v: u128) -> Result<Value, ValueError> {
        u64::try_from(v)
            .map(Value::from)
            .map_err(|_| beyond_64_bits())
    }

    fn serialize_f32(self, v: f32) -> Result<Value, ValueError> {
        Ok(Value::Float(v.into()))
    }

    fn serialize_f64(self, v: f64) -> Result<Value, ValueError> {
        Ok(Value::Float(v))
    }

    fn serialize_char(self, v: char) -> Result<Value, ValueError> {
        Ok(Value::String(v.into()))
    }

    fn serialize_str(self, v: &str) -> Result<Value, ValueError> {
        Ok(v.into())
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<Value, ValueError> {
        Ok(Value::Bytes(v.to_owned()))
    }

    fn serialize_none(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, ValueError> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        let value = value.serialize(self.inside()?)?;
        Ok(Value::Map(BTreeMap::from([(variant.to_owned(), value)])))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List, ValueError> {
        self.list()
    }

    fn serialize_tuple(self, _: usize) -> Result<List, ValueError> {
        self.list()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List, ValueError> {
        self.list()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Variant<List>, ValueError> {
        Ok(Variant {
            name,
            content: self.inside()?.list()?,
        })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Map, ValueError> {
        let mut map = self.map()?;
        map.keys.are_of_unknown_number = length.is_none();
        Ok(map)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Map, ValueError> {
        if name == RAW_JSON {
            let problem = "it holds JSON that is not parsed; insert a `serde_json::Value`";
            return Err(ValueError::Mismatch(problem.to_owned()));
        }
        self.map()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Variant<Map>, ValueError> {
        Ok(Variant {
            name,
            content: self.inside()?.map()?,
        })
    }
}

struct List {
    items: Vec<Value>,
    inside: ToValue,
}

impl List {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.items.push(value.serialize(self.inside)?);
        Ok(())
    }

    fn finish(self) -> Value {
        Value::List(self.items)
    }
}

struct Map {
    entries: BTreeMap<String, Value>,
    key: Option<String>,
    keys: Keys,
    inside: ToValue,
}

/// The kinds of keys in a map.
///
/// A type that asks for numbers or booleans parses them from the text of the keys. serde's buffer
/// for flattened fields and internally tagged enums does not: it returns each key as it found it.
#[derive(Default)]
struct Keys {
    have_text: bool,
    have_others: bool,
    /// serde's derive writes a struct with flattened fields this way.
    are_of_unknown_number: bool,
}

impl Keys {
    fn check(&self) -> Result<(), ValueError> {
        if self.have_others && (self.have_text || self.are_of_unknown_number) {
            let problem = "it has a map with numbers or truth values for keys, flattened or in an \
                           internally tagged enum, where serde cannot read them back; give the map \
                           a field of its own, or keys of text";
            return Err(ValueError::Mismatch(problem.to_owned()));
        }
        Ok(())
    }
}

impl Map {
    fn put<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), ValueError> {
        let value = value.serialize(self.inside)?;
        match self.entries.insert(key, value) {
            None => Ok(()),
            Some(_) => Err(ValueError::Mismatch(
                "it is a map that has one key twice".to_owned(),
            )),
        }
    }

    fn finish(self) -> Value {
        Value::Map(self.entries)
    }
}

struct Variant<C> {
    name: &'static str,
    content: C,
}

fn variant(name: &str, content: Value) -> Value {
    Value::Map(BTreeMap::from([(name.to_owned(), content)]))
}

impl SerializeSeq for List {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.push(value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

impl SerializeTuple for List {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.push(value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

impl SerializeTupleStruct for List {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.push(value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

impl SerializeTupleVariant for Variant<List> {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.content.push(value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(variant(self.name, self.content.finish()))
    }
}

impl SerializeMap for Map {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        self.key = Some(key.serialize(ToKey(&mut self.keys))?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        let key = self
            .key
            .take()
            .ok_or_else(|| ValueError::custom("value before key"))?;
        self.put(key, value)
    }

    fn end(self) -> Result<Value, ValueError> {
        self.keys.check()?;
        Ok(self.finish())
    }
}

impl SerializeStruct for Map {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ValueError> {
        self.put(name.to_owned(), value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

impl SerializeStructVariant for Variant<Map> {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ValueError> {
        self.content.put(name.to_owned(), value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(variant(self.name, self.content.finish()))
    }
}

/// A map's key as text, in JSON's manner: numbers, booleans and unit variants by name.
struct ToKey<'a>(&'a mut Keys);

fn not_a_key() -> ValueError {
    ValueError::Mismatch("it has a map whose keys are neither text nor numbers".to_owned())
}

impl ToKey<'_> {
    fn float(self, is_finite: bool, text: String) -> Result<String, ValueError> {
        if !is_finite {
            return Err(not_a_key());
        }
        self.0.have_others = true;
        Ok(text)
    }
}

macro_rules! key_as_text {
    ($kind:ident, $($method:ident: $type:ty),*) => {$(
        fn $method(self, v: $type) -> Result<String, ValueError> {
            self.0.$kind = true;
            Ok(v.to_string())
        }
    )*};
}

impl Serializer for ToKey<'_> {
    type Ok = String;
    type Error = ValueError;
    type SerializeSeq = Impossible<String, ValueError>;
    type SerializeTuple = Impossible<String, ValueError>;
    type SerializeTupleStruct = Impossible<String, ValueError>;
    type SerializeTupleVariant = Impossible<String, ValueError>;
    type SerializeMap = Impossible<String, ValueError>;
    type SerializeStruct = Impossible<String, ValueError>;
    type SerializeStructVariant = Impossible<String, ValueError>;

    key_as_text!(have_text, serialize_char: char, serialize_str: &str);
    key_as_text!(
        have_others, serialize_bool: bool,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128
    );

    fn serialize_f32(self, v: f32) -> Result<String, ValueError> {
        self.float(v.is_finite(), format!("{v:?}"))
    }

    fn serialize_f64(self, v: f64) -> Result<String, ValueError> {
        self.float(v.is_finite(), format!("{v:?}"))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<String, ValueError> {
        Err(not_a_key())
    }

    fn serialize_none(self) -> Result<String, ValueError> {
        Err(not_a_key())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<String, ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<String, ValueError> {
        Err(not_a_key())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<String, ValueError> {
        Err(not_a_key())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<String, ValueError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<String, ValueError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<String, ValueError> {
        Err(not_a_key())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, ValueError> {
        Err(not_a_key())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, ValueError> {
        Err(not_a_key())
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, ValueError> {
        Err(not_a_key())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, ValueError> {
        Err(not_a_key())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, ValueError> {
        Err(not_a_key())
    }

    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStruct, ValueError> {
        Err(not_a_key())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, ValueError> {
        Err(not_a_key())
    }
}
