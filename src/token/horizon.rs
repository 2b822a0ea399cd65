//! [`Horizon`]: how long after its start a session can be of use to any authority on one store.

use std::fmt;

use crate::time::{MAX_TOLERANCE, NumericDate};

/// The longest time after a session's start at which one of its tokens can still be used.
///
/// A store has one horizon for all authorities on it, as durable as the store. A revocation is kept for that long
/// after it was made. An authority needs its session limit (or the longest life of a token without `iat`, if that is
/// longer), plus the largest of grace, leeway and in-flight allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Horizon {
    /// This many seconds.
    Secs(u64),
    /// Sessions are unbounded: revocations are kept for ever.
    Unbounded,
}

/// How far ahead of its clock an authority may date a session that must begin after a revocation, in seconds. The revocation reaches
/// ahead, and its clock may be ahead by the tolerance.
pub(crate) const fn furthest_ahead(tolerance: u64) -> u64 {
    2 * tolerance + 1
}

/// How far ahead of a store's clock a session may be dated when it begins, in seconds: after a revocation, by a node whose clock is
/// ahead by the tolerance.
pub(crate) const fn how_far_ahead(tolerance: u64) -> u64 {
    tolerance + furthest_ahead(tolerance)
}

/// The same for any service on the store, whatever its tolerance.
pub(crate) const MAX_AHEAD: u64 = how_far_ahead(MAX_TOLERANCE);

/// The horizon of a store, and its history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreHorizon {
    /// The current horizon.
    pub current: Horizon,
    /// Each time it was raised, the earliest first.
    pub raises: Vec<Raise>,
}

/// A raise of the horizon. Revocations made before it were kept for the old horizon only, so sessions begun before it
/// end at the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raise {
    /// When, by the store's clock or the caller's, whichever was later.
    pub at: NumericDate,
    /// The old horizon, in seconds.
    pub from: u64,
}

/// The most raises that are recorded. Beyond that, the two earliest are merged into one that is as strict as both.
const MAX_RAISES: usize = 64;

impl StoreHorizon {
    /// A horizon that was never raised.
    pub fn new(current: Horizon) -> Self {
        Self { current, raises: Vec::new() }
    }

    /// A horizon as a store read it back, with the raises in the order in which they were made.
    pub fn with_raises(current: Horizon, raises: impl IntoIterator<Item = Raise>) -> Self {
        Self { current, raises: raises.into_iter().collect() }
    }

    /// Raises it at this instant. Returns `false` without a change if it is not smaller. It is never lowered, because tokens for
    /// which it was set may exist.
    pub fn raise(&mut self, to: Horizon, at: NumericDate) -> bool {
        let Horizon::Secs(from) = self.current else { return false };
        if to <= self.current {
            return false;
        }
        self.current = to;
        self.raises.push(Raise { at, from });
        if self.raises.len() > MAX_RAISES {
            let earliest = self.raises.remove(0);
            // The next one is not earlier, unless a clock stepped back.
            if let Some(next) = self.raises.first_mut() {
                *next = Raise { at: next.at.max(earliest.at), from: next.from.min(earliest.from) };
            }
        }
        true
    }

    /// The raises from a horizon below what an authority needs. They shorten its sessions.
    pub(crate) fn raises_below(&self, need: Horizon) -> impl Iterator<Item = Raise> {
        self.raises.iter().copied().filter(move |raise| Horizon::Secs(raise.from) < need)
    }
}

impl Horizon {
    /// The instant this long after another. [`NumericDate::MAX`] if it is unbounded.
    pub(crate) fn after(self, instant: NumericDate) -> NumericDate {
        match self {
            Self::Secs(secs) => instant.after(secs),
            Self::Unbounded => NumericDate::MAX,
        }
    }
}

impl fmt::Display for Horizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secs(secs) => write!(f, "{secs} s"),
            Self::Unbounded => f.write_str("unbounded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> NumericDate {
        NumericDate::from_secs(secs)
    }

    #[test]
    fn a_horizon_is_raised_with_its_instant_and_never_lowered() {
        let mut horizon = StoreHorizon::new(Horizon::Secs(100));
        for (to, raised) in [
            (Horizon::Secs(99), false),
            (Horizon::Secs(100), false),
            (Horizon::Secs(101), true),
            (Horizon::Unbounded, true),
            (Horizon::Unbounded, false),
            (Horizon::Secs(500), false),
        ] {
            assert_eq!(horizon.raise(to, at(7)), raised, "{to}");
        }
        assert_eq!(horizon.current, Horizon::Unbounded);
        assert_eq!(horizon.raises, [Raise { at: at(7), from: 100 }, Raise { at: at(7), from: 101 }]);
        let below = |need| horizon.raises_below(need).map(|raise| raise.from).collect::<Vec<_>>();
        assert_eq!(below(Horizon::Secs(100)), [0; 0]);
        assert_eq!(below(Horizon::Secs(101)), [100]);
        assert_eq!(below(Horizon::Unbounded), [100, 101]);
    }

    #[test]
    fn raises_without_number_are_kept_as_few_that_are_as_strict() {
        let mut horizon = StoreHorizon::new(Horizon::Secs(1));
        for n in 1..=1_000 {
            assert!(horizon.raise(Horizon::Secs(1 + n), at(n)));
        }
        assert_eq!(horizon.raises.len(), MAX_RAISES);
        let end = |start: NumericDate| {
            horizon.raises.iter().filter(|r| start <= r.at).map(|r| start.after(r.from)).min()
        };
        for start in 0..=1_000 {
            let exact = at(start).after(start.max(1));
            assert!(end(at(start)).is_some_and(|end| end <= exact), "{start}");
        }
    }
}
