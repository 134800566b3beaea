//! Clean up: remove what has ended, forget who left, and the background work.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{self, Either};
use futures_util::{StreamExt as _, stream};

use super::SessionManager;
use super::request::RequestContext;
use super::scope::Scope;
use crate::audit::AuditKind;
use crate::bus::BusEvent;
use crate::clock::before;
use crate::control::{Actor, RevocationReason};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionKey;
use crate::storage::{EndedSession, Phase, Purge, PurgeScope, Purged, Subject};
use crate::telemetry::Incident;
use crate::user::UserId;

/// How many sessions one step of a clean-up removes: short enough to stay out of traffic's way.
const BATCH: u32 = 500;
/// How often the background work cleans up.
const INTERVAL: Duration = Duration::from_mins(1);

/// What was removed of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Forgotten {
    /// How many sessions.
    pub sessions: u64,
    /// In how many audit events the user was named; an event that two sinks hold counts twice.
    pub events: u64,
}

impl Scope<'_> {
    pub(super) async fn delete(&self, owner: Option<&UserId>, key: SessionKey, context: &RequestContext) -> Result<()> {
        let not_found = || Error::new(ErrorKind::NotFound, "delete");
        let view = self.get(owner, key).await?.ok_or_else(not_found)?;
        if view.state.is_live() {
            // The end of a live session is announced and audited before its row goes.
            let theirs =
                context.actor.as_ref().is_none_or(|actor| *actor == Actor::User(view.snapshot.session.user_id.clone()));
            let reason = if theirs { RevocationReason::BY_USER } else { RevocationReason::BY_ADMIN };
            match self.revoke_one(owner, key, reason, context).await {
                // Somebody else was faster: it has ended, and its row is still to go.
                Err(error) if error.kind() == ErrorKind::AlreadyEnded => {}
                ended => drop(ended?),
            }
        }
        let purged = self.storage.purge(&Purge::new(PurgeScope::One(view.snapshot.key()), 1, self.now())).await?;
        self.emit(self.endings(AuditKind::Deleted, &purged.sessions, context)).await
    }

    pub(super) async fn delete_expired(&self, limit: u32) -> Result<Purged> {
        let now = self.now();
        let ended_before = before(now, self.inner.policy.retention);
        let purged = self.storage.purge(&Purge::new(PurgeScope::EndedBefore(ended_before), limit, now)).await?;
        let timed_out: Vec<EndedSession> =
            purged.sessions.iter().filter(|ended| ended.state.is_timeout()).cloned().collect();
        let context = RequestContext::default().by(Actor::System);
        self.emit(self.endings(AuditKind::Expired, &timed_out, &context)).await?;
        Ok(purged)
    }

    pub(super) async fn forget(&self, user: &UserId, context: &RequestContext) -> Result<Forgotten> {
        self.revoke_user(user, None, RevocationReason::ACCOUNT_DISABLED, context).await?;
        let mut forgotten = Forgotten::default();
        loop {
            let purged = self.storage.purge(&Purge::new(PurgeScope::User(user.clone()), BATCH, self.now())).await?;
            let removed = u64::try_from(purged.sessions.len()).unwrap_or(u64::MAX);
            forgotten.sessions = forgotten.sessions.saturating_add(removed);
            if !purged.more {
                break;
            }
        }
        // Last: what was told of the end names the user too.
        forgotten.events = self.erase(user).await?;
        Ok(forgotten)
    }

    /// Erases the user from all sinks, or from those that joined the transaction.
    async fn erase(&self, user: &UserId) -> Result<u64> {
        let Some(transaction) = self.transaction else { return self.inner.erase(user).await };
        let mut erased = 0_u64;
        for sink in &transaction.joined {
            erased = erased.saturating_add(sink.erase(user).await?);
        }
        Ok(erased)
    }
}

