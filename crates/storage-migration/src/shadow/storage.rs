//! [`ShadowStorage`]'s face towards core: every method asks the old storage, answers, and leaves a job behind.
#![deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide the old storage's own")]

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Bump, BumpOutcome, BumpTarget, Capabilities, Consistency, Count, Health, Insert,
    InsertOutcome, OnceKey, Page, Purge, PurgeScope, Purged, Query, RevocationFeed, Revoke, RevokeTarget, Revoked,
    SessionScan, Touch, TouchReport, Update, UpdateOutcome,
};
use session_manager_core::{Epochs, Result, SessionKey, SessionStorage, Snapshot, UserId};

use super::ShadowStorage;
use super::compare::{self, Difference};
use super::work::{Job, Repeat};

impl ShadowStorage {
    fn leave(&self, about: Vec<SessionKey>, now: DateTime<Utc>, repeat: Repeat) {
        self.enqueue(Job::Repeat { about, now, repeat });
    }

    fn leave_read(&self, key: SessionKey, answer: Option<&Snapshot>) {
        if !self.samples_key(&key) {
            return;
        }
        let (now, answer) = (self.clock.now(), answer.cloned());
        let repeat: Repeat = Box::new(move |new, live| {
            async move {
                let found = new.read(&key, Consistency::Latest).await?;
                Ok(compare::sessions(answer.as_ref(), found.as_ref(), now, live))
            }
            .boxed()
        });
        self.leave(vec![key], now, repeat);
    }

    /// Whether a request about these users, or about all, is shadowed.
    fn samples_some(&self, user: Option<&UserId>) -> bool {
        user.is_none_or(|user| self.samples_user(user))
    }
}

#[async_trait]
impl SessionStorage for ShadowStorage {
    /// The old storage's.
    fn capabilities(&self) -> Capabilities {
        self.old.capabilities()
    }

    fn try_read(&self, key: &SessionKey) -> Option<Option<Snapshot>> {
        let answer = self.old.try_read(key)?;
        self.leave_read(*key, answer.as_ref());
        Some(answer)
    }

    async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Option<Snapshot>> {
        let answer = self.old.read(key, consistency).await?;
        self.leave_read(*key, answer.as_ref());
        Ok(answer)
    }

    async fn read_many(&self, keys: &[SessionKey], consistency: Consistency) -> Result<Vec<Option<Snapshot>>> {
        let answers = self.old.read_many(keys, consistency).await?;
        for (key, answer) in keys.iter().zip(&answers) {
            self.leave_read(*key, answer.as_ref());
        }
        Ok(answers)
    }

    async fn insert(&self, request: &Insert) -> Result<InsertOutcome> {
        let answer = self.old.insert(request).await?;
        let session = &request.record.session;
        if self.samples_user(&session.user_id) {
            let (about, now) = (vec![session.key()], request.now);
            let (request, answer) = (request.clone(), answer.clone());
            let repeat: Repeat = Box::new(move |new, live| {
                async move { Ok(compare::inserts(&answer, &new.insert(&request).await?, now, live)) }.boxed()
            });
            self.leave(about, now, repeat);
        }
        Ok(answer)
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        let answer = self.old.advance(request).await?;
        if self.samples_key(&request.key) {
            let (key, now) = (request.key, request.now);
            let (request, answer) = (request.clone(), answer.clone());
            let repeat: Repeat = Box::new(move |new, live| {
                async move { Ok(compare::advances(&answer, &new.advance(&request).await?, now, live)) }.boxed()
            });
            self.leave(vec![key], now, repeat);
        }
        Ok(answer)
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        let answer = self.old.update(request).await?;
        if self.samples_key(&request.key) {
            let (key, now) = (request.key, request.now);
            let (request, answer) = (request.clone(), answer.clone());
            let repeat: Repeat = Box::new(move |new, live| {
                async move { Ok(compare::updates(&answer, &new.update(&request).await?, now, live)) }.boxed()
            });
            self.leave(vec![key], now, repeat);
        }
        Ok(answer)
    }

    async fn touch(&self, batch: &[Touch], now: DateTime<Utc>) -> Result<TouchReport> {
        let answer = self.old.touch(batch, now).await?;
        let sampled: Vec<Touch> = batch.iter().filter(|touch| self.samples_key(&touch.key)).copied().collect();
        if !sampled.is_empty() {
            let whole = sampled.len() == batch.len();
            let about = sampled.iter().map(|touch| touch.key).collect();
            let repeat: Repeat = Box::new(move |new, _| {
                async move {
                    let report = new.touch(&sampled, now).await?;
                    Ok((whole && report != answer).then_some(Difference::Outcome))
                }
                .boxed()
            });
            self.leave(about, now, repeat);
        }
        Ok(answer)
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let answer = self.old.revoke(request).await?;
        let sampled = match &request.target {
            RevokeTarget::One { key, .. } => self.samples_key(key),
            RevokeTarget::User { user, .. } => self.samples_user(user),
            RevokeTarget::Matching { user, .. } => self.samples_some(user.as_ref()),
            _ => true,
        };
        if sampled {
            let mut about: Vec<SessionKey> = answer.sessions.iter().map(|ended| ended.session.key()).collect();
            about.retain(|key| self.samples_key(key));
            if let RevokeTarget::One { key, .. } = &request.target {
                about = vec![*key];
            }
            let (request, answer, now) = (request.clone(), answer.clone(), request.now());
            // Of what spans users only the sampled ones are there to be compared.
            let whole = self.config.per_mille == 1000 || !spans_users(&request.target);
            let repeat: Repeat = Box::new(move |new, _| {
                async move {
                    let revoked = new.revoke(&request).await?;
                    Ok(compare::revokes(&answer, &revoked).filter(|_| whole))
                }
                .boxed()
            });
            self.leave(about, now, repeat);
        }
        Ok(answer)
    }

