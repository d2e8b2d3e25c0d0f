//! Sessions as their users have them: through real Cookie and Set-Cookie headers, with a clock
//! that the tests move and a browser that keeps what it is sent.

#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod behaviours;
mod concurrency;
mod cookie_parsing;
mod events;
mod headers;
mod lifetimes;
mod login;
mod model;
mod revocation;
mod rules;
mod shared_caches;
mod size;
mod support;
mod threats_cookie_header;
mod threats_envelope;
mod threats_keys;
mod threats_randomness;
mod threats_record;
mod threats_response;
mod threats_rotation;
mod threats_secrets;
mod threats_session;
mod threats_several_cookies;
mod transport;
mod typed;
