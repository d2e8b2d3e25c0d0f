//! Ends sessions that live in cookies: a list of those that are over before their time.
//!
//! The list holds only what could still be alive: an id until no cookie of its session can be, a
//! subject until no session from before its cutoff can be left. Each is looked for when a genuine session
//! is opened, so nothing that a client makes up is ever listed or searched for.

#[cfg(feature = "redis")]
pub(crate) mod entry;
mod table;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use table::{Spread, Table};

use crate::error::Refusal;
use crate::policy::CLOCK_SKEW;
use crate::record::{Record, SessionId};
use crate::time::Millis;

/// How long the id that a session had before it was renewed still opens, for requests that were
/// on their way.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// How long it is known what an id has become: longer than any request that may have begun
/// before.
pub(crate) const MARKED: Duration = Duration::from_secs(5 * 60);

/// How exactly the list knows the time, in milliseconds; only for what it forgets.
const TICK: u64 = 1000;

/// Sessions in cookies that are over before their deadline, for the stores of one process.
///
/// With [`revocations`](crate::StoreBuilder::revocations) a store refuses what is on the list,
/// lists a session that is destroyed, and lists the id that a renewed session had before, ten
/// seconds later, for requests on their way: so a copy of a cookie that was logged out opens no
/// more. A change that comes with the old id is refused as a
/// [conflict](crate::SaveError::is_conflict), and for five minutes a logout that comes with it ends
/// what the session has become. Clones are the same list, and several stores can share one.
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
/// Five minutes after it was renewed a session is another one to the list. Somebody who has copied
/// a cookie and lets the service renew it, by logging in say, has then a session with an id of its
/// own, which the end of the first one does not touch: that is what
/// [`revoke_subject`](Self::revoke_subject) is for, which ends copies as well. It needs sessions
/// that say whose they are, with [`Session::set_subject`](crate::Session::set_subject).
///
/// The list is gone with the process, and other processes do not see it: then what was ended
/// and has not expired opens again. For a fleet, and to outlast a restart, there is
/// `RevocableCookieStore` (feature `redis`).
///
/// # Size
///
/// An ended session takes 39 to 78 bytes until it is forgotten, a subject 38 to 76 and its text;
/// one that has got a new id takes as much again for five minutes.
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
    /// What ids have become, for [`MARKED`].
    moves: Table<SessionId, Move>,
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
pub(crate) struct Span {
    from: Millis,
    until: Millis,
}

impl Span {
    fn counts(self, now: Millis) -> bool {
        self.from <= now && now < self.until
    }
}

/// The id that a session, or the one in its place, has got in another request, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    next: SessionId,
    at: Millis,
}

impl Move {
    fn is_forgotten(self, now: Millis) -> bool {
        self.at.plus(MARKED) <= now
    }
}

/// What a save leaves behind of a session that was in a cookie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OldId {
    Ended {
        id: SessionId,
        until: Millis,
    },
    /// It was over before, and nothing is known that it has become.
    Over,
    /// It, or the session in its place, has another id.
    Moved {
        id: SessionId,
        next: SessionId,
        /// When the old id stops opening: at once if the session does not go on.
        from: Millis,
        until: Millis,
    },
}

/// Why an id may not be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// The session has ended.
    Ended,
    /// Another request has changed it.
    Moved,
}

