//! The two endpoints, where browsers register a key and prove it again. They are functions of their
//! arguments, and do not wait.

use std::cell::RefCell;

use http::StatusCode;

use super::answer::{CHALLENGE, DeviceAnswer};
use super::instructions::instructions;
use super::jwt::{Jwt, compressed, decompressed};
use super::request::Request;
use crate::binding::{Binding, Challenge, For, Found, Jar, Key, Offer, Sealed};
use crate::cookie::header::Candidates;
use crate::envelope::{KeyId, Random};
use crate::error::{NotSealed, Refusal};
use crate::event::{DeviceRefusal, Event};
use crate::flow::{Flow, Placement};
use crate::record::{BindingId, Header, SessionId};
use crate::revocation::RevocationList;
use crate::time::Millis;

/// The header in which a browser proves its key.
const RESPONSE: &str = "secure-session-response";

/// What an endpoint needs to answer.
pub(super) struct Endpoint<'e, P> {
    pub(super) flow: &'e Flow<P>,
    pub(super) binding: &'e Binding,
    pub(super) now: Millis,
    /// The keys that sealed what the request has brought.
    pub(super) sealed_under: RefCell<Vec<Option<KeyId>>>,
}

/// An answer, and the event to report.
pub(super) type Answered = (DeviceAnswer, Option<Event>);

fn refused(why: DeviceRefusal) -> Answered {
    let answer = DeviceAnswer::new(StatusCode::FORBIDDEN);
    (answer, Some(Event::DeviceRefused(why)))
}

