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

/// A session read and written as a struct `T`: each field is an entry of the session.
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
/// A new visitor's session is empty, so give the whole struct a default, as here: a missing entry
/// is an error unless the field is an `Option` or has a default in serde. A field that is `None`
/// has no entry.
///
/// Entries without a field in `T` are ignored and kept. So several types can share one session, and
/// you can use [`get`](Session::get) and [`insert`](Session::insert) beside them. Only
/// [`set`](Self::set) and [`update`](Self::update) write.
///
/// # Which entries are the struct's
///
/// The struct has the entries under the names of its fields, as serde reads them: a renamed field
/// has the entry under its new name, and under each alias. A write removes the struct's entries
/// that are missing from the new value.
///
/// If the struct has flattened fields, serde does not give the names. The struct then has the
/// entries that it reads from the session before a write, and those that it reads after. **A
/// flattened map gets every entry that no other field has**, even if other code inserted it. To
/// keep such an entry, write back what [`get`](Self::get) put into the map.
///
/// The next [`get`](Self::get) returns what you wrote. If serde's attributes prevent that, the
/// write is an error. They do so in these cases:
///
/// - `None`, or what `skip_serializing_if` leaves out, differs from the field's default.
/// - A flattened map has a null.
/// - A field is written under another name than it is read.
pub struct TypedSession<T> {
    session: Session,
    // Neither owns a `T` nor depends on whether `T` is `Send` or `Sync`.
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> TypedSession<T> {
    /// Returns the current fields of `T`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if a field is missing and has no default, or an entry has another
    /// type.
    pub fn get(&self) -> Result<T, SessionError> {
        decode(&self.entries())
    }

    /// Sets all fields of `T`. Fields that are `None`, or that `skip_serializing_if` leaves out,
    /// have their entries removed.
    ///
    /// ```
    /// # use sealed_session::{Session, TypedSession};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Default, Deserialize, Serialize)]
    /// #[serde(default)]
    /// struct Address {
    ///     street: Option<String>,
    ///     city: String,
    /// }
    ///
    /// # let session = Session::new();
    /// # session.insert("street", "High Street 1")?;
    /// let address = TypedSession::<Address>::from(session); // has a street
    /// address.set(&Address { street: None, city: "Oslo".to_owned() })?;
    /// assert_eq!(address.session().keys(), ["city"]);
    /// # Ok::<(), sealed_session::SessionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotStorable`] if `T` is not a struct with named fields, or if a field of
    /// `value` cannot be stored or would not be read back. [`ErrorKind::TooLarge`] if the fields do
    /// not all fit: then none is set. [`ErrorKind::Closed`] if a layer has saved the session
    /// already.
    pub fn set(&self, value: &T) -> Result<(), SessionError> {
        while !self.replace(value, &self.entries())? {}
        Ok(())
    }

    /// Changes the fields of `T`. If `change` leaves them unchanged, nothing is written. Otherwise
    /// all fields are set, as [`set`](Self::set) does.
    ///
    /// If another clone changes the session in between, `change` is called again with the newer
    /// fields, so nothing is lost. `change` must not change the session itself: if it does, in
    /// another way each time, it is called without end.
    ///
    /// # Errors
    ///
    /// The same as [`get`](Self::get) and [`set`](Self::set).
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

    /// Sets the fields if the entries are still as they were `before`. Otherwise returns `false`.
    fn replace(&self, value: &T, before: &Entries) -> Result<bool, SessionError> {
        let fields = changes_to(value, before).map_err(of_kind(
            ErrorKind::NotStorable,
            "use a struct whose fields a session can hold",
        ))?;
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
    /// Returns the session that has the entries.
    pub fn session(&self) -> &Session {
        &self.session
    }

    fn entries(&self) -> Entries {
        self.session.view(|view| copy(view.values()))
    }
}

type Entries = Vec<(String, Stored)>;

fn decode<T: DeserializeOwned>(entries: &Entries) -> Result<T, SessionError> {
    decode_entries(entries).map_err(of_kind(
        ErrorKind::WrongType,
        "make the field an `Option`, give it a default, or remove the entry",
    ))
}

fn of_kind(kind: ErrorKind, advice: &str) -> impl Fn(ValueError) -> SessionError {
    move |error| SessionError::new(kind, format!("the typed session: {error}; {advice}"))
}

impl<T> From<Session> for TypedSession<T> {
    fn from(session: Session) -> Self {
        Self {
            session,
            of: PhantomData,
        }
    }
}

/// A clone is the same session.
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
