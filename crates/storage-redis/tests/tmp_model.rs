//! Temporary: random histories with a purge that sweeps.
#![allow(clippy::unwrap_used, clippy::option_option, reason = "tests")]
mod servers;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use servers::{Held, clustered, single};
use session_manager_core::storage::*;
use session_manager_core::*;

#[derive(Debug)]
struct Sweeping(Held);

#[async_trait]
impl SessionStorage for Sweeping {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        self.0.try_read(key)
    }
    async fn read(&self, key: &SessionKey, c: Consistency) -> Result<Option<Snapshot>> {
        self.0.read(key, c).await
    }
    async fn read_many(&self, keys: &[SessionKey], c: Consistency) -> Result<Vec<Option<Snapshot>>> {
        self.0.read_many(keys, c).await
    }
    async fn insert(&self, r: &Insert) -> Result<InsertOutcome> {
        self.0.insert(r).await
    }
    async fn advance(&self, r: &Advance) -> Result<AdvanceOutcome> {
        self.0.advance(r).await
    }
    async fn update(&self, r: &Update) -> Result<UpdateOutcome> {
        self.0.update(r).await
    }
    async fn touch(&self, b: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        self.0.touch(b, now).await
    }
    async fn revoke(&self, r: &Revoke) -> Result<Revoked> {
        self.0.revoke(r).await
    }
    async fn bump(&self, r: &Bump) -> Result<BumpOutcome> {
        self.0.bump(r).await
    }
    async fn epochs(&self, u: Option<&UserId>) -> Result<Epochs> {
        self.0.epochs(u).await
    }
    async fn list(&self, q: &Query) -> Result<Page> {
        self.0.list(q).await
    }
    async fn count(&self, q: &Query) -> Result<Count> {
        self.0.count(q).await
    }
    async fn purge(&self, r: &Purge) -> Result<Purged> {
        let PurgeScope::EndedBefore(t) = r.scope else { return self.0.purge(r).await };
        let (mut cursor, mut found) = (None, std::collections::BTreeMap::new());
        loop {
            let page = self.0.scan().unwrap().scan(cursor.as_ref(), 1000).await?;
            for one in page.sessions {
                if one.revocation().is_some_and(|v| v.at < t) || one.deadline() < t {
                    found.insert(one.session.id, one);
                }
            }
            match page.next {
                Some(n) => cursor = Some(n),
                None => break,
            }
        }
        let more = found.len() > r.limit as usize;
        let mut gone = Vec::new();
        for one in found.into_values().take(r.limit as usize) {
            gone.extend(self.0.purge(&Purge::new(PurgeScope::One(one.key()), 1, r.now)).await?.sessions);
        }
        Ok(Purged::new(gone, more))
    }
    async fn remember_once(&self, k: &OnceKey, now: DateTime<Utc>, u: DateTime<Utc>) -> Result<bool> {
        self.0.remember_once(k, now, u).await
    }
    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        self.0.check(now).await
    }
    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.0.feed()
    }
    fn scan(&self) -> Option<&dyn SessionScan> {
        self.0.scan()
    }
    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        self.0.maintenance()
    }
}
async fn one() -> Sweeping {
    Sweeping(single().await)
}
async fn many() -> Sweeping {
    Sweeping(clustered().await)
}
session_manager_testkit::storage_conformance!(swept, one, lacking = [ListAll]);
session_manager_testkit::storage_conformance!(swept_cluster, many, lacking = [ListAll]);
