//! What a database's errors mean, and which are worth another try.

use crate::store::{StoreError, StoreErrorKind};

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

/// program_limit_exceeded: the server's queue of notifications is full, said at the commit, which is undone.
pub(super) fn is_untold(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("54000"))
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
