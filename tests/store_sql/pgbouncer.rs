//! Poolers: PgBouncer, as it is installed. Ignored by default, for it has to be:
//! `cargo test --features sqlite,postgres --test store_sql pgbouncer -- --ignored`.

use std::error::Error as _;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::JoinSet;
use tower_reissue::store::conformance;

use super::*;
use crate::pgbouncer_server::Pgbouncer;
use crate::postgres_server::Postgres;

/// As many sessions as one connection needs, as two do, and as are configured unless told otherwise.
const SESSIONS: [u32; 3] = [1, 2, 20];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pgbouncer"]
async fn a_pooler_that_shares_sessions_is_refused_by_name() {
    let server = Postgres::start();
    let mut pooler = Pgbouncer::before(&server, "session", 5);
    for sessions in SESSIONS {
        for mode in ["transaction", "statement"] {
            for more in ["", "server_round_robin = 1", "server_reset_query_always = 1"] {
                pooler.run_again(mode, sessions, more);
                assert_refused(&pooler.url(), &format!("{mode} {sessions} {more}")).await;
                let others = traffic(&pooler);
                for _ in 0..5 {
                    assert_refused(&pooler.url(), &format!("{mode} {sessions} {more}, with others")).await;
                }
                drop(others);
            }
        }
    }
    // Nothing was made before it was refused.
    let place = Place { address: server.url(), prefix: "reissue_".to_owned(), _dir: None };
    place.meddle("CREATE TABLE {p}store (x int)").await;
}

