//! Calls code of the application (an observer, a hook, a subscriber, a store) and catches its panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the application. `None` if it panicked. It can be treated as unwind-safe, because it changes no state of this crate.
#[inline(always)]
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(discard).ok()
}

/// Drops the payload of a panic, which may panic again.
#[cold]
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

/// Records that code of the application panicked, by the name of the option that it was given with.
pub(crate) fn record_panic(hook: &'static str) {
    // The logger may panic as well.
    caught(|| {
        #[cfg(feature = "tracing")]
        crate::log::log!(ERROR, hook, "a hook panicked; that counts as a no");
        #[cfg(feature = "metrics")]
        metrics::counter!("tower_reissue_hook_panicked_total", "hook" => hook).increment(1);
        #[cfg(not(any(feature = "tracing", feature = "metrics")))]
        let _ = hook;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_whose_payload_panics_is_caught() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Self);
            }
        }
        assert_eq!(caught(|| std::panic::panic_any(Bomb)), None::<()>);
        assert_eq!(caught(|| 1), Some(1));
    }
}
