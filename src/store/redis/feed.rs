//! Revocations as they happen, over publish and subscribe.

use futures_util::StreamExt as _;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Client, RedisResult};

use super::RedisStore;
use super::failure::failure;
use crate::store::feed::channel::{self, Channel};
use crate::store::{RevocationFeed, RevocationListener, StoreError, StoreErrorKind, Subscription};

/// By publish and subscribe, on a connection of its own. A cluster spreads what is published to every node, so any
/// node serves.
impl RevocationFeed for RedisStore {
    async fn subscribe(&self, listener: RevocationListener) -> Result<Subscription, StoreError> {
        let (servers, channel) = (&self.0.servers, self.0.keys.channel());
        let clients = servers.nodes.iter().map(|node| servers.client(node.clone()));
        let clients = clients.collect::<RedisResult<Vec<_>>>().map_err(failure)?;
        let mut first = Err(StoreError::new(StoreErrorKind::Unavailable));
        for client in clients.clone() {
            first = channel::in_time(open(Some(client), channel.clone())).await;
            if first.is_ok() {
                break;
            }
        }
        let mut candidates = clients.into_iter().cycle();
        Ok(channel::listen(first?, move || open(candidates.next(), channel.clone()), listener))
    }
}

async fn open(client: Option<Client>, channel: String) -> Result<Subscribed, StoreError> {
    let client = client.ok_or(StoreErrorKind::Misconfigured)?;
    let opening = async {
        let mut subscribed: PubSub = client.get_async_pubsub().await?;
        subscribed.subscribe(channel).await?;
        let (sink, stream) = subscribed.split();
        Ok(Subscribed { sink, stream })
    };
    opening.await.map_err(failure)
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
