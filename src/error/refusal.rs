//! Where a session comes from, and why a token or a session was refused.

use std::fmt;

/// Where a session comes from: [`Session::origin`](crate::Session::origin).
///
/// ```
/// # use sealed_session::{AppKey, CookieStore, Origin, Refusal};
/// # let store = CookieStore::new(AppKey::generate()?);
/// let session = store.load_from::<str>([]);
/// assert_eq!(session.origin(), Origin::Absent);
///
/// let session = store.load_from(["__Host-session=junk"]);
/// assert_eq!(session.origin(), Origin::Refused(Refusal::Malformed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The request had no cookie of this name, or there was no request.
    Absent,
    /// A cookie of the request opened.
    Opened,
    /// The request's cookie did not open. The session is new.
    Refused(Refusal),
    /// Several cookies of the request opened and are different sessions, so the store trusts none.
    /// The session is new.
    Ambiguous,
}

/// Why a token or a session was refused: for logs, metrics and the operator.
///
/// Never show it to the client: from the outside, every refusal looks the same.
///
/// ```
/// # use sealed_session::Refusal;
/// assert_eq!(Refusal::Expired.as_str(), "expired"); // for a metric
/// assert_eq!(Refusal::Expired.to_string(), "its deadline has passed"); // for a log
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// Longer than any token that is sealed for this use.
    TooLong,
    /// Not strict base64url without padding, or shorter than the empty token.
    Malformed,
    /// Its version of the wire format is one that this build does not read.
    UnknownVersion,
    /// Sealed under an app key that is not in the key ring.
    UnknownKey,
    /// This process has not reached the key store for longer than the managed keys'
    /// `max_staleness`, so it cannot know whether a key has been revoked.
    StaleKeys,
    /// The HMAC is wrong: the token was altered, sealed for another use, or not sealed by us.
    Forged,
    /// The HMAC is right and the GCM tag is wrong: the ciphertext was exchanged.
    Corrupt,
    /// The opened bytes are not a record.
    BadRecord,
    /// This build does not read the record's format, which is newer.
    Newer,
    /// The session's values are in a server's store, and this store has none.
    Elsewhere,
    /// The session's values are in the cookie, and this store keeps none there.
    InCookie,
    /// The backend has no such session: it has ended, or was idle for too long.
    Gone,
    /// Another request has given the session a new id.
    Moved,
    /// The backend returned a value that does not open: altered, or not ours.
    BadValue,
    /// The backend returned another session's value.
    Swapped,
    /// The backend is unavailable, and the store was built to go on without it.
    Unavailable,
    /// Issued or last used more than 60 seconds in the future.
    Future,
    /// The absolute deadline has passed.
    Expired,
    /// Issued before the store's `not_before`.
    Cutoff,
    /// Unused for longer than the idle timeout.
    Idle,
    /// Ended early: it is on the [`RevocationList`](crate::RevocationList).
    Revoked,
    /// Bound to a device, and the request has no proof that it comes from there (feature
    /// `device-bound`).
    Unproven,
}

impl Refusal {
    /// A short, constant name in snake case, fit for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::UnknownVersion => "unknown_version",
            Self::UnknownKey => "unknown_key",
            Self::StaleKeys => "stale_keys",
            Self::Forged => "forged",
            Self::Corrupt => "corrupt",
            Self::BadRecord => "bad_record",
            Self::Newer => "newer",
            Self::Elsewhere => "elsewhere",
            Self::InCookie => "in_cookie",
            Self::Gone => "gone",
            Self::Moved => "moved",
            Self::BadValue => "bad_value",
            Self::Swapped => "swapped",
            Self::Unavailable => "unavailable",
            Self::Future => "future",
            Self::Expired => "expired",
            Self::Cutoff => "cutoff",
            Self::Idle => "idle",
            Self::Revoked => "revoked",
            Self::Unproven => "unproven",
        }
    }
}

/// A sentence for the operator.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than any token that is sealed for this use",
            Self::Malformed => "it is not a token: not strict base64url, or cut short",
            Self::UnknownVersion => "its version of the wire format is not known to this build",
            Self::UnknownKey => "no key of the ring has its key id",
            Self::StaleKeys => "the key store was out of reach for too long to trust the keys",
            Self::Forged => "its mac is wrong: altered, not ours, or sealed for another use",
            Self::Corrupt => "its ciphertext does not match its tag",
            Self::BadRecord => "what it holds is not a session",
            Self::Newer => "it holds a session of a newer format than this build reads",
            Self::Elsewhere => "its values are in a server's store",
            Self::InCookie => "its values are in the cookie, and this store keeps none there",
            Self::Gone => "the backend has no such session: ended, or idle for too long",
            Self::Moved => "the session has got a new id in another request",
            Self::BadValue => "what the backend returned does not open: altered, or not ours",
            Self::Swapped => "what the backend returned is another session's",
            Self::Unavailable => "the backend is away",
            Self::Future => "it was issued in the future: check the clocks",
            Self::Expired => "its deadline has passed",
            Self::Cutoff => "it was issued before the store's cutoff",
            Self::Idle => "it was not used for longer than the idle timeout",
            Self::Revoked => "it was ended before its time",
            Self::Unproven => {
                "it is bound to a device, and nothing proves that it comes from there"
            }
        })
    }
}
