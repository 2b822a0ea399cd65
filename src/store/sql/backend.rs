//! The two databases behind one interface: their pools, and leases that survive a dropped future.

use std::str::FromStr as _;
#[cfg(feature = "sqlite")]
use std::sync::Arc;
use std::time::Duration;

use sqlx::Database;
use sqlx::pool::{PoolConnection, PoolOptions};
use tokio::runtime::Handle;

use super::failure::{is_read_only, misconfigured};
#[cfg(feature = "sqlite")]
use super::file::OpenFile;
use super::statements::Dialect;
use crate::store::StoreError;

/// How long a connection that is given back may take to answer the pool's ping. An authority waits no longer for a whole
/// call unless told otherwise.
const PING: Duration = Duration::from_secs(1);

/// The same for the connection of a dropped call, which was silent for all the call's time, and for idle ones then.
const PING_AFTER_SILENCE: Duration = Duration::from_millis(250);

pub(super) enum Backend {
    #[cfg(feature = "sqlite")]
    Sqlite {
        readers: sqlx::SqlitePool,
        /// One connection: SQLite has one writer at a time, and waiting in the pool's queue is fairer and quicker than
        /// waiting for its lock.
        writer: sqlx::SqlitePool,
        file: Arc<OpenFile>,
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
            Backend::Sqlite { $pool, file, .. } => {
                let lease = $crate::store::sql::backend::Lease::of($pool).await;
                let mut lease = lease.or_else(|error| file.confirm(Err(error)))?;
                let $connection = lease.connection()?;
                let answer = file.confirm($body);
                lease.rest(&answer);
                answer
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres(pool) => {
                let mut lease = $crate::store::sql::backend::Lease::of(pool).await?;
                let $connection = lease.connection()?;
                let answer = $body;
                lease.rest(&answer);
                answer
            }
        }
    };
}
pub(super) use on;

/// A connection on loan for one statement.
///
/// The pool pings a connection that is given back, and waits for the answer without a limit. A firewall forgets
/// connections without a word: each that it forgot would be missing from the pool for as long as the process runs, until
/// none is left. So the lease gives its connection back within a bounded time, or drops it.
///
/// A call that is dropped met silence. What silenced its connection may have silenced the idle ones too, and each would
/// cost one more call its whole time. So all of them are pinged at the first sign.
pub(super) struct Lease<DB: Database> {
    connection: Option<PoolConnection<DB>>,
    pool: sqlx::Pool<DB>,
    /// A future may be dropped outside its runtime.
    runtime: Handle,
}

impl<DB: Database> Lease<DB> {
    pub(super) async fn of(pool: &sqlx::Pool<DB>) -> Result<Self, sqlx::Error> {
        let connection = Some(pool.acquire().await?);
        Ok(Self { connection, pool: pool.clone(), runtime: Handle::current() })
    }

    pub(super) fn connection(&mut self) -> Result<&mut DB::Connection, sqlx::Error> {
        self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// The statement was answered, with rows or an error: the pool may have the connection, unless it leads to a server that takes
    /// no writes. Then the next call makes a new one, which may lead to the primary.
    pub(super) fn rest<T>(mut self, answer: &Result<T, sqlx::Error>) {
        let Some(connection) = self.connection.take() else { return };
        match answer {
            Err(error) if is_read_only(error) => {
                self.runtime.spawn(tokio::time::timeout(PING, connection.close()));
            }
            _ => self.give_back(connection, PING),
        }
    }

    fn give_back(&self, mut connection: PoolConnection<DB>, limit: Duration) {
        // sqlx spawns where a pool has a least number of connections.
        let _context = self.runtime.enter();
        let returned = connection.return_to_pool();
        // At the limit the connection is dropped with the future, which closes its socket and makes room in the pool.
        self.runtime.spawn(async move { tokio::time::timeout(limit, returned).await });
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let idle = (0..self.pool.num_idle()).map_while(|_| self.pool.try_acquire());
        for connection in std::iter::once(connection).chain(idle) {
            self.give_back(connection, PING_AFTER_SILENCE);
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

        use crate::error::ConfigError;
        use crate::store::StoreErrorKind;

        let options = if path_or_url.starts_with("sqlite:") {
            SqliteConnectOptions::from_str(path_or_url).map_err(misconfigured)?
        } else {
            SqliteConnectOptions::new().filename(path_or_url)
        };
        let file = options.get_filename();
        if file.as_os_str().is_empty() || [":memory:", "mode=memory"].iter().any(|m| path_or_url.contains(m))
        {
            return Err(misconfigured(ConfigError::new(
                "SQLite in memory is not a durable store: name a file, or use `MemoryStore`",
            )));
        }
        let open = || {
            // The process may change its directory.
            let file = std::path::absolute(file)?;
            create_private(&file)?;
            OpenFile::at(file)
        };
        let file = open().map_err(|e| StoreError::with_source(StoreErrorKind::Unavailable, e))?;
        let options = options
            .filename(file.path())
            // If the file is removed, no connection creates another one.
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode anything less keeps the last commits in the system's cache: a power cut would undo
            // revocations that were reported as done.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(wait)
            .disable_statement_logging();
        let file = Arc::new(file);
        let pool = |connections| {
            let file = Arc::clone(&file);
            pool_options(connections, wait)
                .after_connect(move |_, _| {
                    // The call that opens the connection may be dropped before it has an answer.
                    let _ = file.is_in_place();
                    Box::pin(async { Ok(()) })
                })
                .connect_lazy_with(options.clone())
        };
        let (readers, writer) = (pool(connections), pool(1));
        Ok((Self::Sqlite { readers, writer, file }, &super::statements::SQLITE))
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

        let scheme = url.split_once("://").map(|(scheme, _)| scheme).unwrap_or_default();
        if !["postgres", "postgresql"].iter().any(|right| scheme.eq_ignore_ascii_case(right)) {
            return Err(misconfigured(wrong_url("does not begin with `postgres://` or `postgresql://`")));
        }
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| misconfigured(wrong_url(&format!("can't be read ({error})"))))?
            .disable_statement_logging();
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
            Self::Sqlite { readers, writer, .. } => {
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
            Self::Sqlite { readers, writer, .. } => {
                (readers.size() + writer.size(), readers.options().get_max_connections() + 1)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => (pool.size(), pool.options().get_max_connections()),
        }
    }
}

/// Repeats no part of the URL: in one that is wrong, the password may stand anywhere.
#[cfg(feature = "postgres")]
fn wrong_url(what: &str) -> crate::error::ConfigError {
    crate::error::ConfigError::new(format!(
        "the PostgreSQL URL {what}: `postgres://[user[:password]@]host[:port]/database` is expected, with \
         `?sslmode=verify-full` for TLS; a password's `/ ? # @ : %` and spaces are percent-encoded"
    ))
}

fn pool_options<DB: Database>(connections: u32, wait: Duration) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(wait)
        // A round trip before every statement; a connection found dead is replaced and the statement repeated.
        .test_before_acquire(false)
}

/// Creates a missing file. Claims are personal data: it is its owner's alone, and SQLite gives its companions the same mode.
///
/// A file that is there is not opened: closing it would drop the locks of another store of this process on it.
#[cfg(feature = "sqlite")]
fn create_private(file: &std::path::Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true);
    #[cfg(all(unix, not(assume_not_unix)))]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.clone().create_new(true).open(file) {
        // A link to a file that is missing is followed.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => match file.try_exists()? {
            true => Ok(()),
            false => options.create(true).open(file).map(drop),
        },
        created => created.map(drop),
    }
}
