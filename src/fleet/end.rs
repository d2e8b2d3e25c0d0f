//! How a session ends in a fleet, together with the sessions it was renewed to.

use super::process::Inner;
use crate::error::BackendError;
use crate::record::SessionId;
use crate::revocation::Revocation;
use crate::time::Millis;

impl Inner {
    /// Ends this id and the later ids of the same session, as far as this process knows them.
    /// Returns false if all of them had ended before.
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
