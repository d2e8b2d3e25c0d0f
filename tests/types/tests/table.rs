//! The table: each type in everything that can hold it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::{CString, OsString};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{NonZeroI16, NonZeroU64, Saturating, Wrapping};
use std::ops::{Bound, Range, RangeFrom, RangeInclusive, RangeTo};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sealed_session_types::{Exceptions, Refused, Storable};
use sealed_session_types::{as_key, exceptions, is_the_same_as_json, itself};
use serde::{Deserialize, Serialize};

/// Comes back from everything, and JSON of it is the same.
fn always<T: Storable>(values: impl IntoIterator<Item = T>) {
    for value in values {
        assert_eq!(exceptions(&value), [], "{value:?}");
        is_the_same_as_json(&value);
    }
}

/// Comes back from everything, though JSON does not have it or has another form of it.
fn always_but_not_as_json<T: Storable>(values: impl IntoIterator<Item = T>) {
    for value in values {
        assert_eq!(exceptions(&value), [], "{value:?}");
    }
}

fn as_keys<T: Storable>(values: impl IntoIterator<Item = T>) {
    for value in values {
        assert_eq!(as_key(&value), None, "{value:?}");
    }
}

fn parsed<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

#[test]
fn numbers_text_and_truth() {
    always([true, false]);
    always([i8::MIN, 0, i8::MAX]);
    always([u16::MAX]);
    always([i32::MIN]);
    always([i64::MIN, i64::MAX]);
    always([0, u64::MAX]);
    always([usize::MAX]);
    always([0.1_f32, f32::MAX, f32::MIN_POSITIVE, -0.0, 16_777_217.0]);
    always([0.1_f64, f64::MAX, 5e-324, -0.0, 1e300, 2.0]);
    always_but_not_as_json([f32::INFINITY]);
    always_but_not_as_json([f64::INFINITY, f64::NEG_INFINITY]);
    always(['a', 'é', '\0', '🔑']);
    always(["", "text", "\u{0}", "1"].map(str::to_owned));
    always(["boxed".into(), "".into()] as [Box<str>; 2]);
    always([Cow::Borrowed("cow"), Cow::Owned("cow".to_owned())]);
    always([NonZeroU64::MAX]);
    always([NonZeroI16::MIN]);
    always([Wrapping(u32::MAX)]);
    always([Saturating(i8::MIN)]);
    always([Reverse(3_u8)]);

    as_keys([u64::MAX]);
    as_keys([i8::MIN]);
    as_keys([u128::MAX]);
    as_keys([i128::MIN]);
    as_keys([true, false]);
    as_keys(['é']);
    as_keys(["".to_owned(), "text".to_owned()]);
    as_keys([NonZeroU64::MAX]);
    as_keys([Wrapping(7_u8)]);
    as_keys([Some(7_u8)]);
    assert_eq!(as_key(&None::<u8>), Some(Refused::Stored));
    assert_eq!(as_key(&(1, 2)), Some(Refused::Stored));
}

#[test]
fn the_standard_librarys_times_paths_addresses_and_ranges() {
    always([Duration::ZERO, Duration::new(u64::MAX, 999_999_999)]);
    always([
        UNIX_EPOCH,
        UNIX_EPOCH + Duration::from_millis(1_700_000_000_001),
    ]);
    always([PathBuf::from("/tmp/é"), PathBuf::new()]);
    always([OsString::from("os")]);
    always([
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ]);
    always([Ipv4Addr::BROADCAST]);
    always([Ipv6Addr::UNSPECIFIED]);
    always([parsed::<SocketAddr>("127.0.0.1:80"), parsed("[::1]:443")]);
    always([parsed::<SocketAddrV4>("127.0.0.1:80")]);
    always([parsed::<SocketAddrV6>("[::1]:443")]);
    always([Range { start: 1, end: 5 }]);
    always([RangeInclusive::new(-1, 5)]);
    always([RangeFrom { start: 'a' }]);
    always([RangeTo { end: 5_u8 }]);
    always([Bound::Unbounded, Bound::Included(1), Bound::Excluded(2)]);
    always([Ok(1), Err("no".to_owned())] as [Result<u8, String>; 2]);

    as_keys([parsed::<IpAddr>("::1")]);
    as_keys([parsed::<SocketAddr>("[::1]:443")]);
    as_keys([PathBuf::from("/tmp")]);
}

