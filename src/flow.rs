//! The path of a session, in one place: `open` turns a request's cookies into a session, and `plan`
//! turns a session into header changes. Both are functions of their arguments: nothing here waits,
//! reads a clock or draws randomness itself.

#[cfg(feature = "device-bound")]
mod device;
#[cfg(not(feature = "device-bound"))]
#[path = "flow/without_device.rs"]
mod device;
mod outgoing;
mod placement;

use std::iter::empty;
use std::sync::Arc;

use device::News;
pub(crate) use device::{Bound, Devices, Shown};
pub(crate) use outgoing::Clears;
pub use outgoing::{HeaderChange, Outgoing, SiteData};
pub use placement::InCookie;
pub(crate) use placement::{Due, NextRecord, Opened, Place, Placement};

use http::HeaderValue;

use crate::cookie::CookieConfig;
use crate::envelope::{Envelope, KeyId, KeyRing, Random, encoded_len};
use crate::error::{Origin, Refusal, SaveError, SaveErrorKind};
use crate::event::Events;
use crate::limit::Limit;
use crate::policy::{CLOCK_SKEW, LONGEST_MAX_AGE, Policy};
use crate::record::{Body, Header, Names, Record, SessionId};
use crate::revocation::{GRACE, Late, Moving, OldId, RevocationList};
#[cfg(feature = "device-bound")]
use crate::session::Device;
use crate::session::changes::{Birth, Changes, Over, Past, Revision, View};
use crate::session::{Bounds, Loaded, Session, StoreId};
use crate::time::Millis;
use crate::transport::Transport;

const MAX_AGE: &str = "; Max-Age=";

#[derive(Debug)]
pub(crate) struct Flow<P> {
    pub(crate) envelope: Envelope,
    pub(crate) policy: Policy,
    pub(crate) transport: Transport,
    pub(crate) placement: P,
    /// The list of ended sessions, for sessions that are whole in their cookies.
    pub(crate) revocations: Option<RevocationList>,
    /// Binds sessions to devices.
    pub(crate) devices: Devices,
    /// Whether a response is private if its handler was given an opened session and says nothing to
    /// caches.
    pub(crate) private_by_default: bool,
    /// What a browser is to clear after a logout.
    pub(crate) clear_site_data: Clears,
    /// The text of a Set-Cookie header before and after the value.
    around_token: (String, String),
    removal: Option<HeaderValue>,
    former_removals: Arc<[String]>,
    /// Those of cookies that have the present name.
    former_namesakes: Arc<[String]>,
    pub(crate) bounds: Bounds,
    /// The limit of the cookie, which may be lower than the one in `bounds`.
    in_cookie: Limit,
    max_token: usize,
}

/// The headers that a response needs, and the write that must happen before it is sent.
#[derive(Debug)]
pub(crate) struct Plan<W> {
    pub(crate) outgoing: Outgoing,
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "without backends it is `None`")
    )]
    pub(crate) write: Option<W>,
    /// The old id of a session in a cookie. Copies of the cookie still have it.
    pub(crate) old_id: Option<OldId>,
    /// The id and times in the response's cookie, if that holds the whole session.
    pub(crate) in_cookie: Option<Birth>,
    /// The revision of the changes that this plan is for.
    pub(crate) planned: Revision,
    /// The keys that sealed the session that the plan seals again, or that the request has changed.
    sealed_before: [Option<KeyId>; 2],
    /// Whether an accepted key had sealed the cookie, so that the response seals it again under the
    /// sealing key.
    pub(crate) is_resealed: bool,
    /// The session in a cookie that this save binds. Earlier copies of its cookie must end.
    pub(crate) bound: Option<Bound>,
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum Unplanned {
    /// Another request has got in between.
    Standing(Standing),
    Failed(SaveError),
}

impl<E: Into<SaveError>> From<E> for Unplanned {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A read that is needed to get a session, and the proof that the request brought.
#[derive(Debug)]
pub(crate) struct Asked<F> {
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "without backends nothing is elsewhere")
    )]
    pub(crate) fetch: F,
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "without backends nothing is elsewhere")
    )]
    pub(crate) proof: Option<Shown>,
}

/// What other requests have done to a session while this request ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The session is over. Changes to it are lost, and the browser may have another session by
    /// now.
    Over,
    /// The session has another id, and changes under the old one would be lost.
    Moved,
    /// The session's device is missing, and this request changes the session without a login.
    Unproven,
}

