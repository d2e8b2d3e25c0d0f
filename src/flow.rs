//! The data's way, written once: `open` from cookies to a session, `plan` from a session to
//! header changes. Both are functions of their arguments; nothing here waits, reads a clock or
//! asks for randomness.

mod outgoing;

use std::fmt::Write;
use std::sync::Arc;

pub use outgoing::{HeaderChange, Outgoing};

use crate::cookie::CookieConfig;
use crate::envelope::{Envelope, Random, encoded_len};
use crate::error::{Refusal, SaveError, SaveErrorKind};
use crate::event::Events;
use crate::policy::Policy;
use crate::record::{Header, Record, SessionId};
use crate::session::changes::{Birth, View};
use crate::session::{Bounds, Loaded, Origin, Session, check_size};
use crate::time::Millis;
use crate::transport::Transport;

#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) envelope: Envelope,
    pub(crate) policy: Policy,
    pub(crate) transport: Transport,
    /// What a Set-Cookie header has before the value, and after it.
    around_token: (String, String),
    removal: String,
    former_removals: Arc<[String]>,
    pub(crate) bounds: Arc<Bounds>,
    max_token: usize,
}

/// What a save has to write.
enum Due {
    Nothing,
    Removal,
    Record,
}

impl Flow {
    pub(crate) fn new(
        envelope: Envelope,
        policy: Policy,
        transport: Transport,
        former: &[CookieConfig],
        events: Events,
    ) -> Self {
        let name = transport.name().len();
        Self {
            envelope,
            around_token: transport.around_token(),
            removal: transport.removal(),
            former_removals: former.iter().map(CookieConfig::removal).collect(),
            bounds: Arc::new(Bounds {
                name,
                max_lifetime: policy.max_lifetime,
                events,
            }),
            max_token: crate::cookie::MAX_NAME_AND_VALUE.saturating_sub(name),
            policy,
            transport,
        }
    }

    /// The session in those fields of a request that the transport reads; a fresh one if there
    /// is none to be believed.
    pub(crate) fn open<'a>(
        &self,
        fields: impl IntoIterator<Item = &'a [u8]>,
        now: Millis,
    ) -> Session {
        let candidates = self.transport.candidates(fields);
        let fresh = |origin| Session::fresh(origin, Some(now), Some(Arc::clone(&self.bounds)));
        let mut best: Option<Loaded> = None;
        let mut first_refusal = None;
        for token in candidates.iter() {
            match (self.admit(token, now), &best) {
                (Err(refusal), _) => {
                    first_refusal.get_or_insert(refusal);
                }
                (Ok(loaded), None) => best = Some(loaded),
                (Ok(loaded), Some(other)) => {
                    let (header, known) = (loaded.record.header(), other.record.header());
                    if header.id != known.id {
                        return fresh(Origin::Ambiguous);
                    }
                    if header.seen_at > known.seen_at {
                        best = Some(loaded);
                    }
                }
            }
        }
        match (best, first_refusal) {
            (Some(loaded), _) => Session::opened(loaded, now, Arc::clone(&self.bounds)),
            (None, Some(refusal)) => fresh(Origin::Refused(refusal)),
            (None, None) => fresh(Origin::Absent),
        }
    }

    fn admit(&self, token: &[u8], now: Millis) -> Result<Loaded, Refusal> {
        let opened = self.envelope.open(token, self.max_token)?;
        let record = Record::decode(opened.plaintext)?;
        self.policy.admit(record.header(), now)?;
        Ok(Loaded {
            record,
            under_old_key: !opened.under_sealing_key,
        })
    }

    /// What the response to this session's request needs.
    pub(crate) fn plan(
        &self,
        session: &Session,
        now: Millis,
        random: Random<'_>,
    ) -> Result<Outgoing, SaveError> {
        if session.is_of_another_store(&self.bounds) {
            return Err(SaveError(SaveErrorKind::OtherStore));
        }
        session.lock_for_save(|changes, record| {
            let view = View::new(record, changes);
            let (read, is_changed) = (view.was_read(), view.is_changed());
            let due = self.due(view, session, now);
            let ends = view.is_destroyed() || matches!(due, Due::Removal);
            let former = if ends || session.is_ambiguous() {
                Arc::clone(&self.former_removals)
            } else {
                Arc::default()
            };
            let text = match due {
                Due::Nothing => None,
                Due::Removal => Some(self.removal.clone()),
                Due::Record => {
                    let (birth, text) = self.seal(view, session, now, random)?;
                    changes.birth = Some(birth);
                    Some(text)
                }
            };
            changes.sent |= is_changed;
            Ok(Outgoing {
                carried: text.map(|text| self.transport.carry(text)),
                former,
                read,
                vary: self.transport.vary(),
            })
        })
    }

    fn due(&self, view: View<'_>, session: &Session, now: Millis) -> Due {
        let must_write = view.is_changed()
            || view.base().is_some_and(|record| {
                let read_at = session.read_at().unwrap_or(now);
                session.is_under_old_key() || self.policy.refresh_is_due(record.header(), read_at)
            });
        if must_write {
            let issued_at = view.birth().map_or(now, |birth| birth.issued_at);
            let deadline = self
                .policy
                .deadline(issued_at, self.expires_at(view, issued_at));
            // A node whose clock is ahead may have issued it in our future.
            if deadline > now.max(issued_at) {
                Due::Record
            } else {
                Due::Removal
            }
        } else if view.is_destroyed() {
            Due::Removal
        } else {
            Due::Nothing
        }
    }

    fn expires_at(&self, view: View<'_>, issued_at: Millis) -> Millis {
        view.expires_at()
            .unwrap_or_else(|| issued_at.plus(self.policy.lifetime))
    }

    /// Seals the session into the value of a Set-Cookie header, or of the token's own, and tells
    /// the id and times that it has from now on.
    fn seal(
        &self,
        view: View<'_>,
        session: &Session,
        now: Millis,
        random: Random<'_>,
    ) -> Result<(Birth, String), SaveError> {
        let birth = match view.birth() {
            Some(birth) => birth,
            None => Birth {
                id: SessionId::random(random)?,
                issued_at: now,
                expires_at: now.plus(self.policy.lifetime),
            },
        };
        let seen_at = view.continued().map_or(now, |record| {
            record
                .header()
                .seen_at
                .max(session.read_at().unwrap_or(now))
        });
        let Birth { id, issued_at, .. } = birth;
        let expires_at = self.expires_at(view, issued_at);
        let cookie = self.transport.cookie();
        let by_default = || cookie.is_some_and(|cookie| !cookie.is_persistent());
        let transient = view.transient().unwrap_or_else(by_default);
        let header = Header {
            id,
            issued_at,
            seen_at,
            expires_at,
            transient,
        };
        let draft = view.draft();
        let length = draft.len();
        check_size(self.bounds.name, length)
            .map_err(|too_large| SaveError(SaveErrorKind::TooLarge(too_large)))?;

        let (before, after) = &self.around_token;
        let mut field = String::with_capacity(
            before.len() + encoded_len(length) + after.len() + "; Max-Age=1234567890".len(),
        );
        field.push_str(before);
        self.envelope.seal_into(
            &mut field,
            length,
            |buffer| draft.append_to(buffer, &header),
            random,
        )?;
        field.push_str(after);
        if cookie.is_some() && !transient {
            let rest = self.policy.deadline(issued_at, expires_at).since(now);
            // The browser forgets the cookie no earlier than the server refuses it.
            let seconds = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
            // Writing to a `String` does not fail.
            let _ = write!(field, "; Max-Age={seconds}");
        }
        Ok((birth, field))
    }
}
