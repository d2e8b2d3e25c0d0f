//! A store in a directory, shared with other processes and with whoever was in it.

mod clients;
mod processes;

use std::os::unix::fs::PermissionsExt;

use sealed_session::server::File;
use sealed_session::server::conformance::Suite;
use tempfile::TempDir;

/// A directory that nobody else may enter.
fn private() -> TempDir {
    let mode = PermissionsExt::from_mode(0o700);
    tempfile::Builder::new()
        .permissions(mode)
        .tempdir()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_what_it_promises() {
    let dir = private();
    let file = File::open(dir.path()).unwrap();
    let suite = Suite::new(&file, tokio::time::sleep);
    if let Err(broken) = suite.check().await {
        panic!("{broken}");
    }
}