    async fn bump(&self, request: &Bump) -> Result<BumpOutcome> {
        let answer = self.old.bump(request).await?;
        let user = match &request.target {
            BumpTarget::User { user, .. } => Some(user),
            _ => None,
        };
        if self.samples_some(user) {
            let (mut request, answer, now) = (request.clone(), answer.clone(), request.now);
            // The versions count from where each storage began.
            request.expected = None;
            let applied = matches!(&answer, BumpOutcome::Bumped(bumped) if bumped.applied);
            let repeat: Repeat = Box::new(move |new, live| {
                async move {
                    if !applied {
                        return Ok(None);
                    }
                    Ok(compare::bumps(&answer, &new.bump(&request).await?, now, live))
                }
                .boxed()
            });
            self.leave(vec![], now, repeat);
        }
        Ok(answer)
    }

    async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.old.epochs(user).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let answer = self.old.list(query).await?;
        if query.user.as_ref().is_some_and(|user| self.samples_user(user)) {
            let ids = |page: &Page| page.sessions.iter().map(|one| one.session.id).collect::<Vec<_>>();
            let (query, expected, more) = (query.clone(), ids(&answer), answer.next.is_some());
            let (about, now) = (answer.sessions.iter().map(Snapshot::key).collect(), query.now);
            let repeat: Repeat = Box::new(move |new, _| {
                async move {
                    let page = new.list(&query).await?;
                    Ok((ids(&page) != expected || page.next.is_some() != more).then_some(Difference::List))
                }
                .boxed()
            });
            self.leave(about, now, repeat);
        }
        Ok(answer)
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        let answer = self.old.count(query).await?;
        if query.user.as_ref().is_some_and(|user| self.samples_user(user)) {
            let (query, now) = (query.clone(), query.now);
            let repeat: Repeat = Box::new(move |new, _| {
                async move {
                    let count = new.count(&query).await?;
                    Ok((count.exact && answer.exact && count.value != answer.value).then_some(Difference::List))
                }
                .boxed()
            });
            self.leave(vec![], now, repeat);
        }
        Ok(answer)
    }

    async fn purge(&self, request: &Purge) -> Result<Purged> {
        let answer = self.old.purge(request).await?;
        let sampled = match &request.scope {
            PurgeScope::One(key) => self.samples_key(key),
            PurgeScope::User(user) => self.samples_user(user),
            _ => true,
        };
        if sampled {
            // Which of several ended sessions a bounded clean-up takes is each storage's own affair.
            let exact = matches!(request.scope, PurgeScope::One(_) | PurgeScope::User(_));
            let about = answer.sessions.iter().map(|ended| ended.session.key()).filter(|_| exact).collect();
            let (request, answer, now) = (request.clone(), answer.clone(), request.now);
            let repeat: Repeat = Box::new(move |new, _| {
                async move {
                    let purged = new.purge(&request).await?;
                    Ok(compare::purges(&answer, &purged).filter(|_| exact))
                }
                .boxed()
            });
            self.leave(about, now, repeat);
        }
        Ok(answer)
    }

    async fn remember_once(&self, key: &OnceKey, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        let answer = self.old.remember_once(key, now, until).await?;
        let key = key.clone();
        let repeat: Repeat = Box::new(move |new, _| {
            async move {
                let was_new = new.remember_once(&key, now, until).await?;
                Ok((was_new != answer).then_some(Difference::Outcome))
            }
            .boxed()
        });
        self.leave(vec![], now, repeat);
        Ok(answer)
    }

    async fn check(&self, now: DateTime<Utc>) -> Result<Health> {
        self.old.check(now).await
    }

    fn feed(&self) -> Option<&dyn RevocationFeed> {
        self.old.feed()
    }

    fn scan(&self) -> Option<&dyn SessionScan> {
        self.old.scan()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        let work = [self.old.maintenance(), self.new.maintenance()].into_iter().flatten();
        Some(future::join_all(work.chain([self.work().boxed()])).map(|_| ()).boxed())
    }
}

/// Whether a revocation reaches beyond one user.
fn spans_users(target: &RevokeTarget) -> bool {
    !matches!(
        target,
        RevokeTarget::One { .. } | RevokeTarget::User { .. } | RevokeTarget::Matching { user: Some(_), .. }
    )
}
