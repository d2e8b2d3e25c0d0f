//! Moments as in the record: whole milliseconds since the Unix epoch in 48 bits.
//!
//! All arithmetic saturates, so no clock and no record can make it overflow.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Millis(u64);

impl Millis {
    /// The year 10889.
    pub(crate) const MAX: Self = Self((1 << 48) - 1);

    pub(crate) fn from_be_bytes(bytes: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = bytes;
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    pub(crate) fn to_be_bytes(self) -> [u8; 6] {
        let [_, _, bytes @ ..] = self.0.to_be_bytes();
        bytes
    }

    /// Takes raw milliseconds. More than 48 bits become [`Self::MAX`].
    pub(crate) fn from_raw(millis: u64) -> Self {
        Self(millis).min(Self::MAX)
    }

    pub(crate) fn raw(self) -> u64 {
        self.0
    }

    pub(crate) fn plus(self, duration: Duration) -> Self {
        Self::from_raw(self.0.saturating_add(whole_millis(duration)))
    }

    /// Stops at the epoch.
    #[cfg(feature = "server")]
    pub(crate) fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(duration)))
    }

    /// Zero if `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A moment before 1970 becomes 1970, and one after the year 10889 becomes that year.
impl From<SystemTime> for Millis {
    fn from(time: SystemTime) -> Self {
        Self::from_raw(time.duration_since(UNIX_EPOCH).map_or(0, whole_millis))
    }
}

impl From<Millis> for SystemTime {
    fn from(millis: Millis) -> Self {
        // If the platform's clock ends before the year 10889, return the epoch: long expired.
        UNIX_EPOCH
            .checked_add(Duration::from_millis(millis.0))
            .unwrap_or(UNIX_EPOCH)
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_its_six_bytes() {
        for raw in [0, 1, 1_700_000_000_123, Millis::MAX.raw()] {
            let millis = Millis::from_raw(raw);
            assert_eq!(Millis::from_be_bytes(millis.to_be_bytes()), millis);
            assert_eq!(Millis::from(SystemTime::from(millis)), millis);
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Millis::MAX.plus(Duration::MAX), Millis::MAX);
        assert_eq!(Millis::from_raw(u64::MAX), Millis::MAX);
        assert_eq!(Millis::default().since(Millis::MAX), Duration::ZERO);
        #[cfg(feature = "server")]
        assert_eq!(Millis::MAX.minus(Duration::MAX), Millis::default());
        let before = UNIX_EPOCH.checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(Millis::from(before), Millis::default());
    }
}
