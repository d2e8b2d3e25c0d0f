//! Applications as the examples of other libraries have them, on our session. Each takes its
//! session layer as an argument, so that the same code runs on tower-sessions' own.

pub mod browser;
pub mod login;
pub mod messages;
pub mod routes;

/// The middleware of docs/actix.md, with actix-session 0.11.
pub mod actix_session_0_11 {
    include!("as_actix_session.rs");
}

/// The same with actix-session 0.10.
pub mod actix_session_0_10 {
    use actix_session_0_10 as actix_session;
    include!("as_actix_session.rs");
}

/// The example of docs/tower-sessions.md, compiled as it is printed.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/tower-sessions.md")]
struct TowerSessionsPage;
