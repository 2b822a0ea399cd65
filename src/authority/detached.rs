//! Runs work to its end that its caller may abandon.

use tokio::runtime::Handle;

/// Runs this to its end, even if the returned future is dropped: a client that hangs up must not undo it. Without a runtime it
/// runs in the caller. `None` if it panicked, or the runtime shut down.
pub(crate) async fn detached<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    match Handle::try_current() {
        Ok(runtime) => {
            // What the work logs belongs to the request, even after the request is gone.
            #[cfg(feature = "tracing")]
            let work = tracing::Instrument::in_current_span(work);
            runtime.spawn(work).await.ok()
        }
        Err(_) => Some(work.await),
    }
}

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use tracing::{Instrument, Span, info_span, subscriber};

    use super::*;

    #[tokio::test]
    async fn what_outlives_its_request_logs_in_the_requests_span() {
        let _subscribed = subscriber::set_default(tracing_subscriber::fmt().finish());
        let work = async { Span::current().metadata().map(|span| span.name()) };
        let span = detached(work).instrument(info_span!("request")).await;
        assert_eq!(span, Some(Some("request")));
    }
}
