//! The storage.

use std::sync::Arc;

use session_manager_core::{Result, SessionStorage};

use super::audit::Observing;
use super::config::{Config, Storage};
use super::resources::Resources;

/// A storage, also as what it is.
pub(super) struct Stored {
    pub(super) storage: Arc<dyn SessionStorage>,
    #[cfg(feature = "storage-sqlx")]
    pub(super) sql: Option<SqlStorage>,
    #[cfg(feature = "storage-tiered")]
    pub(super) tiered: Option<Arc<session_manager_storage_tiered::TieredStorage>>,
}

impl Stored {
    fn of(storage: Arc<dyn SessionStorage>) -> Self {
        Self {
            storage,
            #[cfg(feature = "storage-sqlx")]
            sql: None,
            #[cfg(feature = "storage-tiered")]
            tiered: None,
        }
    }
}

/// A storage in one of the databases.
#[cfg(feature = "storage-sqlx")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SqlStorage {
    /// In SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(session_manager_storage_sqlx::SqlxStorage<sqlx::Sqlite>),
    /// In PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(session_manager_storage_sqlx::SqlxStorage<sqlx::Postgres>),
    /// In MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    MySql(session_manager_storage_sqlx::SqlxStorage<sqlx::MySql>),
}

pub(super) fn storage(config: &Config, resources: &mut Resources, observing: &Observing) -> Result<Stored> {
    let field = "storage";
    match config.storage {
        Storage::Memory => memory(config),
        Storage::Sqlx => sqlx(field, resources),
        Storage::Redis => redis(field, config, resources),
        Storage::Memcached => memcached(config, resources),
        Storage::Tiered => tiered(config, resources, observing),
        Storage::Custom => custom(field, resources),
    }
}

fn custom(field: &str, resources: &mut Resources) -> Result<Stored> {
    resources.storage.take().map(Stored::of).ok_or_else(|| super::missing(field, "custom", "storage"))
}

#[cfg(feature = "storage-memory")]
fn memory(config: &Config) -> Result<Stored> {
    use session_manager_storage_memory::{MemoryStorage, MemoryStorageConfig};

    let mut settings = MemoryStorageConfig::new().retention(config.policy.retention);
    if let Some(sessions) = config.memory.max_sessions {
        settings = settings.max_sessions(sessions);
    }
    settings.feed_retention = feed_retention(config, settings.feed_retention);
    Ok(Stored::of(Arc::new(MemoryStorage::new(settings)?)))
}

#[cfg(not(feature = "storage-memory"))]
fn memory(_: &Config) -> Result<Stored> {
    Err(super::not_compiled("storage", "memory", "storage-memory"))
}

/// Notices of ends stay for as long as access tokens may live after them.
#[cfg(any(feature = "storage-memory", feature = "storage-redis"))]
fn feed_retention(config: &Config, usual: std::time::Duration) -> std::time::Duration {
    usual.max(config.policy.access_token_lifetime.saturating_mul(2))
}

#[cfg(feature = "storage-sqlx")]
fn sqlx(field: &str, resources: &mut Resources) -> Result<Stored> {
    let database = resources.database.clone().ok_or_else(|| super::missing(field, "sqlx", "database"))?;
    let table = resources.session_table.take().ok_or_else(|| super::missing(field, "sqlx", "session_table"))?;
    sql(database, table)
}

#[cfg(feature = "storage-sqlx")]
fn sql(database: super::Database, table: session_manager_storage_sqlx::SessionTable) -> Result<Stored> {
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    use session_manager_storage_sqlx::SqlxStorage;

    match database {
        #[cfg(feature = "sqlite")]
        super::Database::Sqlite(pool) => {
            let storage = SqlxStorage::new(pool, table)?;
            Ok(Stored { sql: Some(SqlStorage::Sqlite(storage.clone())), ..Stored::of(Arc::new(storage)) })
        }
        #[cfg(feature = "postgres")]
        super::Database::Postgres(pool) => {
            let storage = SqlxStorage::new(pool, table)?;
            Ok(Stored { sql: Some(SqlStorage::Postgres(storage.clone())), ..Stored::of(Arc::new(storage)) })
        }
        #[cfg(feature = "mysql")]
        super::Database::MySql(pool) => {
            let storage = SqlxStorage::new(pool, table)?;
            Ok(Stored { sql: Some(SqlStorage::MySql(storage.clone())), ..Stored::of(Arc::new(storage)) })
        }
    }
}

#[cfg(not(feature = "storage-sqlx"))]
fn sqlx(field: &str, _: &mut Resources) -> Result<Stored> {
    Err(super::not_compiled(field, "sqlx", "storage-sqlx"))
}

