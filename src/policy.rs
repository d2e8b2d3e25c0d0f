//! Lifetimes: pure decisions from a record's header, the settings and the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Refusal;
use crate::record::Header;
use crate::time::Millis;

/// How far the clock of another node may be ahead.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(60);

pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest that browsers keep a cookie, whatever its Max-Age says: 400 days (RFC 6265bis,
/// section 5.5).
pub(crate) const LONGEST_MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// The age at which even a request that only reads rewrites the cookie, if browsers would forget it
/// before its session ends.
const COOKIE_REFRESH_AFTER: Duration = Duration::from_secs(40 * 24 * 60 * 60);

/// A store's settings for how long sessions live.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The lifetime of a new session.
    pub(crate) lifetime: Duration,
    /// The longest lifetime of any session. Lowering it ends sessions at once.
    pub(crate) max_lifetime: Duration,
    pub(crate) idle: Option<Idle>,
    /// Whether the token is in a cookie, which browsers forget after [`LONGEST_MAX_AGE`].
    pub(crate) in_cookie: bool,
    /// Sessions issued before this moment are refused. Milliseconds.
    not_before: AtomicU64,
}

/// The settings of an idle timeout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    pub(crate) timeout: Duration,
    /// The age at which the sealed `seen_at` is rewritten.
    pub(crate) refresh_after: Duration,
    /// How much longer than the timeout a backend keeps a session, for requests that began in time.
    #[cfg(feature = "server")]
    pub(crate) longest_request: Duration,
}

/// How long a request may take, unless the builder says otherwise.
#[cfg(feature = "server")]
pub(crate) const LONGEST_REQUEST: Duration = Duration::from_secs(60 * 60);

