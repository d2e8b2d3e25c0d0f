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
            let bytes = match text.trim().split_once(':') {
                Some(("hex", digits)) => hex(digits),
                Some(("base64", text)) => base64(text),
                _ => panic!("a key without its prefix"),
            };
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
    assert_eq!(from_hex.is_ok(), is_sound(bytes), "{from_hex:?}");

    let all_equal = bytes.iter().all(|byte| *byte == bytes[0]);
    let key = AppKey::from_bytes(bytes);
    assert_eq!(key.is_ok(), bytes.len() >= 32 && !all_equal, "{key:?}");
    let Ok(key) = key else { return };
    let text = key.to_base64();
    match text.parse::<AppKey>() {
        Ok(again) => assert!(is_sound(bytes) && again.id() == key.id()),
        // Bytes may look like a placeholder in base64 that do not in hex.
        Err(error) => assert!(!is_sound(bytes) || error.to_string().contains("placeholder")),
    }
}

/// Whether a text form with these bytes is a key.
fn is_sound(bytes: &[u8]) -> bool {
    let distinct: BTreeSet<&u8> = bytes.iter().collect();
    let steps: BTreeSet<u8> = bytes
        .windows(2)
        .map(|pair| pair[1].wrapping_sub(pair[0]))
        .collect();
    let is_printable = bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
    bytes.len() >= 32 && distinct.len() >= 16 && steps.len() > 1 && !is_printable
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
