//! Tells the developer why the layer answers 500. In debug builds, the reason is the body of the
//! answer, and is printed on standard error once for each kind of reason. Release builds say
//! nothing.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::iter::successors;
use std::sync::{Mutex, PoisonError};

use super::failure::Failure;
use crate::error::{ErrorKind, HostErrorKind, LoadErrorKind, SaveErrorKind};

/// The headers of an answer that has the reason as its body.
pub(crate) const HEADERS: [(&str, &str); 2] = [
    ("content-type", "text/plain; charset=utf-8"),
    // The text names entries of the session. If a visitor chose such a name, it must not run.
    ("x-content-type-options", "nosniff"),
];

const HOW_TO_SEE: &str = "This is a debug build, so the answer has this text as its body, and \
    standard error has it once for each kind of reason. A release build answers without a body. To \
    see reasons there, set up a `tracing` subscriber with the feature `tracing`, or answer with \
    `SessionLayer::on_error`. docs/errors.md lists every error.";

/// The kinds of reasons that were printed already.
static TOLD: Told = Told(Mutex::new(BTreeSet::new()));

/// Tells the developer, and returns the body of the answer: `None` in release builds.
pub(crate) fn reason(failure: &Failure) -> Option<String> {
    reason_in(cfg!(debug_assertions), failure)
}

fn reason_in(is_debug_build: bool, failure: &Failure) -> Option<String> {
    is_debug_build.then(|| {
        let text = text(failure);
        if TOLD.is_first(failure) {
            // If there is no standard error, nothing is printed.
            let _ = writeln!(io::stderr(), "{text}");
        }
        text
    })
}

fn text(failure: &Failure) -> String {
    let mut text = format!("sealed-session answered a request with 500.\n\nreason: {failure}\n");
    for cause in successors(failure.source(), |&cause| cause.source()) {
        let _ = writeln!(text, "cause: {cause}");
    }
    let _ = writeln!(text, "\n{HOW_TO_SEE}");
    text
}

type Kind = (&'static str, &'static str);

struct Told(Mutex<BTreeSet<Kind>>);

impl Told {
    fn is_first(&self, failure: &Failure) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(kind(failure))
    }
}

fn kind(failure: &Failure) -> Kind {
    match failure {
        Failure::Load(error) => match &error.0 {
            LoadErrorKind::MissingLayer => ("load", "missing layer"),
            LoadErrorKind::SecondLayer => ("load", "second layer"),
            LoadErrorKind::TooLate => ("load", "too late"),
            LoadErrorKind::Host(host) => match host.0 {
                HostErrorKind::Unknown => ("host", "unknown"),
                HostErrorKind::Config(_) => ("host", "config"),
            },
            #[cfg(feature = "server")]
            LoadErrorKind::Backend(error) => ("load", error.kind().as_str()),
        },
        Failure::Call(error) => {
            let kind = match error.kind() {
                ErrorKind::WrongType => "wrong type",
                ErrorKind::NotStorable => "not storable",
                ErrorKind::TooLarge => "too large",
                ErrorKind::TooLongLived => "too long lived",
                ErrorKind::Closed => "closed",
                ErrorKind::NotClaimable => "not claimable",
            };
            ("call", kind)
        }
        #[cfg(feature = "device-bound")]
        Failure::DeviceBody => ("device", "body"),
        Failure::Save(error) => match &error.0 {
            SaveErrorKind::Random(_) => ("save", "random"),
            #[cfg(feature = "managed-keys")]
            SaveErrorKind::NoKey => ("save", "no key"),
            SaveErrorKind::OtherStore => ("save", "other store"),
            SaveErrorKind::TooLarge(_) => ("save", "too large"),
            #[cfg(feature = "server")]
            SaveErrorKind::Backend(error) => ("save", error.kind().as_str()),
            #[cfg(feature = "server")]
            SaveErrorKind::Conflict => ("save", "conflict"),
            SaveErrorKind::Moved => ("save", "moved"),
            SaveErrorKind::Unproven => ("save", "unproven"),
            #[cfg(feature = "server")]
            SaveErrorKind::Claimed => ("save", "claimed"),
            #[cfg(feature = "server")]
            SaveErrorKind::Unreadable(refusal) => ("unreadable", refusal.as_str()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ConfigError, HostError, LoadError, SessionError};

    fn missing_layer() -> Failure {
        Failure::Load(LoadError(LoadErrorKind::MissingLayer))
    }

    #[test]
    fn a_release_build_says_nothing() {
        assert_eq!(reason_in(false, &missing_layer()), None);
    }

    #[test]
    fn a_debug_build_says_the_error_its_causes_and_how_to_see_them_later() {
        let config = ConfigError::new("lifetime", "it is shorter than a millisecond");
        let host = HostError(HostErrorKind::Config(config));
        let failure = Failure::Load(LoadError(LoadErrorKind::Host(host)));
        let text = reason_in(true, &failure).expect("a text");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[2..],
            [
                "reason: the request's host has no sessions; the cause says why",
                "cause: the store of the request's host cannot be made; correct the setting that \
                 the cause names",
                "cause: lifetime: it is shorter than a millisecond",
                "",
                HOW_TO_SEE
            ]
        );
        for how in ["`tracing`", "`SessionLayer::on_error`", "docs/errors.md"] {
            assert!(HOW_TO_SEE.contains(how), "{how}");
        }
    }

    #[test]
    fn each_kind_of_reason_is_told_once_whatever_entry_it_is_about() {
        let told = Told(Mutex::default());
        let wrong = |entry: &str| {
            let error = SessionError::new(ErrorKind::WrongType, format!("{entry:?}: wrong"));
            Failure::Call(error)
        };
        assert!(told.is_first(&wrong("user_id")));
        assert!(!told.is_first(&wrong("cart")));
        assert!(told.is_first(&missing_layer()));
        assert!(!told.is_first(&missing_layer()));
        assert!(told.is_first(&Failure::Call(SessionError::closed())));
    }
}
