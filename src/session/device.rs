//! What a request has shown of the device that a session is bound to.

use crate::record::BindingId;
#[cfg(feature = "device-bound")]
use crate::time::Millis;

/// What a request has shown of the session's device. Without device binding, it shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Device {
    /// Whether the session needs a proof that the request did not bring, so that it counts as
    /// absent.
    pub(crate) is_missing: bool,
    /// When the device has proven its key for this session.
    #[cfg(feature = "device-bound")]
    pub(crate) proven_at: Option<Millis>,
    /// The binding of a session that is not bound yet, and came with its first proof.
    pub(crate) binds: Option<BindingId>,
    /// Whether the response removes the proof, because it belongs to another session or the device
    /// is asked for a new one.
    #[cfg(feature = "device-bound")]
    pub(crate) drops_proof: bool,
    /// Whether the response asks the device for a new proof.
    #[cfg(feature = "device-bound")]
    pub(crate) is_asked: bool,
}

impl Device {
    /// Forgets the proof, because it was not for the session from now on.
    pub(super) fn forget_proof(&mut self) {
        self.binds = None;
        #[cfg(feature = "device-bound")]
        {
            self.proven_at = None;
        }
    }
}

#[cfg(feature = "device-bound")]
impl Device {
    /// Whether the request has shown nothing of a device, and need not.
    pub(crate) fn is_nothing(&self) -> bool {
        self.proven_at.is_none() && !self.is_due()
    }

    /// Whether a save has something to do because of it.
    pub(super) fn is_due(&self) -> bool {
        self.is_missing || self.binds.is_some() || self.drops_proof
    }
}
