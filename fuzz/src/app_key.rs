//! The text forms of an app key, against the rules for them.

use std::collections::BTreeSet;

use sealed_session::AppKey;

use crate::reference;

/// `data`: once a key's text, and once the bytes of a key.
pub fn app_key(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        from_text(text);
    }
    from_bytes(data);
}

fn from_text(text: &str) {
    let secret = text.trim().split_once(':').map_or("", |(_, secret)| secret);
    match text.parse::<AppKey>() {
        Ok(key) => {
            let (bytes, is_drawn) = match text.trim().split_once(':') {
                Some(("hex", digits)) => (hex(digits), is_drawn_hex(digits)),
                Some(("base64", text)) => (base64(text), is_drawn_base64(text)),
                _ => panic!("a key without its prefix"),
            };
            assert!(is_drawn);
            let bytes = bytes.expect("what is accepted can be decoded");
            assert!(is_sound(&bytes));
            let same = AppKey::from_bytes(&bytes).expect("bytes are judged no harder than text");
            assert_eq!(same.id(), key.id());
            assert_eq!(same.to_base64(), key.to_base64());
        }
        Err(error) => {
            let shown = format!("{error} {error:?}");
            // No message has these of its own.
            let is_told = secret.contains(['!', '~', '^', '@', '$']) && shown.contains(secret);
            assert!(!is_told, "an error shows no key");
        }
    }
}

fn from_bytes(bytes: &[u8]) {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let from_hex = format!("hex:{digits}").parse::<AppKey>();
    let is_expected = is_sound(bytes) && is_drawn_hex(&digits);
    assert_eq!(from_hex.is_ok(), is_expected, "{from_hex:?}");

    let all_equal = bytes.iter().all(|byte| *byte == bytes[0]);
    let key = AppKey::from_bytes(bytes);
    assert_eq!(key.is_ok(), bytes.len() >= 32 && !all_equal, "{key:?}");
    let Ok(key) = key else { return };
    let text = key.to_base64();
    let is_expected = is_sound(bytes) && is_drawn_base64(&text["base64:".len()..]);
    match text.parse::<AppKey>() {
        Ok(again) => assert!(is_expected && again.id() == key.id()),
        // Bytes may look like a placeholder in base64 that do not in hex.
        Err(error) => assert!(!is_expected || error.to_string().contains("placeholder")),
    }
}

/// Whether a text form with these bytes is a key, unless it is the text that is wrong.
fn is_sound(bytes: &[u8]) -> bool {
    let steps = differences(bytes);
    let half = |first| -> Vec<u8> { bytes.iter().copied().skip(first).step_by(2).collect() };
    let order = |is_next: fn(u8, u8) -> bool| {
        let breaks = bytes.windows(2).filter(|pair| !is_next(pair[0], pair[1]));
        breaks.count()
    };
    bytes.len() >= 32
        && !is_text(bytes)
        && distinct(bytes) >= 16
        && distinct(&steps) >= 16
        && distinct(&differences(&steps)) >= 16
        && distinct(&half(0)) >= 6
        && distinct(&half(1)) >= 6
        && !comes_twice(bytes, 8)
        && !comes_backwards(bytes, 8)
        && order(|a, b| a <= b) > 2
        && order(|a, b| a >= b) > 2
}

fn is_text(bytes: &[u8]) -> bool {
    let is_space = |byte: u8| (9..14).contains(&byte) || byte == 32;
    let is_word = |byte: u8| char::from(byte).is_ascii_alphanumeric() || is_space(byte);
    let is_shown = |byte: u8| (33..127).contains(&byte) || is_space(byte) || byte == 0;
    let count = |is_it: &dyn Fn(u8) -> bool| bytes.iter().filter(|byte| is_it(**byte)).count();
    let is_unicode = String::from_utf8(bytes.to_vec()).is_ok_and(|text| {
        let mut controls = text.chars().filter(|c| c.is_control());
        // Among them U+0085, which is a line's end.
        controls.all(|c| c == '\0' || c.is_whitespace())
    });
    let (shown, words) = (count(&is_shown), count(&is_word));
    is_unicode
        || bytes.len() - shown <= bytes.len() / 32
        || bytes.len() - words <= 5 * bytes.len() / 32
}

fn is_drawn_hex(digits: &str) -> bool {
    let digits = digits.to_lowercase().into_bytes();
    let decimals = digits.iter().filter(|digit| **digit <= b'9').count();
    decimals < digits.len()
        && decimals > digits.len() / 6
        && distinct(&digits) >= 9
        && !comes_twice(&digits, 16)
}

fn is_drawn_base64(text: &str) -> bool {
    let text = text.trim_end_matches('=');
    let of_case = |letters: std::ops::RangeInclusive<char>| {
        let letters = text.chars().filter(|c| letters.contains(c));
        letters.count()
    };
    let most = of_case('a'..='z').max(of_case('A'..='Z'));
    text.len() - most > text.len() / 10 && !comes_twice(text.to_lowercase().as_bytes(), 10)
}

fn distinct(bytes: &[u8]) -> usize {
    bytes.iter().collect::<BTreeSet<_>>().len()
}

fn differences(bytes: &[u8]) -> Vec<u8> {
    let pairs = bytes.windows(2);
    pairs.map(|pair| pair[1].wrapping_sub(pair[0])).collect()
}

fn comes_twice(bytes: &[u8], length: usize) -> bool {
    let starts = (bytes.len() + 1).saturating_sub(length);
    let part = |at: usize| &bytes[at..at + length];
    (0..starts).any(|one| (0..one).any(|other| part(one) == part(other)))
}

fn comes_backwards(bytes: &[u8], length: usize) -> bool {
    let starts = (bytes.len() + 1).saturating_sub(length);
    (0..starts).any(|one| {
        let mirror: Vec<u8> = bytes[one..one + length].iter().rev().copied().collect();
        (one + length..starts).any(|other| bytes[other..other + length] == mirror)
    })
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| str::from_utf8(pair).ok());
    pairs
        .map(|pair| u8::from_str_radix(pair?, 16).ok())
        .collect()
}

/// Either alphabet, as much padding as is due or less.
fn base64(text: &str) -> Option<Vec<u8>> {
    let unpadded = text.trim_end_matches('=');
    let padded = unpadded.len().next_multiple_of(4);
    let url_safe = unpadded.replace('+', "-").replace('/', "_");
    let is_one_alphabet = url_safe == unpadded || !unpadded.contains(['-', '_']);
    if text.len() > padded || !is_one_alphabet {
        return None;
    }
    reference::base64url(url_safe.as_bytes())
}
