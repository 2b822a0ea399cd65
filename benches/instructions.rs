//! Instructions per request on the hot paths, counted by callgrind: `cargo bench --bench instructions`. It fails where a
//! path grew past its limit by more than 5 %. Needs `valgrind`.
//!
//! A count hardly varies between runs, so that growth shows which a clock on a shared machine would miss. Each path is
//! run in a process of its own, and only what [`measured`] does is counted: nothing of the start.
//! A limit is what was measured when it was set, less the floor's: a change that lowers one lowers its limit too.
#![allow(missing_docs, clippy::unwrap_used)]

use std::convert::Infallible;
use std::process::{Command, ExitCode};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tower::util::service_fn;
use tower::{Layer, Service};
use tower_reissue::store::MemoryStore;
use tower_reissue::{Algorithm, Authority, Login, ManualClock, ReissueLayer, SigningKey};

/// What a token seen before may cost over the floor; it is printed, and fails nothing. The request extension alone takes some
/// 670.
const BUDGET: (&str, u64) = ("seen before", 1_500);

/// Each path and its limit: instructions over the floor.
const PATHS: [(&str, u64); 8] = [
    ("floor", 0),
    ("seen before", 1_455),
    ("seen before, 17 fields", 6_469),
    ("seen before, memory store", 1_499),
    ("first sight", 25_642),
    ("renewed", 2_810),
    ("first sight, renewed", 57_256),
    ("refused", 22_930),
];

const TIMES: u64 = 100;
const TOLERANCE_PERCENT: u64 = 5;
const SECRET: &[u8] = b"owls hunt mice while fog drifts.";
const BORN: u64 = 1_800_000_000;
const LIFETIME: u64 = 600;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().collect();
    if let Some((path, _)) = args.get(1).and_then(|arg| PATHS.iter().find(|(path, _)| path == arg)) {
        run(path);
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--test") {
        PATHS.iter().for_each(|(path, _)| run(path));
        return ExitCode::SUCCESS;
    }
    compare()
}

fn compare() -> ExitCode {
    let counts = PATHS.map(|(path, _)| instructions(path));
    let [floor, ..] = counts;
    let mut grown = false;
    println!("{:<28}{:>12}{:>12}{:>12}", "path", "a request", "over floor", "limit");
    for ((path, limit), count) in PATHS.into_iter().zip(counts) {
        let over = count.saturating_sub(floor);
        let ok = over * 100 <= limit * (100 + TOLERANCE_PERCENT);
        grown |= !ok;
        let grew = if ok { "" } else { "  GREW" };
        let budget = match BUDGET {
            (of, budget) if of == path && over > budget => format!("  budget {budget}: MISSED"),
            (of, budget) if of == path => format!("  budget {budget}: met"),
            _ => String::new(),
        };
        println!("{path:<28}{count:>12}{over:>12}{limit:>12}{budget}{grew}");
    }
    if grown { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The mean over [`TIMES`] requests.
fn instructions(path: &str) -> u64 {
    let done = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=instructions::measured",
        ])
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

type Answer = Result<Response<Full<Bytes>>, Infallible>;

async fn handler(_: Request<Empty<Bytes>>) -> Answer {
    Ok(Response::new(Full::from("ok")))
}

/// The fields that a browser sends beside the token's: most of what they cost over the floor is that they are dropped.
const A_BROWSERS: [&str; 16] = [
    "host",
    "connection",
    "content-length",
    "sec-ch-ua-platform",
    "user-agent",
    "accept",
    "sec-ch-ua",
    "content-type",
    "sec-ch-ua-mobile",
    "origin",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "referer",
    "accept-encoding",
    "accept-language",
];

fn run(path: &str) {
    let clock = ManualClock::at(BORN);
    let authority =
        Authority::builder(SigningKey::from_secret(Algorithm::HS256, SECRET).unwrap().with_kid("k"))
            .issuer("https://login.example")
            .audience("orders")
            .lifetime(Duration::from_secs(LIFETIME))
            .max_session_lifetime(Duration::from_secs(86_400))
            .token_cache_bytes(if path.starts_with("first sight") { 0 } else { 64 << 20 })
            .clock(clock.clone());
    let authority = match path {
        "seen before, memory store" => authority.store(MemoryStore::new()),
        _ => authority,
    };
    let authority = authority.build().unwrap();
    let token = authority.issue(Login::new("alice")).now_or_never().unwrap().unwrap();
    let bearer = match path {
        "refused" => format!("Bearer {}AAAA", &token.as_str()[..token.as_str().len() - 4]),
        _ => format!("Bearer {}", token.as_str()),
    };
    let is_due = path.ends_with("renewed");
    if is_due {
        clock.advance(LIFETIME - 1);
    }
    let expected = if path == "refused" { StatusCode::UNAUTHORIZED } else { StatusCode::OK };

    let mut floor = service_fn(handler);
    let mut layered = ReissueLayer::new(authority).layer(service_fn(handler));
    let mut answer = |count: fn(&mut dyn FnMut())| {
        let mut request = Request::builder().uri("/orders");
        if path.ends_with("fields") {
            request = A_BROWSERS.iter().fold(request, |request, name| request.header(*name, "something"));
        }
        let request = request.header(AUTHORIZATION, &bearer).body(Empty::new()).unwrap();
        let (mut request, mut answered) = (Some(request), None);
        count(&mut || {
            let request = request.take().unwrap();
            answered = Some(match path {
                "floor" => respond(&mut floor, request),
                _ => respond(&mut layered, request),
            });
        });
        let answered = answered.unwrap();
        assert_eq!(answered.status(), expected);
        assert_eq!(answered.headers().contains_key("refreshed-api-token"), is_due);
    };
    // Caches are filled and lazy things made before the count begins.
    answer(|f| f());
    for _ in 0..TIMES {
        answer(measured);
    }
}

/// Everything that is counted happens in here.
#[inline(never)]
fn measured(f: &mut dyn FnMut()) {
    f();
}

fn respond<S, R>(service: &mut S, request: Request<Empty<Bytes>>) -> Response<()>
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
