//! How a session ends in a fleet, with whatever it has become.

use super::process::Inner;
use crate::error::BackendError;
use crate::record::SessionId;
use crate::revocation::Revocation;
use crate::time::Millis;

impl Inner {
    /// Ends this id and what it has become, as far as that is known here. False if all had ended
    /// before.
    pub(super) async fn end_all(
        &self,
        mut id: SessionId,
        mut until: Millis,
        now: Millis,
    ) -> Result<bool, BackendError> {
        loop {
            let is_alive = !self.list.has_ended(id, now);
            if is_alive {
                let from = Millis::default();
                self.publish(&[Revocation::Id { id, from, until }]).await?;
                self.list.end(id, until, now);
            }
            let Some((next, _)) = self.list.moved(id, now) else {
                return Ok(is_alive);
            };
            (id, until) = (next, self.list.last_copy_of_new(now));
        }
    }
}
