//! The orchestrator: one object through which the application signs users in, checks requests, lists and ends sessions.

mod activity;
mod authenticate;
mod builder;
mod change;
mod clean;
mod create;
mod delivery;
mod follow;
mod list;
mod possession;
mod recent;
mod refresh;
mod rejections;
mod request;
mod revoke;
mod rotate;
mod scope;
mod spans;
mod suspect;
mod tokens;
mod transaction;
mod verification;
mod watch;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use crate::audit::SessionObserver;
use crate::backend::SessionBackend;
use crate::bus::InvalidationBus;
use crate::clock::Clock;
use crate::control::RevocationReason;
use crate::enricher::SessionEnricher;
use crate::epoch::Epochs;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::id::{SessionId, SessionKey};
use crate::policy::SessionPolicy;
use crate::possession::PossessionVerifier;
use crate::random::Random;
use crate::session::{Binding, ExternalId, Session};
use crate::snapshot::{LivePolicy, Snapshot};
use crate::storage::{Count, Cursor, EndedSession, Health, Purged, SessionFilter, SessionStorage};
use crate::suspicion::SuspicionRule;
use crate::telemetry::{Operation, Telemetry};
use crate::user::UserId;

pub use builder::SessionManagerBuilder;
pub use clean::Forgotten;
pub use request::{
    Authenticated, Created, Introspection, NewSession, Presence, RefreshReplay, Refreshed, RequestContext, Rotated,
    Rotation, SessionChange, SessionPage, SessionView,
};
pub use transaction::{AfterCommit, ScopedManager};
pub use verification::Verification;

