//! Opens the connection, and refuses a server that can't keep a store's promises.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use redis::ConnectionInfo;

use super::address::{self, Servers};
use super::failure::failure_at;
use super::keys::Keys;
use super::link::{Link, RESPONSE_TIMEOUT};
use super::replicas::{Demand, Replicas};
use super::{RedisStore, Shared};
use crate::error::ConfigError;
use crate::store::known_horizon::KnownHorizon;
use crate::store::{Horizon, StoreError, StoreErrorKind};

/// A connection that is being set up: await it. Made by [`RedisStore::connect`] and [`RedisStore::connect_cluster`].
#[must_use = "nothing is connected until this is awaited"]
pub struct RedisConnect {
    nodes: Result<Vec<ConnectionInfo>, ConfigError>,
    is_cluster: bool,
    #[cfg(feature = "redis-tls")]
    certificates: Option<redis::TlsCertificates>,
    prefix: String,
    replicas: Option<Demand>,
    horizon: Option<Horizon>,
    allow_eviction: bool,
}

impl RedisConnect {
    pub(super) fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>, is_cluster: bool) -> Self {
        Self {
            nodes: urls.into_iter().map(|url| address::read(url.as_ref())).collect(),
            is_cluster,
            #[cfg(feature = "redis-tls")]
            certificates: None,
            prefix: "tower-reissue".to_owned(),
            replicas: None,
            horizon: None,
            allow_eviction: false,
        }
    }

    /// The prefix of every key. Default `tower-reissue`. Two services on one server that must not share sessions need
    /// two prefixes.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Makes the store's horizon at least this: sets it if there is none, and raises it if it is smaller. Default:
    /// the first call of an authority sets the largest need of those built by then. A horizon is never lowered: see
    /// [`StoreHorizon`](crate::store::StoreHorizon).
    pub fn with_horizon(mut self, horizon: Horizon) -> Self {
        self.horizon = Some(horizon);
        self
    }

    /// Reports a revocation only after `count` replicas of the primary that made it have acknowledged it (`WAIT count
    /// timeout`). Not set by default: **a failover then forgets the revocations and rotations that its replica had
    /// not received**.
    ///
    /// With fewer acknowledgements within `timeout`, revoking is an error of the kind [`StoreErrorKind::Timeout`].
    /// The revocation was still made and holds until a failover; revoke again when the replicas are back. `timeout`
    /// is clamped to 1 ms to 60 s, and should be shorter than the authority's
    /// [`store_deadline`](crate::AuthorityBuilder::store_deadline).
    ///
    /// It protects revocations only if the failover picks a replica that acknowledged: count all replicas that can
    /// become the primary. Rotations and sign-ins do not wait. A failover that forgets a rotation makes the session's
    /// former head the head again. The lost successor is admitted until it expires and is not renewed, and a second
    /// successor may be recorded for the same token. A failover that forgets a sign-in leaves its session out of
    /// listings until its first renewal.
    ///
    /// A raise of the horizon waits as well: in a cluster, for replicas of every primary.
    ///
    /// The wait uses a connection of its own, so that no other call waits for it. A server that forbids `WAIT` is
    /// refused at connect.
    pub fn wait_for_replicas(mut self, count: usize, timeout: Duration) -> Self {
        self.replicas = Some(Demand::new(count, timeout));
        self
    }

    /// Trusts the certificate authorities of this PEM file for `rediss://` URLs, **instead of** the platform's root
    /// certificates, which are the default (`SSL_CERT_FILE` and `SSL_CERT_DIR` are obeyed).
    #[cfg(feature = "redis-tls")]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates_mut().root_cert = Some(pem.into());
        self
    }

    /// Shows the server a client certificate: its chain and its private key, both in PEM. None by default; a Redis server
    /// asks for one unless its `tls-auth-clients` is `no` or `optional`.
    #[cfg(feature = "redis-tls")]
    pub fn client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let (client_cert, client_key) = (chain.into(), key.into());
        self.certificates_mut().client_tls = Some(redis::ClientTlsConfig { client_cert, client_key });
        self
    }

    #[cfg(feature = "redis-tls")]
    fn certificates_mut(&mut self) -> &mut redis::TlsCertificates {
        self.certificates.get_or_insert(redis::TlsCertificates { client_tls: None, root_cert: None })
    }

    /// Options that give up a protection. The documentation of each says which one.
    pub fn dangerous(self) -> DangerousRedisConnect {
        DangerousRedisConnect(self)
    }

    async fn connect(self) -> Result<RedisStore, StoreError> {
        if self.prefix.is_empty() || self.prefix.contains(['{', '}', '*', '?', '[']) {
            return Err(misconfigured(ConfigError::new(format!(
                "the prefix is {:?}: use letters, digits and punctuation other than braces, brackets, `*` and `?`",
                self.prefix
            ))));
        }
        if matches!(self.replicas, Some(Demand { count: 0, .. })) {
            return Err(misconfigured(ConfigError::new(
                "wait_for_replicas(0, …) waits for no replica: set at least one, or leave it out",
            )));
        }
        let servers = Servers {
            nodes: self.nodes.map_err(misconfigured)?,
            is_cluster: self.is_cluster,
            #[cfg(feature = "redis-tls")]
            certificates: self.certificates,
        };
        servers.check().map_err(misconfigured)?;
        let unreachable = |error| failure_at(&servers, error);
        let link = Link::connect(&servers, RESPONSE_TIMEOUT).await.map_err(unreachable)?;
        // A replica of a cluster redirects to its primary by itself.
        if !self.is_cluster && link.info("replication", "role").await.iter().any(|role| role == "slave") {
            return Err(misconfigured(ConfigError::new(
                "the server is a replica: use the URL of the primary, because a replica may not hold a revocation that was \
                 made there",
            )));
        }
        let replicas = match self.replicas {
            Some(demand) => Some(Replicas::connect(demand, &servers).await.map_err(unreachable)?),
            None => None,
        };
        let policies = link.info("memory", "maxmemory_policy").await;
        let evicting = policies.into_iter().find(|policy| policy != "noeviction");
        if let (Some(policy), false) = (evicting, self.allow_eviction) {
            return Err(misconfigured(ConfigError::new(format!(
                "the server's maxmemory-policy is {policy}: it must be `noeviction`, because evicting a tombstone undoes \
                 a sign-out"
            ))));
        }
        let keys = Keys::new(self.prefix);
        let horizon = KnownHorizon::default();
        let (losses, restored, restoring) = Default::default();
        let store =
            RedisStore(Shared { link, replicas, keys, servers, horizon, losses, restored, restoring }.into());
        // What began before this instant, and has no record, is unknown from here on.
        store.0.open(self.horizon).await?;
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
            .field("replicas", &self.replicas)
            .field("horizon", &self.horizon)
            .field("allow_eviction", &self.allow_eviction)
            .finish_non_exhaustive()
    }
}

/// Options that give up a protection. Made by [`RedisConnect::dangerous`].
#[must_use = "nothing is connected until this is awaited"]
#[derive(Debug)]
pub struct DangerousRedisConnect(RedisConnect);

impl DangerousRedisConnect {
    /// Accepts a server whose `maxmemory-policy` evicts.
    ///
    /// Costs: a full server may forget a revocation to make room, and the session is then live again without notice.
    pub fn allow_eviction(mut self) -> RedisConnect {
        self.0.allow_eviction = true;
        self.0
    }
}

fn misconfigured(why: ConfigError) -> StoreError {
    StoreError::with_source(StoreErrorKind::Misconfigured, why)
}
