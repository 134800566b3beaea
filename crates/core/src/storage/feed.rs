//! The feed of revocations, by which nodes learn what not to trust their memory about.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::id::SessionId;
use crate::user::Locator;

/// What a notice is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Subject {
    /// One session.
    Session(SessionId),
    /// All of a user's.
    User(Locator),
    /// Everybody's.
    Global,
    /// A user's epoch alone: whatever the change ends, it ends by raising it. Who has read the epoch since need not look at sessions.
    UserEpoch(Locator),
    /// Everybody's epoch alone.
    GlobalEpoch,
}

/// Whether the change is about to happen or has happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The storage is about to be changed: from now on nobody caches the subject.
    Intent,
    /// The storage has been changed.
    Done,
}

/// "Look at the storage for this subject." Never evidence that something is revoked, or is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notice {
    /// What it is about.
    pub subject: Subject,
    /// Before or after the change.
    pub phase: Phase,
    /// When the change was announced: the same in both phases, so that an end is told from that of another change.
    pub at: DateTime<Utc>,
}

impl Notice {
    /// A notice.
    pub const fn new(subject: Subject, phase: Phase, at: DateTime<Utc>) -> Self {
        Self { subject, phase, at }
    }
}

/// A place in a feed: opaque to everybody but the storage that made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedCursor(pub String);

/// What a poll of a feed brought.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FeedBatch {
    /// The notices after the cursor.
    pub notices: Vec<Notice>,
    /// Where the next poll begins.
    pub next: FeedCursor,
    /// Whether the feed had no more: only then is the poll complete and the feed's age measured from its start.
    pub complete: bool,
}

impl FeedBatch {
    /// A batch.
    pub const fn new(notices: Vec<Notice>, next: FeedCursor, complete: bool) -> Self {
        Self { notices, next, complete }
    }
}

/// A storage's feed of changes.
#[async_trait]
pub trait RevocationFeed: Send + Sync {
    /// Writes notices.
    async fn announce(&self, notices: &[Notice]) -> Result<()>;

    /// Reads what was announced after `cursor`; from `None`, everything that may still matter at `now`.
    ///
    /// # Behaviour
    /// Misses nothing, also what is committed late: what a cursor has passed is complete. It may repeat.
    async fn since(&self, cursor: Option<&FeedCursor>, limit: u32, now: DateTime<Utc>) -> Result<FeedBatch>;

    /// How long a notice can be read at least; `None` where that has no limit. A node that begins with an empty memory learns of no earlier
    /// ending, so a verification without the storage needs this to be longer than an access token lives.
    fn retention(&self) -> Option<Duration>;
}
