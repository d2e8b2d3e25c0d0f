//! Names of entries: plain text, or a field that has a type.

use std::fmt;
use std::marker::PhantomData;

/// The name of an entry in a session: `&str`, `&String` or [`Field`].
pub trait Key: sealed::Sealed {
    /// Returns the entry's name.
    fn name(&self) -> &str;
}

/// A [`Key`] whose entry is a `T`. A string can name an entry of any type, and a [`Field`] only an
/// entry of its own type.
pub trait KeyOf<T>: Key {}

/// An entry's name together with its type.
///
/// ```
/// use sealed_session::{Field, Session};
///
/// const USER: Field<u64> = Field::new("user_id");
///
/// let session = Session::new();
/// session.insert(USER, 42)?;
/// assert_eq!(session.get(USER)?, Some(42)); // a u64, without saying so
/// # Ok::<(), sealed_session::SessionError>(())
/// ```
pub struct Field<T> {
    name: &'static str,
    // Neither owns a `T` nor depends on whether `T` is `Send` or `Sync`.
    of: PhantomData<fn() -> T>,
}

impl<T> Field<T> {
    /// A field with this name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            of: PhantomData,
        }
    }
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.name).finish()
    }
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for &str {}
impl Key for &str {
    fn name(&self) -> &str {
        self
    }
}
impl<T> KeyOf<T> for &str {}

impl sealed::Sealed for &String {}
impl Key for &String {
    fn name(&self) -> &str {
        self
    }
}
impl<T> KeyOf<T> for &String {}

impl<T> sealed::Sealed for Field<T> {}
impl<T> Key for Field<T> {
    fn name(&self) -> &str {
        self.name
    }
}
impl<T> KeyOf<T> for Field<T> {}
