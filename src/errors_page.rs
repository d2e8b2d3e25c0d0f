//! Compares docs/errors.md with the errors: each error has a row, and each row has an error.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::envelope::KeyError;
use crate::error::{
    BackendError, BackendErrorKind, ConfigError, ErrorKind, HostError, HostErrorKind, LoadError,
    LoadErrorKind, Measure, OpenError, RandomError, Refusal, SaveError, SaveErrorKind, SealError,
    SessionError, TooLarge, one_of_each,
};
use crate::keys::KeyStoreErrorKind;
use crate::{AppKey, CookieStore, Session};

const PAGE: &str = include_str!("../docs/errors.md");

/// The first cell of each row in the table below this heading.
fn rows(heading: &str) -> BTreeSet<String> {
    let start = format!("\n## {heading}\n");
    let section = PAGE.split_once(&start).map_or("", |(_, section)| section);
    let section = section.split_once("\n## ").map_or(section, |(it, _)| it);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split_once(" | "));
    let cells = cells.filter(|(first, _)| !["message", "kind"].contains(first));
    cells
        .map(|(first, others)| {
            assert_eq!(
                others.split(" | ").count(),
                2,
                "when, and what to do: {first}"
            );
            first.to_owned()
        })
        .collect()
}

fn assert_rows(heading: &str, messages: impl IntoIterator<Item = String>) {
    let (rows, messages) = (rows(heading), messages.into_iter().collect::<BTreeSet<_>>());
    let missing: Vec<_> = messages.difference(&rows).collect();
    let stale: Vec<_> = rows.difference(&messages).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "docs/errors.md, {heading}:\nmissing: {missing:#?}\nnot an error any more: {stale:#?}"
    );
}

fn backend_error() -> BackendError {
    BackendError::new(BackendErrorKind::Timeout, "too slow")
}

fn kinds<K: std::fmt::Debug>(kinds: Vec<K>) -> impl Iterator<Item = String> {
    kinds.into_iter().map(|kind| format!("`{kind:?}`"))
}

#[test]
fn the_page_has_each_error_of_a_load() {
    let errors = one_of_each! { LoadErrorKind:
        LoadErrorKind::MissingLayer => LoadErrorKind::MissingLayer,
        LoadErrorKind::SecondLayer => LoadErrorKind::SecondLayer,
        LoadErrorKind::TooLate => LoadErrorKind::TooLate,
        LoadErrorKind::Host(_) => LoadErrorKind::Host(HostError(HostErrorKind::Unknown)),
        LoadErrorKind::Backend(_) => LoadErrorKind::Backend(backend_error()),
    };
    let messages = errors.into_iter().map(|kind| LoadError(kind).to_string());
    assert_rows("LoadError", messages);
}

#[test]
fn the_page_has_each_error_of_a_host() {
    let config = ConfigError::new("lifetime", "it is shorter than a millisecond");
    let errors = one_of_each! { HostErrorKind:
        HostErrorKind::Unknown => HostErrorKind::Unknown,
        HostErrorKind::Config(_) => HostErrorKind::Config(config),
    };
    let messages = errors.into_iter().map(|kind| HostError(kind).to_string());
    assert_rows("HostError", messages);
}

#[test]
fn the_page_has_each_error_of_a_save() {
    let too_large = |of| TooLarge {
        size: 4_200,
        limit: 4_096,
        of,
    };
    let errors = one_of_each! { SaveErrorKind:
        SaveErrorKind::Random(_) => SaveErrorKind::Random(RandomError(())),
        SaveErrorKind::NoKey => SaveErrorKind::NoKey,
        SaveErrorKind::OtherStore => SaveErrorKind::OtherStore,
        SaveErrorKind::TooLarge(_) => SaveErrorKind::TooLarge(too_large(Measure::Cookie)),
        SaveErrorKind::Backend(_) => SaveErrorKind::Backend(backend_error()),
        SaveErrorKind::Conflict => SaveErrorKind::Conflict,
        SaveErrorKind::Moved => SaveErrorKind::Moved,
        SaveErrorKind::Unproven => SaveErrorKind::Unproven,
        SaveErrorKind::Claimed => SaveErrorKind::Claimed,
        SaveErrorKind::Unreadable(_) => SaveErrorKind::Unreadable(Refusal::UnknownKey),
    };
    let messages = errors.into_iter().map(|kind| SaveError(kind).to_string());
    assert_rows("SaveError", messages);
}

