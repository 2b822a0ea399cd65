//! Making the connection, and the refusal of a server that can't keep a store's promises.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use redis::{ConnectionInfo, IntoConnectionInfo as _, RedisResult};

use super::keys::Keys;
use super::link::{self, Link};
use super::{RedisStore, Shared};
use crate::ConfigError;
use crate::store::{StoreError, StoreErrorKind};

/// A connection in the making; await it. Made by [`RedisStore::connect`] and [`RedisStore::connect_cluster`].
#[must_use = "nothing is connected until this is awaited"]
pub struct RedisConnect {
    nodes: Vec<RedisResult<ConnectionInfo>>,
    is_cluster: bool,
    prefix: String,
    allow_eviction: bool,
}

impl RedisConnect {
    pub(super) fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>, is_cluster: bool) -> Self {
        let nodes = urls.into_iter().map(|url| {
            let info = url.as_ref().into_connection_info()?;
            Ok(info.set_tcp_settings(link::tcp_settings()))
        });
        Self { nodes: nodes.collect(), is_cluster, prefix: "tower-reissue".to_owned(), allow_eviction: false }
    }

    /// What every key begins with; `tower-reissue` by default. Two services on one server that must not share
    /// sessions need two prefixes.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Options that give up a protection. Each says which.
    pub fn dangerous(self) -> DangerousRedisConnect {
        DangerousRedisConnect(self)
    }

    async fn connect(self) -> Result<RedisStore, StoreError> {
        if self.prefix.is_empty() || self.prefix.contains(['{', '}', '*', '?', '[']) {
            return Err(misconfigured(format!(
                "the prefix is {:?}: letters, digits and punctuation but braces, brackets, `*` and `?` are right",
                self.prefix
            )));
        }
        let nodes = self.nodes.into_iter().collect::<RedisResult<Vec<_>>>();
        // The library's error may hold the URL, and that a password.
        let nodes = nodes.map_err(|_| {
            misconfigured(
                "the URL can't be read: `redis://[user:password@]host:port[/database]` is right".into(),
            )
        })?;
        let addresses = nodes.iter().map(|node| node.addr().to_string()).collect::<Vec<_>>();
        let feeds = nodes.clone();
        let link = match (self.is_cluster, nodes.into_iter().next()) {
            (_, None) => return Err(misconfigured("no URL: give that of one node at least".into())),
            (true, Some(_)) => Link::cluster(feeds.clone()).await,
            (false, Some(node)) => Link::server(node).await,
        };
        let link = link.map_err(link::failure)?;
        let evicting = link.eviction_policies().await.into_iter().find(|policy| policy != "noeviction");
        if let (Some(policy), false) = (evicting, self.allow_eviction) {
            return Err(misconfigured(format!(
                "the server's maxmemory-policy is {policy}: `noeviction` is right, for an evicted tombstone is an \
                 undone logout"
            )));
        }
        let store = RedisStore(Shared { link, keys: Keys::new(self.prefix), addresses, nodes: feeds }.into());
        // What began before this instant, and has no record, is unknown from here on.
        store.0.record_births(0).await?;
        Ok(store)
    }
}

impl IntoFuture for RedisConnect {
    type Output = Result<RedisStore, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.connect())
    }
}

/// Without the URLs: they hold passwords.
impl std::fmt::Debug for RedisConnect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConnect")
            .field("is_cluster", &self.is_cluster)
            .field("prefix", &self.prefix)
            .field("allow_eviction", &self.allow_eviction)
            .finish_non_exhaustive()
    }
}

/// Options that give up a protection; made by [`RedisConnect::dangerous`].
#[must_use = "nothing is connected until this is awaited"]
#[derive(Debug)]
pub struct DangerousRedisConnect(RedisConnect);

impl DangerousRedisConnect {
    /// Accepts a server whose `maxmemory-policy` evicts.
    ///
    /// Costs: a full server forgets a revocation to make room, and the session it ended is live again, unseen.
    pub fn allow_eviction(mut self) -> RedisConnect {
        self.0.allow_eviction = true;
        self.0
    }
}

fn misconfigured(message: String) -> StoreError {
    StoreError::with_source(StoreErrorKind::Misconfigured, ConfigError::new(message))
}
