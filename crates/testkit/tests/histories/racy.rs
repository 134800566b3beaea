//! The reference behind a layer that races with itself: it looks, lets others go on, and acts on what it saw.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::refresh::{Verdict, judge};
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, EndedSession, Health, Insert,
    InsertOutcome, OnceKey, Page, Purge, Purged, Query, RevocationFeed, Revoke, RevokeTarget, Revoked, SessionScan,
    Touch, TouchReport, Update, UpdateOutcome,
};
use session_manager_core::{Epochs, LivePolicy, Result, SessionKey, SessionStorage, Snapshot, State, UserId};
use session_manager_testkit::ReferenceStorage;

/// What is done in two steps that should be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Race {
    CheckThenRefresh,
    CheckThenUpdate,
    CheckThenRevoke,
    /// A revocation is answered before it is seen.
    LateRevocation,
    /// A user's epoch is remembered for the next reading.
    StaleEpoch,
}

#[derive(Debug)]
pub(crate) struct Racy {
    race: Race,
    storage: Arc<ReferenceStorage>,
    remembered: Mutex<Vec<(UserId, Epochs)>>,
}

impl Racy {
    pub(crate) fn new(race: Race) -> Self {
        Self { race, storage: Arc::default(), remembered: Mutex::default() }
    }

    async fn look(&self, key: &SessionKey) -> Result<Option<Snapshot>> {
        let seen = self.storage.read(key, Consistency::Latest).await?;
        tokio::task::yield_now().await;
        Ok(seen)
    }

    /// The epochs as they were at the reading before.
    fn stale(&self, mut snapshot: Snapshot) -> Snapshot {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let user = &snapshot.session.user_id;
        let before = remembered.iter().position(|(of, _)| of == user).map(|at| remembered.swap_remove(at).1);
        remembered.push((user.clone(), snapshot.epochs));
        snapshot.epochs = before.unwrap_or(snapshot.epochs);
        snapshot
    }
}

fn key_of(target: &RevokeTarget) -> Option<SessionKey> {
    match target {
        RevokeTarget::One { key, .. } => Some(*key),
        _ => None,
    }
}

#[async_trait]
impl SessionStorage for Racy {
    fn try_read(&self, _: &SessionKey) -> Option<Option<Snapshot>> {
        None
    }

    async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Option<Snapshot>> {
        let found = self.storage.read(key, consistency).await?;
        Ok(if self.race == Race::StaleEpoch { found.map(|snapshot| self.stale(snapshot)) } else { found })
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        if self.race != Race::CheckThenRefresh {
            return self.storage.advance(request).await;
        }
        let Some(seen) = self.look(&request.key).await? else { return Ok(AdvanceOutcome::Missing) };
        if judge(&seen, request.presented, request.now, request.grace, LivePolicy::TRACKED) != Verdict::Advance {
            return self.storage.advance(request).await;
        }
        let Some(current) = self.storage.read(&request.key, Consistency::Latest).await? else {
            return Ok(AdvanceOutcome::Missing);
        };
        let next = Advance::new(request.key, current.control.generation, request.grace, request.now);
        self.storage.advance(&next).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        if self.race != Race::CheckThenUpdate {
            return self.storage.update(request).await;
        }
        match self.look(&request.key).await? {
            Some(seen) if seen.control.version == request.expected_version => {}
            _ => return self.storage.update(request).await,
        }
        let Some(current) = self.storage.read(&request.key, Consistency::Latest).await? else {
            return Ok(UpdateOutcome::Missing);
        };
        let blind = Update::new(request.key, current.control.version, request.patch.clone(), request.now);
        self.storage.update(&blind).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let racy = matches!(self.race, Race::CheckThenRevoke | Race::LateRevocation);
        let Some(key) = key_of(&request.target).filter(|_| racy) else {
            return self.storage.revoke(request).await;
        };
        let seen = match self.look(&key).await? {
            Some(seen) if seen.state(request.now(), LivePolicy::TRACKED) == State::Live => seen,
            _ => return self.storage.revoke(request).await,
        };
        if self.race == Race::CheckThenRevoke {
            self.storage.revoke(request).await?;
        }
        let (storage, late) = (Arc::clone(&self.storage), request.clone());
        if self.race == Race::LateRevocation {
            tokio::spawn(async move {
                for _ in 0..64 {
                    tokio::task::yield_now().await;
                }
                storage.revoke(&late).await
            });
        }
        Ok(Revoked::new(vec![EndedSession::new(seen.session, State::Revoked, None)], 0))
    }

    fn capabilities(&self) -> Capabilities {
        self.storage.capabilities()
    }

    async fn read_many(&self, keys: &[SessionKey], consistency: Consistency) -> Result<Vec<Option<Snapshot>>> {
        self.storage.read_many(keys, consistency).await
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        self.storage.insert(request).await
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        self.storage.touch(batch, now).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.storage.bump(request).await
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.storage.epochs(user).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.storage.list(query).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.storage.count(query).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        self.storage.purge(request).await
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        self.storage.remember_once(key, now, until).await
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        self.storage.check(now).await
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.storage.feed()
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        self.storage.scan()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}
