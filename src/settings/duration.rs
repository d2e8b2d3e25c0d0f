//! Durations as people write them.

use std::time::Duration;

/// From the longest to the shortest. Months and years are missing because their length varies and
/// people confuse their letters with others. Units below a second are missing because no session
/// needs them.
///
/// Own code, because the crates that parse such text accept `M` and `y` for months and years.
const UNITS: [(u64, &[&str]); 5] = [
    (7 * 24 * 60 * 60, &["w", "week", "weeks"]),
    (24 * 60 * 60, &["d", "day", "days"]),
    (60 * 60, &["h", "hr", "hrs", "hour", "hours"]),
    (60, &["m", "min", "mins", "minute", "minutes"]),
    (1, &["s", "sec", "secs", "second", "seconds"]),
];

/// The forms that [`parse`] accepts, for an error.
pub(crate) const FORMS: &str = "it must be a length of time such as `30d`, `24h`, `30m`, `90s` or \
                                `1h 30m`, or whole seconds";

/// Parses whole numbers with units, the longest first, or one number of seconds.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut units = UNITS.iter();
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let number = take(&mut rest, u8::is_ascii_digit);
        rest = rest.trim_start();
        let name = take(&mut rest, u8::is_ascii_lowercase);
        rest = rest.trim_start();
        // The search goes on from the last unit, so units only get shorter, and none comes twice.
        let (length, _) = units.find(|(_, names)| names.contains(&name))?;
        let part = number.parse::<u64>().ok()?.checked_mul(*length)?;
        seconds = seconds.checked_add(part)?;
    }
    Some(Duration::from_secs(seconds))
}

fn take<'t>(text: &mut &'t str, is_part: fn(&u8) -> bool) -> &'t str {
    let length = text.bytes().take_while(is_part).count();
    let (part, rest) = text.split_at_checked(length).unwrap_or((text, ""));
    *text = rest;
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_units_in_all_their_names_and_nothing_else_are_understood() {
        let minute = 60;
        let hour = 60 * minute;
        let day = 24 * hour;
        for (text, seconds) in [
            ("0", 0),
            ("0s", 0),
            ("3600", hour),
            (" 3600\n", hour),
            ("90s", 90),
            ("90 secs", 90),
            ("1 second", 1),
            ("30m", 30 * minute),
            ("30min", 30 * minute),
            ("30 minutes", 30 * minute),
            ("24h", day),
            ("1hr", hour),
            ("2 hours", 2 * hour),
            ("30d", 30 * day),
            ("1 day", day),
            ("2w", 14 * day),
            ("1week", 7 * day),
            ("1h30m", 90 * minute),
            ("1h 30m", 90 * minute),
            ("1 h\t30 m", 90 * minute),
            ("1w 2d 3h 4m 5s", 9 * day + 3 * hour + 4 * minute + 5),
            ("0h 90m", 90 * minute),
            ("007d", 7 * day),
            ("18446744073709551615", u64::MAX),
            ("30500568904943w", 30_500_568_904_943 * 7 * day),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text:?}");
        }
    }

    #[test]
    fn what_can_be_mistaken_is_refused() {
        for text in [
            // Months, years, and units shorter than a second.
            "30M",
            "1month",
            "2 months",
            "1y",
            "1 year",
            "1Y",
            "1yr",
            "500ms",
            "1us",
            "1ns",
            "1µs",
            // Other letters, other words.
            "24H",
            "30Min",
            "1D",
            "1W",
            "90S",
            "1 fortnight",
            "1q",
            "5 apples",
            "d",
            "h",
            "m",
            "forever",
            "never",
            "P1D",
            "PT30M",
            "1:30",
            "01:30:00",
            // Fractions, signs, separators, other digits.
            "1.5h",
            "1,5h",
            "0.5",
            "1e3",
            "1/2h",
            "-1",
            "-1h",
            "+1h",
            "+3600",
            "1_000s",
            "1,000",
            "1h,30m",
            "1h, 30m",
            "1h and 30m",
            "1h+30m",
            "\u{0661}h",
            "0x10",
            "1h\u{a0}30\u{b5}m",
            // A number without its unit, a unit without its number, a unit twice, or the wrong
            // order.
            "1h 30",
            "30 1h",
            "h1",
            "1h m",
            "1 2h",
            "1hh",
            "30m 1h",
            "1h 1h",
            "1m 1min",
            "1s 1w",
            // Too long.
            "18446744073709551616",
            "18446744073709551616s",
            "30500568904944w",
            "30500568904943w 7d",
            "99999999999999999999d",
            // Quotes.
            "\"24h\"",
            "'24h'",
            "`24h`",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
