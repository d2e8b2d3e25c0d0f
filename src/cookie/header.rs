//! Reads the Cookie header, or the token's own header: bytes in, candidate tokens out.
//!
//! Each rule here is a point where other parsers have been fooled. Names are compared byte for
//! byte, without decoding. Only spaces and tabs are trimmed. A pair without a name is ignored. A
//! byte that is not ASCII does not affect its neighbours. RFC 6265bis, section 4.2, and RFC 9113,
//! section 8.2.3 (a request may have several Cookie fields).

/// The most candidates: the first four different values.
pub(crate) const MAX_CANDIDATES: usize = 4;

/// The most bytes that are read, in all fields together.
const MAX_BYTES: usize = 65_536;

/// The most parts that are read, in all fields together.
const MAX_PARTS: usize = 4_096;

/// The number of bytes that are searched for a separator at once.
const BLOCK: usize = 32;

/// The lowest bit of each byte of a word.
const LOWEST_BITS: u64 = u64::from_le_bytes([1; 8]);

/// The different values of the cookie or header, in the order in which they came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidates<'a> {
    values: [&'a [u8]; MAX_CANDIDATES],
    count: usize,
}

impl<'a> Candidates<'a> {
    /// Reads the cookie `name` from `fields`, the values of a request's Cookie fields.
    pub(crate) fn find(name: &str, fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::collect(b';', fields, |pair| value_of(name.as_bytes(), pair))
    }

    /// Reads all tokens from `fields`, the values of a request's header for tokens alone. Several
    /// fields mean the same as one field with commas (RFC 9110, section 5.3).
    pub(crate) fn listed(fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::collect(b',', fields, |item| {
            Some(trim(item)).filter(|token| !token.is_empty())
        })
    }

    /// Reads the tokens from `fields`, the values of a request's Authorization fields (RFC 6750,
    /// section 2.1).
    pub(crate) fn bearer(fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::collect(b',', fields, |item| {
            let (scheme, rest) = trim(item).split_at_checked(b"Bearer".len())?;
            let token = trim_start(rest);
            let is_ours = scheme.eq_ignore_ascii_case(b"Bearer") && token.len() < rest.len();
            Some(token).filter(|token| is_ours && !token.is_empty())
        })
    }

    /// Reads two cookies at once.
    #[cfg(feature = "device-bound")]
    pub(crate) fn find_both(
        names: [&str; 2],
        fields: impl IntoIterator<Item = &'a [u8]>,
    ) -> [Self; 2] {
        let mut found = [Self::none(), Self::none()];
        let [first, second] = &mut found;
        walk(b';', fields, |pair| {
            for (name, found) in names.iter().zip([&mut *first, &mut *second]) {
                if let Some(value) = value_of(name.as_bytes(), pair) {
                    found.add(value);
                }
            }
            first.count < MAX_CANDIDATES || second.count < MAX_CANDIDATES
        });
        found
    }

    fn none() -> Self {
        Self {
            values: [&[]; MAX_CANDIDATES],
            count: 0,
        }
    }

