//! Revocations as they happen, over publish and subscribe.

use futures_util::StreamExt as _;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Client, ConnectionInfo};

use super::{RedisStore, link};
use crate::store::feed::channel::{self, Channel};
use crate::store::{Hear, RevocationFeed, StoreError, StoreErrorKind, Subscription};

/// By publish and subscribe, on a connection of its own. A cluster spreads what is published to every node, so any
/// node serves.
impl RevocationFeed for RedisStore {
    async fn subscribe(&self, hear: Hear) -> Result<Subscription, StoreError> {
        let (nodes, channel) = (self.0.nodes.clone(), self.0.keys.channel());
        let mut first = Err(StoreError::new(StoreErrorKind::Unavailable));
        for node in nodes.clone() {
            first = channel::in_time(open(Some(node), channel.clone())).await;
            if first.is_ok() {
                break;
            }
        }
        let mut candidates = nodes.into_iter().cycle();
        Ok(channel::listen(first?, move || open(candidates.next(), channel.clone()), hear))
    }
}

async fn open(node: Option<ConnectionInfo>, channel: String) -> Result<Subscribed, StoreError> {
    let node = node.ok_or(StoreErrorKind::Misconfigured)?;
    let opening = async {
        let mut subscribed: PubSub = Client::open(node)?.get_async_pubsub().await?;
        subscribed.subscribe(channel).await?;
        let (sink, stream) = subscribed.split();
        Ok(Subscribed { sink, stream })
    };
    opening.await.map_err(link::failure)
}

struct Subscribed {
    sink: PubSubSink,
    stream: PubSubStream,
}

impl Channel for Subscribed {
    async fn next(&mut self) -> Option<String> {
        let message = self.stream.next().await?;
        Some(String::from_utf8_lossy(message.get_payload_bytes()).into_owned())
    }

    async fn is_alive(&mut self) -> bool {
        self.sink.ping::<redis::Value>().await.is_ok()
    }
}
