//! Two sides by turns in one process, over many rounds: the figures that claims are made from.
//! What disturbs the machine disturbs both sides of a round, and the median over the rounds'
//! ratios forgets the rest.
//!
//! Words after `--` choose rows: `-- open primitives`, `-- six+800`.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use http::HeaderMap;
use sealed_session::{CookieStore, DeviceAnswer};
use sealed_session_benches::{
    Case, Device, SIZES, list_of, open, request, seal, sealing_first, sealing_last, session_of,
    token_of,
};

const MILLION: usize = 1_000_000;

const ROUNDS: usize = 2_001;
const BATCH: Duration = Duration::from_micros(40);

fn main() {
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    println!("Medians over {ROUNDS} rounds; in brackets the quartiles of the ratio.\n");
    println!(
        "{:<9} {:<33} {:>7} {:>7}  {:<22} target",
        "session", "a / b", "a, ns", "b, ns", "ratio"
    );
    for (size, text) in SIZES {
        let row = |sides: &str, target: f64, a: &mut dyn FnMut(), b: &mut dyn FnMut()| {
            let is_chosen = |word: &String| size == word || sides.contains(word.as_str());
            if chosen.iter().all(is_chosen) {
                println!("{size:<9} {sides:<33} {} {target:.2}", Rounds::of(a, b));
            }
        };
        rows_of(&Case::new(text), row);
        if text == 0 && chosen.iter().all(|word| size == word || word == "list") {
            rows_of_lists(row);
        }
        if text == 0 && chosen.iter().all(|word| size == word || word == "device") {
            rows_of_devices(row);
        }
    }
}

/// What a list of revocations costs a request that it does not hold: each time another session,
/// so that no part of the list stays in the nearest cache.
fn rows_of_lists(mut row: impl FnMut(&str, f64, &mut dyn FnMut(), &mut dyn FnMut())) {
    let lists: Vec<_> = [(0, 0), (MILLION, 0), (0, MILLION)]
        .map(|(sessions, subjects)| list_of(sessions, subjects))
        .into();
    let plain = CookieStore::new(sealing_first(1));
    let requests: Vec<_> = (0..4096)
        .map(|n| request(&token_of(&plain, &session_of(&plain, n))))
        .collect();
    for (sides, list) in [
        "open, empty list / no list",
        "open, list of 1M ended / no list",
        "open, list of 1M subjects / no list",
    ]
    .into_iter()
    .zip(lists)
    {
        let builder = CookieStore::builder(sealing_first(1));
        let listed = builder.revocations(list).build().unwrap();
        let (mut at, mut then) = (requests.iter().cycle(), requests.iter().cycle());
        let load = |store: &CookieStore, request: Option<&HeaderMap>| {
            let session = store.load(black_box(request.unwrap()));
            debug_assert!(session.contains("user_id"));
            drop(black_box(session));
        };
        row(sides, 1.15, &mut || load(&listed, at.next()), &mut || {
            load(&plain, then.next())
        });
    }
}

type Refuse = fn(&Device) -> DeviceAnswer;

/// What binding sessions to devices costs a request, and a refresh.
fn rows_of_devices(mut row: impl FnMut(&str, f64, &mut dyn FnMut(), &mut dyn FnMut())) {
    let plain = CookieStore::new(sealing_first(1));
    let device = Device::new(|session| {
        session.insert("user_id", 48_213).unwrap();
    });
    let load = |store: &CookieStore, request: &HeaderMap| {
        let session = store.load(black_box(request));
        debug_assert!(session.contains("user_id"));
        drop(black_box(session));
    };
    let store = &device.store;
    row(
        "open, device on, unbound / off",
        1.05,
        &mut || load(store, &device.unbound),
        &mut || load(&plain, &device.unbound),
    );
    row(
        "open, bound / unbound, device on",
        2.0,
        &mut || load(store, &device.bound),
        &mut || load(store, &device.unbound),
    );
    row(
        "device refresh / bare verify",
        1.25,
        &mut || drop(black_box(device.refresh())),
        &mut || {
            black_box(device.verify());
        },
    );
    let refusals: [(&str, Refuse); 3] = [
        ("device refresh, wrong key / good", Device::refuse),
        ("device refresh, junk JWT / good", Device::refuse_junk),
        ("device refresh, junk key / good", Device::refuse_stranger),
    ];
    for (sides, refuse) in refusals {
        row(
            sides,
            1.0,
            &mut || drop(black_box(refuse(&device))),
            &mut || drop(black_box(device.refresh())),
        );
    }
}

