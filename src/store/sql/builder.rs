//! Opening a store: the options, and what can't be right about them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::failure::misconfigured;
use super::purge::Purge;
use super::statements::{Dialect, Statements};
use super::{Inner, SqlStore, secs};
use crate::store::{StoreError, StoreErrorKind};
use crate::{Clock as _, ConfigError, SystemClock};

/// Opens an [`SqlStore`]; made by [`SqlStore::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder opens nothing until `sqlite` or `postgres`"]
pub struct SqlStoreBuilder {
    prefix: String,
    connections: Option<u32>,
    wait: Duration,
}

impl SqlStoreBuilder {
    pub(super) fn new() -> Self {
        Self { prefix: "reissue_".to_owned(), connections: None, wait: Duration::from_secs(5) }
    }

    /// What the names of its tables begin with. Default `reissue_`. A lower-case letter, then lower-case letters, digits
    /// and underscores, 32 at most. Two services that share a database, and no sessions, want one each.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The most connections at once. Default 10 for PostgreSQL; for SQLite 4 that read, beside the one that writes.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.connections = Some(connections);
        self
    }

    /// How long a statement waits for a free connection, and for another process's lock on an SQLite file. Default 5 s.
    /// An authority has given up by then: its own
    /// [`store_deadline`](crate::AuthorityBuilder::store_deadline) is 1 s unless it says otherwise.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Opens an SQLite file; see [`SqlStore::sqlite`].
    ///
    /// # Errors
    /// As there, and [`StoreErrorKind::Misconfigured`] for an option that can't be right.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(self, path_or_url: impl AsRef<str>) -> Result<SqlStore, StoreError> {
        self.check()?;
        let backend = Backend::sqlite(path_or_url.as_ref(), self.connections.unwrap_or(4), self.wait).await?;
        self.open(backend).await
    }

    /// Connects to PostgreSQL; see [`SqlStore::postgres`].
    ///
    /// # Errors
    /// As there, and [`StoreErrorKind::Misconfigured`] for an option that can't be right.
    #[cfg(feature = "postgres")]
    pub async fn postgres(self, url: impl AsRef<str>) -> Result<SqlStore, StoreError> {
        self.check()?;
        let backend = Backend::postgres(url.as_ref(), self.connections.unwrap_or(10), self.wait)?;
        self.open(backend).await
    }

    /// Uses a pool of your own making, for settings that a URL can't say. Two of this store's own differ from sqlx's
    /// defaults: `test_before_acquire(false)` saves a round trip per call, and the store repeats what met a dead
    /// connection; `acquire_timeout` is [`wait`](Self::wait), which does not change yours.
    ///
    /// # Errors
    /// As [`postgres`](Self::postgres).
    #[cfg(feature = "postgres")]
    pub async fn postgres_pool(self, pool: sqlx::PgPool) -> Result<SqlStore, StoreError> {
        self.check()?;
        self.open((Backend::Postgres(pool), &super::statements::POSTGRES)).await
    }

    async fn open(self, (backend, dialect): (Backend, &'static Dialect)) -> Result<SqlStore, StoreError> {
        let Self { prefix, wait, .. } = self;
        let statements = Statements::new(dialect, &prefix);
        let born = SystemClock.now();
        let begun = Instant::now();
        while let Err(error) = backend.migrate(&statements, &prefix, secs(born)).await {
            // Two processes that turn one new file to write-ahead logging meet in a lock that SQLite does not wait for.
            if error.kind() != StoreErrorKind::Timeout || begun.elapsed() >= wait {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(SqlStore(Arc::new(Inner { backend, statements, prefix, purge: Purge::default() })))
    }

    fn check(&self) -> Result<(), StoreError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !self.prefix.starts_with(|c: char| c.is_ascii_lowercase())
            || !self.prefix.chars().all(plain)
            || self.prefix.len() > 32
        {
            return Err(misconfigured(ConfigError::new(format!(
                "the table prefix {:?}: a lower-case letter, then lower-case letters, digits and underscores, 32 at \
                 most, are right",
                self.prefix
            ))));
        }
        if self.connections == Some(0) {
            return Err(misconfigured(ConfigError::new("0 connections: at least one is right")));
        }
        if self.wait.is_zero() {
            return Err(misconfigured(ConfigError::new("a wait of 0: a statement needs some time")));
        }
        Ok(())
    }
}
