//! A cookie store whose sessions end across a fleet: by a list that each process has in memory,
//! and that all of them keep current through Redis.

mod builder;
mod catch_up;
mod counts;
mod end;
mod follow;
mod follower;
mod process;
mod put_back;

use std::fmt;
#[cfg(feature = "tower")]
use std::future::{Ready, ready};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

#[cfg(feature = "tower")]
use futures_util::FutureExt;
#[cfg(feature = "tower")]
use futures_util::future::{BoxFuture, Either};
use http::{HeaderMap, HeaderName};

pub use builder::InFleet;

use crate::envelope::{KeyRing, TakesKeys, os_random};
use crate::error::{BackendError, BackendErrorKind, LoadError, LoadErrorKind, Origin, SaveError};
use crate::event::{Event, Events};
use crate::flow::{Opened, Outgoing};
use crate::policy::CLOCK_SKEW;
use crate::record::{MAX_SUBJECT, SessionId};
use crate::revocation::{OldId, Revocation};
use crate::session::Session;
use crate::time::Millis;
use process::Inner;

/// How long after a failure the next attempt is made.
const RETRY: Duration = Duration::from_millis(250);

/// Sessions that live in their cookies, and end across a fleet: those that are destroyed, those
/// of a subject, or any by its id.
///
/// Each process holds a [`RevocationList`](crate::RevocationList) of its own and asks only that, so loading does not wait
/// for Redis. What ends goes through a stream in Redis to all of them. A [`save`](Self::save) that
/// ends a session, and only such a one, waits until Redis has it, and fails if it has not: then the
/// response must not leave, and with `SessionLayer` it does not.
///
/// ```no_run
/// use sealed_session::server::Redis;
/// use sealed_session::{KeyRing, RevocableCookieStore};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::open("redis://127.0.0.1:6379")?;
/// let store = RevocableCookieStore::builder(KeyRing::from_env()?, redis).build()?;
/// store.catch_up().await?; // all that has ended, before the first request
/// tokio::spawn(store.keep_current()); // and all that ends from now on
/// # Ok(())
/// # }
/// ```
///
/// # The delay
///
/// Other processes refuse a session as soon as Redis tells them that there is something new: some
/// milliseconds after the save that ended it. What is promised is
/// [`max_staleness`](crate::StoreBuilder::max_staleness), 10 seconds unless set: a process that has not
/// heard from Redis for longer does not open sessions until it hears again. So it is before it has
/// caught up for the first time, after it was stopped for a while, and if nobody runs
/// [`keep_current`](Self::keep_current). `SessionLayer` then lets the first request catch up, and
/// all others wait for that one read; [`load_current`](Self::load_current) does the same. If Redis
/// is away, that ends with an error within two seconds, or at once if it is known to be away.
/// [`load`](Self::load) never waits, and gives the error right away. A store built with
/// [`go_on_while_away`](crate::StoreBuilder::go_on_while_away) promises nothing while Redis is away: it
/// goes on with the list as it is.
///
/// A session that a process renews before it has heard of its end is another one and goes on.
/// [`revoke_subject`](Self::revoke_subject) with a moment some seconds ahead ends these too.
///
/// # Size
///
/// In each process that of a [`RevocationList`](crate::RevocationList). In Redis about 160 bytes for each session that
/// has ended. A million are read in some seconds when a process starts.
///
/// What has ended is held until no cookie of it can be alive: for the longest
/// [`max_lifetime`](crate::StoreBuilder::max_lifetime) that any process of the fleet has had, which the
/// stream tells, as long as a session from that time may be left. So a lifetime that is lowered
/// and raised again brings back nothing that has ended meanwhile. A lifetime without end holds it
/// without end.
///
/// # What Redis holds
///
/// Two keys. `<prefix>revocations:<cookie's name>` is a stream of sealed entries, in which no id
/// and no subject can be read, and to which nobody without an app key can add one that counts.
/// Entries that can no longer matter are dropped, within nine minutes, and the key expires when the
/// last one could. `<prefix>revocations:<cookie's name>:restoring` is there for half a minute while
/// a process puts back what was lost. The keys are this store's alone: whatever else is found
/// there is removed.
///
/// Whoever can write to Redis, and whatever Redis loses: what is gone comes back from any process
/// that knew it and lives, and [an event](crate::StoreBuilder::on_event) says so. Each looks at the
/// stream's length and its last entry at least once a second, so that what is missing is put back
/// within about a second, or about four if somebody pretends that another process does it already.
/// Somebody who replaces entries under their own ids and puts as many there as were can hide that
/// from such a look. So each process also reads the whole stream again all the time, 500 entries a
/// second, and finds it after two rounds at the latest: two seconds with up to 500 entries, seven
/// minutes with a hundred thousand, those that others have added counted. Processes that start
/// before it is back know less; and if all processes stop while it is gone, what had ended opens
/// again until it expires. Let Redis keep its data on disk.
///
/// At most 200 bytes of an entry are fetched, whatever somebody has put there. A stream that takes no
/// more entries, because somebody has used up its ids, is begun anew with all that is known.
///
/// Sessions end through Redis and are never kept there. It is asked only by those that end
/// sessions, and by each process about once a second. A second connection hears that something has
/// changed (`CLIENT TRACKING`, in version 3 of Redis's protocol), and never what. A
/// [cluster](crate::server::Redis::cluster), a [connection](crate::server::Redis::connection) that was handed in, and a server
/// that knows no such thing are asked ten times a second instead, and that is then the delay.
///
/// The commands are `EVAL`, `XTRIM`, `SET`, `UNLINK`, `HELLO`, `CLIENT TRACKING` and `EXISTS`, in
/// scripts `TYPE`, `TIME`, `XADD`, `XLEN`, `XRANGE`, `XREVRANGE`, `XREAD`, `XINFO`, `PTTL`,
/// `PEXPIRE` and `UNLINK`.
#[derive(Clone)]
pub struct RevocableCookieStore {
    inner: Arc<Inner>,
}

