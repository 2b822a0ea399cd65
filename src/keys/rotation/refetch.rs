//! The refetch for an unknown `kid`, from the issuer that the token claims, or from the own source for a token that is to
//! sign out: one at a time, one per cooldown, with bounded waiters and a bounded wait, each source apart from the others.
//!
//! Nothing of the token goes out: the source is asked what it always is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::manager::Manager;
use crate::keys::live::{Refetched, Refetching};

/// How long a request waits, and how many may wait for one issuer.
const MAX_WAIT: Duration = Duration::from_secs(1);
const MAX_WAITERS: usize = 256;

/// Whose keys are asked for.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    Own,
    /// The trusted issuer at this place.
    Issuer(usize),
}

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

impl Manager {
    pub(super) fn wait_for_refetch(self: Arc<Self>, whose: Whose) -> Option<Refetching> {
        let gate = match whose {
            Whose::Own => &self.own_gate,
            Whose::Issuer(at) => &self.trusted.get(at)?.gate,
        };
        let mut outcome = self.flight(whose, gate);
        let landed = *outcome.borrow();
        match landed {
            // Just asked: it knows no such key.
            Some(Refetched::Current) => return None,
            // Just asked, and not answered: whether there is such a key, nobody can say.
            Some(Refetched::Unreachable) => return Some(unreachable()),
            None => {}
        }
        let Ok(place) = gate.waiters.clone().try_acquire_owned() else { return Some(unreachable()) };
        Some(Box::pin(async move {
            let _place = place;
            let timed = {
                // Whoever serves the request need not run on a runtime of tokio's.
                let _entered = self.runtime.enter();
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
    fn flight(self: &Arc<Self>, whose: Whose, gate: &Gate) -> watch::Receiver<Option<Refetched>> {
        let mut last = gate.last.lock().unwrap_or_else(PoisonError::into_inner);
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
            let answered = match whose {
                Whose::Own => manager.reload_own().await,
                Whose::Issuer(at) => manager.load_foreign(at).await,
            };
            let _ = send.send(Some(if answered { Refetched::Current } else { Refetched::Unreachable }));
        });
        *last = Some(Flight { begun: Instant::now(), outcome: outcome.clone() });
        outcome
    }
}

/// Nobody waits: the answer to what is over the bounds, and to what failed a moment ago.
fn unreachable() -> Refetching {
    Box::pin(std::future::ready(Refetched::Unreachable))
}
