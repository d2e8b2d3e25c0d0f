//! A list of ended sessions, for sessions that live in cookies.
//!
//! The list holds only what could still be alive: an id until all cookies of its session have
//! expired, a subject until no session from before its cutoff can be alive. A store looks both up
//! when it opens a genuine session, so the list never stores or looks up anything that a client
//! makes up.

#[cfg(feature = "redis")]
pub(crate) mod entry;
mod table;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use table::{Spread, Table};

use crate::error::{Refusal, SessionError};
use crate::policy::CLOCK_SKEW;
#[cfg(any(feature = "redis", feature = "device-bound"))]
use crate::record::BindingId;
use crate::record::{Names, Record, SessionId};
use crate::session::Session;
use crate::time::Millis;

/// How long a session's old id still opens after a renewal, for requests that were on their way.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// How long the list remembers which new id replaced an old one: longer than any request that may
/// have begun before the change.
pub(crate) const MARKED: Duration = Duration::from_secs(5 * 60);

/// How exactly the list knows the time, in milliseconds. It uses this time only to forget entries.
const TICK: u64 = 1000;

/// A list of sessions in cookies that ended before their deadline, for the stores of one process.
///
/// A store with [`revocations`](crate::StoreBuilder::revocations) refuses the sessions on the list.
/// It lists a session that is destroyed, so a copy of the cookie no longer opens after a logout:
///
/// ```
/// use sealed_session::{AppKey, CookieStore, Origin, Refusal, RevocationList};
///
/// let list = RevocationList::new();
/// let store = CookieStore::builder(AppKey::generate()?)
///     .revocations(list.clone())
///     .build()?;
/// # let session = store.load_from::<str>([]);
/// # session.insert("user_id", 42)?;
/// # let cookie = store.respond(&session)?.cookie_header();
/// # let copy = cookie.clone();
/// # let mut headers = http::HeaderMap::new();
///
/// let session = store.load_from([&cookie]);
/// session.destroy(); // the visitor logs out
/// store.save(&session, &mut headers)?;
/// assert_eq!(store.load_from([&copy]).origin(), Origin::Refused(Refusal::Revoked));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To end all sessions of a user, see [`revoke_subject`](Self::revoke_subject). Clones are the same
/// list, and several stores can share one.
///
/// # Renewed sessions
///
/// The store also lists the old id of a renewed session, ten seconds after the renewal, so that
/// requests on their way still succeed. A request that changes the session under its old id fails
/// with a [conflict](crate::SaveError::is_conflict). For five minutes, a logout under the old id
/// also ends the session's successor.
///
/// # What it does not do
///
/// Five minutes after a renewal, the list no longer knows that the two ids belong together. Suppose
/// that somebody copies a cookie and makes the service renew it, for example by logging in. The
/// copy is then a session with an id of its own, and does not end with the first one. Use
/// [`revoke_subject`](Self::revoke_subject) for that: it ends copies as well. It needs sessions
/// with a subject: see [`Session::set_subject`].
///
/// The list is lost when the process ends, and other processes do not see it. Ended sessions that
/// have not expired then open again. If you run several processes, or the list must outlast a
/// restart, use `RevocableCookieStore` (feature `redis`).
///
/// # Size
///
/// An ended session takes 39 to 78 bytes until it is forgotten. A subject or sid takes 38 to 76
/// bytes and its text. A session that has got a new id takes as much again for five minutes. A
/// session that is bound to a device (feature `device-bound`) takes about as much until no copy of
/// its cookie can be alive. [`len`](Self::len) does not count these last two.
///
/// As the list grows, it removes dead entries, a thirty-second part at a time. It holds at most
/// twice as many dead as living ones. Only genuine sessions get on the list, each once: to make it
/// grow, a client has to be given sessions and end them.
#[derive(Clone, Default)]
pub struct RevocationList {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    ids: Table<SessionId, Span>,
    /// The new ids of sessions, kept for [`MARKED`].
    moves: Table<SessionId, Move>,
    /// Sessions that are bound to a device, each with its binding: copies of their cookies from
    /// before have ended.
    #[cfg(any(feature = "redis", feature = "device-bound"))]
    bound: Table<SessionId, Bond>,
    /// Subjects, each with the moment before which its sessions are void.
    subjects: Table<Box<str>, Millis>,
    /// The same for logins at the identity provider.
    sids: Table<Box<str>, Millis>,
    /// Lifetimes of sessions, each with the time until which such sessions may exist.
    #[cfg(feature = "redis")]
    lifetimes: Table<Lifetime, Millis>,
    /// All sessions issued before this are void. Milliseconds.
    not_before: AtomicU64,
    /// The longest lifetime of a session in any store that the list knows of. Milliseconds.
    longest: AtomicU64,
    /// The number of the current comparison with what other processes see.
    round: AtomicU8,
    /// The latest cutoff for all sessions that was seen in this round. Milliseconds.
    not_before_seen: AtomicU64,
    /// The recent time, from the stores. Milliseconds.
    time: AtomicU64,
}

