//! [`Gate`]: limits the loads that tokens with an unknown `kid` cause. A request loads the source of the issuer that its token
//! claims; a sign-out loads the own source.
//!
//! Each source has a gate of its own: one load at a time and one per cooldown, a bounded number of waiting requests, and a
//! bounded wait. The load does not depend on the token, and nothing of the token is sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::keyring::handle::Refetched;
use crate::keyring::handle::Refetching;

/// How long a request waits for a load, and how many may wait for one source.
const MAX_WAIT: Duration = Duration::from_secs(1);
const MAX_WAITERS: usize = 256;

/// The limits for one source.
pub(super) struct Gate {
    last: Mutex<Option<Load>>,
    waiters: Arc<Semaphore>,
}

struct Load {
    started: Instant,
    /// `None` while it is running.
    outcome: watch::Receiver<Option<Refetched>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { last: Mutex::new(None), waiters: Arc::new(Semaphore::new(MAX_WAITERS)) }
    }
}

impl Gate {
    /// Waits for the running load, or for a new one by `reload`, whose result says whether the source answered.
    ///
    /// `None` if a load within the cooldown was answered: the ring holds what the source has.
    pub(super) fn wait<F>(
        &self,
        runtime: &Handle,
        cooldown: Duration,
        reload: impl FnOnce() -> F,
    ) -> Option<Refetching>
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let mut outcome = self.current_load(runtime, cooldown, reload);
        let known = *outcome.borrow();
        match known {
            Some(Refetched::Current) => return None,
            // It was not answered, so the source may have the key.
            Some(Refetched::Unreachable) => return Some(unreachable()),
            None => {}
        }
        let Ok(permit) = self.waiters.clone().try_acquire_owned() else { return Some(unreachable()) };
        let runtime = runtime.clone();
        Some(Box::pin(async move {
            let _permit = permit;
            let timed = {
                // For the timer: the request may be served outside tokio.
                let _entered = runtime.enter();
                timeout(MAX_WAIT, outcome.wait_for(Option::is_some))
            };
            match timed.await {
                Ok(Ok(outcome)) => outcome.unwrap_or(Refetched::Unreachable),
                _ => Refetched::Unreachable,
            }
        }))
    }

    /// When the last load began.
    pub(super) fn last_begun(&self) -> Option<Instant> {
        Some(self.last.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.started)
    }

    /// The running load, or the last one within the cooldown, or a new one. It runs in a task of its own, so it does not end
    /// with the request that caused it.
    fn current_load<F>(
        &self,
        runtime: &Handle,
        cooldown: Duration,
        reload: impl FnOnce() -> F,
    ) -> watch::Receiver<Option<Refetched>>
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = &*last {
            // `has_changed` fails if the sender was dropped without a result, because its task was cancelled.
            let is_running = load.outcome.borrow().is_none() && load.outcome.has_changed().is_ok();
            if is_running || load.started.elapsed() < cooldown {
                return load.outcome.clone();
            }
        }
        let (send, outcome) = watch::channel(None);
        let reload = reload();
        runtime.spawn(async move {
            let outcome = if reload.await { Refetched::Current } else { Refetched::Unreachable };
            let _ = send.send(Some(outcome));
        });
        *last = Some(Load { started: Instant::now(), outcome: outcome.clone() });
        outcome
    }
}

/// The result without a wait: for a request over the bounds, or after a failure within the cooldown.
fn unreachable() -> Refetching {
    Box::pin(std::future::ready(Refetched::Unreachable))
}
