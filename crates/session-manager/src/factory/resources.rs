//! What only the application has: pools, connections, keys, mappings, and parts of its own.

use std::fmt;
use std::sync::Arc;

use session_manager_core::token::KeyProvider;
use session_manager_core::{
    AuditBackend, Clock, Delivery, InvalidationBus, PossessionVerifier, Random, SessionEnricher, SessionManagerBuilder,
    SessionObserver, SessionStorage, SuspicionRule, Telemetry,
};

#[cfg(any(feature = "storage-sqlx", feature = "audit-db"))]
use super::database::Database;

#[cfg(feature = "storage-redis")]
type MakeRedis = Box<
    dyn Fn(
            session_manager_storage_redis::RedisStorageConfig,
        ) -> session_manager_core::Result<session_manager_storage_redis::RedisStorage>
        + Send,
>;
#[cfg(feature = "storage-redis")]
type MakeCache = Box<dyn Fn(&str) -> session_manager_core::Result<session_manager_storage_redis::RedisCache> + Send>;
#[cfg(feature = "storage-memcached")]
type MakeMemcached = Box<
    dyn FnOnce(
            session_manager_storage_memcached::MemcachedStorageConfig,
        ) -> session_manager_core::Result<Arc<dyn SessionStorage>>
        + Send,
>;

/// A Redis, as what can be made over its connection.
#[cfg(feature = "storage-redis")]
pub(super) struct RedisHandle {
    pub(super) storage: MakeRedis,
    pub(super) cache: MakeCache,
}

/// What the application gives. What the configuration does not ask for is not used.
#[derive(Default)]
#[must_use]
pub struct Resources {
    #[cfg(feature = "backend-jwt")]
    pub(super) jwt: Option<session_manager_backend_jwt::JwtBackendBuilder>,
    pub(super) refresh_keys: Option<Arc<dyn KeyProvider>>,
    #[cfg(any(feature = "storage-sqlx", feature = "audit-db"))]
    pub(super) database: Option<Database>,
    #[cfg(feature = "audit-db")]
    pub(super) audit_database: Option<Database>,
    #[cfg(feature = "storage-sqlx")]
    pub(super) session_table: Option<session_manager_storage_sqlx::SessionTable>,
    #[cfg(feature = "audit-db")]
    pub(super) audit_table: Option<session_manager_audit_db::AuditTable>,
    #[cfg(feature = "audit-db")]
    pub(super) audit_key: Option<session_manager_audit_db::ChainKey>,
    #[cfg(feature = "storage-redis")]
    pub(super) redis: Option<RedisHandle>,
    #[cfg(feature = "storage-redis")]
    pub(super) redis_cache: Option<RedisHandle>,
    #[cfg(feature = "storage-memcached")]
    pub(super) memcached: Option<MakeMemcached>,
    #[cfg(feature = "audit-metrics")]
    pub(super) recorder: Option<Arc<dyn metrics::Recorder + Send + Sync>>,
    pub(super) storage: Option<Arc<dyn SessionStorage>>,
    pub(super) bus: Option<Arc<dyn InvalidationBus>>,
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) telemetry: Option<Arc<dyn Telemetry>>,
    pub(super) sinks: Vec<(Arc<dyn AuditBackend>, Delivery)>,
    pub(super) enrichers: Vec<Arc<dyn SessionEnricher>>,
    pub(super) rules: Vec<Arc<dyn SuspicionRule>>,
    observers: Vec<Arc<dyn SessionObserver>>,
    random: Option<Arc<dyn Random>>,
    possession: Option<Arc<dyn PossessionVerifier>>,
}

impl Resources {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// For `backend = "jwt"`: a builder with the application's keys and claims. What the configuration says of issuer, audience and client is
    /// set on it.
    #[cfg(feature = "backend-jwt")]
    pub fn jwt(mut self, builder: session_manager_backend_jwt::JwtBackendBuilder) -> Self {
        self.jwt = Some(builder);
        self
    }

    /// For `backend = "opaque"`: the keys of its tokens.
    pub fn refresh_keys(mut self, keys: impl KeyProvider + 'static) -> Self {
        self.refresh_keys = Some(Arc::new(keys));
        self
    }

    /// For `storage = "sqlx"`, and for the sink `db` unless it has [its own](Self::audit_database): a pool of sqlx.
    #[cfg(any(feature = "storage-sqlx", feature = "audit-db"))]
    pub fn database(mut self, pool: impl Into<Database>) -> Self {
        self.database = Some(pool.into());
        self
    }

    /// For the sink `db`, where the audit table is in another database than the sessions.
    #[cfg(feature = "audit-db")]
    pub fn audit_database(mut self, pool: impl Into<Database>) -> Self {
        self.audit_database = Some(pool.into());
        self
    }

    /// For `storage = "sqlx"`: the mapping of the application's tables.
    #[cfg(feature = "storage-sqlx")]
    pub fn session_table(mut self, table: session_manager_storage_sqlx::SessionTable) -> Self {
        self.session_table = Some(table);
        self
    }

