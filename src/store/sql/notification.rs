//! Notifies other nodes of a revocation in the statement that records it, if the database can.

use std::future::Future;

use super::Inner;
use super::backend::Backend;
use super::failure::is_notification_failure;
use crate::store::Revocation;
#[cfg(feature = "postgres")]
use crate::store::feed::message;

/// A message about a revocation, and its channel.
pub(super) struct Notification {
    pub(super) channel: String,
    pub(super) message: String,
}

impl Inner {
    /// Records a revocation and notifies the other nodes. If it can't notify them, it records the revocation without: they read
    /// it when their cached answers expire.
    pub(super) async fn record_and_notify<T, F>(
        &self,
        revocation: &Revocation,
        record: impl Fn(Option<Notification>) -> F,
    ) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        match record(self.notification(revocation)).await {
            Err(error) if is_notification_failure(&error) => record(None).await,
            recorded => recorded,
        }
    }

    fn notification(&self, revocation: &Revocation) -> Option<Notification> {
        let _ = revocation;
        match &self.backend {
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => {
                Some(Notification { channel: self.channel(), message: message::write(revocation) })
            }
            #[cfg(feature = "sqlite")]
            Backend::Sqlite { .. } => None,
        }
    }
}
