//! The seam of suspicion rules: what should make us look twice at a session.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::client::ClientInfo;
use crate::enricher::Enrichment;
use crate::error::Result;
use crate::session::Session;

/// Judges a client by what is known of it and of its session.
#[async_trait]
pub trait SuspicionRule: Send + Sync + fmt::Debug {
    /// A stable name: the reason in the audit trail.
    fn name(&self) -> &'static str;

    /// Whether something looks wrong, and what to do about it.
    async fn judge(&self, evidence: &Evidence<'_>) -> Result<Option<SuspicionAction>>;
}

/// When a rule is asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Occasion {
    /// A session was just made, and nobody has its tokens yet.
    SignIn,
    /// A request came with a good access token.
    Access,
    /// A good refresh token is about to be exchanged.
    Refresh,
    /// A token was refused. Nothing can be done about it but recording it.
    Rejection,
}

/// What a rule may look at.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Evidence<'a> {
    /// When it is asked.
    pub occasion: Occasion,
    /// The session, with the client and what was known of it at sign-in; none for a refused token that leads to none.
    pub session: Option<&'a Session>,
    /// The client now, in the form in which a session keeps it: texts within the policy's limits, the address as far as it is recorded.
    /// So what is the same compares equal.
    pub client: &'a ClientInfo,
    /// What the enrichers know of the client now: place and device. Of a client whose address and user agent are those of the sign-in it is
    /// what was learnt then, with the session's attributes: enrichers are not asked at every request. Empty for a refused token.
    pub known: &'a Enrichment,
    /// When the user was last seen in the session.
    pub last_activity: Option<DateTime<Utc>>,
    /// How many tokens from this client's address were refused in the last minute or so.
    pub rejections: u32,
    /// The present.
    pub now: DateTime<Utc>,
}

impl<'a> Evidence<'a> {
    /// Evidence without a session, activity or refused tokens; each may be set afterwards, as a rule's own tests do.
    pub const fn new(occasion: Occasion, client: &'a ClientInfo, known: &'a Enrichment, now: DateTime<Utc>) -> Self {
        Self { occasion, session: None, client, known, last_activity: None, rejections: 0, now }
    }
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

impl SuspicionAction {
    /// A stable name, as the audit trail has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::StepUp => "step_up",
            Self::Revoke => "revoke",
        }
    }
}
