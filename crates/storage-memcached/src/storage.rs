//! [`MemcachedStorage`] and its face towards core; what each operation does is in the module of its kind.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Durability, Health, Insert,
    InsertOutcome, OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, Revoked, SessionScan, Touch,
    TouchReport, Update, UpdateOutcome,
};
use session_manager_core::{
    Clock, Epochs, Error, ErrorKind, Random, Result, SessionKey, SessionStorage, Snapshot, SystemClock, SystemRandom,
    UserId,
};

use crate::cache::CacheClient;
use crate::config::MemcachedStorageConfig;
use crate::key::Keys;

/// Sessions in memcached, through any [`CacheClient`].
///
/// # Behaviour
/// - One item holds a user's epoch and all of their sessions and is changed by compare-and-swap: what concerns one user is one atomic step.
/// - What the cache forgets is signed out, never in: see the front page.
/// - Cloning is cheap and gives another handle to the same storage.
/// - A step that others overtake is repeated after a random wait, up to
///   [`max_attempts`](MemcachedStorageConfig::max_attempts) times; then it is `Unavailable`, and nothing was changed.
/// - A step whose reply is lost is `Unavailable`, and may have been done: repeating it is safe.
/// - Dropping a future leaves all of the step behind or nothing, and perhaps a pointer that leads nowhere.
/// - There is no background work: memcached removes what has ended.
pub struct MemcachedStorage<C>(Arc<Inner<C>>);

struct Inner<C> {
    client: C,
    config: MemcachedStorageConfig,
    keys: Keys,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl<C: CacheClient> MemcachedStorage<C> {
    /// A storage on the application's cache client.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for bounds that make no sense; [`ErrorKind::Internal`] when the operating system gives no randomness.
    pub fn new(client: C, config: MemcachedStorageConfig) -> Result<Self> {
        Self::with(client, config, Arc::new(SystemClock), Arc::new(SystemRandom::new()?))
    }

    /// A storage that waits by this clock and spreads its attempts by this randomness. The present itself comes with every request.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for bounds that make no sense.
    pub fn with(
        client: C,
        config: MemcachedStorageConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        config.validate()?;
        let keys = Keys::new(config.prefix.clone());
        Ok(Self(Arc::new(Inner { client, config, keys, clock, random })))
    }

    pub(crate) fn client(&self) -> &C {
        &self.0.client
    }

    pub(crate) fn config(&self) -> &MemcachedStorageConfig {
        &self.0.config
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(crate) fn random(&self) -> &dyn Random {
        &*self.0.random
    }
}

impl<C> Clone for MemcachedStorage<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: fmt::Debug> fmt::Debug for MemcachedStorage<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcachedStorage")
            .field("client", &self.0.client)
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<C: CacheClient> SessionStorage for MemcachedStorage<C> {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::full(Durability::Volatile);
        capabilities.list_all = false;
        // Forgetting a value would let it be used twice: the one case in which eviction would let somebody in.
        capabilities.remember_once = false;
        // Forgetting a name would let a logout by it pass by a live session.
        capabilities.external = false;
        capabilities.native_expiry = true;
        capabilities.max_value = Some(self.config().max_item_bytes);
        capabilities
    }

    fn try_read(&self, _: &SessionKey) -> Option<Option<Snapshot>> {
        None
    }

    async fn read(&self, key: &SessionKey, _: Consistency) -> Result<Option<Snapshot>> {
        let found = self.read_keys(&[*key]).await.map_err(|error| error.during("read"))?;
        Ok(found.into_iter().next().flatten())
    }

    async fn read_many(&self, keys: &[SessionKey], _: Consistency) -> Result<Vec<Option<Snapshot>>> {
        self.read_keys(keys).await.map_err(|error| error.during("read"))
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        self.insert_one(request).await.map_err(|error| error.during("insert"))
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        self.advance_one(request).await.map_err(|error| error.during("advance"))
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        self.update_one(request).await.map_err(|error| error.during("update"))
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        self.touch_all(batch, now).await.map_err(|error| error.during("touch"))
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.revoke_target(request).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.bump_target(request).await
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.read_epochs(user).await.map_err(|error| error.during("epochs"))
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.list_page(query).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.count_matching(query).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        self.purge_scope(request).await
    }

    async fn remember_once(&self, _: &OnceKey, _: DateTime<Utc>, _: DateTime<Utc>) -> Result<bool> {
        Err(unsupported("remember once", "a cache may forget a value, and it could be used twice"))
    }

    async fn check(&self, _: DateTime<Utc>) -> Result<Health> {
        self.examine().await.map_err(|error| error.during("check"))
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        None
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        None
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

/// What a cache cannot do, or core asks for since this version.
pub(crate) fn unsupported(operation: &'static str, reason: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, operation).because(reason)
}