/// The times that a save gives a session.
struct Times {
    issued_at: Millis,
    began_at: Millis,
    expires_at: Millis,
}

/// A record, sealed for the response and ready to be written.
struct Sealed<W> {
    /// The value of the cookie, or of the header used instead.
    value: Option<HeaderValue>,
    write: Option<W>,
    birth: Birth,
    is_in_cookie: bool,
    /// The session moves between the cookie and the backend.
    moves: bool,
}

impl<P: Placement> Flow<P> {
    pub(crate) fn new(
        envelope: Envelope,
        policy: Policy,
        transport: Transport,
        former: &[CookieConfig],
        events: Events,
        placement: P,
    ) -> Self {
        let name = transport.name().len();
        let present = transport.cookie().map(CookieConfig::name);
        let namesakes = former.iter().filter(|it| Some(it.name()) == present);
        let in_cookie = Limit::Cookie { name };
        Self {
            envelope,
            around_token: transport.around_token(),
            removal: outgoing::sensitive(transport.removal()),
            former_removals: former.iter().map(CookieConfig::removal).collect(),
            former_namesakes: namesakes.map(CookieConfig::removal).collect(),
            bounds: Bounds {
                store: StoreId::next(),
                limit: placement.limit(in_cookie),
                claims: placement.claims(),
                max_lifetime: policy.max_lifetime,
                idle: policy.idle,
                may_bind: false,
                events,
            },
            in_cookie,
            max_token: crate::cookie::MAX_NAME_AND_VALUE.saturating_sub(name),
            policy,
            transport,
            placement,
            revocations: None,
            devices: Devices::NONE,
            private_by_default: true,
            clear_site_data: Clears::default(),
        }
    }

    pub(crate) fn replace_keys(&self, ring: &KeyRing) {
        self.envelope.replace_keys(ring);
        self.placement.replace_keys(ring);
        self.devices.replace_keys(ring);
    }

