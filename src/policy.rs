//! Lifetimes: pure decisions from a record's header, the settings and the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Refusal;
use crate::record::Header;
use crate::time::Millis;

/// How far ahead another node's clock may be.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(60);

pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long browsers keep a cookie at most, whatever its Max-Age says: 400 days. RFC 6265bis,
/// section 5.5.
pub(crate) const LONGEST_MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// How old a cookie gets before a reading request has it written anew, if browsers forget it
/// before its session ends.
const COOKIE_REFRESH_AFTER: Duration = Duration::from_secs(40 * 24 * 60 * 60);

#[derive(Debug)]
pub(crate) struct Policy {
    /// A new session's.
    pub(crate) lifetime: Duration,
    /// Any session's: lowering it ends sessions at once.
    pub(crate) max_lifetime: Duration,
    pub(crate) idle: Option<Idle>,
    /// Whether the token is in a cookie, which browsers forget after [`LONGEST_MAX_AGE`].
    pub(crate) in_cookie: bool,
    /// Sessions issued before are refused. Milliseconds.
    not_before: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    pub(crate) timeout: Duration,
    /// How old the sealed `seen_at` gets before it is written anew.
    pub(crate) refresh_after: Duration,
}

impl Policy {
    pub(crate) fn new(
        lifetime: Duration,
        max_lifetime: Duration,
        idle: Option<Idle>,
        not_before: Millis,
    ) -> Self {
        Self {
            lifetime,
            max_lifetime,
            idle,
            in_cookie: true,
            not_before: AtomicU64::new(not_before.raw()),
        }
    }

    /// That of a store without any settings.
    pub(crate) fn by_default() -> Self {
        Self::new(DEFAULT_LIFETIME, DEFAULT_LIFETIME, None, Millis::default())
    }

    pub(crate) fn set_not_before(&self, not_before: Millis) {
        self.not_before.store(not_before.raw(), Ordering::Relaxed);
    }

    /// Whether a session is alive at `now`.
    pub(crate) fn admit(&self, header: &Header, now: Millis) -> Result<(), Refusal> {
        self.admit_but_for_idle(header, now)?;
        match self.idle {
            Some(idle) if now >= header.seen_at.plus(idle.timeout) => Err(Refusal::Idle),
            _ => Ok(()),
        }
    }

    /// The same for a record whose time of use is kept elsewhere.
    pub(crate) fn admit_but_for_idle(&self, header: &Header, now: Millis) -> Result<(), Refusal> {
        let latest = now.plus(CLOCK_SKEW);
        if header.issued_at > latest || header.seen_at > latest {
            return Err(Refusal::Future);
        }
        if now >= self.deadline(header.issued_at, header.expires_at) {
            return Err(Refusal::Expired);
        }
        if header.issued_at.raw() < self.not_before.load(Ordering::Relaxed) {
            return Err(Refusal::Cutoff);
        }
        Ok(())
    }

    /// The absolute end of a session, which no refresh moves.
    pub(crate) fn deadline(&self, issued_at: Millis, expires_at: Millis) -> Millis {
        expires_at.min(issued_at.plus(self.max_lifetime))
    }

    /// Whether a session that was read at `read_at` needs its `seen_at` written.
    pub(crate) fn refresh_is_due(&self, header: &Header, read_at: Millis) -> bool {
        self.idle
            .is_some_and(|idle| read_at.since(header.seen_at) >= idle.refresh_after)
            || self.cookie_is_due(header, read_at)
    }

    /// Whether a cookie must be written anew so that its browser does not forget it before the
    /// session ends. Its `seen_at` tells when it was written last.
    pub(crate) fn cookie_is_due(&self, header: &Header, now: Millis) -> bool {
        let forgotten_at = header.seen_at.plus(LONGEST_MAX_AGE);
        self.in_cookie
            && !header.transient
            && forgotten_at < self.deadline(header.issued_at, header.expires_at)
            && now.since(header.seen_at) >= COOKIE_REFRESH_AFTER
    }

    /// How long a backend keeps a session that is used now: at least a millisecond.
    #[cfg(feature = "server")]
    pub(crate) fn ttl(&self, deadline: Millis, now: Millis) -> Duration {
        let rest = deadline.since(now);
        let rest = self.idle.map_or(rest, |idle| rest.min(idle.timeout));
        rest.max(Duration::from_millis(1))
    }

