//! What a story is made of, as `arbitrary` reads it from the fuzzer's bytes. In few words, so that
//! two steps often speak of the same thing; dictionaries/session.dict has them as bytes.

use arbitrary::Arbitrary;
use sealed_session::Value;

#[derive(Arbitrary, Debug)]
pub(super) struct Story {
    pub(super) lifetime: Span,
    pub(super) max_lifetime: Span,
    pub(super) idle: Option<(Span, u8)>,
    pub(super) steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
pub(super) enum Step {
    Load(Vec<Pick>),
    New,
    Insert(Key, Content),
    Remove(Key),
    Take(Key),
    Update(Key, Content),
    Flash(Key, Content),
    TakeFlash(Key),
    Subject(u8),
    Clear,
    Renew,
    Destroy,
    Remember(bool),
    Expire { in_future: bool, span: Span },
    Merge(Pick),
    MergeItself,
    Save,
    SaveWithoutRandom(u8),
    SaveElsewhere,
    Wait(Span),
    TurnBack(Span),
    Rotate { sealing: u8, accepted: [bool; 3] },
    Cutoff { in_future: bool, span: Span },
    LogIn,
    Label(u8),
    Sid(u8),
}

/// A cookie of the jar, by number, or one that is none.
#[derive(Arbitrary, Debug)]
pub(super) enum Pick {
    Jar(u8),
    Junk,
}

#[derive(Arbitrary, Debug)]
pub(super) struct Key(pub(super) u8);

impl Key {
    pub(super) fn name(&self) -> &'static str {
        ["", "a", "cart", "\u{1f511}"][usize::from(self.0) % 4]
    }
}

#[derive(Arbitrary, Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(u16),
    Bytes(u16),
    List(Vec<u8>),
}

impl Content {
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Integer(value) => Value::from(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(length) => Value::String("t".repeat(usize::from(length % 4096))),
            Self::Bytes(length) => Value::Bytes(vec![7; usize::from(length % 4096)]),
            Self::List(items) => Value::List(
                items
                    .iter()
                    .map(|item| Value::from(u64::from(*item)))
                    .collect(),
            ),
        }
    }
}

/// A time in few digits, so that two of them meet now and then.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Span {
    count: u8,
    unit: u8,
}

impl Span {
    pub(super) fn millis(self) -> u64 {
        let units = [1, 1000, 60_000, 3_600_000, 7 * 24 * 3_600_000];
        u64::from(self.count) * units[usize::from(self.unit) % units.len()]
    }
}
