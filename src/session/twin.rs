//! Functions for a twin, which is another library's session with the same entries. They do not ask
//! the twin for its changes, and do not tell it of changes.

use std::sync::{Arc, Weak};

use serde::Serialize;
use zeroize::Zeroizing;

use super::Session;
use super::changes::{Changes, View};
use super::entry::{copy, encode};
use super::state::{Ends, Twin};
use crate::envelope::os_random;
use crate::error::{RandomError, SessionError};
use crate::record::SessionId;

impl Session {
    /// Gives the session a twin, unless it has one. If the session is new, its first save uses
    /// `new_id`.
    pub(crate) fn join(&self, twin: Weak<dyn Twin>, new_id: Option<SessionId>) {
        if self.inner.twin.set(twin).is_err() {
            return;
        }
        self.lock_for_save(|changes, loaded| {
            if View::new(loaded.map(|loaded| &loaded.record), changes)
                .birth()
                .is_none()
            {
                changes.intended_id = new_id;
            }
        });
    }

    pub(super) fn twin(&self) -> Option<Arc<dyn Twin>> {
        self.inner.twin.get()?.upgrade()
    }

    /// The entries as they are now.
    pub(crate) fn entries_now(&self) -> Vec<(String, Zeroizing<Vec<u8>>)> {
        self.lock_for_save(|changes, loaded| {
            copy(View::new(loaded.map(|loaded| &loaded.record), changes).values())
        })
    }

    /// The entries that the session was opened with.
    pub(crate) fn entries_as_opened(&self) -> Vec<(String, Zeroizing<Vec<u8>>)> {
        self.first()
            .map(|loaded| copy(loaded.record.values().without_nulls()))
            .unwrap_or_default()
    }

    /// Takes over a twin's changes: all of them, or none if one is refused.
    pub(crate) fn take_over<T: Serialize>(
        &self,
        entries: Vec<(&str, Option<T>)>,
        ends: Option<Ends>,
    ) -> Result<(), SessionError> {
        let set = entries.iter().filter(|(_, value)| value.is_some());
        let names: Vec<String> = set.map(|(key, _)| format!("{key:?}")).collect();
        let encoded = entries.into_iter().map(|(key, value)| {
            let value = value.map(|value| encode(key, &value)).transpose()?;
            Ok((key, value.filter(|value| !crate::value::is_null(value))))
        });
        let encoded = encoded.collect::<Result<Vec<_>, SessionError>>()?;
        self.change_alone(|changes, loaded| {
            let record = loaded.map(|loaded| &loaded.record);
            let before = (
                changes.values.clone(),
                changes.expires_at,
                changes.transient,
            );
            let deadline = match ends {
                Some(Ends::At(at)) => Some(at),
                Some(Ends::After(time)) => self.inner.read_at.map(|now| now.plus(time)),
                Some(Ends::WithBrowser) | None => None,
            };
            if let Some(deadline) = deadline {
                self.set_deadline(changes, record, deadline)?;
            }
            if let Some(ends) = ends {
                changes.set_transient(record, matches!(ends, Ends::WithBrowser));
            }
            for (key, value) in encoded {
                let base = changes.base_values(record);
                match value {
                    Some(value) => {
                        changes.values.set(base, key, value);
                    }
                    None => changes.values.remove(base, key),
                }
            }
            let undo = |changes: &mut Changes| {
                (changes.values, changes.expires_at, changes.transient) = before;
            };
            let what = format_args!("{}", names.join(", "));
            self.keep_if_it_fits(changes, record, what, undo)
        })
    }

    /// The id that the next save gives the session, or has given it.
    pub(crate) fn next_id(&self) -> Result<SessionId, RandomError> {
        self.lock_for_save(|changes, loaded| {
            let view = View::new(loaded.map(|loaded| &loaded.record), changes);
            let known = view.birth().map(|birth| birth.id);
            if let Some(id) = known.or(view.intended_id()) {
                return Ok(id);
            }
            let id = SessionId::random(&mut os_random)?;
            changes.intended_id = Some(id);
            Ok(id)
        })
    }

    pub(crate) fn log_in_alone(&self) -> Result<(), SessionError> {
        self.change_alone(|changes, loaded| {
            let record = loaded.map(|loaded| &loaded.record);
            let before = changes.clone();
            changes.log_in();
            let undo = |changes: &mut Changes| *changes = before;
            self.keep_if_it_fits(changes, record, format_args!("the login"), undo)
        })
    }

    pub(crate) fn destroy_alone(&self) -> Result<(), SessionError> {
        self.change_alone(|changes, _| {
            changes.destroy();
            Ok(())
        })
    }

    /// Drops everything that this request has written, but not that it ended the session or asked
    /// for a new id.
    pub(crate) fn give_up_changes(&self) {
        self.lock_for_save(|changes, _| changes.give_up());
    }
}