/// Each connection is lent the same session whenever it asks, and the other another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pgbouncer"]
async fn a_pooler_is_refused_though_each_connection_happens_to_keep_its_session() {
    let server = Postgres::start();
    let mut pooler = Pgbouncer::before(&server, "session", 5);
    pooler.run_again("transaction", 2, "server_round_robin = 1");
    // Both sessions are there, and take turns. Where another connection of the pooler comes between, they do not: each such
    // connection is refused for what it shows at once.
    let mut signs = Vec::new();
    while !signs.iter().any(|sign: &String| sign.contains("receives nothing")) {
        assert!(signs.len() < 10, "{signs:?}");
        let mut connections = [connect(&pooler).await, connect(&pooler).await];
        for connection in &mut connections {
            sqlx::raw_sql("BEGIN").execute(connection).await.unwrap();
        }
        for connection in &mut connections {
            sqlx::raw_sql("COMMIT").execute(connection).await.unwrap();
        }
        signs.push(assert_refused(&pooler.url(), "lucky").await);
    }
    // The server's queue of notifications is full: nobody hears anything.
    let full = "DO'BEGIN RAISE SQLSTATE''54000'';END'";
    let rewriting =
        rewriting::before(pooler.port(), Some(("NOTIFY tower_reissue_", full)), Duration::ZERO).await;
    let mut signs = Vec::new();
    while !signs.iter().any(|sign: &String| sign.contains("in another session")) {
        assert!(signs.len() < 10, "{signs:?}");
        signs.push(assert_refused(&server.url_at(rewriting), "untold").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pgbouncer"]
async fn a_pooler_that_gives_each_connection_its_session_keeps_every_promise() {
    let server = Postgres::start();
    let pooler = Pgbouncer::before(&server, "session", 20);
    let store = SqlStore::postgres(pooler.url()).await.unwrap();
    conformance::all(&store).await;
    let cached = tower_reissue::store::Cached::new(store.clone()).hearing_revocations().await.unwrap();
    let presented = presents(session(1), token(1));
    store.rotate(Rotation::sign_in(presented, "{}", end())).await.unwrap();
    assert_eq!(cached.standing(&presented).await.unwrap(), Standing::Live);
    store.revoke(Revocation::Session(session(1)), kept(now(), end())).await.unwrap();
    outage::refuses_within(Duration::from_secs(1), &cached, &presented).await;
}

/// Two stores of one database are opened in good order; then the pooler begins to share sessions, and each is given the
/// answers to the other's statements. What is answered is right, and all else is an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pgbouncer"]
async fn an_answer_to_another_stores_statement_is_an_error_and_never_a_verdict() {
    let server = Postgres::start();
    let mut pooler = Pgbouncer::before(&server, "session", 20);
    let place = |prefix: &str| Place { address: server.url(), prefix: prefix.to_owned(), _dir: None };
    let subject = SubjectId::from_bytes([7; 32]);
    let mut stores = Vec::new();
    for prefix in ["one_", "two_"] {
        let direct = place(prefix).open().await;
        for n in 0..20 {
            let signed_in = Rotation::sign_in(owned(subject, session(n), token(0)), prefix, end());
            assert_eq!(direct.rotate(signed_in).await.unwrap(), Rotated::Recorded);
            // Odd ones are revoked in the one store, even ones in the other.
            if n % 2 == u64::from(prefix == "one_") {
                direct.revoke(Revocation::Session(session(n)), kept(now(), end())).await.unwrap();
            }
        }
        let store = SqlStore::builder().table_prefix(prefix).max_connections(4).postgres(pooler.url()).await;
        stores.push((prefix, direct, store.unwrap()));
    }
    let (right, wrong_store, failed) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    for sessions in SESSIONS {
        // It forgets what is prepared on its sessions, and keeps who prepared what apart no more.
        pooler.run_again("transaction", sessions, "server_lifetime = 1");
        let ask = async |prefix: &str, store: &SqlStore, task: u64| {
            let is_revoked = |n| n % 2 == u64::from(prefix == "one_");
            let mut seed = 0x9e37_79b9_7f4a_7c15_u64 ^ (task << 32) ^ u64::from(sessions);
            for _ in 0..200 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let n = (seed >> 33) % 20;
                let presented = owned(subject, session(n), token(0));
                let outcome = match (seed >> 50) % 4 {
                    0 => store.rotate(Rotation::renewal(presented, token(1), prefix, end())).await.map(
                        |rotated| {
                            let is_right = match rotated {
                                Rotated::Recorded => !is_revoked(n),
                                Rotated::Superseded { head } => !is_revoked(n) && &*head == prefix,
                                other => is_revoked(n) && other == Rotated::Revoked,
                            };
                            assert!(is_right, "{prefix} {n}");
                        },
                    ),
                    1 => store.sessions(subject, now(), Page::default()).await.map(|listed| {
                        assert_eq!(listed.sessions.len(), 10, "{prefix}");
                        assert!(listed.sessions.iter().all(|record| &*record.claims == prefix), "{prefix}");
                    }),
                    _ => store.standing(&presented).await.map(|standing| {
                        let known = if is_revoked(n) { Standing::Revoked } else { Standing::Live };
                        assert_eq!(standing, known, "{prefix} {n}");
                    }),
                };
                match outcome {
                    Ok(()) => right.fetch_add(1, Ordering::Relaxed),
                    Err(error)
                        if error.source().is_some_and(|why| why.to_string().contains("not this store's")) =>
                    {
                        assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
                        wrong_store.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(_) => failed.fetch_add(1, Ordering::Relaxed),
                };
            }
        };
        let tasks =
            (0..8).flat_map(|task| stores.iter().map(move |(prefix, _, store)| (*prefix, store, task)));
        futures_util::future::join_all(tasks.map(|(prefix, store, task)| ask(prefix, store, task))).await;
    }
    eprintln!("right {right:?}, another's {wrong_store:?}, failed {failed:?}");
    assert!(right.into_inner() > 0 && wrong_store.into_inner() > 0, "nothing was mixed up");
    // Nor was anything written to the other's tables.
    for (prefix, ..) in stores {
        let strangers = format!("UPDATE {{p}}sessions SET renewed = renewed WHERE claims <> '{prefix}'");
        assert_eq!(place(prefix).meddle(&strangers).await, 0, "{prefix}");
    }
}

/// Why.
async fn assert_refused(url: &str, when: &str) -> String {
    let builder = SqlStore::builder().wait(Duration::from_secs(2));
    let error = builder.postgres(url).await.expect_err(when);
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{when}: {error} {error:?}");
    let why = error.source().unwrap().to_string();
    assert!(why.contains("PgBouncer") && why.contains("pool_mode = session"), "{when}: {why}");
    why
}

async fn connect(pooler: &Pgbouncer) -> sqlx::PgConnection {
    use sqlx::ConnectOptions as _;
    let options = pooler.url().parse::<sqlx::postgres::PgConnectOptions>().unwrap();
    options.extra_float_digits(None).connect().await.unwrap()
}

/// Other applications, each with a connection through the pooler. They end with what is given back.
fn traffic(pooler: &Pgbouncer) -> JoinSet<()> {
    let mut others = JoinSet::new();
    for n in 0..4_u64 {
        let url = pooler.url();
        others.spawn(async move {
            use sqlx::ConnectOptions as _;
            let options = url.parse::<sqlx::postgres::PgConnectOptions>().unwrap().extra_float_digits(None);
            let mut connection = options.connect().await.unwrap();
            while sqlx::raw_sql("SELECT pg_sleep(0.001)").execute(&mut connection).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(n)).await;
            }
        });
    }
    others
}
