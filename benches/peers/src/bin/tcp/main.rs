//! An axum server over TCP with no auth, with a layer that does nothing, with this layer, and with what one writes by hand:
//! each a process of its own, loaded in turns with `wrk`. Linux only, for it reads the server's CPU time from `/proc`.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin tcp
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin tcp -- connections
//! ```
//!
//! `TCP_SECONDS` (1) is the length of one load, `TCP_ROUNDS` (7) how often each server has its turn, `TCP_CONNECTIONS`
//! (32) over how many connections, `TCP_WORKERS` (1) the threads of a server. wrk has one thread, so that one core is
//! the server's and one the client's.
//!
//! A machine's speed changes within seconds: each turn is held against those of no auth just before it and just after it.
//! The medians of that are printed, and the quartiles beside the rates.

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

const KINDS: [Kind; 4] = [Kind::EmptyLayer, Kind::Layer, Kind::Uncached, Kind::ByHand];

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
        "{:<8}{:<28}{:>11}{:>12}{:>16}{:>12}{:>16}{:>16}",
        "", "", "requests/s", "of no auth", "(quartiles)", "p99", "p99 of no auth", "CPU a request"
    );
    for algorithm in BUDGETED {
        let no_auth = Server::start(Kind::NoAuth, algorithm);
        let servers = KINDS.map(|kind| Server::start(kind, algorithm));
        let mut floors = vec![load.on(&no_auth)];
        let mut turns = KINDS.map(|_| Vec::new());
        for _ in 0..load.rounds {
            for (server, turns) in servers.iter().zip(&mut turns) {
                let it = load.on(server);
                floors.push(load.on(&no_auth));
                turns.push(Turn { it, floor: Loaded::mean(&floors[floors.len() - 2..]) });
            }
        }
        let no_auth: Vec<Turn> = floors.iter().map(|&it| Turn { it, floor: it }).collect();
        row(algorithm, Kind::NoAuth, &no_auth);
        for (kind, turns) in KINDS.into_iter().zip(&turns) {
            let (of_floor, more_cpu) = row(algorithm, kind, turns);
            if kind == Kind::Layer {
                println!(
                    "{:<8}  requests/s of no auth >= {BUDGET_RATE}: {}; CPU <= + {BUDGET_CPU} µs: {}",
                    "",
                    verdict(BUDGET_RATE, of_floor),
                    verdict(more_cpu, BUDGET_CPU),
                );
            }
        }
    }
}

/// One load, and no auth around it.
struct Turn {
    it: Loaded,
    floor: Loaded,
}

/// Prints a server's row; its rate against the floor's, and its further CPU a request.
fn row(algorithm: Algorithm, kind: Kind, turns: &[Turn]) -> (f64, f64) {
    let all = |measure: fn(&Turn) -> f64| {
        let mut all: Vec<f64> = turns.iter().map(measure).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let of = |measure: fn(&Turn) -> f64| median(all(measure));
    let rates = all(|Turn { it, floor }| it.rate / floor.rate);
    let (of_floor, quarter) = (median(rates.clone()), rates.len() / 4);
    let more_cpu = of(|Turn { it, floor }| it.cpu_micros - floor.cpu_micros);
    println!(
        "{:<8}{:<28}{:>11.0}{of_floor:>12.3}{:>16}{:>9.2} ms{:>16.2}{:>16}",
        format!("{algorithm:?}"),
        kind.title(),
        of(|turn| turn.it.rate),
        format!("{:.2} - {:.2}", rates[quarter], rates[rates.len() - 1 - quarter]),
        of(|turn| turn.it.p99_millis),
        of(|Turn { it, floor }| it.p99_millis / floor.p99_millis),
        match kind {
            Kind::NoAuth => format!("{:.2} µs", of(|turn| turn.it.cpu_micros)),
            _ => format!("{more_cpu:+.2} µs"),
        },
    );
    (of_floor, more_cpu)
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
