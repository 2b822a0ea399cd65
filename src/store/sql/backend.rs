//! The two databases behind one face: pools, leases that survive a dropped future, and what their errors mean.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::{Connection as _, Database};

use super::super::{StoreError, StoreErrorKind};
use super::statements::{Dialect, Statements};
use crate::ConfigError;

/// How long the connection of a dropped call may take to come to rest before it is closed.
const REST: Duration = Duration::from_secs(1);

pub(super) enum Backend {
    #[cfg(feature = "sqlite")]
    Sqlite {
        readers: sqlx::SqlitePool,
        /// One connection: SQLite has one writer at a time, and waiting in the pool's queue is fairer and quicker than
        /// waiting for its lock.
        writer: sqlx::SqlitePool,
    },
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
}

/// Evaluates `$body` with `$connection` leased from the pool for `$use`, whichever the database.
macro_rules! on {
    ($backend:expr, read, $connection:ident => $body:expr) => {
        on!(@ $backend, readers, $connection => $body)
    };
    ($backend:expr, write, $connection:ident => $body:expr) => {
        on!(@ $backend, writer, $connection => $body)
    };
    (@ $backend:expr, $pool:ident, $connection:ident => $body:expr) => {
        match $backend {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite { $pool, .. } => {
                let mut lease = $crate::store::sql::backend::Lease::of($pool).await?;
                let $connection = lease.connection()?;
                let answer = $body;
                lease.rest();
                answer
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres(pool) => {
                let mut lease = $crate::store::sql::backend::Lease::of(pool).await?;
                let $connection = lease.connection()?;
                let answer = $body;
                lease.rest();
                answer
            }
        }
    };
}
pub(super) use on;

/// A connection on loan for one statement.
///
/// A call that is dropped while the server is silent would leave its connection to the pool, which waits without end
/// for the answer that is still due: one silent peer after another, the pool would run dry. So the lease waits, for
/// a bounded time, and then closes it.
pub(super) struct Lease<DB: Database>(Option<PoolConnection<DB>>);

impl<DB: Database> Lease<DB> {
    pub(super) async fn of(pool: &sqlx::Pool<DB>) -> Result<Self, sqlx::Error> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    pub(super) fn connection(&mut self) -> Result<&mut DB::Connection, sqlx::Error> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// The statement was answered, well or badly: the pool may have the connection.
    pub(super) fn rest(mut self) {
        self.0 = None;
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if !matches!(tokio::time::timeout(REST, connection.ping()).await, Ok(Ok(()))) {
                    connection.close_on_drop();
                }
            });
        }
    }
}

impl Backend {
    #[cfg(feature = "sqlite")]
    pub(super) async fn sqlite(
        path_or_url: &str,
        connections: u32,
        wait: Duration,
    ) -> Result<(Self, &'static Dialect), StoreError> {
        use sqlx::ConnectOptions as _;
        use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

        let options = if path_or_url.starts_with("sqlite:") {
            SqliteConnectOptions::from_str(path_or_url).map_err(misconfigured)?
        } else {
            SqliteConnectOptions::new().filename(path_or_url)
        };
        let file = options.get_filename().to_owned();
        if file.as_os_str().is_empty() || [":memory:", "mode=memory"].iter().any(|m| path_or_url.contains(m))
        {
            return Err(misconfigured(ConfigError::new(
                "SQLite in memory is no durable store: name a file, or use `MemoryStore`",
            )));
        }
        create_private(&file).map_err(|e| StoreError::with_source(StoreErrorKind::Unavailable, e))?;
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode anything less keeps the last commits in the system's cache: a power cut would undo
            // revocations that were reported as done.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(wait)
            .disable_statement_logging();
        let pool = |connections| pool_options(connections, wait).connect_lazy_with(options.clone());
        Ok((Self::Sqlite { readers: pool(connections), writer: pool(1) }, &super::statements::SQLITE))
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres(
        url: &str,
        connections: u32,
        wait: Duration,
    ) -> Result<(Self, &'static Dialect), StoreError> {
        use sqlx::ConnectOptions as _;
        use sqlx::postgres::PgConnectOptions;

        let options = PgConnectOptions::from_str(url).map_err(misconfigured)?.disable_statement_logging();
        let pool = pool_options(connections, wait).connect_lazy_with(options);
        Ok((Self::Postgres(pool), &super::statements::POSTGRES))
    }

    /// Makes the schema, or brings it up to date, whoever else does the same at the same time.
    pub(super) async fn migrate(
        &self,
        statements: &Statements,
        prefix: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let newest = i64::try_from(statements.migrations.len()).unwrap_or(i64::MAX);
        // Most starts find it in place. A role without the right to create tables is enough for them.
        match self.version(statements).await {
            Ok(version) if version == Some(newest) => return Ok(()),
            // There is no such table, most likely.
            Ok(_) | Err(sqlx::Error::Database(_)) => {}
            Err(error) => return Err(failed(error)),
        }
        /// In one transaction, under a lock that lets one process at a time in.
        macro_rules! migrate {
            ($pool:expr, $begin:expr) => {{
                let mut tx = $pool.begin_with($begin).await.map_err(failed)?;
                sqlx::query(&statements.create_store).execute(&mut *tx).await.map_err(failed)?;
                sqlx::query(&statements.record_birth).bind(now).execute(&mut *tx).await.map_err(failed)?;
                let found: i64 =
                    sqlx::query_scalar(&statements.version).fetch_one(&mut *tx).await.map_err(failed)?;
                if found > newest {
                    return Err(misconfigured(ConfigError::new(format!(
                        "the schema is of version {found}, made by a newer release; this one knows {newest}"
                    ))));
                }
                let done = usize::try_from(found).unwrap_or_default();
                for statement in statements.migrations.iter().skip(done).flatten() {
                    sqlx::query(statement).execute(&mut *tx).await.map_err(failed)?;
                }
                sqlx::query(&statements.set_version).bind(newest).execute(&mut *tx).await.map_err(failed)?;
                tx.commit().await.map_err(failed)
            }};
        }
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { writer, .. } => {
                let _ = prefix;
                migrate!(writer, "BEGIN IMMEDIATE")
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => {
                let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
                    .fetch_one(pool)
                    .await
                    .map_err(failed)?;
                if encoding != "UTF8" {
                    return Err(misconfigured(ConfigError::new(format!(
                        "the database's encoding is {encoding}: claims are Unicode, UTF8 is right"
                    ))));
                }
                migrate!(pool, format!("BEGIN; SELECT pg_advisory_xact_lock({})", lock_key(prefix)))
            }
        }
    }

    pub(super) async fn version(&self, statements: &Statements) -> Result<Option<i64>, sqlx::Error> {
        on!(self, read, connection => sqlx::query_scalar(&statements.version).fetch_optional(connection).await)
    }

    pub(super) async fn close(&self) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.close().await,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { .. } => "sqlite",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "postgres",
        }
    }

    /// Open at present, and at most.
    pub(super) fn connections(&self) -> (u32, u32) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { readers, writer } => {
                (readers.size() + writer.size(), readers.options().get_max_connections() + 1)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => (pool.size(), pool.options().get_max_connections()),
        }
    }
}