    /// Returns the session in the request fields that the transport reads, or a new one if no valid
    /// session is found.
    pub(crate) fn open<'a>(
        &self,
        fields: impl IntoIterator<Item = &'a [u8]>,
        now: Millis,
    ) -> Opened<Session, Asked<P::Fetch>> {
        let (candidates, proof) = self.devices.candidates(&self.transport, fields, now);
        let mut best: Option<Loaded> = None;
        let mut refusal: Option<(Refusal, Option<Past>)> = None;
        for token in candidates.iter() {
            match (self.admit(token, now), &best) {
                (Err(refused), _) => {
                    // What has become of a session counts for more than junk beside its cookie.
                    let rank = |(_, past): &(_, Option<Past>)| past.map(|it| it.has_just_moved);
                    if refusal.as_ref().is_none_or(|it| rank(it) < rank(&refused)) {
                        refusal = Some(refused);
                    }
                }
                (Ok(loaded), None) => best = Some(loaded),
                (Ok(loaded), Some(other)) => {
                    let (header, known) = (loaded.record.header(), other.record.header());
                    if header.id != known.id {
                        return Opened::Ready(self.fresh(Origin::Ambiguous, now));
                    }
                    if header.seen_at > known.seen_at {
                        best = Some(loaded);
                    }
                }
            }
        }
        Opened::Ready(match (best, refusal) {
            (Some(loaded), _) => match self.placement.locate(loaded) {
                Opened::Ready(loaded) => self.proven(loaded, proof.as_ref(), now),
                Opened::Fetch(fetch) => return Opened::Fetch(Asked { fetch, proof }),
            },
            (None, Some((refusal, past))) => self.refused(refusal, past, now),
            (None, None) => self.fresh(Origin::Absent, now),
        })
    }

    /// Opens and checks a token. If its session was ended elsewhere, the error says which session
    /// that was.
    fn admit(&self, token: &[u8], now: Millis) -> Result<Loaded, (Refusal, Option<Past>)> {
        self.admit_if(token, now, |header| self.placement.accept(header))
    }

    /// Returns the cookie's part of a session, wherever the values are, and whether it is a stub.
    #[cfg(feature = "cli")]
    pub(crate) fn look_at(&self, token: &[u8], now: Millis) -> Result<(Session, bool), Refusal> {
        let admitted = self.admit_if(token, now, |_| Ok(()));
        let loaded = admitted.map_err(|(refusal, _)| refusal)?;
        let is_stub = loaded.record.header().in_backend;
        Ok((self.opened(loaded, now), is_stub))
    }

    fn admit_if(
        &self,
        token: &[u8],
        now: Millis,
        accept: impl Fn(&Header) -> Result<(), Refusal>,
    ) -> Result<Loaded, (Refusal, Option<Past>)> {
        let unknown = |refusal| (refusal, None);
        let opened = self.envelope.open(token, self.max_token).map_err(unknown)?;
        let record = Record::decode(opened.plaintext).map_err(unknown)?;
        let header = record.header();
        accept(header).map_err(unknown)?;
        if header.in_backend {
            self.policy
                .admit_but_for_idle(header, now)
                .map_err(unknown)?;
        } else {
            self.policy.admit(header, now).map_err(unknown)?;
            if let Some(list) = &self.revocations {
                list.admit(&record, now).map_err(|refusal| {
                    let moved = list.moved(header.id, now);
                    let past = Past {
                        id: header.id,
                        in_backend: false,
                        has_just_moved: moved.is_some_and(|(_, since)| since < GRACE),
                    };
                    (refusal, Some(past))
                })?;
            }
        }
        Ok(Loaded {
            record,
            key: opened.key,
            under_old_key: !opened.under_sealing_key,
            #[cfg(feature = "server")]
            cookie_is_due: false,
            #[cfg(feature = "server")]
            held: None,
        })
    }

    /// The session of this record, for a request that brought this proof. Without the proof that it
    /// needs, it counts as absent.
    pub(crate) fn proven(&self, loaded: Loaded, proof: Option<&Shown>, now: Millis) -> Session {
        let list = self.revocations.as_ref().filter(|_| loaded.is_in_cookie());
        match self.devices.judge(loaded.record.header(), proof, list) {
            Some(device) => device.session(loaded, now, self.bounds.clone()),
            None => self.opened(loaded, now),
        }
    }

    pub(crate) fn opened(&self, loaded: Loaded, now: Millis) -> Session {
        Session::opened(loaded, now, self.bounds.clone())
    }

    pub(crate) fn fresh(&self, origin: Origin, now: Millis) -> Session {
        Session::fresh(origin, Some(now), Some(self.bounds.clone()))
    }

    /// A new session, because the request's session is refused.
    pub(crate) fn refused(&self, refusal: Refusal, past: Option<Past>, now: Millis) -> Session {
        let bounds = Some(self.bounds.clone());
        Session::after(past, Origin::Refused(refusal), Some(now), bounds)
    }

    /// Decides what the response to this session's request needs.
    pub(crate) fn plan(
        &self,
        session: &Session,
        now: Millis,
        random: Random<'_>,
    ) -> Result<Plan<P::Write>, Unplanned> {
        if session.is_of_another_store(&self.bounds) {
            return Err(SaveError(SaveErrorKind::OtherStore).into());
        }
        session.lock_for_save(|changes, loaded| {
            let view = View::new(loaded.map(|loaded| &loaded.record), changes);
            if let Some(standing) = self.standing(view, loaded, changes, now) {
                return Err(Unplanned::Standing(standing));
            }
            let is_changed = view.is_changed();
            let (due, refresh) = self.due(view, loaded, self.is_use(session), now);
            let ends = view.is_destroyed() || matches!(due, Due::Removal);
            let is_under_old_key = loaded.is_some_and(|loaded| loaded.under_old_key);
            let is_sealed = !matches!(due, Due::Nothing | Due::Removal);
            let goes_on = view.base().is_some();
            let is_resealed = is_sealed && goes_on && is_under_old_key;
            let sealed_before = match loaded {
                Some(loaded) if goes_on && (is_sealed || is_changed) => loaded.keys(),
                _ => [None; 2],
            };
            let (mut write, mut old_id, mut in_cookie) = (refresh, None, None);
            let mut sent_as = None;
            let clears = match due {
                Due::Nothing => None,
                _ if !view.was_destroyed() => None,
                Due::Removal => self.clear_site_data.at_end(false),
                _ => self.clear_site_data.at_end(true),
            };
            let mut news = News::of(view);
            let value = match due {
                Due::Nothing => None,
                Due::Removal => {
                    write = self.placement.forget(view, loaded, now, random)?;
                    old_id = self.ended(view, loaded, now);
                    self.removal.clone()
                }
                #[cfg(feature = "server")]
                Due::Stub => match view.base() {
                    Some(record) => {
                        let header = record.header();
                        sent_as = Some(header.id);
                        // `seen_at` is the time of the cookie's last write: see
                        // `Policy::cookie_is_due`.
                        let seen_at = header.seen_at.max(now);
                        self.stub(&Header { seen_at, ..*header }, now, random)?
                    }
                    None => None,
                },
                Due::Record => {
                    let record = self.record(view, loaded, now, random)?;
                    news.learn(view, (record.birth.id, record.moves), || {
                        let list = self.revocations.as_ref().filter(|_| record.is_in_cookie)?;
                        let Birth {
                            issued_at,
                            expires_at,
                            ..
                        } = record.birth;
                        Some(list.last_copy(issued_at, expires_at))
                    });
                    sent_as = Some(record.birth.id);
                    write = record.write;
                    old_id = self.moved(view, loaded, record.birth.id, now);
                    in_cookie = record.is_in_cookie.then_some(record.birth);
                    if !record.moves {
                        changes.birth = Some(record.birth);
                    }
                    changes.over = Over::No;
                    record.value
                }
            };
            let beside = self.devices.beside(&news, ends, now, random)?;
            let opened_as = session.first().map(|loaded| loaded.record.header().id);
            let former = if ends || session.is_ambiguous() {
                Some(Arc::clone(&self.former_removals))
            } else if opened_as.is_some() && sent_as.is_some() && opened_as != sent_as {
                // A former cookie of this name would open beside the new one, as another session.
                Some(Arc::clone(&self.former_namesakes))
            } else {
                None
            };
            changes.sent |= is_changed;
            Ok(Plan {
                outgoing: Outgoing {
                    beside,
                    carried: value.map(|value| self.transport.carry(value)),
                    former,
                    clears: clears.map(Box::new),
                    ..self.handed_out(session)
                },
                write,
                old_id,
                in_cookie,
                planned: changes.revision,
                sealed_before,
                is_resealed,
                bound: news.bound,
            })
        })
    }

    /// The headers that a response needs once the session was handed out, because the handler may
    /// read it at any time.
    pub(crate) fn handed_out(&self, session: &Session) -> Outgoing {
        Outgoing {
            carried: None,
            former: None,
            varies: session.is_of_a_request(),
            is_personal: self.private_by_default && session.origin() == Origin::Opened,
            vary: self.transport.vary(),
            clears: None,
            beside: None,
        }
    }

    /// The id to end of a session in a cookie. If the session had already ended, its successor's
    /// id.
    fn ended(&self, view: View<'_>, loaded: Option<&Loaded>, now: Millis) -> Option<OldId> {
        let list = self.revocations.as_ref()?;
        if let Some(birth) = view.in_cookie(loaded) {
            let until = list.last_copy(birth.issued_at, birth.expires_at);
            return Some(OldId::Ended {
                id: birth.id,
                until,
            });
        }
        let id = view.past().filter(|past| !past.in_backend)?.id;
        // Only the successor still has to end.
        Some(match list.moved(id, now) {
            Some((id, _)) => {
                let until = list.last_copy_of_new(now);
                OldId::Ended { id, until }
            }
            None => OldId::Over,
        })
    }

    /// The change from the cookie's id to `next`, which may be the same session's new id or another
    /// session's.
    fn moved(
        &self,
        view: View<'_>,
        loaded: Option<&Loaded>,
        next: SessionId,
        now: Millis,
    ) -> Option<OldId> {
        let list = self.revocations.as_ref()?;
        let birth = view.in_cookie(loaded).filter(|birth| birth.id != next)?;
        let from = if view.is_destroyed() {
            Millis::default()
        } else {
            now.plus(GRACE)
        };
        let until = list.last_copy(birth.issued_at, birth.expires_at);
        Some(OldId::Moved {
            id: birth.id,
            next,
            from,
            until,
        })
    }

    /// What other requests have made of the session since it was opened, as far as we know without
    /// asking a backend. `None` if it goes on.
    fn standing(
        &self,
        view: View<'_>,
        loaded: Option<&Loaded>,
        changes: &Changes,
        now: Millis,
    ) -> Option<Standing> {
        let is_changed = view.is_changed();
        if view.lacks_device() {
            return Some(Standing::Unproven);
        }
        match changes.over {
            Over::Before(past) if is_changed && past.has_just_moved => {
                return Some(Standing::Moved);
            }
            Over::Meanwhile if is_changed && !view.is_destroyed() => return Some(Standing::Over),
            _ => {}
        }
        let list = self.revocations.as_ref()?;
        let Birth { id, .. } = view.in_cookie(loaded)?;
        let own = changes.birth.map(|birth| birth.id);
        let moved = list.moved(id, now);
        if moved.is_some_and(|(next, _)| Some(next) != own) {
            return match (is_changed, view.is_destroyed()) {
                (true, _) => Some(Standing::Moved),
                // The save ends the successor.
                (false, true) => None,
                (false, false) => Some(Standing::Over),
            };
        }
        // A session that gets a new id counts as issued with it, so that it survives a cutoff that
        // its own request has set.
        let issued_at = || self.times(view, now).issued_at;
        let is_void = match (view.continued(), view.base()) {
            (Some(record), _) => list.voids(record).is_some(),
            (None, Some(_)) => list.voids_issued(issued_at(), view.names()).is_some(),
            (None, None) => false,
        };
        let is_over = list.has_ended(id, now) || is_void;
        (is_over && !view.is_destroyed()).then_some(Standing::Over)
    }

    /// Whether the ring still has the keys that sealed the plan's session. Otherwise a request that
    /// takes long would bring a session of a leaked key under the key that replaced it. Asked after
    /// the plan, because the ring may change while it is made.
    pub(crate) fn has_keys_of(&self, plan: &Plan<P::Write>) -> bool {
        self.envelope.has_all(&plan.sealed_before)
    }

    /// Announces a change of id to the list, before anything is written.
    pub(crate) fn begin(
        &self,
        old_id: Option<OldId>,
        now: Millis,
    ) -> Result<Option<Moving<'_>>, Late> {
        let (
            Some(list),
            Some(OldId::Moved {
                id,
                next,
                from,
                until,
            }),
        ) = (&self.revocations, old_id)
        else {
            return Ok(None);
        };
        list.begin(id, next, (from, until), now).map(Some)
    }

    fn record(
        &self,
        view: View<'_>,
        loaded: Option<&Loaded>,
        now: Millis,
        random: Random<'_>,
    ) -> Result<Sealed<P::Write>, SaveError> {
        let body = view.body();
        let length = body.len(view.optional());
        let place = self.placement.place(view, loaded, length);
        let birth = self.birth(view, &place, now, random)?;
        let header = self.header(view, birth, now);
        let value = if place.in_cookie {
            let write = |buffer: &mut Vec<u8>| body.append_to(buffer, &header);
            self.field(&header, length, write, now, random)?
        } else if place.sends_stub {
            self.stub(&header, now, random)?
        } else {
            None
        };
        let next = NextRecord {
            header,
            view,
            loaded,
            now,
            policy: &self.policy,
        };
        Ok(Sealed {
            value,
            write: self.placement.write(&next, &place, random)?,
            birth,
            is_in_cookie: place.in_cookie,
            moves: place.moves,
        })
    }

    fn due(
        &self,
        view: View<'_>,
        loaded: Option<&Loaded>,
        is_use: bool,
        now: Millis,
    ) -> (Due, Option<P::Write>) {
        let (due, write) = match (view.is_changed(), view.base(), loaded) {
            (true, ..) => (Due::Record, None),
            (false, Some(_), Some(_)) if Devices::are_due(view, self.bounds.limit) => {
                (Due::Record, None)
            }
            (false, Some(_), Some(loaded)) => {
                self.placement.refresh(loaded, is_use, now, &self.policy)
            }
            // The browser may have another session by now.
            _ if view.has_ended_meanwhile() => (Due::Nothing, None),
            _ if view.is_destroyed() => (Due::Removal, None),
            _ => (Due::Nothing, None),
        };
        if !matches!(due, Due::Nothing | Due::Removal) {
            let times = self.times(view, now);
            let end = self.policy.end(times.began_at, times.expires_at);
            let goes_into_cookie = || {
                let length = view.body().len(view.optional());
                self.placement.place(view, loaded, length).in_cookie
            };
            let is_void = |list: &RevocationList| {
                let refusal = list.voids_issued(times.issued_at, view.names());
                refusal.is_some() && goes_into_cookie()
            };
            let is_void = self.revocations.as_ref().is_some_and(is_void);
            if is_void || !self.policy.may_be_sent(times.issued_at, end, now) {
                return (Due::Removal, None);
            }
        }
        (due, write)
    }

    /// Whether the request counts as use. Without an idle timeout, every request does.
    fn is_use(&self, session: &Session) -> bool {
        self.policy.idle.is_none() || !session.leaves_idle()
    }

    /// The session's times from now on.
    fn times(&self, view: View<'_>, now: Millis) -> Times {
        let birth = view.birth();
        let issued_at = birth.map_or_else(
            || {
                // Beyond this, other nodes would take it for a mistake.
                let latest = now.plus(CLOCK_SKEW);
                let from = now.max(view.issued_after().min(latest));
                // Not before the login, even if the clock has gone back since.
                view.logged_in_at().map_or(from, |login| from.max(login))
            },
            |birth| birth.issued_at,
        );
        Times {
            issued_at,
            began_at: view.began_at().unwrap_or(now),
            expires_at: view
                .expires_at()
                .unwrap_or_else(|| now.plus(self.policy.lifetime)),
        }
    }

    /// The session's id and times from now on.
    fn birth(
        &self,
        view: View<'_>,
        place: &Place,
        now: Millis,
        random: Random<'_>,
    ) -> Result<Birth, SaveError> {
        Ok(match view.birth() {
            Some(birth) if place.moves => Birth {
                id: SessionId::random(random)?,
                ..birth
            },
            Some(birth) => birth,
            None => {
                let times = self.times(view, now);
                let kept = view.outlived().map(|lifetime| lifetime.expires_at);
                Birth {
                    id: match view.intended_id() {
                        Some(id) => id,
                        None => SessionId::random(random)?,
                    },
                    issued_at: times.issued_at,
                    began_at: times.began_at,
                    expires_at: kept.unwrap_or_else(|| now.plus(self.policy.lifetime)),
                }
            }
        })
    }

    fn header(&self, view: View<'_>, birth: Birth, now: Millis) -> Header {
        let continued = view.continued().map(Record::header);
        let cookie = self.transport.cookie();
        let by_default = || cookie.is_some_and(|cookie| !cookie.is_persistent());
        let logged_in_at = if view.logs_in() {
            Some(birth.began_at)
        } else {
            view.logged_in_at()
        };
        let mut expires_at = view.chosen_expiry().unwrap_or(birth.expires_at);
        if logged_in_at.is_none() && birth.began_at < birth.issued_at {
            // The record does not say when the lifetime began, so its deadline has to.
            expires_at = self.policy.end(birth.began_at, expires_at);
        }
        Header {
            id: birth.id,
            issued_at: birth.issued_at,
            seen_at: continued.map_or(now, |header| header.seen_at.max(now)),
            expires_at,
            logged_in_at,
            transient: view.transient().unwrap_or_else(by_default),
            in_backend: false,
            kept_for: None,
            binding: view.binding(),
        }
    }

    /// The cookie's value for a session whose values are elsewhere.
    fn stub(
        &self,
        header: &Header,
        now: Millis,
        random: Random<'_>,
    ) -> Result<Option<HeaderValue>, SaveError> {
        let stub = Header {
            in_backend: true,
            kept_for: None,
            logged_in_at: None,
            ..*header
        };
        let body = Body::new(Names::default(), empty(), empty());
        let write = |buffer: &mut Vec<u8>| body.append_to(buffer, &stub);
        self.field(header, body.len(stub.optional()), write, now, random)
    }

    /// Seals what `write` writes into the value of a Set-Cookie header, or of the token's own
    /// header.
    fn field(
        &self,
        header: &Header,
        length: usize,
        write: impl FnOnce(&mut Vec<u8>),
        now: Millis,
        random: Random<'_>,
    ) -> Result<Option<HeaderValue>, SaveError> {
        self.in_cookie
            .check(length)
            .map_err(|too_large| SaveError(SaveErrorKind::TooLarge(too_large)))?;
        let max_age = if self.transport.cookie().is_some() && !header.transient {
            let deadline = self.policy.deadline(header);
            let rest = deadline.since(now).min(LONGEST_MAX_AGE);
            // Round up, so that the browser forgets the cookie no earlier than the server refuses
            // it.
            Some(rest.as_secs() + u64::from(rest.subsec_nanos() > 0))
        } else {
            None
        };
        let mut digits = itoa::Buffer::new();
        let max_age = max_age.map(|seconds| [MAX_AGE, digits.format(seconds)]);
        let max_age = max_age.iter().flatten().map(|part| part.as_bytes());
        let max_age_len: usize = max_age.clone().map(<[u8]>::len).sum();
        let (before, after) = &self.around_token;
        // Reserve the exact length: a buffer with room to spare is allocated again when it becomes
        // a header.
        let mut field =
            Vec::with_capacity(before.len() + encoded_len(length) + after.len() + max_age_len);
        field.extend_from_slice(before.as_bytes());
        self.envelope
            .seal_into_bytes(&mut field, length, write, random)?;
        field.extend_from_slice(after.as_bytes());
        max_age.for_each(|part| field.extend_from_slice(part));
        Ok(outgoing::sensitive(field))
    }
}

