//! The options of a store, and the checks when it opens.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backend::Backend;
#[cfg(feature = "sqlite")]
use super::failure::at_file;
use super::failure::{failed, misconfigured};
use super::proof::Identity;
use super::purge::Purge;
use super::statements::{Dialect, Statements};
use super::{Inner, SqlStore, secs};
use crate::error::ConfigError;
use crate::store::known_horizon::KnownHorizon;
use crate::store::{Horizon, StoreError, StoreErrorKind};
use crate::time::Clock as _;
use crate::time::SystemClock;

/// The options of an [`SqlStore`]. Made by [`SqlStore::builder`].
#[derive(Clone)]
#[must_use = "a builder opens nothing until `sqlite` or `postgres`"]
pub struct SqlStoreBuilder {
    prefix: String,
    #[cfg(feature = "postgres")]
    password: Option<String>,
    connections: Option<u32>,
    wait: Duration,
    horizon: Option<Horizon>,
}

/// A longer one has no use, and a sum of instants past the last one is a panic.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

impl SqlStoreBuilder {
    pub(super) fn new() -> Self {
        Self {
            prefix: "reissue_".to_owned(),
            #[cfg(feature = "postgres")]
            password: None,
            connections: None,
            wait: Duration::from_secs(5),
            horizon: None,
        }
    }

    /// The prefix of its tables' names. Default `reissue_`. A lower-case letter, then lower-case letters, digits and
    /// underscores, at most 32. Two services that share a database but no sessions need different ones.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The password for PostgreSQL, unescaped; in the URL it would have to be percent-encoded. It replaces the URL's.
    #[cfg(feature = "postgres")]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The most connections at once. Default 10 for PostgreSQL; for SQLite 4 that read, in addition to the one that
    /// writes.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.connections = Some(connections);
        self
    }

    /// How long a statement waits for a free connection or for another process's lock on an SQLite file, and how long
    /// opening waits for a PostgreSQL server's answer (at least 1 s). Default 5 s, at most a day. An authority gives up
    /// earlier: its own [`store_deadline`](crate::AuthorityBuilder::store_deadline) is 1 s by default.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait.min(LONGEST_WAIT);
        self
    }

    /// The least [horizon](Horizon) of the store: for how long after a session's start its tokens can be used by any
    /// authority on it. It is recorded when the store opens, raised if the recorded one is smaller, and never lowered.
    /// Default: the first call of an authority sets the largest need of those built by then; see [the
    /// manual](crate::manual::operating).
    pub fn horizon(mut self, horizon: Horizon) -> Self {
        self.horizon = Some(horizon);
        self
    }

    /// Opens an SQLite file; see [`SqlStore::sqlite`].
    ///
    /// # Errors
    /// As there, and [`StoreErrorKind::Misconfigured`] for an option that can't be right.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(self, path_or_url: impl AsRef<str>) -> Result<SqlStore, StoreError> {
        self.check()?;
        let file = path_or_url.as_ref();
        let open = async {
            let backend = Backend::sqlite(file, self.connections.unwrap_or(4), self.wait).await?;
            self.open(backend).await
        };
        open.await.map_err(|error| at_file(file, error))
    }

    /// Connects to PostgreSQL; see [`SqlStore::postgres`].
    ///
    /// # Errors
    /// As there, and [`StoreErrorKind::Misconfigured`] for an option that can't be right.
    #[cfg(feature = "postgres")]
    pub async fn postgres(self, url: impl AsRef<str>) -> Result<SqlStore, StoreError> {
        self.check()?;
        let connections = self.connections.unwrap_or(10);
        let backend = Backend::postgres(url.as_ref(), self.password.as_deref(), connections, self.wait)?;
        self.open(backend).await
    }

    /// Uses your own connection pool, of sqlx 0.9, for settings that a URL can't express. The store's own pool
    /// differs from sqlx's defaults in two settings: `test_before_acquire(false)` saves a round trip for each call,
    /// because the store repeats a call that meets a dead connection; and `acquire_timeout` is [`wait`](Self::wait),
    /// which does not change yours.
    ///
    /// The feature names sqlx's version. Another version will be another feature, so that this crate's version does
    /// not change with sqlx's.
    ///
    /// # Errors
    /// As for [`postgres`](Self::postgres).
    #[cfg(feature = "sqlx_0_9")]
    pub async fn postgres_pool(self, pool: sqlx::PgPool) -> Result<SqlStore, StoreError> {
        self.check()?;
        self.open((Backend::Postgres(pool), &super::statements::POSTGRES)).await
    }

    async fn open(self, (backend, dialect): (Backend, &'static Dialect)) -> Result<SqlStore, StoreError> {
        let Self { prefix, wait, horizon: least, .. } = self;
        #[cfg(feature = "postgres")]
        #[allow(irrefutable_let_patterns, reason = "without the feature `sqlite`")]
        if let Backend::Postgres(pool) = &backend {
            super::pooler::refuse_shared_sessions(&pool.connect_options(), wait).await?;
        }
        let begun = Instant::now();
        let id = loop {
            match backend.migrate(dialect, &prefix, secs(SystemClock.now())).await {
                // Two processes that turn one new file to write-ahead logging meet in a lock that SQLite does not wait
                // for.
                Err(error) if error.kind() == StoreErrorKind::Timeout && begun.elapsed() < wait => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                done => break done?,
            }
        };
        let (identity, statements) = (Identity::of(id).map_err(failed)?, Statements::new(dialect, &prefix));
        let (known, purge) = (KnownHorizon::default(), Purge::default());
        let inner = Inner { backend, statements, identity, known, purge };
        let store = SqlStore(Arc::new(inner));
        match least {
            Some(least) => _ = store.raise_horizon_to(least, SystemClock.now()).await?,
            None => store.read_horizon().await?,
        }
        Ok(store)
    }

    fn check(&self) -> Result<(), StoreError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !self.prefix.starts_with(|c: char| c.is_ascii_lowercase())
            || !self.prefix.chars().all(plain)
            || self.prefix.len() > 32
        {
            return Err(misconfigured(ConfigError::new(format!(
                "the table prefix {:?}: use a lower-case letter, then lower-case letters, digits and underscores, at \
                 most 32",
                self.prefix
            ))));
        }
        if self.connections == Some(0) {
            return Err(misconfigured(ConfigError::new("0 connections: set at least one")));
        }
        if self.wait.is_zero() {
            return Err(misconfigured(ConfigError::new("a wait of 0: a statement needs some time")));
        }
        Ok(())
    }
}

/// No password.
impl fmt::Debug for SqlStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStoreBuilder")
            .field("table_prefix", &self.prefix)
            .field("max_connections", &self.connections)
            .field("wait", &self.wait)
            .field("horizon", &self.horizon)
            .finish_non_exhaustive()
    }
}
