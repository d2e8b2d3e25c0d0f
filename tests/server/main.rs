//! Server stores through real headers.
