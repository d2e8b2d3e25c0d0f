//! Deserializes the bytes of a [`Value`](super::Value) into any serde type, without building a
//! value in between.

use std::fmt::Display;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{MAX_DEPTH, ValueError, tag};
use crate::reader::{Malformed, Reader};

/// Reads `bytes` as a `T`.
///
/// Malformed bytes are refused even where `T` does not look. Any other error means that the types
/// differ.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ValueError> {
    if matches!(bytes, [tag::LIST | tag::MAP, ..]) {
        return T::deserialize(Decoder(&mut checked(bytes)?));
    }
    // A value that holds no others is checked by the reading itself, if it is read to its end.
    let mut reader = Reader::new(bytes);
    let value = T::deserialize(Decoder(&mut reader));
    if value.is_err() || reader.finish().is_err() {
        checked(bytes)?;
    }
    value
}

/// Checks that `bytes` are one canonical value, and returns a reader of them.
pub(super) fn checked(bytes: &[u8]) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    check(&mut reader, 0)?;
    reader.finish()?;
    Ok(Reader::new(bytes))
}

/// Skips one canonical value. Recursion ends at [`MAX_DEPTH`].
fn check(reader: &mut Reader<'_>, depth: usize) -> Result<(), Malformed> {
    match reader.byte()? {
        tag::NULL => {}
        tag::BOOL => {
            truth(reader)?;
        }
        tag::UNSIGNED => {
            reader.varint()?;
        }
        tag::NEGATIVE => {
            negative(reader)?;
        }
        tag::FLOAT => {
            reader.array::<8>()?;
        }
        tag::STRING => {
            reader.str()?;
        }
        tag::BYTES => {
            reader.bytes()?;
        }
        tag::LIST if depth < MAX_DEPTH => {
            for _ in 0..reader.count()? {
                check(reader, depth + 1)?;
            }
        }
        tag::MAP if depth < MAX_DEPTH => {
            let mut last = None;
            for _ in 0..reader.count()? {
                let key = reader.str()?;
                if last.is_some_and(|last| last >= key) {
                    return Err(Malformed);
                }
                last = Some(key);
                check(reader, depth + 1)?;
            }
        }
        _ => return Err(Malformed),
    }
    Ok(())
}

fn truth(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

fn negative(reader: &mut Reader<'_>) -> Result<i64, Malformed> {
    let value = reader.signed()?;
    if value < 0 { Ok(value) } else { Err(Malformed) }
}

/// serde's own messages quote the value. Ours name its kind.
fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a float",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a map",
        _ => "another kind",
    }
}

