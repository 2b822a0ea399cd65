//! Checks that every answer belongs to its question.
//!
//! A proxy between a store and its database may mix up answers: a pooler that lends one session to many connections can
//! give one application the result of another's prepared statement, for example that of a store with another prefix. So
//! the first column of every answer names the statement, the store whose tables it is about, and the question. An
//! answer that does not match is an error, never a verdict. So is the answer of a server that takes no writes: a
//! switchover can leave a standby at the address, and a standby can lag.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{FromRow, Row};

use super::failure::ReadOnlyServer;
use super::random;
use super::record::Columns;
use super::statements::Statement;

/// How the proof of a server that takes no writes ends.
const READ_ONLY: &str = " read-only";

/// The store that was opened.
pub(super) struct Identity {
    /// Random; made with the tables.
    store: String,
    /// Numbers the questions, from a random number on, so that two processes ask different ones.
    next: AtomicU64,
}

impl Identity {
    pub(super) fn of(store: String) -> Result<Self, sqlx::Error> {
        Ok(Self { store, next: AtomicU64::new(random()?) })
    }

    pub(super) fn store(&self) -> &str {
        &self.store
    }

    /// To be executed once.
    pub(super) fn ask(&self, statement: &Statement) -> Question<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Question { statement: statement.name, store: &self.store, number: format!("{number:016x}") }
    }
}

/// One execution of one statement. `store` and `number` are its first two parameters.
pub(super) struct Question<'i> {
    statement: &'static str,
    pub(super) store: &'i str,
    pub(super) number: String,
}

impl Question<'_> {
    /// The answer of a statement that always gives one row.
    pub(super) fn row<T, R>(&self, rows: Result<Vec<R>, sqlx::Error>) -> Result<T, sqlx::Error>
    where
        R: Row + Columns,
        T: for<'r> FromRow<'r, R>,
    {
        self.read(rows)?.into_iter().next().ok_or_else(foreign)
    }

    /// The answer of a statement that always gives one row at least.
    pub(super) fn rows<T, R>(&self, rows: Result<Vec<R>, sqlx::Error>) -> Result<Vec<T>, sqlx::Error>
    where
        R: Row + Columns,
        T: for<'r> FromRow<'r, R>,
    {
        let rows = self.read(rows)?;
        if rows.is_empty() { Err(foreign()) } else { Ok(rows) }
    }

    /// Whether a statement that returns a row for each row it wrote has written one. False proves nothing.
    pub(super) fn has_written<R>(&self, rows: Result<Vec<R>, sqlx::Error>) -> Result<bool, sqlx::Error>
    where
        R: Row + Columns,
        (): for<'r> FromRow<'r, R>,
    {
        Ok(!self.read::<(), R>(rows)?.is_empty())
    }

    /// Until a row proves that it is an answer, nothing else of it is read.
    fn read<T, R>(&self, rows: Result<Vec<R>, sqlx::Error>) -> Result<Vec<T>, sqlx::Error>
    where
        R: Row + Columns,
        T: for<'r> FromRow<'r, R>,
    {
        let proof = format!("{} {} {}", self.statement, self.store, self.number);
        let read = |row: &R| match row.text("proof") {
            Ok(Some(given)) if given == proof => T::from_row(row),
            Ok(Some(given)) if given.strip_prefix(&*proof) == Some(READ_ONLY) => Err(ReadOnlyServer.into()),
            _ => Err(foreign()),
        };
        rows?.iter().map(read).collect()
    }
}

fn foreign() -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(ForeignAnswer))
}

#[derive(Debug)]
struct ForeignAnswer;

impl fmt::Display for ForeignAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the answer is not this store's: a pooler in transaction mode mixes up prepared statements (use its \
             session mode, or connect to the database directly), or the tables were emptied or made anew since this \
             process opened them (restart it)",
        )
    }
}

impl std::error::Error for ForeignAnswer {}
