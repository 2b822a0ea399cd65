//! The stores, each opened as often as a test has nodes or processes.

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tower_reissue::NumericDate;
use tower_reissue::store::{
    ClaimsStore, Horizon, MemoryStore, Page, Presented, RedisStore, Retention, Revocation, Rotated, Rotation,
    SessionPage, SqlStore, Standing, StoreError, StoreHorizon, SubjectId,
};

use crate::postgres_server::Postgres;
use crate::servers::{RedisCluster, RedisServer};

/// An empty store, with whatever keeps it there.
pub struct Ground {
    pub place: Place,
    _keeps: Option<Box<dyn Any + Send + Sync>>,
}

impl Ground {
    pub fn memory() -> Self {
        Self { place: Place::Memory(Arc::default()), _keeps: None }
    }

    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::Sqlite(dir.path().join("sessions.db").to_str().unwrap().to_owned());
        Self { place, _keeps: Some(Box::new(dir)) }
    }

    /// Tables of its own on one server that all tests share.
    pub fn postgres() -> Self {
        static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("p{}_", COUNTER.fetch_add(1, Ordering::Relaxed));
        Self { place: Place::Postgres { url: SERVER.url(), prefix }, _keeps: None }
    }

    pub fn redis() -> Self {
        let server = RedisServer::start(&[]);
        Self { place: Place::Redis(server.url()), _keeps: Some(Box::new(server)) }
    }

    pub fn redis_cluster() -> Self {
        let cluster = RedisCluster::start();
        Self { place: Place::RedisCluster(cluster.urls()), _keeps: Some(Box::new(cluster)) }
    }
}

/// Where a store is.
#[derive(Clone, Serialize, Deserialize)]
pub enum Place {
    /// No other process sees it.
    #[serde(skip)]
    Memory(Arc<MemoryStore>),
    Sqlite(String),
    Postgres {
        url: String,
        prefix: String,
    },
    Redis(String),
    RedisCluster(Vec<String>),
}

impl Place {
    /// A connection of its own to the one store, but for the memory's.
    pub async fn open(&self) -> Store {
        // Longer than any queue of these tests on a machine that does other things too.
        let sql = SqlStore::builder().wait(Duration::from_secs(60));
        match self {
            Self::Memory(store) => Store::Memory(Arc::clone(store)),
            Self::Sqlite(path) => Store::Sql(sql.sqlite(path).await.unwrap()),
            Self::Postgres { url, prefix } => {
                Store::Sql(sql.table_prefix(prefix).postgres(url).await.unwrap())
            }
            Self::Redis(url) => Store::Redis(RedisStore::connect(url).await.unwrap()),
            Self::RedisCluster(urls) => Store::Redis(RedisStore::connect_cluster(urls).await.unwrap()),
        }
    }
}

/// Any of them.
#[derive(Clone)]
pub enum Store {
    Memory(Arc<MemoryStore>),
    Sql(SqlStore),
    Redis(RedisStore),
}

macro_rules! whichever {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Store::Memory($store) => $call,
            Store::Sql($store) => $call,
            Store::Redis($store) => $call,
        }
    };
}

impl ClaimsStore for Store {
    async fn standing(&self, presented: &Presented) -> Result<Standing, StoreError> {
        whichever!(self, store => store.standing(presented).await)
    }

    fn standing_now(&self, presented: &Presented) -> Option<Standing> {
        whichever!(self, store => store.standing_now(presented))
    }

    fn epoch(&self) -> Option<u64> {
        whichever!(self, store => store.epoch())
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Rotated, StoreError> {
        whichever!(self, store => store.rotate(rotation).await)
    }

    async fn revoke(&self, revocation: Revocation, retention: Retention) -> Result<(), StoreError> {
        whichever!(self, store => store.revoke(revocation, retention).await)
    }

    async fn sessions(
        &self,
        subject: SubjectId,
        now: NumericDate,
        page: Page,
    ) -> Result<SessionPage, StoreError> {
        whichever!(self, store => store.sessions(subject, now, page).await)
    }

    async fn horizon(&self, need: Horizon) -> Result<StoreHorizon, StoreError> {
        whichever!(self, store => store.horizon(need).await)
    }

    fn horizon_now(&self, need: Horizon) -> Option<StoreHorizon> {
        whichever!(self, store => store.horizon_now(need))
    }

    async fn raise_horizon(&self, to: Horizon, now: NumericDate) -> Result<(), StoreError> {
        whichever!(self, store => store.raise_horizon(to, now).await)
    }
}
