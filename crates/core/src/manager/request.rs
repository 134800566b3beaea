//! What the application tells the manager, and what it gets back.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::backend::{TokenPair, Verified};
use crate::client::ClientInfo;
use crate::control::Actor;
use crate::id::{SessionId, SessionKey};
use crate::policy::PolicyOverrides;
use crate::possession::PresentedProof;
use crate::session::{Binding, ExternalId, Session};
use crate::snapshot::{Snapshot, State};
use crate::storage::{Cursor, EndedSession};
use crate::token::TokenKind;
use crate::user::UserId;

/// The request that an operation belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RequestContext {
    /// The client that sent it.
    pub client: ClientInfo,
    /// Its id, for the audit trail.
    pub request_id: Option<String>,
    /// Whether a person is behind it.
    pub presence: Presence,
    /// Who acts, where it is not the session's own user.
    pub actor: Option<Actor>,
    /// The proof that it holds a key (`DPoP`), where there is one.
    pub proof: Option<Arc<PresentedProof>>,
    /// The SHA-256 thumbprint of the client's certificate (RFC 8705 §3.1), base64url, as the TLS layer has proven it.
    pub certificate: Option<String>,
}

impl RequestContext {
    /// A request from this client with a person behind it.
    pub fn from_client(client: ClientInfo) -> Self {
        Self { client, ..Self::default() }
    }

    /// Sets the request id.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// With a proof that it holds a key.
    pub fn proof(mut self, proof: PresentedProof) -> Self {
        self.proof = Some(Arc::new(proof));
        self
    }

    /// Says that no person is behind it.
    pub const fn background(mut self) -> Self {
        self.presence = Presence::Background;
        self
    }

    /// Says who acts.
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }
}

/// Whether a person is behind a request. Polling and event streams do not keep a session alive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Presence {
    /// A person acts: the request counts as activity.
    #[default]
    User,
    /// A program acts by itself.
    Background,
}

/// A sign-in: the application has checked who the user is.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct NewSession {
    /// Who signed in.
    pub user_id: UserId,
    /// How, as in `amr` (RFC 8176): "pwd", "otp".
    pub methods: Vec<String>,
    /// How surely, as in `acr`.
    pub level: Option<String>,
    /// When, where it was not just now: an identity provider's `auth_time`.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// Whether the user trusts the device.
    pub is_trusted: bool,
    /// The application's own data.
    pub attributes: Map<String, Value>,
    /// What the tokens are bound to.
    pub binding: Option<Binding>,
    /// Who acts in the user's name.
    pub actor: Option<Actor>,
    /// The session's name elsewhere.
    pub external: Option<ExternalId>,
    /// Deviations from the policy.
    pub overrides: PolicyOverrides,
}

impl NewSession {
    /// This user signed in just now.
    pub fn of(user_id: UserId) -> Self {
        Self {
            user_id,
            methods: Vec::new(),
            level: None,
            authenticated_at: None,
            is_trusted: false,
            attributes: Map::new(),
            binding: None,
            actor: None,
            external: None,
            overrides: PolicyOverrides { absolute_lifetime: None, idle_timeout: None, limit: None },
        }
    }

    /// By these methods (`amr`).
    pub fn by<I: IntoIterator<Item = S>, S: Into<String>>(mut self, methods: I) -> Self {
        self.methods = methods.into_iter().map(Into::into).collect();
        self
    }

    /// On a device that the user trusts.
    pub const fn trusted(mut self) -> Self {
        self.is_trusted = true;
        self
    }

    /// With this attribute.
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }

    /// With deviations from the policy.
    pub fn overriding(mut self, overrides: PolicyOverrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// With tokens that are worth nothing without this key: what [`SessionManager::possession`](crate::SessionManager::possession) found.
    pub fn bound_to(mut self, binding: Option<Binding>) -> Self {
        self.binding = binding;
        self
    }

    /// Standing for a session elsewhere.
    pub fn external(mut self, external: ExternalId) -> Self {
        self.external = Some(external);
        self
    }

    /// In the user's name, by somebody else: for [`SessionPolicy::impersonation_lifetime`](crate::SessionPolicy::impersonation_lifetime) at
    /// most, beside the user's own sessions, whatever their limit.
    pub fn impersonated_by(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }
}

/// A session that was just created.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Created {
    /// The session.
    pub snapshot: Snapshot,
    /// Its first tokens.
    pub tokens: TokenPair,
    /// What made room for it.
    pub evicted: Vec<EndedSession>,
}

/// A request whose access token was accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Authenticated {
    /// The session, where the check has read it: always with [`Verification::Always`](crate::Verification) and `Cached`, now and then with
    /// `Feed`, never with `Stateless`. [`SessionManager::load`](crate::SessionManager::load) reads it where it is wanted.
    pub snapshot: Option<Snapshot>,
    /// What the token says.
    pub verified: Verified,
    pub(super) user_id: UserId,
}

impl Authenticated {
    pub(super) fn of(snapshot: Snapshot, verified: Verified) -> Self {
        let user_id = snapshot.session.user_id.clone();
        Self { snapshot: Some(snapshot), verified, user_id }
    }

    /// What a token says by itself; `None` where it does not say whose it is.
    pub(super) fn unread(verified: &Verified) -> Option<Self> {
        let user_id = verified.user_id.clone()?;
        Some(Self { snapshot: None, verified: verified.clone(), user_id })
    }

