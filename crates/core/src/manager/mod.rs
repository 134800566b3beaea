//! The orchestrator: one object through which the application signs users in, checks requests, lists and ends sessions.

mod authenticate;
mod builder;
mod change;
mod clean;
mod create;
mod list;
mod refresh;
mod request;
mod revoke;
mod rotate;
mod scope;
mod transaction;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::audit::{AuditBackend, Delivery, SessionObserver};
use crate::backend::SessionBackend;
use crate::bus::InvalidationBus;
use crate::clock::Clock;
use crate::control::RevocationReason;
use crate::enricher::SessionEnricher;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::id::{SessionId, SessionKey};
use crate::policy::SessionPolicy;
use crate::random::Random;
use crate::session::{ExternalId, Session};
use crate::snapshot::LivePolicy;
use crate::storage::{Count, Cursor, EndedSession, Health, Purged, SessionFilter, SessionStorage};
use crate::suspicion::SuspicionRule;
use crate::user::UserId;

pub use builder::SessionManagerBuilder;
pub use request::{
    Authenticated, Created, NewSession, Presence, RefreshReplay, Refreshed, RequestContext, Rotated, SessionChange,
    SessionPage, SessionView,
};
pub use transaction::{AfterCommit, ScopedManager};

use scope::Scope;

/// Signs users in, checks their requests, lists their sessions and ends them.
///
/// Cloning is cheap; all clones are one manager. Every operation that asks the storage may fail with [`ErrorKind::Unavailable`]: nothing is
/// known then, and nobody is signed in or out because of it.
///
/// # Cancellation
/// A dropped future leaves a change either made or not made, never half made. It may leave a made change without its audit event and
/// announcement; repeating the call is safe.
#[derive(Clone)]
pub struct SessionManager(Arc<Inner>);

struct Inner {
    storage: Arc<dyn SessionStorage>,
    backend: Arc<dyn SessionBackend>,
    policy: SessionPolicy,
    sinks: Vec<Sink>,
    enrichers: Vec<Arc<dyn SessionEnricher>>,
    rules: Vec<Arc<dyn SuspicionRule>>,
    observers: Vec<Arc<dyn SessionObserver>>,
    bus: Option<Arc<dyn InvalidationBus>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    live: LivePolicy,
    accessed_every: NonZeroU32,
    accessed: AtomicU32,
}

struct Sink {
    backend: Arc<dyn AuditBackend>,
    delivery: Delivery,
}

impl SessionManager {
    /// Begins a manager.
    pub fn builder() -> SessionManagerBuilder {
        SessionManagerBuilder::default()
    }

    /// The rules it keeps.
    pub fn policy(&self) -> &SessionPolicy {
        &self.0.policy
    }

    /// The clock it reads.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Signs a user in whom the application has checked.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] where the policy rejects one session more; [`ErrorKind::InvalidInput`] for texts that are too long;
    /// [`ErrorKind::Unconfirmed`] when a required audit sink failed. After any error no session of this call is live, save that an outage
    /// may leave one that nobody has tokens for.
    pub async fn create(&self, new: NewSession, context: &RequestContext) -> Result<Created> {
        self.scope().create(new, context).await
    }

    /// Checks a request's access token, and notes that its user was there.
    ///
    /// # Behaviour
    /// Activity is written at most once in [`SessionPolicy::touch_interval_for`], and only for [`Presence::User`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidToken`], [`ErrorKind::SessionEnded`] or [`ErrorKind::Superseded`]: not signed in.
    /// [`ErrorKind::Unavailable`]: not known.
    pub async fn authenticate(&self, token: &str, context: &RequestContext) -> Result<Authenticated> {
        self.scope().authenticate(token, context).await
    }

    /// Checks an access token and leaves no trace: no activity, no audit.
    ///
    /// # Errors
    /// Those of [`SessionManager::authenticate`].
    pub async fn peek(&self, token: &str) -> Result<Authenticated> {
        self.scope().peek(token).await
    }

    /// Exchanges a refresh token for a new pair.
    ///
    /// # Behaviour
    /// The same token within the grace leads to the same successor, however often and on however many nodes at once. It moves neither
    /// last activity nor the time of authentication nor the absolute deadline.
    ///
    /// # Errors
    /// [`ErrorKind::ReplayDetected`] for a token used before: its session has been ended, and that is stored, before the error returns.
    /// [`ErrorKind::InvalidToken`], [`ErrorKind::SessionEnded`], [`ErrorKind::Superseded`], [`ErrorKind::Unavailable`].
    pub async fn refresh(&self, token: &str, context: &RequestContext) -> Result<Refreshed> {
        self.scope().refresh(token, context).await
    }

    /// Notes that the user of a new proof is the user of the session: advances the time of authentication, ends every token of the session
    /// issued so far, and returns new ones.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::SessionEnded`], [`ErrorKind::Unavailable`].
    pub async fn reauthenticate(
        &self,
        session: impl Into<SessionKey>,
        methods: &[&str],
        level: Option<&str>,
        context: &RequestContext,
    ) -> Result<Refreshed> {
        self.scope().reauthenticate(session.into(), methods.iter().copied(), level, context).await
    }

    /// Refuses unless the session's last authentication is at most `max_age` old.
    ///
    /// # Errors
    /// [`ErrorKind::StepUpRequired`].
    pub fn require_fresh(&self, session: &Arc<Session>, max_age: Duration) -> Result<()> {
        authenticate::require_fresh(session, max_age, self.scope().now())
    }