fn pool_options<DB: Database>(connections: u32, wait: Duration) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(wait)
        // A round trip before every statement; a connection found dead is replaced and the statement repeated.
        .test_before_acquire(false)
}

/// Claims are personal data: the file is its owner's alone, and SQLite gives its companions the same mode.
#[cfg(feature = "sqlite")]
fn create_private(file: &std::path::Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

/// FNV-1a of the prefix, after a tag: the advisory lock of stores that share tables, and of no others.
#[cfg(feature = "postgres")]
fn lock_key(prefix: &str) -> i64 {
    let hash =
        b"tower-reissue ".iter().chain(prefix.as_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    i64::from_be_bytes(hash.to_be_bytes())
}

pub(super) fn misconfigured(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Misconfigured, source)
}

/// What the operator is told.
pub(super) fn failed(error: sqlx::Error) -> StoreError {
    let kind = match &error {
        sqlx::Error::PoolTimedOut => StoreErrorKind::Timeout,
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::TypeNotFound { .. } => StoreErrorKind::Corrupt,
        // The store's own row is gone: `find` always has one otherwise.
        sqlx::Error::RowNotFound => StoreErrorKind::Corrupt,
        sqlx::Error::Database(database) => database_kind(database.code().as_deref().unwrap_or_default()),
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::with_source(kind, error)
}

/// PostgreSQL's five characters, or SQLite's result code in decimal.
fn database_kind(code: &str) -> StoreErrorKind {
    match code {
        // disk_full
        "53100" => StoreErrorKind::Full,
        // query_canceled (a statement_timeout), lock_not_available
        "57014" | "55P03" => StoreErrorKind::Timeout,
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => StoreErrorKind::Corrupt,
        _ if code.len() == 5 => StoreErrorKind::Unavailable,
        // The low byte of an extended code is its primary one.
        _ => match code.parse::<u32>().map(|code| code & 0xff) {
            // SQLITE_BUSY, SQLITE_LOCKED: the busy timeout is over.
            Ok(5 | 6) => StoreErrorKind::Timeout,
            // SQLITE_CORRUPT, SQLITE_NOTADB
            Ok(11 | 26) => StoreErrorKind::Corrupt,
            // SQLITE_FULL
            Ok(13) => StoreErrorKind::Full,
            _ => StoreErrorKind::Unavailable,
        },
    }
}

/// A connection that died under the statement, or a transaction that another one forced out: worth another try.
pub(super) fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(database) => matches!(
            database.code().as_deref().unwrap_or_default(),
            // serialization_failure, deadlock_detected; admin_shutdown, crash_shutdown
            "40001" | "40P01" | "57P01" | "57P02"
        ),
        _ => false,
    }
}
