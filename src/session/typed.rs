//! A session whose entries are the fields of a struct.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::changes::{Changes, Stored, View};
use super::{Session, copy};
use crate::error::{ErrorKind, SessionError};
use crate::value::{ValueError, decode_entries, encode_entries};

/// A session seen as a `T`: each field of the struct is an entry of the session.
///
/// Entries that `T` has no field for are kept and not looked at, so that several types, and
/// [`get`](Session::get) and [`insert`](Session::insert), can share one session. Nothing is
/// written but by [`set`](Self::set) and [`update`](Self::update).
///
/// An entry that is absent is an error unless the field is an `Option` or serde has a default
/// for it. A new visitor's session is empty, so give the whole struct one, as here:
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
/// # Ok::<(), sealed_session::SessionError>(())
/// ```
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

    /// Sets all fields of `T`. An entry whose field is left out when `value` is serialized
    /// (`skip_serializing_if`) is removed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotStorable`] if `T` is no struct with named fields or has one that cannot
    /// be stored; [`ErrorKind::TooLarge`] if they do not all fit, and then none is set;
    /// [`ErrorKind::Closed`].
    pub fn set(&self, value: &T) -> Result<(), SessionError> {
        self.replace(value, None).map(|_| ())
    }

    /// Changes the fields of `T`. If another clone changed the session in between, `change` is
    /// called again with what is there then, so that nothing is lost; if it is `change` that
    /// changes the session, each time in another way, without end.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`set`](Self::set).
    pub fn update(&self, mut change: impl FnMut(&mut T)) -> Result<(), SessionError> {
        loop {
            let before = self.entries();
            let mut value = decode(&before)?;
            change(&mut value);
            if self.replace(&value, Some(&before))? {
                return Ok(());
            }
        }
    }

    /// Sets the fields; not if the session is no longer as it was `before`.
    fn replace(&self, value: &T, before: Option<&Entries>) -> Result<bool, SessionError> {
        let fields = encode_entries(value).map_err(of_kind(ErrorKind::NotStorable))?;
        self.session.change(|changes, record| {
            let is_still = |before: &Entries| copy(View::new(record, changes).values()) == *before;
            if !before.is_none_or(is_still) {
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
