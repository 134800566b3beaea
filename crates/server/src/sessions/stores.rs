//! Opens what the sessions are kept in: the connections and pools that the library takes.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Pool as Connections;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use session_manager::factory::Resources;
use session_manager::storage_memcached::{PooledMemcached, Server};
use session_manager::storage_redis::RedisBus;
use session_manager::storage_sqlx::PgBus;
use session_manager::{InvalidationBus, LocalBus};

use super::parts;
use super::schema;
use super::sentinel::Primary;
use crate::config::{SecretUrl, SessionStorageKind, Settings, VerificationMode};
use crate::exit::StartError;
use crate::limits::{Counters, RedisCounters};
use crate::sql::{self, Place, Pool};

/// How long a connection, and an answer of Redis or memcached, may take.
const LIMIT: Duration = Duration::from_secs(2);
/// Connections to a cache server from this process.
const CONNECTIONS: u32 = 16;
/// Connections for notices to other nodes: one listens.
const BUS_CONNECTIONS: u32 = 3;
const PLACE: Place = Place { what: "the storage of the sessions", key: "sessions.url" };
/// Where nodes tell each other what ended.
const CHANNEL: &str = "session-manager";

/// What is open.
pub(super) struct Opened {
    pub(super) resources: Resources,
    /// What tells other nodes of changes.
    pub(super) bus: Arc<dyn InvalidationBus>,
    /// Counters of the rate limits that all nodes share, where there is a place for them.
    pub(super) counters: Option<Arc<dyn Counters>>,
}

impl Opened {
    fn new(resources: Resources, bus: impl InvalidationBus + 'static) -> Self {
        Self { resources, bus: Arc::new(bus), counters: None }
    }

    fn counting_over<C>(mut self, connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        self.counters = Some(Arc::new(RedisCounters::new(connection)));
        self
    }
}

/// Connects, and brings the tables of a database of the sessions' own up to date.
pub(super) async fn connect(settings: &Settings, accounts: &Pool, resources: Resources) -> Result<Opened, StartError> {
    let mut opened = opened(settings, accounts, resources).await?;
    opened.resources = opened.resources.bus(Arc::clone(&opened.bus));
    Ok(opened)
}

async fn opened(settings: &Settings, accounts: &Pool, resources: Resources) -> Result<Opened, StartError> {
    let url = settings.sessions.url.as_ref();
    match settings.sessions.storage {
        SessionStorageKind::Memory => Ok(Opened::new(resources, LocalBus::new())),
        SessionStorageKind::Sqlx => sql(settings, accounts, resources).await,
        SessionStorageKind::Tiered => {
            let durable = sql(settings, accounts, resources).await?;
            match &settings.sessions.cache_url {
                Some(url) => {
                    let (connection, bus) = single(url).await?;
                    let resources = durable.resources.redis_cache(connection.clone());
                    Ok(Opened::new(resources, bus).counting_over(connection))
                }
                None => Ok(durable),
            }
        }
        SessionStorageKind::Redis => {
            let (connection, bus) = single(required(url)?).await?;
            Ok(Opened::new(resources.redis(connection.clone()), bus).counting_over(connection))
        }
        SessionStorageKind::RedisCluster => cluster(required(url)?, resources).await,
        SessionStorageKind::RedisSentinel => {
            let primary = Primary::new(required(url)?.expose(), LIMIT).map_err(unusable)?;
            let subscriber = primary.clone();
            let subscribe = move || {
                let subscriber = subscriber.clone();
                async move { subscriber.subscribe().await }
            };
            let bus = RedisBus::new(primary.clone(), CHANNEL, subscribe).map_err(unusable)?;
            Ok(Opened::new(resources.redis(primary.clone()), bus).counting_over(primary))
        }
        SessionStorageKind::Memcached => {
            let url = required(url)?.expose();
            let address = url.strip_prefix("memcached://").unwrap_or(url).trim_end_matches('/');
            let size = usize::try_from(CONNECTIONS).unwrap_or(usize::MAX);
            let pool = Connections::builder(Server::new(address))
                .max_size(size)
                .runtime(deadpool::Runtime::Tokio1)
                .wait_timeout(Some(LIMIT))
                .create_timeout(Some(LIMIT))
                .recycle_timeout(Some(LIMIT))
                .build()
                .map_err(unusable)?;
            // Nothing tells other nodes: every read is of memcached itself.
            let client = PooledMemcached::new(pool).command_timeout(LIMIT);
            Ok(Opened::new(resources.memcached(client), LocalBus::new()))
        }
    }
}

