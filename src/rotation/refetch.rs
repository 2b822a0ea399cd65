//! The refetch for an unknown `kid`, from the issuer that the token claims, or from the own source for a token that is to
//! sign out: one at a time, one per cooldown, with bounded waiters and a bounded wait, each source apart from the others.
//!
//! Nothing of the token goes out: the source is asked what it always is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::keyring::handle::Refetched;
use crate::keyring::handle::Refetching;

/// How long a request waits, and how many may wait for one issuer.
const MAX_WAIT: Duration = Duration::from_secs(1);
const MAX_WAITERS: usize = 256;

/// What requests with an unknown `kid` of one source meet.
pub(super) struct Gate {
    last: Mutex<Option<Flight>>,
    waiters: Arc<Semaphore>,
}

struct Flight {
    begun: Instant,
    /// `None` while it is under way.
    outcome: watch::Receiver<Option<Refetched>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { last: Mutex::new(None), waiters: Arc::new(Semaphore::new(MAX_WAITERS)) }
    }
}

impl Gate {
    /// Waits for the fetch under way, or for a new one by `reload`, which tells whether the source answered.
    ///
    /// `None`: the source was asked a moment ago, and knows no such key.
    pub(super) fn wait<F>(
        &self,
        runtime: &Handle,
        cooldown: Duration,
        reload: impl FnOnce() -> F,
    ) -> Option<Refetching>
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let mut outcome = self.flight(runtime, cooldown, reload);
        let landed = *outcome.borrow();
        match landed {
            Some(Refetched::Current) => return None,
            // Just asked, and not answered: whether there is such a key, nobody can say.
            Some(Refetched::Unreachable) => return Some(unreachable()),
            None => {}
        }
        let Ok(place) = self.waiters.clone().try_acquire_owned() else { return Some(unreachable()) };
        let runtime = runtime.clone();
        Some(Box::pin(async move {
            let _place = place;
            let timed = {
                // Whoever serves the request need not run on a runtime of tokio's.
                let _entered = runtime.enter();
                timeout(MAX_WAIT, outcome.wait_for(Option::is_some))
            };
            match timed.await {
                Ok(Ok(outcome)) => outcome.unwrap_or(Refetched::Unreachable),
                _ => Refetched::Unreachable,
            }
        }))
    }

    /// The fetch under way, or the last one within the cooldown, or a new one. It is nobody's own: a waiter that goes
    /// away does not end it.
    fn flight<F>(
        &self,
        runtime: &Handle,
        cooldown: Duration,
        reload: impl FnOnce() -> F,
    ) -> watch::Receiver<Option<Refetched>>
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = &*last {
            // A sender that is gone without a word was broken off, with its runtime.
            let under_way = flight.outcome.borrow().is_none() && flight.outcome.has_changed().is_ok();
            if under_way || flight.begun.elapsed() < cooldown {
                return flight.outcome.clone();
            }
        }
        let (send, outcome) = watch::channel(None);
        let reload = reload();
        runtime.spawn(async move {
            let outcome = if reload.await { Refetched::Current } else { Refetched::Unreachable };
            let _ = send.send(Some(outcome));
        });
        *last = Some(Flight { begun: Instant::now(), outcome: outcome.clone() });
        outcome
    }
}

/// Nobody waits: the answer to what is over the bounds, and to what failed a moment ago.
fn unreachable() -> Refetching {
    Box::pin(std::future::ready(Refetched::Unreachable))
}
