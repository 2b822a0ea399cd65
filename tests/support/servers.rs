//! Real Redis servers for the tests: each on a free port of this machine, in a directory of its own, killed at drop.
//! `TOWER_REISSUE_REDIS_SERVER=valkey-server`, a name or a path, runs them on that one.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "ports.rs"]
#[allow(clippy::duplicate_mod, reason = "each of these files brings what it needs")]
mod ports;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use self::ports::free_port;

/// One `redis-server`.
pub struct RedisServer {
    child: Option<Child>,
    options: Vec<String>,
    dir: TempDir,
    port: u16,
}

impl RedisServer {
    pub fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = options.iter().map(|&option| option.to_owned()).collect();
        // A free port may be taken by somebody else before the server is there.
        let mut server = Self { child: None, options, dir, port: 0 };
        for _ in 0..5 {
            server.port = free_port();
            if server.spawn() {
                return server;
            }
        }
        panic!("redis-server does not start: see {}", server.dir.path().join("log").display());
    }

    /// A replica, which has what the primary has when this returns.
    pub fn replica_of(primary: &Self) -> Self {
        let replica = Self::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
        primary.await_replica();
        replica
    }

    fn await_replica(&self) {
        let began = Instant::now();
        while !self.command(&["INFO", "replication"]).contains("state=online") {
            assert!(began.elapsed() < Duration::from_secs(20), "the replica does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it again on its port, with what it had on disk.
    pub fn restart(&mut self) {
        assert!(self.spawn(), "redis-server does not start again");
    }

    fn spawn(&mut self) -> bool {
        self.kill();
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        // Valkey as a Python package ships it is built without TLS.
        let is_tls = self.options.iter().any(|option| option == "--tls-port");
        let chosen = std::env::var("TOWER_REISSUE_REDIS_SERVER").ok().filter(|_| !is_tls);
        let program = chosen.unwrap_or("redis-server".to_owned());
        let child = Command::new(&program)
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""])
            .args(["--dir", self.dir.path().to_str().unwrap(), "--appendonly", "no"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("these tests need {program} ({error}): `apt-get install redis-server`")
            });
        self.child = Some(child);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            if self
                .try_command(&["PING"])
                .is_some_and(|reply| reply.starts_with("+PONG") || reply.starts_with("-NOAUTH"))
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: no goodbye, nothing saved.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP: the kernel still accepts for it, and it answers nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// A command on a connection of its own, and the first of what is answered, in the wire's spelling.
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).expect("an answer")
    }

    fn try_command(&self, words: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        text.push_str("*1\r\n$4\r\nQUIT\r\n");
        stream.write_all(text.as_bytes()).ok()?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).ok()?;
        Some(String::from_utf8_lossy(&reply).into_owned())
    }

    /// How many commands it has executed so far, a script's own included.
    pub fn calls(&self, command: &str) -> u64 {
        let stats = self.command(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
        line.and_then(|line| line.split("calls=").nth(1)?.split(',').next()?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three primaries, and then the replica of each, if it has replicas.
pub struct RedisCluster(pub Vec<RedisServer>);

impl RedisCluster {
    pub fn start() -> Self {
        Self::of(3, |_| Vec::new())
    }

    /// Its nodes speak TLS, among themselves too: each on one of the ports, with certificates from a directory.
    pub fn over_tls(ports: &[u16], certificates: &str) -> Self {
        let file = |name: &str| format!("{certificates}/{name}");
        Self::of(ports.len(), |n| {
            let options = [
                ("--tls-port", ports[n].to_string()),
                ("--tls-cert-file", file("server.pem")),
                ("--tls-key-file", file("server.key.pem")),
                ("--tls-client-cert-file", file("client.pem")),
                ("--tls-client-key-file", file("client.key.pem")),
                // The authority, and the client certificate by which the nodes know each other.
                ("--tls-ca-cert-file", file("trusted.pem")),
                ("--tls-auth-clients", "no".to_owned()),
                ("--tls-cluster", "yes".to_owned()),
            ];
            options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
        })
    }

    pub fn with_replicas() -> Self {
        let cluster = Self::of(6, |_| Vec::new());
        let (primaries, replicas) = cluster.0.split_at(3);
        for (primary, replica) in primaries.iter().zip(replicas) {
            let id = primary.command(&["CLUSTER", "MYID"]);
            let id = id.lines().nth(1).unwrap();
            assert!(replica.command(&["CLUSTER", "REPLICATE", id]).starts_with("+OK"));
            primary.await_replica();
        }
        cluster
    }

    fn of(count: usize, more: impl Fn(usize) -> Vec<String>) -> Self {
        let nodes = (0..count).map(|n| {
            let (more, port) = (more(n), free_port().to_string());
            let mut options = vec![
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--cluster-config-file",
                "nodes.conf",
                "--repl-diskless-sync-delay",
                "0",
                "--cluster-port",
                &port,
            ];
            options.extend(more.iter().map(String::as_str));
            RedisServer::start(&options)
        });
        let nodes = nodes.collect::<Vec<_>>();
        let shares = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for (node, (first, last)) in nodes.iter().zip(shares) {
            assert!(node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]).starts_with("+OK"));
        }
        for node in &nodes[1..] {
            let bus = nodes[0].command(&["CONFIG", "GET", "cluster-port"]);
            let bus = bus.lines().nth(4).unwrap().to_owned();
            let mut port = nodes[0].port.to_string();
            if let Some(n) = nodes[0].options.iter().position(|option| option == "--tls-port") {
                port = nodes[0].options[n + 1].clone();
            }
            let met = node.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            assert!(met.starts_with("+OK"), "{met}");
        }
        let began = Instant::now();
        let known = format!("cluster_known_nodes:{count}");
        let is_ready = |node: &RedisServer| {
            let info = node.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains(&known)
        };
        while !nodes.iter().all(is_ready) {
            assert!(began.elapsed() < Duration::from_secs(20), "the cluster does not form");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self(nodes)
    }

    pub fn urls(&self) -> Vec<String> {
        self.0.iter().map(RedisServer::url).collect()
    }
}
