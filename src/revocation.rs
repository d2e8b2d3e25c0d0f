//! Ends sessions that live in cookies: a list of those that are over before their time.
//!
//! The list holds only what could still be alive: an id until no cookie of its session can be, a
//! subject until no session from before its cutoff can be left. Each is looked for when a genuine session
//! is opened, so nothing that a client makes up is ever listed or searched for.

#[cfg(feature = "redis")]
mod entry;
#[cfg(feature = "redis")]
pub(crate) mod fleet;
mod table;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use table::{Spread, Table};

use crate::error::Refusal;
use crate::record::{Record, SessionId};
use crate::time::Millis;

/// How long the id that a session had before it was renewed still opens, for requests that were
/// on their way.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// How exactly the list knows the time, in milliseconds; only for what it forgets.
const TICK: u64 = 1000;

/// Sessions in cookies that are over before their deadline, for the stores of one process.
///
/// With [`revocations`](crate::StoreBuilder::revocations) a store refuses what is on the list,
/// lists a session that is destroyed, and lists the id that a renewed session had before, ten
/// seconds later, for requests on their way: so a copy of a cookie that was logged out opens no
/// more. Clones are the same list, and several stores can share one.
///
/// ```
/// use std::time::SystemTime;
/// use sealed_session::{AppKey, CookieStore, RevocationList};
///
/// let list = RevocationList::new();
/// let store = CookieStore::builder(AppKey::generate()?)
///     .revocations(list.clone())
///     .build()?;
///
/// // ada's password has changed: her sessions end, on whatever device.
/// list.revoke_subject("ada", SystemTime::now());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it does not do
///
/// A renewed session is another one to the list. Somebody who has copied a cookie and lets the
/// service renew it, by logging in say, has a session with an id of its own, which the end of the
/// first one does not touch: that is what [`revoke_subject`](Self::revoke_subject) is for, which
/// ends copies as well. It needs sessions that say whose they are, with
/// [`Session::set_subject`](crate::Session::set_subject).
///
/// The list is gone with the process, and other processes do not see it: then what was ended
/// and has not expired opens again. For a fleet, and to outlast a restart, there is
/// `RevocableCookieStore` (feature `redis`).
///
/// # Size
///
/// An ended session takes 39 to 78 bytes until it is forgotten, a subject 38 to 76 and its text.
/// The dead are swept out as the list grows, a thirty-second part at a time; at most twice as many
/// dead as living are held. Only genuine sessions get on the list, each once: to make it grow a
/// client has to be given sessions and end them.
#[derive(Clone, Default)]
pub struct RevocationList {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    ids: Table<SessionId, Span>,
    /// With the moment before which sessions are void.
    subjects: Table<Box<str>, Millis>,
    /// How long sessions may live, and until when such ones may be left.
    #[cfg(feature = "redis")]
    lifetimes: Table<Lifetime, Millis>,
    /// Any session from before is void. Milliseconds.
    not_before: AtomicU64,
    /// The longest that a session of any store that the list knows of can live. Milliseconds.
    longest: AtomicU64,
    /// Of the comparison that goes on with what other processes see.
    round: AtomicU8,
    /// The latest moment from which on sessions count that was seen in this round. Milliseconds.
    not_before_seen: AtomicU64,
    /// The time as the stores had it lately. Milliseconds.
    time: AtomicU64,
}

/// When an id on the list counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Millis,
    until: Millis,
}

impl Span {
    fn counts(self, now: Millis) -> bool {
        self.from <= now && now < self.until
    }
}

/// One thing to put on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Revocation {
    Id {
        id: SessionId,
        from: Millis,
        until: Millis,
    },
    Subject {
        subject: Box<str>,
        moment: Millis,
    },
    All {
        moment: Millis,
    },
    /// Nothing has ended, but until then there may be sessions that live this long.
    #[cfg(feature = "redis")]
    Lifetime {
        longest: Lifetime,
        until: Millis,
    },
}

/// How long a session may live: milliseconds, as many as a moment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lifetime(u64);

impl From<Duration> for Lifetime {
    fn from(lifetime: Duration) -> Self {
        Self(Millis::default().plus(lifetime).raw())
    }
}

#[cfg(feature = "redis")]
impl From<Lifetime> for Duration {
    fn from(lifetime: Lifetime) -> Self {
        Self::from_millis(lifetime.0)
    }
}

