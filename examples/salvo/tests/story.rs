//! The shop, started with each store and driven over HTTP: see `example-client`.

example_client::stories!(env!("CARGO_BIN_EXE_example-salvo"));