fn rows_of(case: &Case, mut row: impl FnMut(&str, f64, &mut dyn FnMut(), &mut dyn FnMut())) {
    let (store, bare) = (&case.store, &case.bare);
    let genuine = case.request();
    let opened = |store: &CookieStore, request: &HeaderMap| {
        black_box(open(store, black_box(request)));
    };
    row(
        "open / primitives",
        1.25,
        &mut || opened(store, &genuine),
        &mut || drop(black_box(bare.open(black_box(case.token.as_bytes())))),
    );
    let (session, mut response) = (case.changed(), HeaderMap::with_capacity(8));
    row(
        "seal / primitives",
        1.25,
        &mut || seal(store, black_box(&session), &mut response),
        &mut || drop(black_box(bare.seal(black_box(&case.plaintext)))),
    );
    for (sides, token) in [
        ("refuse, mac wrong / open", case.forged(31)),
        ("refuse, ciphertext wrong / open", case.spliced()),
        ("refuse, no base64 / open", case.junk()),
    ] {
        let refused = request(&token);
        row(sides, 1.0, &mut || opened(store, &refused), &mut || {
            opened(store, &genuine)
        });
    }
    for (sides, ring) in [
        ("open, last of 4 keys / 1 key", sealing_last(4)),
        ("open, last of 16 keys / 1 key", sealing_last(16)),
        ("open, first of 16 keys / 1 key", sealing_first(16)),
    ] {
        let many = CookieStore::new(ring);
        row(sides, 1.05, &mut || opened(&many, &genuine), &mut || {
            opened(store, &genuine)
        });
    }
}

/// Nanoseconds of each side, and the ratio's quartiles.
struct Rounds {
    a: f64,
    b: f64,
    ratio: [f64; 3],
}

impl Rounds {
    fn of(a: &mut dyn FnMut(), b: &mut dyn FnMut()) -> Self {
        let (in_a, in_b) = (calls_in_a_batch(a), calls_in_a_batch(b));
        let mut rounds = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            // Neither side is always the one that finds the caches as the other has left them.
            rounds.push(if round % 2 == 0 {
                let first = time(a, in_a);
                (first, time(b, in_b))
            } else {
                let first = time(b, in_b);
                (time(a, in_a), first)
            });
        }
        let ratio = |quarter| quartile(rounds.iter().map(|(a, b)| a / b), quarter);
        Self {
            a: quartile(rounds.iter().map(|(a, _)| *a), 2),
            b: quartile(rounds.iter().map(|(_, b)| *b), 2),
            ratio: [ratio(1), ratio(2), ratio(3)],
        }
    }
}

fn quartile(values: impl Iterator<Item = f64>, quarter: usize) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * quarter / 4]
}

fn calls_in_a_batch(f: &mut dyn FnMut()) -> u32 {
    time(f, 2_000);
    (BATCH.as_nanos() as f64 / time(f, 2_000)).ceil() as u32
}

/// Nanoseconds of one call.
fn time(f: &mut dyn FnMut(), calls: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        f();
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, median, high] = self.ratio;
        let (a, b) = (self.a, self.b);
        write!(f, "{a:>7.0} {b:>7.0}  {median:.3} [{low:.3}, {high:.3}]  ")
    }
}