#[cfg(feature = "device-bound")]
impl<P: Placement> Flow<P> {
    /// Binds sessions to devices from now on. Nothing has been loaded yet.
    pub(crate) fn bind_with(&mut self, binding: Option<Box<crate::binding::Binding>>) {
        self.bounds.may_bind = binding.is_some();
        self.devices = Devices::new(binding);
    }

    /// What a request has shown of its device, if its session opens but for the proof that it needs.
    /// For a session in a backend this is what its cookie says.
    pub(crate) fn without_proof(&self, fields: Vec<&[u8]>, now: Millis) -> Option<Device> {
        let (candidates, proof) = self.devices.candidates(&self.transport, fields, now);
        let header = self.header_in(candidates.iter(), now).unwrap_or_default();
        let list = self.revocations.as_ref();
        let device = header.and_then(|header| self.devices.judge(&header, proof.as_ref(), list));
        device.filter(|device| device.is_missing)
    }

    /// Returns the header of the session in a request, wherever its values are, if there is exactly
    /// one. Its device need not be there.
    pub(crate) fn header_in<'a>(
        &self,
        candidates: impl Iterator<Item = &'a [u8]>,
        now: Millis,
    ) -> Result<Option<Header>, Refusal> {
        let mut found: Result<Option<Header>, Refusal> = Ok(None);
        for token in candidates {
            match (self.admit(token, now), &found) {
                (Ok(loaded), Ok(Some(known))) if loaded.record.header().id != known.id => {
                    return Ok(None);
                }
                (Ok(loaded), _) => found = Ok(Some(*loaded.record.header())),
                (Err((refusal, _)), Ok(None)) => found = Err(refusal),
                (Err(_), _) => {}
            }
        }
        found
    }
}

