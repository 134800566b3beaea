//! A storage that notes the end of a session beside the session: whoever loses the note has the session back.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use session_manager_core::storage::{
    Advance, AdvanceOutcome, Consistency, Count, EndedSession, Page, Query, Revoke, RevokeTarget, Revoked, Update,
    UpdateOutcome,
};
use session_manager_core::{Epochs, Result, SessionId, SessionStorage, Snapshot, State};

use super::twist::{Twist, Twisted};

/// The ids of sessions that were signed out. Clones are the same list.
#[derive(Clone, Default)]
pub struct DenyList(Arc<Mutex<BTreeSet<SessionId>>>);

impl DenyList {
    /// A storage that signs a session out by putting it on this list.
    pub fn over(&self, storage: Arc<dyn SessionStorage>) -> Arc<dyn SessionStorage> {
        Arc::new(Twisted(Denying { storage, list: self.clone() }))
    }

    /// Who is on it.
    pub fn ids(&self) -> Vec<SessionId> {
        self.list().iter().copied().collect()
    }

    /// Loses an entry, as a cache does that evicts.
    pub fn lose(&self, id: SessionId) {
        self.list().remove(&id);
    }

    fn list(&self) -> MutexGuard<'_, BTreeSet<SessionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, id: SessionId) -> bool {
        self.list().contains(&id)
    }
}

impl fmt::Debug for DenyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DenyList")
    }
}

#[derive(Debug)]
struct Denying {
    storage: Arc<dyn SessionStorage>,
    list: DenyList,
}

#[async_trait]
impl Twist for Denying {
    fn inner(&self) -> &dyn SessionStorage {
        &*self.storage
    }

    /// What is denied has lost its epochs, and is refused.
    fn seen(&self, mut snapshot: Snapshot) -> Snapshot {
        if self.list.has(snapshot.session.id) {
            snapshot.epochs = Epochs::default();
        }
        snapshot
    }

    async fn advance(&self, request: &Advance) -> Result<AdvanceOutcome> {
        if self.list.has(request.key.id) {
            return Ok(AdvanceOutcome::Missing);
        }
        self.storage.advance(request).await
    }

    async fn update(&self, request: &Update) -> Result<UpdateOutcome> {
        if self.list.has(request.key.id) {
            return Ok(UpdateOutcome::Missing);
        }
        self.storage.update(request).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let RevokeTarget::One { key, .. } = &request.target else { return self.storage.revoke(request).await };
        let Some(found) = self.storage.read(key, Consistency::Latest).await? else {
            return Ok(Revoked::new(Vec::new(), 0));
        };
        if !self.list.list().insert(key.id) {
            return Ok(Revoked::new(Vec::new(), 1));
        }
        Ok(Revoked::new(vec![EndedSession::new(found.session, State::Revoked, None)], 0))
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let mut page = self.storage.list(query).await?;
        page.sessions.retain(|one| !self.list.has(one.session.id));
        Ok(page)
    }

    async fn count(&self, query: &Query) -> Result<Count> {
        let listed = self.list(&query.clone().limited(Query::MAX_LIMIT)).await?.sessions.len();
        Ok(Count::exact(u64::try_from(listed).unwrap_or(u64::MAX)))
    }
}