    /// For the sink `db`: the mapping of the application's audit table.
    #[cfg(feature = "audit-db")]
    pub fn audit_table(mut self, table: session_manager_audit_db::AuditTable) -> Self {
        self.audit_table = Some(table);
        self
    }

    /// For the sink `db` where its table has a chain: the key of it.
    #[cfg(feature = "audit-db")]
    pub fn audit_key(mut self, key: session_manager_audit_db::ChainKey) -> Self {
        self.audit_key = Some(key);
        self
    }

    /// For `storage = "redis"` and for a shared cache: a connection to one server, or to the primary that Sentinel named.
    #[cfg(feature = "storage-redis")]
    pub fn redis<C>(mut self, connection: C) -> Self
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    {
        self.redis = Some(RedisHandle::single(connection));
        self
    }

    /// The same for a Redis Cluster.
    #[cfg(feature = "redis-cluster")]
    pub fn redis_cluster(mut self, connection: redis::cluster_async::ClusterConnection) -> Self {
        self.redis = Some(RedisHandle::cluster(connection));
        self
    }

    /// For a shared cache that is on other servers than the sessions.
    #[cfg(feature = "storage-redis")]
    pub fn redis_cache<C>(mut self, connection: C) -> Self
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    {
        self.redis_cache = Some(RedisHandle::single(connection));
        self
    }

    /// The same for a Redis Cluster.
    #[cfg(feature = "redis-cluster")]
    pub fn redis_cache_cluster(mut self, connection: redis::cluster_async::ClusterConnection) -> Self {
        self.redis_cache = Some(RedisHandle::cluster(connection));
        self
    }

    /// For `storage = "memcached"`: a client.
    #[cfg(feature = "storage-memcached")]
    pub fn memcached<C>(mut self, client: C) -> Self
    where
        C: session_manager_storage_memcached::CacheClient + 'static,
    {
        self.memcached = Some(Box::new(|config| {
            Ok(Arc::new(session_manager_storage_memcached::MemcachedStorage::new(client, config)?))
        }));
        self
    }

    /// For the sink `metrics`: another recorder than the one of the process.
    #[cfg(feature = "audit-metrics")]
    pub fn metrics_recorder(mut self, recorder: Arc<dyn metrics::Recorder + Send + Sync>) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// For `storage = "custom"`: a storage of the application's.
    pub fn storage(mut self, storage: Arc<dyn SessionStorage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// What tells other nodes of changes: used by the manager and by a tiered or Redis storage.
    pub fn bus(mut self, bus: Arc<dyn InvalidationBus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Another clock than the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Another source of randomness than the operating system.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = Some(random);
        self
    }

    /// What measures operations, in place of the sink `metrics`.
    pub fn telemetry(mut self, telemetry: Arc<dyn Telemetry>) -> Self {
        self.telemetry = Some(telemetry);
        self
    }

    /// What proves that requests hold the keys of their tokens.
    pub fn possession(mut self, verifier: Arc<dyn PossessionVerifier>) -> Self {
        self.possession = Some(verifier);
        self
    }

    /// A sink of the application's, after the configured ones.
    pub fn audit(mut self, sink: Arc<dyn AuditBackend>, delivery: Delivery) -> Self {
        self.sinks.push((sink, delivery));
        self
    }

    /// An enricher of the application's, after the configured ones.
    pub fn enricher(mut self, enricher: Arc<dyn SessionEnricher>) -> Self {
        self.enrichers.push(enricher);
        self
    }

    /// A rule of the application's, after the configured ones.
    pub fn rule(mut self, rule: Arc<dyn SuspicionRule>) -> Self {
        self.rules.push(rule);
        self
    }

    /// A reaction of the application's to what happened.
    pub fn observer(mut self, observer: Arc<dyn SessionObserver>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Adds to a builder what is needed whatever the configuration says.
    pub(super) fn complete(self, mut builder: SessionManagerBuilder) -> SessionManagerBuilder {
        if let Some(bus) = self.bus {
            builder = builder.bus(bus);
        }
        if let Some(clock) = self.clock {
            builder = builder.clock(clock);
        }
        if let Some(random) = self.random {
            builder = builder.random(random);
        }
        if let Some(verifier) = self.possession {
            builder = builder.possession(verifier);
        }
        self.observers.into_iter().fold(builder, SessionManagerBuilder::observer)
    }
}

#[cfg(feature = "storage-redis")]
impl RedisHandle {
    fn single<C>(connection: C) -> Self
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    {
        use session_manager_storage_redis::{RedisCache, RedisStorage};
        let cached = connection.clone();
        Self {
            storage: Box::new(move |config| RedisStorage::new(connection.clone(), config)),
            cache: Box::new(move |prefix| RedisCache::new(cached.clone(), prefix)),
        }
    }

    #[cfg(feature = "redis-cluster")]
    fn cluster(connection: redis::cluster_async::ClusterConnection) -> Self {
        use session_manager_storage_redis::{RedisCache, RedisStorage};
        let cached = connection.clone();
        Self {
            storage: Box::new(move |config| RedisStorage::cluster(connection.clone(), config)),
            cache: Box::new(move |prefix| RedisCache::cluster(cached.clone(), prefix)),
        }
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources").finish_non_exhaustive()
    }
}
