//! A PostgreSQL server of the tests' own: fresh data, a free port of the loopback, gone with the test process.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "ports.rs"]
#[allow(clippy::duplicate_mod, reason = "each of these files brings what it needs")]
mod ports;

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub struct Postgres {
    dir: TempDir,
    port: u16,
    guard: Mutex<Option<Child>>,
    counts: bool,
}

impl Postgres {
    /// Makes a cluster and starts it.
    ///
    /// # Panics
    /// Where PostgreSQL is not installed; the message says what to install.
    pub fn start() -> Self {
        Self::start_with(&[], false)
    }

    /// The same, with `pg_stat_statements` to be had.
    pub fn start_counting() -> Self {
        Self::start_with(&[], true)
    }

    /// The same, with its log of changes, in segments of 1 MiB, in another directory.
    pub fn start_with_log_in(dir: &Path) -> Self {
        let dir = dir.join("wal");
        fs::create_dir(&dir).unwrap();
        give(&dir);
        Self::start_with(&["--wal-segsize=1", &format!("--waldir={}", dir.display())], false)
    }

    fn start_with(options: &[&str], counts: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (data, sockets) = (dir.path().join("data"), dir.path().join("sockets"));
        for part in [&data, &sockets] {
            fs::create_dir_all(part).unwrap();
        }
        give(dir.path());
        run(as_unprivileged(&tool("initdb"))
            .args(["--username=tests", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .args(options)
            .arg("-D")
            .arg(&data));
        let port = ports::free_port();
        let server = Self { dir, port, guard: Mutex::new(None), counts };
        server.run_again();
        server
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// By another port: a proxy's.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://tests@127.0.0.1:{port}/postgres")
    }

    /// From now on this user, who need not exist yet, must know a password.
    pub fn ask_for_password(&self, user: &str) {
        let file = self.dir.path().join("data/pg_hba.conf");
        let rules = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("host all {user} 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
        signal("HUP", &[self.pid()]);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it on the same data, and waits until it answers.
    pub fn run_again(&self) {
        let server = as_unprivileged(&tool("postgres"));
        // The shell ends the server when its standard input closes: when this process does, however it ends. In a
        // group of its own, or it would be ended with it.
        let script = format!(
            r#"dir=$1; shift; "$@" >"$dir/log" 2>&1 & echo $! >"$dir/pid.new"; mv "$dir/pid.new" "$dir/pid"; cat >/dev/null
            {}; rm -rf "$dir""#,
            r#"kill -CONT $(cat "/proc/$!/task/$!/children") $! ; kill -QUIT $! && wait $!"#
        );
        let mut guard = Command::new("sh");
        guard
            .args(["-c", &script, "sh"])
            .arg(self.dir.path())
            .arg(server.get_program())
            .args(server.get_args());
        guard.arg("-D").arg(self.dir.path().join("data"));
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.dir.path().join("sockets").display()),
            "fsync=on".to_owned(),
            "shared_buffers=32MB".to_owned(),
            "max_connections=200".to_owned(),
            format!("shared_preload_libraries={}", if self.counts { "pg_stat_statements" } else { "" }),
        ] {
            guard.arg("-c").arg(setting);
        }
        let _ = fs::remove_file(self.dir.path().join("pid"));
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let guard = guard.spawn().unwrap();
        if let Some(old) = self.guard().replace(guard) {
            // Its server is gone; its clean-up must not run.
            let mut old = old;
            let _ = old.kill();
            let _ = old.wait();
        }
        let begun = Instant::now();
        while !self.answers() {
            assert!(begun.elapsed() < Duration::from_secs(30), "postgres did not start: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it on the same data as a standby, until it is promoted. Its primary never answers.
    pub fn become_standby(&self) {
        let signal = self.dir.path().join("data/standby.signal");
        fs::write(&signal, "").unwrap();
        give(&signal);
        self.run_again();
    }

    /// Ends the server and all its processes at once, as a crash of the machine's would.
    pub fn crash(&self) {
        let mut processes = self.children();
        processes.push(self.pid());
        signal("KILL", &processes);
        let begun = Instant::now();
        while processes.iter().any(|pid| is_running(*pid)) {
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops every process of it where it stands; the port still accepts.
    pub fn freeze(&self) {
        signal("STOP", &[self.pid()]);
        signal("STOP", &self.children());
    }

    pub fn thaw(&self) {
        signal("CONT", &self.children());
        signal("CONT", &[self.pid()]);
    }

    pub fn answers(&self) -> bool {
        let ready = Command::new(tool("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .status();
        ready.unwrap().success()
    }

    fn pid(&self) -> u32 {
        fs::read_to_string(self.dir.path().join("pid")).unwrap().trim().parse().unwrap()
    }

    fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn guard(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard().take() {
            let _ = guard.stdin.take().unwrap().flush();
            let _ = guard.wait();
        }
    }
}

fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian = debian.map(|version| version.path().join("bin")).collect::<Vec<_>>();
    debian.sort();
    let found = in_path.into_iter().chain(debian.into_iter().rev()).map(|dir| dir.join(name));
    found.into_iter().find(|file| file.is_file()).unwrap_or_else(|| {
        panic!(
            "these tests start a PostgreSQL of their own and found no `{name}`: apt-get install postgresql"
        )
    })
}

/// The server refuses to run as root: somebody else then, and their group.
fn unprivileged() -> Option<(&'static str, String)> {
    let id = |args: &[&str]| {
        let output = Command::new("id").args(args).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    if id(&["-u"]).as_deref() != Some("0") {
        return None;
    }
    let user = ["postgres", "nobody"].into_iter().find_map(|user| Some((user, id(&["-g", user])?)));
    Some(user.expect("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`"))
}

/// To the user that the server runs as.
pub fn give(dir: &Path) {
    if let Some((user, _)) = unprivileged() {
        run(Command::new("chown").arg("-R").arg(user).arg(dir));
    }
}

pub fn as_unprivileged(program: &Path) -> Command {
    let Some((user, group)) = unprivileged() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups");
    command.arg(program).current_dir("/");
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn signal(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(u32::to_string).collect::<Vec<_>>();
    // A process that went by itself in the meantime is no matter.
    let _ = Command::new("sh")
        .arg("-c")
        .arg(format!("for pid in {}; do kill -{name} $pid; done", pids.join(" ")))
        .stderr(Stdio::null())
        .status();
}

fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}