    /// Lists a user's sessions, newest first, at most 200 a page.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCursor`] for a cursor of another user or filter.
    pub async fn list(
        &self,
        user: &UserId,
        filter: SessionFilter,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<SessionPage> {
        self.scope().list(Some(user), filter, cursor, limit).await
    }

    /// Lists everybody's sessions: for administrators.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the storage cannot; [`ErrorKind::InvalidCursor`].
    pub async fn list_all(&self, filter: SessionFilter, cursor: Option<Cursor>, limit: u32) -> Result<SessionPage> {
        self.scope().list(None, filter, cursor, limit).await
    }

    /// Counts a user's sessions, or everybody's.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the storage cannot count across users.
    pub async fn count(&self, user: Option<&UserId>, filter: SessionFilter) -> Result<Count> {
        self.scope().count(user, filter).await
    }

    /// Looks a session up, only among the owner's where one is named.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn get(&self, owner: Option<&UserId>, session: impl Into<SessionKey>) -> Result<Option<SessionView>> {
        self.scope().get(owner, session.into()).await
    }

    /// Ends one session, only among the owner's where one is named. From its return on no token of the session is accepted.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an unknown session or another user's, [`ErrorKind::AlreadyEnded`] for one that had ended before.
    pub async fn revoke(
        &self,
        owner: Option<&UserId>,
        session: impl Into<SessionKey>,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<EndedSession> {
        self.scope().revoke_one(owner, session.into(), reason, context).await
    }

    /// Ends all of a user's sessions but one, and returns those it ended.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn revoke_others(
        &self,
        user: &UserId,
        keep: SessionId,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        self.scope().revoke_user(user, Some(keep), reason, context).await
    }

    /// Ends all of a user's sessions, also one that a storage's index has lost, and returns those it ended.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn revoke_all(
        &self,
        user: &UserId,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        self.scope().revoke_user(user, None, reason, context).await
    }

    /// Ends the session with this name elsewhere: logout by the identity provider.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the storage cannot find it.
    pub async fn revoke_external(
        &self,
        external: ExternalId,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        self.scope().revoke_external(external, reason, context).await
    }

    /// Ends the sessions of a user, or of everybody, that a filter matches.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the storage cannot search across users.
    pub async fn revoke_matching(
        &self,
        user: Option<&UserId>,
        filter: SessionFilter,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<Vec<EndedSession>> {
        self.scope().revoke_matching(user, filter, reason, context).await
    }

    /// Raises a user's epoch: every session below it ends at once, however many there are. The kept session gets new tokens, and its old
    /// ones end too: what a password change needs.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyEnded`] when the session to keep has ended; nothing was changed then.
    pub async fn rotate_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
        reason: &str,
        context: &RequestContext,
    ) -> Result<Rotated> {
        self.scope().rotate_user(user, keep, reason, context).await
    }

    /// Raises everybody's epoch: sessions exactly one version behind live on for `grace`, all others end at once.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the storage keeps no epochs.
    pub async fn rotate_all(&self, grace: Duration, reason: &str, context: &RequestContext) -> Result<Rotated> {
        self.scope().rotate_all(grace, false, reason, context).await
    }

    /// Begins a new incarnation of everybody's epoch: every session ends, also those that a restored backup brought back.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the storage keeps no epochs.
    pub async fn rotate_after_restore(&self, reason: &str, context: &RequestContext) -> Result<Rotated> {
        self.scope().rotate_all(Duration::ZERO, true, reason, context).await
    }

    /// Changes a session's name, trust or attributes, only among the owner's where one is named. Repeats itself while others are faster.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::SessionEnded`], [`ErrorKind::InvalidInput`], and [`ErrorKind::Conflict`] when others were
    /// faster again and again.
    pub async fn update(
        &self,
        owner: Option<&UserId>,
        session: impl Into<SessionKey>,
        change: &SessionChange,
        context: &RequestContext,
    ) -> Result<SessionView> {
        self.scope().update(owner, session.into(), change, context).await
    }

    /// Notes that a session's user is there, without a token: for sockets and other long connections. Coalesced like
    /// [`SessionManager::authenticate`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::SessionEnded`], [`ErrorKind::Unavailable`].
    pub async fn touch(&self, session: impl Into<SessionKey>) -> Result<SessionView> {
        self.scope().touch(session.into()).await
    }

    /// Removes a session for good; a live one is ended first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn delete(
        &self,
        owner: Option<&UserId>,
        session: impl Into<SessionKey>,
        context: &RequestContext,
    ) -> Result<()> {
        self.scope().delete(owner, session.into(), context).await
    }

    /// Removes at most `limit` sessions that ended longer ago than the policy's retention.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn delete_expired(&self, limit: u32) -> Result<Purged> {
        self.scope().delete_expired(limit).await
    }

    /// Ends and removes everything stored of a user's sessions, and returns how many were removed. Audit sinks are the application's to
    /// clean.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]; repeating it is safe.
    pub async fn forget(&self, user: &UserId, context: &RequestContext) -> Result<u64> {
        self.scope().forget(user, context).await
    }

    /// How the storage is.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when it cannot be reached.
    pub async fn check(&self) -> Result<Health> {
        self.0.storage.check(self.scope().now()).await
    }

    /// Returns when all audit sinks have made safe what they were told.
    ///
    /// # Errors
    /// The first sink's that cannot.
    pub async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }

    fn scope(&self) -> Scope<'_> {
        Scope { inner: &self.0, storage: &*self.0.storage, transaction: None }
    }
}

impl fmt::Debug for SessionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionManager")
            .field("storage", &self.0.storage)
            .field("backend", &self.0.backend)
            .field("policy", &self.0.policy)
            .finish_non_exhaustive()
    }
}
