//! A cookie store whose sessions can end in every process of a fleet. Each process has a list of
//! ended sessions in memory, and keeps it current through Redis.

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
#[cfg(feature = "device-bound")]
use crate::flow::InCookie;
#[cfg(feature = "device-bound")]
use crate::flow::Plan;
use crate::flow::{Opened, Outgoing};
use crate::policy::CLOCK_SKEW;
use crate::record::{MAX_NAME, SessionId};
use crate::revocation::{OldId, Revocation};
use crate::session::Session;
#[cfg(feature = "device-bound")]
use crate::session::Status;
#[cfg(feature = "device-bound")]
use crate::store::StoreCore;
use crate::time::Millis;
use crate::transport::Transport;
use process::Inner;

/// How long to wait after a failure before the next attempt.
const RETRY: Duration = Duration::from_millis(250);

/// A store that keeps sessions in their cookies and can still end them in every process of a fleet.
/// You can destroy a session, end all sessions of a subject, or end any session by its id.
///
/// Each process has its own [`RevocationList`](crate::RevocationList) and consults only that, so
/// loading does not wait for Redis. A stream in Redis carries each end to all processes. A
/// [`save`](Self::save) that ends a session waits until Redis has the end; other saves do not wait.
/// If Redis does not take it, the save fails, and you must not send the response. `SessionLayer`
/// replaces the response for you.
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
/// Other processes refuse an ended session as soon as Redis notifies them, some milliseconds after
/// the save that ended it. The guaranteed limit is
/// [`max_staleness`](crate::StoreBuilder::max_staleness), 10 seconds by default: a process that has
/// not heard from Redis for longer opens no session until it hears again. The same holds before it
/// has caught up for the first time, after it was stopped for a while, and if nobody runs
/// [`keep_current`](Self::keep_current).
///
/// In such a process, `SessionLayer` lets the first request catch up, and all others wait for that
/// one read. [`load_current`](Self::load_current) does the same. If Redis is away, these requests
/// fail within two seconds, or at once if the process already knows that Redis is away.
/// [`load`](Self::load) never waits, and fails right away. A store built with
/// [`go_on_while_away`](crate::StoreBuilder::go_on_while_away) has no limit while Redis is away: it
/// goes on with the list as it is.
///
/// If a process renews a session before it has heard of its end, the renewed session goes on. To
/// end these too, call [`revoke_subject`](Self::revoke_subject) with a moment some seconds ahead.
///
/// # Size
///
/// Each process needs the memory of a [`RevocationList`](crate::RevocationList). Redis needs about
/// 160 bytes for each ended session. A process reads a million of them in some seconds when it
/// starts.
///
/// The store remembers an ended session until no cookie of it can be alive. To know how long that
/// is, it takes the longest [`max_lifetime`](crate::StoreBuilder::max_lifetime) that any process of
/// the fleet has had. The stream records that lifetime for as long as a session from that time may
/// exist. So if you lower the lifetime and raise it again, no ended session comes back. With an
/// endless lifetime, the store remembers ended sessions for ever.
///
/// # What Redis holds
///
/// The store uses two keys. `<prefix>revocations:<cookie's name>` is a stream of sealed entries. It
/// reveals no id and no subject, and only someone with an app key can add an entry that counts. The
/// store drops entries that no longer matter within nine minutes, and the key expires with the last
/// entry that could matter. `<prefix>revocations:<cookie's name>:restoring` exists for half a
/// minute while a process restores lost entries. Use these keys for this store alone: it removes
/// anything else it finds there.
///
/// If Redis loses entries, or somebody removes them, any running process that knew them puts them
/// back and reports [an event](crate::StoreBuilder::on_event). Each process checks the stream's
/// length and last entry at least once a second. So lost entries are back within about a second, or
/// within about four if somebody pretends that another process is already restoring them.
///
/// Somebody who replaces entries under their ids, one for one, can hide that from this check. So
/// each process also reads the whole stream again and again, 500 entries a second, and finds the
/// loss after two rounds at the latest. Two rounds take two seconds with up to 500 entries, and
/// seven minutes with a hundred thousand, including entries that others have added.
///
/// Until lost entries are back, a process that starts does not know them. If all processes stop
/// before that, the ended sessions open again until they expire, so let Redis keep its data on
/// disk.
///
/// The store fetches at most 454 bytes of an entry, whatever somebody has put there. If somebody
/// has used up the stream's ids, so that it takes no more entries, a process starts it anew with
/// everything it knows.
///
/// Redis never holds the sessions. The store talks to it only to end sessions, and about once a
/// second from each process. A second connection hears that something has changed, never what
/// (`CLIENT TRACKING`, in version 3 of Redis's protocol). The store cannot use this second
/// connection with a [cluster](crate::server::Redis::cluster), with a
/// [connection](crate::server::Redis::connection) that you pass in, or with a server that lacks
/// `CLIENT TRACKING`. It then asks ten times a second, so the delay is up to a tenth of a second.
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
    /// Returns the session of a request, without waiting. If the cookie is absent, junk or expired,
    /// or its session has ended, you get a fresh, empty session; [`Session::origin`] says why.
    ///
    /// # Errors
    ///
    /// If the request has a session, and this process has not heard from Redis for longer than
    /// [`max_staleness`](crate::StoreBuilder::max_staleness). A store built with
    /// [`go_on_while_away`](crate::StoreBuilder::go_on_while_away) does not fail. To catch up
    /// first, use [`load_current`](Self::load_current).
    pub fn load(&self, headers: &HeaderMap) -> Result<Session, LoadError> {
        self.load_from(headers.get_all(self.request_header()))
    }

    /// Returns the session of a request from the values of its Cookie fields, as text or bytes.
    /// With another [`Transport`], pass the values of the
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

    /// Like [`load`](Self::load), but waits if this process has not heard from Redis for longer
    /// than [`max_staleness`](crate::StoreBuilder::max_staleness), because it was stopped meanwhile
    /// or nobody runs [`keep_current`](Self::keep_current). It then first reads which sessions have
    /// ended since, once for all waiting requests. `SessionLayer` loads this way. It needs a tokio
    /// runtime.
    ///
    /// ```no_run
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{RevocableCookieStore, Session};
    /// # async fn f(store: RevocableCookieStore, session: Session)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// # let request = http::Request::new(());
    /// let session = store.load_current(request.headers()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), if Redis does not answer. It fails within the
    /// [connection](crate::server::Redis::connection_timeout) and
    /// [response](crate::server::Redis::response_timeout) timeouts together, two seconds by
    /// default, or at once if the process knows that Redis is away.
    pub async fn load_current(&self, headers: &HeaderMap) -> Result<Session, LoadError> {
        self.load_current_from(headers.get_all(self.request_header()))
            .await
    }

    /// Like [`load_from`](Self::load_from), but waits as [`load_current`](Self::load_current) does.
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
                "this process does not know which sessions have ended elsewhere: Redis is away, or \
                 nobody runs `keep_current`",
            );
            if !self.inner.goes_on {
                return Err(LoadError(LoadErrorKind::Backend(error)));
            }
            self.events().report(Event::BackendFailed, Some(&error));
        }
        self.inner.core.report_origin(&session);
        Ok(session)
    }

    /// Returns `None` if the request has a session that may have ended without this process
    /// knowing.
    fn open_if_current(&self, fields: &mut dyn Iterator<Item = &[u8]>) -> Option<Session> {
        let (session, is_stale) = self.look(fields);
        (!is_stale).then(|| {
            self.inner.core.report_origin(&session);
            session
        })
    }

    /// Loads the session from a header's field. It is ready at once, unless the process must catch
    /// up first.
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

    /// The request header that holds the session's token: `cookie`, or that of another
    /// [`Transport`].
    pub fn request_header(&self) -> HeaderName {
        self.inner.core.flow.transport.request_header()
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.inner.core.flow.transport
    }

    /// Writes the session's changes into the response's headers. If the session ends or gets a new
    /// id, this waits until Redis has that.
    ///
    /// # Errors
    ///
    /// As [`CookieStore::save`](crate::CookieStore::save) with a list, and if Redis does not take
    /// the end of a session. Then the headers are unchanged, and the session may have ended or not.
    pub async fn save(&self, session: &Session, headers: &mut HeaderMap) -> Result<(), SaveError> {
        self.respond(session).await?.apply(headers);
        Ok(())
    }

    /// Returns the header changes that [`save`](Self::save) makes, for frameworks with their own
    /// header types.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub async fn respond(&self, session: &Session) -> Result<Outgoing, SaveError> {
        let Inner { core, .. } = &*self.inner;
        let now = core.now();
        loop {
            let mut plan = core.plan(session, now, &mut os_random)?;
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
                            // It has ended since the check a moment ago.
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
            #[cfg(feature = "device-bound")]
            self.bind(session, &mut plan).await?;
            return Ok(core.sent(session, plan));
        }
    }

    /// Ends copies of the session's cookie from before it was bound, in all processes.
    ///
    /// While Redis is away, a session that only reads goes on without its binding, and the next
    /// request tries again.
    #[cfg(feature = "device-bound")]
    async fn bind<W>(&self, session: &Session, plan: &mut Plan<W>) -> Result<(), SaveError> {
        let Some(bound) = plan.bound else {
            return Ok(());
        };
        let entry = bound.into();
        match self.inner.publish(slice::from_ref(&entry)).await {
            Ok(()) => drop(self.inner.list.put(entry)),
            Err(error) if session.status() == Status::Unmodified => {
                self.events().report(Event::BackendFailed, Some(&error));
                plan.outgoing.leave_cookies_alone();
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Ends the session with this id. No cookie of it may be alive after `until`: see
    /// [`RevocationList::revoke`](crate::RevocationList::revoke). When the call returns, Redis has
    /// the end, and this process refuses the session.
    ///
    /// ```no_run
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{RevocableCookieStore, Session};
    /// # async fn f(store: RevocableCookieStore, session: Session)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(id) = session.id() {
    ///     let longest = Duration::from_secs(24 * 3600); // the store's `max_lifetime`
    ///     store.revoke(id, SystemTime::now() + longest).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If Redis does not take it. The session may have ended all the same.
    pub async fn revoke(&self, id: SessionId, until: SystemTime) -> Result<(), BackendError> {
        self.end(Revocation::Id {
            id,
            from: Millis::default(),
            until: until.into(),
        })
        .await
    }

    /// Ends all sessions of `subject` that were issued before `moment`, including copies and
    /// renewed sessions: "log out everywhere". A moment more than a minute ahead counts as one
    /// minute ahead.
    ///
    /// ```no_run
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{RevocableCookieStore, Session};
    /// # async fn f(store: RevocableCookieStore, session: Session)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// store.revoke_subject("ada", SystemTime::now()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`revoke`](Self::revoke).
    pub async fn revoke_subject(
        &self,
        subject: &str,
        moment: SystemTime,
    ) -> Result<(), BackendError> {
        if subject.is_empty() || subject.len() > MAX_NAME {
            // No session can have such a subject.
            return Ok(());
        }
        self.end(Revocation::Subject {
            subject: subject.into(),
            moment: self.at_most_soon(moment),
        })
        .await
    }

    /// Ends all sessions of `subject` that were issued before `moment`, except for `keep`: "log out
    /// everywhere else". See
    /// [`RevocationList::end_others_of`](crate::RevocationList::end_others_of). A moment more than
    /// a minute ahead counts as one minute ahead, and then `keep` stays too.
    ///
    /// ```no_run
    /// # use std::time::{Duration, SystemTime};
    /// # use sealed_session::{RevocableCookieStore, Session};
    /// # async fn f(store: RevocableCookieStore, session: Session)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// // `session` is the request's own, and its layer saves it after this:
    /// store.end_others_of("ada", &session, SystemTime::now()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`revoke`](Self::revoke), and if a layer has saved `keep` already: then no session ends.
    pub async fn end_others_of(
        &self,
        subject: &str,
        keep: &Session,
        moment: SystemTime,
    ) -> Result<(), BackendError> {
        let moment = self.at_most_soon(moment);
        let kept = keep.outlast(moment);
        kept.map_err(|closed| BackendError::new(BackendErrorKind::Other, closed))?;
        self.revoke_subject(subject, moment.into()).await
    }

    /// Ends all sessions with this [sid](Session::set_sid) that were issued before `moment`. Call
    /// it when you get a logout token of OpenID Connect's back-channel logout, as in the example of
    /// [`RevocationList::revoke_sid`](crate::RevocationList::revoke_sid). A moment more than a
    /// minute ahead counts as one minute ahead.
    ///
    /// # Errors
    ///
    /// As [`revoke`](Self::revoke).
    #[doc(alias = "backchannel_logout")]
    pub async fn revoke_sid(&self, sid: &str, moment: SystemTime) -> Result<(), BackendError> {
        if sid.is_empty() || sid.len() > MAX_NAME {
            // No session can have such a sid.
            return Ok(());
        }
        self.end(Revocation::Sid {
            sid: sid.into(),
            moment: self.at_most_soon(moment),
        })
        .await
    }

    /// Ends all sessions that were issued before `moment`, of all visitors. A moment more than a
    /// minute ahead counts as one minute ahead.
    ///
    /// ```no_run
    /// # use std::time::SystemTime;
    /// # use sealed_session::RevocableCookieStore;
    /// # async fn f(store: RevocableCookieStore) -> Result<(), Box<dyn std::error::Error>> {
    /// store.revoke_all(SystemTime::now()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`revoke`](Self::revoke).
    pub async fn revoke_all(&self, moment: SystemTime) -> Result<(), BackendError> {
        let moment = self.at_most_soon(moment);
        self.end(Revocation::All { moment }).await
    }

    /// Limits a moment to the largest difference between clocks.
    fn at_most_soon(&self, moment: SystemTime) -> Millis {
        let soon = self.inner.core.now().plus(CLOCK_SKEW);
        soon.min(moment.into())
    }

    async fn end(&self, revocation: Revocation) -> Result<(), BackendError> {
        self.inner.publish(slice::from_ref(&revocation)).await?;
        self.inner.list.put(revocation);
        Ok(())
    }

    /// Reads all ended sessions so far, and restores those that Redis has lost. Await it before the
    /// first request.
    ///
    /// # Errors
    ///
    /// If Redis cannot be read. If only restoring fails, you get an
    /// [event](crate::StoreBuilder::on_event), and the store tries again later.
    pub async fn catch_up(&self) -> Result<(), BackendError> {
        self.inner.catch_up().await
    }

    /// Keeps the list current. Spawn it once in each process, on a tokio runtime. It retries while
    /// Redis is away, and ends within about a second after the last clone of the store is dropped.
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

    /// Returns how many sessions, subjects and sids the list of this process holds.
    pub fn listed(&self) -> usize {
        self.inner.list.len()
    }

    /// Replaces the keys of this store and all its clones, while requests run.
    pub fn replace_keys(&self, ring: impl Into<KeyRing>) {
        self.inner.take_keys(&ring.into());
        self.inner.keys_changed.store(true, Ordering::Relaxed);
    }

    /// Returns the header changes for a response whose session was handed out but not saved.
    #[cfg(feature = "tower")]
    pub(crate) fn handed_out(&self, session: &Session) -> Outgoing {
        self.inner.core.flow.handed_out(session)
    }

    #[cfg(feature = "device-bound")]
    pub(crate) fn core(&self) -> &StoreCore<InCookie> {
        &self.inner.core
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
