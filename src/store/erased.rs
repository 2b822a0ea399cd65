//! An object-safe form of [`ClaimsStore`], so that no store type appears in a user's signatures.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{
    ClaimsStore, Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionPage, Standing,
    StoreError, StoreHorizon, SubjectId,
};
use crate::caught::{caught, record_panic};
use crate::time::NumericDate;

pub(crate) type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Each future owns what it needs, because a response future outlives the borrow of its authority.
pub(crate) trait ErasedStore: Send + Sync + 'static {
    fn standing(self: Arc<Self>, presented: Presented) -> StoreFuture<Standing>;
    fn standing_now(&self, presented: &Presented) -> Option<Standing>;
    fn epoch(&self) -> Option<u64>;
    fn rotate(self: Arc<Self>, rotation: Rotation) -> StoreFuture<Rotated>;
    fn revoke(self: Arc<Self>, revocation: Revocation, retention: Retention) -> StoreFuture<()>;
    fn sessions(
        self: Arc<Self>,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> StoreFuture<SessionPage>;
    fn horizon(self: Arc<Self>, need: Horizon) -> StoreFuture<StoreHorizon>;
    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon>;
    fn raise_horizon(self: Arc<Self>, to: Horizon, now: NumericDate) -> StoreFuture<()>;
}

impl<S: ClaimsStore> ErasedStore for S {
    fn standing(self: Arc<Self>, presented: Presented) -> StoreFuture<Standing> {
        Box::pin(async move { ClaimsStore::standing(&*self, &presented).await })
    }

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        at_once(|| ClaimsStore::standing_now(self, presented))
    }

    fn epoch(&self) -> Option<u64> {
        at_once(|| ClaimsStore::epoch(self))
    }

    fn rotate(self: Arc<Self>, rotation: Rotation) -> StoreFuture<Rotated> {
        Box::pin(async move { ClaimsStore::rotate(&*self, rotation).await })
    }

    fn revoke(self: Arc<Self>, revocation: Revocation, retention: Retention) -> StoreFuture<()> {
        Box::pin(async move { ClaimsStore::revoke(&*self, revocation, retention).await })
    }

    fn sessions(
        self: Arc<Self>,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> StoreFuture<SessionPage> {
        Box::pin(async move { ClaimsStore::sessions(&*self, subject, now, page).await })
    }

    fn horizon(self: Arc<Self>, need: Horizon) -> StoreFuture<StoreHorizon> {
        Box::pin(async move { ClaimsStore::horizon(&*self, need).await })
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        at_once(|| ClaimsStore::horizon_now(self, need))
    }

    fn raise_horizon(self: Arc<Self>, to: Horizon, now: NumericDate) -> StoreFuture<()> {
        Box::pin(async move { ClaimsStore::raise_horizon(&*self, to, now).await })
    }
}

/// A store's answer that needs no waiting. `None` if the store panics; then it is asked again, with a wait. It costs
/// nothing if the compiler sees that the call can't panic.
#[inline(always)]
fn at_once<T>(ask: impl FnOnce() -> Option<T>) -> Option<T> {
    caught(ask).unwrap_or_else(|| {
        record_panic("store");
        None
    })
}
