//! [`RedisStorage`] and its face towards core; what each operation does is in the module of its kind.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::lock::Mutex;
use redis::aio::ConnectionLike;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Health, Insert, InsertOutcome,
    OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, Revoked, SessionScan, Touch, TouchReport, Update,
    UpdateOutcome,
};
use session_manager_core::{Epochs, InvalidationBus, Result, SessionKey, SessionStorage, Snapshot, UserId};

use crate::config::RedisStorageConfig;
use crate::keys::Keys;
use crate::link::{Link, Single};
use crate::recent::Recent;

/// Sessions in Redis, over the application's own connection.
///
/// # Behaviour
/// - Cloning is cheap and gives another handle to the same connection.
/// - An operation is one round trip; two for [`update`](SessionStorage::update), for a revocation by filter, and where an external id is
///   involved; one more where a [`SessionKey`] lacks its locator, and once after a server has forgotten its scripts.
/// - A future that is dropped leaves its script done or not begun.
/// - Clean-up is native: a key goes an hour and [`RedisStorageConfig::retention`] after the session's absolute deadline.
///   [`PurgeScope::EndedBefore`](session_manager_core::storage::PurgeScope::EndedBefore) finds nothing.
///
/// # Security
/// Nothing is ever read from a replica, as long as the connection leads to the primary: with Sentinel that is the application's duty, and
/// [`check`](SessionStorage::check) tells. What a failover may undo is what
/// [`RedisStorageConfig::durability`] says.
#[derive(Clone)]
pub struct RedisStorage {
    pub(crate) link: Arc<dyn Link>,
    /// Where revocations and raised epochs go.
    pub(crate) confirmed: Arc<dyn Link>,
    pub(crate) keys: Keys,
    pub(crate) config: Arc<RedisStorageConfig>,
    /// One at a time looks for a lost epoch among its copies.
    pub(crate) recovering: Arc<Mutex<()>>,
    /// What a failover must not undo.
    pub(crate) recent: Arc<Recent>,
    /// Where it is heard what others end.
    pub(crate) bus: Option<Arc<dyn InvalidationBus>>,
}

impl RedisStorage {
    /// Sessions on one server: a multiplexed connection, a `ConnectionManager`, or the connection to a primary that Sentinel named.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) for a prefix that cannot be.
    pub fn new<C>(connection: C, config: RedisStorageConfig) -> Result<Self>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::over(Arc::new(Single(connection)), config)
    }

    /// Sessions in a Redis Cluster.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) for a prefix that cannot be.
    #[cfg(feature = "cluster")]
    pub fn cluster(connection: redis::cluster_async::ClusterConnection, config: RedisStorageConfig) -> Result<Self> {
        Self::over(Arc::new(crate::cluster::Clustered(connection)), config)
    }

    /// Sends revocations and raised epochs over a connection of their own, which then waits for replicas: see
    /// [`Acknowledge`](crate::Acknowledge).
    pub fn acknowledging_over<C>(mut self, connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        self.confirmed = Arc::new(Single(connection));
        self
    }

    /// The same for a Redis Cluster.
    #[cfg(feature = "cluster")]
    pub fn acknowledging_over_cluster(mut self, connection: redis::cluster_async::ClusterConnection) -> Self {
        self.confirmed = Arc::new(crate::cluster::Clustered(connection));
        self
    }

    /// The same storage over another connection, with its memory of what it ended: what the application makes when Sentinel has named
    /// another primary and its connection does not follow by itself. Revocations and raised epochs go over the new connection too, until
    /// [`acknowledging_over`](Self::acknowledging_over) gives them one of their own again.
    pub fn moved_to<C>(&self, connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let link: Arc<dyn Link> = Arc::new(Single(connection));
        Self { confirmed: Arc::clone(&link), link, ..self.clone() }
    }

    /// Hears on a bus what other nodes end, to end it again after a failover if they cannot. Whatever is polled from this storage's feed is
    /// heard in any case. [`maintenance`](SessionStorage::maintenance) listens; the bus's own is for whoever runs the bus.
    pub fn listening_to(mut self, bus: Arc<dyn InvalidationBus>) -> Self {
        self.bus = Some(bus);
        self
    }

    fn over(link: Arc<dyn Link>, config: RedisStorageConfig) -> Result<Self> {
        let keys = Keys::new(&config.prefix)?;
        Ok(Self {
            confirmed: Arc::clone(&link),
            link,
            keys,
            config: Arc::new(config),
            recovering: Arc::default(),
            recent: Arc::default(),
            bus: None,
        })
    }
}

impl fmt::Debug for RedisStorage {
    /// Neither addresses nor sessions belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStorage")
            .field("link", &&*self.link)
            .field("config", &*self.config)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStorage for RedisStorage {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::full(self.config.durability);
        // A list across users would be a walk over every key of every node.
        capabilities.list_all = false;
        capabilities.native_expiry = true;
        capabilities
    }

    fn try_read(&self, _: &SessionKey) -> Option<Option<Snapshot>> {
        None
    }

    async fn read(&self, key: &SessionKey, _: Consistency) -> Result<Option<Snapshot>> {
        self.reading(key).await.map_err(|failure| failure.during("read"))
    }

    async fn read_many(&self, keys: &[SessionKey], _: Consistency) -> Result<Vec<Option<Snapshot>>> {
        self.readings(keys).await.map_err(|failure| failure.during("read"))
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        self.insert_session(request).await.map_err(|failure| failure.during("insert"))
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        self.advance_session(request).await.map_err(|failure| failure.during("advance"))
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        self.update_session(request).await.map_err(|failure| failure.during("update"))
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        self.touch_sessions(batch, now).await.map_err(|failure| failure.during("touch"))
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.revoke_target(request).await.map_err(|failure| failure.during("revoke"))
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.bump_target(request).await.map_err(|failure| failure.during("bump"))
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.read_epochs(user).await.map_err(|failure| failure.during("epochs"))
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.list_page(query).await.map_err(|failure| failure.during("list"))
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.count_matching(query).await.map_err(|failure| failure.during("count"))
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        self.purge_scope(request).await.map_err(|failure| failure.during("purge"))
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        self.remember(key, now, until).await.map_err(|failure| failure.during("remember once"))
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        self.examine(now).await.map_err(|failure| failure.during("check"))
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        Some(self)
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        Some(self.work().boxed())
    }
}
