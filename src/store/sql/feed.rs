//! Revocations as they happen, over LISTEN and NOTIFY.

use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::backend::Backend;
use super::failure::failed;
use super::{Inner, SqlStore};
use crate::store::feed::channel::{self, Channel};
use crate::store::{Hear, RevocationFeed, StoreError, Subscription};

/// On PostgreSQL; see [heard as they happen](SqlStore#heard-as-they-happen).
impl RevocationFeed for SqlStore {
    async fn subscribe(&self, hear: Hear) -> Result<Subscription, StoreError> {
        let options = match &self.0.backend {
            Backend::Postgres(pool) => pool.connect_options(),
            #[cfg(feature = "sqlite")]
            Backend::Sqlite { .. } => {
                return Err(super::failure::misconfigured(crate::ConfigError::new(
                    "SQLite tells nobody of a revocation: a `Cached` in front of it goes without \
                     `hearing_revocations`",
                )));
            }
        };
        let name = self.0.channel();
        let open = move || open(Arc::clone(&options), name.clone());
        Ok(channel::listen(channel::in_time(open()).await?, open, hear))
    }
}

impl Inner {
    pub(super) fn channel(&self) -> String {
        format!("{}revocations", self.prefix)
    }
}

async fn open(options: Arc<PgConnectOptions>, channel: String) -> Result<PgListener, StoreError> {
    let opening = async {
        // A pool because sqlx wants one; of the store's own one, a connection would be gone for as long as it listens.
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.as_ref().clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        // What breaks is opened anew from here, where it can be told that something may have been missed.
        listener.eager_reconnect(false);
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
