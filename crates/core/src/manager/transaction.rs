//! Sessions inside the application's own transaction: all or nothing with the application's change.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::request::{
    Created, NewSession, Refreshed, RequestContext, Rotated, Rotation, SessionChange, SessionPage, SessionView,
};
use super::scope::{Pending, Scope, Transaction};
use super::{Forgotten, Inner, SessionManager};
use crate::audit::AuditBackend;
use crate::control::RevocationReason;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{SessionId, SessionKey};
use crate::session::ExternalId;
use crate::storage::{Cursor, EndedSession, SessionFilter, SessionStorage};
use crate::user::UserId;

/// A manager whose changes belong to the application's transaction.
///
/// # Behaviour
/// - Changes, and what joined audit sinks record, commit and roll back with the transaction.
/// - Announcements that something *is about to* change go out at once: harmless if it is rolled back.
/// - Everything else — announcements that it *has* changed, other sinks, observers — waits in the [`AfterCommit`].
/// - Tokens are not refreshed here: the end of a replayed session must not be rolled back.
pub struct ScopedManager<'a> {
    inner: Arc<Inner>,
    storage: &'a dyn SessionStorage,
    transaction: Transaction<'a>,
}

impl SessionManager {
    /// A manager for the application's transaction, of which `storage` is a view.
    ///
    /// ```ignore
    /// let storage = sessions.in_transaction(&mut tx);
    /// let scoped = manager.in_transaction(&storage, &[])?;
    /// scoped.revoke_all(&user, RevocationReason::PASSWORD_RESET, &context).await?;
    /// let after = scoped.after_commit();
    /// drop(storage);
    /// tx.commit().await?;
    /// after.publish().await;
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] when a required audit sink of the manager does not join the transaction: one of `audits` must have the
    /// same [`AuditBackend::name`];
    /// [`ErrorKind::Unsupported`] when `storage` is no view of a transaction.
    pub fn in_transaction<'a>(
        &self,
        storage: &'a dyn SessionStorage,
        audits: &[&'a dyn AuditBackend],
    ) -> Result<ScopedManager<'a>> {
        if !storage.capabilities().in_transaction {
            return Err(Error::new(ErrorKind::Unsupported, "in transaction")
                .because("this storage is not part of a transaction"));
        }
        let joins = |name: &str| audits.iter().any(|audit| audit.name() == name);
        let required = self.0.sinks.iter().filter(|sink| sink.is_required()).map(|sink| sink.backend().name());
        if let Some(absent) = required.into_iter().find(|name| !joins(name)) {
            let message = format!("the required audit sink {absent:?} must join the transaction");
            return Err(Error::new(ErrorKind::Misconfigured, "in transaction").because(message));
        }
        let transaction = Transaction { joined: audits.to_vec(), pending: Mutex::default() };
        Ok(ScopedManager { inner: Arc::clone(&self.0), storage, transaction })
    }
}

impl ScopedManager<'_> {
    /// See [`SessionManager::create`].
    pub async fn create(&self, new: NewSession, context: &RequestContext) -> Result<Created> {
        self.scope().create(new, context).await
    }

    /// See [`SessionManager::revoke`].
    pub async fn revoke(
        &self,
        owner: Option<&UserId>,
        session: impl Into<SessionKey>,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<EndedSession> {
        self.scope().revoke_one(owner, session.into(), reason, context).await
    }

    /// See [`SessionManager::revoke_others`].
    pub async fn revoke_others(
        &self,
        user: &UserId,
        keep: SessionId,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        self.scope().revoke_user(user, Some(keep), reason, context).await
    }

    /// See [`SessionManager::revoke_all`].
    pub async fn revoke_all(
        &self,
        user: &UserId,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        self.scope().revoke_user(user, None, reason, context).await
    }

    /// See [`SessionManager::rotate_user`].
    pub async fn rotate_user(&self, user: &UserId, rotation: &Rotation, context: &RequestContext) -> Result<Rotated> {
        self.scope().rotate_user(user, rotation, context).await
    }

    /// See [`SessionManager::reauthenticate`].
    pub async fn reauthenticate(
        &self,
        session: impl Into<SessionKey>,
        methods: &[&str],
        level: Option<&str>,
        context: &RequestContext,
    ) -> Result<Refreshed> {
        self.scope().reauthenticate(session.into(), methods.iter().copied(), level, context).await
    }

    /// See [`SessionManager::revoke_external`].
    pub async fn revoke_external(
        &self,
        external: ExternalId,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        self.scope().revoke_external(external, reason, context).await
    }

    /// See [`SessionManager::revoke_matching`].
    pub async fn revoke_matching(
        &self,
        user: Option<&UserId>,
        filter: SessionFilter,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        self.scope().revoke_matching(user, filter, reason, context).await
    }

    /// See [`SessionManager::list`].
    pub async fn list(
        &self,
        user: &UserId,
        filter: SessionFilter,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<SessionPage> {
        self.scope().list(Some(user), filter, cursor, limit).await
    }

    /// See [`SessionManager::get`].
    pub async fn get(&self, owner: Option<&UserId>, session: impl Into<SessionKey>) -> Result<Option<SessionView>> {
        self.scope().get(owner, session.into()).await
    }

    /// See [`SessionManager::delete`].
    pub async fn delete(
        &self,
        owner: Option<&UserId>,
        session: impl Into<SessionKey>,
        context: &RequestContext,
    ) -> Result<()> {
        self.scope().delete(owner, session.into(), context).await
    }

    /// See [`SessionManager::forget`].
    pub async fn forget(&self, user: &UserId, context: &RequestContext) -> Result<Forgotten> {
        self.scope().forget(user, context).await
    }

    /// See [`SessionManager::update`].
    pub async fn update(
        &self,
        owner: Option<&UserId>,
        session: impl Into<SessionKey>,
        change: &SessionChange,
        context: &RequestContext,
    ) -> Result<SessionView> {
        self.scope().update(owner, session.into(), change, context).await
    }

    /// What is left to do once the application has committed. Dropped on rollback, it does nothing.
    pub fn after_commit(self) -> AfterCommit {
        let pending = self.transaction.pending.into_inner().unwrap_or_else(PoisonError::into_inner);
        AfterCommit { inner: self.inner, pending }
    }

    fn scope(&self) -> Scope<'_> {
        Scope { inner: &self.inner, storage: self.storage, transaction: Some(&self.transaction) }
    }
}

impl fmt::Debug for ScopedManager<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedManager").field("storage", &self.storage).finish_non_exhaustive()
    }
}

/// What is left to do after the application's commit. Not publishing it is safe within the verification mode's bound, but sinks that
/// did not join the transaction, and observers, then never hear of the change.
#[must_use = "publish it after the commit, or drop it on rollback"]
pub struct AfterCommit {
    inner: Arc<Inner>,
    pending: Pending,
}

impl AfterCommit {
    /// Tells other nodes, best-effort sinks and observers.
    pub async fn publish(self) {
        self.inner.announce_late(&self.pending.notices).await;
        // Required sinks have recorded the events inside the transaction; best-effort ones cannot fail the call.
        if let Err(error) = self.inner.deliver(&self.pending.happenings, true).await {
            tracing::warn!(%error, "an event was not delivered after a commit");
        }
    }
}

impl fmt::Debug for AfterCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterCommit").field("notices", &self.pending.notices.len()).finish_non_exhaustive()
    }
}
