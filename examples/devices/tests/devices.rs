//! The page with each store, driven over HTTP by two devices: see `example-client`.

use example_client::{Driver, Visitor, devices};

fn visitor(driver: Driver) -> Visitor {
    Visitor::of(env!("CARGO_BIN_EXE_example-devices"), driver)
}

#[test]
fn a_visitor_sees_and_ends_sessions_in_memory() {
    devices::are_listed_and_end(&visitor(Driver::Memory));
}

#[test]
fn a_visitor_sees_and_ends_sessions_in_files() {
    devices::are_listed_and_end(&visitor(Driver::File));
}

#[test]
fn a_visitor_sees_and_ends_sessions_in_redis() {
    devices::are_listed_and_end(&visitor(Driver::Redis));
}

#[test]
fn sessions_in_cookies_are_not_listed_and_the_page_says_so() {
    devices::are_unknown(&visitor(Driver::Cookie));
}
