//! A struct as entries of a session: each of its fields an entry, the others no concern of its.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::Serialize;
use zeroize::Zeroizing;

use super::de::{Decoder, Key, checked};
use super::{Value, ValueError, encode, ser};

type Bytes = Zeroizing<Vec<u8>>;

/// Reads a `T` from entries. A struct is shown only those that it has fields for.
pub(crate) fn decode_entries<T: DeserializeOwned>(
    entries: &[(String, Bytes)],
) -> Result<T, ValueError> {
    T::deserialize(Entries {
        rest: entries,
        fields: None,
    })
}

/// The fields of `value` as entries. One that `value` leaves out when it is serialized is
/// `None`: its entry is to be removed.
pub(crate) fn encode_entries<T: Serialize + DeserializeOwned>(
    value: &T,
) -> Result<BTreeMap<String, Option<Bytes>>, ValueError> {
    let mut value = ser::to_value(value)?;
    let Value::Map(fields) = &mut value else {
        let problem = format!(
            "it is of the kind {}, not a struct with named fields",
            value.kind()
        );
        return Err(ValueError::Mismatch(problem));
    };
    let mut entries: BTreeMap<_, _> = field_names::<T>()
        .iter()
        .map(|name| ((*name).to_owned(), None))
        .collect();
    for (name, field) in std::mem::take(fields) {
        let bytes = encode(&field).map_err(|error| error.within(&name))?;
        entries.insert(name, Some(bytes));
    }
    Ok(entries)
}

/// The names that a struct reads, aliases included; none for a type that reads any.
fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    // It fails whatever `T` is; what it left behind counts.
    let _ = T::deserialize(Names(&mut names));
    names
}

impl ValueError {
    fn within(self, name: &str) -> Self {
        Self::Mismatch(format!("{name:?}: {self}"))
    }
}

/// Entries that are still to be read.
struct Entries<'de> {
    rest: &'de [(String, Bytes)],
    /// Those to show; `None` for all.
    fields: Option<&'static [&'static str]>,
}

impl<'de> Deserializer<'de> for Entries<'de> {
    type Error = ValueError;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_map(Access {
            entries: self,
            next: None,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.fields = Some(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Access<'de> {
    entries: Entries<'de>,
    /// The entry whose name was read and whose value was not.
    next: Option<&'de (String, Bytes)>,
}

impl<'de> MapAccess<'de> for Access<'de> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        while let Some((entry, rest)) = self.entries.rest.split_first() {
            self.entries.rest = rest;
            let name = entry.0.as_str();
            if self
                .entries
                .fields
                .is_none_or(|fields| fields.contains(&name))
            {
                self.next = Some(entry);
                return seed.deserialize(Key(name)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, ValueError> {
        let (name, bytes) = self.next.take().ok_or(ValueError::Malformed)?;
        let value = checked(bytes)
            .map_err(ValueError::from)
            .and_then(|mut reader| seed.deserialize(Decoder(&mut reader)));
        value.map_err(|error| error.within(name))
    }
}

/// Hears which fields a struct asks for, and gives it none.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ValueError> {
        Err(Error::custom("there is nothing to read"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
