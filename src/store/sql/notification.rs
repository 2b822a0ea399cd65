//! A revocation told, where the database tells, by the statement that records it.

use std::future::Future;

use super::Inner;
use super::backend::Backend;
use super::failure::is_untold;
use crate::store::Revocation;
#[cfg(feature = "postgres")]
use crate::store::feed::message;

/// Where a revocation is told, and what.
pub(super) struct Notification {
    pub(super) channel: String,
    pub(super) message: String,
}

impl Inner {
    /// Records a revocation and tells it; where it can't be told, records it all the same. Who was not told asks again
    /// soon enough; the revocation holds.
    pub(super) async fn record_and_tell<T, F>(
        &self,
        revocation: &Revocation,
        record: impl Fn(Option<Notification>) -> F,
    ) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        match record(self.news(revocation)).await {
            Err(error) if is_untold(&error) => record(None).await,
            recorded => recorded,
        }
    }

    fn news(&self, revocation: &Revocation) -> Option<Notification> {
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
