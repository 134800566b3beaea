//! Empty storages on real servers: those in the environment, or where there are none, one of each for the whole test program. Nothing is
//! skipped.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::{AsyncConnectionConfig, Client};
use session_manager_core::SessionStorage;
use session_manager_services::{self as services, Service, fresh_postgres_database};
use session_manager_storage_redis::{RedisCache, RedisStorage, RedisStorageConfig};
use session_manager_storage_sqlx::{EpochTable, FeedTable, OnceTable, SessionTable, SqlxStorage, reference_ddl};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool, Postgres};

/// How long sessions that ended stay in Redis: the kit's histories go on for days, and compare what ended long ago.
const RETENTION: Duration = Duration::from_hours(24 * 365);

async fn shared_redis() -> (RedisStorage, MultiplexedConnection, String) {
    static SERVER: OnceLock<services::Redis> = OnceLock::new();
    let own = || SERVER.get_or_init(|| services::Redis::start().expect("a server")).url();
    redis_at(given(Service::Redis).unwrap_or_else(own)).await
}

/// The same on a server that nobody else uses, with a connection of the test's own and the prefix of all keys.
pub async fn lonely_redis() -> (RedisStorage, MultiplexedConnection, String) {
    static SERVER: OnceLock<services::Redis> = OnceLock::new();
    redis_at(SERVER.get_or_init(|| services::Redis::start().expect("a server")).url()).await
}

async fn redis_at(url: String) -> (RedisStorage, MultiplexedConnection, String) {
    let client = Client::open(url).expect("an address");
    // A busy machine is no outage.
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_mins(1)));
    let connection = client.get_multiplexed_async_connection_with_config(&patient).await.expect("a connection");
    let prefix = fresh_prefix();
    let config = RedisStorageConfig::new().prefix(prefix.clone()).retention(RETENTION);
    (RedisStorage::new(connection.clone(), config).expect("a good prefix"), connection, prefix)
}

/// A cache in Redis under a prefix of its own.
pub async fn redis_cache() -> RedisCache {
    let (_, connection, prefix) = shared_redis().await;
    RedisCache::new(connection, &prefix).expect("a good prefix")
}

/// A storage in Redis under a prefix of its own.
pub async fn redis() -> RedisStorage {
    shared_redis().await.0
}

/// Four nodes' storages under one prefix in a Redis Cluster, each over connections of its own.
pub async fn redis_cluster_nodes() -> [Arc<dyn SessionStorage>; 4] {
    static SERVER: OnceLock<services::RedisCluster> = OnceLock::new();
    let own = || SERVER.get_or_init(|| services::RedisCluster::start().expect("a cluster")).urls().join(",");
    let urls = given(Service::RedisCluster).unwrap_or_else(own);
    let client = ClusterClient::builder(urls.split(','));
    let client = client.response_timeout(Duration::from_mins(1)).build().expect("addresses");
    let prefix = fresh_prefix();
    let mut nodes: Vec<Arc<dyn SessionStorage>> = Vec::new();
    for _ in 0..4 {
        let config = RedisStorageConfig::new().prefix(prefix.clone()).retention(RETENTION);
        let connection = client.get_async_connection().await.expect("a connection");
        nodes.push(Arc::new(RedisStorage::cluster(connection, config).expect("a good prefix")));
    }
    nodes.try_into().expect("four")
}

/// A storage in a PostgreSQL database of its own, with the reference tables.
pub async fn postgres() -> SqlxStorage<Postgres> {
    let pool = postgres_pool(&postgres_database()).await;
    let ddl = reference_ddl::<Postgres>(&tables()).expect("a good mapping");
    sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&pool).await.expect("the tables");
    SqlxStorage::new(pool, tables()).expect("a good mapping")
}

/// Four nodes' storages on one PostgreSQL database of their own, each with a pool of its own.
pub async fn postgres_nodes() -> [Arc<dyn SessionStorage>; 4] {
    let database = postgres_database();
    let mut nodes: Vec<Arc<dyn SessionStorage>> = Vec::new();
    for node in 0..4 {
        let pool = postgres_pool(&database).await;
        if node == 0 {
            let ddl = reference_ddl::<Postgres>(&tables()).expect("a good mapping");
            sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&pool).await.expect("the tables");
        }
        nodes.push(Arc::new(SqlxStorage::new(pool, tables()).expect("a good mapping")));
    }
    nodes.try_into().expect("four")
}

fn postgres_database() -> String {
    static SERVER: OnceLock<services::Postgres> = OnceLock::new();
    let own = || SERVER.get_or_init(|| services::Postgres::start().expect("a server")).url();
    let server = given(Service::Postgres).unwrap_or_else(own);
    fresh_postgres_database(&server).expect("a database")
}

async fn postgres_pool(database: &str) -> PgPool {
    let patient = PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_mins(1));
    patient.connect(database).await.expect("a connection")
}

fn tables() -> SessionTable {
    SessionTable::new("sessions")
        .native()
        .epochs(EpochTable::new("session_epochs"))
        .once(OnceTable::new("session_once"))
        .feed(FeedTable::new("session_feed"))
}

fn given(service: Service) -> Option<String> {
    std::env::var(service.variable()).ok().filter(|url| !url.is_empty())
}

fn fresh_prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    format!("t{}-{number}-{nanos:x}:", std::process::id())
}
