//! Redis: one server, a server with a replica under a sentinel, a cluster of three.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, RedisResult};

/// How long a server may take to start, to stop or to take a role.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `redis-server` on a free port, which keeps nothing on disk.
pub struct Server {
    process: Option<Child>,
    port: u16,
    folder: Folder,
    options: Vec<String>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With options of the command line, such as `["--maxmemory", "2mb"]`.
    pub async fn start_with(options: &[&str]) -> Self {
        let mut server = Self {
            process: None,
            port: free_port(),
            folder: Folder::new(),
            options: options.iter().map(ToString::to_string).collect(),
        };
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
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
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
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&self.folder.0)
            .arg("--unixsocket")
            .arg(self.socket())
            .args(&self.options);
        self.process = Some(spawn(command));
        wait_for("an answer to PING", async || self.answers().await).await;
    }

    async fn answers(&self) -> bool {
        let Ok(mut connection) = self.try_connection().await else {
            return false;
        };
        let pong: RedisResult<String> = redis::cmd("PING").query_async(&mut connection).await;
        pong.is_ok()
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

    /// What `INFO` says of a section.
    pub async fn info(&self, section: &str) -> String {
        self.try_info(section).await.unwrap()
    }

    async fn try_info(&self, section: &str) -> RedisResult<String> {
        let mut connection = self.try_connection().await?;
        let mut ask = redis::cmd("INFO");
        ask.arg(section).query_async(&mut connection).await
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
        for _ in 0..3 {
            let bus = free_port().to_string();
            let options = [
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                "2000",
            ];
            nodes.push(Server::start_with(&options).await);
        }
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create", "--cluster-yes"]);
        create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        let output = create.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
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
        ClusterClient::new(self.nodes.iter().map(Server::url)).unwrap()
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
        let is_linked = async || replica.says("replication", "master_link_status:up").await;
        wait_for("a linked replica", is_linked).await;
        let sentinel = Self {
            sentinel: Self::watch(&master).await,
            servers: [master, replica],
        };
        let knows_replica = async || sentinel.sentinel.says("sentinel", "slaves=1").await;
        wait_for("a sentinel that knows the replica", knows_replica).await;
        sentinel
    }

    /// A sentinel is a server with a file that it may write.
    async fn watch(master: &Server) -> Server {
        let mut sentinel = Server {
            process: None,
            port: free_port(),
            folder: Folder::new(),
            options: Vec::new(),
        };
        let (name, port) = (Self::MASTER, master.port);
        let text = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 5000\n",
            sentinel.port
        );
        let file = sentinel.folder.0.join("sentinel.conf");
        fs::write(&file, text).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel");
        sentinel.process = Some(spawn(command));
        wait_for("an answer to PING", async || sentinel.answers().await).await;
        sentinel
    }

    pub fn client(&self) -> SentinelClient {
        let sentinels = vec![self.sentinel.url()];
        let name = Self::MASTER.to_owned();
        SentinelClient::build(sentinels, name, None, SentinelServerType::Master).unwrap()
    }

    /// Until the former replica is the master.
    pub async fn wait_for_failover(&self) {
        let [_, replica] = &self.servers;
        let is_master = async || replica.says("replication", "role:master").await;
        wait_for("a new master", is_master).await;
        let address = format!("status=ok,address=127.0.0.1:{}", replica.port);
        let is_announced = async || self.sentinel.says("sentinel", &address).await;
        wait_for("a sentinel that tells the new master", is_announced).await;
    }
}

/// Asks until it is so.
pub async fn wait_for(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn spawn(mut command: Command) -> Child {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command
        .spawn()
        .expect("redis-server is missing; `./check stores` installs it")
}

/// One that nobody listens on at the moment, different with every call.
fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
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