/// One error of each kind, as a handler meets it.
#[test]
fn the_page_has_each_error_of_a_session() {
    let store = CookieStore::new(AppKey::generate().unwrap());
    let session = store.load_from([""]);
    session.insert("user_id", "ada").unwrap();
    let closed = Session::new();
    closed.close();
    let far = std::time::SystemTime::now() + Duration::from_secs(90 * 24 * 60 * 60);
    let error_of = |kind: ErrorKind| match kind {
        ErrorKind::WrongType => session.get::<u64>("user_id").unwrap_err(),
        ErrorKind::NotStorable => session.insert("balance", 1_i128 << 64).unwrap_err(),
        ErrorKind::TooLarge => session.insert("story", "x".repeat(3_000)).unwrap_err(),
        ErrorKind::TooLongLived => session.set_expiry(far).unwrap_err(),
        ErrorKind::Closed => closed.insert("cart", 1).unwrap_err(),
        ErrorKind::NotClaimable => session.claim::<String>("user_id").unwrap_err(),
    };
    let errors = one_of_each! { ErrorKind:
        ErrorKind::WrongType => ErrorKind::WrongType,
        ErrorKind::NotStorable => ErrorKind::NotStorable,
        ErrorKind::TooLarge => ErrorKind::TooLarge,
        ErrorKind::TooLongLived => ErrorKind::TooLongLived,
        ErrorKind::Closed => ErrorKind::Closed,
        ErrorKind::NotClaimable => ErrorKind::NotClaimable,
    };
    let errors = errors.into_iter().map(|kind| {
        let error: SessionError = error_of(kind);
        assert_eq!(error.kind(), kind);
        error
    });
    let name = session.set_subject("x".repeat(300)).unwrap_err();
    let errors = errors.chain([name]);
    assert_rows("SessionError", errors.map(|error| error.to_string()));
}

#[test]
fn the_page_has_each_error_of_a_sealer_and_of_the_random_source() {
    let second = Duration::from_secs(1);
    let mut errors: Vec<String> = one_of_each! { SealError:
        SealError::Random(_) => SealError::Random(RandomError(())),
        SealError::TooLarge { .. } => SealError::TooLarge { size: 5_000, limit: 4_000 },
        SealError::NoKey => SealError::NoKey,
        SealError::LongLived { .. } => SealError::LongLived { lifetime: 90 * second, limit: 60 * second },
    }
    .into_iter()
    .map(|error| error.to_string())
    .collect();
    errors.push(OpenError::from(Refusal::Forged).to_string());
    errors.push(RandomError(()).to_string());
    assert_rows("SealError, OpenError and RandomError", errors);
}

#[test]
fn the_page_has_each_error_of_a_key() {
    // The page leaves out how to make a good key, which several messages say at their end.
    let messages = KeyError::of_each_kind().into_iter().map(|error| {
        let message = error.to_string();
        let cut = message.split_once("; make one with");
        let message = cut.map_or(&*message, |(before, _)| before);
        message.trim_start_matches("app key: ").to_owned()
    });
    assert_rows("KeyError", messages);
}

#[test]
fn the_page_has_each_kind_of_a_backends_error() {
    let all = one_of_each! { BackendErrorKind:
        BackendErrorKind::Unavailable => BackendErrorKind::Unavailable,
        BackendErrorKind::Timeout => BackendErrorKind::Timeout,
        BackendErrorKind::Full => BackendErrorKind::Full,
        BackendErrorKind::Unsupported => BackendErrorKind::Unsupported,
        BackendErrorKind::Other => BackendErrorKind::Other,
    };
    assert_rows("BackendError", kinds(all));
}

#[test]
fn the_page_has_each_kind_of_a_key_stores_error() {
    let all = one_of_each! { KeyStoreErrorKind:
        KeyStoreErrorKind::Unavailable => KeyStoreErrorKind::Unavailable,
        KeyStoreErrorKind::Full => KeyStoreErrorKind::Full,
        KeyStoreErrorKind::Missing => KeyStoreErrorKind::Missing,
        KeyStoreErrorKind::Damaged => KeyStoreErrorKind::Damaged,
        KeyStoreErrorKind::NotOpened => KeyStoreErrorKind::NotOpened,
        KeyStoreErrorKind::Unsafe => KeyStoreErrorKind::Unsafe,
        KeyStoreErrorKind::Conflict => KeyStoreErrorKind::Conflict,
        KeyStoreErrorKind::Refused => KeyStoreErrorKind::Refused,
        KeyStoreErrorKind::Other => KeyStoreErrorKind::Other,
    };
    assert_rows("KeyStoreError", kinds(all));
}

#[test]
fn the_page_has_each_reason_of_a_refusal() {
    let all = one_of_each! { Refusal:
        Refusal::TooLong => Refusal::TooLong,
        Refusal::Malformed => Refusal::Malformed,
        Refusal::UnknownVersion => Refusal::UnknownVersion,
        Refusal::UnknownKey => Refusal::UnknownKey,
        Refusal::StaleKeys => Refusal::StaleKeys,
        Refusal::Forged => Refusal::Forged,
        Refusal::Corrupt => Refusal::Corrupt,
        Refusal::BadRecord => Refusal::BadRecord,
        Refusal::Newer => Refusal::Newer,
        Refusal::Elsewhere => Refusal::Elsewhere,
        Refusal::InCookie => Refusal::InCookie,
        Refusal::Gone => Refusal::Gone,
        Refusal::Moved => Refusal::Moved,
        Refusal::BadValue => Refusal::BadValue,
        Refusal::Swapped => Refusal::Swapped,
        Refusal::Unavailable => Refusal::Unavailable,
        Refusal::Future => Refusal::Future,
        Refusal::Expired => Refusal::Expired,
        Refusal::Cutoff => Refusal::Cutoff,
        Refusal::Idle => Refusal::Idle,
        Refusal::Revoked => Refusal::Revoked,
        Refusal::Unproven => Refusal::Unproven,
    };
    let messages = all.into_iter().map(|refusal| refusal.to_string());
    assert_rows("Refusal", messages);
}
