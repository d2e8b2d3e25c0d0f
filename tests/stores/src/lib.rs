//! Servers for the tests of stores: each started on loopback by the test that needs it, and
//! stopped with it.

pub mod patience;
pub mod redis;
pub mod steps;
