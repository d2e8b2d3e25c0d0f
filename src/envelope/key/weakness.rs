//! Patterns that a random key never has, and words that people use in its place.
//!
//! Each rule says how likely it refuses 32 random bytes. Longer keys are safer. Together, the rules
//! refuse less than 2^-32 of all keys, one in four billion. Most of these fall to the rules for
//! text, for one case of letters and for placeholders. A test adds them up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use zeroize::Zeroizing;

/// Fewer distinct bytes or steps are refused: 2^-54 for bytes, 2^-50 for the steps between them,
/// 2^-47 for the steps between those.
const MIN_DISTINCT: usize = 16;

/// The same for every second byte: 2^-57.
const MIN_DISTINCT_OF_HALF: usize = 6;

/// The same for the digits of the hexadecimal form: 2^-50.
const MIN_DISTINCT_DIGITS: usize = 9;

/// Parts of this length must not come twice: 2^-55 for bytes, 2^-53 for hexadecimal digits, 2^-42
/// for characters of base64 in either case.
const REPEATED_BYTES: usize = 8;
const REPEATED_DIGITS: usize = 16;
const REPEATED_CHARACTERS: usize = 10;

/// Words from examples: 2^-34 for all of them.
const PLACEHOLDERS: [&str; 31] = [
    "changeme",
    "change-me",
    "change_me",
    "replaceme",
    "replace-me",
    "replace_me",
    "placeholder",
    "examplekey",
    "example-key",
    "example_key",
    "your-secret",
    "your_secret",
    "yoursecret",
    "secret-key",
    "secret_key",
    "secretkey",
    "supersecret",
    "topsecret",
    "notasecret",
    "mypassword",
    "passphrase",
    "sessionkey",
    "session-key",
    "session_key",
    "keyboardcat",
    "keyboard-cat",
    "keyboard_cat",
    "qwertyuiop",
    "asdfghjkl",
    "abcdefghi",
    "loremipsum",
];

/// A pattern for which a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::envelope) enum Weakness {
    Placeholder,
    AllEqual,
    Text,
    FewDistinct(usize),
    Repeated,
    Sequence,
    Interleaved,
    Sorted,
    FewDigits,
    OneCase,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FewDistinct(distinct) => {
                return write!(
                    f,
                    "it has only {distinct} distinct bytes, a random key has more"
                );
            }
            Self::Placeholder => "it is a placeholder from an example",
            Self::AllEqual => "all its bytes are equal",
            Self::Text => "it decodes to printable text, so it is a passphrase and can be guessed",
            Self::Repeated => {
                "a part of it comes twice, forwards or backwards, so half of it is no secret"
            }
            Self::Sequence => "its bytes count up or down, as keys in examples do",
            Self::Interleaved => {
                "every second byte is one of a few, as in UTF-16 text, so it can be guessed"
            }
            Self::Sorted => "its bytes are in order, those of a random key are not",
            Self::FewDigits => {
                "its hex digits are all decimal, nearly all letters or only a few, as people write them"
            }
            Self::OneCase => {
                "what follows `base64:` is nearly all letters of one case, so it was typed by a \
                 person and can be guessed"
            }
        })
    }
}

/// Refuses placeholders in a key's text, whatever it decodes to.
pub(super) fn check_text(encoded: &str) -> Result<(), Weakness> {
    let lower = Zeroizing::new(encoded.to_ascii_lowercase());
    refuse(
        PLACEHOLDERS.iter().any(|word| lower.contains(word)),
        Weakness::Placeholder,
    )
}

/// Refuses weak bytes that were `encoded` in hexadecimal digits.
pub(super) fn check_hex(encoded: &str, bytes: &[u8]) -> Result<(), Weakness> {
    check_bytes(bytes)?;
    let digits = Zeroizing::new(encoded.to_ascii_lowercase());
    let decimals = digits.bytes().filter(u8::is_ascii_digit).count();
    let is_few = distinct(digits.bytes()) < MIN_DISTINCT_DIGITS;
    // 2^-43 for decimal digits, 2^-45 for letters.
    refuse(
        decimals == digits.len() || decimals <= digits.len() / 6 || is_few,
        Weakness::FewDigits,
    )?;
    let repeats = repeats(digits.as_bytes(), REPEATED_DIGITS);
    refuse(repeats, Weakness::Repeated)
}

/// Refuses weak bytes that were `encoded` in base64.
pub(super) fn check_base64(encoded: &str, bytes: &[u8]) -> Result<(), Weakness> {
    check_bytes(bytes)?;
    let encoded = encoded.trim_end_matches('=');
    let others = |is_it: fn(&u8) -> bool| encoded.bytes().filter(|byte| !is_it(byte)).count();
    let fewest = others(u8::is_ascii_lowercase).min(others(u8::is_ascii_uppercase));
    // 2^-35.
    refuse(fewest <= encoded.len() / 10, Weakness::OneCase)?;
    let lower = Zeroizing::new(encoded.to_ascii_lowercase());
    let repeats = repeats(lower.as_bytes(), REPEATED_CHARACTERS);
    refuse(repeats, Weakness::Repeated)
}

