//! The refetch for an unknown `kid`: one at a time, one per cooldown, with bounded waiters and a bounded wait.
//!
//! Nothing of the token goes out: the sources are asked what they always are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::manager::{Manager, unreachable};
use crate::keys::live::{Refetched, Refetching};

/// How long a request waits, and how many may.
const MAX_WAIT: Duration = Duration::from_secs(1);
const MAX_WAITERS: usize = 256;

/// What requests with an unknown `kid` meet.
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

impl Manager {
    pub(super) fn wait_for_refetch(self: Arc<Self>) -> Option<Refetching> {
        if !self.has_foreign() {
            return None;
        }
        let mut outcome = self.flight();
        let landed = *outcome.borrow();
        match landed {
            // Just asked: they know no such key.
            Some(Refetched::Current) => return None,
            // Just asked, and not answered: whether there is such a key, nobody can say.
            Some(Refetched::Unreachable) => return Some(unreachable()),
            None => {}
        }
        let Ok(place) = self.gate.waiters.clone().try_acquire_owned() else { return Some(unreachable()) };
        Some(Box::pin(async move {
            let _place = place;
            match timeout(MAX_WAIT, outcome.wait_for(Option::is_some)).await {
                Ok(Ok(outcome)) => outcome.unwrap_or(Refetched::Unreachable),
                _ => Refetched::Unreachable,
            }
        }))
    }

    /// The fetch under way, or the last one within the cooldown, or a new one. It is nobody's own: a waiter that goes
    /// away does not end it.
    fn flight(self: &Arc<Self>) -> watch::Receiver<Option<Refetched>> {
        let mut last = self.gate.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = &*last {
            // A sender that is gone without a word was broken off, with its runtime.
            let under_way = flight.outcome.borrow().is_none() && flight.outcome.has_changed().is_ok();
            if under_way || flight.begun.elapsed() < self.settings.cooldown {
                return flight.outcome.clone();
            }
        }
        let (send, outcome) = watch::channel(None);
        let manager = self.clone();
        self.runtime.spawn(async move {
            let all = manager.load_foreign(false).await;
            let _ = send.send(Some(if all { Refetched::Current } else { Refetched::Unreachable }));
        });
        *last = Some(Flight { begun: Instant::now(), outcome: outcome.clone() });
        outcome
    }
}
