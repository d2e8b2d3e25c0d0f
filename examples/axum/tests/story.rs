//! The shop, started and driven over HTTP: see `example-client`.

example_client::story!(env!("CARGO_BIN_EXE_example-axum"));
