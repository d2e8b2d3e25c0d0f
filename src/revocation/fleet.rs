//! A cookie store whose sessions end across a fleet: by a list that each process has in memory,
//! and that all of them keep current through Redis.

mod builder;
mod follow;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

pub use builder::InFleet;

use super::{Revocation, RevocationList};
use crate::envelope::{Envelope, KeyRing, Keys, TakesKeys, os_random};
use crate::error::{LoadError, LoadErrorKind, SaveError};
use crate::event::{Event, Events};
use crate::flow::{InCookie, Opened, Outgoing};
use crate::policy::CLOCK_SKEW;
use crate::record::{MAX_SUBJECT, SessionId};
use crate::server::redis::{Feed, Position};
use crate::server::{BackendError, BackendErrorKind, Redis};
use crate::session::{Origin, Session};
use crate::store::{Shell, StoreBuilder};
use crate::time::Millis;

/// The longest that one read waits, and so the longest between two.
const POLL: Duration = Duration::from_secs(1);

/// How long after a failure the next attempt is made.
const RETRY: Duration = Duration::from_millis(250);

/// Sessions that live in their cookies, and end across a fleet: those that are destroyed, those
/// of a subject, or any by its id.
///
/// Each process holds a [`RevocationList`] of its own and asks only that, so loading never waits.
/// What ends goes through a stream in Redis to all of them. A [`save`](Self::save) that ends a
/// session, and only such a one, waits until Redis has it, and fails if it has not: then the
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
/// Other processes refuse a session as soon as the stream's push reaches them: some milliseconds
/// after the save that ended it. What is promised is
/// [`max_staleness`](StoreBuilder::max_staleness), 10 seconds unless set: a process that has not
/// heard from Redis for longer answers requests that bring a session with an error, until it
/// hears again. So it does before it has caught up for the first time, and if nobody runs
/// [`keep_current`](Self::keep_current). A store built with
/// [`go_on_while_away`](StoreBuilder::go_on_while_away) promises nothing while Redis is away: it
/// goes on with the list as it is.
///
/// A session that a process renews before it has heard of its end is another one and goes on.
/// [`revoke_subject`](Self::revoke_subject) with a moment some seconds ahead ends these too.
///
/// # Size
///
/// In each process that of a [`RevocationList`]. In Redis about 160 bytes for each session that
/// has ended. A million are read in some seconds when a process starts.
///
/// # What Redis holds
///
/// One key, `<prefix>revocations:<cookie's name>`: a stream of sealed entries, in which no id and
/// no subject can be read, and to which nobody without an app key can add one that counts. Whoever
/// can write to Redis can delete entries, and the processes put them back. Entries that can no
/// longer matter are dropped, and the key expires when the last one could.
///
/// If Redis loses its data, wholly or the latest writes, each process notices within a second,
/// and one of them puts back what it has. Processes that start before that know less; and if all
/// processes stop while Redis is empty, what had ended opens again until it expires. Let Redis
/// keep its data on disk.
///
/// Sessions end through Redis and are never kept there. It is asked only by those that end
/// sessions, and by each process about once a second, which waits for the push on a connection
/// of its own. A [cluster](Redis::cluster), or a [connection](Redis::connection) that was handed
/// in, is asked ten times a second instead, and that is then the delay.
#[derive(Clone)]
pub struct RevocableCookieStore {
    inner: Arc<Inner>,
}

struct Inner {
    shell: Shell<InCookie>,
    list: RevocationList,
    /// Seals the entries.
    envelope: Envelope,
    feed: Feed,
    progress: Mutex<Progress>,
    /// When the list was last known to be whole. Milliseconds; 0 is never.
    current_at: AtomicU64,
    max_staleness: Duration,
    goes_on: bool,
}

impl TakesKeys for Inner {
    /// A new key is there before anything is sealed under it, so nothing has to be read again.
    fn take_keys(&self, ring: &KeyRing) {
        self.shell.flow.replace_keys(ring);
        self.envelope.replace_keys(ring);
    }

    /// What was published under such a key is read by nobody, so that it is published anew.
    #[cfg(feature = "managed-keys")]
    fn keys_are_revoked(&self) {
        self.progress(|progress| progress.is_lossy = true);
    }
}

/// How far a process has got.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// What was read.
    read: Position,
    /// The latest entry that was ever in the stream, read or written.
    latest: Position,
    /// Entries were lost, and nobody is known to have put them back.
    is_lossy: bool,
}

