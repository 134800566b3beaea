//! The seam of suspicion rules: what should make us look twice at a session.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::client::{ClientInfo, Location};
use crate::error::Result;
use crate::session::Session;

/// Judges a session by its previous and its present client.
#[async_trait]
pub trait SuspicionRule: Send + Sync + fmt::Debug {
    /// A stable name: the reason in the audit trail.
    fn name(&self) -> &'static str;

    /// Whether something looks wrong, and what to do about it.
    async fn judge(&self, evidence: &Evidence<'_>) -> Result<Option<SuspicionAction>>;
}

/// What a rule may look at.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Evidence<'a> {
    /// The session, with the client at sign-in.
    pub session: &'a Session,
    /// The client now.
    pub client: &'a ClientInfo,
    /// The client's place now, where an enricher knows it.
    pub location: Option<&'a Location>,
    /// When the user was last seen.
    pub last_activity: DateTime<Utc>,
    /// The present.
    pub now: DateTime<Utc>,
}

/// What to do about a suspicion, mildest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum SuspicionAction {
    /// Record it.
    Record,
    /// Ask the user to prove again who they are before anything sensitive.
    StepUp,
    /// End the session.
    Revoke,
}
