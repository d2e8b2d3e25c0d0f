//! The opened bytes of a token.

use std::fmt;
use std::ops::Deref;

/// The bytes that [`Sealer::open`](crate::Sealer::open) returns. They are overwritten with zeros
/// when dropped.
///
/// It dereferences to `[u8]`. `Debug` shows only the length.
pub struct Plaintext {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Plaintext {
    /// The bytes of `buffer` from `start` to `end`.
    pub(super) fn within(buffer: Vec<u8>, start: usize, end: usize) -> Self {
        Self { buffer, start, end }
    }

    /// Hides the first `n` bytes.
    pub(super) fn skip(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
    }

    /// Makes a plaintext of bytes that did not come from a token.
    #[cfg(any(test, fuzzing, feature = "server"))]
    pub(crate) fn from_vec(buffer: Vec<u8>) -> Self {
        Self {
            start: 0,
            end: buffer.len(),
            buffer,
        }
    }
}

impl Deref for Plaintext {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Plaintext {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Uses one `memset`, behind a barrier that the optimizer cannot see through. Zeroing byte by byte
/// with volatile writes would cost as much as the decryption.
impl Drop for Plaintext {
    fn drop(&mut self) {
        self.buffer.fill(0);
        zeroize::optimization_barrier(self.buffer.as_slice());
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plaintext({} bytes)", self.len())
    }
}