fn check_bytes(bytes: &[u8]) -> Result<(), Weakness> {
    refuse(is_text(bytes), Weakness::Text)?;
    match distinct(bytes.iter().copied()) {
        1 => return Err(Weakness::AllEqual),
        few if few < MIN_DISTINCT => return Err(Weakness::FewDistinct(few)),
        _ => {}
    }
    let repeats = repeats(bytes, REPEATED_BYTES) || mirrors(bytes, REPEATED_BYTES);
    refuse(repeats, Weakness::Repeated)?;
    let steps = steps(bytes);
    let even = |steps: &[u8]| distinct(steps.iter().copied()) < MIN_DISTINCT;
    refuse(
        even(&steps) || even(&self::steps(&steps)),
        Weakness::Sequence,
    )?;
    let half = |first| distinct(bytes.iter().copied().skip(first).step_by(2));
    refuse(
        half(0).min(half(1)) < MIN_DISTINCT_OF_HALF,
        Weakness::Interleaved,
    )?;
    refuse(is_sorted(bytes), Weakness::Sorted)
}

fn refuse(is_weak: bool, weakness: Weakness) -> Result<(), Weakness> {
    if is_weak { Err(weakness) } else { Ok(()) }
}

/// Whether this is text: in UTF-8, in an older encoding, or with a few other bytes around it.
fn is_text(bytes: &[u8]) -> bool {
    let is_blank = |byte: u8| byte == b' ' || (b'\t'..=b'\r').contains(&byte);
    let is_visible = |c: char| !c.is_control() || c == '\0' || c.is_whitespace();
    // 2^-34. If control characters were allowed, random bytes would pass as text too often: 2^-26.
    if std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(is_visible)) {
        return true;
    }
    let others = |is_it: &dyn Fn(u8) -> bool| bytes.iter().filter(|byte| !is_it(**byte)).count();
    let in_text = |byte: u8| byte.is_ascii_graphic() || is_blank(byte) || byte == 0;
    let in_words = |byte: u8| byte.is_ascii_alphanumeric() || is_blank(byte);
    // 2^-36 and 2^-35.
    others(&in_text) <= bytes.len() / 32 || others(&in_words) <= bytes.len() * 5 / 32
}

fn distinct(bytes: impl Iterator<Item = u8>) -> usize {
    let mut seen = [false; 256];
    for byte in bytes {
        if let Some(seen) = seen.get_mut(usize::from(byte)) {
            *seen = true;
        }
    }
    seen.iter().filter(|&&seen| seen).count()
}

fn steps(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    Zeroizing::new(pairs.map(|(a, b)| b.wrapping_sub(*a)).collect())
}

fn repeats(bytes: &[u8], length: usize) -> bool {
    let mut seen = BTreeSet::new();
    bytes.windows(length).any(|window| !seen.insert(window))
}

/// Whether a part comes again backwards, elsewhere. The bytes have no part that comes twice.
fn mirrors(bytes: &[u8], length: usize) -> bool {
    let places: BTreeMap<&[u8], usize> = bytes.windows(length).zip(0..).collect();
    let backwards: Zeroizing<Vec<u8>> = Zeroizing::new(bytes.iter().rev().copied().collect());
    backwards
        .windows(length)
        .zip((0..=bytes.len() - length).rev())
        .any(|(window, here)| {
            let place = places.get(window);
            place.is_some_and(|there| there.abs_diff(here) >= length)
        })
}

