//! The instructions of an open, a seal and a refusal, counted by valgrind and held against the
//! figures in instructions.txt: what shows a regression on a machine too noisy for clocks.
//!
//! `instructions` checks, `instructions --write` stores. Kernel code does not count, so the
//! random source does not; all that is set up once happens before the counting starts.

use std::fmt::Write;
use std::process::{Command, ExitCode};
use std::{env, fs};

use http::HeaderMap;
use sealed_session_benches::{Case, SIZES, open, request, seal};

const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
const OPERATIONS: [&str; 3] = ["open", "seal", "refuse"];
const CALLS: u64 = 1_000;

/// How far a count may be from its stored figure.
const TOLERANCE: f64 = 0.03;

fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        panic!("the figures are of a build with --release");
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => check(),
        ["--write"] => write(),
        ["--run", operation, size] => run(operation, size),
        _ => panic!("usage: instructions [--write]"),
    }
}

fn check() -> ExitCode {
    let stored = fs::read_to_string(STORED).unwrap();
    let with = tools();
    if !stored.contains(&with) {
        println!("The figures are of other tools than these, which count otherwise:\n{with}");
    }
    let mut all_are_near = true;
    println!("{:<8} {:<9} {:>9} {:>9}", "", "session", "stored", "now");
    for (operation, size) in cases() {
        let name = format!("{operation} {size} ");
        let figure = stored.lines().find_map(|line| line.strip_prefix(&name));
        let figure: u64 = figure.unwrap().parse().unwrap();
        let counted = count(operation, size);
        let change = counted as f64 / figure as f64 - 1.0;
        let is_near = change.abs() <= TOLERANCE;
        all_are_near &= is_near;
        let verdict = if is_near { "" } else { "  beyond 3 %" };
        let percent = 100.0 * change;
        println!("{operation:<8} {size:<9} {figure:>9} {counted:>9} {percent:>+6.2} %{verdict}");
    }
    if all_are_near {
        return ExitCode::SUCCESS;
    }
    println!("If that is meant, store the new figures with --write.");
    ExitCode::FAILURE
}

fn write() -> ExitCode {
    let mut stored = tools();
    for (operation, size) in cases() {
        let counted = count(operation, size);
        writeln!(stored, "{operation} {size} {counted}").unwrap();
    }
    fs::write(STORED, stored).unwrap();
    ExitCode::SUCCESS
}

fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPERATIONS
        .into_iter()
        .flat_map(|operation| SIZES.map(|(size, _)| (operation, size)))
}

/// What the figures depend on besides the code.
fn tools() -> String {
    let version = |tool| output(Command::new(tool).arg("--version")).0;
    format!("# {}# {}", version("rustc"), version("valgrind"))
}

/// The instructions of one call.
fn count(operation: &str, size: &str) -> u64 {
    let (_, log) = output(
        Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg("--toggle-collect=instructions::counted*")
            .arg(env::current_exe().unwrap())
            .args(["--run", operation, size]),
    );
    let collected = log
        .lines()
        .find_map(|line| line.split("Collected : ").nth(1));
    collected.unwrap().trim().parse::<u64>().unwrap() / CALLS
}

/// Standard output and standard error.
fn output(command: &mut Command) -> (String, String) {
    let run = command.output();
    let output = run.unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, log) = (text(output.stdout), text(output.stderr));
    assert!(
        output.status.success(),
        "{:?}: {log}",
        command.get_program()
    );
    (out, log)
}

/// What runs under valgrind.
fn run(operation: &str, size: &str) -> ExitCode {
    let (_, text) = SIZES.into_iter().find(|(name, _)| *name == size).unwrap();
    let case = Case::without_clock(text);
    let (genuine, refused) = (case.request(), request(&case.forged(31)));
    let (session, mut response) = (case.changed(), HeaderMap::with_capacity(8));
    let call: &mut dyn FnMut() = match operation {
        "open" => &mut || assert!(open(&case.store, &genuine).is_some()),
        "seal" => &mut || seal(&case.store, &session, &mut response),
        "refuse" => &mut || assert!(open(&case.store, &refused).is_none()),
        _ => panic!("no such operation"),
    };
    for _ in 0..CALLS {
        call();
    }
    counted(call);
    ExitCode::SUCCESS
}

#[inline(never)]
fn counted(call: &mut dyn FnMut()) {
    for _ in 0..CALLS {
        call();
    }
}