#[cfg(feature = "tower")]
type Loaded = Result<Session, LoadError>;

impl RevocableCookieStore {
    /// The session of a request, without waiting. A cookie that is absent, junk or expired gives
    /// a fresh, empty session, and so does one whose session has ended; [`Session::origin`] tells
    /// which.
    ///
    /// # Errors
    ///
    /// If the request has a session, and this process has not heard from Redis for longer than
    /// [`max_staleness`](crate::StoreBuilder::max_staleness); unless the store was built with
    /// [`go_on_while_away`](crate::StoreBuilder::go_on_while_away).
    /// [`load_current`](Self::load_current) catches up first.
    pub fn load(&self, headers: &HeaderMap) -> Result<Session, LoadError> {
        self.load_from(headers.get_all(self.request_header()))
    }

    /// The session of a request, from the values of its Cookie fields as text or bytes; with a
    /// [`Transport`](crate::Transport) other than a cookie, of its
    /// [`request_header`](Self::request_header).
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_from<'a, C: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'a C>,
    ) -> Result<Session, LoadError> {
        self.open(&mut cookie_fields.into_iter().map(AsRef::as_ref))
    }

    /// [`load`](Self::load), which waits if it has to: if this process has not heard from Redis
    /// for longer than [`max_staleness`](crate::StoreBuilder::max_staleness), because it was stopped in
    /// the meantime or nobody runs [`keep_current`](Self::keep_current), it first reads what has
    /// ended since, once for all requests that wait for it. `SessionLayer` loads in this way. It
    /// needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), if Redis does not answer: within the time that the
    /// [connection](crate::server::Redis::connection_timeout) and the [answer](crate::server::Redis::response_timeout) may take
    /// together, two seconds unless set, or at once if Redis is known to be away.
    pub async fn load_current(&self, headers: &HeaderMap) -> Result<Session, LoadError> {
        self.load_current_from(headers.get_all(self.request_header()))
            .await
    }

    /// [`load_from`](Self::load_from), which waits as [`load_current`](Self::load_current) does.
    ///
    /// # Errors
    ///
    /// As [`load_current`](Self::load_current).
    pub async fn load_current_from<'a, C: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        cookie_fields: impl IntoIterator<Item = &'a C>,
    ) -> Result<Session, LoadError> {
        let fields: Vec<&[u8]> = cookie_fields.into_iter().map(AsRef::as_ref).collect();
        if let Some(session) = self.open_if_current(&mut fields.iter().copied()) {
            return Ok(session);
        }
        self.inner.join_catching_up().await;
        self.open(&mut fields.into_iter())
    }

    fn open(&self, fields: &mut dyn Iterator<Item = &[u8]>) -> Result<Session, LoadError> {
        let (session, is_stale) = self.look(fields);
        if is_stale {
            let error = BackendError::new(
                BackendErrorKind::Unavailable,
                "what has ended in other processes is not known: Redis is away, or nobody runs \
                 `keep_current`",
            );
            if !self.inner.goes_on {
                return Err(LoadError(LoadErrorKind::Backend(error)));
            }
            self.events().report(Event::BackendFailed, Some(&error));
        }
        self.inner.core.report_origin(&session);
        Ok(session)
    }

    /// `None` if there is a session, and it may have ended unheard.
    fn open_if_current(&self, fields: &mut dyn Iterator<Item = &[u8]>) -> Option<Session> {
        let (session, is_stale) = self.look(fields);
        (!is_stale).then(|| {
            self.inner.core.report_origin(&session);
            session
        })
    }

    /// The session in a header's field; ready, unless what has ended is to be read first.
    #[cfg(feature = "tower")]
    pub(crate) fn loading(
        &self,
        field: &[u8],
    ) -> Either<Ready<Loaded>, BoxFuture<'static, Loaded>> {
        if let Some(session) = self.open_if_current(&mut std::iter::once(field)) {
            return Either::Left(ready(Ok(session)));
        }
        let (store, field) = (self.clone(), field.to_vec());
        Either::Right(async move { store.load_current_from([&field]).await }.boxed())
    }

    fn look(&self, fields: &mut dyn Iterator<Item = &[u8]>) -> (Session, bool) {
        let Inner { core, .. } = &*self.inner;
        let now = core.now();
        let Opened::Ready(session) = core.flow.open(fields, now);
        let is_opened = session.origin() == Origin::Opened;
        let is_stale = is_opened && self.inner.is_stale(now);
        (session, is_stale)
    }

    /// The request's header that a session is read from: `cookie`, unless the store has another
    /// [`Transport`](crate::Transport).
    pub fn request_header(&self) -> HeaderName {
        self.inner.core.flow.transport.request_header()
    }

    /// Writes into the response's headers what the session needs. If a session ends with it, or
    /// gets a new id, this waits until Redis knows.
    ///
    /// # Errors
    ///
    /// As [`CookieStore::save`](crate::CookieStore::save) with a list, and if Redis does not take what has
    /// ended. The headers are as they were then, and the session may have ended or not.
    pub async fn save(&self, session: &Session, headers: &mut HeaderMap) -> Result<(), SaveError> {
        self.respond(session).await?.apply(headers);
        Ok(())
    }

    /// The header changes that [`save`](Self::save) makes, for frameworks with header types of
    /// their own.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub async fn respond(&self, session: &Session) -> Result<Outgoing, SaveError> {
        let Inner { core, .. } = &*self.inner;
        let now = core.now();
        loop {
            core.check(session, now)?;
            let mut plan = core.flow.plan(session, now, &mut os_random)?;
            match plan.old_id {
                Some(OldId::Ended { id, until }) => {
                    let was_alive = self.inner.end_all(id, until, now).await;
                    if was_alive.is_err() {
                        session.may_have_ended();
                    }
                    core.ended(session, &mut plan, was_alive?);
                }
                Some(OldId::Over) => core.ended(session, &mut plan, false),
                Some(OldId::Moved { .. }) => match core.flow.begin(plan.old_id, now) {
                    Ok(Some(moving)) => {
                        self.inner.publish(&moving.entries(now)).await?;
                        if !moving.finish(now) {
                            // It has ended since the look a moment ago.
                            core.let_go(session);
                            continue;
                        }
                    }
                    Ok(None) => {}
                    Err(late) => {
                        core.give_way(session, late)?;
                        continue;
                    }
                },
                None => {}
            }
            return Ok(core.sent(session, plan));
        }
    }

    /// Ends the session with this id, no cookie of which can be alive after `until`: see
    /// [`RevocationList::revoke`](crate::RevocationList::revoke). When it returns, Redis has it and this process refuses the
    /// session.
    ///
    /// # Errors
    ///
    /// If Redis does not take it; it may have ended all the same.
    pub async fn revoke(&self, id: SessionId, until: SystemTime) -> Result<(), BackendError> {
        self.end(Revocation::Id {
            id,
            from: Millis::default(),
            until: until.into(),
        })
        .await
    }

    /// Ends all sessions of `subject` that were issued before `moment`, copies and their renewed
    /// descendants among them: "log out everywhere". A moment more than a minute ahead counts as
    /// a minute ahead.
    ///
    /// # Errors
    ///
    /// As [`revoke`](Self::revoke).
    pub async fn revoke_subject(
        &self,
        subject: &str,
        moment: SystemTime,
    ) -> Result<(), BackendError> {
        if subject.is_empty() || subject.len() > MAX_SUBJECT {
            // No session is anybody's of that name.
            return Ok(());
        }
        self.end(Revocation::Subject {
            subject: subject.into(),
            moment: self.at_most_soon(moment),
        })
        .await
    }

    /// Ends all sessions that were issued before `moment`; one more than a minute ahead counts
    /// as a minute ahead.
    ///
    /// # Errors
    ///
    /// As [`revoke`](Self::revoke).
    pub async fn revoke_all(&self, moment: SystemTime) -> Result<(), BackendError> {
        let moment = self.at_most_soon(moment);
        self.end(Revocation::All { moment }).await
    }

    /// Clocks differ by no more.
    fn at_most_soon(&self, moment: SystemTime) -> Millis {
        let soon = self.inner.core.now().plus(CLOCK_SKEW);
        soon.min(moment.into())
    }

    async fn end(&self, revocation: Revocation) -> Result<(), BackendError> {
        self.inner.publish(slice::from_ref(&revocation)).await?;
        self.inner.list.put(revocation);
        Ok(())
    }

    /// Reads all that has ended so far, and puts back what Redis has lost of it. Await it before
    /// the first request.
    ///
    /// # Errors
    ///
    /// If Redis cannot be read. If only putting back fails, that is an
    /// [event](crate::StoreBuilder::on_event): another time will do.
    pub async fn catch_up(&self) -> Result<(), BackendError> {
        self.inner.catch_up().await
    }

    /// Keeps the list current: to be spawned, once in each process, on a tokio runtime. It tries
    /// again whenever Redis is away, and ends within about a second after the last clone of the
    /// store is dropped.
    pub fn keep_current(&self) -> impl Future<Output = ()> + Send + use<> {
        let store = Arc::downgrade(&self.inner);
        async move {
            let mut is_away = false;
            while let Some(store) = store.upgrade() {
                match store.follow().await {
                    Ok(()) => is_away = false,
                    Err(error) => {
                        if !std::mem::replace(&mut is_away, true) {
                            let events = store.core.events();
                            events.report(Event::BackendFailed, Some(&error));
                        }
                    }
                }
                drop(store);
                if is_away {
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// How many sessions and subjects the list of this process holds.
    pub fn listed(&self) -> usize {
        self.inner.list.len()
    }

    /// Exchanges the keys, for this store and all its clones, while requests run.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        self.inner.take_keys(&ring.into());
        self.inner.keys_changed.store(true, Ordering::Relaxed);
    }

    /// What an answer needs for which the session was handed out and not saved.
    #[cfg(feature = "tower")]
    pub(crate) fn handed_out(&self, session: &Session) -> Outgoing {
        self.inner.core.flow.handed_out(session)
    }

    pub(crate) fn events(&self) -> &Events {
        self.inner.core.events()
    }
}

impl fmt::Debug for RevocableCookieStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocableCookieStore")
            .field("flow", &self.inner.core.flow)
            .finish_non_exhaustive()
    }
}
