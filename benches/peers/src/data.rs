//! The session that every contestant carries.

use serde::{Deserialize, Serialize};

/// Six everyday values, and as many bytes of text as a round asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Data {
    pub(crate) user_id: u64,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) csrf: String,
    pub(crate) cart: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

impl Data {
    pub(crate) fn with(text: usize) -> Self {
        Self {
            user_id: 48_213,
            name: "Ada Lovelace".to_owned(),
            email: "ada.lovelace@example.com".to_owned(),
            role: "editor".to_owned(),
            csrf: "Jx3nO1vYc8Qe5Tz0WbKp7RmUaS2dLfGh".to_owned(),
            cart: 3,
            text: (text > 0).then(|| self::text(text)),
        }
    }
}

/// Letters and digits that do not repeat soon.
fn text(length: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state % 62) as usize])
    };
    (0..length).map(letter).collect()
}
