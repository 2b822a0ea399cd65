//! A refresh on PostgreSQL.

use sqlx::{Connection as _, Executor as _};
use tower_reissue::{Login, Refresh, RefreshTokens};

use super::*;
use crate::postgres_server::Postgres;
use crate::support::builder;

/// As the server counts them.
#[tokio::test]
async fn a_refresh_and_its_repetition_are_one_statement_each() {
    let server = Postgres::start_counting();
    let pool = sqlx::PgPool::connect(&server.url()).await.unwrap();
    pool.execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
    // A purge in the background may come at any time.
    let asked = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements \
                 WHERE strpos(query, 'counted_') > 0 AND query NOT SIMILAR TO '(DELETE|UPDATE)%'";
    let statements = async || sqlx::query_scalar::<_, i64>(asked).fetch_one(&pool).await.unwrap();

    let clock = ManualClock::at(SystemClock.now().as_secs());
    let store = SqlStore::builder().table_prefix("counted_").postgres(server.url()).await.unwrap();
    let refresh_tokens = RefreshTokens::new("https://login.example/refresh");
    let authority = builder(&clock).store(store).refresh_tokens(refresh_tokens).build().unwrap();
    let mut last = authority.issue_pair(Login::new("alice")).await.unwrap();
    for _ in 0..4 {
        let before = statements().await;
        let spent = last.refresh.as_str().to_owned();
        last = authority.refresh(Refresh::new(&*spent)).await.unwrap();
        let refreshed = statements().await;
        assert_eq!(refreshed - before, 1);
        let again = authority.refresh(Refresh::new(&*spent)).await.unwrap();
        assert_eq!(again.refresh.jti(), last.refresh.jti());
        assert_eq!(statements().await - refreshed, 1);
    }
}

/// The one statement and the code write the same row: SQLite has no such statement.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn what_the_statement_writes_is_what_the_code_writes() {
    type Row = (Vec<u8>, i64, i64, i64, i64, Vec<u8>, String, i64, Vec<u8>, i64, i64, Vec<u8>);
    const COLUMNS: &str = "SELECT head, head_until, generation, chain_until, renewed, ancestors, claims, revoked_until, \
                           revoked_tokens, kept_until, session_start, subject FROM";
    let id = |n: u64| {
        let mut bytes = [7; 32];
        bytes[24..].copy_from_slice(&n.to_be_bytes());
        bytes
    };
    let secs = NumericDate::from_secs;
    let start = SystemClock.now().as_secs() + 60;
    // The oldest of its tokens expires at each rotation; none does, and there are more than are remembered; they live ever shorter;
    // all have expired, so that each rotation begins anew.
    type Case = (u64, fn(u64) -> u64, bool);
    let cases: [Case; 4] = [
        (100, |_| 450, false),
        (1, |_| 1_000_000, false),
        (10, |nth| 1_000 - 7 * nth.min(140), true),
        (100, |_| 100, false),
    ];
    for (session, (step, life, forgets_many)) in cases.into_iter().enumerate() {
        let (by_statement, by_code) = (new_postgres(), new_sqlite());
        let stores = [by_statement.open().await, by_code.open().await];
        for store in &stores {
            store.horizon(Horizon::Secs(0)).await.unwrap();
        }
        let session = SessionId::from_bytes(id(session as u64));
        let subject = Some(SubjectId::from_bytes(id(1)));
        for nth in 0..140 {
            let now = start + nth * step;
            let (token, until) = (TokenId::from_bytes(id(nth.saturating_sub(1))), secs(now + life(nth)));
            let presented = Presented::new(session, token, subject, secs(start), secs(now));
            let claims = format!("{{\"n\":{nth}}}");
            let rotation = match nth {
                0 => Rotation::sign_in(presented, claims, until),
                nth => Rotation::renewal(presented, TokenId::from_bytes(id(nth)), claims, until),
            };
            for store in &stores {
                assert_eq!(store.rotate(rotation.clone()).await.unwrap(), Rotated::Recorded, "{nth}");
            }
            let table = |place: &Place| sqlx::AssertSqlSafe(format!("{COLUMNS} {}sessions", place.prefix));
            let mut postgres = sqlx::PgConnection::connect(&by_statement.address).await.unwrap();
            let mut sqlite = sqlx::SqliteConnection::connect(&by_code.address).await.unwrap();
            let mut written: Row =
                sqlx::query_as(table(&by_statement)).fetch_one(&mut postgres).await.unwrap();
            let mut expected: Row = sqlx::query_as(table(&by_code)).fetch_one(&mut sqlite).await.unwrap();
            let (more, ancestors) = (std::mem::take(&mut written.5), std::mem::take(&mut expected.5));
            assert_eq!(written, expected, "{nth}");
            // It forgets one at a time.
            assert!(more.ends_with(&ancestors) && more.len() <= 128 * 48, "{nth}");
            assert!(more == ancestors || forgets_many, "{nth}");
        }
    }
}

/// A clock that is ahead saw the revocation end and began the session anew. For one that is behind it holds.
#[tokio::test]
async fn a_clock_that_is_behind_finds_a_session_revoked_that_another_renews() {
    let place = new_postgres();
    let store = without_horizon(place.open().await).await;
    let start = SystemClock.now().as_secs() + 60;
    let secs = NumericDate::from_secs;
    let (session, token) = (SessionId::from_bytes([1; 32]), |n| TokenId::from_bytes([n; 32]));
    let renewal = |nth: u8, now: u64| {
        let presented = Presented::new(session, token(nth), None, secs(start), secs(now));
        Rotation::renewal(presented, token(nth + 1), "{}", secs(start + 5_000))
    };
    store.revoke(Revocation::Session(session), kept(secs(start), secs(start + 100))).await.unwrap();
    assert_eq!(store.rotate(renewal(1, start + 1_000)).await.unwrap(), Rotated::Recorded);
    assert_eq!(store.rotate(renewal(2, start + 50)).await.unwrap(), Rotated::Revoked);
    assert_eq!(store.rotate(renewal(2, start + 1_000)).await.unwrap(), Rotated::Recorded);
}
