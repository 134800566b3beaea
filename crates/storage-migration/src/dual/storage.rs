//! [`DualStorage`]'s face towards core.
#![deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide the storages' own")]

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Health, Insert, InsertOutcome,
    OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, Revoked, SessionScan, Severity, Touch, TouchReport,
    Update, UpdateOutcome,
};
use session_manager_core::{Epochs, Result, SessionKey, SessionStorage, Snapshot, UserId};

use super::following::unconfirmed;
use super::{DualStorage, count};

#[async_trait]
impl SessionStorage for DualStorage {
    fn capabilities(&self) -> Capabilities {
        self.0.common_capabilities()
    }

    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        match self.0.leader().try_read(key) {
            Some(None) if self.0.falls_back() => None,
            answer => answer,
        }
    }

    async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Option<Snapshot>> {
        match self.0.leader().read(key, consistency).await? {
            None if self.0.falls_back() => self.0.fetch(key).await,
            answer => Ok(answer),
        }
    }

    async fn read_many(&self, keys: &[SessionKey], consistency: Consistency) -> Result<Vec<Option<Snapshot>>> {
        let mut found = self.0.leader().read_many(keys, consistency).await?;
        if self.0.falls_back() {
            for (key, missing) in keys.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
                *missing = self.0.fetch(key).await?;
            }
        }
        Ok(found)
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        self.0.acquaint(&request.record.session.user_id, request.now).await?;
        let outcome = self.0.leader().insert(request).await?;
        if let InsertOutcome::Inserted { snapshot, evicted } = &outcome {
            self.0.follow_ended(evicted, request.now).await;
            self.0.follow(snapshot, request.now).await;
        }
        Ok(outcome)
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        let mut outcome = self.0.leader().advance(request).await?;
        if self.0.falls_back()
            && matches!(outcome, AdvanceOutcome::Missing)
            && self.0.fetch(&request.key).await?.is_some()
        {
            outcome = self.0.leader().advance(request).await?;
        }
        if let AdvanceOutcome::Advanced(snapshot) | AdvanceOutcome::Ahead(snapshot) = &outcome {
            self.0.follow(snapshot, request.now).await;
        }
        Ok(outcome)
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        let mut outcome = self.0.leader().update(request).await?;
        if self.0.falls_back()
            && matches!(outcome, UpdateOutcome::Missing)
            && self.0.fetch(&request.key).await?.is_some()
        {
            outcome = self.0.leader().update(request).await?;
        }
        if let UpdateOutcome::Updated(snapshot) = &outcome {
            if request.patch.raise_floor {
                // Tokens end by it: that must not be undone by reading the other storage one day.
                let confirmed = self.0.confirm_follower(snapshot, request.now).await;
                confirmed.map_err(|error| unconfirmed("update", error))?;
            } else {
                self.0.follow(snapshot, request.now).await;
            }
        }
        Ok(outcome)
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        let report = self.0.leader().touch(batch, now).await?;
        if self.0.follower().touch(batch, now).await.is_err() {
            // The next one says the same and more.
            count(&self.0.counters.failed);
        }
        Ok(report)
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.0.revoke_both(request).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.0.bump_both(request).await
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        let epochs = self.0.leader().epochs(user).await?;
        if !self.0.falls_back() || epochs.global.is_some() && (user.is_none() || epochs.user.is_some()) {
            return Ok(epochs);
        }
        let old = self.0.old.epochs(user).await?;
        Ok(Epochs::new(epochs.user.or(old.user), epochs.global.or(old.global)))
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        if let Some(user) = query.user.as_ref().filter(|_| self.0.falls_back()) {
            self.0.fetch_user(user, query.now).await?;
        }
        self.0.leader().list(query).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        if let Some(user) = query.user.as_ref().filter(|_| self.0.falls_back()) {
            self.0.fetch_user(user, query.now).await?;
        }
        self.0.leader().count(query).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        self.0.purge_both(request).await
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        // In one order whichever leads: of any number of callers one is told `true` by the old storage, and only that one asks the new.
        Ok(self.0.old.remember_once(key, now, until).await? && self.0.new.remember_once(key, now, until).await?)
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        let mut health = self.0.leader().check(now).await?;
        if let Ok(other) = self.0.follower().check(now).await {
            health.findings.extend(other.findings);
        } else {
            let message = "the storage that does not lead cannot be reached: no revocation is confirmed";
            health = health.finding(Severity::Error, message);
        }
        let stats = self.stats();
        if stats.lagging > 0 || stats.forgotten > 0 {
            let message = format!(
                "{} sessions wait to be written to the storage that does not lead, and {} wait for another copy",
                stats.lagging, stats.forgotten
            );
            health = health.finding(Severity::Warning, message);
        }
        Ok(health)
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.0.leader().feed()?;
        Some(&self.0)
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        Some(&self.0)
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        Some(self.0.work())
    }
}