    /// The session, where the check has read it.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.snapshot.as_ref().map(|snapshot| &snapshot.session)
    }

    /// Whose it is.
    pub fn user_id(&self) -> &UserId {
        &self.user_id
    }

    /// Its id.
    pub fn session_id(&self) -> SessionId {
        self.verified.key.id
    }

    /// What its token is bound to: what the session says, or, where that was not read, the token.
    pub fn binding(&self) -> Option<&Binding> {
        match &self.snapshot {
            Some(snapshot) => snapshot.session.binding.as_ref(),
            None => self.verified.binding.as_ref(),
        }
    }

    /// How it is looked up.
    pub fn key(&self) -> SessionKey {
        SessionKey::new(self.verified.key.id, self.user_id.locator())
    }

    /// A claim of the access token, where it carries claims.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.verified.claims.as_ref().and_then(|claims| claims.get(name))
    }
}

/// A token that is good at this moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Introspection {
    /// Which kind it is.
    pub kind: TokenKind,
    /// Its session.
    pub snapshot: Snapshot,
    /// What it says.
    pub verified: Verified,
}

/// A session with renewed tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refreshed {
    /// The session.
    pub snapshot: Snapshot,
    /// Its tokens.
    pub tokens: TokenPair,
    /// Whether these are the tokens of an earlier refresh, asked for again within the grace.
    pub converged: bool,
}

/// How an epoch is raised.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Rotation {
    /// Why, for the audit trail: at most 1000 bytes, no control characters.
    pub reason: String,
    /// The session of the user that stays, with new tokens. Not for everybody's epoch.
    pub keep: Option<SessionId>,
    /// How long sessions one version behind live on. For everybody's epoch only; none by default.
    pub grace: Duration,
    /// The version that the epoch must still have.
    pub expected: Option<u64>,
}

impl Rotation {
    /// Raises the epoch for this reason, whatever its version.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), keep: None, grace: Duration::ZERO, expected: None }
    }

    /// Keeps one session of the user.
    pub const fn keeping(mut self, session: SessionId) -> Self {
        self.keep = Some(session);
        self
    }

    /// Lets sessions one version behind live on for a while.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Only if the epoch still has this version (see [`SessionManager::epochs`](crate::SessionManager::epochs)). So the same call may be
    /// repeated after an error without raising the epoch twice, which would end a grace at once.
    pub const fn expecting(mut self, version: u64) -> Self {
        self.expected = Some(version);
        self
    }
}

/// A raised epoch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rotated {
    /// The version before; `None` where there was no record.
    pub old_version: Option<u64>,
    /// The version now.
    pub new_version: u64,
    /// Until when sessions one version behind live on.
    pub grace_until: Option<DateTime<Utc>>,
    /// The session that was kept, with its new tokens.
    pub kept: Option<Refreshed>,
    /// By when it binds on every node, where another node or a shared cache could not be told. `None`: as ever.
    pub binds_by: Option<DateTime<Utc>>,
}

/// A session in a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionView {
    /// The session.
    pub snapshot: Snapshot,
    /// Whether it lives, and if not, how it ended.
    pub state: State,
}

impl SessionView {
    /// Who acts in the user's name, where it is not the user.
    pub fn impersonator(&self) -> Option<&Actor> {
        self.snapshot.session.actor.as_ref()
    }
}

/// A page of a list, newest first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionView>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

/// What an update changes; `None` leaves a field as it is.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct SessionChange {
    /// The device's name, or none.
    #[allow(clippy::option_option, reason = "outside: changed or not; inside: the new value")]
    pub device_name: Option<Option<String>>,
    /// Whether the device is trusted, for how long.
    pub trust: Option<(bool, Option<Duration>)>,
    /// Attributes to set; null removes one.
    pub attributes: Map<String, Value>,
    /// Ends every token issued so far, as a change of privileges must.
    pub privileges_changed: bool,
}

impl SessionChange {
    /// No change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the device.
    pub fn device_name(mut self, name: Option<String>) -> Self {
        self.device_name = Some(name);
        self
    }

    /// Trusts the device for this long, or for ever.
    pub const fn trust(mut self, duration: Option<Duration>) -> Self {
        self.trust = Some((true, duration));
        self
    }

    /// Trusts it no longer.
    pub const fn distrust(mut self) -> Self {
        self.trust = Some((false, None));
        self
    }

    /// Sets an attribute; null removes it.
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }

    /// Ends every token issued so far.
    pub const fn privileges_changed(mut self) -> Self {
        self.privileges_changed = true;
        self
    }
}

/// How a refresh token was replayed: the reason in the audit trail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RefreshReplay {
    /// The previous token, after its grace: a client that lost a reply and slept, or a thief.
    AfterGrace,
    /// An older token: no honest client keeps one.
    Older,
}

impl RefreshReplay {
    pub(super) const fn of(snapshot: &Snapshot, presented: u64) -> Self {
        if presented.saturating_add(1) == snapshot.control.generation { Self::AfterGrace } else { Self::Older }
    }

    /// A stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AfterGrace => "refresh_replay_after_grace",
            Self::Older => "refresh_replay_older",
        }
    }
}
