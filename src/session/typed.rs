//! A session whose entries are the fields of a struct.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Session;
use super::changes::{Changes, Stored, View};
use super::entry::copy;
use crate::error::{ErrorKind, SessionError};
use crate::value::{ValueError, changes_to, decode_entries, encode_fields};

/// A session seen as a `T`: each field of the struct is an entry of the session.
///
/// Entries that `T` has no field for are kept and not looked at, so that several types, and
/// [`get`](Session::get) and [`insert`](Session::insert), can share one session. Nothing is
/// written but by [`set`](Self::set) and [`update`](Self::update).
///
/// A field that is `None` is no entry. An entry that is absent is an error unless the field is an
/// `Option` or serde has a default for it. A new visitor's session is empty, so give the whole
/// struct one, as here:
///
/// ```
/// use sealed_session::{Session, TypedSession};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Deserialize, Serialize)]
/// #[serde(default)]
/// struct Visit {
///     user_id: Option<u64>,
///     pages: u32,
/// }
///
/// # let session = Session::new();
/// let visit = TypedSession::<Visit>::from(session); // with a framework: an extractor
/// visit.update(|visit| visit.pages += 1)?;
/// assert_eq!(visit.get()?.pages, 1);
/// assert_eq!(visit.session().get("pages")?, Some(1));
/// assert!(!visit.session().contains("user_id"));
/// # Ok::<(), sealed_session::SessionError>(())
/// ```
///
/// # Which entries are the struct's
///
/// Those under the names of its fields, as serde reads them: renamed ones under the new name, and
/// under each alias. A struct with flattened fields does not tell its names; its entries are those
/// that it has when it is read from the session before it is written, and when it is read after.
/// **A flattened map has every entry that no other field has**, also what others have inserted:
/// keep what [`get`](Self::get) has put there if it is to stay. Entries that are the struct's and
/// not in what is written are removed.
///
/// What was written is what the next [`get`](Self::get) gives. Where serde's attributes stand in
/// the way of that, writing is an error: if `None` or what `skip_serializing_if` leaves out is not
/// what the field is by default, if a flattened map has a null, if a field is written under
/// another name than it is read.
pub struct TypedSession<T> {
    session: Session,
    // Neither owns a `T` nor cares whether `T` can cross threads.
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> TypedSession<T> {
    /// The fields of `T` as they are now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if a field is missing and has no default, or an entry is of
    /// another type.
    pub fn get(&self) -> Result<T, SessionError> {
        decode(&self.entries())
    }

    /// Sets all fields of `T`, and removes the entries of those that are `None` or left out when
    /// `value` is serialized (`skip_serializing_if`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotStorable`] if `T` is no struct with named fields, or `value` has one that
    /// cannot be stored or would not be read back; [`ErrorKind::TooLarge`] if they do not all fit,
    /// and then none is set; [`ErrorKind::Closed`].
    pub fn set(&self, value: &T) -> Result<(), SessionError> {
        while !self.replace(value, &self.entries())? {}
        Ok(())
    }

    /// Changes the fields of `T`. If `change` leaves them as they are, nothing is written.
    /// Otherwise all of them are set, as by [`set`](Self::set).
    ///
    /// If another clone changed the session in between, `change` is called again with what is
    /// there then, so that nothing is lost; if it is `change` that changes the session, each time
    /// in another way, without end.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`set`](Self::set).
    pub fn update(&self, mut change: impl FnMut(&mut T)) -> Result<(), SessionError> {
        loop {
            let before = self.entries();
            let mut value = decode(&before)?;
            let was = encode_fields(&value);
            change(&mut value);
            if was.is_ok() && was == encode_fields(&value) {
                return Ok(());
            }
            if self.replace(&value, &before)? {
                return Ok(());
            }
        }
    }

    /// Sets the fields; not if the session is no longer as it was `before`.
    fn replace(&self, value: &T, before: &Entries) -> Result<bool, SessionError> {
        let fields = changes_to(value, before).map_err(of_kind(ErrorKind::NotStorable))?;
        self.session.change(|changes, record| {
            if copy(View::new(record, changes).values()) != *before {
                return Ok(false);
            }
            let undo_to = changes.values.clone();
            for (key, value) in fields {
                let base = changes.base_values(record);
                match value {
                    Some(value) => {
                        changes.values.set(base, &key, value);
                    }
                    None => changes.values.remove(base, &key),
                }
            }
            let undo = |changes: &mut Changes| changes.values = undo_to;
            let what = format_args!("the typed session");
            self.session.keep_if_it_fits(changes, record, what, undo)?;
            Ok(true)
        })
    }
}

impl<T> TypedSession<T> {
    /// The session that has the entries.
    pub fn session(&self) -> &Session {
        &self.session
    }

    fn entries(&self) -> Entries {
        self.session.view(|view| copy(view.values()))
    }
}

type Entries = Vec<(String, Stored)>;

fn decode<T: DeserializeOwned>(entries: &Entries) -> Result<T, SessionError> {
    decode_entries(entries).map_err(of_kind(ErrorKind::WrongType))
}

fn of_kind(kind: ErrorKind) -> impl Fn(ValueError) -> SessionError {
    move |error| SessionError::new(kind, format!("the typed session: {error}"))
}

impl<T> From<Session> for TypedSession<T> {
    fn from(session: Session) -> Self {
        Self {
            session,
            of: PhantomData,
        }
    }
}

/// The same session.
impl<T> Clone for TypedSession<T> {
    fn clone(&self) -> Self {
        self.session.clone().into()
    }
}

impl<T> fmt::Debug for TypedSession<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedSession").field(&self.session).finish()
    }
}
