//! Keeps a channel open: pings it while it is silent, and opens it again if it broke.

use std::future::Future;
use std::time::Duration;

use super::{FeedEvent, RevocationListener, Subscription, message};
use crate::caught::{caught, record_panic};
use crate::store::{StoreError, StoreErrorKind};

/// How long the channel may be silent before it is pinged, and how long the answer to a ping may take.
const ASK_EVERY: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// A handshake takes several round trips.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
const REOPEN_AFTER: Duration = Duration::from_millis(100);

/// An open channel.
pub(in crate::store) trait Channel: Send + 'static {
    /// The next message, or `None` if the channel broke. If the future is dropped before it is done, no message is
    /// lost.
    fn next(&mut self) -> impl Future<Output = Option<String>> + Send;

    /// Pings the server.
    fn is_alive(&mut self) -> impl Future<Output = bool> + Send;
}

/// Passes on the messages. If the channel breaks, calls `open` until there is a new one.
pub(in crate::store) fn listen<C, F>(
    mut channel: C,
    mut open: impl FnMut() -> F + Send + 'static,
    listener: RevocationListener,
) -> Subscription
where
    C: Channel,
    F: Future<Output = Result<C, StoreError>> + Send,
{
    let task = tokio::spawn(async move {
        loop {
            until_it_breaks(&mut channel, &listener).await;
            channel = loop {
                tokio::time::sleep(REOPEN_AFTER).await;
                if let Ok(channel) = in_time(open()).await {
                    break channel;
                }
            };
            // Reported only now, because from here on every revocation is received.
            tell(&listener, FeedEvent::Resumed);
        }
    });
    Subscription::until_dropped(move || task.abort())
}

/// An attempt to open one, bounded in time.
pub(in crate::store) async fn in_time<C>(
    opening: impl Future<Output = Result<C, StoreError>> + Send,
) -> Result<C, StoreError> {
    tokio::time::timeout(OPEN_WITHIN, opening).await.unwrap_or(Err(StoreErrorKind::Timeout.into()))
}

/// A listener that panics misses this event and gets the next.
fn tell(listener: &RevocationListener, event: FeedEvent) {
    if caught(|| listener(event)).is_none() {
        record_panic("subscribe");
    }
}

async fn until_it_breaks(channel: &mut impl Channel, listener: &RevocationListener) {
    loop {
        match tokio::time::timeout(ASK_EVERY, channel.next()).await {
            // What can't be read may have been any revocation.
            Ok(Some(said)) => {
                tell(listener, message::read(&said).map_or(FeedEvent::Resumed, FeedEvent::Revoked))
            }
            Ok(None) => return,
            Err(_) => match tokio::time::timeout(ANSWER_WITHIN, channel.is_alive()).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Says this many things that can't be read, and then nothing any more.
    struct Talkative(usize);

    impl Channel for Talkative {
        async fn next(&mut self) -> Option<String> {
            self.0 = self.0.checked_sub(1)?;
            Some("?".to_owned())
        }

        async fn is_alive(&mut self) -> bool {
            true
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_panics_hears_what_follows() {
        let heard = Arc::new(AtomicUsize::new(0));
        let counted = heard.clone();
        let listener: RevocationListener = Arc::new(move |_| {
            let nth = counted.fetch_add(1, Ordering::SeqCst);
            assert!(nth > 1, "it panics over the first two");
        });
        let subscription = listen(Talkative(2), || async { Ok(Talkative(2)) }, listener);
        tokio::time::sleep(REOPEN_AFTER * 3).await;
        assert!(heard.load(Ordering::SeqCst) > 5, "{heard:?}");
        drop(subscription);
    }
}
