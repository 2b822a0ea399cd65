//! [`RedisStore`] against real servers: its promises and its outages. Each test starts its own server. Its races are in
//! `one_successor`.
#![cfg(feature = "redis")]
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../support/outage.rs"]
mod outage;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/revocations.rs"]
mod revocations;
#[path = "../support/servers.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use outage::{Policy, Service};
use proxy::{Proxy, Weather};
use servers::{RedisCluster, RedisServer};
use support::{kept, without_horizon};
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::{
    Cached, ClaimsStore, Horizon, MemoryStore, Page, Presented, RedisStore, Retention, Revocation, Rotated,
    Rotation, SessionId, SessionPage, Standing, StoreErrorKind, StoreHorizon, SubjectId, SubjectLimit,
    TokenId, conformance,
};
use tower_reissue::{Clock as _, NumericDate, ReissueLayer, SystemClock};

mod clocks;
mod horizon;
mod limits;
mod losses;
mod outages;
mod promises;
mod pushed;
mod refresh;
mod replicas;
mod roles;
mod setup;
mod sharded;
mod tls;
mod version_1;

/// One session and the instants its calls carry; its first token is number 0.
#[derive(Clone, Copy)]
struct Scene {
    n: u64,
    start: u64,
    now: u64,
}

impl Scene {
    fn new(n: u64) -> Self {
        let now = SystemClock.now().as_secs() + 60;
        Self { n, start: now, now }
    }

    fn session(&self) -> SessionId {
        SessionId::from_bytes(name(1, self.n))
    }

    fn subject(&self) -> SubjectId {
        SubjectId::from_bytes(name(2, self.n))
    }

    fn presents(&self, token: u64) -> Presented {
        let (start, now) = (NumericDate::from_secs(self.start), NumericDate::from_secs(self.now));
        Presented::new(self.session(), token_id(token), Some(self.subject()), start, now)
    }

    fn renewal(&self, token: u64, successor: u64) -> Rotation {
        let until = NumericDate::from_secs(self.now + 3600);
        Rotation::renewal(self.presents(token), token_id(successor), claims(successor), until)
    }

    async fn sign_in<S: ClaimsStore>(&self, store: &S) -> Rotated {
        let until = NumericDate::from_secs(self.now + 3600);
        store.rotate(Rotation::sign_in(self.presents(0), claims(0), until)).await.unwrap()
    }

    async fn renew<S: ClaimsStore>(&self, store: &S, token: u64, successor: u64) -> Rotated {
        store.rotate(self.renewal(token, successor)).await.unwrap()
    }

    async fn revoke<S: ClaimsStore>(&self, store: &S) {
        let (now, until) = (NumericDate::from_secs(self.now), NumericDate::from_secs(self.now + 3600));
        store.revoke(Revocation::Session(self.session()), kept(now, until)).await.unwrap();
    }

    async fn standing<S: ClaimsStore>(&self, store: &S, token: u64) -> Result<Standing, StoreErrorKind> {
        store.standing(&self.presents(token)).await.map_err(|error| error.kind())
    }
}

fn name(kind: u8, n: u64) -> [u8; 32] {
    let mut name = [kind; 32];
    // The first bytes choose the slot.
    name[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    name[8..16].copy_from_slice(&n.to_be_bytes());
    name
}

fn token_id(n: u64) -> TokenId {
    TokenId::from_bytes(name(3, n))
}

fn claims(token: u64) -> String {
    format!("{{\"jti\":\"{token}\"}}")
}

fn url(proxy: &Proxy) -> String {
    format!("redis://127.0.0.1:{}", proxy.port())
}

/// With a little more for this machine, which runs other things.
async fn refuses_within<S: ClaimsStore>(store: &S, presented: &Presented, limit: Duration) {
    outage::refuses_within(limit + Duration::from_millis(100), store, presented).await;
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many slots have a birth with nothing lost, and this horizon where one is given.
fn whole_slots<'a>(servers: impl IntoIterator<Item = &'a RedisServer>, horizon: &str) -> u64 {
    let script = "local count = 0 \
                  for _, key in ipairs(redis.call('KEYS', '*:birth')) do \
                    local lost, horizon = unpack(redis.call('HMGET', key, 'l', 'h')) \
                    if not lost and (ARGV[1] == '' or horizon == ARGV[1]) then count = count + 1 end \
                  end \
                  return count";
    let count = |server: &RedisServer| -> u64 {
        let count = server.command(&["EVAL", script, "0", horizon]);
        count.lines().next().unwrap().trim_start_matches(':').parse().unwrap()
    };
    servers.into_iter().map(count).sum()
}

/// Until a process has restored what was lost.
async fn restored(servers: &[RedisServer]) {
    eventually("restored", async || whole_slots(servers, "") == 1024).await;
}
