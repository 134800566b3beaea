//! [`TieredStorage`]: durable first on every write, the cache for reads that may be as old as it is.
#![deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide the durable storage's own")]

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, BumpTarget, Capabilities, Consistency, Count, Freshness, Health,
    Insert, InsertOutcome, OnceKey, Page, Purge, PurgeScope, Purged, Query, RevocationFeed, Revoke, RevokeTarget,
    Revoked, SessionScan, Severity, Subject, Touch, TouchReport, Update, UpdateOutcome,
};
use session_manager_core::{
    Clock, Epochs, InvalidationBus, NoopTelemetry, Result, SessionKey, SessionStorage, SharedCache, SharedSubject,
    Snapshot, SystemClock, Telemetry, UserId,
};

use crate::cache::{Cache, Look};
use crate::config::TieredConfig;
use crate::effect::Tell;
use crate::flight::{Flights, Source};
use crate::shared_cache::SharedTier;
use crate::stats::TieredStats;
use crate::tiers::Tiers;

/// A durable storage with a cache in this process before it.
///
/// # Behaviour
/// - Reads with [`Consistency::Eventual`] are answered from memory where that is allowed; all others, and
///   [`try_read`](SessionStorage::try_read), go to the durable storage.
/// - Every change goes to the durable storage. Before that its subject leaves the cache, here and, over the bus, on the other nodes; after it,
///   what was read meanwhile is thrown away and what the change returned is remembered.
/// - A change that fails or is dropped has an unknown outcome: its subject stays out of the cache for [`TieredConfig::max_age`].
/// - With a bus, [`maintenance`](SessionStorage::maintenance) must run: it listens. Until it does, and whenever the bus is not heard, the
///   cache does what [`TieredConfig::when_deaf`] says. Without a bus other nodes' changes are seen after `max_age` at the latest.
///
/// # Security
/// A revocation through this storage is seen by its own reads at once, by other nodes after the bus's delay, and by nobody later than
/// `max_age` after it returned; nothing but the clocks' being wrong by more than that prolongs it.
pub struct TieredStorage {
    tiers: Tiers,
    flights: Flights,
}

impl TieredStorage {
    /// A cache before `durable`.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](session_manager_core::ErrorKind::Misconfigured) for bounds that make no sense.
    pub fn new(durable: Arc<dyn SessionStorage>, config: TieredConfig) -> Result<Self> {
        config.validate()?;
        let source = Source {
            durable,
            cache: Arc::new(Cache::new(config)),
            clock: Arc::new(SystemClock),
            shared: None,
            telemetry: Arc::new(NoopTelemetry),
        };
        Ok(Self { tiers: Tiers::new(source), flights: Flights::default() })
    }

    /// Tells other nodes of changes, and hears of theirs. Nothing is answered from memory, or only what is young enough, until
    /// [`maintenance`](SessionStorage::maintenance) runs.
    pub fn with_bus(mut self, bus: Arc<dyn InvalidationBus>) -> Self {
        self.tiers.source.cache.expect_bus();
        self.tiers.bus = Some(bus);
        self
    }

    /// Remembers in a cache that all nodes share too: what one has read, the others find there.
    ///
    /// # Behaviour
    /// - It is asked after the cache of this process and before the durable storage; `max_entries(0)` leaves it alone.
    /// - A change that may end something puts up a tombstone there before the durable storage is changed, and again after it where that took
    ///   longer than [`TieredConfig::max_age`]. For that age and twice the [`TieredConfig::fill_timeout`] nothing of its subject is answered
    ///   or filled in there.
    /// - Where it cannot be told, the change goes on; [`Revoked::binds_by`] and
    ///   [`Bumped::binds_by`](session_manager_core::storage::Bumped::binds_by) say by when it is known everywhere, this node passes the
    ///   cache by for that subject, and [`maintenance`](SessionStorage::maintenance) tries every second to bury it.
    /// - Only keys that name their user are asked for, and absences are never remembered there.
    /// - All nodes must have it, and the same bounds.
    pub fn with_shared(mut self, cache: Arc<dyn SharedCache>) -> Self {
        self.tiers.source.shared = Some(Arc::new(SharedTier::new(cache)));
        self
    }

    /// Reports what goes wrong aside to the one that the manager has.
    pub fn with_telemetry(mut self, telemetry: Arc<dyn Telemetry>) -> Self {
        self.tiers.source.telemetry = telemetry;
        self
    }

