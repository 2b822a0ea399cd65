//! A store whose horizon was not known when the authority was built.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::erased::StoreFuture;
use super::{
    ErasedStore, Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionPage, Standing,
    StoreError, StoreErrorKind, StoreHorizon, SubjectId,
};
use crate::error::ConfigError;
use crate::time::NumericDate;

/// Records what its authority needs before the first call. Until that is done, every call is an outage.
pub(crate) struct Settling {
    store: Arc<dyn ErasedStore>,
    need: Horizon,
    is_settled: AtomicBool,
}

impl Settling {
    pub(crate) fn new(store: Arc<dyn ErasedStore>, need: Horizon) -> Self {
        Self { store, need, is_settled: AtomicBool::new(false) }
    }

    fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Acquire)
    }

    async fn settled(self: Arc<Self>) -> Result<Arc<dyn ErasedStore>, StoreError> {
        if !self.is_settled() {
            let found = Arc::clone(&self.store).horizon(self.need).await?;
            check_late(&found, self.need)
                .map_err(|error| StoreError::with_source(StoreErrorKind::Misconfigured, error))?;
            self.is_settled.store(true, Ordering::Release);
        }
        Ok(Arc::clone(&self.store))
    }
}

/// Whether revocations are kept for as long as an authority needs.
pub(crate) fn check(found: &StoreHorizon, need: Horizon) -> Result<(), ConfigError> {
    if need <= found.current {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "this authority's sessions are of use for {need} (its session limit, and the largest of grace, leeway and in-flight \
         allowance), and the store keeps revocations for {}: give the store the larger horizon \
         (`MemoryStore::with_horizon`, `RedisConnect::with_horizon`, `SqlStoreBuilder::horizon`, \
         `ClaimsStore::raise_horizon`) before the authority is built, or the authority a \
         shorter session limit",
        found.current
    )))
}

/// The same for an authority that was built before the store told its horizon. It has to be built again: its policy
/// does not know of raises, and would let sessions live on whose revocations have expired.
fn check_late(found: &StoreHorizon, need: Horizon) -> Result<(), ConfigError> {
    if let Err(error) = check(found, need) {
        return Err(ConfigError::new(format!(
            "another authority, which needs less, set the store's horizon after this one was built: {error}; then \
             build it again, for example by restarting its process"
        )));
    }
    match found.raises_below(need).next() {
        None => Ok(()),
        Some(raise) => Err(ConfigError::new(format!(
            "the store's horizon was raised from {} s after this authority was built, so it does not know that sessions \
             from before the raise end by the old horizon: build it again, for example by restarting its process",
            raise.from
        ))),
    }
}

impl ErasedStore for Settling {
    fn standing(self: Arc<Self>, presented: Presented) -> StoreFuture<Standing> {
        Box::pin(async move { self.settled().await?.standing(presented).await })
    }

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        if self.is_settled() { self.store.standing_now(presented) } else { None }
    }

    fn epoch(&self) -> Option<u64> {
        if self.is_settled() { self.store.epoch() } else { None }
    }

    fn rotate(self: Arc<Self>, rotation: Rotation) -> StoreFuture<Rotated> {
        Box::pin(async move { self.settled().await?.rotate(rotation).await })
    }

    fn revoke(self: Arc<Self>, revocation: Revocation, retention: Retention) -> StoreFuture<()> {
        Box::pin(async move { self.settled().await?.revoke(revocation, retention).await })
    }

    fn sessions(
        self: Arc<Self>,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> StoreFuture<SessionPage> {
        Box::pin(async move { self.settled().await?.sessions(subject, now, page).await })
    }

    fn horizon(self: Arc<Self>, need: Horizon) -> StoreFuture<StoreHorizon> {
        Arc::clone(&self.store).horizon(need)
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        self.store.horizon_now(need)
    }

    fn raise_horizon(self: Arc<Self>, to: Horizon, now: NumericDate) -> StoreFuture<()> {
        Arc::clone(&self.store).raise_horizon(to, now)
    }
}
