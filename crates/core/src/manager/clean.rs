//! Clean up: remove what has ended, forget who left, and the background work.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future;

use super::request::RequestContext;
use super::scope::Scope;
use super::{Inner, SessionManager};
use crate::audit::AuditKind;
use crate::clock::before;
use crate::control::Actor;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionKey;
use crate::storage::{EndedSession, Purge, PurgeScope, Purged};
use crate::user::UserId;

/// How many sessions one step of a clean-up removes: short enough to stay out of traffic's way.
const BATCH: u32 = 500;
/// How often the background work cleans up.
const INTERVAL: Duration = Duration::from_mins(1);

impl Scope<'_> {
    pub(super) async fn delete(&self, owner: Option<&UserId>, key: SessionKey, context: &RequestContext) -> Result<()> {
        let not_found = || Error::new(ErrorKind::NotFound, "delete");
        let view = self.get(owner, key).await?.ok_or_else(not_found)?;
        if view.state.is_live() {
            // The end of a live session is announced and audited before its row goes.
            self.revoke_one(owner, key, crate::control::RevocationReason::BY_USER, context).await?;
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

    pub(super) async fn forget(&self, user: &UserId, context: &RequestContext) -> Result<u64> {
        self.revoke_user(user, None, crate::control::RevocationReason::ACCOUNT_DISABLED, context).await?;
        let mut removed = 0_u64;
        loop {
            let purged = self.storage.purge(&Purge::new(PurgeScope::User(user.clone()), BATCH, self.now())).await?;
            removed = removed.saturating_add(u64::try_from(purged.sessions.len()).unwrap_or(u64::MAX));
            if !purged.more {
                return Ok(removed);
            }
        }
    }
}

impl SessionManager {
    /// The background work of all parts: a future that runs until it is dropped. The application spawns it on its runtime.
    ///
    /// # Behaviour
    /// Once a minute it removes sessions that ended longer ago than the policy's retention, in batches, and flushes the audit sinks. Safe
    /// on every node at once. An error is reported, and the next round tries again. Without it, ended sessions stay stored and batched
    /// sinks keep what they have not yet written; nothing ended is accepted because of that.
    pub fn maintenance(&self) -> impl Future<Output = ()> + Send + 'static {
        let manager = self.clone();
        async move {
            let storage = async {
                if let Some(work) = manager.0.storage.maintenance() {
                    work.await;
                }
            };
            future::join(manager.clean_for_ever(), storage).await;
        }
    }

    async fn clean_for_ever(&self) {
        loop {
            self.0.clock.sleep(INTERVAL).await;
            match self.clean_once().await {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, "ended sessions were removed"),
                Err(error) => tracing::warn!(%error, "the clean-up failed and will be tried again"),
            }
        }
    }

    async fn clean_once(&self) -> Result<u64> {
        let mut removed = 0_u64;
        loop {
            let purged = self.delete_expired(BATCH).await?;
            removed = removed.saturating_add(u64::try_from(purged.sessions.len()).unwrap_or(u64::MAX));
            if !purged.more {
                break;
            }
        }
        self.0.flush().await?;
        Ok(removed)
    }

    /// Waits until a session has ended, however: for event streams and sockets that outlive a request.
    ///
    /// # Behaviour
    /// With a bus it returns as soon as the end is told; without one, and for ends that no node tells, within 15 s of it. Outages of the
    /// storage are waited out.
    pub async fn ended(&self, key: SessionKey) {
        use futures_util::StreamExt;
        const POLL: Duration = Duration::from_secs(15);
        let mut events = match &self.0.bus {
            Some(bus) => bus.subscribe(),
            None => futures_util::stream::pending().boxed(),
        };
        loop {
            let left = match self.get(None, key).await {
                Ok(Some(view)) if view.state.is_live() => view.snapshot.deadline() - self.scope().now(),
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "a watched session could not be read");
                    chrono::TimeDelta::from_std(POLL).unwrap_or_default()
                }
            };
            let wait = left.to_std().unwrap_or_default().min(POLL).max(Duration::from_millis(1));
            future::select(self.0.clock.sleep(wait), events.next()).await;
        }
    }
}

impl Inner {
    pub(super) async fn flush(self: &Arc<Self>) -> Result<()> {
        for sink in &self.sinks {
            sink.backend.flush().await?;
        }
        Ok(())
    }
}
