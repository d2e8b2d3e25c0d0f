//! How opening and sealing grow with the cores: threads that share one store, beside threads
//! with a store each, and a shared store whose keys are exchanged all the while. What a lock or
//! a counter that all threads write to costs is the difference.
//!
//! Each row is measured many times for a short while, all of them by turns. What disturbs a
//! machine makes it slower and never faster, so that the upper decile counts: the slices that
//! were disturbed least.

use std::fs;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use sealed_session::{CookieStore, RevocationList, SessionId};
use sealed_session_benches::{Case, SIZES, open, seal, sealing_first};

const ROUNDS: usize = 301;
/// Shorter than what schedulers give a thread at a time.
const SLICE: Duration = Duration::from_millis(2);
const BETWEEN_EXCHANGES: Duration = Duration::from_micros(500);
const SECONDS_IN_A_DAY: f64 = 86_400.0;

#[derive(Clone, Copy)]
enum Stores {
    Own,
    Shared,
    /// Shared, and its ring replaced more than a thousand times a second.
    Exchanged,
}

struct Row {
    operation: &'static str,
    threads: usize,
    stores: Stores,
}

fn main() {
    let cores = thread::available_parallelism().unwrap().get();
    println!("{cores} cores; thousands a second, by {ROUNDS} slices of {SLICE:?}: upper deciles,");
    println!("their ratio to those of one thread, and in brackets the ratio of the medians.\n");
    println!(
        "{:<9} {:<5} {:>7}  {:<10} {:>9} {:>9}  {:<12} {:>11}",
        "session", "", "threads", "store", "per core", "together", "to one", "a day, 10^9"
    );
    for (size, text) in SIZES {
        let cases: Vec<Case> = (0..cores).map(|_| Case::new(text)).collect();
        let rows = rows(cores);
        let mut rates = vec![Vec::with_capacity(ROUNDS); rows.len()];
        for _ in 0..ROUNDS {
            for (row, rates) in rows.iter().zip(&mut rates) {
                rates.push(measure(row, &cases));
            }
        }
        for (row, own) in rows.iter().zip(&rates) {
            let one = rows
                .iter()
                .position(|one| one.operation == row.operation && one.threads == 1);
            print(size, row, own, &rates[one.unwrap()]);
        }
    }
    let case = Case::new(0);
    for keys in [1, 16] {
        let rings = (0..ROUNDS).map(|_| sealing_first(keys));
        let took = rings.map(|ring| {
            let start = Instant::now();
            case.store.replace_keys(ring);
            start.elapsed().as_nanos() as f64 / 1e3
        });
        let [median, _] = deciles(&took.collect::<Vec<_>>());
        println!("Exchanging the ring for one of {keys:>2}: {median:.1} µs, the median.");
    }
    ended_sessions();
}

/// What a list of ended sessions takes in memory, and what it adds to an open.
fn ended_sessions() {
    let list = RevocationList::new();
    let builder = CookieStore::builder(sealing_first(1)).revocations(list.clone());
    let (case, store) = (Case::new(0), builder.build().unwrap());
    let request = case.request();
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    for length in [1, 1_000_000] {
        let ids: Vec<SessionId> = (list.len()..length).map(|_| new_id(&case.store)).collect();
        let before = resident_kib();
        for id in &ids {
            list.revoke(*id, tomorrow);
        }
        let taken = resident_kib() - before;
        let mut slices = [const { Vec::new() }; 2];
        for _ in 0..ROUNDS {
            for (store, slices) in [&case.store, &store].into_iter().zip(&mut slices) {
                let start = Instant::now();
                for _ in 0..1_000 {
                    black_box(open(store, black_box(&request)));
                }
                // Of a thousand microseconds, one is a nanosecond of each call.
                slices.push(-start.elapsed().as_secs_f64() * 1e6);
            }
        }
        let [[_, without], [_, with]] = slices.map(|slices| deciles(&slices));
        let more = without - with;
        println!(
            "A list of ended sessions, {length} long: {taken} KiB; an open takes {more:.0} ns more."
        );
    }
}

fn new_id(store: &CookieStore) -> SessionId {
    let session = store.load(&HeaderMap::new());
    session.insert("user_id", 1).unwrap();
    seal(store, &session, &mut HeaderMap::new());
    session.id().unwrap()
}

/// Memory of this process, as Linux counts it.
fn resident_kib() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap().trim_end_matches("kB").trim().parse().unwrap()
}

fn rows(cores: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for operation in ["open", "seal"] {
        rows.push(Row {
            operation,
            threads: 1,
            stores: Stores::Own,
        });
        let mut threads = 2;
        while threads <= cores {
            for stores in [Stores::Own, Stores::Shared, Stores::Exchanged] {
                rows.push(Row {
                    operation,
                    threads,
                    stores,
                });
            }
            threads *= 2;
        }
    }
    rows
}

/// Calls in a second, of all threads together.
fn measure(row: &Row, cases: &[Case]) -> f64 {
    let (stop, start) = (AtomicBool::new(false), Barrier::new(row.threads + 1));
    thread::scope(|scope| {
        let run = |at: usize| {
            let case = &cases[at];
            let store = match row.stores {
                Stores::Own => case.store.clone(),
                Stores::Shared | Stores::Exchanged => cases[0].store.clone(),
            };
            let (stop, start) = (&stop, &start);
            scope.spawn(move || {
                let mut call = operation(row.operation, case, store);
                start.wait();
                let began = Instant::now();
                let mut calls = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    call();
                    calls += 1;
                }
                f64::from(calls) / began.elapsed().as_secs_f64()
            })
        };
        let threads: Vec<_> = (0..row.threads).map(run).collect();
        start.wait();
        let end = Instant::now() + SLICE;
        if let Stores::Exchanged = row.stores {
            while Instant::now() + BETWEEN_EXCHANGES < end {
                thread::sleep(BETWEEN_EXCHANGES);
                cases[0].store.replace_keys(sealing_first(2));
            }
        }
        thread::sleep(end.saturating_duration_since(Instant::now()));
        stop.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}

fn operation<'c>(name: &str, case: &'c Case, store: CookieStore) -> Box<dyn FnMut() + 'c> {
    let request = case.request();
    if name == "open" {
        return Box::new(move || {
            black_box(open(&store, black_box(&request)));
        });
    }
    let session = store.load(&request);
    session.insert("cart", 4).unwrap();
    let mut response = HeaderMap::with_capacity(8);
    Box::new(move || seal(&store, black_box(&session), &mut response))
}

fn print(size: &str, row: &Row, rates: &[f64], of_one: &[f64]) {
    let Row {
        operation, threads, ..
    } = row;
    let stores = match row.stores {
        _ if *threads == 1 => "",
        Stores::Own => "each its",
        Stores::Shared => "shared",
        Stores::Exchanged => "exchanged",
    };
    let ([median, best], [median_of_one, best_of_one]) = (deciles(rates), deciles(of_one));
    let ratio = best / best_of_one;
    let ratio = format!("{ratio:.2} [{:.2}]", median / median_of_one);
    let (thousands, each) = (best / 1e3, best / 1e3 / *threads as f64);
    let a_day = best * SECONDS_IN_A_DAY / 1e9;
    println!(
        "{size:<9} {operation:<5} {threads:>7}  {stores:<10} {each:>9.0} {thousands:>9.0}  {ratio:<12} {a_day:>11.1}"
    );
}

/// The median and the upper decile.
fn deciles(values: &[f64]) -> [f64; 2] {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    [5, 9].map(|tenth| values[(values.len() - 1) * tenth / 10])
}
