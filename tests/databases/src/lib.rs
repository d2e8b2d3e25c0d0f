//! A PostgreSQL server for one test: it has a directory of its own, in which its only socket is.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tempfile::TempDir;

/// A server, and its files until it is dropped.
pub struct Postgres {
    directory: TempDir,
    server: Option<Child>,
}

impl Postgres {
    /// A server with an empty database.
    pub fn start() -> Self {
        let private = fs::Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().permissions(private).tempdir();
        let directory = directory.unwrap();
        let mut postgres = Self {
            directory,
            server: None,
        };
        if fs::metadata(postgres.directory.path()).unwrap().uid() == 0 {
            let (user, group) = servant();
            chown(postgres.directory.path(), Some(user), Some(group)).unwrap();
        }
        let initdb = postgres
            .command("initdb")
            .args(["--auth=trust", "--username=postgres", "--no-sync"])
            .output()
            .unwrap();
        assert!(initdb.status.success(), "{initdb:?}");
        postgres.start_again();
        postgres
    }

    /// Starts the server on the files that it has.
    pub fn start_again(&mut self) {
        let mut server = self
            .command("postgres")
            .args(["-F", "-c", "listen_addresses=", "-k"])
            .arg(self.directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(server.stderr.take().unwrap());
        self.server = Some(server);
        let mut told = Vec::new();
        let mut lines = log.lines().map_while(Result::ok);
        let is_ready = lines.any(|line| {
            let is_ready = line.contains("database system is ready to accept connections");
            told.push(line);
            is_ready
        });
        assert!(is_ready, "{told:?}");
        // A full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
    }

    /// Stops the server and ends its connections.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let interrupt = Command::new("kill")
                .args(["-INT", &server.id().to_string()])
                .status();
            assert!(interrupt.unwrap().success());
            server.wait().unwrap();
        }
    }

    /// Connections to it, made when they are needed.
    pub fn pool(&self) -> PgPool {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.directory.path())
            .username("postgres")
            .database("postgres");
        // One whose socket is gone is away at once; one that is slow is not.
        let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(5 * 60));
        pool.connect_lazy_with(options)
    }

    /// A program of PostgreSQL's, as whoever owns the directory.
    fn command(&self, program: &str) -> Command {
        let directory = self.directory.path();
        let owner = fs::metadata(directory).unwrap();
        let mut command = Command::new(program_of(program));
        command
            .arg("-D")
            .arg(directory.join("data"))
            .current_dir(directory)
            .env("LC_ALL", "C");
        if owner.uid() != fs::metadata("/proc/self").unwrap().uid() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The server refuses to run as root: somebody who owns nothing then.
fn servant() -> (u32, u32) {
    let id = |which| {
        let shown = Command::new("id").args([which, "nobody"]).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        shown.trim().parse().expect("there is a user `nobody`")
    };
    (id("-u"), id("-g"))
}

/// Debian keeps them out of the path, a folder for each version.
fn program_of(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let of_debian = versions.map(|version| version.unwrap().path().join("bin"));
    let mut candidates = std::env::split_paths(&path)
        .chain(of_debian)
        .map(|folder| folder.join(name));
    candidates
        .find(|program| Path::is_file(program))
        .unwrap_or_else(|| panic!("no {name}: `./check stores` installs it"))
}
