//! Time, as tokens count it: whole seconds since the Unix epoch, read from an injected [`Clock`].
//!
//! The decision core never reads a clock. It gets one reading for each decision, so a test of a time rule is a table of instants,
//! without sleeping.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest duration that a setting takes, in seconds. A longer one is probably a mistake.
pub(crate) const TEN_YEARS: u64 = 315_360_000;

/// The largest leeway and future tolerance, in seconds.
pub(crate) const MAX_TOLERANCE: u64 = 60;

/// The source of the current time. It is read once for each decision.
///
/// A closure that returns a [`NumericDate`] is a clock too.
pub trait Clock: Send + Sync + 'static {
    /// The current time, floored to whole seconds. It must not panic: without the time nothing can be judged, so the
    /// request fails.
    fn now(&self) -> NumericDate;
}

impl<F: Fn() -> NumericDate + Send + Sync + 'static> Clock for F {
    fn now(&self) -> NumericDate {
        self()
    }
}

/// The operating system's clock, which is the default.
///
/// On Linux it is `CLOCK_REALTIME_COARSE`, which costs a fraction of the exact clock and may lag one timer tick
/// behind it: 1 to 10 ms, depending on the kernel's `CONFIG_HZ`. A token may be admitted that much longer past its
/// `exp`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> NumericDate {
        NumericDate::from_secs(secs_since_epoch())
    }
}

// A clock set before 1970 reads as 0: every token is then "issued in the future" and refused.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(assume_not_unix)))]
fn secs_since_epoch() -> u64 {
    rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec.try_into().unwrap_or(0)
}

#[cfg(any(not(any(target_os = "linux", target_os = "android")), assume_not_unix))]
fn secs_since_epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A JWT NumericDate (RFC 7519 §2): whole seconds since the Unix epoch, never past the year 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumericDate(u64);

impl NumericDate {
    /// 9999-12-31T23:59:59Z, the latest instant a claim may name.
    pub const MAX: Self = Self(253_402_300_799);

    /// The instant `secs` seconds after the epoch, at most [`NumericDate::MAX`].
    pub const fn from_secs(secs: u64) -> Self {
        if secs > Self::MAX.0 { Self::MAX } else { Self(secs) }
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This instant as a [`SystemTime`].
    pub fn as_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }

    /// `secs` later, at most [`NumericDate::MAX`].
    pub(crate) const fn after(self, secs: u64) -> Self {
        Self::from_secs(self.0.saturating_add(secs))
    }

    /// `secs` earlier, at least the epoch.
    pub(crate) const fn before(self, secs: u64) -> Self {
        Self(self.0.saturating_sub(secs))
    }

    /// Seconds from `earlier` to this instant. 0 if `earlier` is not earlier.
    pub(crate) const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for NumericDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The longest duration that an option takes: ten years. Options for which a longer one has a meaning or is an error say so.
pub(crate) const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The duration, at most [`LONGEST`], so that adding it to an instant can't overflow.
pub(crate) fn clamped(duration: Duration) -> Duration {
    duration.min(LONGEST)
}
