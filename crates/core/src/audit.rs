//! The audit trail: what happened to sessions, told to any number of sinks.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::client::ClientInfo;
use crate::control::Actor;
use crate::error::Result;
use crate::id::SessionId;
use crate::user::UserId;

/// A sink of audit events.
#[async_trait]
pub trait AuditBackend: Send + Sync + fmt::Debug {
    /// A stable name for reports, and what a sink inside a transaction is known by.
    fn name(&self) -> &str;

    /// Records events, in this order.
    ///
    /// # Behaviour
    /// Recording an event twice, by its [`AuditEvent::id`], is harmless.
    async fn record(&self, events: &[AuditEvent]) -> Result<()>;

    /// Returns when everything recorded so far is as safe as the sink can make it.
    async fn flush(&self) -> Result<()>;

    /// Erases what tells of a person, and says how many events that were; zero where it holds nothing, or cannot take anything back as a log
    /// cannot.
    ///
    /// # Behaviour
    /// Events stay, with what happened, when, and to which session; what names the person or comes from them goes. Repeating it is harmless.
    async fn erase(&self, person: &UserId) -> Result<u64>;

    /// The background work, where there is any: a future that runs until it is dropped.
    fn maintenance(&self) -> Option<BoxFuture<'_, ()>>;
}

/// A sink that records nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopAudit;

#[async_trait]
impl AuditBackend for NoopAudit {
    fn name(&self) -> &'static str {
        "none"
    }

    async fn record(&self, _: &[AuditEvent]) -> Result<()> {
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    async fn erase(&self, _: &UserId) -> Result<u64> {
        Ok(0)
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

/// What a sink's failure means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// It fails the operation.
    Required,
    /// It is reported, and the operation succeeds.
    BestEffort,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditKind {
    /// A user signed in.
    Created,
    /// Tokens were renewed.
    Refreshed,
    /// A request was authenticated; sampled.
    Accessed,
    /// A session was ended by somebody.
    Revoked,
    /// A session was found to have ended by time, or was removed after it.
    Expired,
    /// A session made room for a newer one.
    Evicted,
    /// Something looks wrong; the reason says what.
    Suspicious,
    /// The user proved again who they are.
    Reauthenticated,
    /// A token was refused; the reason says why.
    Rejected,
    /// An epoch was raised.
    Rotated,
    /// A session's own data was changed.
    Updated,
    /// A session was removed for good.
    Deleted,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Created,
        Self::Refreshed,
        Self::Accessed,
        Self::Revoked,
        Self::Expired,
        Self::Evicted,
        Self::Suspicious,
        Self::Reauthenticated,
        Self::Rejected,
        Self::Rotated,
        Self::Updated,
        Self::Deleted,
    ];

    /// A stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Refreshed => "refreshed",
            Self::Accessed => "accessed",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Suspicious => "suspicious",
            Self::Reauthenticated => "reauthenticated",
            Self::Rejected => "rejected",
            Self::Rotated => "rotated",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// One thing that happened.
///
/// # Security
/// It never holds a token or secret. User agent and device name come from outside: sinks must escape them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEvent {
    /// Names the event. Whatever is told of the end of one session has the same id however often and by whichever node it is told.
    pub id: uuid::Uuid,
    /// What happened.
    pub kind: AuditKind,
    /// When.
    pub at: DateTime<Utc>,
    /// To which session.
    pub session_id: Option<SessionId>,
    /// To whose.
    pub user_id: Option<UserId>,
    /// Who did it.
    pub actor: Actor,
    /// From which client; the address as the policy records it.
    pub client: ClientInfo,
    /// Why; a stable name, or the text that an actor gave.
    pub reason: Option<String>,
    /// The request it belongs to.
    pub request_id: Option<String>,
    /// More, by kind.
    pub details: Map<String, Value>,
}

impl AuditEvent {
    /// An event without details.
    pub fn new(id: uuid::Uuid, kind: AuditKind, at: DateTime<Utc>, actor: Actor) -> Self {
        Self {
            id,
            kind,
            at,
            session_id: None,
            user_id: None,
            actor,
            client: ClientInfo::default(),
            reason: None,
            request_id: None,
            details: Map::new(),
        }
    }
}

/// The application's own reaction to what happened: mails, live pages. Told after the change stands; its work must be quick.
#[async_trait]
pub trait SessionObserver: Send + Sync + fmt::Debug {
    /// Something happened. Failures are the observer's own to report.
    async fn observe(&self, event: &AuditEvent, session: Option<&Arc<crate::session::Session>>);
}
