//! Does the time of a refusal tell where the mac is wrong? Tokens whose mac is wrong in its
//! first byte against tokens where only the last byte is, in the manner of dudect (Reparaz,
//! Balasch and Verbauwhede, 2017). Samples of a busy machine are not independent of each other,
//! so the t-test is one over rounds: whether the difference between the classes' means in a
//! round is zero on average.
//!
//! Beside it the same for a comparison that stops at the first wrong byte: unless that one
//! shows, the machine was too busy for the other to mean anything.

use std::hint::black_box;
use std::time::Instant;

use sealed_session_benches::{Case, SIZES, forged, token_of};

const ROUNDS: usize = 1_000;
const IN_A_ROUND: usize = 2_000;

/// Beyond it the means differ; below it, nothing was found in so many samples.
const LIMIT: f64 = 4.5;

/// The classes by their wrong byte: the first and the last of the mac.
const WRONG: [usize; 2] = [0, 31];

const FIELD: &[u8] = b"__Host-session=";

fn main() {
    let samples = ROUNDS * IN_A_ROUND;
    println!("{samples} refusals in each line; |t| above {LIMIT} is a difference.\n");
    println!(
        "{:<9} {:<24} {:>9} {:>9} {:>9} {:>9}",
        "session", "", "first, ns", "last, ns", "t", "kept"
    );
    for (size, text) in SIZES {
        let case = Case::new(text);
        let show = |who, outcome: &Outcome| {
            let Outcome { means, t, kept } = outcome;
            let [first, last] = means;
            println!("{size:<9} {who:<24} {first:>9.2} {last:>9.2} {t:>9.2} {kept:>9}");
        };
        show(
            "this crate",
            &compare(&case, |field| case.store.load_from([field])),
        );
        let stopping = compare(&case, |field| {
            case.bare.stops_at_the_first_wrong(&field[FIELD.len()..])
        });
        show("stops at first wrong", &stopping);
        if stopping.t.abs() < LIMIT {
            println!("{size:<9} too noisy: the difference that is there was not seen");
        }
    }
}

struct Outcome {
    /// Of each class, in nanoseconds.
    means: [f64; 2],
    t: f64,
    kept: f64,
}

fn compare<R>(case: &Case, mut refuse: impl FnMut(&[u8]) -> R) -> Outcome {
    let mut random = Random::new();
    let mut refused = Refused::new(case);
    // All are read from one place.
    let mut field = refused.fields[0].clone();
    let mut sample = |random: &mut Random, refused: &Refused| {
        let (class, token) = refused.choose(random);
        field.copy_from_slice(token);
        let field = black_box(field.as_slice());
        let start = Instant::now();
        let outcome = black_box(refuse(field));
        let took = start.elapsed().as_nanos() as f64;
        drop(outcome);
        (class, took)
    };

    let pilot = |_| sample(&mut random, &refused).1;
    let mut pilot: Vec<f64> = (0..20 * IN_A_ROUND).map(pilot).collect();
    pilot.sort_by(f64::total_cmp);
    // The slowest tenth is interrupts, not ours.
    let limit = pilot[pilot.len() * 9 / 10];

    let (mut all, mut differences) = ([Moments::default(); 2], Moments::default());
    for _ in 0..ROUNDS {
        refused.deal(&mut random);
        let mut round = [Moments::default(); 2];
        for _ in 0..IN_A_ROUND {
            let (class, took) = sample(&mut random, &refused);
            if took <= limit {
                round[class].add(took);
                all[class].add(took);
            }
        }
        let [first, last] = round;
        if first.count > 0.0 && last.count > 0.0 {
            differences.add(first.mean - last.mean);
        }
    }
    let [first, last] = all;
    Outcome {
        means: [first.mean, last.mean],
        t: differences.mean / differences.variance_of_mean().sqrt(),
        kept: first.count + last.count,
    }
}

/// Cookie fields of both classes, of many tokens so that the bytes of no single one decide.
struct Refused {
    genuine: Vec<String>,
    fields: Vec<Vec<u8>>,
    /// For each pair of neighbours which one is of the first class, a bit each.
    pairs: u64,
}

impl Refused {
    fn new(case: &Case) -> Self {
        let token = |_| token_of(&case.store, &case.changed());
        let genuine: Vec<String> = (0..2 * u64::BITS).map(token).collect();
        let field = |token: &String| [FIELD, token.as_bytes()].concat();
        let fields = genuine.iter().map(field).collect();
        let mut refused = Self {
            genuine,
            fields,
            pairs: 0,
        };
        refused.deal(&mut Random::new());
        refused
    }

    /// Gives each field a class anew. Where a field lies in memory shows in the time too, and
    /// must not go with the class.
    fn deal(&mut self, random: &mut Random) {
        self.pairs = random.next();
        for at in 0..self.fields.len() {
            let token = forged(&self.genuine[at], WRONG[self.class(at)]);
            self.fields[at][FIELD.len()..].copy_from_slice(token.as_bytes());
        }
    }

    /// At random, or a rhythm of the machine could favour a class.
    fn choose(&self, random: &mut Random) -> (usize, &[u8]) {
        let at = random.next() as usize % self.fields.len();
        (self.class(at), &self.fields[at])
    }

    fn class(&self, at: usize) -> usize {
        ((self.pairs >> (at / 2)) as usize ^ at) & 1
    }
}

/// Mean and variance, one value at a time (Welford).
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
    }

    fn variance_of_mean(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(getrandom::u64().unwrap() | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
