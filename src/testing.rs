//! What an application's tests need: a clock that they set. For tests of a store see
//! [`store::conformance`](crate::store::conformance).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::{Clock, NumericDate};

/// A clock for tests that changes only when it is set. Clones share one reading.
///
/// ```
/// use tower_reissue::{Clock, ManualClock};
///
/// let clock = ManualClock::at(1_800_000_000);
/// clock.advance(60);
/// assert_eq!(clock.now().as_secs(), 1_800_000_060);
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that reads `secs` seconds since the Unix epoch.
    pub fn at(secs: u64) -> Self {
        Self(Arc::new(AtomicU64::new(secs)))
    }

    /// Moves the clock to `secs` seconds since the Unix epoch, backwards too.
    pub fn set(&self, secs: u64) {
        self.0.store(secs, Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, secs: u64) {
        self.0.fetch_add(secs, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> NumericDate {
        NumericDate::from_secs(self.0.load(Ordering::SeqCst))
    }
}
