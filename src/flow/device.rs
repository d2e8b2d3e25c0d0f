//! What binding to a device adds to a session's path: the proof that a request brings, and the
//! headers beside the session's own. Without the feature, `without_device.rs` takes the place of
//! this file.

use super::outgoing::{Beside, CHALLENGE, REGISTRATION};
pub(crate) use crate::binding::Shown;
use crate::binding::{Binding, DeviceStage, For};
use crate::cookie::header::Candidates;
use crate::envelope::{KeyRing, Random};
use crate::error::SaveError;
use crate::limit::Limit;
use crate::record::{BindingId, Header, SessionId};
use crate::revocation::{Revocation, RevocationList};
use crate::session::Device;
use crate::session::changes::View;
use crate::time::Millis;
use crate::transport::Transport;

/// A session that gets its binding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) id: SessionId,
    pub(crate) binding: BindingId,
    /// When the last copy of its cookie has expired.
    pub(crate) until: Millis,
}

impl From<Bound> for Revocation {
    fn from(bound: Bound) -> Self {
        let Bound { id, binding, until } = bound;
        Self::Bound { id, binding, until }
    }
}

/// What a save finds out about the session's device.
pub(super) struct News {
    device: Device,
    bound_to: Option<BindingId>,
    /// The id under which a binding is offered.
    offered: Option<SessionId>,
    pub(super) bound: Option<Bound>,
}

impl News {
    /// Starts with what the request has shown.
    pub(super) fn of(view: View<'_>) -> Self {
        Self {
            device: view.device(),
            bound_to: view.binding(),
            offered: None,
            bound: None,
        }
    }

    /// Adds what follows from the record that is written. If the session stays in a cookie,
    /// `copies` returns when the last copy of its present cookie expires.
    pub(super) fn learn(
        &mut self,
        view: View<'_>,
        (id, moves): (SessionId, bool),
        copies: impl FnOnce() -> Option<Millis>,
    ) {
        let is_offered = self.bound_to.is_none() && view.is_offered(moves);
        self.offered = is_offered.then_some(id);
        let is_due = view.is_binding_due() && view.continued().is_some();
        let binding = self.bound_to.filter(|_| is_due);
        self.bound = binding.and_then(|binding| {
            let until = copies()?;
            Some(Bound { id, binding, until })
        });
    }
}

/// Binds the sessions of a store, if it is set up to.
#[derive(Debug)]
pub(crate) struct Devices(Option<Box<Binding>>);

impl Devices {
    /// Binds no session.
    pub(super) const NONE: Self = Self(None);

    pub(super) fn new(binding: Option<Box<Binding>>) -> Self {
        Self(binding)
    }

    pub(crate) fn binding(&self) -> Option<&Binding> {
        self.0.as_deref()
    }

    pub(super) fn replace_keys(&self, ring: &KeyRing) {
        if let Some(binding) = &self.0 {
            binding.replace_keys(ring);
        }
    }

    /// Whether a save is due that only binds the session, and the longer record has room.
    pub(super) fn are_due(view: View<'_>, limit: Limit) -> bool {
        view.is_binding_due() && limit.check(view.body().len(view.optional())).is_ok()
    }

    /// The request's session tokens, and the device's proof.
    pub(super) fn candidates<'a>(
        &self,
        transport: &Transport,
        fields: impl IntoIterator<Item = &'a [u8]>,
        now: Millis,
    ) -> (Candidates<'a>, Option<Shown>) {
        let Some(binding) = &self.0 else {
            return (transport.candidates(fields), None);
        };
        let names = [transport.name(), binding.cookies.proof.name()];
        let [candidates, proofs] = Candidates::find_both(names, fields);
        (candidates, binding.proof(&proofs, now))
    }

    /// Decides what the request's proof means for the session with this header. `None` if there is
    /// nothing to do. `list` is for sessions that live in cookies.
    pub(super) fn judge(
        &self,
        header: &Header,
        proof: Option<&Shown>,
        list: Option<&RevocationList>,
    ) -> Option<Device> {
        let listed = || list.and_then(|list| list.bound_to(header.id));
        let device = self.0.as_ref()?.judge(header, proof, listed());
        (!device.is_nothing()).then_some(device)
    }

    /// The headers that a response needs: removals if the session `ends` or the browser must drop
    /// its proof, a challenge if the browser must make a new proof, and an offer if somebody has
    /// logged in.
    pub(super) fn beside(
        &self,
        news: &News,
        ends: bool,
        now: Millis,
        random: Random<'_>,
    ) -> Result<Option<Box<Beside>>, SaveError> {
        let binding = self.0.as_deref();
        let Some(binding) = binding.filter(|it| it.settings.stage() >= DeviceStage::Serve) else {
            return Ok(None);
        };
        let mut beside = Beside::default();
        if ends {
            beside.cookies.extend(binding.removals());
        } else if news.device.drops_proof {
            beside.cookies.extend(binding.cookies.proof.remove());
            // Without a new challenge, the browser may send again what it signed a minute ago.
            if let Some(bound_to) = news.bound_to.filter(|_| news.device.is_asked) {
                let challenge = binding.challenge(For::Refreshing(bound_to), now, random)?;
                let challenge = binding.challenge_header(&challenge);
                beside.request = challenge.map(|value| (CHALLENGE, value));
            }
        }
        let offers = binding.settings.stage() >= DeviceStage::Offer;
        if let Some(session) = news.offered.filter(|_| offers) {
            let [offer, registration] = binding.offer(session, now, random)?;
            beside.cookies.extend(offer);
            beside.request = registration.map(|value| (REGISTRATION, value));
        }
        let is_something = !beside.cookies.is_empty();
        Ok(is_something.then(|| Box::new(beside)))
    }
}
