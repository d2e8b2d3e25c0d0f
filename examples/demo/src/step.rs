//! What the visitor did last and how the cookie was before, for the next page alone: a flash.

use sealed_session::{Field, Key, Session, SessionError, Token, Value};
use serde::{Deserialize, Serialize};

use crate::COOKIE_NAME;

pub(crate) const STEP: Field<Step> = Field::new("step");

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) enum Did {
    LoggedIn,
    Added,
    /// Has no longer name than the one before: a cart that is full has room for it.
    #[serde(rename = "Full!")]
    Filled,
    Rotated,
    Waited,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Step {
    pub(crate) did: Did,
    pub(crate) before: Option<Before>,
}

/// The cookie before the step.
#[derive(Deserialize, Serialize)]
pub(crate) struct Before {
    pub(crate) start: String,
    pub(crate) size: usize,
    pub(crate) key: String,
}

impl Before {
    /// Of the token that a browser has sent.
    pub(crate) fn of(token: &str) -> Option<Self> {
        let key = Token::parse(token).ok()?.key_id().to_string();
        let start = token.get(..14)?.to_owned();
        let size = COOKIE_NAME.len() + token.len();
        Some(Self { start, size, key })
    }
}

impl Step {
    pub(crate) fn now(did: Did, token: Option<&str>) -> Self {
        let before = token.and_then(Before::of);
        Self { did, before }
    }

    /// Takes the step out of the session, and says how many bytes it had there.
    pub(crate) fn taken(session: &Session) -> Result<Option<(Self, usize)>, SessionError> {
        let Some(value) = session.take_flash::<Value>(STEP.name())? else {
            return Ok(None);
        };
        let size = entry_size(STEP.name(), &value);
        let step = serde_json::to_value(&value).and_then(serde_json::from_value);
        Ok(step.ok().map(|step| (step, size)))
    }
}

/// How many bytes an entry of a session takes: see docs/format.md.
pub(crate) fn entry_size(key: &str, value: &Value) -> usize {
    let value = value_size(value);
    counted(key.len()) + counted(value)
}

fn value_size(value: &Value) -> usize {
    1 + match value {
        Value::Unsigned(number) => count(*number),
        Value::String(text) => counted(text.len()),
        Value::List(items) => {
            count(items.len() as u64) + items.iter().map(value_size).sum::<usize>()
        }
        Value::Map(items) => {
            let size = |(key, value): (&String, &Value)| counted(key.len()) + value_size(value);
            count(items.len() as u64) + items.iter().map(size).sum::<usize>()
        }
        // `None`, and kinds that the demo does not keep.
        _ => 0,
    }
}

/// Bytes with their number in front.
fn counted(length: usize) -> usize {
    count(length as u64) + length
}

/// A number, seven bits in a byte.
fn count(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}
