//! A refresh on PostgreSQL.

use sqlx::Executor as _;
use tower_reissue::store::SqlStore;
use tower_reissue::{Clock as _, Login, ManualClock, Refresh, RefreshTokens, SystemClock};

use crate::postgres_server::Postgres;
use crate::support::builder;

/// As the server counts them. The records that a refresh finds are read by one and written by another, which does nothing if they
/// have changed since.
#[tokio::test]
async fn a_refresh_is_two_statements_and_its_repetition_one() {
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
        assert_eq!(refreshed - before, 2);
        let again = authority.refresh(Refresh::new(&*spent)).await.unwrap();
        assert_eq!(again.refresh.jti(), last.refresh.jti());
        assert_eq!(statements().await - refreshed, 1);
    }
}
