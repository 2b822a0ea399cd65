//! An axum server over TCP with no auth, with a layer that wraps the body, with this layer, and with what one writes by hand:
//! each a process of its own, loaded in turns with `wrk`. Linux only, for it reads the server's CPU time from `/proc`.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin tcp
//! TCP_ROUNDS=25 cargo run --release --manifest-path benches/peers/Cargo.toml --bin tcp -- RS256
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin tcp -- connections
//! ```
//!
//! An algorithm (HS256, RS256, ES256, EdDSA) runs alone, for more turns in the same time. `connections` is RS256's.
//!
//! `TCP_SECONDS` (1; 4 for `connections`) is the length of one load, `TCP_ROUNDS` (7; 3) how often each server has its turn,
//! `TCP_CONNECTIONS` (32) over how many connections (but for `connections`), `TCP_WORKERS` (1) the threads of a server. wrk has
//! one thread, so that one core is the server's and one the client's.
//!
//! A machine's speed changes within seconds: each turn is held against those of no auth just before it and just after it.
//! Printed are medians, and for the rates the quartiles. The row of no auth holds its own turns against each other: so much
//! do equal servers differ.

#[path = "../../../../support/mod.rs"]
mod support;

#[path = "../../by_hand.rs"]
mod by_hand;
mod load;
mod server;

use load::{Load, Loaded};
use server::{Kind, Server};
use support::*;
use tower_reissue::Algorithm;

fn main() {
    use_aws_lc();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        // How `Server::start` starts this program again.
        ["serve", kind, algorithm] => server::serve(Kind::named(kind), algorithm.parse().unwrap()),
        ["connections", ..] => connections(),
        [] | ["--test"] => against_no_auth(&BUDGETED),
        [algorithm] => against_no_auth(&[algorithm.parse().expect("an algorithm, or `connections`")]),
        _ => panic!("unknown arguments {args:?}: none, an algorithm, or `connections`"),
    }
}

const BESIDE_NO_AUTH: [Kind; 4] = [Kind::BodyLayer, Kind::Layer, Kind::Uncached, Kind::ByHand];

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

fn against_no_auth(algorithms: &[Algorithm]) {
    let load = Load::from_environment(7, 1);
    tell_of_other_work();
    println!(
        "{:<8}{:<28}{:>11}{:>12}{:>16}{:>12}{:>16}{:>16}",
        "", "", "requests/s", "/ no auth", "(quartiles)", "p99", "p99 / no auth", "CPU a request"
    );
    for &algorithm in algorithms {
        let no_auth = Server::start(Kind::NoAuth, algorithm);
        let (no_auths, turns) =
            in_turns(load, &no_auth, &BESIDE_NO_AUTH.map(|kind| Server::start(kind, algorithm)));
        print_row(algorithm, Kind::NoAuth, &no_auths);
        for (kind, turns) in BESIDE_NO_AUTH.into_iter().zip(&turns) {
            print_row(algorithm, kind, turns);
            if kind == Kind::Layer {
                println!(
                    "{:<8}  requests/s / no auth >= {BUDGET_RATE}: {}; CPU <= + {BUDGET_CPU} µs: {}",
                    "",
                    verdict(BUDGET_RATE, median_of(turns, Turn::rate)),
                    verdict(median_of(turns, Turn::more_cpu), BUDGET_CPU),
                );
            }
        }
    }
}

/// One load of a server, and what no auth did around it.
struct Turn {
    load: Loaded,
    floor: Loaded,
}

impl Turn {
    fn rate(&self) -> f64 {
        self.load.rate / self.floor.rate
    }

    fn more_cpu(&self) -> f64 {
        self.load.cpu_micros - self.floor.cpu_micros
    }
}

/// Loads each server in its turn, and no auth before and after each. The turns of no auth, each held against the one
/// before it, say how much two equal servers differ on this machine.
fn in_turns<const N: usize>(
    load: Load,
    no_auth: &Server,
    servers: &[Server; N],
) -> (Vec<Turn>, [Vec<Turn>; N]) {
    let mut before = load.on(no_auth);
    let (mut floor, mut turns) = (Vec::new(), [const { Vec::new() }; N]);
    for _ in 0..load.rounds {
        for (server, turns) in servers.iter().zip(&mut turns) {
            let loaded = load.on(server);
            let after = load.on(no_auth);
            turns.push(Turn { load: loaded, floor: Loaded::between(before, after) });
            floor.push(Turn { load: after, floor: before });
            before = after;
        }
    }
    (floor, turns)
}

fn median_of(turns: &[Turn], measure: impl Fn(&Turn) -> f64) -> f64 {
    median(turns.iter().map(measure).collect())
}

fn print_row(algorithm: Algorithm, kind: Kind, turns: &[Turn]) {
    let of = |measure: fn(&Turn) -> f64| median_of(turns, measure);
    let mut rates: Vec<f64> = turns.iter().map(Turn::rate).collect();
    rates.sort_by(f64::total_cmp);
    let quarter = rates.len() / 4;
    println!(
        "{:<8}{:<28}{:>11.0}{:>12.3}{:>16}{:>9.2} ms{:>16.2}{:>16}",
        format!("{algorithm:?}"),
        kind.title(),
        of(|turn| turn.load.rate),
        of(Turn::rate),
        format!("{:.2} - {:.2}", rates[quarter], rates[rates.len() - 1 - quarter]),
        of(|turn| turn.load.p99_millis),
        of(|turn| turn.load.p99_millis / turn.floor.p99_millis),
        match kind {
            Kind::NoAuth => format!("{:.2} µs", of(|turn| turn.load.cpu_micros)),
            _ => format!("{:+.2} µs", of(Turn::more_cpu)),
        },
    );
}

/// The layer beside no auth as the connections grow. A row is marked `cliff` where the layer costs more than twice the one
/// before.
fn connections() {
    // Five thousand take a while to connect.
    let load = Load::from_environment(3, 4);
    tell_of_other_work();
    println!(
        "{:<14}{:>18}{:>18}{:>12}{:>20}",
        "connections", "no auth, req/s", "layer, req/s", "ratio", "CPU a request"
    );
    let no_auth = Server::start(Kind::NoAuth, Algorithm::RS256);
    let layer = [Server::start(Kind::Layer, Algorithm::RS256)];
    let mut before = f64::INFINITY;
    for connections in [1, 10, 100, 1_000, 5_000] {
        let (_, [turns]) = in_turns(Load { connections, ..load }, &no_auth, &layer);
        let more_cpu = median_of(&turns, Turn::more_cpu);
        println!(
            "{connections:<14}{:>18.0}{:>18.0}{:>12.3}{:>20}{}",
            median_of(&turns, |turn| turn.floor.rate),
            median_of(&turns, |turn| turn.load.rate),
            median_of(&turns, Turn::rate),
            format!("{more_cpu:+.2} µs"),
            // Less than half a microsecond is noise.
            if more_cpu > 2.0 * before.max(0.5) { "   cliff" } else { "" },
        );
        before = more_cpu;
    }
}
