//! A storage that also removes by time what memcached removes by itself, and refuses external ids that are taken: the two things that the
//! kit's histories do whatever a storage says it can.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, Capabilities, Consistency, Count, Health, Insert, InsertOutcome,
    OnceKey, Page, Purge, PurgeScope, Purged, Query, RevocationFeed, Revoke, Revoked, SessionFilter, SessionScan,
    Touch, TouchReport, Update, UpdateOutcome,
};
use session_manager_core::{Epochs, ExternalId, Result, Session, SessionKey, SessionStorage, Snapshot, UserId};

/// Knows every user that signed in through it, as the cache does not.
pub(crate) struct Swept<S> {
    inner: S,
    users: Mutex<BTreeSet<UserId>>,
    names: Mutex<Vec<(ExternalId, SessionKey)>>,
}

impl<S: SessionStorage> Swept<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, users: Mutex::default(), names: Mutex::default() }
    }

    /// Whether another stored session has this name.
    async fn is_taken(&self, session: &Session) -> Result<bool> {
        let Some(name) = &session.external else { return Ok(false) };
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let others = names.into_iter().filter(|(there, key)| there == name && key.id != session.id);
        for (_, key) in others {
            if self.inner.read(&key, Consistency::Latest).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn sweep(&self, request: &Purge, before: DateTime<Utc>) -> Result<Purged> {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut due = Vec::new();
        for user in users {
            let mut query =
                Query::of(user, request.now).filtered(SessionFilter::including_ended()).limited(Query::MAX_LIMIT);
            loop {
                let page = self.inner.list(&query).await?;
                due.extend(
                    page.sessions
                        .into_iter()
                        .filter(|one| one.revocation().is_some_and(|end| end.at < before) || one.deadline() < before),
                );
                match page.next {
                    Some(next) => query = query.after(Some(next)),
                    None => break,
                }
            }
        }
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let mut sessions = Vec::new();
        for one in due.iter().take(limit) {
            let purge = Purge::new(PurgeScope::One(one.key()), 1, request.now);
            sessions.extend(self.inner.purge(&purge).await?.sessions);
        }
        Ok(Purged::new(sessions, due.len() > limit))
    }
}

impl<S: fmt::Debug> fmt::Debug for Swept<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl<S: SessionStorage> SessionStorage for Swept<S> {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.native_expiry = false;
        capabilities
    }

    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        self.inner.try_read(key)
    }

    async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Option<Snapshot>> {
        self.inner.read(key, consistency).await
    }

    async fn read_many(&self, keys: &[SessionKey], consistency: Consistency) -> Result<Vec<Option<Snapshot>>> {
        self.inner.read_many(keys, consistency).await
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        let session = &request.record.session;
        self.users.lock().unwrap_or_else(PoisonError::into_inner).insert(session.user_id.clone());
        let is_there = self.inner.read(&session.key(), Consistency::Latest).await?.is_some();
        if !is_there && self.is_taken(session).await? {
            return Ok(InsertOutcome::DuplicateId);
        }
        let outcome = self.inner.insert(request).await?;
        if let (InsertOutcome::Inserted { .. }, Some(name)) = (&outcome, &session.external) {
            let named = (name.clone(), session.key());
            self.names.lock().unwrap_or_else(PoisonError::into_inner).push(named);
        }
        Ok(outcome)
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        self.inner.advance(request).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        self.inner.update(request).await
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        self.inner.touch(batch, now).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.inner.revoke(request).await
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        self.inner.bump(request).await
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.inner.epochs(user).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.inner.list(query).await
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        self.inner.count(query).await
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        match request.scope {
            PurgeScope::EndedBefore(before) => self.sweep(request, before).await,
            _ => self.inner.purge(request).await,
        }
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        self.inner.remember_once(key, now, until).await
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        self.inner.check(now).await
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.inner.feed()
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        self.inner.scan()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        self.inner.maintenance()
    }
}
