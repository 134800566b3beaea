//! The seam of shared caches: sessions that several nodes remember together, before a durable storage.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::id::{SessionId, SessionKey};
use crate::snapshot::Snapshot;
use crate::user::{Locator, Shard, UserId};

/// A cache outside the process, which several nodes share. It may lose anything at any time, except for a tombstone while what was read
/// before it may still be filled in.
///
/// # Behaviour
/// - Time is the cache's own: a ticket is taken, looked at and compared by one clock, so that a fill that was under way for long is known
///   as such however late it arrives.
/// - Absences are not remembered: nobody has proven anything by asking for a session that there is not.
#[async_trait]
pub trait SharedCache: Send + Sync + fmt::Debug {
    /// Asks for a session of a known user.
    async fn look(&self, id: SessionId, locator: Locator) -> Result<SharedLook>;

    /// Remembers what a read found. Returns whether it was taken.
    ///
    /// # Behaviour
    /// One atomic step. Refused where
    /// - a tombstone of the session, of its user or of everybody stands;
    /// - what stands there has a higher [`Control::version`](crate::Control::version), or the same and was read later;
    /// - the session's id does not carry its user's shard, so that the user's tombstones might be elsewhere;
    /// - the ticket is older than [`SharedFill::timeout`], or younger than the present.
    ///
    /// What is taken lives for [`SharedFill::max_age`] after its ticket at most.
    async fn fill(&self, fill: &SharedFill<'_>) -> Result<bool>;

    /// Puts up tombstones: for `life` nothing of these subjects is answered or filled in.
    ///
    /// # Behaviour
    /// - Acknowledged only when all of them stand. Repeating is harmless.
    /// - A tombstone that stands is prolonged, never shortened.
    async fn bury(&self, subjects: &[SharedSubject], life: Duration) -> Result<()>;
}

/// What a shared cache says of a session.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "the large variant is the usual one, and lives for a moment")]
#[non_exhaustive]
pub enum SharedLook {
    /// This was read at that time.
    Hit {
        /// The session.
        snapshot: Snapshot,
        /// When its read began, by the clock of the node that read it.
        read_at: DateTime<Utc>,
    },
    /// It is not known: read the durable storage, and come back with this ticket.
    Miss(SharedTicket),
    /// A tombstone stands: read the durable storage, and do not come back.
    Buried,
}

/// When a read began: microseconds of the cache's own clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SharedTicket(pub u64);

/// What a read found, and how long that is good.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SharedFill<'a> {
    /// The session.
    pub snapshot: &'a Snapshot,
    /// What was given before its read began.
    pub ticket: SharedTicket,
    /// When its read began, by this node's clock.
    pub read_at: DateTime<Utc>,
    /// How long a read may take to be worth remembering.
    pub timeout: Duration,
    /// How long after the ticket it may be answered.
    pub max_age: Duration,
}

impl<'a> SharedFill<'a> {
    /// What a read found that began at `ticket`, which was `read_at` by this node's clock.
    pub const fn new(
        snapshot: &'a Snapshot,
        ticket: SharedTicket,
        read_at: DateTime<Utc>,
        timeout: Duration,
        max_age: Duration,
    ) -> Self {
        Self { snapshot, ticket, read_at, timeout, max_age }
    }
}

/// What a tombstone is for, with what finds its place among the sessions that it concerns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SharedSubject {
    /// One session.
    Session(SessionId),
    /// All of a user's. Without the shard it is put up in each.
    User {
        /// Whose.
        locator: Locator,
        /// Where theirs are.
        shard: Option<Shard>,
    },
    /// Everybody's.
    Global,
}

impl SharedSubject {
    /// All of a user's.
    pub fn user(user: &UserId) -> Self {
        Self::User { locator: user.locator(), shard: Some(user.shard()) }
    }

    /// Whether a session is among them.
    pub fn concerns(&self, key: &SessionKey) -> bool {
        match self {
            Self::Session(id) => key.id == *id,
            Self::User { locator, .. } => key.locator.is_none_or(|theirs| theirs == *locator),
            Self::Global => true,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_subject_concerns_what_it_names_and_whatever_may_be_it() {
        let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
        let id = SessionId::from(uuid::Uuid::from_u128(7));
        let other = SessionId::from(uuid::Uuid::from_u128(8));
        let key = SessionKey::new(id, alice.locator());
        for (subject, concerns) in [
            (SharedSubject::Session(id), true),
            (SharedSubject::Session(other), false),
            (SharedSubject::user(&alice), true),
            (SharedSubject::user(&bob), false),
            (SharedSubject::Global, true),
        ] {
            assert_eq!(subject.concerns(&key), concerns, "{subject:?}");
        }
        assert!(SharedSubject::user(&bob).concerns(&SessionKey::by_id(id)), "nobody knows whose it is");
    }
}