impl Error for ValueError {
    fn custom<T: Display>(_: T) -> Self {
        Self::Mismatch("its type refuses what is stored".to_owned())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Mismatch(format!("it is {}, not {expected}", kind(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Mismatch(format!(
            "it is {} out of range for {expected}",
            kind(&found)
        ))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::Mismatch(format!("it has {length} items, not {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Mismatch(format!(
            "it is none of the variants {}",
            expected.join(", ")
        ))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Mismatch(format!("it has a field besides {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Mismatch(format!("it has the field {field} twice"))
    }
}

/// Deserializes the next value of a reader.
pub(super) struct Decoder<'r, 'de>(pub(super) &'r mut Reader<'de>);

impl<'de> Decoder<'_, 'de> {
    /// serde's visitors for text also take bytes, and those for bytes also take text. A value is
    /// one or the other.
    fn any_but<V: Visitor<'de>>(
        self,
        tag: u8,
        found: Unexpected<'_>,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        if self.0.peek()? == tag {
            Err(Error::invalid_type(found, &visitor))
        } else {
            self.deserialize_any(visitor)
        }
    }

    /// An integer as a float, if the float is exact. serde's own conversion rounds.
    fn exact_float(self, expected: &dyn Expected) -> Result<f64, ValueError> {
        const EXACT: i128 = 1 << 53;
        let integer = match self.0.byte()? {
            tag::UNSIGNED => i128::from(self.0.varint()?),
            _ => i128::from(negative(self.0)?),
        };
        if integer.abs() <= EXACT {
            Ok(integer as f64)
        } else {
            Err(Error::invalid_value(Unexpected::Signed(0), expected))
        }
    }
}

impl<'de> Deserializer<'de> for Decoder<'_, 'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let reader = self.0;
        match reader.byte()? {
            tag::NULL => visitor.visit_unit(),
            tag::BOOL => visitor.visit_bool(truth(reader)?),
            tag::UNSIGNED => visitor.visit_u64(reader.varint()?),
            tag::NEGATIVE => visitor.visit_i64(negative(reader)?),
            tag::FLOAT => visitor.visit_f64(f64::from_le_bytes(reader.array()?)),
            tag::STRING => visitor.visit_borrowed_str(reader.str()?),
            tag::BYTES => visitor.visit_borrowed_bytes(reader.bytes()?),
            tag::LIST => {
                let length = reader.count()?;
                let mut items = Items {
                    remaining: length,
                    reader,
                };
                let value = visitor.visit_seq(&mut items)?;
                items.finish(length, value)
            }
            tag::MAP => {
                let length = reader.count()?;
                let mut items = Items {
                    remaining: length,
                    reader,
                };
                let value = visitor.visit_map(&mut items)?;
                items.finish(length, value)
            }
            _ => Err(ValueError::Malformed),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.any_but(tag::BYTES, Unexpected::Bytes(&[]), visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.any_but(tag::STRING, Unexpected::Str(""), visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if self.0.peek()? == tag::NULL {
            self.0.byte()?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self.0.peek()? {
            tag::STRING => {
                self.0.byte()?;
                visitor.visit_enum(BorrowedStrDeserializer::new(self.0.str()?))
            }
            tag::MAP => {
                self.0.byte()?;
                match self.0.count()? {
                    1 => visitor.visit_enum(Variant(self.0)),
                    length => Err(Error::invalid_length(length, &"a variant with its content")),
                }
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0.peek()? {
            tag::UNSIGNED | tag::NEGATIVE => {
                let value = self.exact_float(&visitor)?;
                visitor.visit_f64(value)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let value = match self.0.peek()? {
            tag::UNSIGNED | tag::NEGATIVE => self.exact_float(&visitor)?,
            tag::FLOAT => {
                self.0.byte()?;
                f64::from_le_bytes(self.0.array()?)
            }
            _ => return self.deserialize_any(visitor),
        };
        match narrowed(value) {
            Some(narrow) => visitor.visit_f32(narrow),
            None => Err(Error::invalid_value(Unexpected::Float(value), &visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match Turned::read(self.0, fields)? {
            Some(mut entries) => {
                let value = visitor.visit_map(&mut entries)?;
                *self.0 = entries.end;
                Ok(value)
            }
            None => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// `value` as an `f32`, if it is one exactly or is the shortest decimal of one: JSON has 0.1 for
/// 0.1_f32.
fn narrowed(value: f64) -> Option<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the next lines ask whether it was"
    )]
    let narrow = value as f32;
    let is_exact = f64::from(narrow).to_bits() == value.to_bits() || value.is_nan();
    let is_its_decimal = || narrow.to_string().parse() == Ok(value);
    (is_exact || is_its_decimal()).then_some(narrow)
}

/// A map of two entries, in the order of its struct's fields.
///
/// serde's derive reads an adjacently tagged enum as a struct with a tag and a content. If the tag
/// comes first, serde reads the content directly. Otherwise it goes through its buffer, which
/// cannot hold everything. Our entries are sorted by name, so the tag may come second.
struct Turned<'de> {
    /// The struct's first field comes last, so that `pop` returns it first.
    entries: Vec<(&'de str, Reader<'de>)>,
    value: Option<Reader<'de>>,
    end: Reader<'de>,
}

impl<'de> Turned<'de> {
    /// `None` if this is anything else, or is already in the struct's order.
    fn read(
        reader: &Reader<'de>,
        fields: &'static [&'static str],
    ) -> Result<Option<Self>, Malformed> {
        let &[first, second] = fields else {
            return Ok(None);
        };
        let mut reader = reader.clone();
        if reader.byte()? != tag::MAP || reader.count()? != 2 || reader.str()? != second {
            return Ok(None);
        }
        let of_second = reader.clone();
        check(&mut reader, 0)?;
        if reader.str()? != first {
            return Ok(None);
        }
        let of_first = reader.clone();
        check(&mut reader, 0)?;
        Ok(Some(Self {
            entries: vec![(second, of_second), (first, of_first)],
            value: None,
            end: reader,
        }))
    }
}

impl<'de> MapAccess<'de> for &mut Turned<'de> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        let Some((key, value)) = self.entries.pop() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(Key(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, ValueError> {
        let value = self.value.as_mut().ok_or(Malformed)?;
        seed.deserialize(Decoder(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// The unread items of a list, or the unread entries of a map.
struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    remaining: usize,
}

impl Items<'_, '_> {
    fn next(&mut self) -> bool {
        match self.remaining.checked_sub(1) {
            Some(remaining) => {
                self.remaining = remaining;
                true
            }
            None => false,
        }
    }

    /// Fails if the visitor stopped early: the rest of the data would be lost without notice.
    fn finish<T>(self, length: usize, value: T) -> Result<T, ValueError> {
        if self.remaining == 0 {
            Ok(value)
        } else {
            Err(Error::invalid_length(length, &"as many as its type has"))
        }
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        if self.next() {
            seed.deserialize(Decoder(self.reader)).map(Some)
        } else {
            Ok(None)
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.remaining)
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        if self.next() {
            seed.deserialize(Key(self.reader.str()?)).map(Some)
        } else {
            Ok(None)
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, ValueError> {
        seed.deserialize(Decoder(self.reader))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.remaining)
    }
}

/// A variant with content: the name, then a value.
struct Variant<'r, 'de>(&'r mut Reader<'de>);

impl<'r, 'de> EnumAccess<'de> for Variant<'r, 'de> {
    type Error = ValueError;
    type Variant = Decoder<'r, 'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), ValueError> {
        let name = seed.deserialize(Key(self.0.str()?))?;
        Ok((name, Decoder(self.0)))
    }
}

impl<'de> VariantAccess<'de> for Decoder<'_, 'de> {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        serde::Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ValueError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_any(visitor)
    }
}

/// A map's key: text, from which numbers, booleans and unit variants are read again.
pub(super) struct Key<'de>(pub(super) &'de str);

impl Key<'_> {
    /// Takes only JSON's forms of numbers: neither `inf` nor `+1`.
    fn float(&self) -> Option<f64> {
        let digits = self.0.strip_prefix('-').unwrap_or(self.0);
        let is_number = digits.starts_with(|first: char| first.is_ascii_digit());
        self.0
            .parse()
            .ok()
            .filter(|value: &f64| is_number && value.is_finite())
    }
}

macro_rules! key_from_text {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            match self.0.parse::<$type>() {
                // `+7` and `07` are different keys from `7`.
                Ok(value) if value.to_string() == self.0 => visitor.$visit(value),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_borrowed_str(self.0)
    }

    key_from_text! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_u128 visit_u128 u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.float().and_then(narrowed) {
            Some(value) => visitor.visit_f32(value),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.float() {
            Some(value) => visitor.visit_f64(value),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_enum(BorrowedStrDeserializer::new(self.0))
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}
