//! Revocations as they happen, over publish and subscribe.

use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Client, ConnectionInfo};

use super::{RedisStore, link};
use crate::NumericDate;
use crate::store::{
    Hear, Pushed, Revocation, RevocationFeed, SessionId, StoreError, StoreErrorKind, SubjectId, Subscription,
    TokenId,
};

/// How long the channel may be silent before it is asked whether it lives, and how long it may think about it.
const ASK_EVERY: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// By publish and subscribe, on a connection of its own. A cluster spreads what is published to every node, so any
/// node serves.
impl RevocationFeed for RedisStore {
    async fn subscribe(&self, hear: Hear) -> Result<Subscription, StoreError> {
        let (nodes, channel) = (self.0.nodes.clone(), self.0.keys.channel());
        let mut first = Err(StoreError::new(StoreErrorKind::Unavailable));
        for node in &nodes {
            first = open(node, &channel).await;
            if first.is_ok() {
                break;
            }
        }
        let first = first?;
        let task = tokio::spawn(listen(first, nodes, channel, hear));
        Ok(Subscription::until_dropped(move || task.abort()))
    }
}

async fn listen(
    mut open_channel: (PubSubSink, PubSubStream),
    nodes: Vec<ConnectionInfo>,
    channel: String,
    hear: Hear,
) {
    loop {
        until_it_breaks(&mut open_channel, &hear).await;
        let mut candidates = nodes.iter().cycle();
        open_channel = loop {
            tokio::time::sleep(RECONNECT_AFTER).await;
            let Some(node) = candidates.next() else { return };
            if let Ok(open_channel) = open(node, &channel).await {
                break open_channel;
            }
        };
        // Only now: whatever is revoked from here on is heard.
        hear(Pushed::Resumed);
    }
}

async fn until_it_breaks((sink, stream): &mut (PubSubSink, PubSubStream), hear: &Hear) {
    loop {
        match tokio::time::timeout(ASK_EVERY, stream.next()).await {
            Ok(Some(message)) => {
                let said = String::from_utf8_lossy(message.get_payload_bytes());
                // What can't be read may have been any revocation.
                hear(parse(&said).map_or(Pushed::Resumed, Pushed::Revoked));
            }
            Ok(None) => return,
            Err(_) => match tokio::time::timeout(ANSWER_WITHIN, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

async fn open(node: &ConnectionInfo, channel: &str) -> Result<(PubSubSink, PubSubStream), StoreError> {
    let opening = async {
        let mut channel_on: PubSub = Client::open(node.clone())?.get_async_pubsub().await?;
        channel_on.subscribe(channel).await?;
        Ok(channel_on.split())
    };
    match tokio::time::timeout(ANSWER_WITHIN, opening).await {
        Ok(opened) => opened.map_err(link::failure),
        Err(_) => Err(StoreErrorKind::Timeout.into()),
    }
}

pub(super) fn message(revocation: &Revocation) -> String {
    match revocation {
        Revocation::Session(session) => format!("session {session}"),
        Revocation::Token { session, token } => format!("token {session} {token}"),
        Revocation::SubjectBefore { subject, instant } => format!("subject {subject} {instant}"),
    }
}

fn parse(message: &str) -> Option<Revocation> {
    let mut words = message.split(' ');
    let revocation = match (words.next()?, words.next()?, words.next()) {
        ("session", session, None) => Revocation::Session(SessionId::from_bytes(id(session)?)),
        ("token", session, Some(token)) => Revocation::Token {
            session: SessionId::from_bytes(id(session)?),
            token: TokenId::from_bytes(id(token)?),
        },
        ("subject", subject, Some(instant)) => Revocation::SubjectBefore {
            subject: SubjectId::from_bytes(id(subject)?),
            instant: NumericDate::from_secs(instant.parse().ok()?),
        },
        _ => return None,
    };
    words.next().is_none().then_some(revocation)
}

pub(super) fn id(text: &str) -> Option<[u8; 32]> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_heard_as_it_was_said() {
        let (session, token) = (SessionId::from_bytes([1; 32]), TokenId::from_bytes([2; 32]));
        let subject = SubjectId::from_bytes([3; 32]);
        for revocation in [
            Revocation::Session(session),
            Revocation::Token { session, token },
            Revocation::SubjectBefore { subject, instant: NumericDate::MAX },
        ] {
            assert_eq!(parse(&message(&revocation)), Some(revocation));
        }
        for noise in ["", "session", "session x", "subject a b", "session a b c", "token  "] {
            assert_eq!(parse(noise), None, "{noise:?}");
        }
    }
}
