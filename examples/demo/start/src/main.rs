//! `cargo demo`: says that the demo is being built and how long that takes, builds it and runs it.

use std::env;
use std::process::{Command, ExitCode};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");

fn main() -> ExitCode {
    eprintln!("Building the demo. The first time takes a minute or two, and then a few seconds.");
    eprintln!("It prints a link when it is ready.\n");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut demo = Command::new(cargo);
    demo.args(["run", "--manifest-path", MANIFEST, "--"]);
    let status = demo.args(env::args_os().skip(1)).status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => ExitCode::SUCCESS,
        Ok(Some(2)) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}
