//! An axum server over TCP with no auth, with this layer, and with what one writes by hand: each a process of its own,
//! loaded in turns with `wrk`. Linux only, for it reads the server's CPU time from `/proc`.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin tcp
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin tcp -- connections
//! ```
//!
//! `TCP_SECONDS` (5) is the length of one load, `TCP_ROUNDS` (3) how often each server has its turn, `TCP_CONNECTIONS`
//! (32) over how many connections, `TCP_WORKERS` (1) the threads of a server. wrk has one thread, so that one core is
//! the server's and one the client's. All figures are medians of what one round says against no auth in that round.

#[path = "../../../../support/mod.rs"]
mod support;

#[path = "../../by_hand.rs"]
mod by_hand;
mod load;
mod server;

use jsonwebtoken::Algorithm;
use load::{Load, Loaded};
use server::{Kind, Server};
use support::*;

fn main() {
    use_aws_lc();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", kind, algorithm] => server::serve(Kind::named(kind), algorithm.parse().unwrap()),
        ["connections", ..] => connections(),
        [] | ["--test"] => against_no_auth(),
        _ => panic!("unknown arguments {args:?}: none, or `connections`"),
    }
}

const KINDS: [Kind; 4] = [Kind::NoAuth, Kind::Layer, Kind::Uncached, Kind::ByHand];

/// Rates of a machine with other work say nothing: whoever reads them should see that there was some.
fn tell_of_other_work() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "load average before: {} on {cores} cores; the figures want a quiet machine\n",
        load.split(' ').next().unwrap_or("?")
    );
}

/// At least so many of the requests per second of no auth; at most so much more server CPU a request.
const BUDGET_RATE: f64 = 0.97;
const BUDGET_CPU: f64 = 0.6;

fn against_no_auth() {
    let load = Load::from_environment();
    tell_of_other_work();
    println!(
        "{:<8}{:<28}{:>14}{:>12}{:>12}{:>16}{:>16}",
        "", "", "requests/s", "of no auth", "p99", "p99 of no auth", "CPU a request"
    );
    for algorithm in BUDGETED {
        let servers = KINDS.map(|kind| Server::start(kind, algorithm));
        let rounds: Vec<[Loaded; 4]> =
            (0..load.rounds).map(|_| [0, 1, 2, 3].map(|at| load.on(&servers[at]))).collect();
        for (at, kind) in KINDS.into_iter().enumerate() {
            let of = |measure: fn(&Loaded, &Loaded) -> f64| {
                median(rounds.iter().map(|round| measure(&round[at], &round[0])).collect())
            };
            let rate = of(|it, floor| it.rate / floor.rate);
            let more_cpu = of(|it, floor| it.cpu_micros - floor.cpu_micros);
            println!(
                "{:<8}{:<28}{:>14.0}{rate:>12.3}{:>9.2} ms{:>16.2}{:>16}",
                format!("{algorithm:?}"),
                kind.title(),
                of(|it, _| it.rate),
                of(|it, _| it.p99_millis),
                of(|it, floor| it.p99_millis / floor.p99_millis),
                match kind {
                    Kind::NoAuth => format!("{:.2} µs", of(|it, _| it.cpu_micros)),
                    _ => format!("+ {more_cpu:.2} µs"),
                },
            );
            if kind == Kind::Layer {
                println!(
                    "{:<8}  requests/s of no auth >= {BUDGET_RATE}: {}; CPU <= + {BUDGET_CPU} µs: {}",
                    "",
                    verdict(BUDGET_RATE, rate),
                    verdict(more_cpu, BUDGET_CPU),
                );
            }
        }
    }
}

/// The layer beside no auth as the connections grow. A row is marked where the layer costs more than twice the one before.
fn connections() {
    let load = Load::from_environment();
    tell_of_other_work();
    println!(
        "{:<14}{:>18}{:>18}{:>12}{:>20}",
        "connections", "no auth, req/s", "layer, req/s", "ratio", "CPU a request"
    );
    let servers = [Kind::NoAuth, Kind::Layer].map(|kind| Server::start(kind, Algorithm::RS256));
    let mut before = f64::INFINITY;
    for connections in [1, 10, 100, 1_000, 5_000] {
        let load = Load { connections, ..load };
        let rounds: Vec<[Loaded; 2]> =
            (0..load.rounds).map(|_| [0, 1].map(|at| load.on(&servers[at]))).collect();
        let of = |measure: fn(&[Loaded; 2]) -> f64| median(rounds.iter().map(measure).collect());
        let more_cpu = of(|round| round[1].cpu_micros - round[0].cpu_micros);
        println!(
            "{connections:<14}{:>18.0}{:>18.0}{:>12.3}{:>20}{}",
            of(|round| round[0].rate),
            of(|round| round[1].rate),
            of(|round| round[1].rate / round[0].rate),
            format!("+ {more_cpu:.2} µs"),
            // Half a microsecond is what the clock of a process can tell apart.
            if more_cpu > 2.0 * before.max(0.5) { "   cliff" } else { "" },
        );
        before = more_cpu;
    }
}
