//! [`Turns`]: the loads of one source, one after the other.
//!
//! A load can't always be broken off: a thread that reads a file system which does not answer goes on for ever. It keeps its
//! turn for as long, so that there is never a second such thread.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct Turns(Arc<Semaphore>);

/// Whoever holds a clone of it is at work for this load.
#[derive(Clone)]
pub(crate) struct Turn(#[allow(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>);

tokio::task_local! {
    static TURN: Turn;
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Turns {
    /// `None` while another load has it.
    pub(crate) fn try_next(&self) -> Option<Turn> {
        self.0.clone().try_acquire_owned().ok().map(Turn::new)
    }

    pub(crate) async fn next(&self) -> Option<Turn> {
        // An error would be a closed semaphore, which this one never is.
        self.0.clone().acquire_owned().await.ok().map(Turn::new)
    }
}

impl Turn {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(permit))
    }

    /// Runs a load in this turn.
    pub(crate) async fn during<F: Future>(self, load: F) -> F::Output {
        TURN.scope(self, load).await
    }

    /// The turn of the load that runs here, for what goes on elsewhere in its name. `None` outside a rotation.
    pub(crate) fn current() -> Option<Self> {
        TURN.try_with(Self::clone).ok()
    }
}
