//! What a request costs a whole server over HTTP on loopback: the processor's time of the server
//! and of Redis, which tells more on a busy machine than how long an answer takes.
//!
//! `cargo run --release` prints the tables, `-- --chart FILE.svg` draws the picture too. It needs
//! `wrk` and `redis-server`, and starts and stops Redis itself.

#[path = "../../peers/src/chart.rs"]
mod chart;
mod programs;
mod servers;

use std::fmt::Write;
use std::fs;
use std::process::ExitCode;

use chart::Bar;
use programs::{Program, field};
use servers::{BARE_ACTIX, BARE_AXUM, NAMES, OURS_ON_AXUM};

pub(crate) type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 5;

/// More than there are connections, so that no two requests at once are of one session.
const SESSIONS: usize = 64;

/// What the requests ask for, and how many bytes of text the session has besides six values.
const COLUMNS: [(&str, &str, usize); 7] = [
    ("No session asked for", "/untouched", 0),
    ("Read, six values", "/read", 0),
    ("Read, and 800 bytes", "/read", 800),
    ("Read, and 2,400 bytes", "/read", 2400),
    ("Write, six values", "/write", 0),
    ("Write, and 800 bytes", "/write", 800),
    ("Write, and 2,400 bytes", "/write", 2400),
];

/// A cell of the table.
struct Cell {
    name: &'static str,
    column: usize,
    cookies: std::path::PathBuf,
    /// Characters of the Cookie field, and of the answer's Set-Cookie field.
    fields: (usize, usize),
    /// Of each round: microseconds of a request in the server, and in Redis.
    rounds: Vec<(f64, f64)>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        [] => measure().map(drop),
        ["--chart", file] => measure().and_then(|cells| Ok(fs::write(file, picture(&cells))?)),
        ["--serve", name, redis] => servers::serve(name, redis),
        _ => Err("usage: sealed-session-service [--chart FILE.svg]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<Vec<Cell>, Failure> {
    let folder =
        std::env::temp_dir().join(format!("sealed-session-service-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let measured = measure_in(&folder);
    fs::remove_dir_all(&folder)?;
    let cells = measured?;
    print(&cells);
    Ok(cells)
}

fn measure_in(folder: &std::path::Path) -> Result<Vec<Cell>, Failure> {
    let redis = Program::redis()?;
    let mut servers = Vec::new();
    for name in NAMES {
        servers.push((name, Program::server(name, &redis)?));
    }
    let server = |name| {
        servers
            .iter()
            .find(|(at, _)| *at == name)
            .map(|(_, server)| server)
    };
    let ours = server(OURS_ON_AXUM).ok_or("no such server")?;
    let mut cells = Vec::new();
    for (name, server) in &servers {
        for (column, (_, path, size)) in COLUMNS.into_iter().enumerate() {
            let is_bare = name.starts_with("bare");
            if is_bare && path != "/untouched" {
                continue;
            }
            // A bare server gets the same request as the others.
            let starter = if is_bare { ours } else { server };
            let cookies = started(starter, size)?;
            let first = cookies.first().ok_or("no cookie")?;
            let answer = server.get(path, first)?;
            let set = field(&answer, "set-cookie").map_or(0, str::len);
            let file = folder.join(format!("{}-{column}", server.port));
            fs::write(&file, cookies.join("\n"))?;
            cells.push(Cell {
                name,
                column,
                cookies: file,
                fields: (first.len(), set),
                rounds: Vec::new(),
            });
        }
    }
    for _ in 0..ROUNDS {
        for cell in &mut cells {
            let server = server(cell.name).ok_or("no such server")?;
            let before = (server.used()?, redis.used()?);
            let answered = server.load(COLUMNS[cell.column].1, &cell.cookies)?;
            let micros = |after, before| (after - before) / 1e3 / answered;
            let after = (
                micros(server.used()?, before.0),
                micros(redis.used()?, before.1),
            );
            cell.rounds.push(after);
        }
    }
    Ok(cells)
}

/// The Cookie fields of new sessions.
fn started(server: &Program, size: usize) -> Result<Vec<String>, Failure> {
    let mut cookies = Vec::new();
    for _ in 0..SESSIONS {
        let answer = server.get(&format!("/start/{size}"), "")?;
        let set = field(&answer, "set-cookie").ok_or("no session was started")?;
        cookies.push(set.split(';').next().unwrap_or_default().to_owned());
    }
    Ok(cookies)
}

impl Cell {
    fn server(&self) -> f64 {
        median(self.rounds.iter().map(|(server, _)| *server))
    }

    fn redis(&self) -> f64 {
        median(self.rounds.iter().map(|(_, redis)| *redis))
    }

    /// What it takes as a multiple of another, round by round.
    fn times(&self, other: &Self) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(pairs.map(|((a, _), (b, _))| a / b))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn find<'c>(cells: &'c [Cell], name: &str, column: usize) -> Option<&'c Cell> {
    cells
        .iter()
        .find(|cell| cell.name == name && cell.column == column)
}

fn print(cells: &[Cell]) {
    let table = |title: &str, text: &dyn Fn(&Cell) -> String| {
        println!("\n### {title}\n");
        let heads: Vec<&str> = COLUMNS.iter().map(|(head, ..)| *head).collect();
        println!("| | {} |", heads.join(" | "));
        println!("|---|{}", "---:|".repeat(COLUMNS.len()));
        for name in NAMES {
            let mut row = format!("| {name} |");
            for column in 0..COLUMNS.len() {
                let cell = find(cells, name, column).map(text);
                let _ = write!(row, " {} |", cell.unwrap_or_default());
            }
            println!("{row}");
        }
    };
    table(
        "Microseconds of the server + of Redis",
        &|cell| match cell.redis() {
            // What it does for itself.
            redis if redis < 0.5 => format!("{:.1}", cell.server()),
            redis => format!("{:.1} + {redis:.1}", cell.server()),
        },
    );
    table(
        "The server's time, as a multiple of the bare framework's",
        &|cell| {
            let is_axum = cell.name.ends_with("axum");
            let bare = find(cells, if is_axum { BARE_AXUM } else { BARE_ACTIX }, 0);
            bare.map(|bare| format!("{:.2}", cell.times(bare)))
                .unwrap_or_default()
        },
    );
    table(
        "Characters of the Cookie field, and of an answer's Set-Cookie",
        &|cell| match cell.fields {
            (cookie, 0) => cookie.to_string(),
            (cookie, set) => format!("{cookie}, {set}"),
        },
    );
}

fn picture(cells: &[Cell]) -> String {
    let group = |column: usize| {
        let bars = NAMES.into_iter().filter_map(|name| {
            // A bare server has no session, so it stands for all of its columns.
            let cell = find(cells, name, column).or_else(|| find(cells, name, 0))?;
            Some(Bar {
                name,
                is_ours: name.starts_with("sealed-session"),
                micros: cell.server(),
                beside: cell.redis(),
            })
        });
        (COLUMNS[column].0.to_owned(), bars.collect())
    };
    let groups: Vec<_> = (0..COLUMNS.len()).map(group).collect();
    chart::draw(
        "Microseconds of processor time for a request, by session library",
        Some("Redis"),
        &groups,
    )
}