/// When an id on the list is refused.
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

/// The new id that another request gave a session or its successor, and when.
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

/// The binding of a session in a cookie.
#[cfg(any(feature = "redis", feature = "device-bound"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bond {
    binding: BindingId,
    until: Millis,
}

/// What happens to the old id of a session in a cookie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OldId {
    Ended {
        id: SessionId,
        until: Millis,
    },
    /// The session was over before, and the list knows no successor.
    Over,
    /// The session, or its successor, has another id.
    Moved {
        id: SessionId,
        next: SessionId,
        /// When the old id stops opening: at once if the session ends.
        from: Millis,
        until: Millis,
    },
}

/// Why an id may not be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// The session has ended.
    Ended,
    /// Another request has changed the id.
    Moved,
}

/// A change of id that the list knows, but that is not complete yet. If you drop it before you
/// [finish](Self::finish) it, the change is undone.
#[must_use]
#[derive(Debug)]
pub(crate) struct Moving<'l> {
    list: &'l RevocationList,
    id: SessionId,
    next: SessionId,
    from: Millis,
    until: Millis,
    /// An earlier response already has the new id.
    is_again: bool,
    is_over: bool,
}

/// One entry to put on the list.
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
    Sid {
        sid: Box<str>,
        moment: Millis,
    },
    All {
        moment: Millis,
    },
    /// The session is bound to a device. Its cookies from before, and those of another binding,
    /// have ended.
    #[cfg(any(feature = "redis", feature = "device-bound"))]
    Bound {
        id: SessionId,
        binding: BindingId,
        until: Millis,
    },
    /// The new id of a session.
    #[cfg(feature = "redis")]
    Moved {
        id: SessionId,
        next: SessionId,
        at: Millis,
    },
    /// Ends nothing: sessions with this lifetime may exist until then.
    #[cfg(feature = "redis")]
    Lifetime {
        longest: Lifetime,
        until: Millis,
    },
}

/// How long a session may live, in milliseconds, within the range of a moment.
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

/// Only a few lifetimes exist, so one shard is enough.
#[cfg(feature = "redis")]
impl Spread for Lifetime {
    fn spread(&self) -> u8 {
        0
    }
}

