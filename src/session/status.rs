//! What a save has to do for a session.

/// What a save has to do for a session: see [`Session::status`](crate::Session::status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The session is as it was loaded, or new and empty.
    Unmodified,
    /// The session has changes to write.
    Modified,
    /// The session was destroyed, and nothing was written since.
    Destroyed,
}