impl<P: Placement> Endpoint<'_, P> {
    /// Answers at one of the endpoints. If the ring loses a key meanwhile, nothing that it has
    /// sealed lives on under another one.
    pub(super) fn answer(
        &self,
        is_refresh: bool,
        request: &Request<'_, '_>,
        random: Random<'_>,
    ) -> Result<Answered, NotSealed> {
        let answered = if is_refresh {
            self.refresh(request, random)?
        } else {
            self.register(request, random)?
        };
        if self.binding.has_all(&self.sealed_under.borrow()) {
            return Ok(answered);
        }
        let answer = DeviceAnswer::new(StatusCode::INTERNAL_SERVER_ERROR);
        let event = Event::DeviceRefused(DeviceRefusal::UnknownKey);
        Ok((answer, Some(event)))
    }

    /// Registers a browser's key. The browser brings an offer, which names the session. The
    /// session's own cookie may be missing. It is never written here, because a late answer would
    /// undo a logout or overwrite a change.
    fn register(
        &self,
        request: &Request<'_, '_>,
        random: Random<'_>,
    ) -> Result<Answered, NotSealed> {
        let Self { binding, now, .. } = *self;
        let offers = self.opened(&request.cookie(binding.cookies.offer.name()));
        let offers: Vec<SessionId> = offers.0.iter().map(offered).collect();
        if offers.is_empty() {
            return Ok(refused(DeviceRefusal::NotOffered));
        }
        let jwt = request.field(RESPONSE).and_then(Jwt::read);
        let Some((key, jwt)) = jwt.and_then(|jwt| Some((jwt.key()?, jwt))) else {
            return Ok(refused(DeviceRefusal::Malformed));
        };
        let challenge = self.challenge_of(&jwt).ok();
        let Some((For::Registering(session), asked_at)) = challenge.map(parts) else {
            return Ok(refused(DeviceRefusal::Challenge));
        };
        if !offers.contains(&session) {
            return Ok(refused(DeviceRefusal::NotOffered));
        }
        let is_over = |list: &RevocationList| list.is_over(session, now);
        if self.flow.revocations.as_ref().is_some_and(is_over) {
            return Ok(refused(DeviceRefusal::Over));
        }
        let point = Some(&key).filter(|key| jwt.is_signed_by(key));
        let Some(point) = point.and_then(compressed) else {
            return Ok(refused(DeviceRefusal::Signature));
        };
        let id = BindingId::random(random)?;
        let key = Key {
            binding: id,
            session,
            point,
            issued_at: now,
        };
        let cookies = [
            binding.keep_key(&key, random)?,
            binding.prove(id, Some(session), (asked_at, now), random)?,
            binding.cookies.offer.remove(),
        ];
        let answer = DeviceAnswer::new(StatusCode::OK)
            .json(instructions(binding))
            .cookies(cookies.into_iter().flatten());
        Ok((answer, Some(Event::DeviceRegistered)))
    }

    /// Lets a browser prove its key again. The answer has no body, because instructions in it would
    /// replace a newer key.
    fn refresh(
        &self,
        request: &Request<'_, '_>,
        random: Random<'_>,
    ) -> Result<Answered, NotSealed> {
        let Self {
            flow, binding, now, ..
        } = *self;
        let tokens = request.cookie(flow.transport.name());
        let session = flow.header_in(tokens.iter(), now);
        let (mut keys, unread) = self.opened::<Key>(&request.cookie(binding.cookies.key.name()));
        let is_later = unread.is_some_and(is_for_later) || session.is_err_and(is_for_later);
        let session = session.unwrap_or_default();
        let own = session.and_then(|header| header.binding);
        // The session is alive, whatever has ended that was there before its present login.
        let is_own = |key: &Key| Some(key.binding) == own;
        keys.retain(|key| is_own(&key.token) || !self.is_over(&key.token));
        if keys.is_empty() {
            return Ok(match session {
                // Another server may know the key, or the session.
                _ if is_later => {
                    let answer = DeviceAnswer::new(StatusCode::INTERNAL_SERVER_ERROR);
                    (
                        answer,
                        Some(Event::DeviceRefused(DeviceRefusal::UnknownKey)),
                    )
                }
                // This is a late refresh of an earlier key. An error would end the session that has
                // begun since.
                Some(header) if header.binding.is_none() => {
                    (DeviceAnswer::new(StatusCode::OK), None)
                }
                _ => {
                    let cookies = [&binding.cookies.proof, &binding.cookies.key];
                    let removals = cookies.into_iter().filter_map(Jar::remove);
                    (
                        DeviceAnswer::end().cookies(removals),
                        Some(Event::DeviceEnded),
                    )
                }
            });
        }
        let field = request.field(RESPONSE);
        let jwt = field.and_then(Jwt::read);
        let challenge = jwt.as_ref().map(|jwt| self.challenge_of(jwt));
        let (challenge, is_old) = match challenge {
            Some(Ok(challenge)) => (Some(challenge), false),
            Some(Err(refusal)) => (None, refusal == Refusal::Expired),
            None => (None, false),
        };
        let asked_for = challenge.map(|challenge| challenge.purpose);
        // Another host of the site can plant cookies with keys of its own, so try the session's key
        // first.
        let rank = |key: &Found<Key>| {
            let is_challenged = asked_for == Some(For::Refreshing(key.token.binding));
            (!is_own(&key.token), !is_challenged)
        };
        keys.sort_by_key(rank);
        let first = keys.first().map(|key| key.token.binding);
        if field.is_none() {
            let answer = DeviceAnswer::new(StatusCode::FORBIDDEN);
            return Ok((self.asking(answer, first, random)?, None));
        }
        let Some(jwt) = jwt else {
            let answer = self.asking(DeviceAnswer::new(StatusCode::OK), first, random)?;
            return Ok((answer, Some(Event::DeviceRefused(DeviceRefusal::Malformed))));
        };
        let has_signed = |key: &&Found<Key>| {
            decompressed(&key.token.point).is_some_and(|key| jwt.is_signed_by(&key))
        };
        let Some(key) = keys.iter().find(has_signed) else {
            // The key of an earlier session: an error would end the one that has begun since.
            let answer = self.asking(DeviceAnswer::new(StatusCode::OK), first, random)?;
            return Ok((answer, Some(Event::DeviceRefused(DeviceRefusal::Signature))));
        };
        let Found {
            token: key,
            under_old_key,
            ..
        } = key;
        let good = challenge.filter(|it| it.purpose == For::Refreshing(key.binding));
        let Some(asked_at) = good.map(Challenge::asked_at) else {
            let answer = DeviceAnswer::new(StatusCode::FORBIDDEN);
            let answer = self.asking(answer, Some(key.binding), random)?;
            // An old challenge is normal: browsers first send again what they have signed last.
            let event = (!is_old).then_some(Event::DeviceRefused(DeviceRefusal::Challenge));
            return Ok((answer, event));
        };
        let is_its = |header: &Header| match header.binding {
            Some(binding) => binding == key.binding,
            None => header.id == key.session,
        };
        if !session.as_ref().is_none_or(is_its) {
            // The session is bound to another key, so it gets no proof.
            let answer = DeviceAnswer::new(StatusCode::OK);
            return Ok((
                answer,
                Some(Event::DeviceRefused(DeviceRefusal::OtherSession)),
            ));
        }
        // The proof names the session only until the session's record has the binding.
        let names = Some(key.session).filter(|_| !is_own(key));
        let proof = binding.prove(key.binding, names, (asked_at, now), random)?;
        let kept = match session.filter(|_| is_own(key)) {
            Some(header) if *under_old_key || self.is_key_due(key, &header) => {
                let issued_at = now;
                binding.keep_key(&Key { issued_at, ..*key }, random)?
            }
            _ => None,
        };
        let answer = DeviceAnswer::new(StatusCode::OK).cookies(proof.into_iter().chain(kept));
        Ok((answer, Some(Event::DeviceRefreshed)))
    }

    /// Returns the tokens that open. If some do not, also returns the reason for one of them.
    fn opened<T: Sealed>(&self, candidates: &Candidates<'_>) -> (Vec<Found<T>>, Option<Refusal>) {
        let (mut found, mut unread) = (Vec::new(), None);
        for text in candidates.iter() {
            match self.open(text) {
                Ok(token) => found.push(token),
                Err(refusal) => unread = unread.filter(|it| is_for_later(*it)).or(Some(refusal)),
            }
        }
        (found, unread)
    }

    /// The challenge that the browser has signed, if it is ours and still good.
    fn challenge_of(&self, jwt: &Jwt<'_>) -> Result<Challenge, Refusal> {
        let text = jwt.challenge().unwrap_or_default();
        Ok(self.open::<Challenge>(text.as_bytes())?.token)
    }

    fn open<T: Sealed>(&self, text: &[u8]) -> Result<Found<T>, Refusal> {
        let found = self.binding.open(text, self.now)?;
        self.sealed_under.borrow_mut().push(Some(found.key));
        Ok(found)
    }

    /// Adds a new challenge to the answer.
    fn asking(
        &self,
        answer: DeviceAnswer,
        for_binding: Option<BindingId>,
        random: Random<'_>,
    ) -> Result<DeviceAnswer, NotSealed> {
        let Some(of) = for_binding else {
            return Ok(answer);
        };
        let binding = self.binding;
        let challenge = binding.challenge(For::Refreshing(of), self.now, random)?;
        Ok(match binding.challenge_header(&challenge) {
            Some(value) => answer.with(CHALLENGE, value),
            None => answer,
        })
    }

    /// Whether the session that registered the key has ended, as far as the revocation list knows.
    fn is_over(&self, key: &Key) -> bool {
        let is_over = |list: &RevocationList| {
            list.is_over(key.session, self.now) || list.ends_all_before(key.issued_at)
        };
        self.flow.revocations.as_ref().is_some_and(is_over)
    }

    /// Whether the key must be sealed anew, because its session, which can be renewed, may outlive
    /// it.
    fn is_key_due(&self, key: &Key, header: &Header) -> bool {
        let age = self.now.since(key.issued_at);
        header.issued_at > key.issued_at || age > self.binding.key_is_young_for()
    }
}

fn parts(challenge: Challenge) -> (For, Millis) {
    (challenge.purpose, challenge.asked_at())
}

fn offered(found: &Found<Offer>) -> SessionId {
    found.token.session
}

/// Whether another server, or this one at a later time, may open the token.
fn is_for_later(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::UnknownKey | Refusal::UnknownVersion | Refusal::Newer | Refusal::Future
    )
}
