//! Removes expired rows, in the background and on request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::backend::{Backend, on};
use super::failure::failed;
use super::{Inner, SqlStore, secs};
use crate::store::StoreError;
use crate::time::NumericDate;

/// After how many writes a batch of expired rows is removed: sixteen rows for each that can have been added.
const WRITES_PER_PURGE: u32 = 16;
const PURGE_BATCH: i64 = 256;

/// A batch is removed in the background, so no caller's deadline ends it if the server is silent. Without a limit it
/// would keep its connection, and later batches would wait for it, for as long as the process runs.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Purge {
    writes: AtomicU32,
    is_under_way: Arc<tokio::sync::Mutex<()>>,
}

impl SqlStore {
    /// Removes every session and tombstone that expired at or before `now`, in bounded batches, and says how many.
    /// What expired by `now` and not yet by the database's own clock stays.
    ///
    /// # Errors
    /// If the database failed. Batches that were removed until then stay removed.
    pub async fn purge(&self, now: NumericDate) -> Result<u64, StoreError> {
        while self.0.bound_batch().await.map_err(failed)? > 0 {}
        let mut removed = 0;
        loop {
            match self.0.purge_batch(now).await.map_err(failed)? {
                0 => return Ok(removed),
                batch => removed += batch,
            }
        }
    }

    /// Call it after each write.
    pub(super) fn purge_at_times(&self, now: NumericDate) {
        let Purge { writes, is_under_way } = &self.0.purge;
        if !writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(WRITES_PER_PURGE) {
            return;
        }
        let Ok(under_way) = Arc::clone(is_under_way).try_lock_owned() else { return };
        let inner = Arc::clone(&self.0);
        // Beside the call: what was asked is done, and must be neither delayed nor reported as failed by this.
        tokio::spawn(async move {
            let batches = async {
                inner.bound_batch().await?;
                inner.purge_batch(now).await
            };
            // A failure shows in the next call that matters.
            let _ = tokio::time::timeout(LIMIT, batches).await;
            drop(under_way);
        });
    }
}

impl Inner {
    /// Gives an end to records that were made without one: by releases that knew no horizon, or before it was set. No
    /// token that exists by now is of use after it.
    async fn bound_batch(&self) -> Result<u64, sqlx::Error> {
        let mut bounded = 0;
        for statement in &self.statements.bounds {
            bounded += on!(&self.backend, write, connection => sqlx::query(statement)
                .bind(self.identity.store())
                .bind(secs(NumericDate::MAX))
                .bind(PURGE_BATCH)
                .execute(connection)
                .await
                .map(|done| done.rows_affected()))?;
        }
        Ok(bounded)
    }

    async fn purge_batch(&self, now: NumericDate) -> Result<u64, sqlx::Error> {
        let mut removed = 0;
        for statement in &self.statements.purges {
            removed += on!(&self.backend, write, connection => sqlx::query(statement)
                .bind(secs(now))
                .bind(PURGE_BATCH)
                .execute(connection)
                .await
                .map(|done| done.rows_affected()))?;
        }
        Ok(removed)
    }
}