    /// Takes the time from `clock`: the one that the session manager has.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.tiers.source.clock = clock;
        self
    }

    /// What the cache has done so far, and how it is.
    pub fn stats(&self) -> TieredStats {
        let Source { cache, shared, .. } = &self.tiers.source;
        let unburied = shared.as_ref().map_or(0, |shared| shared.unburied_count());
        cache.counters.read(cache.len(), unburied, cache.is_hearing(self.tiers.source.clock.now()))
    }

    fn forget(&self, ids: impl Iterator<Item = Subject>) {
        self.tiers.source.cache.raise(ids, self.tiers.source.clock.now());
    }

    async fn read_cached(&self, key: &SessionKey) -> Result<Option<Snapshot>> {
        let Source { durable, cache, clock, .. } = &self.tiers.source;
        match cache.look(key, clock.now()) {
            Look::Hit(found) => {
                cache.counters.hits.count();
                Ok(found)
            }
            Look::Miss(ticket) => self.flights.fetch(&self.tiers.source, key, ticket).await,
            Look::Bypass => {
                cache.counters.bypassed.count();
                durable.read(key, Consistency::Latest).await
            }
        }
    }

    async fn read_many_cached(&self, keys: &[SessionKey]) -> Result<Vec<Option<Snapshot>>> {
        let Source { durable, cache, clock, .. } = &self.tiers.source;
        let now = clock.now();
        let looks: Vec<Look> = keys.iter().map(|key| cache.look(key, now)).collect();
        let missing: Vec<SessionKey> =
            keys.iter().zip(&looks).filter(|(_, look)| !matches!(look, Look::Hit(_))).map(|(key, _)| *key).collect();
        let read = if missing.is_empty() { vec![] } else { durable.read_many(&missing, Consistency::Latest).await? };
        let (now, mut read) = (clock.now(), read.into_iter());
        let answer = |(key, look): (&SessionKey, Look)| match look {
            Look::Hit(found) => {
                cache.counters.hits.count();
                found
            }
            Look::Miss(ticket) => {
                cache.counters.misses.count();
                let found = read.next().flatten();
                cache.fill(ticket, key, found.as_ref(), None, now);
                found
            }
            Look::Bypass => {
                cache.counters.bypassed.count();
                read.next().flatten()
            }
        };
        Ok(keys.iter().zip(looks).map(answer).collect())
    }
}

impl fmt::Debug for TieredStorage {
    /// Numbers only: sessions do not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TieredStorage")
            .field("durable", &self.tiers.source.durable)
            .field("bus", &self.tiers.bus)
            .field("config", self.tiers.source.cache.config())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStorage for TieredStorage {
    /// The durable storage's, except for the freshness.
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.tiers.source.durable.capabilities();
        capabilities.freshness = Freshness::Bounded(self.tiers.source.cache.config().max_age);
        capabilities
    }

    /// # Behaviour
    /// Never from the cache, whose answers are not the latest: the durable storage's own.
    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        self.tiers.source.durable.try_read(key)
    }

    async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Option<Snapshot>> {
        match consistency {
            Consistency::Latest => self.tiers.source.durable.read(key, consistency).await,
            Consistency::Eventual => self.read_cached(key).await,
        }
    }

    async fn read_many(&self, keys: &[SessionKey], consistency: Consistency) -> Result<Vec<Option<Snapshot>>> {
        match consistency {
            Consistency::Latest => self.tiers.source.durable.read_many(keys, consistency).await,
            Consistency::Eventual => self.read_many_cached(keys).await,
        }
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        let session = &request.record.session;
        // One that makes no room for itself ends nobody else's session, and what another node may remember is its absence for a second.
        let (subject, tell) = if request.limit.rejects() {
            (SharedSubject::Session(session.id), Tell::Nobody)
        } else {
            (SharedSubject::user(&session.user_id), Tell::Both)
        };
        self.tiers.change(subject, tell, self.tiers.source.durable.insert(request)).await
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        let call = self.tiers.source.durable.advance(request);
        self.tiers.change(SharedSubject::Session(request.key.id), Tell::After, call).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        // A raised floor ends tokens.
        let tell = if request.patch.raise_floor { Tell::Both } else { Tell::After };
        let call = self.tiers.source.durable.update(request);
        self.tiers.change(SharedSubject::Session(request.key.id), tell, call).await
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        let report = self.tiers.source.durable.touch(batch, now).await;
        // Also after an error, which may have touched some.
        self.forget(batch.iter().map(|touch| Subject::Session(touch.key.id)));
        if let Some(shared) = &self.tiers.source.shared {
            let touched: Vec<_> = batch.iter().map(|touch| SharedSubject::Session(touch.key.id)).collect();
            shared.forget(&self.tiers.source, &touched).await;
        }
        report
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let subject = match &request.target {
            RevokeTarget::One { key, .. } => SharedSubject::Session(key.id),
            RevokeTarget::User { user, .. } | RevokeTarget::Matching { user: Some(user), .. } => {
                SharedSubject::user(user)
            }
            // Whose session it is shows only afterwards.
            _ => SharedSubject::Global,
        };
        self.tiers.change(subject, Tell::Both, self.tiers.source.durable.revoke(request)).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        let subject = match &request.target {
            BumpTarget::User { user, .. } => SharedSubject::user(user),
            _ => SharedSubject::Global,
        };
        self.tiers.change(subject, Tell::Both, self.tiers.source.durable.bump(request)).await
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.tiers.source.durable.epochs(user).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.tiers.source.durable.list(query).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.tiers.source.durable.count(query).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        let call = self.tiers.source.durable.purge(request);
        let subject = match &request.scope {
            PurgeScope::One(key) => SharedSubject::Session(key.id),
            PurgeScope::User(user) => SharedSubject::user(user),
            PurgeScope::EndedBefore(_) => {
                // What other nodes remember of these is that they are over.
                let purged = call.await?;
                self.forget(purged.sessions.iter().map(|ended| Subject::Session(ended.session.id)));
                return Ok(purged);
            }
            _ => SharedSubject::Global,
        };
        self.tiers.change(subject, Tell::Both, call).await
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        self.tiers.source.durable.remember_once(key, now, until).await
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        let health = self.tiers.source.durable.check(now).await?;
        if self.tiers.source.cache.is_hearing(self.tiers.source.clock.now()) {
            return Ok(health);
        }
        let message = "the invalidation bus is not heard: reads pass the cache by, or are bounded by their age alone";
        Ok(health.finding(Severity::Warning, message))
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.tiers.source.durable.feed()?;
        Some(&self.tiers)
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        self.tiers.source.durable.scan()?;
        Some(&self.tiers)
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        self.tiers.work()
    }
}
