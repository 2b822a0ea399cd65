//! The connection: one server or a cluster, multiplexed, reconnecting.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, Slot, SlotAddr,
};
use redis::{Client, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value, cmd};

use super::address::{Servers, tcp_settings};

/// The authority's deadline comes first; this is for callers without one.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two attempts to connect: well under the second within which a server that is back must serve again.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(100));
const RETRIES: usize = 2;
/// If nothing was heard for so long on a connection that somebody waits on, it is not merely slow.
const SILENCE: Duration = Duration::from_millis(250);

pub(super) enum Link {
    Server(Box<Server>),
    Cluster(ClusterConnection),
}

impl Link {
    /// `patience` is how long an answer may take.
    pub(super) async fn connect(servers: &Servers, patience: Duration) -> RedisResult<Self> {
        if let ([node], false) = (&*servers.nodes, servers.is_cluster) {
            let client = servers.client(node.clone())?;
            let manager =
                ConnectionManager::new_with_config(client.clone(), manager_config(patience)).await?;
            let current = ArcSwap::from_pointee(Current::new(manager));
            let lacks_slots = AtomicBool::new(false);
            return Ok(Self::Server(Server { client, patience, current, lacks_slots }.into()));
        }
        let builder = ClusterClientBuilder::new(servers.nodes.clone());
        #[cfg(feature = "redis-tls")]
        let builder = match &servers.certificates {
            Some(certificates) => builder.certs(certificates.clone()),
            None => builder,
        };
        let cluster = builder
            .retries(3)
            .min_retry_wait(millis(RETRY_DELAYS.0))
            .max_retry_wait(millis(RETRY_DELAYS.1))
            .connection_timeout(CONNECTION_TIMEOUT)
            .response_timeout(patience)
            .tcp_settings(tcp_settings())
            .build()?;
        Ok(Self::Cluster(cluster.get_async_connection().await?))
    }

