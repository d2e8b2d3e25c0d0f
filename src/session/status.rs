//! What a save has to do for a session.

/// What a save has to do for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// As it was loaded, or new and empty.
    Unmodified,
    /// There is something to write.
    Modified,
    /// Destroyed, and nothing written since.
    Destroyed,
}
