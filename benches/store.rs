//! What a store costs: `cargo bench --bench store --features redis,sqlite,postgres`. It starts servers of its own.
//!
//! A plain program: operations take microseconds to milliseconds. What they ask is counted beside them, and asserted:
//! round trips to Redis, in a run of their own behind a proxy, and statements that PostgreSQL says it executed, but for
//! those that remove expired rows behind every sixteenth write.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
#![cfg_attr(
    not(any(feature = "redis", feature = "postgres")),
    allow(dead_code, reason = "nothing is counted")
)]

#[cfg(feature = "postgres")]
#[path = "../tests/support/postgres.rs"]
mod postgres;
#[cfg(feature = "redis")]
#[path = "../tests/support/proxy.rs"]
mod proxy;
#[cfg(feature = "redis")]
#[path = "../tests/support/servers.rs"]
mod servers;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use tower_reissue::store::{
    Cached, ClaimsStore, MemoryStore, Presented, Retention, Revocation, Rotated, Rotation, SessionId,
    Standing, SubjectId, TokenId,
};
use tower_reissue::{Clock as _, NumericDate, SystemClock};

/// `--test`, as `cargo test --benches` says it: once, to see that it answers.
fn rounds() -> u64 {
    if std::env::args().any(|arg| arg == "--test") { 3 } else { 2_000 }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        println!("{:<26} {:<24} {:>12} {:>12}", "store", "operation", "median", "questions");
        measure("memory", &MemoryStore::new(), &Count::Nothing, NONE).await;
        measure("cached memory", &Cached::new(MemoryStore::new()), &Count::Nothing, NONE).await;
        #[cfg(feature = "redis")]
        redis().await;
        #[cfg(feature = "sqlite")]
        sqlite().await;
        #[cfg(feature = "postgres")]
        postgresql().await;
    });
}

/// What each operation may ask, in the order in which they are measured.
type Questions = [f64; 5];
const NONE: Questions = [0.0; 5];

// Prefixes, so that sessions never meet.

#[cfg(feature = "redis")]
async fn redis() {
    use tower_reissue::store::RedisStore;
    let server = servers::RedisServer::start(&[]);
    let proxy = proxy::Proxy::before(server.port()).await;
    // Timed without the proxy in the way, and counted with it.
    let direct = async |prefix| RedisStore::connect(server.url()).with_prefix(prefix).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let counted = async |prefix| RedisStore::connect(&url).with_prefix(prefix).await.unwrap();
    measure("redis", &direct("a").await, &Count::Nothing, NONE).await;
    measure("cached redis", &Cached::new(direct("b").await), &Count::Nothing, NONE).await;
    let (count, plain) = (Count::Turns(&proxy), [1.0, 1.0, 1.0, 1.0, 1.0]);
    measure("redis, counted", &counted("c").await, &count, plain).await;
    let cached = Cached::new(counted("d").await);
    measure("cached redis, counted", &cached, &count, [1.0, 1.0, 0.0, 1.0, 1.0]).await;
}

#[cfg(feature = "sqlite")]
async fn sqlite() {
    use tower_reissue::store::SqlStore;
    let dir = tempfile::tempdir().unwrap();
    let open = async |name| SqlStore::sqlite(dir.path().join(name).to_str().unwrap()).await.unwrap();
    measure("sqlite", &open("plain.db").await, &Count::Nothing, NONE).await;
    measure("cached sqlite", &Cached::new(open("cached.db").await), &Count::Nothing, NONE).await;
}

#[cfg(feature = "postgres")]
async fn postgresql() {
    use sqlx::Executor as _;
    use tower_reissue::store::SqlStore;
    let server = postgres::Postgres::start_counting();
    let pool = sqlx::PgPool::connect(&server.url()).await.unwrap();
    pool.execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
    let open = async |prefix| SqlStore::builder().table_prefix(prefix).postgres(server.url()).await.unwrap();
    let statements = |prefix| Count::Statements { pool: pool.clone(), prefix };
    let plain = [2.0, 1.0, 1.0, 1.0, 2.0];
    measure("postgresql", &open("plain_").await, &statements("plain_"), plain).await;
    let cached = Cached::new(open("cached_").await).hearing_revocations().await.unwrap();
    measure("cached postgresql", &cached, &statements("cached_"), [2.0, 1.0, 0.0, 1.0, 2.0]).await;
}