impl RevocableCookieStore {
    /// A builder that starts from the defaults: those of a [`CookieStore`](crate::CookieStore),
    /// and an error while Redis has been away for more than ten seconds.
    pub fn builder(keys: impl Into<Keys>, redis: Redis) -> StoreBuilder<InFleet> {
        StoreBuilder::new(keys.into(), InFleet::by_default(redis))
    }

    /// The session of a request, without waiting. A cookie that is absent, junk or expired gives
    /// a fresh, empty session, and so does one whose session has ended; [`Session::origin`] tells
    /// which.
    ///
    /// # Errors
    ///
    /// If the request has a session, and this process has not heard from Redis for longer than
    /// [`max_staleness`](StoreBuilder::max_staleness); unless the store was built with
    /// [`go_on_while_away`](StoreBuilder::go_on_while_away).
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

    fn open(&self, fields: &mut dyn Iterator<Item = &[u8]>) -> Result<Session, LoadError> {
        let Inner { shell, .. } = &*self.inner;
        let now = shell.now();
        let Opened::Ready(session) = shell.flow.open(fields, now);
        if session.origin_unread() == Origin::Opened && self.inner.is_stale(now) {
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
        shell.report_origin(&session);
        Ok(session)
    }

    /// The request's header that a session is read from: `cookie`, unless the store has another
    /// [`Transport`](crate::Transport).
    pub fn request_header(&self) -> HeaderName {
        self.inner.shell.flow.transport.request_header()
    }

    /// Writes into the response's headers what the session needs. If a session ends with it, or
    /// gets a new id, this waits until Redis knows.
    ///
    /// # Errors
    ///
    /// As [`CookieStore::save`](crate::CookieStore::save), and if Redis does not take what has
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
        let Inner { shell, .. } = &*self.inner;
        let now = shell.now();
        shell.let_go_if_over(session, now);
        let mut plan = shell.flow.plan(session, now, &mut os_random)?;
        if let Some(left) = &plan.left {
            self.inner.publish(std::slice::from_ref(left)).await?;
        }
        if !shell.flow.retire(plan.left.take(), now) {
            // It has ended since the look a moment ago.
            shell.let_go(session);
            plan = shell.flow.plan(session, now, &mut os_random)?;
        }
        if plan.is_resealed {
            self.events().report(Event::Resealed, None);
        }
        Ok(plan.outgoing)
    }

    /// Ends the session with this id, no cookie of which can be alive after `until`: see
    /// [`RevocationList::revoke`]. When it returns, Redis has it and this process refuses the
    /// session.
    ///
    /// # Errors
    ///
    /// If Redis does not take it; it may have ended all the same.
    pub async fn revoke(&self, id: SessionId, until: SystemTime) -> Result<(), BackendError> {
        let latest = self.inner.shell.now().plus(self.inner.feed.keep());
        self.end(Revocation::Id {
            id,
            from: Millis::default(),
            until: latest.min(until.into()),
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
        let soon = self.inner.shell.now().plus(CLOCK_SKEW);
        soon.min(moment.into())
    }

    async fn end(&self, revocation: Revocation) -> Result<(), BackendError> {
        self.inner
            .publish(std::slice::from_ref(&revocation))
            .await?;
        self.inner.list.put(revocation);
        Ok(())
    }

    /// Reads all that has ended so far. Await it before the first request.
    ///
    /// # Errors
    ///
    /// If Redis does not answer.
    pub async fn catch_up(&self) -> Result<(), BackendError> {
        self.inner.read_all(None).await
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
                            let events = store.shell.events();
                            events.report(Event::BackendFailed, Some(&error));
                        }
                    }
                }
                let is_lossy = store.progress(|progress| progress.is_lossy);
                drop(store);
                if is_away {
                    tokio::time::sleep(RETRY).await;
                } else if is_lossy {
                    // Another process restores the stream, and this one has read all of it.
                    tokio::time::sleep(POLL).await;
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
        let ring = ring.into();
        self.inner.shell.flow.replace_keys(&ring);
        self.inner.envelope.replace_keys(&ring);
        // What did not open may open now.
        self.inner
            .progress(|progress| progress.read = Position::default());
    }

    pub(crate) fn events(&self) -> &Events {
        self.inner.shell.events()
    }
}

impl fmt::Debug for RevocableCookieStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocableCookieStore")
            .field("flow", &self.inner.shell.flow)
            .finish_non_exhaustive()
    }
}
