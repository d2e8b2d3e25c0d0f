//! A call allocates for what it touches, not for what the session has besides. Instructions are
//! held to the same by `cargo run --release --bin growth`.

use std::alloc::System;
use std::sync::{Mutex, PoisonError};

use sealed_session_benches::{Content, Growth, Operation, Place};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The counters are the process's, so one test counts at a time.
static ALONE: Mutex<()> = Mutex::new(());

const CALLS: u64 = 4;

/// What else a process allocates while it counts comes in bursts, when a test is reported or a
/// thread ends, and it can only add. The least of so many rounds is without it.
const ROUNDS: u64 = 8;

/// Allocations of each touched entry, and their bytes.
fn allocations(operation: Operation, place: Place, content: Content) -> (f64, f64) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut growth = Growth::new(place, content);
    growth.run(operation);
    let round = |_| {
        let region = Region::new(COUNTED);
        for _ in 0..CALLS {
            growth.run(operation);
        }
        let change = region.change();
        let allocations = change.allocations + change.reallocations;
        (allocations, change.bytes_allocated)
    };
    let rounds: Vec<_> = (0..ROUNDS).map(round).collect();
    let each = (CALLS * growth.touched(operation)) as f64;
    let least = |counts: &mut dyn Iterator<Item = usize>| counts.min().unwrap() as f64 / each;
    (
        least(&mut rounds.iter().map(|&(allocations, _)| allocations)),
        least(&mut rounds.iter().map(|&(_, bytes)| bytes)),
    )
}

#[test]
fn an_entry_costs_the_same_among_ten_and_among_a_thousand() {
    for operation in [Operation::Insert, Operation::Change, Operation::Get] {
        let of = |count| allocations(operation, Place::Memory, Content::Entries(count));
        let ((few, bytes), (many, more)) = (of(10), of(1_000));
        assert!(
            many <= few + 0.5,
            "{operation:?}: {few} and {many} allocations"
        );
        assert!(
            more <= bytes * 1.25 + 8.0,
            "{operation:?}: {bytes} and {more} bytes"
        );
    }
}

#[test]
fn an_entry_costs_the_same_beside_a_hundred_bytes_and_beside_a_hundred_thousand() {
    for operation in [Operation::Insert, Operation::Change, Operation::Get] {
        let of = |size| allocations(operation, Place::Memory, Content::Text(size));
        let ((little, bytes), (much, more)) = (of(100), of(100_000));
        assert!(
            much <= little + 0.5,
            "{operation:?}: {little} and {much} allocations"
        );
        assert!(
            more <= bytes * 1.25 + 8.0,
            "{operation:?}: {bytes} and {more} bytes"
        );
    }
}

#[test]
fn a_load_and_a_save_allocate_in_proportion_to_the_session() {
    for operation in [Operation::Load, Operation::Save] {
        for place in [Place::Memory, Place::File] {
            let texts = [5_000, 50_000].map(Content::Text);
            let entries = [100, 1_000].map(Content::Entries);
            for ([small, large], times) in [(texts, 10.0), (entries, 10.0)] {
                let (few, bytes) = allocations(operation, place, small);
                let (many, more) = allocations(operation, place, large);
                let what = format!("{operation:?} in {place:?}, {small:?} and {large:?}");
                assert!(many <= few + 1.5, "{what}: {few} and {many} allocations");
                assert!(
                    more <= bytes * times * 1.1,
                    "{what}: {bytes} and {more} bytes"
                );
            }
        }
    }
}

#[test]
fn a_cookie_allocates_in_proportion_to_the_session() {
    for operation in [Operation::Load, Operation::Save] {
        let of = |size| allocations(operation, Place::Cookie, Content::Text(size));
        let ((few, bytes), (many, more)) = (of(250), of(2_500));
        assert!(
            many <= few + 0.5,
            "{operation:?}: {few} and {many} allocations"
        );
        assert!(
            more <= bytes * 10.0,
            "{operation:?}: {bytes} and {more} bytes"
        );
    }
}
