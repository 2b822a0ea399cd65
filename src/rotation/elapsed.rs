//! The time that passes for a rotation. It does not depend on what the system's clock is set to.
//!
//! A rotation only waits, so it needs durations and no dates.

use tokio::time::Instant;

use crate::time::NumericDate;
use crate::time::{Clock, SystemClock};

/// A longer step of the clock counts as a wrong reading.
const STEP: u64 = 3600;

/// The default clock: the system's clock at the start, plus the monotonic time since. Setting the system's clock has no effect.
/// The time for which a machine is suspended may not count.
pub(super) struct MonotonicClock {
    start: NumericDate,
    since: Instant,
}

impl MonotonicClock {
    pub(super) fn start() -> Self {
        Self { start: SystemClock.now(), since: Instant::now() }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> NumericDate {
        self.start.after(self.since.elapsed().as_secs())
    }
}

/// Counts the seconds that pass between readings of a clock that may be set. The count never decreases.
#[derive(Debug, Default)]
pub(super) struct Elapsed {
    passed: u64,
    last: u64,
    highest: u64,
}

impl Elapsed {
    /// The seconds that have passed when the clock has this reading.
    pub(super) fn at(&mut self, reading: NumericDate) -> u64 {
        let reading = reading.as_secs();
        if reading >= self.last {
            // After a reading far behind, only the time past the highest reading counts.
            let from = if reading - self.last > STEP { self.highest } else { self.last };
            self.passed = self.passed.saturating_add(reading.saturating_sub(from));
            self.last = reading;
        } else if self.last - reading > STEP {
            // Continue from here. Waiting until the clock is back where it was could take for ever.
            self.last = reading;
        }
        self.highest = self.highest.max(reading);
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_never_back_however_the_clock_is_set() {
        let mut elapsed = Elapsed::default();
        let first = elapsed.at(NumericDate::from_secs(1_000_000));
        let far = 1_000_000 + 500_000;
        for (reading, passed) in [
            (1_000_000, 0),
            (1_000_010, 10),
            // A small step back is waited for.
            (1_000_005, 10),
            (1_000_010, 10),
            (1_000_011, 11),
            // One reading far behind is nothing, and the way back is what passed since.
            (0, 11),
            (1_000_021, 21),
            // One far ahead is believed, and the way back stops nothing.
            (far, 500_000),
            (1_000_030, 500_000),
            (1_000_031, 500_001),
            // There again: not twice.
            (far, 500_001),
            (far + 1, 500_002),
        ] {
            assert_eq!(elapsed.at(NumericDate::from_secs(reading)) - first, passed, "reads {reading}");
        }
        assert!(elapsed.at(NumericDate::MAX) >= elapsed.at(NumericDate::default()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_default_clock_counts_what_passes() {
        let clock = MonotonicClock::start();
        let start = clock.now();
        for passed in [0, 1, 3600] {
            tokio::time::advance(std::time::Duration::from_secs(passed)).await;
            assert!(clock.now() >= start.after(passed));
        }
        assert_eq!(clock.now(), start.after(3601));
    }
}