/// There are few.
#[cfg(feature = "redis")]
impl Spread for Lifetime {
    fn spread(&self) -> u8 {
        0
    }
}

/// Ids are random.
impl Spread for SessionId {
    fn spread(&self) -> u8 {
        let [first, ..] = self.as_bytes();
        *first
    }
}

impl Spread for str {
    fn spread(&self) -> u8 {
        self.bytes().fold(0, u8::wrapping_add)
    }
}

impl Spread for Box<str> {
    fn spread(&self) -> u8 {
        (**self).spread()
    }
}

impl RevocationList {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the session with this id, no cookie of which can be alive after `until`: see
    /// [`Session::id`](crate::Session::id) and
    /// [`Session::expires_at`](crate::Session::expires_at), or, where the application moves
    /// deadlines, [`Session::issued_at`](crate::Session::issued_at) and the store's
    /// `max_lifetime`.
    pub fn revoke(&self, id: SessionId, until: SystemTime) {
        self.put(Revocation::Id {
            id,
            from: Millis::default(),
            until: until.into(),
        });
    }

    /// Ends all sessions of `subject` that were issued before `moment`, copies and their renewed
    /// descendants among them: "log out everywhere". Of two moments the later holds. No session
    /// is of an empty subject.
    ///
    /// A session that is renewed at this very moment may count as issued after it. With a moment
    /// some seconds ahead none slips through, and who logs in before then has to do so again.
    pub fn revoke_subject(&self, subject: &str, moment: SystemTime) {
        if !subject.is_empty() {
            self.put(Revocation::Subject {
                subject: subject.into(),
                moment: moment.into(),
            });
        }
    }

    /// Ends all sessions that were issued before `moment`.
    pub fn revoke_all(&self, moment: SystemTime) {
        self.put(Revocation::All {
            moment: moment.into(),
        });
    }

    /// How many sessions and subjects are held, those that are dead and not yet swept out among
    /// them.
    pub fn len(&self) -> usize {
        self.shared.ids.len() + self.shared.subjects.len()
    }

    /// Whether neither a session nor a subject is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins to compare the list with what other processes see: nothing counts as seen.
    #[cfg(feature = "redis")]
    fn begin_round(&self) {
        self.shared.round.fetch_add(1, Ordering::Relaxed);
        self.shared.not_before_seen.store(0, Ordering::Relaxed);
    }

    /// What was not seen since the round began, and could still matter.
    #[cfg(feature = "redis")]
    fn unseen(&self, now: Millis) -> Vec<Revocation> {
        let (shared, round) = (&*self.shared, self.round());
        let mut unseen = Vec::new();
        shared.ids.each_unseen(round, |&id, Span { from, until }| {
            unseen.push(Revocation::Id { id, from, until });
        });
        shared.subjects.each_unseen(round, |subject, moment| {
            let subject = subject.clone();
            unseen.push(Revocation::Subject { subject, moment });
        });
        let moment = Millis::from_raw(shared.not_before.load(Ordering::Relaxed));
        if moment.raw() > shared.not_before_seen.load(Ordering::Relaxed) {
            unseen.push(Revocation::All { moment });
        }
        shared.lifetimes.each_unseen(round, |&longest, until| {
            unseen.push(Revocation::Lifetime { longest, until });
        });
        unseen.retain(|revocation| self.matters(revocation, now));
        unseen
    }

    /// Whether somebody else has shown it meanwhile.
    #[cfg(feature = "redis")]
    fn is_seen(&self, revocation: &Revocation) -> bool {
        let (shared, round) = (&*self.shared, self.round());
        match revocation {
            Revocation::Id { id, .. } => shared.ids.is_seen(id, round),
            Revocation::Subject { subject, .. } => shared.subjects.is_seen(&**subject, round),
            Revocation::All { moment } => {
                moment.raw() <= shared.not_before_seen.load(Ordering::Relaxed)
            }
            Revocation::Lifetime { longest, .. } => shared.lifetimes.is_seen(longest, round),
        }
    }

    fn round(&self) -> u8 {
        self.shared.round.load(Ordering::Relaxed)
    }