    fn collect(
        separator: u8,
        fields: impl IntoIterator<Item = &'a [u8]>,
        value: impl Fn(&'a [u8]) -> Option<&'a [u8]>,
    ) -> Self {
        let mut found = Self::none();
        walk(separator, fields, |part| {
            if let Some(value) = value(part) {
                found.add(value);
            }
            found.count < MAX_CANDIDATES
        });
        found
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.values.iter().take(self.count).copied()
    }

    fn add(&mut self, value: &'a [u8]) {
        if self.iter().any(|known| known == value) {
            return;
        }
        if let Some(place) = self.values.get_mut(self.count) {
            *place = value;
            self.count += 1;
        }
    }
}

/// Shows `look` each part of the fields, until it has seen enough.
#[inline(always)]
fn walk<'a>(
    separator: u8,
    fields: impl IntoIterator<Item = &'a [u8]>,
    mut look: impl FnMut(&'a [u8]) -> bool,
) {
    let mut bytes = MAX_BYTES;
    let mut parts = MAX_PARTS;
    for field in fields {
        let field = field.get(..bytes).unwrap_or(field);
        bytes -= field.len();
        let mut rest = Some(field);
        while let Some((part, after)) = rest.map(|rest| split(separator, rest)) {
            if parts == 0 {
                return;
            }
            parts -= 1;
            rest = after;
            if !look(part) {
                return;
            }
        }
    }
}

/// The part before the first separator, and the part after it, if there is a separator.
fn split(separator: u8, field: &[u8]) -> (&[u8], Option<&[u8]>) {
    match position(separator, field).and_then(|end| field.split_at_checked(end)) {
        Some((part, rest)) => (part, rest.get(1..)),
        None => (field, None),
    }
}

/// The position of the first `wanted`. Tokens are hundreds of bytes long. So the search skips whole
/// blocks without a branch for each byte, then whole words.
fn position(wanted: u8, field: &[u8]) -> Option<usize> {
    let has_none = |block: &&[u8]| {
        !block
            .iter()
            .fold(false, |found, &byte| found | (byte == wanted))
    };
    let mut passed = BLOCK * field.chunks_exact(BLOCK).take_while(has_none).count();
    let mut rest = field.get(passed..)?;
    while let Some((word, after)) = rest.split_first_chunk() {
        // The lowest bit that is set is in the first byte equal to `wanted`.
        let differing = u64::from_le_bytes(*word) ^ (LOWEST_BITS * u64::from(wanted));
        let found = differing.wrapping_sub(LOWEST_BITS) & !differing & (LOWEST_BITS << 7);
        if found != 0 {
            return Some(passed + found.trailing_zeros() as usize / 8);
        }
        passed += word.len();
        rest = after;
    }
    rest.iter()
        .position(|&byte| byte == wanted)
        .map(|at| passed + at)
}

/// The pair's value, if its name is exactly this one.
fn value_of<'a>(name: &[u8], pair: &'a [u8]) -> Option<&'a [u8]> {
    let value = trim_start(pair).strip_prefix(name)?;
    Some(trim(trim_start(value).strip_prefix(b"=")?))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        if !is_blank(*first) {
            break;
        }
        bytes = rest;
    }
    bytes
}

fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_start(bytes);
    while let [rest @ .., last] = bytes {
        if !is_blank(*last) {
            break;
        }
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find<'a>(fields: &[&'a [u8]]) -> Vec<&'a [u8]> {
        Candidates::find("__Host-session", fields.iter().copied())
            .iter()
            .collect()
    }

    #[test]
    fn the_value_is_found_wherever_it_stands() {
        for field in [
            "__Host-session=x",
            "a=b; __Host-session=x",
            "a=b;__Host-session=x;c=d",
            " \t__Host-session \t= \tx \t; c",
            "a; ; =; __Host-session=x;",
        ] {
            assert_eq!(find(&[field.as_bytes()]), [b"x"], "{field}");
        }
    }

    #[test]
    fn a_pair_ends_at_its_separator_however_long_it_is() {
        for length in 0..=3 * BLOCK {
            let (other, value) = ("x".repeat(length), "y".repeat(length));
            for end in ["", ";", "; c=d"] {
                let field = format!("a={other};__Host-session={value}{end}");
                assert_eq!(find(&[field.as_bytes()]), [value.as_bytes()], "{field}");
            }
        }
    }

    #[test]
    fn separators_in_a_row_hide_nothing() {
        for count in 0..=3 * BLOCK {
            let field = ";".repeat(count) + "__Host-session=x";
            assert_eq!(find(&[field.as_bytes()]), [b"x"], "{field}");
        }
    }

    #[test]
    fn percent_encoded_quoted_versioned_and_unicode_spaced_names_are_never_ours() {
        for field in [
            "%5F%5FHost-session=x",
            "__Host%2Dsession=x",
            "\u{2000}__Host-session=x",
            "\u{a0}__Host-session=x",
            "\x0b__Host-session=x",
            "\x0c__Host-session=x",
            "\r__Host-session=x",
            "\n__Host-session=x",
            "\"__Host-session\"=x",
            "$__Host-session=x",
            "__host-session=x",
            "__Host-sessionx=x",
            "__Host-session\u{2000}=x",
            "__Host-session",
            "x__Host-session=x",
            "a=b, __Host-session=x",
        ] {
            assert!(find(&[field.as_bytes()]).is_empty(), "{field:?}");
        }
        let quoted = find(&[b"$Version=1; __Host-session=\"x\"; $Path=/"]);
        assert_eq!(
            quoted,
            [b"\"x\""],
            "quotes stay in the value, where no token has any"
        );
    }

    #[test]
    fn a_pair_without_a_name_is_never_ours() {
        for field in [
            "=__Host-session=x",
            "= __Host-session=x",
            " =__Host-session=x",
            "==x",
        ] {
            assert!(find(&[field.as_bytes()]).is_empty(), "{field:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_ascii_do_no_harm_to_their_neighbours() {
        assert_eq!(find(&[b"a=\xff; __Host-session=x; \xe9=\xc3"]), [b"x"]);
        assert_eq!(find(&["é=é; __Host-session=x".as_bytes()]), [b"x"]);
    }

    #[test]
    fn several_fields_and_crumbs_are_all_read() {
        assert_eq!(find(&[b"a=b", b"c=d; __Host-session=x", b"e=f"]), [b"x"]);
        assert_eq!(
            find(&[b"__Host-session=x", b"__Host-session=y"]),
            [b"x", b"y"]
        );
    }

    #[test]
    fn equal_values_count_once_and_only_the_first_four_are_taken() {
        assert_eq!(find(&[b"__Host-session=x; __Host-session=x"]), [b"x"]);
        let many = (0..1000)
            .map(|n| format!("__Host-session={n}; "))
            .collect::<String>();
        assert_eq!(find(&[many.as_bytes()]), [b"0", b"1", b"2", b"3"]);
    }

    #[test]
    fn what_stands_beyond_the_bounds_is_not_looked_at() {
        let mut field = vec![b'j'; MAX_BYTES - "; __Host-session=x".len()];
        field.extend_from_slice(b"; __Host-session=x");
        assert_eq!(find(&[&field]), [b"x"]);
        field.insert(0, b'j');
        field.pop();
        assert_eq!(
            find(&[&field, b"__Host-session=y"]),
            [b""],
            "cut off before its value"
        );
        let pairs = ";".repeat(MAX_PARTS - 1) + "__Host-session=x";
        assert_eq!(find(&[pairs.as_bytes()]), [b"x"]);
        assert!(find(&[format!(";{pairs}").as_bytes()]).is_empty());
    }

    #[test]
    fn the_bytes_of_all_fields_count_together() {
        let ours = b"__Host-session=x";
        let junk = vec![b'j'; MAX_BYTES - ours.len()];
        assert_eq!(find(&[&junk, ours]), [b"x"]);
        let (start, end) = junk.split_at(junk.len() / 2);
        assert_eq!(find(&[start, end, ours, b"__Host-session=y"]), [b"x"]);
        assert_eq!(find(&[&junk, b"j", ours]), [b""]);
    }

    #[test]
    fn a_header_of_its_own_holds_tokens_between_commas() {
        let listed = |fields: &[&'static [u8]]| -> Vec<&[u8]> {
            Candidates::listed(fields.iter().copied()).iter().collect()
        };
        assert_eq!(listed(&[b" x\t"]), [b"x"]);
        assert_eq!(listed(&[b"x, y", b"x", b"z"]), [b"x", b"y", b"z"]);
        assert!(listed(&[b"", b" ,\t,"]).is_empty(), "an empty one is none");
    }

    #[test]
    fn only_the_bearer_scheme_is_read_from_authorization() {
        for (field, found) in [
            ("Bearer x", Some("x")),
            ("bearer \t x ", Some("x")),
            ("Basic eDp5, BEARER x", Some("x")),
            ("Bearerx", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("xBearer x", None),
            ("Basic Bearer", None),
            ("\u{e9} x", None),
        ] {
            let candidates = Candidates::bearer([field.as_bytes()]);
            let first = candidates.iter().next();
            assert_eq!(first, found.map(str::as_bytes), "{field:?}");
        }
    }

    /// The same rules again, written in the slowest way.
    fn reference(field: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for pair in field.split(|byte| *byte == b';') {
            let Some(equals) = pair.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let strip = |bytes: &[u8]| {
                let text: Vec<u8> = bytes.to_vec();
                let start = text
                    .iter()
                    .position(|b| *b != b' ' && *b != b'\t')
                    .unwrap_or(text.len());
                let end = text
                    .iter()
                    .rposition(|b| *b != b' ' && *b != b'\t')
                    .map_or(start, |n| n + 1);
                text[start..end].to_vec()
            };
            let value = strip(&pair[equals + 1..]);
            if strip(&pair[..equals]) == b"id" && !found.contains(&value) {
                found.push(value);
            }
        }
        found.truncate(MAX_CANDIDATES);
        found
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_the_rules_say(field in "([ \t]{0,2}(id|i|d|\"id\"|=|;|=x|=y|;id=|\u{e9}|%69)){0,40}") {
            let field = field.as_bytes();
            let found: Vec<Vec<u8>> =
                Candidates::find("id", [field]).iter().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(found, reference(field));
        }
    }
}