/// A change of id that is known here and not answered yet. Dropped before it is
/// [finished](Self::finish), it has not happened.
#[must_use]
#[derive(Debug)]
pub(crate) struct Moving<'l> {
    list: &'l RevocationList,
    id: SessionId,
    next: SessionId,
    from: Millis,
    until: Millis,
    /// An earlier response has the new id already.
    is_again: bool,
    is_over: bool,
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
    /// What an id has become.
    #[cfg(feature = "redis")]
    Moved {
        id: SessionId,
        next: SessionId,
        at: Millis,
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
    pub(crate) fn begin_round(&self) {
        self.shared.round.fetch_add(1, Ordering::Relaxed);
        self.shared.not_before_seen.store(0, Ordering::Relaxed);
    }

    /// What was not seen since the round began, and could still matter.
    #[cfg(feature = "redis")]
    pub(crate) fn unseen(&self, now: Millis) -> Vec<Revocation> {
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
        shared.moves.each_unseen(round, |&id, Move { next, at }| {
            unseen.push(Revocation::Moved { id, next, at });
        });
        shared.lifetimes.each_unseen(round, |&longest, until| {
            unseen.push(Revocation::Lifetime { longest, until });
        });
        unseen.retain(|revocation| self.matters(revocation, now));
        unseen
    }

    /// Whether somebody else has shown it meanwhile.
    #[cfg(feature = "redis")]
    pub(crate) fn is_seen(&self, revocation: &Revocation) -> bool {
        let (shared, round) = (&*self.shared, self.round());
        match revocation {
            Revocation::Id { id, .. } => shared.ids.is_seen(id, round),
            Revocation::Subject { subject, .. } => shared.subjects.is_seen(&**subject, round),
            Revocation::All { moment } => {
                moment.raw() <= shared.not_before_seen.load(Ordering::Relaxed)
            }
            Revocation::Moved { id, .. } => shared.moves.is_seen(id, round),
            Revocation::Lifetime { longest, .. } => shared.lifetimes.is_seen(longest, round),
        }
    }

    fn round(&self) -> u8 {
        self.shared.round.load(Ordering::Relaxed)
    }

    /// When no copy of a session's cookie can be alive: not at this one's own deadline alone,
    /// because a copy's may have been moved further away. Nor by one store's settings: what was
    /// sealed under others may open under others again.
    pub(crate) fn last_copy(&self, issued_at: Millis, expires_at: Millis) -> Millis {
        issued_at.plus(self.longest()).max(expires_at)
    }

    /// The same for a session that another node may have issued just now.
    pub(crate) fn last_copy_of_new(&self, now: Millis) -> Millis {
        let issued_at = now.plus(CLOCK_SKEW);
        self.last_copy(issued_at, issued_at)
    }

    /// The longest that any session may live of which the list has heard.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_millis(self.shared.longest.load(Ordering::Relaxed))
    }

    /// Until when sessions that live this long are known of.
    #[cfg(feature = "redis")]
    pub(crate) fn lifetime_until(&self, longest: Lifetime) -> Millis {
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
    fn check(&self, record: &Record, now: Millis) -> Result<(), Refusal> {
        if let Some(refusal) = self.voids(record) {
            return Err(refusal);
        }
        if self.has_ended(record.header().id, now) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }

    /// Why a session is over that nobody has ended by its id.
    pub(crate) fn voids(&self, record: &Record) -> Option<Refusal> {
        let issued_at = record.header().issued_at;
        if issued_at.raw() < self.shared.not_before.load(Ordering::Relaxed) {
            return Some(Refusal::Cutoff);
        }
        let moment = match record.subject() {
            "" => None,
            subject => self.shared.subjects.get(subject),
        };
        let is_void = moment.is_some_and(|moment| issued_at < moment);
        is_void.then_some(Refusal::Revoked)
    }

    /// Whether this id opens no more.
    pub(crate) fn has_ended(&self, id: SessionId, now: Millis) -> bool {
        let span = self.shared.ids.get(&id);
        span.is_some_and(|span| span.counts(now))
    }

    /// What an id has become in another request, and how long ago, if that is still known.
    pub(crate) fn moved(&self, id: SessionId, now: Millis) -> Option<(SessionId, Duration)> {
        let moved = self.shared.moves.get(&id)?;
        (!moved.is_forgotten(now)).then(|| (moved.next, now.since(moved.at)))
    }

    /// Ends this id. False if it had ended before.
    pub(crate) fn end(&self, id: SessionId, until: Millis, now: Millis) -> bool {
        let from = Millis::default();
        let before = self.put(Revocation::Id { id, from, until });
        !before.is_some_and(|span| span.counts(now))
    }

    /// Ends this id and what it has become, `later` at the latest. False if all had ended before.
    pub(crate) fn end_all(
        &self,
        mut id: SessionId,
        mut until: Millis,
        later: Millis,
        now: Millis,
    ) -> bool {
        loop {
            // In this order: whoever changes the id meanwhile looks the other way round.
            let was_alive = self.end(id, until, now);
            let Some((next, _)) = self.moved(id, now) else {
                return was_alive;
            };
            (id, until) = (next, later);
        }
    }

    /// Makes a change of id known, which then only this one may finish.
    pub(crate) fn begin(
        &self,
        id: SessionId,
        next: SessionId,
        (from, until): (Millis, Millis),
        now: Millis,
    ) -> Result<Moving<'_>, Late> {
        let known = self.put_move(id, Move { next, at: now }, now);
        if known.is_some_and(|known| known.next != next) {
            return Err(Late::Moved);
        }
        let moving = Moving {
            list: self,
            id,
            next,
            from,
            until,
            is_again: known.is_some(),
            is_over: false,
        };
        if from > now && self.has_ended(moving.alive(), now) {
            return Err(Late::Ended);
        }
        Ok(moving)
    }

    /// What was known before, and stays.
    fn put_move(&self, id: SessionId, new: Move, now: Millis) -> Option<Move> {
        let known = |before: Option<Move>| before.filter(|known| !known.is_forgotten(now));
        let join = |before| known(before).unwrap_or(new);
        let is_over = |it: &Move| it.is_forgotten(now);
        known(self.shared.moves.put(id, join, is_over, self.round()))
    }

    /// Whether what has ended could otherwise be alive.
    #[cfg(feature = "redis")]
    pub(crate) fn matters(&self, revocation: &Revocation, now: Millis) -> bool {
        match revocation {
            Revocation::Id { until, .. } | Revocation::Lifetime { until, .. } => *until > now,
            Revocation::Subject { moment, .. } | Revocation::All { moment } => {
                !self.is_forgotten(*moment, now)
            }
            Revocation::Moved { at, next, .. } => {
                let (at, next) = (*at, *next);
                !Move { next, at }.is_forgotten(now)
            }
        }
    }

    /// For an id: what was on the list before.
    pub(crate) fn put(&self, revocation: Revocation) -> Option<Span> {
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
            #[cfg(feature = "redis")]
            Revocation::Moved { id, next, at } => {
                self.put_move(id, Move { next, at }, now);
                None
            }
        }
    }

    /// Written only once in a while, so that processors need not fetch it from one another for
    /// each request.
    pub(crate) fn tell_time(&self, now: Millis) {
        let time = &self.shared.time;
        if now.raw().abs_diff(time.load(Ordering::Relaxed)) >= TICK {
            time.store(now.raw(), Ordering::Relaxed);
        }
    }
}

impl Moving<'_> {
    /// The id that must be alive for the session to go on.
    fn alive(&self) -> SessionId {
        if self.is_again { self.next } else { self.id }
    }

    /// What a fleet is to hear.
    #[cfg(feature = "redis")]
    pub(crate) fn entries(&self, now: Millis) -> [Revocation; 2] {
        let &Self {
            id,
            next,
            from,
            until,
            ..
        } = self;
        let moved = Revocation::Moved { id, next, at: now };
        [moved, Revocation::Id { id, from, until }]
    }

    /// The old id ends. False if the session has ended meanwhile, so that it must not go on under
    /// the new one.
    #[must_use]
    pub(crate) fn finish(mut self, now: Millis) -> bool {
        let &mut Self {
            id, from, until, ..
        } = &mut self;
        let before = self.list.put(Revocation::Id { id, from, until });
        let has_ended = if self.is_again {
            self.list.has_ended(self.next, now)
        } else {
            before.is_some_and(|span| span.counts(now))
        };
        self.is_over = from <= now || !has_ended;
        self.is_over
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        if !self.is_over && !self.is_again {
            let is_ours = |it: Move| it.next == self.next;
            self.list.shared.moves.remove_if(&self.id, is_ours);
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
