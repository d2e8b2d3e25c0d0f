mod by_hand;
mod ring;
mod schedule;
mod text;
mod vectors;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;

use super::ring::{Bounds, Entry, NEVER, Ring};
use super::schedule::Rules;
use crate::envelope::AppKey;
use crate::time::Millis;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// In the order of their ids.
static KEYS: LazyLock<Vec<AppKey>> = LazyLock::new(|| {
    let mut keys: Vec<_> = (0..24).map(|_| AppKey::generate().unwrap()).collect();
    keys.sort_by_key(AppKey::id);
    keys
});

fn key(n: usize) -> AppKey {
    KEYS[n].clone()
}

fn at(millis: u64) -> Millis {
    Millis::from_raw(1_700_000_000_000 + millis)
}

fn after(length: Duration) -> Millis {
    at(0).plus(length)
}

/// The defaults, over a local file.
fn bounds() -> Bounds {
    Bounds {
        longest: DAY,
        poll: 20 * SECOND,
        propagation: Duration::ZERO,
        timeout: 5 * SECOND,
        tolerance: 60 * SECOND,
    }
}

fn rules() -> Rules {
    Rules {
        rotate_every: Some(90 * DAY),
        ahead: DAY,
        remove_after: DAY,
    }
}

/// A ring of one key, which has sealed since the beginning.
fn first() -> Ring {
    let mut ring = Ring::new(bounds());
    ring.add(key(0), at(0), at(0));
    ring
}

fn moment() -> impl Strategy<Value = Millis> {
    (0..6_u64).prop_map(|n| at(n * 1000))
}

fn perhaps() -> impl Strategy<Value = Option<Millis>> {
    proptest::option::weighted(0.3, moment())
}

fn entry(n: usize) -> impl Strategy<Value = Entry> {
    let begins = prop_oneof![moment(), Just(NEVER)];
    let rest = (perhaps(), 0..3_u32, perhaps(), perhaps(), any::<bool>());
    (moment(), begins, rest).prop_map(move |(made, from, rest)| {
        let (stops, disabled, revoked, dropped, has_key) = rest;
        Entry {
            made,
            from: from.max(made),
            stops,
            disabled,
            revoked,
            dropped,
            key: has_key.then(|| Arc::new(key(n))),
        }
    })
}

/// Any ring of some of five keys, as a process may have it.
fn any_ring() -> impl Strategy<Value = Ring> {
    let entries: Vec<_> = (0..5).map(|n| proptest::option::of(entry(n))).collect();
    let bounds = (1..4_u64, 1..4_u64).prop_map(|(longest, poll)| Bounds {
        longest: Duration::from_secs(longest * 3600),
        poll: Duration::from_secs(poll),
        ..bounds()
    });
    let fence = prop_oneof![Just(Millis::default()), moment()];
    (bounds, fence, entries).prop_map(|(bounds, fence, entries)| {
        let mut ring = Ring::new(bounds);
        ring.fence = fence;
        for (n, entry) in entries.into_iter().enumerate() {
            ring.entries.extend(entry.map(|entry| (key(n).id(), entry)));
        }
        ring.settle();
        ring
    })
}
