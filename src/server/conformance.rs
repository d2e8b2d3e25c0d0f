//! Whether a [`Backend`] keeps what it promises: a suite for those of third parties, and a spy.
//!
//! ```
//! # use std::time::Duration;
//! use sealed_session::server::{Memory, conformance};
//!
//! # pollster::block_on(async {
//! // Of a runtime: `tokio::time::sleep`.
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

/// The checks of a backend's promises, those of [`Promise::Full`](super::Promise::Full) if it
/// declares that.
///
/// They go through everything that a store asks of a backend, with keys of their own, which are
/// removed in the end: a server that others use comes to no harm. A backend that asks a server
/// should be checked over a real one, on a runtime of several threads.
#[must_use = "`check` runs it"]
pub struct Suite<'b, B, S> {
    backend: &'b B,
    sleep: S,
    bounds: Bounds,
}

impl<'b, B: Backend, S: AsyncFn(Duration)> Suite<'b, B, S> {
    /// A suite for `backend`. `sleep` waits, by the clock that the backend goes by.
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

    /// How exact the backend's times are, and with them how long the suite waits: once, four
    /// times this. Default 50 milliseconds; a second for a backend that keeps whole seconds.
    pub fn resolution(mut self, resolution: Duration) -> Self {
        self.bounds.resolution = resolution;
        self
    }

    /// The most bytes of a session in the backend, as
    /// [`StoreBuilder::max_size`](crate::StoreBuilder::max_size) has it. Default 1 MiB.
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.bounds.max_size = bytes;
        self
    }

    /// Runs all checks.
    ///
    /// # Errors
    ///
    /// What promises are broken, and how it showed.
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
