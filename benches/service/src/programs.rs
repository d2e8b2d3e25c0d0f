//! The programs that the benchmark starts: Redis, the servers, wrk.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Failure;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/load.lua");
const CONNECTIONS: &str = "-c16";

/// A program that listens on a port of loopback. It ends with this value.
pub(crate) struct Program {
    process: Child,
    pub(crate) port: u16,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Program {
    /// A `redis-server` that keeps nothing on disk.
    pub(crate) fn redis() -> Result<Self, Failure> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("redis-server: {error}"))?;
        let lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let redis = Self { process, port };
        for line in lines {
            if line?.contains("Ready to accept connections") {
                return Ok(redis);
            }
        }
        Err("redis-server did not start".into())
    }

    /// One of the servers, which is this program itself.
    pub(crate) fn server(name: &str, redis: &Self) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([
                "--serve",
                name,
                &format!("redis://127.0.0.1:{}", redis.port),
            ])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().parse()?;
        Ok(Self { process, port })
    }

    /// The processor's time that it has used, in nanoseconds.
    pub(crate) fn used(&self) -> Result<f64, Failure> {
        let mut sum = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let used = fs::read_to_string(thread?.path().join("schedstat"))?;
            sum += used.split(' ').next().ok_or("no time")?.parse::<f64>()?;
        }
        Ok(sum)
    }

    /// The answer to one request, as text.
    pub(crate) fn get(&self, path: &str, cookie: &str) -> Result<String, Failure> {
        let cookie = match cookie {
            "" => String::new(),
            cookie => format!("Cookie: {cookie}\r\n"),
        };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{cookie}Connection: close\r\n\r\n");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.starts_with("HTTP/1.1 200 ") {
            true => Ok(answer),
            false => Err(format!("{path}: {answer}").into()),
        }
    }

    /// Loads it for a second with requests that carry the cookies of a file in turn. Returns how
    /// many it answered.
    pub(crate) fn load(&self, path: &str, cookies: &Path) -> Result<f64, Failure> {
        let run = Command::new("wrk")
            .args(["-t1", CONNECTIONS, "-d1s", "--timeout", "30s", "-s", SCRIPT])
            .arg(format!("http://127.0.0.1:{}{path}", self.port))
            .arg("--")
            .arg(cookies)
            .output()
            .map_err(|error| format!("wrk: {error}"))?;
        let said = String::from_utf8(run.stdout)?;
        let counted = said.lines().find_map(|line| line.strip_prefix("answered "));
        let (answered, failed) = counted
            .and_then(|counted| counted.split_once(" failed "))
            .ok_or_else(|| format!("wrk: {said}"))?;
        match failed {
            "0" => Ok(answered.parse()?),
            _ => Err(format!("{failed} requests for {path} failed").into()),
        }
    }
}

/// The fields of a name in an answer, without the name.
pub(crate) fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let fields = answer.lines().filter_map(|line| line.split_once(": "));
    let mut named = fields.filter(|(at, _)| at.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value)
}
