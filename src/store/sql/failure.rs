//! The meaning of a database's errors, and whether another try makes sense.

use std::fmt;
use std::io;

use crate::store::{StoreError, StoreErrorKind};

pub(super) fn misconfigured(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Misconfigured, source)
}

/// The text for the operator.
pub(super) fn failed(error: sqlx::Error) -> StoreError {
    StoreError::with_source(kind(&error), error)
}

fn kind(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::PoolTimedOut => StoreErrorKind::Timeout,
        sqlx::Error::Io(io) if io.kind() == io::ErrorKind::TimedOut => StoreErrorKind::Timeout,
        _ if is_read_only(error) => StoreErrorKind::Unavailable,
        #[cfg(feature = "sqlite")]
        sqlx::Error::Configuration(source) if source.is::<super::file::ReplacedFile>() => {
            StoreErrorKind::Unavailable
        }
        sqlx::Error::Configuration(_) => StoreErrorKind::Misconfigured,
        #[cfg(feature = "postgres")]
        _ if lacks_tls(error) => StoreErrorKind::Misconfigured,
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::TypeNotFound { .. } => StoreErrorKind::Corrupt,
        // The store's own row is gone: `find` always has one otherwise.
        sqlx::Error::RowNotFound => StoreErrorKind::Corrupt,
        sqlx::Error::Database(database) => database_kind(database.code().as_deref().unwrap_or_default()),
        _ => StoreErrorKind::Unavailable,
    }
}

/// The error of opening an SQLite file.
#[cfg(feature = "sqlite")]
pub(super) fn at_file(file: &str, error: StoreError) -> StoreError {
    StoreError::with_source(error.kind(), AtFile { file: file.to_owned(), error })
}

#[cfg(feature = "sqlite")]
#[derive(Debug)]
struct AtFile {
    file: String,
    error: StoreError,
}

#[cfg(feature = "sqlite")]
impl fmt::Display for AtFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLite file {:?}", self.file)?;
        let cause = std::error::Error::source(&self.error);
        cause.map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

#[cfg(feature = "sqlite")]
impl std::error::Error for AtFile {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

/// The error of the first connection. The address has no user and no password in it.
#[cfg(feature = "postgres")]
pub(super) fn unreachable(options: &sqlx::postgres::PgConnectOptions, error: sqlx::Error) -> StoreError {
    let address = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    StoreError::with_source(kind(&error), Unreachable { address, error })
}

/// The URL asks for TLS, and sqlx is built without.
#[cfg(feature = "postgres")]
fn lacks_tls(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Tls(cause) if cause.to_string().contains("without TLS support"))
}

#[cfg(feature = "postgres")]
#[derive(Debug)]
struct Unreachable {
    address: String,
    error: sqlx::Error,
}

#[cfg(feature = "postgres")]
impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection to PostgreSQL at {}: {}", self.address, self.error)?;
        if lacks_tls(&self.error) {
            f.write_str("; for TLS, depend on `sqlx` 0.9 too and turn on its feature `tls-rustls-ring` or another `tls-*`")?;
        }
        Ok(())
    }
}

#[cfg(feature = "postgres")]
impl std::error::Error for Unreachable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
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
        // No such user, a wrong password, no such database or schema, too few rights. Prepared statements that are there
        // unasked, or gone, are a pooler's doing.
        "28000" | "28P01" | "3D000" | "3F000" | "42501" | "26000" | "42P05" => StoreErrorKind::Misconfigured,
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

/// The server takes no writes, so its answers may be from the past.
#[derive(Debug)]
pub(super) struct ReadOnlyServer;

impl fmt::Display for ReadOnlyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the server is read-only: it is a standby, or `default_transaction_read_only` is on; the store needs the \
             primary",
        )
    }
}

impl std::error::Error for ReadOnlyServer {}

impl From<ReadOnlyServer> for sqlx::Error {
    fn from(error: ReadOnlyServer) -> Self {
        Self::Configuration(Box::new(error))
    }
}

/// Whether the connection leads to a server that takes no writes. A new one may lead to the primary.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Configuration(source) => source.is::<ReadOnlyServer>(),
        // read_only_sql_transaction
        sqlx::Error::Database(database) => database.code().as_deref() == Some("25006"),
        _ => false,
    }
}

/// program_limit_exceeded: the server's queue of notifications is full. The commit fails, and nothing was recorded.
pub(super) fn is_notification_failure(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("54000"))
}

/// protocol_violation: how PgBouncer refuses what its mode does not allow. PostgreSQL never answers BEGIN so.
#[cfg(feature = "postgres")]
pub(super) fn is_protocol_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("08P01"))
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
