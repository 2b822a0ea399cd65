//! Waits until replicas hold a revocation too.

use std::time::Duration;

use futures_util::future::join_all;
use redis::{RedisResult, cmd};

use super::Shared;
use super::address::Servers;
use super::failure::failure;
use super::link::{Link, RESPONSE_TIMEOUT};
use super::script::{Call, Reply};
use crate::store::{StoreError, StoreErrorKind};

/// Longer waits would outlast every deadline; 0 means "for ever" to the server.
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(60));

/// How many replicas a revocation waits for, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) count: usize,
    timeout: Duration,
}

impl Demand {
    pub(super) fn new(count: usize, timeout: Duration) -> Self {
        Self { count, timeout: timeout.clamp(TIMEOUTS.0, TIMEOUTS.1) }
    }
}

/// The connection that waits. `WAIT` blocks whatever comes after it on its connection, so it has one of its own.
pub(super) struct Replicas {
    demand: Demand,
    link: Link,
}

impl Replicas {
    pub(super) async fn connect(demand: Demand, servers: &Servers) -> RedisResult<Self> {
        let link = Link::connect(servers, demand.timeout + RESPONSE_TIMEOUT).await?;
        // A server that forbids the command says so now, and not at the first revocation.
        link.ask(cmd("WAIT").arg(0).arg(1)).await?;
        Ok(Self { demand, link })
    }

    /// Waits until the replicas have what a script has written on the primary.
    ///
    /// Repeats the call on the connection that waits, because `WAIT` counts that connection's writes only. It is made on the
    /// shared connection first, so that it does not queue behind other calls' waits.
    async fn hold(&self, call: &Call) -> Result<(), StoreError> {
        let Demand { count, timeout } = self.demand;
        let acknowledged = call.run_and_wait(&self.link, count, timeout).await?;
        if acknowledged >= count {
            return Ok(());
        }
        Err(StoreError::with_source(
            StoreErrorKind::Timeout,
            format!(
                "it is written, and may not survive a failover: {acknowledged} of {count} replicas acknowledged it within \
                 {timeout:?}"
            ),
        ))
    }
}

impl Shared {
    /// Runs a script that writes, on the replicas that are waited for too.
    pub(super) async fn record(&self, call: &Call) -> Result<Reply, StoreError> {
        let reply = self.ask(call).await?;
        self.hold(call).await?;
        Ok(reply)
    }

    /// Waits until the replicas have what a script wrote.
    pub(super) async fn hold(&self, call: &Call) -> Result<(), StoreError> {
        match &self.replicas {
            Some(replicas) => replicas.hold(call).await,
            None => Ok(()),
        }
    }

    /// The same for calls in many slots, once on each primary: replicas that have its last write have them all.
    pub(super) async fn hold_all(&self, calls: &[Call]) -> Result<(), StoreError> {
        if self.replicas.is_none() {
            return Ok(());
        }
        let places = self.link.one_on_each_primary(calls.iter().map(Call::key)).await.map_err(failure)?;
        let held = places.into_iter().filter_map(|place| calls.get(place)).map(|call| self.hold(call));
        join_all(held).await.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_clamped() {
        let clamped = |timeout| Demand::new(1, timeout).timeout;
        assert_eq!(clamped(Duration::ZERO), TIMEOUTS.0);
        assert_eq!(clamped(Duration::from_secs(2)), Duration::from_secs(2));
        assert_eq!(clamped(Duration::MAX), TIMEOUTS.1);
    }
}
