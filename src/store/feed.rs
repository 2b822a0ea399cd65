//! Revocation feeds: they let a cache in front of a shared store forget a session as soon as it is revoked.

#[cfg(any(feature = "redis", feature = "postgres"))]
pub(super) mod channel;
#[cfg(any(feature = "redis", feature = "postgres"))]
pub(super) mod message;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::{ClaimsStore, Revocation, StoreError};

/// A store that reports revocations as they happen, whoever made them. [`Cached`](super::Cached) can listen to it.
///
/// Delivery is best effort, because a channel may break. A listener may rely on it to be fast, never to be correct.
pub trait RevocationFeed: ClaimsStore {
    /// Calls `listener` with every revocation from its return on, until the subscription is dropped. It reopens a channel
    /// that broke, and says so.
    ///
    /// # Errors
    /// When the channel can't be opened.
    fn subscribe(
        &self,
        listener: RevocationListener,
    ) -> impl Future<Output = Result<Subscription, StoreError>> + Send;
}

impl<S: RevocationFeed> RevocationFeed for Arc<S> {
    fn subscribe(
        &self,
        listener: RevocationListener,
    ) -> impl Future<Output = Result<Subscription, StoreError>> + Send {
        S::subscribe(self, listener)
    }
}

/// The function that gets the events. It must not block.
pub type RevocationListener = Arc<dyn Fn(FeedEvent) + Send + Sync>;

/// An event of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedEvent {
    /// This was revoked.
    Revoked(Revocation),
    /// The channel was broken and is open again: any revocation in between may have been missed.
    Resumed,
}

/// An open channel. Dropping it closes the channel.
pub struct Subscription(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Subscription {
    /// A channel that `close` closes.
    pub fn until_dropped(close: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(close)))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(close) = self.0.take() {
            close();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
