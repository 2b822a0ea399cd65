//! The two databases behind one face: their pools, and leases that survive a dropped future.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::{Connection as _, Database};

use super::failure::misconfigured;
use super::statements::Dialect;
use crate::store::StoreError;

/// How long the connection of a dropped call, which has been silent for all the call's time, may be silent yet.
const REST: Duration = Duration::from_millis(250);

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
///
/// What silenced it may have silenced those that wait in the pool: a firewall forgets connections without a word.
/// Asked one after the other, each would cost a call its whole time. So all of them are asked, at the first sign.
pub(super) struct Lease<DB: Database> {
    connection: Option<PoolConnection<DB>>,
    pool: sqlx::Pool<DB>,
}

impl<DB: Database> Lease<DB> {
    pub(super) async fn of(pool: &sqlx::Pool<DB>) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: Some(pool.acquire().await?), pool: pool.clone() })
    }

    pub(super) fn connection(&mut self) -> Result<&mut DB::Connection, sqlx::Error> {
        self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// The statement was answered, well or badly: the pool may have the connection.
    pub(super) fn rest(mut self) {
        self.connection = None;
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let waiting = (0..self.pool.num_idle()).map_while(|_| self.pool.try_acquire());
        for connection in std::iter::once(connection).chain(waiting) {
            runtime.spawn(keep_if_alive(connection));
        }
    }
}

async fn keep_if_alive<DB: Database>(mut connection: PoolConnection<DB>) {
    if !matches!(tokio::time::timeout(REST, connection.ping()).await, Ok(Ok(()))) {
        connection.close_on_drop();
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

        use crate::error::ConfigError;
        use crate::store::StoreErrorKind;

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
        password: Option<&str>,
        connections: u32,
        wait: Duration,
    ) -> Result<(Self, &'static Dialect), StoreError> {
        use sqlx::ConnectOptions as _;
        use sqlx::postgres::PgConnectOptions;

        let options = PgConnectOptions::from_str(url).map_err(misconfigured)?.disable_statement_logging();
        // PgBouncer refuses the parameter unless it is told otherwise. Nothing here is a float.
        let options = options.extra_float_digits(None);
        let options = match password {
            Some(password) => options.password(password),
            None => options,
        };
        let pool = pool_options(connections, wait).connect_lazy_with(options);
        Ok((Self::Postgres(pool), &super::statements::POSTGRES))
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
    #[cfg(all(unix, not(assume_not_unix)))]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}