impl Flow<InCookie> {
    /// Returns what [`plan`](Self::plan) returns for an unchanged session that needs no refresh,
    /// but without a lock. The time matters only if the policy [refreshes](Policy::refreshes).
    pub(crate) fn nothing_due(&self, session: &Session, now: Millis) -> Option<Outgoing> {
        if session.was_touched()
            || session.is_ambiguous()
            || session.is_of_another_store(&self.bounds)
        {
            return None;
        }
        if let Some(loaded) = session.first() {
            let is_use = self.is_use(session);
            let refresh = self.placement.refresh(loaded, is_use, now, &self.policy);
            if !matches!(refresh, (Due::Nothing, None)) {
                return None;
            }
        }
        Some(self.handed_out(session))
    }
}

/// `open` and `plan` for a placement that never waits.
#[cfg(test)]
impl Flow<InCookie> {
    pub(crate) fn session<'a>(
        &self,
        fields: impl IntoIterator<Item = &'a [u8]>,
        now: Millis,
    ) -> Session {
        let Opened::Ready(session) = self.open(fields, now);
        session
    }

    pub(crate) fn outgoing(
        &self,
        session: &Session,
        now: Millis,
        random: Random<'_>,
    ) -> Result<Outgoing, SaveError> {
        match self.plan(session, now, random) {
            Ok(plan) => Ok(plan.outgoing),
            Err(Unplanned::Failed(error)) => Err(error),
            Err(Unplanned::Standing(standing)) => panic!("{standing:?}"),
        }
    }
}
