//! [`AnyStore`]: a store whose type is chosen at run time.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::erased::ErasedStore;
use super::{
    ClaimsStore, Horizon, Page, Presented, Retention, Revocation, Rotated, Rotation, SessionPage, Standing,
    StoreError, StoreHorizon, SubjectId,
};
use crate::time::NumericDate;

/// A store whose type is chosen at run time, by configuration for instance. Clones share it.
///
/// Each call that has to be waited for costs one more allocation. A store with a [`RevocationFeed`](super::RevocationFeed)
/// goes into [`Cached`](super::Cached) first, and that into an `AnyStore`: this type has no feed.
///
/// ```
/// # use std::time::Duration;
/// use tower_reissue::store::{AnyStore, Cached, MemoryStore};
///
/// fn store(cached: bool) -> AnyStore {
///     match cached {
///         true => AnyStore::new(Cached::new(MemoryStore::new()).for_at_most(Duration::from_secs(1))),
///         false => AnyStore::new(MemoryStore::new()),
///     }
/// }
/// # let _ = (store(true), store(false));
/// ```
#[derive(Clone)]
pub struct AnyStore(Arc<dyn ErasedStore>);

impl AnyStore {
    /// Forgets the type of `store`.
    pub fn new(store: impl ClaimsStore) -> Self {
        Self(Arc::new(store))
    }

    fn inner(&self) -> Arc<dyn ErasedStore> {
        Arc::clone(&self.0)
    }
}

impl ClaimsStore for AnyStore {
    fn standing(&self, presented: &Presented) -> impl Future<Output = Result<Standing, StoreError>> + Send {
        self.inner().standing(*presented)
    }

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        self.0.standing_now(presented)
    }

    fn epoch(&self) -> Option<u64> {
        self.0.epoch()
    }

    fn rotate(&self, rotation: Rotation) -> impl Future<Output = Result<Rotated, StoreError>> + Send {
        self.inner().rotate(rotation)
    }

    fn revoke(
        &self,
        revocation: Revocation,
        retention: Retention,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.inner().revoke(revocation, retention)
    }

    fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> impl Future<Output = Result<SessionPage, StoreError>> + Send {
        self.inner().sessions(subject, now, page)
    }

    fn horizon(&self, need: Horizon) -> impl Future<Output = Result<StoreHorizon, StoreError>> + Send {
        self.inner().horizon(need)
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        self.0.horizon_now(need)
    }

    fn raise_horizon(
        &self,
        to: Horizon,
        now: NumericDate,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.inner().raise_horizon(to, now)
    }
}

impl fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyStore").finish_non_exhaustive()
    }
}