/// What is counted.
enum Count<'a> {
    Nothing,
    #[cfg(feature = "redis")]
    Turns(&'a proxy::Proxy),
    #[cfg(feature = "postgres")]
    Statements {
        pool: sqlx::PgPool,
        prefix: &'a str,
    },
    #[cfg(not(any(feature = "redis", feature = "postgres")))]
    Never(std::convert::Infallible, std::marker::PhantomData<&'a ()>),
}

impl Count<'_> {
    async fn now(&self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            #[cfg(feature = "redis")]
            Self::Turns(proxy) => Some(proxy.turns()),
            #[cfg(feature = "postgres")]
            Self::Statements { pool, prefix } => {
                let asked = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements \
                             WHERE strpos(query, $1) > 0 AND query NOT SIMILAR TO '(DELETE|UPDATE)%'";
                let calls: i64 = sqlx::query_scalar(asked).bind(prefix).fetch_one(pool).await.unwrap();
                Some(calls as u64)
            }
            #[cfg(not(any(feature = "redis", feature = "postgres")))]
            Self::Never(never, _) => match *never {},
        }
    }
}

async fn measure<S: ClaimsStore>(name: &str, store: &S, count: &Count<'_>, questions: Questions) {
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
    let retention = Retention::new(now_is, 0, 3600);
    store.revoke(session, retention).await.unwrap();
    assert_eq!(store.standing(&presented(u64::MAX, 0)).await.unwrap(), Standing::Revoked);

    let mut times = Times::begin(name, "sign-in", count).await;
    for n in 0..rounds {
        let began = Instant::now();
        let rotated = store.rotate(sign_in(n)).await.unwrap();
        times.add(began);
        assert_eq!(rotated, Rotated::Recorded);
    }
    times.report(questions[0]).await;

    let mut times = Times::begin(name, "admission, first sight", count).await;
    for n in 0..rounds {
        let began = Instant::now();
        let standing = store.standing(&presented(n, 0)).await.unwrap();
        times.add(began);
        assert_eq!(standing, Standing::Live);
    }
    times.report(questions[1]).await;

    let mut times = Times::begin(name, "admission, warm", count).await;
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
    times.report(questions[2]).await;

    let mut times = Times::begin(name, "rotation", count).await;
    for n in 0..rounds {
        let successor = TokenId::from_bytes(id(3, 1));
        let renewal = Rotation::renewal(presented(n, 0), successor, claims.as_str(), until);
        let began = Instant::now();
        let rotated = store.rotate(renewal).await.unwrap();
        times.add(began);
        assert_eq!(rotated, Rotated::Recorded);
    }
    times.report(questions[3]).await;

    let mut times = Times::begin(name, "revocation", count).await;
    for n in 0..rounds {
        let began = Instant::now();
        store.revoke(Revocation::Session(presented(n, 0).session), retention).await.unwrap();
        times.add(began);
    }
    times.report(questions[4]).await;
    assert_eq!(store.standing(&presented(0, 1)).await.unwrap(), Standing::Revoked);
}

struct Times<'a> {
    name: &'a str,
    operation: &'a str,
    count: &'a Count<'a>,
    before: Option<u64>,
    taken: Vec<Duration>,
}

impl<'a> Times<'a> {
    async fn begin(name: &'a str, operation: &'a str, count: &'a Count<'a>) -> Self {
        Self { name, operation, count, before: count.now().await, taken: Vec::new() }
    }

    fn add(&mut self, began: Instant) {
        self.taken.push(began.elapsed());
    }

    async fn report(mut self, expected: f64) {
        self.taken.sort();
        let mut questions = "-".to_owned();
        if let (Some(after), Some(before)) = (self.count.now().await, self.before) {
            let each = (after - before) as f64 / self.taken.len() as f64;
            assert_eq!(each, expected, "{} asks so much for {}", self.name, self.operation);
            questions = format!("{each:.3}");
        }
        let median = self.taken[self.taken.len() / 2];
        println!("{:<26} {:<24} {:>12} {questions:>12}", self.name, self.operation, format!("{median:.1?}"));
    }
}

fn id(kind: u8, n: u64) -> [u8; 32] {
    let mut id = [kind; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..16].copy_from_slice(&n.to_be_bytes());
    id
}