    /// The longest that any session may live of which the list has heard.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_millis(self.shared.longest.load(Ordering::Relaxed))
    }

    /// Until when sessions that live this long are known of.
    #[cfg(feature = "redis")]
    fn lifetime_until(&self, longest: Lifetime) -> Millis {
        self.shared.lifetimes.get(&longest).unwrap_or_default()
    }

    /// Whether no session from before `moment` can be alive.
    fn is_forgotten(&self, moment: Millis, now: Millis) -> bool {
        moment.plus(self.longest()) <= now
    }

    /// Sessions may live this long, and what ends is held as long: also when a store with a shorter
    /// `max_lifetime` ends it, because a later one may have the longer again.
    pub(crate) fn serve(&self, max_lifetime: Duration) {
        let Lifetime(millis) = max_lifetime.into();
        self.shared.longest.fetch_max(millis, Ordering::Relaxed);
    }

    /// Whether the session of a request goes on.
    pub(crate) fn admit(&self, record: &Record, now: Millis) -> Result<(), Refusal> {
        self.tell_time(now);
        self.check(record, now)
    }

    /// Whether a session goes on at some time.
    pub(crate) fn check(&self, record: &Record, now: Millis) -> Result<(), Refusal> {
        let Shared { ids, subjects, .. } = &*self.shared;
        let header = record.header();
        if header.issued_at.raw() < self.shared.not_before.load(Ordering::Relaxed) {
            return Err(Refusal::Cutoff);
        }
        let span = ids.get(&header.id);
        if span.is_some_and(|span| span.counts(now)) {
            return Err(Refusal::Revoked);
        }
        let moment = match record.subject() {
            "" => None,
            subject => subjects.get(subject),
        };
        if moment.is_some_and(|moment| header.issued_at < moment) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }

    /// Puts on the list what a save leaves behind. False if it is a renewed session that has
    /// ended before: it must not live on under its new id.
    #[must_use]
    pub(crate) fn retire(&self, left: Revocation, now: Millis) -> bool {
        let is_renewed = matches!(left, Revocation::Id { from, .. } if from > now);
        let before = self.put(left);
        !(is_renewed && before.is_some_and(|span| span.counts(now)))
    }

    /// Whether what has ended could otherwise be alive.
    #[cfg(feature = "redis")]
    fn matters(&self, revocation: &Revocation, now: Millis) -> bool {
        match revocation {
            Revocation::Id { until, .. } | Revocation::Lifetime { until, .. } => *until > now,
            Revocation::Subject { moment, .. } | Revocation::All { moment } => {
                !self.is_forgotten(*moment, now)
            }
        }
    }

    /// For an id: what was on the list before.
    fn put(&self, revocation: Revocation) -> Option<Span> {
        let shared = &*self.shared;
        let now = Millis::from_raw(shared.time.load(Ordering::Relaxed));
        let round = self.round();
        match revocation {
            Revocation::Id { id, from, until } => {
                let join = |span: Option<Span>| Span {
                    from: span.map_or(from, |span| span.from.min(from)),
                    until: span.map_or(until, |span| span.until.max(until)),
                };
                shared.ids.put(id, join, |span| span.until <= now, round)
            }
            Revocation::Subject { subject, moment } => {
                let join = |before: Option<Millis>| before.map_or(moment, |it| it.max(moment));
                let is_over = |moment: &Millis| self.is_forgotten(*moment, now);
                shared.subjects.put(subject, join, is_over, round);
                None
            }
            Revocation::All { moment } => {
                shared.not_before.fetch_max(moment.raw(), Ordering::Relaxed);
                let seen = &shared.not_before_seen;
                seen.fetch_max(moment.raw(), Ordering::Relaxed);
                None
            }
            #[cfg(feature = "redis")]
            Revocation::Lifetime { longest, until } => {
                self.serve(longest.into());
                let join = |before: Option<Millis>| before.map_or(until, |it| it.max(until));
                let is_over = |until: &Millis| *until <= now;
                shared.lifetimes.put(longest, join, is_over, round);
                None
            }
        }
    }

    /// Written only once in a while, so that processors need not fetch it from one another for
    /// each request.
    fn tell_time(&self, now: Millis) {
        let time = &self.shared.time;
        if now.raw().abs_diff(time.load(Ordering::Relaxed)) >= TICK {
            time.store(now.raw(), Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList")
            .field("sessions", &self.shared.ids.len())
            .field("subjects", &self.shared.subjects.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
