//! A session's path without the feature `device-bound`: no request brings a proof, and no response
//! has headers beside the session's own.

use super::outgoing::Beside;
use crate::cookie::header::Candidates;
use crate::envelope::{KeyRing, Random};
use crate::error::SaveError;
use crate::limit::Limit;
use crate::record::{Header, SessionId};
use crate::revocation::{Revocation, RevocationList};
use crate::session::changes::View;
use crate::session::{Bounds, Loaded, Session};
use crate::time::Millis;
use crate::transport::Transport;

/// No proof is shown.
#[derive(Debug)]
pub(crate) enum Shown {}

/// No device is judged.
pub(super) enum Device {}

impl Device {
    pub(super) fn session(self, _: Loaded, _: Millis, _: Bounds) -> Session {
        match self {}
    }
}

/// No session gets a binding.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {}

impl From<Bound> for Revocation {
    fn from(bound: Bound) -> Self {
        match bound {}
    }
}

/// A save finds out nothing about devices.
pub(super) struct News {
    pub(super) bound: Option<Bound>,
}

impl News {
    pub(super) fn of(_: View<'_>) -> Self {
        Self { bound: None }
    }

    #[expect(
        clippy::unused_self,
        reason = "with the feature, there is something to learn"
    )]
    pub(super) fn learn(
        &mut self,
        _: View<'_>,
        _: (SessionId, bool),
        _: impl FnOnce() -> Option<Millis>,
    ) {
    }
}

/// Binds no sessions.
#[derive(Debug)]
pub(crate) struct Devices;

#[expect(clippy::unused_self, reason = "with the feature, the settings decide")]
impl Devices {
    pub(super) const NONE: Self = Self;

    pub(super) fn replace_keys(&self, _: &KeyRing) {}

    pub(super) fn are_due(_: View<'_>, _: Limit) -> bool {
        false
    }

    pub(super) fn candidates<'a>(
        &self,
        transport: &Transport,
        fields: impl IntoIterator<Item = &'a [u8]>,
        _: Millis,
    ) -> (Candidates<'a>, Option<Shown>) {
        (transport.candidates(fields), None)
    }

    pub(super) fn judge(
        &self,
        _: &Header,
        _: Option<&Shown>,
        _: Option<&RevocationList>,
    ) -> Option<Device> {
        None
    }

    pub(super) fn beside(
        &self,
        _: &News,
        _: bool,
        _: Millis,
        _: Random<'_>,
    ) -> Result<Option<Box<Beside>>, SaveError> {
        Ok(None)
    }
}