/// The longest that a backend keeps a session after its last use: two thousand years. Added to a
/// moment, this does not overflow.
#[cfg(feature = "server")]
const LONGEST_KEPT: Duration = Duration::from_secs(2000 * 365 * 24 * 60 * 60);

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

    /// The policy of a store without any settings.
    pub(crate) fn by_default() -> Self {
        Self::new(DEFAULT_LIFETIME, DEFAULT_LIFETIME, None, Millis::default())
    }

    pub(crate) fn set_not_before(&self, not_before: Millis) {
        self.not_before.store(not_before.raw(), Ordering::Relaxed);
    }

    /// Checks whether a session is alive at `now`.
    pub(crate) fn admit(&self, header: &Header, now: Millis) -> Result<(), Refusal> {
        self.admit_but_for_idle(header, now)?;
        match self.idle {
            Some(idle) if now >= header.seen_at.plus(idle.timeout) => Err(Refusal::Idle),
            _ => Ok(()),
        }
    }

    /// Checks everything but idleness, for a record whose time of use is kept elsewhere.
    pub(crate) fn admit_but_for_idle(&self, header: &Header, now: Millis) -> Result<(), Refusal> {
        let latest = now.plus(CLOCK_SKEW);
        if header.issued_at > latest || header.seen_at > latest {
            return Err(Refusal::Future);
        }
        if now >= self.deadline(header) {
            return Err(Refusal::Expired);
        }
        if header.issued_at.raw() < self.not_before.load(Ordering::Relaxed) {
            return Err(Refusal::Cutoff);
        }
        Ok(())
    }

    /// The absolute end of a session. No refresh moves it.
    pub(crate) fn deadline(&self, header: &Header) -> Millis {
        self.end(header.began_at(), header.expires_at)
    }

    /// The absolute end of a session whose lifetime began at `began_at`.
    pub(crate) fn end(&self, began_at: Millis, expires_at: Millis) -> Millis {
        expires_at.min(began_at.plus(self.max_lifetime))
    }

    /// Whether a session that was issued then and ends at `end` may be sent at `now`. It may be
    /// issued in our future, by a node whose clock is ahead.
    pub(crate) fn may_be_sent(&self, issued_at: Millis, end: Millis, now: Millis) -> bool {
        let is_cut_off = issued_at.raw() < self.not_before.load(Ordering::Relaxed);
        end > now.max(issued_at) && !is_cut_off
    }

    /// Whether time alone can make a refresh due.
    pub(crate) fn refreshes(&self) -> bool {
        self.idle.is_some() || (self.in_cookie && self.max_lifetime > LONGEST_MAX_AGE)
    }

    /// Whether a response at `now` must rewrite the session's `seen_at`.
    pub(crate) fn refresh_is_due(&self, header: &Header, now: Millis) -> bool {
        self.use_is_due(header, now) || self.cookie_is_due(header, now)
    }

    /// Whether the time of use is old enough to be rewritten.
    fn use_is_due(&self, header: &Header, now: Millis) -> bool {
        self.idle
            .is_some_and(|idle| now.since(header.seen_at) >= idle.refresh_after)
    }

    /// Whether the cookie must be rewritten, so that the browser does not forget it before the
    /// session ends. `seen_at` says when it was last written.
    pub(crate) fn cookie_is_due(&self, header: &Header, now: Millis) -> bool {
        let forgotten_at = header.seen_at.plus(LONGEST_MAX_AGE);
        self.in_cookie
            && !header.transient
            && forgotten_at < self.deadline(header)
            && now.since(header.seen_at) >= COOKIE_REFRESH_AFTER
    }

    /// How long a backend keeps a session after its last use, if there is an idle timeout. This is
    /// longer than the timeout, for requests that began in time. It may go beyond the deadline: the
    /// backend's remaining time must show the last use, even if the deadline has changed since.
    #[cfg(feature = "server")]
    pub(crate) fn kept_for(&self) -> Option<Duration> {
        let idle = self.idle?;
        // No session is idle for longer than it may live.
        let timeout = idle.timeout.min(self.max_lifetime);
        let kept_for = timeout.saturating_add(idle.longest_request);
        // In whole milliseconds, as in the record.
        let kept_until = Millis::default().plus(kept_for.min(LONGEST_KEPT));
        Some(kept_until.since(Millis::default()))
    }

    /// How long a backend keeps such a record from now on: at least a millisecond.
    #[cfg(feature = "server")]
    pub(crate) fn ttl(&self, header: &Header, now: Millis) -> Duration {
        let until = match header.kept_for {
            Some(kept_for) => header.seen_at.plus(kept_for),
            None => self.deadline(header),
        };
        until.since(now).max(Duration::from_millis(1))
    }

    /// Whether a backend that keeps a record by these settings must be told of its use.
    #[cfg(feature = "server")]
    pub(crate) fn touch_is_due(&self, header: &Header, now: Millis) -> bool {
        let deadline = self.deadline(header);
        // A session that cannot become idle before its deadline needs no more touches.
        let may_get_idle = self
            .idle
            .is_some_and(|idle| header.seen_at.plus(idle.timeout) < deadline);
        may_get_idle && now < deadline && self.use_is_due(header, now)
    }

    /// Whether a record must be rewritten, because the backend keeps it by other settings than
    /// these. The backend forgets it at `forgotten_at`.
    #[cfg(feature = "server")]
    pub(crate) fn is_kept_otherwise(
        &self,
        header: &Header,
        forgotten_at: Millis,
        now: Millis,
    ) -> bool {
        if header.kept_for.is_some() || self.idle.is_some() {
            return header.kept_for != self.kept_for();
        }
        // The backend may know an earlier deadline.
        let deadline = self.deadline(header);
        let tenth = deadline.since(now) / 10;
        now < deadline && deadline.since(forgotten_at) >= tenth.max(COARSE)
    }
}

