//! Storages that write what they must not.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Insert, InsertOutcome, OnLimit, OnceKey, Purge, PurgeScope, Purged, Query, Revoke,
    RevokeTarget, Revoked, SessionLimit, Touch, TouchReport, Update, UpdateOutcome,
};
use session_manager_core::{
    Actor, ExternalId, Result, Revocation, RevocationReason, Session, SessionId, SessionRecord, SessionStorage,
    Snapshot,
};

use super::twist::{Twist, Twisted, broken};

broken! {
    /// An update of an ended session writes it back without its end, as a careless upsert does.
    BrokenUpsert<HashMap<SessionId, bool>>;
    /// A retry within the grace begins the grace anew.
    BrokenGrace<HashMap<SessionId, DateTime<Utc>>>;
    /// Every use within the grace mints a generation of its own.
    BrokenMint;
    /// Counts, and then inserts.
    BrokenCap;
    /// Ends sessions whoever owns them.
    BrokenOwner;
    /// Of the sessions with one name elsewhere, ends the first that it finds.
    BrokenExternal;
    /// Gives each name elsewhere to one session only.
    BrokenName<Vec<(ExternalId, SessionId)>>;
    /// A touch writes whatever time it is given.
    BrokenTouch<HashMap<SessionId, DateTime<Utc>>>;
    /// A touch knows no threshold.
    BrokenThreshold;
    /// A session that is named twice counts twice.
    BrokenTwice;
    /// A deadline is over one millisecond late.
    BrokenBoundary;
    /// The grace lasts one millisecond longer.
    BrokenGraceEnd;
    /// An insert of what is there is refused, even if it is the same.
    BrokenRepeat;
    /// Evicts without a word.
    BrokenReport;
    /// Keeps seconds only.
    BrokenMillis;
    /// An update ignores the version.
    BrokenVersion;
    /// A raised floor is forgotten.
    BrokenFloor;
    /// A second revocation overwrites the first.
    BrokenReason<HashMap<SessionId, Revocation>>;
    /// Looks, and then remembers.
    BrokenOnce<HashMap<String, DateTime<Utc>>>;
    /// A page that is full means that there is more.
    BrokenMore;
    /// Removes what ended at the time too.
    BrokenPurge;
    /// An ended session may still be refreshed a few times.
    BrokenEnd<HashMap<SessionId, u32>>;
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenUpsert<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    fn seen(&self, mut snapshot: Snapshot) -> Snapshot {
        if self.memory.lock().unwrap().contains_key(&snapshot.session.id) {
            snapshot.control.revocation = None;
        }
        snapshot
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        let outcome = self.inner.update(request).await?;
        if matches!(outcome, UpdateOutcome::Ended(..)) {
            self.memory.lock().unwrap().insert(request.key.id, true);
        }
        Ok(outcome)
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenGrace<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        let outcome = self.inner.advance(request).await?;
        let mut retried = self.memory.lock().unwrap();
        let last = retried.get(&request.key.id).copied();
        Ok(match outcome {
            AdvanceOutcome::Behind(snapshot)
                if last.is_some_and(|last| request.now - last < TimeDelta::seconds(10)) =>
            {
                AdvanceOutcome::Converge(snapshot)
            }
            other => {
                if matches!(other, AdvanceOutcome::Converge(_)) {
                    retried.insert(request.key.id, request.now);
                }
                other
            }
        })
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenMint<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        match self.inner.advance(request).await? {
            AdvanceOutcome::Converge(snapshot) => {
                let mut current = request.clone();
                current.presented = snapshot.control.generation;
                self.inner.advance(&current).await
            }
            other => Ok(other),
        }
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenCap<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        let query = Query::of(request.record.session.user_id.clone(), request.now).limited(200);
        let live = self.inner.list(&query).await?.sessions;
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        let max = usize::try_from(request.limit.max).unwrap();
        let count = u32::try_from(live.len()).unwrap();
        if live.len() >= max && request.limit.rejects() {
            return Ok(InsertOutcome::LimitReached { live: count });
        }
        for oldest in live.iter().rev().take((live.len() + 1).saturating_sub(max)) {
            let target = RevokeTarget::One { key: oldest.key(), owner: None };
            let revoke = Revoke::new(target, RevocationReason::EVICTED, Actor::System, request.now);
            self.inner.revoke(&revoke).await?;
        }
        let mut unlimited = request.clone();
        unlimited.limit = SessionLimit::new(1, OnLimit::Unlimited);
        self.inner.insert(&unlimited).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenOwner<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let mut request = request.clone();
        if let RevokeTarget::One { owner, .. } = &mut request.target {
            *owner = None;
        }
        self.inner.revoke(&request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenExternal<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let RevokeTarget::External(external) = &request.target else { return self.inner.revoke(request).await };
        let all = self.inner.scan().unwrap().scan(None, 10_000).await?.sessions;
        let found = all.into_iter().find(|one| one.session.external.as_ref() == Some(external));
        let Some(found) = found else { return Ok(Revoked::default()) };
        let mut request = request.clone();
        request.target = RevokeTarget::One { key: found.key(), owner: None };
        self.inner.revoke(&request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenName<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        let session = &request.record.session;
        if let Some(external) = &session.external {
            let mut taken = self.memory.lock().unwrap();
            if taken.iter().any(|(name, holder)| name == external && *holder != session.id) {
                return Ok(InsertOutcome::DuplicateId);
            }
            taken.push((external.clone(), session.id));
        }
        self.inner.insert(request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenTouch<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    fn seen(&self, mut snapshot: Snapshot) -> Snapshot {
        if let Some(seen) = self.memory.lock().unwrap().get(&snapshot.session.id) {
            snapshot.control.last_activity = *seen;
        }
        snapshot
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        for touch in batch {
            self.memory.lock().unwrap().insert(touch.key.id, touch.last_activity);
        }
        self.inner.touch(batch, now).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenThreshold<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        let mut batch = batch.to_vec();
        for touch in &mut batch {
            touch.unless_seen_after = None;
        }
        self.inner.touch(&batch, now).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenTwice<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        let mut report = TouchReport::default();
        for touch in batch {
            let one = self.inner.touch(&[*touch], now).await?;
            (report.touched, report.skipped) = (report.touched + one.touched, report.skipped + one.skipped);
        }
        Ok(report)
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenBoundary<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        let mut request = request.clone();
        request.now -= TimeDelta::milliseconds(1);
        self.inner.advance(&request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenGraceEnd<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        let mut request = request.clone();
        request.grace += Duration::from_millis(1);
        self.inner.advance(&request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenRepeat<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        if self.read(&request.record.session.key()).await?.is_some() {
            return Ok(InsertOutcome::DuplicateId);
        }
        self.inner.insert(request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenReport<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        let mut outcome = self.inner.insert(request).await?;
        if let InsertOutcome::Inserted { evicted, .. } = &mut outcome {
            evicted.clear();
        }
        Ok(outcome)
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenMillis<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        let mut session = Session::clone(&request.record.session);
        session.created_at = session.created_at.trunc_subsecs(0);
        let mut request = request.clone();
        request.record = SessionRecord::new(session, request.record.control);
        self.inner.insert(&request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenVersion<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        let mut request = request.clone();
        loop {
            match self.inner.update(&request).await? {
                UpdateOutcome::Conflict(snapshot) => request.expected_version = snapshot.control.version,
                other => return Ok(other),
            }
        }
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenFloor<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        let mut request = request.clone();
        request.patch.raise_floor = false;
        self.inner.update(&request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenReason<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    fn seen(&self, mut snapshot: Snapshot) -> Snapshot {
        if let Some(latest) = self.memory.lock().unwrap().get(&snapshot.session.id) {
            snapshot.control.revocation = Some(latest.clone().into());
        }
        snapshot
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        if let RevokeTarget::One { key, .. } = &request.target {
            self.memory.lock().unwrap().insert(key.id, request.revocation.clone());
        }
        self.inner.revoke(request).await
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenOnce<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        let known = self.memory.lock().unwrap().get(key.as_str()).is_some_and(|until| now < *until);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        if !known {
            self.memory.lock().unwrap().insert(key.as_str().to_owned(), until);
        }
        Ok(!known)
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenMore<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        let mut purged = self.inner.purge(request).await?;
        purged.more = purged.sessions.len() == usize::try_from(request.limit).unwrap();
        Ok(purged)
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenPurge<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        let mut request = request.clone();
        if let PurgeScope::EndedBefore(time) = &mut request.scope {
            *time += TimeDelta::milliseconds(1);
        }
        self.inner.purge(&request).await
    }
}

impl<S> BrokenEnd<S> {
    /// Whether it is one of the first refreshes after the end.
    fn is_early(&self, id: SessionId) -> bool {
        let mut memory = self.memory.lock().unwrap();
        let count = memory.entry(id).or_default();
        *count += 1;
        *count <= 50
    }
}

#[async_trait]
impl<S: SessionStorage> Twist for BrokenEnd<S> {
    fn inner(&self) -> &dyn SessionStorage {
        &self.inner
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        let outcome = self.inner.advance(request).await?;
        Ok(match outcome {
            AdvanceOutcome::Ended(_, snapshot) if self.is_early(request.key.id) => AdvanceOutcome::Converge(snapshot),
            other => other,
        })
    }
}
