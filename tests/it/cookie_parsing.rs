//! Cookie headers as browsers write them, as other servers' tests have them and as attackers
//! shape them: each row of the tables in `docs/cookies.md` is what the crate does.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use sealed_session::{AppKey, CookieConfig, CookieStore, Origin, Session};

const PAGE: &str = include_str!("../../docs/cookies.md");
const NAME: &str = "__Host-id";
const ENTRY: &str = "whose";

/// What is found under our name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Token,
    Junk,
    Two,
    None,
}

struct Case {
    text: &'static str,
    fields: Vec<&'static str>,
    from: &'static str,
    there: Option<Found>,
    standard: Option<Found>,
    here: Found,
    verdict: &'static str,
}

impl Case {
    fn differs_from_source(&self) -> bool {
        self.there.is_some_and(|there| there != self.here)
    }

    fn differs_from_standard(&self) -> bool {
        self.standard.is_some_and(|standard| standard != self.here)
    }
}

fn found(word: &str) -> Option<Found> {
    match word {
        "token" => Some(Found::Token),
        "junk" => Some(Found::Junk),
        "two" => Some(Found::Two),
        "none" => Some(Found::None),
        "–" => None,
        _ => panic!("not a word of the table: {word:?}"),
    }
}

/// The rows of the page that begin with a field.
fn cases() -> Vec<Case> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|text| {
        let cells: Vec<&str> = text.trim_matches('|').split('|').map(str::trim).collect();
        let [field, from, there, standard, here, verdict] = cells[..] else {
            panic!("not six cells: {text}");
        };
        Case {
            text,
            fields: field.split('`').skip(1).step_by(2).collect(),
            from,
            there: found(there),
            standard: found(standard),
            here: found(here).expect("each row says what is found here"),
            verdict,
        }
    })
    .collect()
}

/// The bytes that a field of the page stands for.
fn bytes(field: &str, token: &str, other: &str) -> Vec<u8> {
    if field == "(empty)" {
        return Vec::new();
    }
    let field = field
        .replace("{T}", token)
        .replace("{U}", other)
        .replace("{tail}", token.strip_prefix('A').unwrap())
        .replace("{pad}", &"x".repeat(65_536));
    let mut bytes = Vec::new();
    let mut rest = field.as_str();
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        if let Some(after) = after.strip_prefix('t') {
            bytes.push(b'\t');
            rest = after;
        } else if let Some(hex) = after.strip_prefix('x') {
            bytes.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            rest = &hex[2..];
        } else {
            bytes.push(b'\\');
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn store(clock: &Arc<AtomicU64>) -> CookieStore {
    let clock = Arc::clone(clock);
    let cookie = CookieConfig::builder().name(NAME).build().unwrap();
    CookieStore::builder(AppKey::generate().unwrap())
        .cookie(cookie)
        .clock(move || UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed)))
        .build()
        .unwrap()
}

/// The token that a browser gets for `session` after `whose` was put into it.
fn token(store: &CookieStore, session: &Session, whose: &str) -> String {
    session.insert(ENTRY, whose).unwrap();
    let outgoing = store.respond(session).unwrap();
    let header = outgoing.set_cookies().next().unwrap();
    let value = header.strip_prefix(NAME).unwrap().strip_prefix('=');
    value.unwrap().split(';').next().unwrap().to_owned()
}

fn whose(session: &Session) -> Option<String> {
    session.get(ENTRY).unwrap()
}

#[test]
fn every_field_of_the_page_is_read_as_it_says() {
    let store = store(&Arc::default());
    let new = || store.load_from::<str>([]);
    let (token, other) = (token(&store, &new(), "T"), token(&store, &new(), "U"));
    for case in cases() {
        let fields: Vec<Vec<u8>> = case
            .fields
            .iter()
            .map(|field| bytes(field, &token, &other))
            .collect();
        let session = store.load_from(&fields);
        let found = match session.origin() {
            Origin::Opened => Found::Token,
            Origin::Refused(_) => Found::Junk,
            Origin::Ambiguous => Found::Two,
            _ => Found::None,
        };
        assert_eq!(found, case.here, "{}", case.text);
        let expected = (found == Found::Token).then_some("T");
        assert_eq!(whose(&session).as_deref(), expected, "{}", case.text);
    }
}

#[test]
fn every_difference_has_a_reason_and_every_agreement_is_one() {
    for case in cases() {
        let Case { from, verdict, .. } = case;
        let reason = match (case.differs_from_source(), case.differs_from_standard()) {
            (false, false) => {
                assert_eq!(verdict, "agree", "{}", case.text);
                continue;
            }
            (true, false) => verdict.strip_prefix(&format!("differ from {from}: ")),
            (false, true) => verdict.strip_prefix("differ from the standard: "),
            (true, true) => verdict.strip_prefix("differ from both: "),
        };
        assert!(
            reason.is_some_and(|reason| !reason.is_empty()),
            "{}",
            case.text
        );
    }
}

#[test]
fn the_page_counts_its_cases() {
    let cases = cases();
    let count = |is: fn(&Case) -> bool| cases.iter().filter(|case| is(case)).count();
    let counts = format!(
        "{} cases; {} agree, {} differ from the reader that they come from, {} differ from the \
         standard.",
        cases.len(),
        count(|case| case.verdict == "agree"),
        count(Case::differs_from_source),
        count(Case::differs_from_standard),
    );
    assert!(
        PAGE.contains(&counts),
        "docs/cookies.md should say: {counts}"
    );
}

#[test]
fn of_two_tokens_of_one_session_the_one_seen_later_is_taken_in_any_order() {
    let clock = Arc::new(AtomicU64::new(1000));
    let store = store(&clock);
    let earlier = token(&store, &store.load_from::<str>([]), "earlier");
    clock.store(1001, Ordering::Relaxed);
    let session = store.load_from([&format!("{NAME}={earlier}")]);
    let later = token(&store, &session, "later");
    for field in [
        format!("{NAME}={earlier}; {NAME}={later}"),
        format!("{NAME}={later}; {NAME}={earlier}"),
    ] {
        let session = store.load_from([&field]);
        assert_eq!(whose(&session).as_deref(), Some("later"));
    }
}
