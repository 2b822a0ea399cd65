//! How long a duration from configuration can be.

use std::time::Duration;

/// Ten years: nothing is told to take longer and means it. Where a longer duration has a meaning of its own, or is a
/// mistake, the option says so.
pub(crate) const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The duration, or [`LONGEST`] where it is longer, so that adding it to an instant can't overflow.
pub(crate) fn clamped(time: Duration) -> Duration {
    time.min(LONGEST)
}
