//! Counts how many entries a stream should have, so that its length shows whether some are missing.

use std::collections::BTreeMap;

use crate::server::redis::{Position, SPAN};

/// The most spans to count: seventeen years of [`SPAN`]s, longer than any useful lifetime.
const MAX_SPANS: usize = 1 << 20;

/// The number of entries read, for each span of time by their ids. It counts by span because
/// trimming removes whole spans.
#[derive(Debug, Default)]
pub(super) struct Counts {
    spans: BTreeMap<u64, u64>,
    all: u64,
}

impl Counts {
    pub(super) fn add(&mut self, at: Position) {
        *self.spans.entry(at.time / SPAN).or_default() += 1;
        self.all += 1;
        if self.spans.len() > MAX_SPANS {
            // Somebody has made up ids. Counting cannot help then; only reading the stream again
            // can.
            self.forget_first();
        }
    }

    /// Returns whether a stream of this length has every counted entry, except those that may have
    /// been trimmed: entries from before `trimmed`, in milliseconds. `first` is its first entry.
    pub(super) fn agree(&mut self, length: u64, first: Position, trimmed: u64) -> bool {
        let first = if length == 0 {
            trimmed / SPAN
        } else {
            (first.time / SPAN).min(trimmed / SPAN)
        };
        while self.spans.keys().next().is_some_and(|span| *span < first) {
            self.forget_first();
        }
        self.all == length
    }

    fn forget_first(&mut self) {
        if let Some((_, count)) = self.spans.pop_first() {
            self.all -= count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(spans: &[u64]) -> Counts {
        let mut counts = Counts::default();
        spans.iter().for_each(|span| counts.add(at(*span)));
        counts
    }

    fn at(span: u64) -> Position {
        Position::at(span * SPAN + 7)
    }

    #[test]
    fn what_is_missing_shows_unless_it_may_have_been_trimmed() {
        let trimmed = 3 * SPAN;
        for (why, length, first, agrees) in [
            ("all is there", 6, at(1), true),
            ("the first span was trimmed", 4, at(2), true),
            ("all that may be was trimmed", 3, at(3), true),
            ("one is missing", 5, at(1), false),
            ("one of a trimmed span is left", 5, at(1), false),
            ("one of the last is missing", 2, at(3), false),
            ("a span that still counts is missing", 1, at(4), false),
            ("one more than was counted", 7, at(1), false),
            ("nothing is left", 0, Position::default(), false),
        ] {
            let mut counts = counted(&[1, 1, 2, 3, 3, 4]);
            assert_eq!(counts.agree(length, first, trimmed), agrees, "{why}");
        }
        assert!(counted(&[1, 2]).agree(0, Position::default(), trimmed));
        assert!(Counts::default().agree(0, Position::default(), 0));
    }

    #[test]
    fn made_up_ids_take_no_memory_without_bound() {
        let mut counts = Counts::default();
        for span in 0..MAX_SPANS as u64 + 1000 {
            counts.add(at(span));
        }
        assert_eq!(counts.spans.len(), MAX_SPANS);
        assert_eq!(counts.all, MAX_SPANS as u64);
    }
}
