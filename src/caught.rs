//! Calls code of the application (an observer, a hook, a subscriber, a store) and catches its panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;

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

/// A future of the application's. Its output is `None` if it panicked. It may panic when it is dropped half-way, too.
pub(crate) struct Caught<F>(Option<F>);

impl<F: Future + Unpin> Caught<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(Some(future))
    }
}

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Option<F::Output>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.0.as_mut();
        match caught(|| future.map_or(Poll::Pending, |future| future.poll_unpin(cx))) {
            Some(polled) => polled.map(Some),
            None => Poll::Ready(None),
        }
    }
}

impl<F> Drop for Caught<F> {
    fn drop(&mut self) {
        caught(|| drop(self.0.take()));
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    Panicked,
    Late,
}

/// Waits for a future of the application's. The timer is only used if it does not answer at once, so what always does needs no
/// runtime.
pub(crate) async fn answer_within<F: Future + Unpin>(
    deadline: Duration,
    future: F,
) -> Result<F::Output, NoAnswer> {
    let mut caught = Caught::new(future);
    let answered = match (&mut caught).now_or_never() {
        Some(answered) => answered,
        None => tokio::time::timeout(deadline, caught).await.map_err(|_| NoAnswer::Late)?,
    };
    answered.ok_or(NoAnswer::Panicked)
}

/// Records that code of the application panicked, by the name of the option that it was given with.
pub(crate) fn record_panic(hook: &'static str) {
    // The logger may panic as well.
    #[cfg(feature = "tracing")]
    caught(|| crate::log::log!(ERROR, hook, "a hook panicked; that counts as a no"));
    count_panic(hook);
}

/// Only counts it: something else reports it.
pub(crate) fn count_panic(hook: &'static str) {
    #[cfg(feature = "metrics")]
    caught(|| metrics::counter!("tower_reissue_hook_panicked_total", "hook" => hook).increment(1));
    #[cfg(not(feature = "metrics"))]
    let _ = hook;
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

    #[tokio::test(start_paused = true)]
    async fn a_future_that_panics_or_is_late_gives_no_answer() {
        struct Dropped;
        impl Drop for Dropped {
            fn drop(&mut self) {
                panic!("when it is dropped");
            }
        }
        let within =
            |future: Pin<Box<dyn Future<Output = i32>>>| answer_within(Duration::from_secs(1), future);
        assert_eq!(within(Box::pin(async { 1 })).await, Ok(1));
        assert_eq!(within(Box::pin(async { panic!("at once") })).await, Err(NoAnswer::Panicked));
        let later = async {
            tokio::task::yield_now().await;
            panic!("later")
        };
        assert_eq!(within(Box::pin(later)).await, Err(NoAnswer::Panicked));
        let late = async {
            let _dropped = Dropped;
            std::future::pending().await
        };
        assert_eq!(within(Box::pin(late)).await, Err(NoAnswer::Late));
    }
}