/// The configuration was checked for it.
fn required(url: Option<&SecretUrl>) -> Result<&SecretUrl, StartError> {
    url.ok_or_else(|| unusable("`sessions.url` is missing"))
}

/// The accounts' own database, or one of the sessions' own.
async fn sql(settings: &Settings, accounts: &Pool, resources: Resources) -> Result<Opened, StartError> {
    let pool = match settings.sessions.url.as_ref().map(SecretUrl::expose) {
        None => accounts.clone(),
        Some(url) if url.starts_with("postgres") => {
            Pool::Postgres(Box::pin(sql::postgres(url, &[schema::POSTGRES])).await.map_err(|error| error.told(PLACE))?)
        }
        Some(url) => Pool::MySql(Box::pin(sql::mysql(url, &[schema::MYSQL])).await.map_err(|error| error.told(PLACE))?),
    };
    let table = match &pool {
        // A row for each end is written only where somebody reads it.
        Pool::Sqlite(_) if settings.verification.mode != VerificationMode::Feed => parts::table(),
        Pool::Sqlite(_) => parts::table_with_feed(),
        Pool::Postgres(_) | Pool::MySql(_) => parts::native_table(),
    };
    let resources = resources.session_table(table).database(pool.clone());
    // Notices go out from within the operations that hold the others.
    match pool.beside(BUS_CONNECTIONS) {
        Pool::Postgres(pool) => Ok(Opened::new(resources, PgBus::new(pool, CHANNEL).map_err(unusable)?)),
        Pool::Sqlite(_) | Pool::MySql(_) => Ok(Opened::new(resources, LocalBus::new())),
    }
}

/// A connection that comes back by itself, and the bus over the same server.
async fn single(url: &SecretUrl) -> Result<(ConnectionManager, RedisBus), StartError> {
    let client = redis::Client::open(url.expose()).map_err(unusable)?;
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(LIMIT))
        .set_response_timeout(Some(LIMIT))
        .set_number_of_retries(2);
    let connection =
        ConnectionManager::new_with_config(client.clone(), config).await.map_err(|error| unreachable(&error))?;
    let subscribe = move || {
        let client = client.clone();
        async move { client.get_async_pubsub().await }
    };
    let bus = RedisBus::new(connection.clone(), CHANNEL, subscribe).map_err(unusable)?;
    Ok((connection, bus))
}

async fn cluster(url: &SecretUrl, resources: Resources) -> Result<Opened, StartError> {
    let nodes: Vec<String> = url.expose().split(',').map(|one| one.trim().to_owned()).collect();
    let client = ClusterClientBuilder::new(nodes.clone())
        .connection_timeout(LIMIT)
        .response_timeout(LIMIT)
        .build()
        .map_err(unusable)?;
    let connection = client.get_async_connection().await.map_err(|error| unreachable(&error))?;
    // What is published at one node is heard at every other.
    let subscribe = move || {
        let nodes = nodes.clone();
        async move {
            let mut last = None;
            for node in nodes {
                match redis::Client::open(node)?.get_async_pubsub().await {
                    Ok(subscription) => return Ok(subscription),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| redis::RedisError::from((redis::ErrorKind::Io, "no node is known"))))
        }
    };
    let bus = RedisBus::cluster(connection.clone(), CHANNEL, subscribe).map_err(unusable)?;
    Ok(Opened::new(resources.redis_cluster(connection.clone()), bus).counting_over(connection))
}

fn unreachable(error: &dyn std::error::Error) -> StartError {
    StartError::environment(
        "the storage of the sessions cannot be reached",
        error.to_string(),
        "Start it, or correct `sessions.url` or `sessions.cache_url`.",
    )
}

fn unusable(why: impl std::fmt::Display) -> StartError {
    StartError::config(
        "the storage of the sessions cannot be used",
        why.to_string(),
        "Correct `sessions.storage`, `sessions.url` or `sessions.cache_url`.",
    )
}