#[cfg(feature = "storage-redis")]
fn redis(field: &str, config: &Config, resources: &Resources) -> Result<Stored> {
    use session_manager_core::storage::Durability;
    use session_manager_storage_redis::RedisStorageConfig;

    use super::config::RedisDurability;

    let handle = resources.redis.as_ref().ok_or_else(|| super::missing(field, "redis", "redis"))?;
    let mut settings = RedisStorageConfig::new();
    if let Some(prefix) = &config.redis.prefix {
        settings = settings.prefix(prefix);
    }
    let window = config.redis.replication_window;
    settings.durability = match (config.redis.durability, window) {
        (RedisDurability::Volatile, None) => Durability::Volatile,
        (RedisDurability::Acknowledged, None) => Durability::Acknowledged,
        (RedisDurability::Replicated, None) => settings.durability,
        (RedisDurability::Replicated, Some(window)) => Durability::Replicated { window },
        (_, Some(_)) => return Err(super::refuse("`redis.replication_window` is for `redis.durability` = replicated")),
    };
    settings.retention = settings.retention.max(config.policy.retention);
    settings.feed_retention = feed_retention(config, settings.feed_retention);
    let mut storage = (handle.storage)(settings)?;
    if let Some(bus) = &resources.bus {
        storage = storage.listening_to(Arc::clone(bus));
    }
    Ok(Stored::of(Arc::new(storage)))
}

#[cfg(not(feature = "storage-redis"))]
fn redis(field: &str, _: &Config, _: &Resources) -> Result<Stored> {
    Err(super::not_compiled(field, "redis", "storage-redis"))
}

#[cfg(feature = "storage-memcached")]
fn memcached(config: &Config, resources: &mut Resources) -> Result<Stored> {
    use session_manager_storage_memcached::MemcachedStorageConfig;

    let make = resources.memcached.take().ok_or_else(|| super::missing("storage", "memcached", "memcached"))?;
    let mut settings = MemcachedStorageConfig::new();
    if let Some(prefix) = &config.memcached.prefix {
        settings = settings.prefix(prefix);
    }
    if let Some(bytes) = config.memcached.max_item_bytes {
        settings = settings.max_item_bytes(bytes);
    }
    settings.retention = settings.retention.max(config.policy.retention);
    Ok(Stored::of(make(settings)?))
}

#[cfg(not(feature = "storage-memcached"))]
fn memcached(_: &Config, _: &mut Resources) -> Result<Stored> {
    Err(super::not_compiled("storage", "memcached", "storage-memcached"))
}

#[cfg(feature = "storage-tiered")]
fn tiered(config: &Config, resources: &mut Resources, observing: &Observing) -> Result<Stored> {
    use session_manager_storage_tiered::{TieredConfig, TieredStorage};

    use super::config::{DurableStorage, WhenDeaf};

    let field = "tiered.durable";
    let durable = match config.tiered.durable {
        DurableStorage::Sqlx => sqlx(field, resources)?,
        DurableStorage::Redis => redis(field, config, resources)?,
        DurableStorage::Custom => custom(field, resources)?,
    };
    let mut settings = TieredConfig::new().heartbeat(config.tiered.heartbeat);
    if let Some(entries) = config.tiered.max_entries {
        settings = settings.max_entries(entries);
    }
    if let Some(age) = config.tiered.max_age {
        settings.max_age = age;
        settings.negative_age = settings.negative_age.min(age);
    }
    if config.tiered.when_deaf == WhenDeaf::Bounded {
        settings.when_deaf = session_manager_storage_tiered::WhenDeaf::Bounded(settings.max_age);
    }
    let mut storage = TieredStorage::new(durable.storage, settings)?;
    if let Some(bus) = &resources.bus {
        storage = storage.with_bus(Arc::clone(bus));
    }
    if let Some(clock) = &resources.clock {
        storage = storage.with_clock(Arc::clone(clock));
    }
    if let Some(telemetry) = &observing.telemetry {
        storage = storage.with_telemetry(Arc::clone(telemetry));
    }
    if config.tiered.shared_cache {
        storage = storage.with_shared(shared_cache(config, resources)?);
    }
    let storage = Arc::new(storage);
    Ok(Stored { tiered: Some(Arc::clone(&storage)), ..Stored::of(storage) })
}

#[cfg(all(feature = "storage-tiered", feature = "storage-redis"))]
fn shared_cache(config: &Config, resources: &Resources) -> Result<Arc<dyn session_manager_core::SharedCache>> {
    let handle = resources.redis_cache.as_ref().or(resources.redis.as_ref());
    let handle = handle.ok_or_else(|| super::missing("tiered.shared_cache", "true", "redis_cache"))?;
    Ok(Arc::new((handle.cache)(config.tiered.cache_prefix.as_deref().unwrap_or("smc:"))?))
}

#[cfg(all(feature = "storage-tiered", not(feature = "storage-redis")))]
fn shared_cache(_: &Config, _: &Resources) -> Result<Arc<dyn session_manager_core::SharedCache>> {
    Err(super::not_compiled("tiered.shared_cache", "true", "storage-redis"))
}

#[cfg(not(feature = "storage-tiered"))]
fn tiered(_: &Config, _: &mut Resources, _: &Observing) -> Result<Stored> {
    Err(super::not_compiled("storage", "tiered", "storage-tiered"))
}
