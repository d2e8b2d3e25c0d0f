//! Redis: one server, a server with a replica under a sentinel, a cluster of three.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::{env, fs, process};

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, RedisResult};
use sealed_session::server::Redis;

use crate::patience::{PATIENCE, wait_for};

/// How many ports a server is tried on if others take them first.
const PORTS: usize = 20;

/// A backend that never takes a slow machine for a server that is away.
pub fn patient(redis: Redis) -> Redis {
    redis
        .connection_timeout(PATIENCE)
        .response_timeout(PATIENCE)
}

/// A `redis-server` on a free port, which keeps nothing on disk.
pub struct Server {
    process: Option<Child>,
    port: u16,
    folder: Folder,
    role: Role,
}

enum Role {
    /// A server with options of the command line.
    Server(Vec<String>),
    /// A sentinel, which watches the master on this port.
    Sentinel(u16),
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With options of the command line, such as `["--maxmemory", "2mb"]`.
    pub async fn start_with(options: &[&str]) -> Self {
        let options = options.iter().map(ToString::to_string).collect();
        Self::start_as(|| Role::Server(options)).await
    }

    async fn start_as(role: impl FnOnce() -> Role) -> Self {
        let mut server = Self {
            process: None,
            port: free_port(),
            folder: Folder::new(),
            role: role(),
        };
        for _ in 1..PORTS {
            if server.launch().await.is_ok() {
                return server;
            }
            // Somebody else may have been faster to listen there.
            server.port = free_port();
        }
        server.start_again().await;
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A socket that the server listens on too.
    pub fn socket(&self) -> PathBuf {
        self.folder.0.join("socket")
    }

    pub fn client(&self) -> Client {
        Client::open(self.url()).unwrap()
    }

    /// A connection of the test's own, which waits as long as it takes.
    pub async fn connection(&self) -> MultiplexedConnection {
        self.try_connection().await.unwrap()
    }

    async fn try_connection(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = self.client();
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// Ends it at once, as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// On the same port, with nothing in it.
    pub async fn start_again(&mut self) {
        self.kill();
        let launched = self.launch().await;
        assert!(launched.is_ok(), "{}", launched.unwrap_err());
    }

    /// Until it answers; or what it has said before it ended.
    async fn launch(&mut self) -> Result<(), String> {
        let log = self.folder.0.join("log");
        let output = fs::File::create(&log).unwrap();
        let process = self
            .command()
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .expect("redis-server is missing; `./check stores` installs it");
        let id = format!("process_id:{}\r", process.id());
        self.process = Some(process);
        let mut has_ended = false;
        wait_for("a server that answers", async || {
            let process = self.process.as_mut().unwrap();
            has_ended = process.try_wait().unwrap().is_some();
            // Another server could be the one that has the port.
            has_ended || self.says("server", &id).await
        })
        .await;
        if has_ended {
            self.process = None;
            return Err(fs::read_to_string(log).unwrap());
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("redis-server");
        let port = self.port;
        match &self.role {
            Role::Server(options) => command
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no", "--dir"])
                .arg(&self.folder.0)
                .arg("--unixsocket")
                .arg(self.socket())
                .args(options),
            Role::Sentinel(master) => {
                let name = Sentinel::MASTER;
                // It never takes a slow master for one that is gone: the tests say when.
                let down_after = PATIENCE.as_millis();
                let text = format!(
                    "port {port}\nbind 127.0.0.1\n\
                     sentinel monitor {name} 127.0.0.1 {master} 1\n\
                     sentinel down-after-milliseconds {name} {down_after}\n\
                     sentinel failover-timeout {name} {down_after}\n"
                );
                let file = self.folder.0.join("sentinel.conf");
                fs::write(&file, text).unwrap();
                command.arg(file).arg("--sentinel")
            }
        };
        command
    }

    /// Stops it in the middle of whatever it does: connections stay open and nobody answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(status.unwrap().success());
    }

    /// Until whatever anybody has written so far is on its replica too. `WAIT` would wait only for
    /// what was written by the connection that asks.
    pub async fn wait_until_on(&self, replica: &Self) {
        let written = self.replicated("master_repl_offset").await.unwrap();
        let has_all = async || {
            let read = replica.replicated("slave_repl_offset").await;
            read.is_some_and(|read| read >= written)
        };
        wait_for("a replica that has all", has_all).await;
    }

    /// How far the stream of changes has come.
    async fn replicated(&self, what: &str) -> Option<u64> {
        let info = self.try_info("replication").await.ok()?;
        let mut fields = info.lines().filter_map(|line| line.split_once(':'));
        let (_, offset) = fields.find(|(name, _)| *name == what)?;
        offset.parse().ok()
    }

    /// What `INFO` says of a section.
    pub async fn info(&self, section: &str) -> String {
        self.try_info(section).await.unwrap()
    }

    async fn try_info(&self, section: &str) -> RedisResult<String> {
        let mut connection = self.try_connection().await?;
        let mut ask = redis::cmd("INFO");
        ask.arg(section).query_async(&mut connection).await
    }

    async fn wait_until_linked(&self) {
        let is_linked = async || self.says("replication", "master_link_status:up").await;
        wait_for("a linked replica", is_linked).await;
    }

    /// One that changes its role closes its connections.
    async fn says(&self, section: &str, what: &str) -> bool {
        let info = self.try_info(section).await;
        info.is_ok_and(|info| info.contains(what))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three masters of a cluster, each with a third of the slots.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        // None that is slow is taken for one that is gone.
        let patience = PATIENCE.as_millis().to_string();
        let options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            &patience,
        ];
        for _ in 0..3 {
            nodes.push(Server::start_with(&options).await);
        }
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create", "--cluster-yes"]);
        create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        let output = create.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let cluster = Self { nodes };
        cluster.wait_until_whole().await;
        cluster
    }

    /// As each node sees it.
    pub async fn wait_until_whole(&self) {
        for node in &self.nodes {
            let is_whole = async || {
                let mut connection = node.connection().await;
                let info = redis::cmd("CLUSTER").arg("INFO").take();
                let info: String = info.query_async(&mut connection).await.unwrap();
                info.contains("cluster_state:ok") && info.contains("cluster_size:3")
            };
            wait_for("a whole cluster", is_whole).await;
        }
    }

    pub fn client(&self) -> ClusterClient {
        ClusterClient::builder(self.nodes.iter().map(Server::url))
            .connection_timeout(PATIENCE)
            .response_timeout(PATIENCE)
            .build()
            .unwrap()
    }
}

/// A master, its replica, and a sentinel that makes the one of the other.
pub struct Sentinel {
    pub servers: [Server; 2],
    pub sentinel: Server,
}

impl Sentinel {
    const MASTER: &str = "sessions";

