//! The horizon of a remote store, as far as this process knows it.

use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use super::{Horizon, StoreHorizon};

#[derive(Default)]
pub(super) struct KnownHorizon {
    found: ArcSwapOption<StoreHorizon>,
    /// The largest need of the authorities that were built before it was found.
    need: Mutex<Option<Horizon>>,
}

impl KnownHorizon {
    pub(super) fn get(&self) -> Option<StoreHorizon> {
        self.found.load().as_deref().cloned()
    }

    pub(super) fn current(&self) -> Option<Horizon> {
        self.found.load().as_deref().map(|found| found.current)
    }

    /// The same, for an authority that is being built. Where it is not known yet, its need is noted: without that, the
    /// authority whose call comes first would set the horizon to its own need, and fail one that needs more for good.
    pub(super) fn get_for(&self, need: Horizon) -> Option<StoreHorizon> {
        self.get().or_else(|| {
            let mut noted = self.need.lock().unwrap_or_else(PoisonError::into_inner);
            *noted = (*noted).max(Some(need));
            None
        })
    }

    /// The value to set the horizon to if it is not set.
    pub(super) fn need(&self, need: Horizon) -> Horizon {
        self.need.lock().unwrap_or_else(PoisonError::into_inner).map_or(need, |noted| noted.max(need))
    }

    pub(super) fn learn(&self, found: &StoreHorizon) {
        self.found.rcu(|known| match known {
            Some(known) if known.current > found.current => Some(known.clone()),
            _ => Some(found.clone().into()),
        });
    }
}