/// Ids are random, so any byte spreads them.
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

    /// Ends the session with this id, which you get from [`Session::id`]. `until` is a time after
    /// which none of its cookies can be alive: [`Session::expires_at`], or, if your application
    /// moves deadlines, [`Session::issued_at`] plus the store's `max_lifetime`.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, Origin, Refusal, RevocationList};
    /// # let list = RevocationList::new();
    /// # let store = CookieStore::builder(AppKey::generate()?).revocations(list.clone()).build()?;
    /// # let session = store.load_from::<str>([]);
    /// # session.insert("user_id", 42)?;
    /// # let cookie = store.respond(&session)?.cookie_header();
    /// # let session = store.load_from([&cookie]);
    /// // At the login, write both to your database:
    /// let (id, until) = (session.id().unwrap(), session.expires_at().unwrap());
    ///
    /// // When the visitor ends this session from another device:
    /// list.revoke(id, until);
    /// assert_eq!(store.load_from([&cookie]).origin(), Origin::Refused(Refusal::Revoked));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn revoke(&self, id: SessionId, until: SystemTime) {
        self.put(Revocation::Id {
            id,
            from: Millis::default(),
            until: until.into(),
        });
    }

    /// Ends all sessions of `subject` that were issued before `moment`, with all copies and their
    /// renewed descendants: "log out everywhere". If you call it twice, the later moment holds.
    /// With an empty subject it does nothing.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, CookieStore, Origin, Refusal, RevocationList};
    /// # let list = RevocationList::new();
    /// # let store = CookieStore::builder(AppKey::generate()?).revocations(list.clone()).build()?;
    /// # let session = store.load_from::<str>([]);
    /// # session.set_subject("ada")?;
    /// # let cookie = store.respond(&session)?.cookie_header();
    /// // Somebody knows ada's password:
    /// list.revoke_subject("ada", SystemTime::now() + Duration::from_secs(5));
    /// assert_eq!(store.load_from([&cookie]).origin(), Origin::Refused(Refusal::Revoked));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A session that is renewed at this very moment may count as issued after it. If you choose a
    /// moment some seconds ahead, as here, none slips through. Visitors who log in before that
    /// moment then have to log in again.
    pub fn revoke_subject(&self, subject: &str, moment: SystemTime) {
        if !subject.is_empty() {
            self.put(Revocation::Subject {
                subject: subject.into(),
                moment: moment.into(),
            });
        }
    }

    /// Ends all sessions of `subject` that were issued before `moment`, except for `keep`: "log out
    /// everywhere else". With its next save, `keep` gets a new id that counts as issued at
    /// `moment`, so save it in this request. A moment more than a minute ahead ends `keep` too.
    ///
    /// A session that logs in or is renewed in the same request also survives a plain
    /// [`revoke_subject`](Self::revoke_subject) with the present time, whichever comes first.
    ///
    /// ```
    /// # use sealed_session::{AppKey, CookieStore, RevocationList};
    /// # let list = RevocationList::new();
    /// # let store = CookieStore::builder(AppKey::generate()?).revocations(list.clone()).build()?;
    /// # let mut headers = http::HeaderMap::new();
    /// # let session = store.load(&headers);
    /// # session.set_subject("ada")?;
    /// list.end_others_of("ada", &session, std::time::SystemTime::now())?;
    /// store.save(&session, &mut headers)?;
    /// # let copies = store.respond(&session)?.cookie_header();
    /// # assert_eq!(store.load_from([&copies]).subject().as_deref(), Some("ada"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if a layer has saved `keep` already. Then
    /// no session ends.
    pub fn end_others_of(
        &self,
        subject: &str,
        keep: &Session,
        moment: SystemTime,
    ) -> Result<(), SessionError> {
        keep.outlast(moment.into())?;
        self.revoke_subject(subject, moment);
        Ok(())
    }

    /// Ends all sessions with this [sid](Session::set_sid) that were issued before `moment`. A
    /// logout token of OpenID Connect's back-channel logout asks for this. With an empty sid it
    /// does nothing.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, CookieStore, Origin, Refusal, RevocationList};
    /// # let list = RevocationList::new();
    /// # let store = CookieStore::builder(AppKey::generate()?).revocations(list.clone()).build()?;
    /// # let session = store.load_from::<str>([]);
    /// session.set_sid("08a5019c")?; // at the login, from the ID token
    /// # let cookie = store.respond(&session)?.cookie_header();
    ///
    /// // The provider sends a logout token. Its signature, issuer and audience are right:
    /// list.revoke_sid("08a5019c", SystemTime::now() + Duration::from_secs(5));
    /// assert_eq!(store.load_from([&cookie]).origin(), Origin::Refused(Refusal::Revoked));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "backchannel_logout")]
    pub fn revoke_sid(&self, sid: &str, moment: SystemTime) {
        if !sid.is_empty() {
            self.put(Revocation::Sid {
                sid: sid.into(),
                moment: moment.into(),
            });
        }
    }

    /// Ends all sessions that were issued before `moment`.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{AppKey, CookieStore, Origin, Refusal, RevocationList};
    /// # let list = RevocationList::new();
    /// # let store = CookieStore::builder(AppKey::generate()?).revocations(list.clone()).build()?;
    /// # let session = store.load_from::<str>([]);
    /// # session.insert("user_id", 42)?;
    /// # let cookie = store.respond(&session)?.cookie_header();
    /// list.revoke_all(SystemTime::now() + Duration::from_secs(5));
    /// assert_eq!(store.load_from([&cookie]).origin(), Origin::Refused(Refusal::Cutoff));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn revoke_all(&self, moment: SystemTime) {
        self.put(Revocation::All {
            moment: moment.into(),
        });
    }

    /// The number of sessions, subjects and sids on the list, including dead entries that are not
    /// yet removed.
    pub fn len(&self) -> usize {
        self.shared.ids.len() + self.shared.subjects.len() + self.shared.sids.len()
    }

    /// Whether the list holds no session, no subject and no sid.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins a new comparison with what other processes see: no entry counts as seen.
    #[cfg(feature = "redis")]
    pub(crate) fn begin_round(&self) {
        self.shared.round.fetch_add(1, Ordering::Relaxed);
        self.shared.not_before_seen.store(0, Ordering::Relaxed);
    }

    /// The entries that were not seen since the round began, and could still matter.
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
        shared.sids.each_unseen(round, |sid, moment| {
            let sid = sid.clone();
            unseen.push(Revocation::Sid { sid, moment });
        });
        let moment = Millis::from_raw(shared.not_before.load(Ordering::Relaxed));
        if moment.raw() > shared.not_before_seen.load(Ordering::Relaxed) {
            unseen.push(Revocation::All { moment });
        }
        shared.moves.each_unseen(round, |&id, Move { next, at }| {
            unseen.push(Revocation::Moved { id, next, at });
        });
        shared
            .bound
            .each_unseen(round, |&id, Bond { binding, until }| {
                unseen.push(Revocation::Bound { id, binding, until });
            });
        shared.lifetimes.each_unseen(round, |&longest, until| {
            unseen.push(Revocation::Lifetime { longest, until });
        });
        unseen.retain(|revocation| self.matters(revocation, now));
        unseen
    }

    /// Whether another process has shown this entry meanwhile.
    #[cfg(feature = "redis")]
    pub(crate) fn is_seen(&self, revocation: &Revocation) -> bool {
        let (shared, round) = (&*self.shared, self.round());
        match revocation {
            Revocation::Id { id, .. } => shared.ids.is_seen(id, round),
            Revocation::Subject { subject, .. } => shared.subjects.is_seen(&**subject, round),
            Revocation::Sid { sid, .. } => shared.sids.is_seen(&**sid, round),
            Revocation::All { moment } => {
                moment.raw() <= shared.not_before_seen.load(Ordering::Relaxed)
            }
            Revocation::Moved { id, .. } => shared.moves.is_seen(id, round),
            Revocation::Bound { id, .. } => shared.bound.is_seen(id, round),
            Revocation::Lifetime { longest, .. } => shared.lifetimes.is_seen(longest, round),
        }
    }

    fn round(&self) -> u8 {
        self.shared.round.load(Ordering::Relaxed)
    }

    /// The time when the last copy of a session's cookie has expired. The session's own deadline is
    /// not enough, because a copy may have a later one. One store's settings are not enough either:
    /// a cookie that was sealed under other settings may open under others again.
    pub(crate) fn last_copy(&self, issued_at: Millis, expires_at: Millis) -> Millis {
        issued_at.plus(self.longest()).max(expires_at)
    }

    /// Like [`last_copy`](Self::last_copy), for a session that another node may have issued just
    /// now.
    pub(crate) fn last_copy_of_new(&self, now: Millis) -> Millis {
        let issued_at = now.plus(CLOCK_SKEW);
        self.last_copy(issued_at, issued_at)
    }

    /// The longest lifetime that the list has heard of.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_millis(self.shared.longest.load(Ordering::Relaxed))
    }

    /// Until when sessions with this lifetime may exist, as far as the list knows.
    #[cfg(feature = "redis")]
    pub(crate) fn lifetime_until(&self, longest: Lifetime) -> Millis {
        self.shared.lifetimes.get(&longest).unwrap_or_default()
    }

    /// Whether no session from before `moment` can be alive.
    fn is_forgotten(&self, moment: Millis, now: Millis) -> bool {
        moment.plus(self.longest()) <= now
    }

    /// Allows sessions to live this long, and holds ended ones for as long. This also counts when a
    /// store with a shorter `max_lifetime` ends a session, because a later store may have the
    /// longer one again.
    pub(crate) fn serve(&self, max_lifetime: Duration) {
        let Lifetime(millis) = max_lifetime.into();
        self.shared.longest.fetch_max(millis, Ordering::Relaxed);
    }

    /// Checks whether a request's session is still alive.
    pub(crate) fn admit(&self, record: &Record, now: Millis) -> Result<(), Refusal> {
        self.tell_time(now);
        self.check(record, now)
    }

    /// Checks whether a session is alive at this time.
    fn check(&self, record: &Record, now: Millis) -> Result<(), Refusal> {
        if let Some(refusal) = self.voids(record) {
            return Err(refusal);
        }
        if self.has_ended(record.header().id, now) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }

    /// The reason why a cutoff, for all sessions or for a subject, ends this session.
    pub(crate) fn voids(&self, record: &Record) -> Option<Refusal> {
        self.voids_issued(record.header().issued_at, record.names())
    }

    /// The same for a session that is issued at this moment.
    pub(crate) fn voids_issued(&self, issued_at: Millis, names: Names<'_>) -> Option<Refusal> {
        if issued_at.raw() < self.shared.not_before.load(Ordering::Relaxed) {
            return Some(Refusal::Cutoff);
        }
        let is_void = |cutoffs: &Table<Box<str>, Millis>, name: &str| {
            let moment = (!name.is_empty()).then(|| cutoffs.get(name)).flatten();
            moment.is_some_and(|moment| issued_at < moment)
        };
        let is_void =
            is_void(&self.shared.subjects, names.subject) || is_void(&self.shared.sids, names.sid);
        is_void.then_some(Refusal::Revoked)
    }

    /// Whether this id no longer opens.
    pub(crate) fn has_ended(&self, id: SessionId, now: Millis) -> bool {
        let span = self.shared.ids.get(&id);
        span.is_some_and(|span| span.counts(now))
    }

    /// The binding of a session in a cookie, if the list knows it to be bound.
    #[cfg(feature = "device-bound")]
    pub(crate) fn bound_to(&self, id: SessionId) -> Option<BindingId> {
        self.shared.bound.get(&id).map(|bond| bond.binding)
    }

    /// Whether the session with this id was ended for good, and did not just get another id.
    #[cfg(feature = "device-bound")]
    pub(crate) fn is_over(&self, id: SessionId, now: Millis) -> bool {
        let span = self.shared.ids.get(&id);
        span.is_some_and(|span| span.counts(now) && span.from == Millis::default())
    }

    /// Whether everything from before this moment was ended.
    #[cfg(feature = "device-bound")]
    pub(crate) fn ends_all_before(&self, moment: Millis) -> bool {
        moment.raw() < self.shared.not_before.load(Ordering::Relaxed)
    }

    /// The id that replaced this one in another request, and how long ago, if the list still knows.
    pub(crate) fn moved(&self, id: SessionId, now: Millis) -> Option<(SessionId, Duration)> {
        let moved = self.shared.moves.get(&id)?;
        (!moved.is_forgotten(now)).then(|| (moved.next, now.since(moved.at)))
    }

    /// Ends this id. Returns `false` if it had ended before.
    pub(crate) fn end(&self, id: SessionId, until: Millis, now: Millis) -> bool {
        let from = Millis::default();
        let before = self.put(Revocation::Id { id, from, until });
        !before.is_some_and(|span| span.counts(now))
    }

    /// Ends this id until `until`, and all ids that replaced it until `later`. Returns `false` if
    /// all had ended before.
    pub(crate) fn end_all(
        &self,
        mut id: SessionId,
        mut until: Millis,
        later: Millis,
        now: Millis,
    ) -> bool {
        loop {
            // End first, then look for a successor. A request that changes the id works in reverse
            // order.
            let was_alive = self.end(id, until, now);
            let Some((next, _)) = self.moved(id, now) else {
                return was_alive;
            };
            (id, until) = (next, later);
        }
    }

    /// Announces a change of id. From then on, no other request can change this id.
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

    /// Returns the move that was known before. It stays.
    fn put_move(&self, id: SessionId, new: Move, now: Millis) -> Option<Move> {
        let known = |before: Option<Move>| before.filter(|known| !known.is_forgotten(now));
        let join = |before| known(before).unwrap_or(new);
        let is_over = |it: &Move| it.is_forgotten(now);
        known(self.shared.moves.put(id, join, is_over, self.round()))
    }

    /// Whether the list must hold this entry: otherwise the session could still be alive.
    #[cfg(feature = "redis")]
    pub(crate) fn matters(&self, revocation: &Revocation, now: Millis) -> bool {
        match revocation {
            Revocation::Id { until, .. }
            | Revocation::Bound { until, .. }
            | Revocation::Lifetime { until, .. } => *until > now,
            Revocation::Subject { moment, .. }
            | Revocation::Sid { moment, .. }
            | Revocation::All { moment } => !self.is_forgotten(*moment, now),
            Revocation::Moved { at, next, .. } => {
                let (at, next) = (*at, *next);
                !Move { next, at }.is_forgotten(now)
            }
        }
    }

    fn put_cutoff(
        &self,
        cutoffs: &Table<Box<str>, Millis>,
        name: Box<str>,
        moment: Millis,
        now: Millis,
    ) {
        let join = |before: Option<Millis>| before.map_or(moment, |it| it.max(moment));
        let is_over = |moment: &Millis| self.is_forgotten(*moment, now);
        cutoffs.put(name, join, is_over, self.round());
    }

    /// Puts an entry on the list. For an id, returns the entry before.
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
                self.put_cutoff(&shared.subjects, subject, moment, now);
                None
            }
            Revocation::Sid { sid, moment } => {
                self.put_cutoff(&shared.sids, sid, moment, now);
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
            #[cfg(any(feature = "redis", feature = "device-bound"))]
            Revocation::Bound { id, binding, until } => {
                let new = Bond { binding, until };
                // The first binding holds.
                let join = |before: Option<Bond>| Bond {
                    until: before.map_or(until, |it| it.until.max(until)),
                    ..before.unwrap_or(new)
                };
                shared.bound.put(id, join, |it| it.until <= now, round);
                None
            }
            #[cfg(feature = "redis")]
            Revocation::Moved { id, next, at } => {
                self.put_move(id, Move { next, at }, now);
                None
            }
        }
    }

    /// Stores the time only once in a while, so that processors need not fetch it from one another
    /// for each request.
    pub(crate) fn tell_time(&self, now: Millis) {
        let time = &self.shared.time;
        if now.raw().abs_diff(time.load(Ordering::Relaxed)) >= TICK {
            time.store(now.raw(), Ordering::Relaxed);
        }
    }
}

impl Moving<'_> {
    /// The id that must be alive for the session to continue.
    fn alive(&self) -> SessionId {
        if self.is_again { self.next } else { self.id }
    }

    /// The entries to send to the other processes of a fleet.
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

    /// Ends the old id. Returns `false` if the session has ended meanwhile and must not continue
    /// under the new id.
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
            .field("sids", &self.shared.sids.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
