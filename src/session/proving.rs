//! The methods of a session for the device that it is bound to.

use std::time::{Duration, SystemTime};

use super::Session;
use super::base::Loaded;
use super::changes::Changes;
use super::device::Device;
use super::state::{Bounds, Flag};
use crate::error::{Origin, Refusal};
use crate::time::Millis;

impl Device {
    /// Makes the session of a request that has shown this of its device.
    pub(crate) fn session(self, loaded: Loaded, read_at: Millis, bounds: Bounds) -> Session {
        let origin = if self.is_missing {
            Origin::Refused(Refusal::Unproven)
        } else {
            Origin::Opened
        };
        let (loaded, changes) = (Some(loaded), Some(Box::new(Changes::with(self))));
        let session = Session::with(origin, loaded, changes, Some(read_at), Some(bounds));
        // With this flag, reads take the lock, because the record may not count, and a save makes a
        // plan.
        if self.is_due() {
            session.inner.flags.set(Flag::Touched, Flag::Touched);
        }
        session
    }
}

impl Session {
    /// Whether this request comes from the device that the session is bound to: it brought the
    /// proof of a key that only that device has. Also see the guard `RequireDevice` (feature
    /// `tower`).
    ///
    /// It is `false` in a browser that does not take part. In one that does, it becomes `true` when
    /// the browser has registered its key, some moments after the login.
    /// [`ask_for_device_proof`](Self::ask_for_device_proof) has an example.
    pub fn is_device_bound(&self) -> bool {
        self.device_proven_at().is_some()
    }

    /// When the device last proved its key, if this request comes from the device that the session
    /// is bound to.
    pub fn device_proven_at(&self) -> Option<SystemTime> {
        self.lock_for_save(|changes, _| changes.device().proven_at.map(SystemTime::from))
    }

    /// Whether the device proved its key at most `duration` before the request was read. If it did
    /// not, [ask](Self::ask_for_device_proof) for a new proof, for example before a payment: see the
    /// example there.
    pub fn is_device_proven_within(&self, duration: Duration) -> bool {
        let proven_at = self.lock_for_save(|changes, _| changes.device().proven_at);
        proven_at
            .zip(self.inner.read_at)
            .is_some_and(|(proven_at, read_at)| read_at.since(proven_at) <= duration)
    }

    /// Makes the device prove its key before its next request: the response takes away the proof
    /// that the browser has. Answer with a redirect to the same address, status 307, and the
    /// browser repeats the request with a new proof. Without a [proof](Self::is_device_bound) in
    /// the request this does nothing.
    ///
    /// Browsers sign six times in nine minutes. So call it only for a request of your own pages
    /// (`Sec-Fetch-Site: same-origin`), and only if the last proof is too old. The guard
    /// `RequireDevice` (feature `tower`) takes care of all this.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sealed_session::Session;
    ///
    /// /// Whether to go on with a payment. If not, answer 307 with the request's own address.
    /// fn may_pay(session: &Session) -> bool {
    ///     let is_fresh = session.is_device_proven_within(Duration::from_secs(30));
    ///     if !is_fresh {
    ///         session.ask_for_device_proof();
    ///     }
    ///     is_fresh
    /// }
    ///
    /// let session = Session::new(); // of a browser that takes no part
    /// assert!(!session.is_device_bound());
    /// assert!(!may_pay(&session));
    /// ```
    pub fn ask_for_device_proof(&self) {
        self.lock_for_save(|changes, _| {
            let Some(device) = &mut changes.shown else {
                return;
            };
            if device.proven_at.is_some() {
                device.drops_proof = true;
                device.is_asked = true;
                self.inner.flags.set(Flag::Touched, Flag::Touched);
            }
        });
    }
}