/// Some backends keep only whole seconds.
#[cfg(feature = "server")]
const COARSE: Duration = Duration::from_secs(1);

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
            kept_for: None,
            logged_in_at: None,
            binding: None,
        }
    }

    fn policy(idle: Option<u64>, not_before: u64) -> Policy {
        let idle = idle.map(|millis| Idle {
            timeout: Duration::from_millis(millis),
            refresh_after: Duration::from_millis(millis / 10),
            #[cfg(feature = "server")]
            longest_request: Duration::ZERO,
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
        assert_eq!(policy.end(at(0), at(5000)), at(5000));
        assert_eq!(policy.end(at(0), at(9_000_000)), at(3_600_000));
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
    fn a_backend_keeps_a_session_until_its_deadline_or_for_as_long_after_its_last_use() {
        let millis = Duration::from_millis;
        let kept_for = |idle, request: u64| {
            let mut policy = policy(idle, 0);
            let longest_request = millis(request);
            policy.idle = policy.idle.map(|idle| Idle {
                longest_request,
                ..idle
            });
            policy.kept_for()
        };
        assert_eq!(kept_for(None, 500), None);
        assert_eq!(kept_for(Some(1000), 500), Some(millis(1500)));
        let longer_than_it_lives = kept_for(Some(9_000_000), 500);
        assert_eq!(longer_than_it_lives, Some(HOUR + millis(500)));
        assert_eq!(kept_for(Some(1000), u64::MAX), Some(LONGEST_KEPT));

        let policy = policy(Some(1000), 0);
        for (kept_for, seen, now, ttl) in [
            (None, 1000, 2000, 7000),
            (None, 1000, 9000, 1),
            (Some(1500), 1000, 1000, 1500),
            (Some(1500), 1000, 2200, 300),
            (Some(1500), 8900, 8900, 1500),
            (Some(1500), 1000, 2500, 1),
        ] {
            let kept_for = kept_for.map(millis);
            let header = Header {
                kept_for,
                ..header(1000, seen, 9000)
            };
            assert_eq!(policy.ttl(&header, at(now)), millis(ttl), "{seen} {now}");
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_touch_is_due_after_a_tenth_of_the_timeout_while_it_can_still_end_the_session() {
        for (idle, seen, now, due) in [
            (Some(1000), 1000, 1099, false),
            (Some(1000), 1000, 1100, true),
            (Some(1000), 1000, 8999, true),
            (Some(1000), 1000, 9000, false),
            (Some(1000), 7999, 8500, true),
            (Some(1000), 8000, 8500, false),
            (None, 1000, 8500, false),
        ] {
            let is_due = policy(idle, 0).touch_is_due(&header(1000, seen, 9000), at(now));
            assert_eq!(is_due, due, "{idle:?} {seen} {now}");
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_record_is_written_anew_when_the_settings_would_keep_it_otherwise() {
        let millis = Duration::from_millis;
        for (idle, kept_for, forgotten_at, due) in [
            (Some(1000), Some(1000), 2000, false),
            (Some(1000), Some(999), 2000, true),
            (Some(1000), None, 90_000, true),
            (None, Some(1000), 90_000, true),
            (None, None, 90_000, false),
            // The deadline was earlier. A difference in whole seconds does not count.
            (None, None, 81_101, false),
            (None, None, 81_100, true),
        ] {
            let header = Header {
                kept_for: kept_for.map(millis),
                ..header(1000, 1000, 90_000)
            };
            let policy = policy(idle, 0);
            let is_due = policy.is_kept_otherwise(&header, at(forgotten_at), at(1000));
            assert_eq!(is_due, due, "{idle:?} {kept_for:?} {forgotten_at}");
        }
        let header = header(1000, 1000, 90_000);
        for (forgotten_at, now, due) in [
            (89_001, 89_900, false),
            (89_000, 89_900, true),
            (89_000, 90_000, false),
        ] {
            let policy = policy(None, 0);
            let is_due = policy.is_kept_otherwise(&header, at(forgotten_at), at(now));
            assert_eq!(is_due, due, "{forgotten_at} {now}");
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
