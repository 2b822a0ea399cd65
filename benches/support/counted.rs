//! Instructions per request, counted by callgrind: what the benches `instructions` and `requirements` share.
//!
//! A count hardly varies between runs, so that growth shows which a clock on a shared machine would miss. Each path is run in a
//! process of its own, and only what [`measured`] does is counted: nothing of the start. A limit is what was measured when it
//! was set, less the floor's: a change that lowers one lowers its limit too.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each bench uses its own part")]

use std::convert::Infallible;
use std::process::{Command, ExitCode};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use tower::Service;

pub const TIMES: u64 = 100;
const TOLERANCE_PERCENT: u64 = 5;

/// A path, and its limit: instructions over the first path's.
pub type Path = (&'static str, u64);

/// Runs the path that the command line names, or each of them under valgrind. It fails where one grew past its limit by more
/// than 5 %. `budget` is of one path; it is printed, and fails nothing.
pub fn main(paths: &[Path], budget: Option<Path>, run: fn(&str)) -> ExitCode {
    let args: Vec<_> = std::env::args().collect();
    if let Some((path, _)) = args.get(1).and_then(|arg| paths.iter().find(|(path, _)| path == arg)) {
        run(path);
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--test") {
        paths.iter().for_each(|(path, _)| run(path));
        return ExitCode::SUCCESS;
    }
    compare(paths, budget)
}

fn compare(paths: &[Path], budget: Option<Path>) -> ExitCode {
    let counts: Vec<u64> = paths.iter().map(|(path, _)| instructions(path)).collect();
    let floor = counts.first().copied().unwrap_or_default();
    let mut grown = false;
    println!("{:<34}{:>12}{:>12}{:>12}", "path", "a request", "over floor", "limit");
    for (&(path, limit), count) in paths.iter().zip(counts) {
        let over = count.saturating_sub(floor);
        let ok = over * 100 <= limit * (100 + TOLERANCE_PERCENT);
        grown |= !ok;
        let grew = if ok { "" } else { "  GREW" };
        let budget = match budget {
            Some((of, budget)) if of == path && over > budget => format!("  budget {budget}: MISSED"),
            Some((of, budget)) if of == path => format!("  budget {budget}: met"),
            _ => String::new(),
        };
        println!("{path:<34}{count:>12}{over:>12}{limit:>12}{budget}{grew}");
    }
    if grown { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The mean over [`TIMES`] requests.
fn instructions(path: &str) -> u64 {
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*::counted::measured"])
        .arg(std::env::current_exe().unwrap())
        .arg(path)
        .output()
        .expect("valgrind is missing: install the package of that name");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{path}: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let count: Option<u64> = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.filter(|&count| count > 0).unwrap_or_else(|| panic!("{path}: {said}")) / TIMES
}

/// Everything that is counted happens in here.
#[inline(never)]
pub fn measured(f: &mut dyn FnMut()) {
    f();
}

pub async fn handler(_: Request<Empty<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("ok")))
}

pub fn respond<S, R>(service: &mut S, request: Request<Empty<Bytes>>) -> Response<()>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<R>>,
    S::Error: std::fmt::Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    match std::pin::pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(response) => response.unwrap().map(drop),
        Poll::Pending => panic!("nothing to wait for"),
    }
}
