//! Revocations as they happen, over LISTEN and NOTIFY.

use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgListener};

use super::backend::Backend;
use super::failure::failed;
use super::pooler::listener;
use super::{Inner, SqlStore};
use crate::store::feed::channel::{self, Channel};
use crate::store::{RevocationFeed, RevocationListener, StoreError, Subscription};

/// On PostgreSQL; see [Notifications](SqlStore#notifications).
impl RevocationFeed for SqlStore {
    async fn subscribe(&self, listener: RevocationListener) -> Result<Subscription, StoreError> {
        let options = match &self.0.backend {
            Backend::Postgres(pool) => pool.connect_options(),
            #[cfg(feature = "sqlite")]
            Backend::Sqlite { .. } => {
                return Err(super::failure::misconfigured(crate::error::ConfigError::new(
                    "SQLite does not announce revocations: use `Cached` without `hearing_revocations`",
                )));
            }
        };
        let name = self.0.channel();
        let open = move || open(Arc::clone(&options), name.clone());
        Ok(channel::listen(channel::in_time(open()).await?, open, listener))
    }
}

impl Inner {
    pub(super) fn channel(&self) -> String {
        format!("{}revocations", self.statements.prefix)
    }
}

async fn open(options: Arc<PgConnectOptions>, channel: String) -> Result<PgListener, StoreError> {
    let opening = async {
        // A connection of its own: one of the store's pool would be gone for as long as it listens.
        let mut listener = listener(&options).await?;
        listener.listen(&channel).await?;
        Ok(listener)
    };
    opening.await.map_err(failed)
}

impl Channel for PgListener {
    async fn next(&mut self) -> Option<String> {
        // `None`: the connection is lost.
        let told = self.try_recv().await.ok()??;
        Some(told.payload().to_owned())
    }

    async fn is_alive(&mut self) -> bool {
        // Any answer would do. This question makes the server look for room: a queue of notifications that was full
        // stays so, with nobody behind any more, until somebody asks.
        sqlx::query("SELECT pg_notification_queue_usage()").execute(self).await.is_ok()
    }
}