    /// Sends a command that may safely arrive twice: every one of ours may, for a rotation that is repeated is given
    /// what it recorded the first time, and a revocation that is dated by what is recorded names its call.
    pub(super) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        match self {
            // It follows redirections and tries again by itself.
            Self::Cluster(cluster) => command.query_async(&mut cluster.clone()).await,
            Self::Server(server) => server.try_twice(Ask::One(command)).await,
        }
    }

    /// Whether one script may name keys of several slots.
    pub(super) fn has_every_slot(&self) -> bool {
        matches!(self, Self::Server(server) if !server.lacks_slots.load(Ordering::Relaxed))
    }

    /// Notes that a script of several slots was refused, or did not find all its keys.
    pub(super) fn lacks_slots(&self) {
        if let Self::Server(server) = self {
            server.lacks_slots.store(true, Ordering::Relaxed);
        }
    }

    /// Has it tried again.
    pub(super) fn may_have_every_slot(&self) {
        if let Self::Server(server) = self {
            server.lacks_slots.store(false, Ordering::Relaxed);
        }
    }

    /// Two questions in one round trip; `None` for a cluster, where their slots may lie on two nodes.
    pub(super) async fn ask_both(&self, first: &Cmd, second: &Cmd) -> Option<RedisResult<(Value, Value)>> {
        let Self::Server(server) = self else { return None };
        let mut both = redis::pipe();
        both.add_command(first.clone()).add_command(second.clone());
        let replies = server.try_twice(Ask::Both(&both)).await;
        Some(replies.and_then(|replies| Ok(redis::from_redis_value(replies)?)))
    }

    /// Two commands on one connection, one right after the other, to the primary that has the key.
    pub(super) async fn ask_in_turn(
        &self,
        key: &str,
        first: Cmd,
        second: Cmd,
    ) -> RedisResult<(Value, Value)> {
        let mut both = redis::pipe();
        both.add_command(first).add_command(second);
        let replies = match self {
            Self::Server(server) => server.try_twice(Ask::Both(&both)).await?,
            Self::Cluster(cluster) => {
                let primary = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                Value::Array(cluster.clone().route_pipeline(both, 0, 2, primary).await?).extract_error()?
            }
        };
        Ok(redis::from_redis_value(replies)?)
    }

    /// The places of some of the keys: one on each primary that has any of them.
    pub(super) async fn one_on_each_primary<'a>(
        &self,
        keys: impl Iterator<Item = &'a str>,
    ) -> RedisResult<Vec<usize>> {
        let places =
            keys.enumerate().map(|(place, key)| (Slot::for_key(key), place)).collect::<HashMap<_, _>>();
        let Self::Cluster(cluster) = self else {
            return Ok(places.into_values().max().into_iter().collect());
        };
        let mut ask = cmd("CLUSTER");
        ask.arg("SLOTS");
        let primary = RoutingInfo::SingleNode(SingleNodeRoutingInfo::RandomPrimary);
        let ranges: Vec<Vec<Value>> =
            redis::from_redis_value(cluster.clone().route_command(ask, primary).await?)?;
        let (mut primaries, mut found) = (Vec::new(), Vec::new());
        for range in ranges {
            let Ok([first, last, primary]) =
                <[Value; 3]>::try_from(range.into_iter().take(3).collect::<Vec<_>>())
            else {
                return Err((ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS").into());
            };
            let (first, last): (u16, u16) = (redis::from_redis_value(first)?, redis::from_redis_value(last)?);
            let place = (first..=last).filter_map(Slot::new).find_map(|slot| places.get(&slot));
            if let (Some(place), false) = (place, primaries.contains(&primary)) {
                primaries.push(primary);
                found.push(*place);
            }
        }
        Ok(found)
    }

    /// A field of a section of `INFO`, from every primary that answers.
    pub(super) async fn info(&self, section: &str, field: &str) -> Vec<String> {
        let mut info = cmd("INFO");
        info.arg(section);
        let reply = match self {
            Self::Server(_) => self.ask(&info).await,
            Self::Cluster(cluster) => {
                let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                cluster.clone().route_command(info, all).await
            }
        };
        let mut found = Vec::new();
        // An operator may forbid the question; the documentation is what is left then.
        if let Ok(reply) = reply {
            collect(&reply, field, &mut found);
        }
        found
    }
}

pub(super) struct Server {
    client: Client,
    patience: Duration,
    // Replaced when the server turns out to be a replica, and when nothing is heard on it any more.
    current: ArcSwap<Current>,
    /// It turned out to be a node of a cluster, or a proxy before several servers.
    lacks_slots: AtomicBool,
}

struct Current {
    manager: ConnectionManager,
    answers: AtomicU64,
}

impl Server {
    async fn try_twice(&self, question: Ask<'_>) -> RedisResult<Value> {
        match self.put(&question).await {
            // The manager learns of a lost connection by the first command that fails on it.
            Err(error) if error.is_connection_dropped() || error.is_connection_refusal() => {
                self.put(&question).await
            }
            reply => reply,
        }
    }

    async fn put(&self, question: &Ask<'_>) -> RedisResult<Value> {
        let current = self.current.load_full();
        let heard = current.answers.load(Ordering::Relaxed);
        let wait = Wait { server: self, current, heard, began: Instant::now() };
        let reply = question.put(&wait.current.manager).await;
        if !matches!(&reply, Err(error) if error.is_timeout()) {
            wait.current.answers.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(&reply, Err(error) if is_of_replica(error)) {
            // Behind this name there was a failover: the next connection may reach the new primary.
            self.replace(&wait.current);
        }
        reply
    }

    /// Connects anew, unless somebody has replaced this connection already.
    fn replace(&self, asked: &Arc<Current>) {
        if Arc::ptr_eq(&self.current.load(), asked)
            && let Ok(fresh) =
                ConnectionManager::new_lazy_with_config(self.client.clone(), manager_config(self.patience))
        {
            self.current.store(Current::new(fresh).into());
        }
    }
}

impl Current {
    fn new(manager: ConnectionManager) -> Self {
        Self { manager, answers: AtomicU64::new(0) }
    }
}

/// A question that is under way, answered or given up.
struct Wait<'a> {
    server: &'a Server,
    current: Arc<Current>,
    heard: u64,
    began: Instant,
}

/// A connection that a firewall or a balancer forgot takes every question without a word, for minutes where somebody
/// acknowledges its bytes. Where nobody was answered on it while this one waited, the next is put on another.
impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let is_silent = self.current.answers.load(Ordering::Relaxed) == self.heard;
        if is_silent && self.began.elapsed() >= SILENCE && tokio::runtime::Handle::try_current().is_ok() {
            self.server.replace(&self.current);
        }
    }
}

enum Ask<'a> {
    One(&'a Cmd),
    Both(&'a Pipeline),
}

impl Ask<'_> {
    async fn put(&self, manager: &ConnectionManager) -> RedisResult<Value> {
        let mut connection = manager.clone();
        match self {
            Self::One(command) => command.query_async(&mut connection).await,
            Self::Both(commands) => commands.query_async(&mut connection).await,
        }
    }
}

/// By one that serves no questions either while it has lost its primary, too.
fn is_of_replica(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MASTERDOWN"))
}

fn collect(reply: &Value, field: &str, found: &mut Vec<String>) {
    let mut read = |text: &str| {
        let values = text.lines().filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.extend(values.map(|value| value.trim().to_owned()));
    };
    match reply {
        Value::BulkString(text) => read(&String::from_utf8_lossy(text)),
        Value::VerbatimString { text, .. } => read(text),
        Value::Array(values) => values.iter().for_each(|value| collect(value, field, found)),
        Value::Map(pairs) => pairs.iter().for_each(|(_, value)| collect(value, field, found)),
        _ => {}
    }
}

fn manager_config(patience: Duration) -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_number_of_retries(RETRIES)
        .set_min_delay(RETRY_DELAYS.0)
        .set_max_delay(RETRY_DELAYS.1)
        .set_connection_timeout(Some(CONNECTION_TIMEOUT))
        .set_response_timeout(Some(patience))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
