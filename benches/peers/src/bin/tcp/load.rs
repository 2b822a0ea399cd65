//! One load of one server by `wrk`, and what it said.

use std::io::ErrorKind;
use std::process::Command;

use crate::server::{Server, from_environment};
use crate::support::is_smoke;

#[derive(Clone, Copy)]
pub struct Load {
    pub rounds: u64,
    pub seconds: u64,
    pub connections: u64,
}

#[derive(Clone, Copy)]
pub struct Loaded {
    /// Requests per second.
    pub rate: f64,
    pub p99_millis: f64,
    /// Server CPU a request.
    pub cpu_micros: f64,
}

impl Loaded {
    /// The mean of the two.
    pub fn between(one: Self, other: Self) -> Self {
        let mean = |measure: fn(&Self) -> f64| (measure(&one) + measure(&other)) / 2.0;
        Self {
            rate: mean(|it| it.rate),
            p99_millis: mean(|it| it.p99_millis),
            cpu_micros: mean(|it| it.cpu_micros),
        }
    }
}

impl Load {
    /// These, where the environment says nothing else.
    pub fn from_environment(rounds: u64, seconds: u64) -> Self {
        let (rounds, seconds) = if is_smoke() { (1, 1) } else { (rounds, seconds) };
        Self {
            rounds: from_environment("TCP_ROUNDS", rounds),
            seconds: from_environment("TCP_SECONDS", seconds),
            connections: from_environment("TCP_CONNECTIONS", 32),
        }
    }

    pub fn on(&self, server: &Server) -> Loaded {
        let before = server.cpu_seconds();
        let output = Command::new("wrk")
            .args(["--latency", "--timeout", "10s", "-t1"])
            .arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", self.seconds))
            .args(["-H", &format!("authorization: Bearer {}", server.token)])
            .arg(format!("http://{}/orders", server.address))
            .output();
        let output = match output {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("wrk is missing: `apt-get install wrk` or `brew install wrk`, then run this again");
                std::process::exit(1);
            }
            output => output.unwrap(),
        };
        let cpu = server.cpu_seconds() - before;
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "wrk: {said}{}", String::from_utf8_lossy(&output.stderr));
        // A server that answers with errors is fast.
        assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
        let requests = said.lines().find(|line| line.contains(" requests in ")).unwrap();
        let requests: f64 = requests.split_whitespace().next().unwrap().parse().unwrap();
        let rate = said.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")).unwrap();
        let p99 = said.lines().find_map(|line| line.trim().strip_prefix("99%")).unwrap();
        Loaded {
            rate: rate.trim().parse().unwrap(),
            p99_millis: millis(p99.trim()),
            cpu_micros: cpu * 1e6 / requests,
        }
    }
}

/// wrk writes `870.00us`, `1.02ms`, `1.50s`.
fn millis(text: &str) -> f64 {
    let (number, factor) = match text {
        text if text.ends_with("us") => (&text[..text.len() - 2], 1e-3),
        text if text.ends_with("ms") => (&text[..text.len() - 2], 1.0),
        text => (text.strip_suffix('s').expect("a time"), 1e3),
    };
    number.parse::<f64>().unwrap() * factor
}
