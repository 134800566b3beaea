//! Storages that answer what is not so.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::clock::after;
use session_manager_core::storage::{
    Bump, BumpOutcome, BumpTarget, Consistency, Cursor, FeedBatch, FeedCursor, Insert, InsertOutcome, Notice, Page,
    Purge, PurgeScope, PutOutcome, Query, RevocationFeed, Revoke, RevokeTarget, Revoked, ScanCursor, ScanPage,
    SessionFilter, SessionScan,
};
use session_manager_core::{Epochs, Error, ErrorKind, Result, SessionId, SessionKey, SessionStorage, Snapshot, UserId};

use super::twist::{Twist, Twisted, broken};

broken! {
    /// Takes any cursor.
    BrokenCursor;
    /// Pages by counting from the beginning.
    BrokenOffset<HashMap<String, usize>>;
    /// Compares user ids without case.
    BrokenCase;
    /// Ignores one condition of a filter.
    BrokenFilter;
    /// Remembers what it read first.
    BrokenCache<HashMap<SessionId, Snapshot>>;
    /// Remembers the epochs it read first.
    BrokenEpochCache<HashMap<SessionId, Epochs>>;
    /// Keeps nobody.
    BrokenKeep;
    /// Raises again when asked again.
    BrokenExpected;
    /// Ends the sessions that it finds, and leaves the epoch.
    BrokenRevokeAll;
    /// An import wins over whatever is there.
    BrokenPut;
    /// Skips what does not fit into a batch.
    BrokenFeed;
    /// Keeps notices for half as long as it says.
    BrokenRetention;
    /// Says in its errors what it was asked for.
    BrokenError;
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenCursor<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        match self.inner.list(query).await {
            Err(error) if error.kind() == ErrorKind::InvalidCursor => self.inner.list(&query.clone().after(None)).await,
            other => other,
        }
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenOffset<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        query.position()?;
        let skip = query.cursor.as_ref().map_or(0, |cursor| self.memory.lock().unwrap()[cursor.as_str()]);
        let all = self.inner.list(&query.clone().after(None).limited(200)).await?.sessions;
        let limit = usize::try_from(query.limit).unwrap();
        let page: Vec<_> = all.iter().skip(skip).take(limit).cloned().collect();
        let next = page.last().filter(|_| skip + limit < all.len()).map(|last| Cursor::after(query, last));
        if let Some(next) = &next {
            self.memory.lock().unwrap().insert(next.as_str().to_owned(), skip + limit);
        }
        Ok(Page::new(page, next))
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenCase<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let mut everybody = query.clone();
        let Some(wanted) = everybody.user.take() else {
            return self.inner.list(query).await;
        };
        let mut page = self.inner.list(&everybody).await?;
        page.sessions.retain(|one| one.session.user_id.as_str().eq_ignore_ascii_case(wanted.as_str()));
        Ok(page)
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenFilter<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let mut query = query.clone();
        query.filter.created_before = None;
        self.inner.list(&query).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenCache<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        let mut cache = self.memory.lock().unwrap();
        if let Some(found) = cache.get(&key.id) {
            return Some(Some(found.clone()));
        }
        let found = self.inner.try_read(key)?;
        if let Some(found) = &found {
            cache.insert(key.id, found.clone());
        }
        Some(found)
    }

    /// Also on a storage that never answers without waiting, what it read first is what it answers so from then on.
    async fn read(&self, key: &SessionKey) -> Result<Option<Snapshot>> {
        let found = self.inner.read(key, Consistency::Latest).await?;
        if let Some(found) = &found {
            self.memory.lock().unwrap().entry(key.id).or_insert_with(|| found.clone());
        }
        Ok(found)
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenEpochCache<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    fn seen(&self, mut snapshot: Snapshot) -> Snapshot {
        let mut cache = self.memory.lock().unwrap();
        snapshot.epochs = *cache.entry(snapshot.session.id).or_insert(snapshot.epochs);
        snapshot
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        let outcome = self.inner.insert(request).await?;
        if let InsertOutcome::Inserted { snapshot, .. } = &outcome {
            self.seen(snapshot.clone());
        }
        Ok(outcome)
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenKeep<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        let mut request = request.clone();
        if let BumpTarget::User { keep, .. } = &mut request.target {
            *keep = None;
        }
        self.inner.bump(&request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenExpected<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        let mut request = request.clone();
        request.expected = None;
        self.inner.bump(&request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenRevokeAll<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let mut request = request.clone();
        if let RevokeTarget::User { user, except: None } = &request.target {
            request.target = RevokeTarget::Matching { user: Some(user.clone()), filter: SessionFilter::new() };
        }
        self.inner.revoke(&request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenPut<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        Some(self)
    }
}

#[async_trait]
impl<S: SessionStorage> SessionScan for BrokenPut<S> {
    async fn scan(&self, cursor: Option<&ScanCursor>, limit: u32) -> Result<ScanPage> {
        self.inner.scan().unwrap().scan(cursor, limit).await
    }

    async fn put(&self, snapshot: &Snapshot) -> Result<PutOutcome> {
        let scan = self.inner.scan().unwrap();
        let outcome = scan.put(snapshot).await?;
        if outcome == PutOutcome::Kept {
            let scope = PurgeScope::One(snapshot.key());
            self.inner.purge(&Purge::new(scope, 1, snapshot.session.created_at)).await?;
            scan.put(snapshot).await?;
        }
        Ok(outcome)
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenFeed<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        Some(self)
    }
}

#[async_trait]
impl<S: SessionStorage> RevocationFeed for BrokenFeed<S> {
    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        self.inner.feed().unwrap().announce(notices).await
    }

    async fn since(&self, cursor: Option<&FeedCursor>, limit: u32, now: DateTime<Utc>) -> Result<FeedBatch> {
        let mut batch = self.inner.feed().unwrap().since(cursor, 10_000, now).await?;
        batch.notices.truncate(usize::try_from(limit).unwrap());
        Ok(batch)
    }

    fn retention(&self) -> Option<Duration> {
        self.inner.feed().unwrap().retention()
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenRetention<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        Some(self)
    }
}

#[async_trait]
impl<S: SessionStorage> RevocationFeed for BrokenRetention<S> {
    async fn announce(&self, notices: &[Notice]) -> Result<()> {
        self.inner.feed().unwrap().announce(notices).await
    }

    async fn since(&self, cursor: Option<&FeedCursor>, limit: u32, now: DateTime<Utc>) -> Result<FeedBatch> {
        let mut batch = self.inner.feed().unwrap().since(cursor, limit, now).await?;
        batch.notices.retain(|notice| now < after(notice.at, Duration::from_mins(30)));
        Ok(batch)
    }

    fn retention(&self) -> Option<Duration> {
        Some(Duration::from_hours(1))
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenError<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let whose = query.user.as_ref().map(UserId::as_str).unwrap_or_default();
        let told = |error: Error| error.because(format!("no list of {whose}"));
        self.inner.list(query).await.map_err(told)
    }
}

/// Shows its sessions in its `Debug` text.
pub struct BrokenDebug<S> {
    inner: S,
    memory: std::sync::Mutex<Vec<SessionId>>,
}

impl<S: SessionStorage> BrokenDebug<S> {
    /// Breaks a storage.
    pub fn over(inner: S) -> Twisted<Self> {
        Twisted(Self { inner, memory: std::sync::Mutex::default() })
    }
}

impl<S> fmt::Debug for BrokenDebug<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.memory.lock().unwrap())
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenDebug<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        self.memory.lock().unwrap().push(request.record.session.id);
        self.inner.insert(request).await
    }
}
