//! What an insert, a get, a load and a save cost by what the session has: instructions by valgrind,
//! allocations by their number and bytes, of all threads. Exits with 1 if a cost grows faster than
//! what the call touches. Kernel code does not count.

use std::alloc::System;
use std::env;
use std::process::{Command, ExitCode};
use std::thread;

use sealed_session_benches::{Content, Growth, Operation, Place};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROWS: [(Operation, Place); 9] = [
    (Operation::Insert, Place::Memory),
    (Operation::Change, Place::Memory),
    (Operation::Get, Place::Memory),
    (Operation::Load, Place::Cookie),
    (Operation::Load, Place::Memory),
    (Operation::Load, Place::File),
    (Operation::Save, Place::Cookie),
    (Operation::Save, Place::Memory),
    (Operation::Save, Place::File),
];

const ENTRIES: [usize; 4] = [1, 10, 100, 1_000];
const TEXTS: [usize; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];

/// The most bytes of text, and the most small entries, that fit a cookie.
const IN_COOKIE: (usize, usize) = (2_900, 200);

/// How much a cost may grow with what is there while what is touched stays: a search among many
/// keys has more steps, and a list that grows is copied now and then.
const SEARCH: f64 = 2.5;

/// How much faster than the session a load or a save may grow.
const LINEAR: f64 = 1.25;

/// Of one call.
struct Cost {
    instructions: f64,
    allocations: f64,
    bytes: f64,
}

fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        panic!("the figures are of a build with --release");
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => tables(),
        ["--run", row, kind, size, calls] => {
            let (size, calls) = (size.parse().unwrap(), calls.parse().unwrap());
            run(
                ROWS[row.parse::<usize>().unwrap()],
                content(kind, size),
                calls,
            )
        }
        _ => panic!("usage: growth"),
    }
}

fn content(kind: &str, size: usize) -> Content {
    match kind {
        "entries" => Content::Entries(size),
        _ => Content::Text(size),
    }
}

/// What runs under valgrind.
fn run((operation, place): (Operation, Place), content: Content, calls: u64) -> ExitCode {
    let mut growth = Growth::new(place, content);
    for _ in 0..2 {
        growth.run(operation);
    }
    let region = Region::new(COUNTED);
    for _ in 0..calls {
        growth.run(operation);
    }
    let change = region.change();
    println!(
        "{} {} {}",
        growth.touched(operation),
        change.allocations + change.reallocations,
        change.bytes_allocated
    );
    ExitCode::SUCCESS
}

fn tables() -> ExitCode {
    let mut is_fine = true;
    for (kind, sizes) in [("entries", &ENTRIES[..]), ("bytes", &TEXTS[..])] {
        println!(
            "\n| instructions, allocations, bytes allocated | of |{}",
            heads(kind, sizes)
        );
        println!("|---|---|{}", "---:|".repeat(sizes.len()));
        for (at, (operation, place)) in ROWS.into_iter().enumerate() {
            let is_text = kind == "bytes";
            if is_text && operation == Operation::Change {
                continue;
            }
            let most = if is_text { IN_COOKIE.0 } else { IN_COOKIE.1 };
            let fits = |size: &&usize| place != Place::Cookie || **size <= most;
            let costs: Vec<_> = sizes
                .iter()
                .filter(fits)
                .map(|&size| (size, cost(at, kind, size)))
                .collect();
            let mut cells: Vec<String> = costs.iter().map(|(_, cost)| cost.to_string()).collect();
            cells.resize(sizes.len(), String::new());
            let fine = is_linear(operation, &costs);
            is_fine &= fine;
            println!(
                "| {operation:?} | {place:?} | {}{}",
                cells.join(" | "),
                if fine {
                    " |"
                } else {
                    " | grows faster than what it touches"
                }
            );
        }
    }
    if is_fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn heads(kind: &str, sizes: &[usize]) -> String {
    sizes
        .iter()
        .map(|size| format!(" {size} {kind} |"))
        .collect()
}

/// Whether each cost is at most that of a smaller session, times what is touched more.
fn is_linear(operation: Operation, costs: &[(usize, Cost)]) -> bool {
    costs.windows(2).all(|pair| {
        let [(small, less), (large, more)] = pair else {
            return true;
        };
        let factor = match operation {
            Operation::Load | Operation::Save => LINEAR * *large as f64 / *small as f64,
            _ => SEARCH,
        };
        more.instructions <= less.instructions * factor
            && more.allocations <= less.allocations + 2.0
            && more.bytes <= less.bytes * factor
    })
}

/// The difference of two runs, one of which makes twice as many calls.
fn cost(row: usize, kind: &str, size: usize) -> Cost {
    let calls = (200_000 / size).clamp(2, 40) as u64;
    let ((less, _), (more, said)) = thread::scope(|scope| {
        let more = scope.spawn(|| count(row, kind, size, 2 * calls));
        (count(row, kind, size, calls), more.join().unwrap())
    });
    let mut said = said.split_whitespace().map(|n| n.parse::<f64>().unwrap());
    let mut next = || said.next().unwrap();
    let touched = next();
    let (allocations, bytes) = (next(), next());
    let each = |of: f64| of / (touched * calls as f64);
    Cost {
        instructions: each((more - less) as f64),
        allocations: each(allocations / 2.0),
        bytes: each(bytes / 2.0),
    }
}

/// All instructions of a process, and what it printed.
fn count(row: usize, kind: &str, size: usize, calls: u64) -> (u64, String) {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().unwrap())
        .args([
            "--run",
            &row.to_string(),
            kind,
            &size.to_string(),
            &calls.to_string(),
        ])
        .output()
        .unwrap_or_else(|error| panic!("valgrind: {error}"));
    let log = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{log}");
    let collected = log
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1));
    let collected = collected.unwrap().trim().parse().unwrap();
    (collected, String::from_utf8(run.stdout).unwrap())
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            instructions,
            allocations,
            bytes,
        } = self;
        write!(f, "{instructions:.0}, {allocations:.1}, {bytes:.0}")
    }
}