#[test]
fn the_standard_librarys_collections_and_pointers() {
    always([Vec::<u8>::new(), vec![1, 255]]);
    always([[1_u8, 2, 3]]);
    always([[0_u16; 32]]);
    always([(1_u8, "x".to_owned(), [true])]);
    always([VecDeque::from([1, 2])]);
    always([LinkedList::from([1, 2])]);
    always([BTreeSet::from(["b".to_owned(), "a".to_owned()])]);
    always([HashSet::from([1])]);
    always([BTreeMap::from([(
        "a".to_owned(),
        BTreeMap::from([('b', 1)]),
    )])]);
    always([HashMap::from([("a".to_owned(), 1), ("7".to_owned(), 2)])]);
    always([BTreeMap::<u64, u8>::new()]);
    always([Box::new(1)]);
    always([vec![1, 2].into_boxed_slice()]);
    always([Rc::new("rc".to_owned())]);
    always([Arc::<str>::from("arc")]);
    always([Arc::new([1_u8, 2])]);
    always([Cell::new(7)]);
    always([RefCell::new("cell".to_owned())]);
    // These cannot be compared, or have another order each time.
    let heap = BinaryHeap::from([1, 3, 2]).into_sorted_vec();
    always([heap]);
    always([Locked(Arc::new(Mutex::new(1)), Arc::new(RwLock::new(2)))]);
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Locked(Arc<Mutex<u8>>, Arc<RwLock<u8>>);

impl PartialEq for Locked {
    fn eq(&self, other: &Self) -> bool {
        let values = |locked: &Self| (*locked.0.lock().unwrap(), *locked.1.read().unwrap());
        values(self) == values(other)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
struct Newtype(u64);

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Pair(i8, String);

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Struct {
    some_number: u32,
    some_text: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    a_list: Vec<Newtype>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Shape {
    APoint,
    Circle(u32),
    Line(i8, i8),
    Rectangle { wide: u64, high: Option<u64> },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(into = "u8", try_from = "u8")]
struct Even(u8);

impl From<Even> for u8 {
    fn from(even: Even) -> Self {
        even.0
    }
}

impl TryFrom<u8> for Even {
    type Error = &'static str;

    fn try_from(n: u8) -> Result<Self, Self::Error> {
        if n.is_multiple_of(2) {
            Ok(Self(n))
        } else {
            Err("odd")
        }
    }
}

#[test]
fn structs_and_enums_of_every_kind() {
    always([Newtype(u64::MAX)]);
    always([Pair(-1, "pair".to_owned())]);
    let made = |some_text, a_list| Struct {
        some_number: 7,
        some_text,
        a_list,
    };
    always([
        made(None, vec![]),
        made(Some("text".to_owned()), vec![Newtype(1)]),
    ]);
    always([
        Shape::APoint,
        Shape::Circle(3),
        Shape::Line(-1, 1),
        Shape::Rectangle {
            wide: u64::MAX,
            high: None,
        },
    ]);
    always([Even(4)]);
    as_keys([Newtype(7)]);
    as_keys([Shape::APoint]);
    as_keys([Even(4)]);
    assert_eq!(as_key(&Shape::Circle(3)), Some(Refused::Stored));
    assert_eq!(as_key(&Unit), Some(Refused::Stored));

    assert_eq!(itself(&made(None, vec![])), [None, None]);
    assert_eq!(itself(&Shape::Circle(3)), [None, None]);
    assert_eq!(itself(&BTreeMap::from([("a".to_owned(), 1)])), [None, None]);
    assert_eq!(itself(&Newtype(1)), [Some(Refused::Stored); 2]);
    assert_eq!(itself(&vec![1]), [Some(Refused::Stored); 2]);
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Nothings {
    unit: (),
    named: Unit,
    marker: PhantomData<u8>,
    none: Option<u8>,
    list: Vec<()>,
}

/// `None`, `()` and unit structs are one and the same null: by itself it is no entry, and in
/// something it comes back wherever it is not asked which of them it was.
#[test]
fn nothing_is_the_same_whatever_its_type() {
    always([Nothings {
        unit: (),
        named: Unit,
        marker: PhantomData,
        none: None,
        list: vec![(); 3],
    }]);
    let session = sealed_session::Session::new();
    for (written, read) in [
        (Some(Some(1)), Some(Some(1))),
        (Some(None), None),
        (None, None),
    ] {
        session.insert("nested", [written]).unwrap();
        assert_eq!(session.get("nested"), Ok(Some([read])));
    }
    session.insert("nested", [Some(())]).unwrap();
    assert_eq!(session.get("nested"), Ok(Some([None::<()>])));
}

#[test]
fn crates_for_times() {
    always([
        time::macros::datetime!(2024-02-29 12:00:00.123456789 +05:30),
        time::OffsetDateTime::UNIX_EPOCH,
    ]);
    always([time::macros::datetime!(2024-02-29 12:00)]);
    always([time::macros::date!(2024 - 02 - 29)]);
    always([time::macros::time!(23:59:59.5)]);
    always([time::Duration::new(-5, -7)]);
    always([time::Month::May]);
    always([time::Weekday::Sunday]);
    always([time::macros::offset!(-01:30)]);

    let moment = chrono::DateTime::from_timestamp(1_700_000_000, 123_456_789).unwrap();
    always([moment]);
    always([moment.fixed_offset()]);
    always([moment.naive_utc()]);
    always([moment.date_naive()]);
    always([moment.time()]);
    always([chrono::TimeDelta::seconds(-7)]);
    always([chrono::Weekday::Sun]);
    always([chrono::Month::May]);

    let moment = jiff::Timestamp::new(1_700_000_000, 123_456_789).unwrap();
    always([moment]);
    always([moment.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(-5)))]);
    always([jiff::civil::datetime(2024, 2, 29, 12, 0, 0, 5)]);
    always([jiff::civil::date(-1, 2, 28)]);
    always([jiff::civil::time(23, 59, 59, 0)]);
    always([jiff::SignedDuration::new(-5, -7)]);
    always([Span(jiff::Span::new().days(3).minutes(90))]);

    always([Human(
        Duration::from_secs(90),
        UNIX_EPOCH + Duration::from_secs(5),
    )]);
    always([parsed::<toml_datetime::Datetime>("1979-05-27T07:32:00Z")]);

    as_keys([time::macros::date!(2024 - 02 - 29)]);
    as_keys([chrono::NaiveDate::MIN]);
    as_keys([moment]);
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Span(jiff::Span);

impl PartialEq for Span {
    fn eq(&self, other: &Self) -> bool {
        self.0.fieldwise() == other.0.fieldwise()
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Human(
    #[serde(with = "humantime_serde")] Duration,
    #[serde(with = "humantime_serde")] SystemTime,
);

#[test]
fn crates_for_identifiers_addresses_and_text() {
    let uuid = uuid::Uuid::from_u128(0x0123_4567_89ab_cdef);
    always([uuid, uuid::Uuid::nil()]);
    always([uuid.simple()]);
    always([uuid::NonNilUuid::new(uuid).unwrap()]);
    always([ulid::Ulid(7)]);
    always([parsed::<url::Url>("https://user@example.com:8443/a?b=c#d")]);
    always([
        url::Host::parse("example.com").unwrap(),
        url::Host::parse("[::1]").unwrap(),
    ]);
    always([parsed::<ipnet::IpNet>("10.0.0.0/8"), parsed("fe80::/10")]);
    always([parsed::<cidr::IpCidr>("10.0.0.0/8")]);
    always([parsed::<semver::Version>("1.2.3-beta.1+x")]);
    always([parsed::<semver::VersionReq>(">=1.2, <2")]);
    always([smol_str::SmolStr::new("smol"), "x".repeat(50).into()]);
    always([compact_str::CompactString::new("compact")]);
    always([camino::Utf8PathBuf::from("/tmp")]);
    always([Http {
        method: http::Method::PATCH,
        uri: parsed("/path?query"),
        status: http::StatusCode::IM_A_TEAPOT,
        version: http::Version::HTTP_2,
        headers: [(http::header::ETAG, parsed("\"x\""))]
            .into_iter()
            .collect(),
    }]);

    as_keys([uuid]);
    as_keys([ulid::Ulid(7)]);
    as_keys([parsed::<url::Url>("https://example.com")]);
    as_keys([parsed::<ipnet::IpNet>("10.0.0.0/8")]);
    as_keys([parsed::<semver::Version>("1.2.3")]);
    as_keys([smol_str::SmolStr::new("smol")]);
    as_keys([compact_str::CompactString::new("compact")]);
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Http {
    #[serde(with = "http_serde::method")]
    method: http::Method,
    #[serde(with = "http_serde::uri")]
    uri: http::Uri,
    #[serde(with = "http_serde::status_code")]
    status: http::StatusCode,
    #[serde(with = "http_serde::version")]
    version: http::Version,
    #[serde(with = "http_serde::header_map")]
    headers: http::HeaderMap,
}

#[test]
fn crates_for_numbers() {
    always([
        parsed::<rust_decimal::Decimal>("-79228162514264337593543950335"),
        parsed("1.10"),
    ]);
    always([parsed::<bigdecimal::BigDecimal>(
        "123456789012345678901234567890.5",
    )]);
    always([parsed::<num_bigint::BigInt>(
        "-123456789012345678901234567890",
    )]);
    always([parsed::<num_bigint::BigUint>(
        "123456789012345678901234567890",
    )]);
    always([num_complex::Complex::new(1.5, -0.5)]);
    always([num_rational::Ratio::new(1_i64, 3)]);
    always([ordered_float::OrderedFloat(1.5_f64)]);
    always([ordered_float::NotNan::new(0.1_f32).unwrap()]);
    always_but_not_as_json([ordered_float::OrderedFloat(f64::NAN)]);
    always([geo_types::Point::new(1.5, -0.5)]);
    always([geo_types::LineString::from(vec![(0.0, 0.1), (1.0, 1.0)])]);
    as_keys([parsed::<rust_decimal::Decimal>("1.10")]);
    as_keys([
        ordered_float::OrderedFloat(0.1_f64),
        5.0.into(),
        1e300.into(),
    ]);
    as_keys([
        ordered_float::OrderedFloat(0.1_f32),
        f32::MIN_POSITIVE.into(),
    ]);
    assert_eq!(
        as_key(&ordered_float::OrderedFloat(f64::NAN)),
        Some(Refused::Stored)
    );
}

bitflags::bitflags! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    struct Rights: u32 {
        const READ = 1;
        const WRITE = 2;
    }
}

impl Serialize for Rights {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bitflags::serde::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bitflags::serde::deserialize(deserializer)
    }
}

#[derive(Debug, enumset::EnumSetType, Deserialize, Serialize)]
#[enumset(serialize_repr = "list", serialize_deny_unknown)]
enum Day {
    Monday,
    Tuesday,
}

#[test]
fn crates_for_collections_and_sets() {
    always([indexmap::IndexMap::from([
        ("a".to_owned(), 1),
        ("b".to_owned(), 2),
    ])]);
    always([indexmap::IndexSet::from(["b".to_owned(), "a".to_owned()])]);
    always([hashbrown::HashMap::<_, _>::from([("a".to_owned(), 1)])]);
    always([smallvec::SmallVec::<[u8; 4]>::from_slice(&[1, 2, 3, 4, 5])]);
    always([arrayvec::ArrayVec::from([1_u8, 2])]);
    always([arrayvec::ArrayString::<8>::from("array").unwrap()]);
    always([tinyvec::TinyVec::<[u8; 2]>::from([1, 2].as_slice())]);
    always([nonempty::NonEmpty::from((1, vec![2, 3]))]);
    always([Rights::all(), Rights::empty()]);
    always([enumset::EnumSet::all(), Day::Tuesday.into()] as [enumset::EnumSet<Day>; 2]);
    always([
        either::Either::Left(1),
        either::Either::Right("r".to_owned()),
    ]);
    as_keys([Rights::READ]);
    // Maps are sorted by their keys: an order of insertion is for lists.
    let unordered = indexmap::IndexMap::from([("b".to_owned(), 2), ("a".to_owned(), 1)]);
    always([unordered]);
}

#[test]
fn bytes_stay_bytes() {
    // JSON has lists of numbers, which are read as bytes too.
    let stays = |held: &dyn Fn() -> sealed_session::Value| assert_eq!(held().kind(), "bytes");
    let seen = |bytes: &serde_bytes::ByteBuf| {
        let session = sealed_session::Session::new();
        session.insert("bytes", bytes).unwrap();
        session
            .get::<sealed_session::Value>("bytes")
            .unwrap()
            .unwrap()
    };
    let bytes = serde_bytes::ByteBuf::from([0, 255, 128]);
    stays(&|| seen(&bytes));
    always_but_not_as_json([bytes, serde_bytes::ByteBuf::new()]);
    always_but_not_as_json([serde_bytes::ByteArray::new([7; 32])]);
    always_but_not_as_json([bytes::Bytes::from_static(&[0, 255])]);
    always_but_not_as_json([bytes::BytesMut::from(&[0, 255][..])]);
    always_but_not_as_json([CString::from(c"text")]);
    always_but_not_as_json([WithBytes(vec![0, 255], [7; 4])]);
    always([Encoded(vec![0, 255], vec![1])]);
    let list: serde_bytes::ByteBuf = {
        let session = sealed_session::Session::new();
        session.insert("bytes", [0, 255]).unwrap();
        session.get("bytes").unwrap().unwrap()
    };
    assert_eq!(list, [0, 255]);
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct WithBytes(
    #[serde(with = "serde_bytes")] Vec<u8>,
    #[serde(with = "serde_bytes")] [u8; 4],
);

#[serde_with::serde_as]
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Encoded(
    #[serde_as(as = "serde_with::base64::Base64")] Vec<u8>,
    #[serde_as(as = "serde_with::hex::Hex")] Vec<u8>,
);

#[test]
fn secrets_and_json() {
    always([Secret("hunter2".to_owned().into())]);
    always([
        serde_json::json!({ "a": [1, -1, 1.5, "x", true], "b": {} }),
        serde_json::json!([]),
    ]);
    let held = serde_json::json!({ "a": null, "b": [null] });
    always([held]);
    let raw = serde_json::value::RawValue::from_string("1".to_owned()).unwrap();
    let session = sealed_session::Session::new();
    let error = session.insert("raw", raw).unwrap_err();
    assert_eq!(error.kind(), sealed_session::ErrorKind::NotStorable);
}

#[derive(Clone, Debug, Deserialize)]
struct Secret(secrecy::SecretString);

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secrecy::ExposeSecret::expose_secret(&self.0))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        use secrecy::ExposeSecret;
        self.0.expose_secret() == other.0.expose_secret()
    }
}

/// Where serde reads through its buffer. It has room neither for numbers of 128 bits nor for keys
/// that are to be read from text.
const BUFFERED: [(&str, Refused); 7] = [
    ("flattened struct", Refused::Read),
    ("flattened map", Refused::Read),
    ("untagged", Refused::Read),
    ("untagged struct", Refused::Read),
    ("untagged tuple", Refused::Read),
    ("internal", Refused::Read),
    ("internal holder", Refused::Read),
];

/// The same as with JSON, which is asked: an error, never another value.
fn all_but_buffered<T: Storable>(value: &T) {
    let exceptions: Exceptions = exceptions(value);
    assert_eq!(exceptions, BUFFERED, "{value:?}");
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Flat<T> {
        #[serde(flatten)]
        inner: Inner<T>,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Inner<T> {
        value: T,
    }
    let inner = Inner {
        value: value.clone(),
    };
    let json = serde_json::to_string(&Flat { inner }).unwrap();
    assert!(serde_json::from_str::<Flat<T>>(&json).is_err());
}

#[test]
fn what_serdes_buffer_loses_is_an_error_as_it_is_with_json() {
    all_but_buffered(&BTreeMap::from([(7_u64, 1)]));
    all_but_buffered(&HashMap::from([(true, 1)]));
    all_but_buffered(&BTreeMap::from([(ordered_float::OrderedFloat(0.5), 1)]));
    all_but_buffered(&7_u128);
    all_but_buffered(&i128::from(i64::MIN));
    // Where it shows, it is refused before.
    assert_eq!(
        itself(&BTreeMap::from([(7_u64, 1)])),
        [Some(Refused::Stored); 2]
    );
    // Beyond 64 bits it always shows.
    for beyond in [exceptions(&u128::MAX), exceptions(&i128::MIN)] {
        assert_eq!(beyond.len(), 20);
        assert!(
            beyond
                .iter()
                .all(|(_, refused)| *refused == Refused::Stored)
        );
    }
}
