//! The servers of the tests: those in the environment, or where there are none, servers of the test's own. Nothing is skipped.
#![allow(dead_code, reason = "not every test uses every server")]
#![allow(unreachable_pub, reason = "a module of tests")]

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};

use redis::aio::{ConnectionManager, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::{AsyncConnectionConfig, Client};
use session_manager_services::{Redis, RedisCluster, RedisSentinel, Service};
use session_manager_storage_redis::{RedisStorage, RedisStorageConfig};
use session_manager_testkit::fault::HeldStorage;

/// What has to live as long as the storage.
pub type Guard = Option<Box<dyn Any + Send + Sync>>;

/// A storage and its server.
pub type Held = HeldStorage<RedisStorage, Guard>;

/// A prefix that nobody else has.
pub fn config() -> RedisStorageConfig {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    // Histories of the kit go on for days, and compare what ended long ago.
    let retention = std::time::Duration::from_hours(24 * 365);
    RedisStorageConfig::new().prefix(format!("t{}-{number}-{nanos:x}:", std::process::id())).retention(retention)
}

/// A server's address, and the server where it is the test's own.
pub fn server() -> (String, Guard) {
    if let Some(url) = found(Service::Redis) {
        return (url, None);
    }
    let server = Redis::start().unwrap();
    (server.url(), Some(Box::new(server)))
}

pub fn cluster_servers() -> (Vec<String>, Guard) {
    if let Some(urls) = found(Service::RedisCluster) {
        return (urls.split(',').map(str::to_owned).collect(), None);
    }
    let cluster = RedisCluster::start().unwrap();
    (cluster.urls(), Some(Box::new(cluster)))
}

/// A busy machine is no outage: the tests that need short timeouts set their own.
pub fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(Some(std::time::Duration::from_mins(1)))
}

pub async fn connect(url: &str) -> MultiplexedConnection {
    let client = Client::open(url).unwrap();
    client.get_multiplexed_async_connection_with_config(&patient()).await.unwrap()
}

/// Over a multiplexed connection.
pub async fn single() -> Held {
    let (url, guard) = server();
    HeldStorage::new(RedisStorage::new(connect(&url).await, config()).unwrap(), guard)
}

/// Over a connection manager.
pub async fn managed() -> Held {
    let (url, guard) = server();
    let patient =
        redis::aio::ConnectionManagerConfig::new().set_response_timeout(Some(std::time::Duration::from_mins(1)));
    let manager = ConnectionManager::new_with_config(Client::open(url).unwrap(), patient).await.unwrap();
    HeldStorage::new(RedisStorage::new(manager, config()).unwrap(), guard)
}

/// Over a connection to the primary that Sentinel names.
pub async fn named_by_sentinel() -> Held {
    let (sentinels, guard): (Vec<String>, Guard) = if let Some(urls) = found(Service::RedisSentinel) {
        (urls.split(',').map(str::to_owned).collect(), None)
    } else {
        let servers = RedisSentinel::start().unwrap();
        (servers.sentinel_urls(), Some(Box::new(servers)))
    };
    let mut sentinel = connect(sentinels.first().unwrap()).await;
    let (host, port): (String, u16) = redis::cmd("SENTINEL")
        .arg("get-master-addr-by-name")
        .arg(RedisSentinel::SERVICE)
        .query_async(&mut sentinel)
        .await
        .unwrap();
    let primary = connect(&format!("redis://{host}:{port}")).await;
    HeldStorage::new(RedisStorage::new(primary, config()).unwrap(), guard)
}

/// Over a cluster connection.
pub async fn clustered() -> Held {
    let (urls, guard) = cluster_servers();
    let client = ClusterClient::builder(urls).response_timeout(std::time::Duration::from_mins(1)).build().unwrap();
    let connection = client.get_async_connection().await.unwrap();
    HeldStorage::new(RedisStorage::cluster(connection, config()).unwrap(), guard)
}

/// Connections to those servers of a cluster that take writes.
pub async fn primaries(urls: &[String]) -> Vec<MultiplexedConnection> {
    let mut primaries = Vec::new();
    for url in urls {
        let mut connection = connect(url).await;
        let replication: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await.unwrap();
        if replication.contains("role:master") {
            primaries.push(connection);
        }
    }
    primaries
}

fn found(service: Service) -> Option<String> {
    std::env::var(service.variable()).ok().filter(|url| !url.is_empty())
}
