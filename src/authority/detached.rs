//! Runs work to its end that its caller may abandon.

use tokio::runtime::Handle;

/// Runs this to its end, even if the returned future is dropped: a client that hangs up must not undo it. Without a runtime it
/// runs in the caller. `None` if it panicked, or the runtime shut down.
pub(crate) async fn detached<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    match Handle::try_current() {
        Ok(runtime) => runtime.spawn(work).await.ok(),
        Err(_) => Some(work.await),
    }
}
