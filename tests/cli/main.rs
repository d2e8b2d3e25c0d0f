//! The `sealed-session` command, as its users run it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail as the tests do, by panicking"
)]

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use sealed_session::{AppKey, CookieStore, Session};

mod commands;
#[cfg(unix)]
mod keys;
mod refusals;

struct Ran {
    status: i32,
    out: String,
    err: String,
}

type Variables<'a> = [(&'a str, &'a str)];

fn spawn(arguments: &[&str], variables: &Variables<'_>) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sealed-session"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(arguments: &[&str], variables: &Variables<'_>, input: impl AsRef<[u8]>) -> Ran {
    let mut child = spawn(arguments, variables);
    // A command that ends before it has read its input closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_ref());
    let output = child.wait_with_output().unwrap();
    Ran {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The output of a run that succeeds, without the line's end.
fn ok(arguments: &[&str], variables: &Variables<'_>, input: impl AsRef<[u8]>) -> String {
    let ran = run(arguments, variables, input);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{arguments:?}");
    ran.out.strip_suffix('\n').unwrap().to_owned()
}

/// The error of a run that fails with `status` and prints nothing else.
fn fails(
    status: i32,
    arguments: &[&str],
    variables: &Variables<'_>,
    input: impl AsRef<[u8]>,
) -> String {
    let ran = run(arguments, variables, input);
    assert_eq!((ran.status, ran.out.as_str()), (status, ""), "{}", ran.err);
    let line = ran.err.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{line}");
    line.strip_prefix("sealed-session: ").unwrap().to_owned()
}

fn keygen() -> String {
    ok(&["keygen"], &[], "")
}

fn parsed(json: &str) -> serde_json::Value {
    serde_json::from_str(json).unwrap()
}

fn moment(opened: &serde_json::Value, field: &str) -> SystemTime {
    humantime::parse_rfc3339(opened[field].as_str().unwrap()).unwrap()
}

/// The pair of a cookie that the library sealed `age` ago, for its default name.
fn sealed_ago(key: &str, age: Duration, fill: impl Fn(&Session)) -> String {
    let builder = CookieStore::builder(key.parse::<AppKey>().unwrap());
    let store = builder
        .clock(move || SystemTime::now() - age)
        .build()
        .unwrap();
    let session = store.load_from::<str>([]);
    session.insert("user_id", 42).unwrap();
    fill(&session);
    let outgoing = store.respond(&session).unwrap();
    let header = outgoing.set_cookies().next().unwrap();
    header.split(';').next().unwrap().to_owned()
}

fn value_of(pair: &str) -> &str {
    pair.split_once('=').unwrap().1
}