/// Whether there are at most three runs, each in order: 2^-65.
fn is_sorted(bytes: &[u8]) -> bool {
    let pairs = || bytes.iter().zip(bytes.iter().skip(1));
    let falls = pairs().filter(|(a, b)| a > b).count();
    let rises = pairs().filter(|(a, b)| a < b).count();
    falls.min(rises) <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(weight: f64) -> f64 {
        weight / 256.0
    }

    /// How likely all but at most `others` of `n` have a property that each has with the chance
    /// `p`.
    fn nearly_all(n: u32, p: f64, others: u32) -> f64 {
        let mut ways = 1.0;
        let mut sum = 0.0;
        for k in 0..=others {
            sum += ways * p.powf(f64::from(n - k)) * (1.0 - p).powf(f64::from(k));
            ways *= f64::from(n - k) / f64::from(k + 1);
        }
        sum
    }

    /// How likely `n` draws from `values` equally likely ones give fewer than `fewest` distinct
    /// ones.
    fn few_distinct(n: u32, values: f64, fewest: usize) -> f64 {
        let mut chances = vec![0.0; fewest + 1];
        chances[0] = 1.0;
        for _ in 0..n {
            for count in (1..=fewest).rev() {
                let [known, fresh] = [count, count - 1].map(|seen| seen as f64 / values);
                chances[count] = chances[count] * known + chances[count - 1] * (1.0 - fresh);
            }
            chances[0] = 0.0;
        }
        chances[..fewest].iter().sum()
    }

    /// How likely 32 bytes are UTF-8 without control characters other than blanks and NUL.
    fn utf8() -> f64 {
        let characters = [101.0, 1920.0 - 31.0, 61_440.0, 1_048_576.0];
        let mut chances = vec![1.0];
        for length in 1..=32_usize {
            let ending_in = |bytes: usize| {
                let before = length.checked_sub(bytes)?;
                Some(chances[before] * characters[bytes - 1] / 256_f64.powf(bytes as f64))
            };
            chances.push((1..=4).filter_map(ending_in).sum());
        }
        chances[32]
    }

    #[test]
    fn a_random_key_is_refused_less_than_once_in_four_thousand_million() {
        let pairs = |windows: u32| f64::from(windows * (windows - 1) / 2);
        let same_letter = (26.0 * 4.0 + 12.0) / 4096.0;
        let placeholder = |word: &&str| {
            let one = |c: char| if c.is_ascii_alphabetic() { 2.0 } else { 1.0 };
            let here: f64 = word.chars().map(|c| one(c) / 64.0).product();
            here * (44.0 - word.len() as f64)
        };
        let factorial: f64 = (1..=32).map(f64::from).product();
        let chances = [
            ("text", utf8(), -34.0),
            ("nearly text", nearly_all(32, share(101.0), 1), -36.0),
            ("nearly words", nearly_all(32, share(68.0), 5), -35.0),
            ("bytes", few_distinct(32, 256.0, MIN_DISTINCT), -54.0),
            ("steps", few_distinct(31, 256.0, MIN_DISTINCT), -50.0),
            (
                "steps of steps",
                few_distinct(30, 256.0, MIN_DISTINCT),
                -47.0,
            ),
            (
                "halves",
                2.0 * few_distinct(16, 256.0, MIN_DISTINCT_OF_HALF),
                -57.0,
            ),
            ("repeated", 2.0 * pairs(25) * 2_f64.powi(-64), -54.0),
            ("repeated digits", pairs(49) * 2_f64.powi(-64), -53.0),
            (
                "repeated characters",
                pairs(34) * f64::powi(same_letter, 10),
                -42.0,
            ),
            // Of all orders, those with at most two falls, and as many with at most two rises.
            ("sorted", 2.0 * 3_f64.powi(32) / factorial, -65.0),
            ("digits", few_distinct(64, 16.0, MIN_DISTINCT_DIGITS), -50.0),
            ("decimal", (10_f64 / 16.0).powi(64), -43.0),
            ("letters", nearly_all(64, 6.0 / 16.0, 10), -45.0),
            ("one case", 2.0 * nearly_all(43, 26.0 / 64.0, 4), -35.0),
            (
                "placeholders",
                PLACEHOLDERS.iter().map(placeholder).sum(),
                -34.0,
            ),
        ];
        for (rule, chance, bound) in chances {
            assert!(
                chance > 0.0 && chance.log2() < bound,
                "{rule}: 2^{}",
                chance.log2()
            );
        }
        let all: f64 = chances.iter().map(|(_, chance, _)| chance).sum();
        assert!(all.log2() < -32.0, "2^{}", all.log2());
    }

    #[test]
    fn parts_that_come_twice_are_found_wherever_they_are() {
        let part = [9, 1, 8, 2, 7, 3, 6, 4];
        let mut back = part;
        back.reverse();
        let filler: Vec<u8> = (100..140).collect();
        for between in 0..8 {
            for (second, length) in [(&part[..], 8), (&part[..7], 7)] {
                let bytes = [&part, &filler[..between], second, &filler[20..]].concat();
                assert_eq!(repeats(&bytes, 8), length == 8, "{between}");
            }
            for (second, length) in [(&back[..], 8), (&back[1..], 7)] {
                let bytes = [&filler[20..], &part, &filler[..between], second].concat();
                let is_long = length == 8;
                assert_eq!(mirrors(&bytes, 8), is_long, "{between}");
            }
        }
        // A part that is symmetric around its own middle does not come again elsewhere.
        let around = [&filler[..12], &part, &back[1..], &filler[20..32]].concat();
        assert!(!mirrors(&around, 8));
    }

    #[test]
    fn three_runs_in_order_are_found_and_four_are_not() {
        let run = |from: u8| (from..from + 40).step_by(5).collect::<Vec<_>>();
        let runs = |count: u8| (0..count).flat_map(|n| run(n * 3)).collect::<Vec<_>>();
        for count in 1..6 {
            let mut bytes = runs(count);
            assert_eq!(is_sorted(&bytes), count <= 3, "{count}");
            bytes.reverse();
            assert_eq!(is_sorted(&bytes), count <= 3, "{count}");
        }
    }
}
