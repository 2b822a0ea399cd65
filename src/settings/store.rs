//! The claims store from settings.

use super::Settings;
use super::error::SettingsError;
#[cfg(feature = "redis-tls")]
use super::secret::Place;
use super::types::{Store, effective};
use crate::store::{AnyStore, Cached, ClaimsStore, MemoryStore};

impl Settings {
    pub(super) async fn store(&self) -> Result<Option<AnyStore>, SettingsError> {
        let Some(store) = &self.fields.store else { return Ok(None) };
        let Some(url) = &store.url else {
            return Err(SettingsError::new(format!(
                "{}: the setting `store.url` is missing: expected `memory:`, `redis://…`, `postgres://…` or `sqlite:…`",
                self.origins.describe("store")
            )));
        };
        let url = url.read("store.url", &self.captured, &self.origins).await?;
        let scheme = url.split(':').next().unwrap_or_default();
        effective("store", store.without_effect(scheme), &self.origins)?;
        let opened = match scheme {
            "memory" => Ok(cached(store, MemoryStore::new())),
            "redis" | "rediss" | "redis+unix" => self.redis(store, &url).await,
            "postgres" | "postgresql" => self.postgres(store, &url).await,
            "sqlite" => self.sqlite(store, &url).await,
            _ => Err(SettingsError::new(
                "expected `memory:`, `redis://…`, `rediss://…`, `postgres://…` or `sqlite:…`",
            )),
        };
        opened
            .map(Some)
            .map_err(|error| SettingsError::new(self.origins.describe("store.url")).because(error))
    }

    #[cfg(not(feature = "redis"))]
    async fn redis(&self, _: &Store, _: &str) -> Result<AnyStore, SettingsError> {
        Err(SettingsError::new("this store needs the crate's feature `redis`"))
    }

    #[cfg(not(feature = "postgres"))]
    async fn postgres(&self, _: &Store, _: &str) -> Result<AnyStore, SettingsError> {
        Err(SettingsError::new("this store needs the crate's feature `postgres`"))
    }

    #[cfg(not(feature = "sqlite"))]
    async fn sqlite(&self, _: &Store, _: &str) -> Result<AnyStore, SettingsError> {
        Err(SettingsError::new("this store needs the crate's feature `sqlite`"))
    }

    #[cfg(feature = "redis")]
    async fn redis(&self, store: &Store, url: &str) -> Result<AnyStore, SettingsError> {
        use std::time::Duration;

        let mut connect = if store.cluster == Some(true) {
            crate::store::RedisStore::connect_cluster(url.split(',').map(str::trim))
        } else {
            crate::store::RedisStore::connect(url)
        };
        #[cfg(feature = "redis-tls")]
        {
            if let Some(pem) = self.file("root_certificate_file", &store.root_certificate_file).await? {
                connect = connect.root_certificate(&**pem);
            }
            let chain = self.file("client_certificate_file", &store.client_certificate_file).await?;
            let key = self.file("client_key_file", &store.client_key_file).await?;
            if let (Some(chain), Some(key)) = (chain, key) {
                connect = connect.client_certificate(&**chain, &**key);
            }
        }
        if let Some(prefix) = &store.prefix {
            connect = connect.with_prefix(prefix);
        }
        if let Some(count) = store.wait_for_replicas {
            let timeout = store.wait_for_replicas_timeout.map_or(Duration::from_millis(500), |time| time.0);
            connect = connect.wait_for_replicas(count, timeout);
        }
        let opened =
            connect.await.map_err(|error| SettingsError::new("the store can't be opened").because(error))?;
        hearing(store, opened).await
    }

    #[cfg(feature = "redis-tls")]
    async fn file(
        &self,
        name: &str,
        file: &Option<Place>,
    ) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, SettingsError> {
        let Some(Place(file)) = file else { return Ok(None) };
        let failed =
            |error| SettingsError::new(self.origins.describe(&format!("store.{name}"))).because(error);
        crate::rotation::source::read_file(file).await.map(Some).map_err(failed)
    }

    #[cfg(feature = "postgres")]
    async fn postgres(&self, store: &Store, url: &str) -> Result<AnyStore, SettingsError> {
        let mut builder = sql(store);
        if let Some(password) = &store.password {
            let password = password.read("store.password", &self.captured, &self.origins).await?;
            builder = builder.password(&*password);
        }
        let opened = builder
            .postgres(url)
            .await
            .map_err(|error| SettingsError::new("the store can't be opened").because(error))?;
        hearing(store, opened).await
    }

    #[cfg(feature = "sqlite")]
    async fn sqlite(&self, store: &Store, url: &str) -> Result<AnyStore, SettingsError> {
        let opened = sql(store).sqlite(url).await;
        let opened =
            opened.map_err(|error| SettingsError::new("the store can't be opened").because(error))?;
        // A file has no feed.
        Ok(cached(store, opened))
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn sql(store: &Store) -> crate::store::SqlStoreBuilder {
    let mut builder = crate::store::SqlStore::builder();
    if let Some(prefix) = &store.prefix {
        builder = builder.table_prefix(prefix);
    }
    if let Some(wait) = store.wait {
        builder = builder.wait(wait.0);
    }
    if let Some(connections) = store.max_connections {
        builder = builder.max_connections(connections);
    }
    builder
}

/// The cache, if a setting asks for it.
fn cache<S: ClaimsStore>(store: &Store, inner: S) -> Result<Cached<S>, S> {
    let Store { cache_for_at_most, cache_during_outage, cache_max_sessions, .. } = store;
    if cache_for_at_most.is_none() && cache_during_outage.is_none() && cache_max_sessions.is_none() {
        return Err(inner);
    }
    let mut cached = Cached::new(inner);
    if let Some(bound) = cache_for_at_most {
        cached = cached.for_at_most(bound.0);
    }
    if let Some(outage) = cache_during_outage {
        cached = cached.during_outage(outage.0);
    }
    if let Some(sessions) = cache_max_sessions {
        cached = cached.with_max_sessions(*sessions);
    }
    Ok(cached)
}

fn cached(store: &Store, inner: impl ClaimsStore) -> AnyStore {
    match cache(store, inner) {
        Ok(cached) => AnyStore::new(cached),
        Err(inner) => AnyStore::new(inner),
    }
}

/// A cache in front of a store with a feed hears of revocations at once.
#[cfg(any(feature = "redis", feature = "postgres"))]
async fn hearing(store: &Store, inner: impl crate::store::RevocationFeed) -> Result<AnyStore, SettingsError> {
    match cache(store, inner) {
        Ok(cached) => match cached.hearing_revocations().await {
            Ok(cached) => Ok(AnyStore::new(cached)),
            Err(error) => Err(SettingsError::new("its revocations can't be listened to").because(error)),
        },
        Err(inner) => Ok(AnyStore::new(inner)),
    }
}
