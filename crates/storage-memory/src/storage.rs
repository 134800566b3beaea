//! [`MemoryStorage`] and its face towards core; what each operation does is in the module of its kind.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Durability, Health, Insert,
    InsertOutcome, OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, Revoked, SessionScan, Severity, Touch,
    TouchReport, Update, UpdateOutcome,
};
use session_manager_core::{Epochs, Result, SessionKey, SessionStorage, Snapshot, UserId};

use crate::config::MemoryStorageConfig;
use crate::feed::Feed;
use crate::once::Remembered;
use crate::table::Table;

/// Sessions in the memory of this process.
///
/// # Behaviour
/// - Cloning is cheap and gives another handle to the same sessions.
/// - No method waits: each takes one user's lock for some microseconds, so that every future is ready at its first poll. Only lists and
///   counts across users, which look at every session, hand the thread back between shards.
/// - What concerns one user, one session or an epoch is one atomic step. Lists, counts, purges and matching revocations **across users** are
///   atomic for each user, not for all of them together.
/// - Bounded: see [`MemoryStorageConfig::max_sessions`] and [`max_users`](MemoryStorageConfig::max_users).
/// - [`maintenance`](SessionStorage::maintenance) is `None`: what has ended goes when the application calls
///   [`purge`](SessionStorage::purge), or at the bound.
///
/// # Security
/// The storage is [`Durability::Volatile`]: with the process, sessions and revocations are gone together. Restoring a
/// [snapshot](Self::restore) brings back the sessions *and the revocations* of the moment it was saved; what was revoked after that moment
/// lives again, unless the application begins a new global incarnation
/// ([`Bump::anew`](session_manager_core::storage::Bump::anew)).
#[derive(Clone)]
pub struct MemoryStorage(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: MemoryStorageConfig,
    pub(crate) table: Table,
    remembered: Mutex<Remembered>,
    feed: Feed,
    pub(crate) pressure: Pressure,
    /// One save at a time, so that an older one never replaces a newer one.
    saving: Mutex<()>,
}

/// What a full storage had to do.
#[derive(Default)]
pub(crate) struct Pressure {
    /// Where the next search for room begins.
    pub(crate) next_room: AtomicUsize,
    /// The shard where the search for the rotated out goes on.
    pub(crate) next_searched: AtomicUsize,
    /// How many ended sessions had to go before their retention was over.
    pub(crate) dropped_early: AtomicUsize,
    /// How many users without sessions had to be forgotten.
    pub(crate) forgotten: AtomicUsize,
}

impl MemoryStorage {
    /// An empty storage.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) for bounds that make no sense.
    pub fn new(config: MemoryStorageConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self::of(config))
    }

    fn of(config: MemoryStorageConfig) -> Self {
        Self(Arc::new(Inner {
            table: Table::new(config.shards),
            remembered: Mutex::new(Remembered::new(config.max_remembered)),
            feed: Feed::new(config.feed_retention, config.feed_capacity),
            pressure: Pressure::default(),
            saving: Mutex::new(()),
            config,
        }))
    }

    /// How many sessions are stored, ended ones included.
    pub fn len(&self) -> usize {
        self.table().total()
    }

    /// Whether no session is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn table(&self) -> &Table {
        &self.0.table
    }

    pub(crate) fn config(&self) -> &MemoryStorageConfig {
        &self.0.config
    }

    pub(crate) fn pressure(&self) -> &Pressure {
        &self.0.pressure
    }

    /// What is remembered once. A poisoned lock is used on: nothing in there can be left half-done.
    pub(crate) fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn bound_users(&self) {
        self.0.bound_users();
    }

    pub(crate) fn saving(&self) -> MutexGuard<'_, ()> {
        self.0.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::of(MemoryStorageConfig::default())
    }
}

impl fmt::Debug for MemoryStorage {
    /// Numbers only: neither sessions nor what is remembered belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage")
            .field("sessions", &self.len())
            .field("config", self.config())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStorage for MemoryStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities::full(Durability::Volatile)
    }

    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        Some(self.table().snapshot(key.id))
    }

    async fn read(&self, key: &SessionKey, _: Consistency) -> Result<Option<Snapshot>> {
        Ok(self.table().snapshot(key.id))
    }

    async fn read_many(&self, keys: &[SessionKey], _: Consistency) -> Result<Vec<Option<Snapshot>>> {
        Ok(keys.iter().map(|key| self.table().snapshot(key.id)).collect())
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        self.insert_now(request)
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        Ok(self.advance_now(request))
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        Ok(self.update_now(request))
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        Ok(self.touch_now(batch, now))
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.revoke_now(request)
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.bump_now(request)
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        let shard = self.table().read(user.map_or(0, |user| self.table().number(user.shard())));
        let epoch = user.and_then(|user| shard.users.by_id(user)).and_then(|user| user.epoch);
        Ok(Epochs::new(epoch, shard.global))
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.list_pages(query).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.count_matching(query).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        self.purge_now(request)
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        let (now, until) = (now.timestamp_millis(), until.timestamp_millis());
        self.remembered().remember(key.as_str(), now, until).map_err(|error| error.during("remember once"))
    }

    async fn check(&self, _: DateTime<Utc>) -> Result<Health> {
        let (stored, bound) = (self.len(), self.config().max_sessions);
        let early = self.pressure().dropped_early.load(Ordering::Relaxed);
        let mut health = Health::well();
        if stored >= bound.saturating_sub(bound / 10) {
            health = health.finding(
                Severity::Warning,
                format!("{stored} of max_sessions = {bound} sessions are stored: purge, or raise it"),
            );
        }
        if early > 0 {
            let message =
                format!("{early} ended sessions were removed before their retention because max_sessions was reached");
            health = health.finding(Severity::Warning, message);
        }
        let (users, bound) = (self.table().users(), self.config().user_bound());
        let forgotten = self.pressure().forgotten.load(Ordering::Relaxed);
        if users >= bound.saturating_sub(bound / 10) {
            health = health.finding(
                Severity::Info,
                format!("the epochs of {users} of max_users = {bound} users are stored: purge, or raise it"),
            );
        }
        if forgotten > 0 {
            let message = format!(
                "the epochs of {forgotten} users without sessions were forgotten because max_users was reached"
            );
            health = health.finding(Severity::Warning, message);
        }
        Ok(health)
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        Some(&self.0.feed)
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        Some(&*self.0)
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}