    /// Whether a backend that forgets a session at `forgotten_at` must be told to keep it longer,
    /// or, after the idle timeout was shortened, less long.
    #[cfg(feature = "server")]
    pub(crate) fn touch_is_due(&self, forgotten_at: Millis, deadline: Millis, now: Millis) -> bool {
        let ttl = self.ttl(deadline, now);
        let wanted = now.plus(ttl);
        let differs_by = wanted.since(forgotten_at).max(forgotten_at.since(wanted));
        // Without an idle timeout the two differ only if there was one, or an earlier deadline.
        differs_by >= self.idle.map_or(ttl / 10, |idle| idle.refresh_after)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::SessionId;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(millis: u64) -> Millis {
        Millis::from_raw(millis)
    }

    fn header(issued_at: u64, seen_at: u64, expires_at: u64) -> Header {
        Header {
            id: SessionId::random(&mut |_| Ok(())).unwrap(),
            issued_at: at(issued_at),
            seen_at: at(seen_at),
            expires_at: at(expires_at),
            transient: false,
            in_backend: false,
        }
    }

    fn policy(idle: Option<u64>, not_before: u64) -> Policy {
        let idle = idle.map(|millis| Idle {
            timeout: Duration::from_millis(millis),
            refresh_after: Duration::from_millis(millis / 10),
        });
        Policy::new(HOUR, HOUR, idle, at(not_before))
    }

    #[test]
    fn each_bound_is_exact_to_the_millisecond() {
        let issued = 1_000_000;
        let hour = issued + 3_600_000;
        let header = header(issued, issued, hour + 5);
        for (policy, now, outcome) in [
            (policy(None, 0), issued - 60_001, Err(Refusal::Future)),
            (policy(None, 0), issued - 60_000, Ok(())),
            (policy(None, 0), hour - 1, Ok(())),
            (policy(None, 0), hour, Err(Refusal::Expired)),
            (policy(None, issued), issued, Ok(())),
            (policy(None, issued + 1), issued, Err(Refusal::Cutoff)),
            (policy(Some(1000), 0), issued + 999, Ok(())),
            (policy(Some(1000), 0), issued + 1000, Err(Refusal::Idle)),
        ] {
            assert_eq!(policy.admit(&header, at(now)), outcome, "{now}");
        }
    }

    #[test]
    fn a_seen_at_in_the_future_is_refused_too() {
        let header = header(1000, 100_000, 200_000);
        assert_eq!(
            policy(None, 0).admit(&header, at(39_999)),
            Err(Refusal::Future)
        );
        assert_eq!(policy(None, 0).admit(&header, at(40_000)), Ok(()));
    }

    #[test]
    fn the_earlier_of_the_deadlines_holds() {
        let policy = policy(None, 0);
        assert_eq!(policy.deadline(at(0), at(5000)), at(5000));
        assert_eq!(policy.deadline(at(0), at(9_000_000)), at(3_600_000));
    }

    #[test]
    fn a_refresh_is_due_when_a_tenth_of_the_timeout_has_passed() {
        let policy_with = policy(Some(1000), 0);
        let header = header(1000, 1000, 9000);
        assert!(!policy_with.refresh_is_due(&header, at(1099)));
        assert!(policy_with.refresh_is_due(&header, at(1100)));
        assert!(!policy(None, 0).refresh_is_due(&header, at(8000)));
    }

    #[test]
    fn a_cookie_is_due_after_forty_days_if_its_browser_forgets_it_before_the_session_ends() {
        const DAYS: u64 = 24 * 60 * 60 * 1000;
        let mut policy = Policy::new(Duration::MAX, Duration::MAX, None, at(0));
        for (expires_at, now, due) in [
            (500 * DAYS, 41 * DAYS - 1, false),
            (500 * DAYS, 41 * DAYS, true),
            (500 * DAYS, 499 * DAYS, true),
            // The browser keeps it to the end.
            (401 * DAYS, 400 * DAYS, false),
            (401 * DAYS + 1, 400 * DAYS, true),
            (u64::MAX, 41 * DAYS, true),
        ] {
            let mut header = header(0, DAYS, expires_at);
            assert_eq!(policy.cookie_is_due(&header, at(now)), due, "{now}");
            assert_eq!(policy.refresh_is_due(&header, at(now)), due, "{now}");
            header.transient = true;
            assert!(!policy.cookie_is_due(&header, at(now)), "no Max-Age");
        }
        policy.in_cookie = false;
        let header = header(0, DAYS, u64::MAX);
        assert!(!policy.cookie_is_due(&header, at(41 * DAYS)), "a header");
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_backend_keeps_a_session_until_it_is_idle_or_over_whichever_comes_first() {
        let millis = Duration::from_millis;
        for (idle, deadline, now, ttl) in [
            (None, 9000, 1000, 8000),
            (Some(1000), 9000, 1000, 1000),
            (Some(1000), 9000, 8500, 500),
            (None, 9000, 9000, 1),
        ] {
            assert_eq!(policy(idle, 0).ttl(at(deadline), at(now)), millis(ttl));
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_touch_is_due_when_it_moves_the_end_by_a_tenth() {
        for (idle, forgotten_at, now, due) in [
            (Some(1000), 2000, 1099, false),
            (Some(1000), 2000, 1100, true),
            // The timeout was longer before.
            (Some(1000), 2099, 1000, false),
            (Some(1000), 2100, 1000, true),
            // There was one before.
            (None, 9000, 1000, false),
            (None, 8201, 1000, false),
            (None, 8200, 1000, true),
        ] {
            let is_due = policy(idle, 0).touch_is_due(at(forgotten_at), at(9000), at(now));
            assert_eq!(is_due, due, "{idle:?} {forgotten_at} {now}");
        }
    }

    proptest! {
        #[test]
        fn no_times_make_it_panic(a in any::<u64>(), b in any::<u64>(), c in any::<u64>(), now in any::<u64>(), idle in any::<u64>(), cutoff in any::<u64>()) {
            let policy = policy(Some(idle), cutoff);
            let header = header(a, b, c);
            let _ = policy.admit(&header, at(now));
            let _ = policy.refresh_is_due(&header, at(now));
        }
    }
}
