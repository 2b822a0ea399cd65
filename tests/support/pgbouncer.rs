//! PgBouncer before a PostgreSQL server of the tests' own.

#[path = "ports.rs"]
#[allow(clippy::duplicate_mod, reason = "each of these files brings what it needs")]
mod ports;

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::postgres_server::{Postgres, as_unprivileged, give};

pub struct Pgbouncer {
    dir: TempDir,
    port: u16,
    server: u16,
    guard: Option<Child>,
}

impl Pgbouncer {
    /// `pool_mode`, and how many sessions of the server it shares.
    ///
    /// # Panics
    /// Where it is not installed; the message says what to install.
    pub fn before(server: &Postgres, mode: &str, sessions: u32) -> Self {
        let port = ports::free_port();
        let mut pooler = Self { dir: tempfile::tempdir().unwrap(), port, server: server.port(), guard: None };
        pooler.run_again(mode, sessions, "");
        pooler
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("postgres://tests@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it, and starts it on the same port with these settings, and more of them, a line each.
    pub fn run_again(&mut self, mode: &str, sessions: u32, more: &str) {
        self.end();
        let (settings, users) = (self.dir.path().join("settings"), self.dir.path().join("users"));
        fs::write(&users, "\"tests\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n\
             default_pool_size = {sessions}\n{more}\n",
            self.server,
            self.port,
            users.display(),
        );
        fs::write(&settings, text).unwrap();
        give(self.dir.path());
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().map(Path::new);
        let program = program.into_iter().find(|program| program.is_file());
        let program = program.expect("these tests run PgBouncer: apt-get install pgbouncer");
        let log = File::create(self.dir.path().join("log")).unwrap();
        let pooler = as_unprivileged(program);
        // The shell ends it when its standard input closes: when this process ends, however it does.
        let mut guard = Command::new("sh");
        guard.args(["-c", r#""$@" & cat >/dev/null; kill -KILL $!; wait"#, "sh"]);
        guard.arg(pooler.get_program()).args(pooler.get_args()).arg(settings);
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        self.guard = Some(guard.spawn().unwrap());
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(10), "pgbouncer did not start: {log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        self.end();
    }
}
