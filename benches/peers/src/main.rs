//! The same sessions through sealed-session and its peers, in one process and in turn.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml` prints the tables;
//! `-- --chart FILE.svg` draws the picture of the README too.

mod chart;
mod data;
mod envelopes;
mod requests;
mod round;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use chart::Bar;
use data::Data;
use requests::Job;
use round::Outcome;

/// Rounds shorter than what schedulers give a process at a time, so that on a busy machine few
/// are disturbed.
const ROUNDS: u32 = 501;
const TIMES: u32 = 50;

const SIZES: [usize; 3] = [0, 800, 2400];
const OURS: &str = "sealed-session";
const OUR_SEALER: &str = "sealed-session Sealer";

const USAGE: &str = "usage: sealed-session-peers [--chart FILE.svg | --data FOLDER | --alone]
  --chart FILE.svg  draws the whole requests as a picture too
  --data FOLDER     only writes the sessions there as JSON
  --alone           only seals and opens, one line for each session";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        #[cfg(feature = "tower-sessions")]
        [] => as_tower_sessions(),
        #[cfg(not(feature = "tower-sessions"))]
        [] => compare().map(drop),
        ["--chart", file] => compare().and_then(|drawn| std::fs::write(file, picture(&drawn))),
        ["--data", folder] => write_data(Path::new(folder)),
        ["--alone"] => alone(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> io::Result<Vec<(String, Vec<Outcome>)>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let runtime = Rc::new(runtime);
    let mut drawn = Vec::new();
    for (job, what) in [
        (Job::Read, "Reading one value"),
        (Job::Write, "Writing one value"),
    ] {
        for size in SIZES {
            let data = Data::with(size);
            let title = title(what, size);
            let outcomes = round::run(requests::contestants(&data, job, &runtime), ROUNDS, TIMES);
            print(&format!("{title}, a whole request"), OURS, &outcomes);
            drawn.push((title, outcomes));
        }
    }
    for (job, what) in [(Job::Read, "Opening"), (Job::Write, "Sealing")] {
        for size in SIZES {
            let outcomes = round::run(
                envelopes::contestants(&Data::with(size), job),
                ROUNDS,
                TIMES,
            );
            print(&title(what, size), OUR_SEALER, &outcomes);
        }
    }
    Ok(drawn)
}

fn picture(drawn: &[(String, Vec<Outcome>)]) -> String {
    let bar = |outcome: &Outcome| Bar {
        name: outcome.name,
        is_ours: outcome.name == OURS,
        micros: outcome.median() / 1000.0,
        beside: 0.0,
    };
    let groups: Vec<_> = drawn
        .iter()
        .map(|(title, outcomes)| (title.clone(), outcomes.iter().map(bar).collect()))
        .collect();
    let label = "Microseconds for a whole request, by session library";
    chart::draw(label, None, &groups)
}

#[cfg(feature = "tower-sessions")]
fn as_tower_sessions() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let runtime = Rc::new(runtime);
    for (job, what) in [
        (Job::Nothing, "No session asked for"),
        (Job::Read, "Reading one value"),
        (Job::Write, "Writing one value"),
    ] {
        let contestants = requests::as_tower_sessions(&Data::with(0), job, &runtime);
        let outcomes = round::run(contestants, ROUNDS, TIMES);
        print(&format!("{what}, a whole request"), OURS, &outcomes);
    }
    Ok(())
}

/// The name of a session's file.
fn stem(size: usize) -> String {
    if size == 0 {
        "six".to_owned()
    } else {
        format!("six-and-{size}")
    }
}

fn write_data(folder: &Path) -> io::Result<()> {
    for size in SIZES {
        let json = serde_json::to_string(&Data::with(size))?;
        std::fs::write(folder.join(stem(size)).with_extension("json"), json)?;
    }
    Ok(())
}

fn alone() -> io::Result<()> {
    for size in SIZES {
        let run = |job| {
            let contestants = envelopes::contestants(&Data::with(size), job);
            let ours = contestants
                .into_iter()
                .filter(|c| c.name == OUR_SEALER)
                .collect();
            round::run(ours, ROUNDS, TIMES).remove(0)
        };
        let (open, seal) = (run(Job::Read), run(Job::Write));
        let micros = |outcome: &Outcome| outcome.median() / 1000.0;
        let (stem, characters) = (stem(size), open.cookie.unwrap_or_default());
        println!(
            "| {OUR_SEALER} | {stem} | {:.2} | {:.2} | {characters} |",
            micros(&open),
            micros(&seal)
        );
    }
    Ok(())
}

fn title(what: &str, size: usize) -> String {
    match size {
        0 => format!("{what}, six values"),
        size => format!("{what}, six values and {size} bytes"),
    }
}

/// A Markdown table: medians, and how long `ours` takes as a part of what each other takes.
fn print(title: &str, ours: &str, outcomes: &[Outcome]) {
    let Some(own) = outcomes.iter().find(|outcome| outcome.name == ours) else {
        return;
    };
    println!("\n### {title}\n");
    println!("| | median | ours / theirs (middle half) | cookie's value |");
    println!("|---|---:|---:|---:|");
    for outcome in outcomes {
        let [low, median, high] = own.ratio_to(outcome);
        let ratio = match outcome.name == ours {
            true => String::new(),
            false => format!("{median:.2} ({low:.2} to {high:.2})"),
        };
        let cookie = outcome
            .cookie
            .map(|size| format!("{size} characters"))
            .unwrap_or_default();
        println!(
            "| {} | {:.2} µs | {ratio} | {cookie} |",
            outcome.name,
            outcome.median() / 1000.0
        );
    }
}
