//! What a store costs: `cargo bench --bench store --features redis`. With that feature it starts its own
//! `redis-server`.
//!
//! A plain program: operations take microseconds to a millisecond, and round trips are counted beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

#[cfg(feature = "redis")]
#[path = "../tests/support/servers.rs"]
mod servers;

use std::time::{Duration, Instant};

use tower_reissue::store::{
    Cached, ClaimsStore, MemoryStore, Presented, Revocation, Rotated, Rotation, SessionId, Standing,
    SubjectId, TokenId,
};
use tower_reissue::{Clock as _, NumericDate, SystemClock};

/// `--test`, as `cargo test --benches` says it: once, to see that it answers.
fn rounds() -> u64 {
    if std::env::args().any(|arg| arg == "--test") { 3 } else { 2_000 }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        println!("{:<28} {:<24} {:>12} {:>12}", "store", "operation", "median", "round trips");
        let none = || None;
        measure("memory", &MemoryStore::new(), none).await;
        measure("cached memory", &Cached::new(MemoryStore::new()), none).await;
        #[cfg(feature = "redis")]
        {
            use tower_reissue::store::RedisStore;
            let server = servers::RedisServer::start(&[]);
            let proxy = servers::Proxy::before(server.port()).await;
            // Timed without the proxy in the way, and counted with it. A prefix each, so that sessions never meet.
            let direct = |prefix: &str| RedisStore::connect(server.url()).with_prefix(prefix);
            let counted = |prefix: &str| RedisStore::connect(proxy.url()).with_prefix(prefix);
            measure("redis", &direct("a").await.unwrap(), none).await;
            measure("cached redis", &Cached::new(direct("b").await.unwrap()), none).await;
            measure("redis, counted", &counted("c").await.unwrap(), || Some(proxy.turns())).await;
            let cached = Cached::new(counted("d").await.unwrap());
            measure("cached redis, counted", &cached, || Some(proxy.turns())).await;
        }
    });
}

async fn measure<S: ClaimsStore>(name: &str, store: &S, turns: impl Fn() -> Option<u64>) {
    let rounds = rounds();
    let now = SystemClock.now().as_secs() + 60;
    let now_is = NumericDate::from_secs(now);
    let until = NumericDate::from_secs(now + 3600);
    let presented = |session: u64, token: u64| {
        let subject = Some(SubjectId::from_bytes(id(2, session)));
        let (session, token) = (SessionId::from_bytes(id(1, session)), TokenId::from_bytes(id(3, token)));
        Presented::new(session, token, subject, now_is, now_is)
    };
    let claims = format!("{{\"private\":\"{}\"}}", "x".repeat(400));
    // Before anything is timed, so that every script is known.
    let sign_in = |n| Rotation::sign_in(presented(n, 0), claims.as_str(), until);
    store.rotate(sign_in(u64::MAX)).await.unwrap();
    let session = Revocation::Session(presented(u64::MAX, 0).session);
    store.revoke(session, now_is, until).await.unwrap();
    assert_eq!(store.standing(&presented(u64::MAX, 0)).await.unwrap(), Standing::Revoked);

    let mut times = Times::begin(name, "sign-in", &turns);
    for n in 0..rounds {
        let began = Instant::now();
        let rotated = store.rotate(sign_in(n)).await.unwrap();
        times.add(began);
        assert_eq!(rotated, Rotated::Recorded);
    }
    times.report();

    let mut times = Times::begin(name, "admission, first sight", &turns);
    for n in 0..rounds {
        let began = Instant::now();
        let standing = store.standing(&presented(n, 0)).await.unwrap();
        times.add(began);
        assert_eq!(standing, Standing::Live);
    }
    times.report();

    let mut times = Times::begin(name, "admission, warm", &turns);
    for n in 0..rounds {
        let presented = presented(n, 0);
        let began = Instant::now();
        let standing = match store.standing_now(&presented) {
            Some(standing) => standing,
            None => store.standing(&presented).await.unwrap(),
        };
        times.add(began);
        assert_eq!(standing, Standing::Live);
    }
    times.report();

    let mut times = Times::begin(name, "rotation", &turns);
    for n in 0..rounds {
        let successor = TokenId::from_bytes(id(3, 1));
        let renewal = Rotation::renewal(presented(n, 0), successor, claims.as_str(), until);
        let began = Instant::now();
        let rotated = store.rotate(renewal).await.unwrap();
        times.add(began);
        assert_eq!(rotated, Rotated::Recorded);
    }
    times.report();

    let mut times = Times::begin(name, "revocation", &turns);
    for n in 0..rounds {
        let began = Instant::now();
        store.revoke(Revocation::Session(presented(n, 0).session), now_is, until).await.unwrap();
        times.add(began);
    }
    times.report();
    assert_eq!(store.standing(&presented(0, 1)).await.unwrap(), Standing::Revoked);
}

struct Times<'a> {
    name: &'a str,
    operation: &'a str,
    turns: &'a dyn Fn() -> Option<u64>,
    turns_before: Option<u64>,
    taken: Vec<Duration>,
}

impl<'a> Times<'a> {
    fn begin(name: &'a str, operation: &'a str, turns: &'a dyn Fn() -> Option<u64>) -> Self {
        Self { name, operation, turns, turns_before: turns(), taken: Vec::new() }
    }

    fn add(&mut self, began: Instant) {
        self.taken.push(began.elapsed());
    }

    fn report(mut self) {
        self.taken.sort();
        let turns = match ((self.turns)(), self.turns_before) {
            (Some(after), Some(before)) => {
                format!("{:.3}", (after - before) as f64 / self.taken.len() as f64)
            }
            _ => "-".to_owned(),
        };
        let median = self.taken[self.taken.len() / 2];
        println!("{:<28} {:<24} {:>12} {turns:>12}", self.name, self.operation, format!("{median:.1?}"));
    }
}

fn id(kind: u8, n: u64) -> [u8; 32] {
    let mut id = [kind; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..16].copy_from_slice(&n.to_be_bytes());
    id
}