impl SessionManager {
    /// The background work of all parts: a future that runs until it is dropped. The application spawns it on its runtime.
    ///
    /// # Behaviour
    /// Once a minute it removes sessions that ended longer ago than the policy's retention, in batches, and flushes the audit sinks. It
    /// follows the feed of revocations and writes noted activity down where the [`Verification`](crate::Verification) needs it. Safe on
    /// every node at once. An error is reported, and the next round tries again. Beside that it runs the background work of storage,
    /// token backend, sinks, enrichers and bus. Without it, ended sessions stay stored, batched sinks keep what they have not yet written,
    /// and parts that need it say in their own documentation what is missing; nothing ended is accepted because of that. The first
    /// sign-in warns where a part needs it and it was never asked for.
    pub fn maintenance(&self) -> impl Future<Output = ()> + Send + use<> {
        let manager = self.clone();
        self.0.maintained.store(true, Ordering::Relaxed);
        async move {
            let inner = &*manager.0;
            let parts = [inner.storage.maintenance(), inner.backend.maintenance()]
                .into_iter()
                .chain(inner.sinks.iter().map(|sink| sink.backend().maintenance()))
                .chain(inner.enrichers.iter().map(|enricher| enricher.maintenance()))
                .chain(inner.bus.iter().map(|bus| bus.maintenance()));
            let own = future::join3(manager.clean_for_ever(), manager.write_activity(), manager.follow_feed());
            future::join(own, future::join_all(parts.flatten())).await;
        }
    }

    async fn clean_for_ever(&self) {
        loop {
            self.0.clock.sleep(INTERVAL).await;
            match self.clean_once().await {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, "ended sessions were removed"),
                Err(error) => {
                    self.0.telemetry.incident(Incident::CleanUpFailed);
                    tracing::warn!(%error, "the clean-up failed and will be tried again");
                }
            }
        }
    }

    /// Cleans up, and flushes whatever became of that: sinks must not wait for a storage that is down.
    async fn clean_once(&self) -> Result<u64> {
        let (removed, flushed) = (self.remove_ended().await, self.0.flush().await);
        let removed = removed?;
        flushed.map(|()| removed)
    }

    async fn remove_ended(&self) -> Result<u64> {
        let mut removed = 0_u64;
        loop {
            let purged = self.delete_expired(BATCH).await?;
            removed = removed.saturating_add(u64::try_from(purged.sessions.len()).unwrap_or(u64::MAX));
            // What others hold is left for the next round.
            if !purged.more || purged.sessions.is_empty() {
                return Ok(removed);
            }
        }
    }

    /// Waits until a session has ended, however: for event streams and sockets that outlive a request.
    ///
    /// # Behaviour
    /// With a bus it returns as soon as the end is told; without one, and for ends that no node tells, within 15 s of it. The storage is
    /// read at the beginning, at a deadline, every 15 s, and when the bus tells of this session, its user or everybody. Outages of the
    /// storage are waited out.
    pub async fn ended(&self, key: SessionKey) {
        const POLL: Duration = Duration::from_secs(15);
        let subscribe = || match &self.0.bus {
            Some(bus) => bus.subscribe().fuse(),
            None => stream::pending().boxed().fuse(),
        };
        let mut events = subscribe();
        let mut locator = key.locator;
        loop {
            let left = match self.scope().get(None, key).await {
                Ok(Some(view)) if view.state.is_live() => {
                    locator = Some(view.snapshot.session.user_id.locator());
                    view.snapshot.deadline() - self.scope().now()
                }
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "a watched session could not be read");
                    chrono::TimeDelta::from_std(POLL).unwrap_or_default()
                }
            };
            let wait = left.to_std().unwrap_or_default().min(POLL).max(Duration::from_millis(1));
            let concerns = |subject: Subject| match subject {
                Subject::Session(id) => id == key.id,
                Subject::User(user) | Subject::UserEpoch(user) => locator.is_none_or(|locator| locator == user),
                Subject::Global | Subject::GlobalEpoch => true,
            };
            let mut timer = self.0.clock.sleep(wait);
            loop {
                match future::select(timer, events.next()).await {
                    Either::Left(_) | Either::Right((Some(BusEvent::Lost), _)) => break,
                    // An intent is no end yet, and what concerns others is no reason to read.
                    Either::Right((Some(BusEvent::Notice(notice)), _))
                        if notice.phase == Phase::Done && concerns(notice.subject) =>
                    {
                        break;
                    }
                    Either::Right((None, rest)) => {
                        // The bus broke: until the timer, nothing is heard; then it is tried again.
                        rest.await;
                        events = subscribe();
                        break;
                    }
                    Either::Right((_, rest)) => timer = rest,
                }
            }
        }
    }
}
