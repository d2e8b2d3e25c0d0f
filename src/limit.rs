//! Limits on a session's size: the browser's for a cookie, or those of a backend's store.

use crate::cookie::MAX_NAME_AND_VALUE;
use crate::envelope::encoded_len;
use crate::error::{Measure, TooLarge};
use crate::record::MAX_ENTRIES;

/// A limit on a session's plaintext.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// A browser's limit, which counts the `name` bytes of the cookie's or header's name too.
    Cookie { name: usize },
    /// A backend's limit, in bytes of plaintext.
    #[cfg(feature = "server")]
    Plaintext(usize),
}

/// Checks the number of a session's values, or of its flashes.
pub(crate) fn check_entries(size: usize) -> Result<(), TooLarge> {
    check(size, MAX_ENTRIES, Measure::Entries)
}

fn check(size: usize, limit: usize, of: Measure) -> Result<(), TooLarge> {
    if size <= limit {
        Ok(())
    } else {
        Err(TooLarge { size, limit, of })
    }
}

impl Limit {
    /// Checks whether `plaintext` bytes fit once they are sealed.
    pub(crate) fn check(self, plaintext: usize) -> Result<(), TooLarge> {
        match self {
            Self::Cookie { name } => {
                let size = encoded_len(plaintext).saturating_add(name);
                check(size, MAX_NAME_AND_VALUE, Measure::Cookie)
            }
            #[cfg(feature = "server")]
            Self::Plaintext(limit) => check(plaintext, limit, Measure::Plaintext),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(outcome: Result<(), TooLarge>) -> Option<(usize, usize)> {
        outcome
            .err()
            .map(|too_large| (too_large.size, too_large.limit))
    }

    #[test]
    fn each_limit_is_exact() {
        assert_eq!(sizes(check_entries(1024)), None);
        assert_eq!(sizes(check_entries(1025)), Some((1025, 1024)));
        let cookie = Limit::Cookie { name: 14 };
        assert_eq!(sizes(cookie.check(2984)), None);
        assert_eq!(sizes(cookie.check(2985)), Some((4097, 4096)));
        #[cfg(feature = "server")]
        assert_eq!(sizes(Limit::Plaintext(5000).check(5000)), None);
        #[cfg(feature = "server")]
        assert_eq!(
            sizes(Limit::Plaintext(5000).check(5001)),
            Some((5001, 5000))
        );
    }

    #[test]
    fn an_error_says_of_what_there_is_too_much() {
        let entries = check_entries(1025).unwrap_err().to_string();
        assert!(entries.starts_with("its values or its flashes would be 1025 entries"));
        let cookie = Limit::Cookie { name: 14 }.check(2985).unwrap_err();
        let cookie = cookie.to_string();
        assert!(cookie.starts_with("the cookie's or header's name and value would be 4097 bytes"));
    }
}
