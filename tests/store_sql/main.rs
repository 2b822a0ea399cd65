//! `SqlStore` on an SQLite file and on a PostgreSQL server of the tests' own: the conformance suite, servers crashed,
//! frozen and cut off. Its races, and processes killed in them, are in `one_successor`.
#![cfg(any(feature = "sqlite", feature = "postgres"))]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    allow(dead_code, unused_imports, reason = "each database has faults of its own")
)]

#[path = "../support/outage.rs"]
mod outage;
#[cfg(feature = "postgres")]
#[path = "../support/pgbouncer.rs"]
mod pgbouncer_server;
#[cfg(feature = "postgres")]
#[path = "../support/postgres.rs"]
mod postgres_server;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/revocations.rs"]
mod revocations;
#[path = "../support/mod.rs"]
mod support;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outage::Service;
use support::{kept, without_horizon};
use tempfile::TempDir;
use tower_reissue::store::{
    ClaimsStore, Horizon, Page, Presented, Revocation, Rotated, Rotation, SessionId, SqlStore,
    SqlStoreBuilder, Standing, StoreError, StoreErrorKind, SubjectId, TokenId,
};
use tower_reissue::{Clock as _, ManualClock, NumericDate, Reason, SystemClock};

/// Each scene once on an SQLite file and once on PostgreSQL.
macro_rules! on_each_database {
    ($($scene:ident),* $(,)?) => {
        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $scene() {
                super::$scene(crate::new_sqlite()).await;
            })*
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $scene() {
                super::$scene(crate::new_postgres()).await;
            })*
        }
    };
}

mod crowd;
mod disk_full;
mod first_edition;
mod horizon;
#[cfg(feature = "postgres")]
mod pgbouncer;
#[cfg(feature = "postgres")]
mod postgres_faults;
mod promises;
#[cfg(feature = "postgres")]
mod pushed;
mod races;
mod records;
#[cfg(feature = "postgres")]
mod refresh;
#[cfg(feature = "postgres")]
mod rewriting;
#[cfg(feature = "sqlite")]
mod sqlite_faults;

/// Where a store is: an SQLite path or a PostgreSQL URL, and the prefix of its tables.
#[derive(Clone)]
struct Place {
    address: String,
    prefix: String,
    /// Of an SQLite file.
    _dir: Option<Arc<TempDir>>,
}

impl Place {
    async fn open(&self) -> SqlStore {
        self.try_open().await.unwrap_or_else(|error| panic!("{error}: {error:?}"))
    }

    async fn try_open(&self) -> Result<SqlStore, StoreError> {
        // Longer than any queue of these tests on a machine that does other things too.
        self.open_with(|builder| builder.wait(Duration::from_secs(30))).await
    }

    async fn open_with(
        &self,
        options: impl FnOnce(SqlStoreBuilder) -> SqlStoreBuilder,
    ) -> Result<SqlStore, StoreError> {
        let builder = options(SqlStore::builder().table_prefix(&self.prefix));
        #[cfg(feature = "postgres")]
        if self.address.starts_with("postgres:") {
            return builder.postgres(&self.address).await;
        }
        #[cfg(feature = "sqlite")]
        return builder.sqlite(&self.address).await;
        #[cfg(not(feature = "sqlite"))]
        unreachable!("no SQLite");
    }

    /// Runs a statement behind the store's back; `{p}` is the prefix. The rows changed.
    async fn meddle(&self, statement: &str) -> u64 {
        use sqlx::{Connection as _, Executor as _};
        let statement = statement.replace("{p}", &self.prefix);
        #[cfg(feature = "postgres")]
        if self.address.starts_with("postgres:") {
            let mut connection = sqlx::PgConnection::connect(&self.address).await.unwrap();
            return connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap().rows_affected();
        }
        #[cfg(feature = "sqlite")]
        {
            let mut connection = sqlx::SqliteConnection::connect(&self.address).await.unwrap();
            let changed = connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap().rows_affected();
            connection.close().await.unwrap();
            changed
        }
        #[cfg(not(feature = "sqlite"))]
        unreachable!("no SQLite")
    }

    /// Holds every write back, lets `call` come to its own, runs the statements, and lets go.
    async fn while_nobody_writes<T>(&self, statements: &str, call: impl Future<Output = T>) -> T {
        use sqlx::{Connection as _, Executor as _};
        macro_rules! hold {
            ($connection:ty, $begin:expr) => {{
                let mut connection = <$connection>::connect(&self.address).await.unwrap();
                connection.execute(sqlx::AssertSqlSafe($begin.replace("{p}", &self.prefix))).await.unwrap();
                let meddle = async {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    connection
                        .execute(sqlx::AssertSqlSafe(statements.replace("{p}", &self.prefix)))
                        .await
                        .unwrap();
                    connection.execute("COMMIT").await.unwrap();
                };
                tokio::join!(call, meddle).0
            }};
        }
        #[cfg(feature = "postgres")]
        if self.address.starts_with("postgres:") {
            return hold!(sqlx::PgConnection, "BEGIN; LOCK TABLE {p}sessions, {p}subjects IN SHARE MODE");
        }
        #[cfg(feature = "sqlite")]
        return hold!(sqlx::SqliteConnection, "BEGIN IMMEDIATE");
        #[cfg(not(feature = "sqlite"))]
        unreachable!("no SQLite")
    }

    fn bytes(&self, hex: &str) -> String {
        if self.is_postgres() { format!("'\\x{hex}'") } else { format!("x'{hex}'") }
    }

    fn is_postgres(&self) -> bool {
        self.address.starts_with("postgres:")
    }
}

#[cfg(feature = "sqlite")]
fn new_sqlite() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let address = dir.path().join("sessions.db").to_str().unwrap().to_owned();
    Place { address, prefix: "reissue_".to_owned(), _dir: Some(Arc::new(dir)) }
}

/// Tables of their own on one server that all tests share.
#[cfg(feature = "postgres")]
fn new_postgres() -> Place {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static SERVER: LazyLock<postgres_server::Postgres> = LazyLock::new(postgres_server::Postgres::start);
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("p{}_", COUNTER.fetch_add(1, Ordering::Relaxed));
    Place { address: SERVER.url(), prefix, _dir: None }
}

/// Before that of a store made just now.
fn before() -> NumericDate {
    NumericDate::from_secs(SystemClock.now().as_secs() - 60)
}

/// After any store's birth.
fn start() -> NumericDate {
    NumericDate::from_secs(4_000_000_000)
}

fn now() -> NumericDate {
    NumericDate::from_secs(4_000_000_060)
}

fn end() -> NumericDate {
    NumericDate::from_secs(4_000_003_600)
}

fn later(date: NumericDate, secs: u64) -> NumericDate {
    NumericDate::from_secs(date.as_secs() + secs)
}

fn name(n: u64) -> [u8; 32] {
    let mut name = [0; 32];
    name[..8].copy_from_slice(&n.to_be_bytes());
    name
}

fn token(n: u64) -> TokenId {
    TokenId::from_bytes(name(n))
}

fn session(n: u64) -> SessionId {
    SessionId::from_bytes(name(n))
}

fn presents(session: SessionId, token: TokenId) -> Presented {
    Presented::new(session, token, None, start(), now())
}

fn owned(subject: SubjectId, session: SessionId, token: TokenId) -> Presented {
    Presented::new(session, token, Some(subject), start(), now())
}

/// Of session 0; the claims are the successor's name.
fn renewal(predecessor: TokenId, successor: TokenId) -> Rotation {
    Rotation::renewal(presents(session(0), predecessor), successor, successor.to_string(), end())
}
