//! An example as its reader runs it: a process of its own, over a real socket.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

/// The example's binary, without the settings of whoever runs the tests.
pub fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "{} is absent: `cargo build --examples` makes it", path.display());
    let mut command = Command::new(path);
    let prefixes = ["AIRFLOW__", "EXECUTION__", "LANGFLOW_", "REISSUE__"];
    let is_setting = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

pub fn succeeded(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{stdout}{}", output.status, stderr(output));
    stdout
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs printed commands in one shell, as a person pastes them.
pub fn paste(commands: &str) -> String {
    let curl = Command::new("curl").arg("--version").output();
    assert!(
        curl.is_ok_and(|output| output.status.success()),
        "this test needs curl: install the package `curl`"
    );
    // Standard output alone: curl's progress goes to the other.
    let output = Command::new("sh").args(["-c", commands]).output().unwrap();
    succeeded(&output).replace('\r', "")
}

/// An example that serves; ended with the test.
pub struct Server {
    pub process: Child,
    pub stdout: BufReader<ChildStdout>,
    pub address: String,
}

impl Server {
    /// Waits for the first line, which names the address.
    pub fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let address = first.trim_end().strip_prefix("listening on http://").unwrap_or_else(|| {
            panic!("the first line is {first:?}");
        });
        Self { process, address: address.to_owned(), stdout }
    }

    /// The indented lines of what it prints, up to the line that holds `last`.
    pub fn commands(&mut self, last: &str) -> String {
        let mut commands = String::new();
        for line in self.stdout.by_ref().lines() {
            let line = line.unwrap();
            if line.contains(last) {
                break;
            }
            if line.starts_with("  ") {
                commands.push_str(&line);
                commands.push('\n');
            }
        }
        commands
    }

    /// One request on a connection of its own, its header fields as they are given.
    pub fn send(&self, method: &str, path: &str, headers: &str) -> Answer {
        self.send_body(method, path, headers, "")
    }

    /// The same with a JSON body.
    pub fn send_body(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        self.exchange(method, path, &format!("Content-Type: application/json\r\n{headers}"), body)
    }

    pub fn exchange(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let mut connection = TcpStream::connect(&self.address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(
            connection,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n\
             {headers}\r\n\r\n{body}",
            self.address
        )
        .unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let (status, fields) = head.split_once("\r\n").unwrap();
        Answer {
            status: status.split(' ').nth(1).unwrap().parse().unwrap(),
            fields: fields.to_owned(),
            body: body.to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub struct Answer {
    pub status: u16,
    pub fields: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<String> {
        let mut values = self
            .fields
            .lines()
            .filter_map(|field| field.split_once(": "))
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.to_owned());
        assert!(values.next().is_none(), "{name} twice");
        value
    }

    pub fn successor(&self) -> Option<String> {
        self.header("refreshed-api-token")
    }
}