    pub async fn start() -> Self {
        let master = Server::start().await;
        let port = master.port.to_string();
        let options = [
            "--replicaof",
            "127.0.0.1",
            &port,
            "--repl-diskless-sync-delay",
            "0",
        ];
        let replica = Server::start_with(&options).await;
        replica.wait_until_linked().await;
        let sentinel = Self {
            sentinel: Server::start_as(|| Role::Sentinel(master.port)).await,
            servers: [master, replica],
        };
        let knows_replica = async || sentinel.sentinel.says("sentinel", "slaves=1").await;
        wait_for("a sentinel that knows the replica", knows_replica).await;
        sentinel
    }

    pub fn client(&self) -> SentinelClient {
        let sentinels = vec![self.sentinel.url()];
        let name = Self::MASTER.to_owned();
        SentinelClient::build(sentinels, name, None, SentinelServerType::Master).unwrap()
    }

    /// Makes the replica the master, and waits until it is and the sentinel tells so. The former
    /// master may be gone; if it is not, it goes on as if nothing were until the sentinel finds
    /// out: see [`wait_for_demotion`](Self::wait_for_demotion).
    pub async fn fail_over(&self) {
        let [_, replica] = &self.servers;
        let mut watcher = self.sentinel.connection().await;
        wait_for("a new master", async || {
            let ask = redis::cmd("SENTINEL").arg(&["MASTER", Self::MASTER]).take();
            let master: HashMap<String, String> = ask.query_async(&mut watcher).await.unwrap();
            if master["port"] == replica.port.to_string() {
                return replica.says("replication", "role:master").await;
            }
            // It refuses, or gives up, until it has looked at the replica for a while.
            if !master["flags"].contains("failover_in_progress") {
                let order = redis::cmd("SENTINEL")
                    .arg(&["FAILOVER", Self::MASTER])
                    .take();
                let _: RedisResult<()> = order.query_async(&mut watcher).await;
            }
            false
        })
        .await;
    }

    /// Until the former master is the replica of the new one and has all of it. What it is sent
    /// before is lost.
    pub async fn wait_for_demotion(&self) {
        let [former, _] = &self.servers;
        let is_replica = async || former.says("replication", "role:slave").await;
        wait_for("a former master that is a replica", is_replica).await;
        former.wait_until_linked().await;
    }
}

/// One that nobody listens on at the moment, different with every call. The system gives it to no
/// outgoing connection, so that it is still there for a server that was down for a while. The same
/// goes for the port that is 10,000 above, where the nodes of a cluster talk to each other.
fn free_port() -> u16 {
    const BUS: u16 = 10_000;
    // Where other processes hardly begin.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let bytes = RandomState::new().hash_one(process::id()).to_ne_bytes();
        AtomicU16::new(u16::from_ne_bytes([bytes[0], bytes[1]]))
    });
    loop {
        let port = 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free(port) && is_free(port + BUS) {
            return port;
        }
    }
}

/// Gone with its server.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("sealed-session-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
