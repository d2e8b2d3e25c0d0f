//! How the tests wait: for a state, however long a busy machine takes to come to it.

use std::time::{Duration, Instant};

/// After this nothing is slow any more, but broken.
pub const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Asks until it is so.
///
/// # Panics
///
/// If it is not so in the end: with what was waited for.
pub async fn wait_for(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        // As many questions as a server answers without being kept from its work.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
