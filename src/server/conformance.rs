//! A suite that checks whether a [`Backend`] keeps its promises, and a spy that records its calls.
//!
//! ```
//! # use std::time::Duration;
//! use sealed_session::server::{Memory, conformance};
//!
//! # pollster::block_on(async {
//! // With tokio: `tokio::time::sleep`.
//! let sleep = async |time| std::thread::sleep(time);
//! conformance::Suite::new(&Memory::new(), sleep).check().await
//! # })?;
//! # Ok::<(), conformance::Broken>(())
//! ```

mod broken;
mod checks;
mod spy;

use std::fmt;
use std::time::Duration;

pub use broken::Broken;
pub use spy::{Call, Spy};

use super::backend::Backend;
use super::builder::MAX_SIZE;
use checks::Bounds;

/// A suite that checks a backend's promises, including those of
/// [`Promise::Full`](super::Promise::Full) if the backend declares it.
///
/// It makes every call that a store makes, with keys of its own, and removes them at the end. So
/// you can run it on a shared server. If your backend talks to a server, run the suite against a
/// real one, on a runtime with several threads. The suite drops the futures of some calls. If it
/// hangs, such a call has left something locked, for example an open transaction.
///
/// ```
/// # use std::time::Duration;
/// # use sealed_session::server::{Memory, conformance::Suite};
/// # pollster::block_on(async {
/// # let backend = Memory::new();
/// # let sleep = async |time| std::thread::sleep(time);
/// let suite = Suite::new(&backend, sleep)
///     .resolution(Duration::from_millis(100)) // how exact its times are
///     .max_size(64 * 1024);
/// assert_eq!(suite.check().await, Ok(()));
/// # });
/// ```
#[must_use = "`check` runs it"]
pub struct Suite<'b, B, S> {
    backend: &'b B,
    sleep: S,
    bounds: Bounds,
}

impl<'b, B: Backend, S: AsyncFn(Duration)> Suite<'b, B, S> {
    /// Returns a suite for `backend`. `sleep` must wait by the same clock that the backend uses.
    pub fn new(backend: &'b B, sleep: S) -> Self {
        Self {
            backend,
            sleep,
            bounds: Bounds {
                resolution: Duration::from_millis(50),
                max_size: MAX_SIZE,
            },
        }
    }

    /// Sets how exact the backend's times are. The suite waits once, for four times this. Default
    /// 50 milliseconds; use a second for a backend that keeps whole seconds.
    pub fn resolution(mut self, resolution: Duration) -> Self {
        self.bounds.resolution = resolution;
        self
    }

    /// Sets the most bytes of a session in the backend, as in
    /// [`StoreBuilder::max_size`](crate::StoreBuilder::max_size). Default 1 MiB.
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.bounds.max_size = bytes;
        self
    }

    /// Runs all checks.
    ///
    /// # Errors
    ///
    /// Returns each broken promise, and what happened instead.
    pub async fn check(self) -> Result<(), Broken> {
        checks::all(self.backend, self.sleep, &self.bounds).await
    }
}

impl<B, S> fmt::Debug for Suite<'_, B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
