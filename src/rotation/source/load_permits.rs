//! [`LoadPermits`]: one load of a source at a time.
//!
//! A load can't always be cancelled: a thread that reads from a file system that does not answer may never end. It holds its
//! permit until it ends, so that a source never blocks a second thread.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct LoadPermits(Arc<Semaphore>);

/// Permits one load. The next one begins when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct LoadPermit(#[allow(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>);

tokio::task_local! {
    static PERMIT: LoadPermit;
}

impl Default for LoadPermits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl LoadPermits {
    /// `None` while another load holds the permit.
    pub(crate) fn try_acquire(&self) -> Option<LoadPermit> {
        self.0.clone().try_acquire_owned().ok().map(LoadPermit::new)
    }

    pub(crate) async fn acquire(&self) -> Option<LoadPermit> {
        // An error would mean that the semaphore is closed, which never happens.
        self.0.clone().acquire_owned().await.ok().map(LoadPermit::new)
    }
}

impl LoadPermit {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(permit))
    }

    /// Runs a load that can find this permit by [`current`](Self::current).
    pub(crate) async fn scope<F: Future>(self, load: F) -> F::Output {
        PERMIT.scope(self, load).await
    }

    /// The permit of the load that runs on this task, for threads that it starts. `None` outside a rotation.
    pub(crate) fn current() -> Option<Self> {
        PERMIT.try_with(Self::clone).ok()
    }
}
