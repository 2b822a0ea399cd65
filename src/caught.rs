//! Calls into code that is not this crate's: an observer, a hook, a subscriber, a store.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code that is not this crate's; `None` where it panicked. What it panicked over is its own: nothing here is left half
/// done by it.
#[inline(always)]
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}
