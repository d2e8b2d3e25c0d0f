//! `sealed-session keys` on a real Redis, beside processes that follow the same keys.

use std::process::{Command, Output};

use sealed_session::keys::KeyRedis;
use sealed_session::{AppKey, ManagedKeys};
use sealed_session_stores::patience::PATIENCE;
use sealed_session_stores::redis::{Cluster, Sentinel, Server};
use tokio::runtime::Runtime;

/// Where the keys are, and the root key.
struct Place {
    arguments: Vec<String>,
    root: AppKey,
}

impl Place {
    fn new(arguments: &[&str]) -> Self {
        Self {
            arguments: arguments.iter().map(ToString::to_string).collect(),
            root: AppKey::generate().unwrap(),
        }
    }

    fn run(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealed-session"));
        command.env_clear().envs(variables.iter().copied());
        command.arg("keys").args(&self.arguments).args(arguments);
        command.output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let root = self.root.to_base64();
        self.ok_with(&[("APP_KEY", &root)], arguments)
    }

    fn ok_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> String {
        let output = self.run(variables, arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> String {
        let output = self.run(variables, arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn state(table: &str, id: &str) -> Option<String> {
    let mut rows = table.lines().skip_while(|line| !line.starts_with("KEY"));
    let row = rows.find(|line| line.starts_with(id))?;
    row.split_whitespace().nth(1).map(str::to_owned)
}

/// From the first key to its revocation, beside a process that follows.
fn makes_changes_and_revokes(place: &Place, open: impl Fn() -> KeyRedis) {
    let made = place.ok(&["add"]);
    assert!(made.starts_with("a ring was made\n"), "{made}");
    let keys = ManagedKeys::builder(open().timeout(PATIENCE))
        .root(place.root.clone())
        .must_exist()
        .without_thread()
        .build()
        .unwrap();
    let first = keys.seals().unwrap();
    let due = place.ok(&["add", "--every", "90d"]);
    assert!(due.starts_with("nothing is due before 2"), "{due}");
    let waiting = place.ok(&["add", "--waiting"]);
    keys.refresh().unwrap();
    let second = *keys.opens().iter().find(|id| **id != first).unwrap();
    let second = second.to_string();
    assert_eq!(state(&waiting, &second).as_deref(), Some("waiting"));
    let promoted = place.ok(&["promote", &second]);
    assert_eq!(state(&promoted, &second).as_deref(), Some("coming"));
    let checked = place.ok(&["check"]);
    assert!(checked.starts_with(&format!("in order: {first} seals")));
    let revoked = place.ok(&["revoke", &first.to_string()]);
    keys.refresh().unwrap();
    let fresh = keys.seals().unwrap().to_string();
    assert!(revoked.contains(&format!("seals from now on: {fresh}")));
    assert_eq!(keys.opens().len(), 1);
    let list = place.ok(&["list"]);
    for id in [&first.to_string(), &second] {
        assert_eq!(state(&list, id).as_deref(), Some("revoked"));
    }
    assert_eq!(state(&list, &fresh).as_deref(), Some("sealing"));
}

#[test]
fn the_command_looks_after_keys_on_one_server() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let place = Place::new(&["--redis", &server.url()]);
    makes_changes_and_revokes(&place, || KeyRedis::client(server.client()));
}

#[test]
fn the_command_finds_the_master_behind_a_sentinel() {
    let runtime = Runtime::new().unwrap();
    let sentinel = runtime.block_on(Sentinel::start());
    let url = sentinel.sentinel.url();
    let place = Place::new(&["--redis", &url, "--sentinel", "sessions"]);
    makes_changes_and_revokes(&place, || KeyRedis::sentinel(sentinel.client()));
}

#[test]
fn the_command_takes_any_node_of_a_cluster() {
    let runtime = Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    for node in &cluster.nodes {
        let name = format!("ring {}", node.port());
        let place = Place::new(&["--redis", &node.url(), "--cluster", "--redis-key", &name]);
        makes_changes_and_revokes(&place, || KeyRedis::cluster(cluster.client()).key(&name));
    }
}

#[test]
fn the_root_key_of_a_ring_in_redis_is_exchanged() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let place = Place::new(&["--redis", &server.url()]);
    place.ok(&["add"]);
    let (old, new) = (
        place.root.to_base64(),
        AppKey::generate().unwrap().to_base64(),
    );
    let both = [("APP_KEY", new.as_str()), ("APP_PREVIOUS_KEYS", &old)];
    let only_new = [("APP_KEY", new.as_str())];
    let told = place.fails_with(&only_new, &["list"]);
    assert!(told.contains("give the root key"), "{told}");
    // Changes keep the root key that is there.
    place.ok_with(&both, &["add"]);
    place.ok(&["list"]);
    place.ok_with(&both, &["rewrap"]);
    place.ok_with(&only_new, &["list"]);
    place.fails_with(&[("APP_KEY", &old)], &["list"]);
    let told = place.fails_with(&[], &["list"]);
    assert!(told.contains("APP_KEY"), "{told}");
}

#[test]
fn a_redis_that_is_not_there_is_named_without_its_password() {
    let place = Place::new(&["--redis", "redis://:hunter2@127.0.0.1:1"]);
    let root = place.root.to_base64();
    let told = place.fails_with(&[("APP_KEY", &root)], &["list"]);
    assert!(
        told.contains("redis 127.0.0.1:1, key session:keys"),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");
    for arguments in [&["--cluster"][..], &["--sentinel", "sessions"]] {
        let told = place.fails_with(&[("APP_KEY", &root)], &[&["list"], arguments].concat());
        assert!(!told.contains("hunter2"), "{told}");
    }
}