use activity::Activity;
use delivery::Sink;
use recent::Recent;
use rejections::Rejections;
use scope::Scope;
use watch::Watch;

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
    verification: Verification,
    watch: Option<Watch>,
    activity: Activity,
    /// Whether activity is noted in memory, for background work that was taken with the manager.
    notes_activity: bool,
    accessed_every: NonZeroU32,
    accessed: AtomicU32,
    possession: Option<Arc<dyn PossessionVerifier>>,
    rejections: Rejections,
    recent: Recent,
    /// Whether the background work was taken, or its absence told.
    maintained: AtomicBool,
    measured: bool,
    telemetry: Arc<dyn Telemetry>,
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

    /// How it checks access tokens.
    pub fn verification(&self) -> Verification {
        self.0.verification
    }

    /// By when, after the call that ended a session returned, no node accepts its access tokens any more: [`Verification::bound`].
    pub fn revocation_bound(&self) -> Duration {
        self.0.verification.bound(&self.0.policy)
    }

    /// Whether this node knows of all endings within the bound of [`Verification::Feed`]; `None` in other modes. While it does not, it
    /// reads sessions.
    pub fn follows_feed(&self) -> Option<bool> {
        self.0.watch.as_ref().map(|watch| watch.is_fresh(self.scope().now()))
    }

    /// The clock it reads.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Signs a user in whom the application has checked.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] where the policy rejects one session more; [`ErrorKind::InvalidInput`] for texts that are too long;
    /// [`ErrorKind::Unconfirmed`] when a required audit sink failed; [`ErrorKind::SessionEnded`] when a suspicion rule refused the sign-in. After
    /// any error no session of this call is live, save that an outage may leave one that nobody has tokens for.
    pub async fn create(&self, new: NewSession, context: &RequestContext) -> Result<Created> {
        // Boxed: it is large, and a sign-in can bear an allocation.
        self.measure(Operation::Create, Box::pin(self.scope().create(new, context))).await
    }

    /// Checks a request's access token, and notes that its user was there.
    ///
    /// # Behaviour
    /// Activity is written at most once in [`SessionPolicy::touch_interval_for`], and only for [`Presence::User`]. A token that is bound to a
    /// key needs its proof in the context ([`RequestContext::proof`], [`RequestContext::certificate`]).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidToken`], [`ErrorKind::SessionEnded`] or [`ErrorKind::Superseded`]: not signed in.
    /// [`ErrorKind::Unavailable`]: not known.
    pub async fn authenticate(&self, token: &str, context: &RequestContext) -> Result<Authenticated> {
        self.measure(Operation::Authenticate, self.scope().authenticate(token, context)).await
    }

    /// Checks an access token and leaves no trace: no activity, no audit. Possession of the key it may be bound to is not asked for.
    ///
    /// # Errors
    /// Those of [`SessionManager::authenticate`].
    pub async fn peek(&self, token: &str) -> Result<Authenticated> {
        self.measure(Operation::Peek, self.scope().peek(token)).await
    }

    /// The key that a request shows: for [`NewSession::bound_to`], so that its tokens are worth nothing without it. `None`: it
    /// shows none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidToken`] for a proof that is none, was made for another request, or was used before; [`ErrorKind::Misconfigured`]
    /// where nothing proves possession; [`ErrorKind::Unavailable`].
    pub async fn possession(&self, context: &RequestContext) -> Result<Option<Binding>> {
        self.scope().possession(context).await
    }

    /// The session of an accepted request: as the check has read it, or else read now.
    ///
    /// # Errors
    /// [`ErrorKind::SessionEnded`] and [`ErrorKind::Superseded`] where only the storage knew it; [`ErrorKind::Unavailable`].
    pub async fn load(&self, authenticated: &Authenticated) -> Result<Snapshot> {
        self.measure(Operation::Get, self.scope().load(authenticated)).await
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
        self.measure(Operation::Refresh, self.scope().refresh(token, context)).await
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
        self.measure(
            Operation::Reauthenticate,
            self.scope().reauthenticate(session.into(), methods.iter().copied(), level, context),
        )
        .await
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
        self.measure(Operation::List, self.scope().list(Some(user), filter, cursor, limit)).await
    }

    /// Lists everybody's sessions: for administrators.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the storage cannot; [`ErrorKind::InvalidCursor`].
    pub async fn list_all(&self, filter: SessionFilter, cursor: Option<Cursor>, limit: u32) -> Result<SessionPage> {
        self.measure(Operation::List, self.scope().list(None, filter, cursor, limit)).await
    }

    /// Counts a user's sessions, or everybody's.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the storage cannot count across users.
    pub async fn count(&self, user: Option<&UserId>, filter: SessionFilter) -> Result<Count> {
        self.measure(Operation::List, self.scope().count(user, filter)).await
    }

    /// Looks a session up, only among the owner's where one is named.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn get(&self, owner: Option<&UserId>, session: impl Into<SessionKey>) -> Result<Option<SessionView>> {
        self.measure(Operation::Get, self.scope().get(owner, session.into())).await
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
        self.measure(Operation::Revoke, self.scope().revoke_one(owner, session.into(), reason, context)).await
    }

    /// Ends the session of a token that is shown, access or refresh token: what a revocation endpoint does (RFC 7009). `None`: the token leads
    /// to no live session.
    ///
    /// # Behaviour
    /// Only a proven token ends anything; refused ones are counted by address like everywhere.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`], [`ErrorKind::Unconfirmed`].
    pub async fn revoke_token(&self, token: &str, context: &RequestContext) -> Result<Option<EndedSession>> {
        self.measure(Operation::Revoke, self.scope().revoke_token(token, context)).await
    }

    /// What the storage says of a token at this moment, access or refresh token, in every verification mode: for an introspection endpoint
    /// (RFC 7662). `None`: it would not be accepted. It leaves no trace.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn introspect(&self, token: &str) -> Result<Option<Introspection>> {
        self.measure(Operation::Peek, self.scope().introspect(token)).await
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
        self.measure(Operation::Revoke, self.scope().revoke_user(user, Some(keep), reason, context)).await
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
        self.measure(Operation::Revoke, self.scope().revoke_user(user, None, reason, context)).await
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
        self.measure(Operation::Revoke, self.scope().revoke_external(external, reason, context)).await
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
        self.measure(Operation::Revoke, self.scope().revoke_matching(user, filter, reason, context)).await
    }

    /// Raises a user's epoch: every session below it ends at once, however many there are. The kept session gets new tokens, and its old
    /// ones end too: what a password change needs.
    ///
    /// # Behaviour
    /// With [`Rotation::expecting`] it is idempotent: repeated after an error it raises nothing a second time, and hands the kept session's
    /// tokens out. The application repeats it within the request that holds the session; the client's own tokens are of the past by then.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyEnded`] when the session to keep has ended, and [`ErrorKind::Conflict`] when the epoch has another version than
    /// expected; nothing was changed then.
    pub async fn rotate_user(&self, user: &UserId, rotation: &Rotation, context: &RequestContext) -> Result<Rotated> {
        self.measure(Operation::Rotate, self.scope().rotate_user(user, rotation, context)).await
    }

    /// Raises everybody's epoch: sessions exactly one version behind live on for the grace, all others end at once. Idempotent like
    /// [`SessionManager::rotate_user`].
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the storage keeps no epochs; [`ErrorKind::Conflict`].
    pub async fn rotate_all(&self, rotation: &Rotation, context: &RequestContext) -> Result<Rotated> {
        self.measure(Operation::Rotate, self.scope().rotate_all(rotation, false, context)).await
    }

    /// Begins a new incarnation of everybody's epoch: every session ends, also those that a restored backup brought back.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the storage keeps no epochs.
    pub async fn rotate_after_restore(&self, reason: &str, context: &RequestContext) -> Result<Rotated> {
        self.measure(Operation::Rotate, self.scope().rotate_all(&Rotation::new(reason), true, context)).await
    }

    /// Everybody's epoch, and a user's: what [`Rotation::expecting`] expects.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn epochs(&self, user: Option<&UserId>) -> Result<Epochs> {
        self.scope().epochs(user).await
    }

    /// How many tokens from this address (for IPv6, its /64) were refused in the last minute or two, on this node.
    pub fn rejections(&self, address: IpAddr) -> u32 {
        self.0.rejections.count(Some(address), self.scope().now())
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
        self.measure(Operation::Update, self.scope().update(owner, session.into(), change, context)).await
    }

    /// Notes that a session's user is there, without a token: for sockets and other long connections. Coalesced like
    /// [`SessionManager::authenticate`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::SessionEnded`], [`ErrorKind::Unavailable`].
    pub async fn touch(&self, session: impl Into<SessionKey>) -> Result<SessionView> {
        self.measure(Operation::Touch, self.scope().touch(session.into())).await
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
        self.measure(Operation::Purge, self.scope().delete(owner, session.into(), context)).await
    }

    /// Removes at most `limit` sessions that ended longer ago than the policy's retention.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn delete_expired(&self, limit: u32) -> Result<Purged> {
        self.measure(Operation::Purge, self.scope().delete_expired(limit)).await
    }

    /// Ends and removes everything stored of a user's sessions, erases the user from the audit sinks, and says how much that was.
    ///
    /// # Behaviour
    /// - Sinks that cannot take anything back, such as a log, keep what they have: see [`AuditBackend::erase`](crate::AuditBackend::erase).
    /// - Inside a transaction, sinks are erased that joined it. What others are told after the commit names the user: erase them then.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`], also when a sink could not be erased that is not required; repeating it is safe.
    pub async fn forget(&self, user: &UserId, context: &RequestContext) -> Result<Forgotten> {
        self.measure(Operation::Purge, self.scope().forget(user, context)).await
    }

    /// How the storage is.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when it cannot be reached.
    pub async fn check(&self) -> Result<Health> {
        self.measure(Operation::Check, self.0.storage.check(self.scope().now())).await
    }

    /// Returns when noted activity has been written down, and all audit sinks have made safe what they were told.
    ///
    /// # Errors
    /// The first sink's that cannot.
    pub async fn flush(&self) -> Result<()> {
        self.0.write_activity().await;
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
