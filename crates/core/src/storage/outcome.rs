//! What a storage answers.
#![allow(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one; boxing it would cost every call an allocation"
)]

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::control::Revocation;
use crate::epoch::{Epoch, Epochs};
use crate::session::Session;
use crate::snapshot::{Snapshot, State};

use super::cursor::Cursor;

/// The outcome of an insert.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum InsertOutcome {
    /// It is stored.
    Inserted {
        /// As stored, with its stamp.
        snapshot: Snapshot,
        /// What made room for it.
        evicted: Vec<EndedSession>,
    },
    /// The user has as many live sessions as allowed.
    LimitReached {
        /// How many live.
        live: u32,
    },
    /// Another session has this id.
    DuplicateId,
}

/// The outcome of a refresh step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AdvanceOutcome {
    /// A new generation began.
    Advanced(Snapshot),
    /// The presented token is the previous one within the grace: its successor stands in the snapshot.
    Converge(Snapshot),
    /// A replay. Nothing was changed.
    Behind(Snapshot),
    /// Below the floor. Nothing was changed.
    BelowFloor(Snapshot),
    /// The storage had lost a write; the generation after the presented one began.
    Ahead(Snapshot),
    /// The session is over.
    Ended(State, Snapshot),
    /// There is no such session.
    Missing,
}

/// The outcome of a compare-and-set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum UpdateOutcome {
    /// Done; as it is now.
    Updated(Snapshot),
    /// It has another version.
    Conflict(Snapshot),
    /// The session is over.
    Ended(State, Snapshot),
    /// There is no such session.
    Missing,
}

/// What became of a batch of touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TouchReport {
    /// Sessions that moved forward.
    pub touched: u64,
    /// Sessions that had ended, were missing, or were as far already.
    pub skipped: u64,
}

impl TouchReport {
    /// A report.
    pub const fn new(touched: u64, skipped: u64) -> Self {
        Self { touched, skipped }
    }
}

/// A session that this step ended or removed.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct EndedSession {
    /// The session.
    pub session: Arc<Session>,
    /// How it stood afterwards: [`State::Revoked`] where the step ended it.
    pub state: State,
    /// How it was ended, if somebody ended it.
    pub revocation: Option<Arc<Revocation>>,
}

impl EndedSession {
    /// A session in this state.
    pub fn new(session: Arc<Session>, state: State, revocation: Option<Arc<Revocation>>) -> Self {
        Self { session, state, revocation }
    }
}

/// What a revocation did.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Revoked {
    /// The sessions that it ended.
    pub sessions: Vec<EndedSession>,
    /// How many it addressed that had ended before. Exact for [`RevokeTarget::One`](super::RevokeTarget::One) and `External`; others may
    /// leave it at 0.
    pub already_ended: u64,
    /// It was done, but too few replicas have acknowledged it in time: a failover might undo it. The manager announces and audits it, and
    /// answers [`ErrorKind::Unconfirmed`](crate::ErrorKind::Unconfirmed). Repeating is harmless.
    pub unconfirmed: bool,
    /// By when it binds on every node, where that is later than the storage's [`Freshness`](super::Freshness) has it otherwise: another
    /// node, or a cache that several share, could not be told. `None`: as ever.
    pub binds_by: Option<DateTime<Utc>>,
}

impl Revoked {
    /// These were ended, so many had been before.
    pub const fn new(sessions: Vec<EndedSession>, already_ended: u64) -> Self {
        Self { sessions, already_ended, unconfirmed: false, binds_by: None }
    }

    /// The same, done but not acknowledged.
    pub const fn unconfirmed(mut self) -> Self {
        self.unconfirmed = true;
        self
    }

    /// The same, known everywhere only by then.
    pub const fn binding_by(mut self, time: DateTime<Utc>) -> Self {
        self.binds_by = Some(time);
        self
    }
}

/// The outcome of raising an epoch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BumpOutcome {
    /// It was raised, now or by an earlier call with the same expectation.
    Bumped(Bumped),
    /// It has another version than expected.
    Conflict {
        /// The version it has.
        version: u64,
    },
    /// The session to keep is missing, over, or another user's. Nothing was changed.
    KeepEnded,
}

/// A raised epoch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Bumped {
    /// The epoch before, where there was one.
    pub before: Option<Epoch>,
    /// The epochs as they are now.
    pub epochs: Epochs,
    /// The kept session as it is now.
    pub kept: Option<Snapshot>,
    /// Whether this very call raised it.
    pub applied: bool,
    /// As [`Revoked::unconfirmed`].
    pub unconfirmed: bool,
    /// As [`Revoked::binds_by`].
    pub binds_by: Option<DateTime<Utc>>,
}

impl Bumped {
    /// A raised epoch.
    pub const fn new(before: Option<Epoch>, epochs: Epochs, kept: Option<Snapshot>, applied: bool) -> Self {
        Self { before, epochs, kept, applied, unconfirmed: false, binds_by: None }
    }

    /// The same, done but not acknowledged.
    pub fn unconfirmed(mut self) -> Self {
        self.unconfirmed = true;
        self
    }

    /// The same, known everywhere only by then.
    pub const fn binding_by(mut self, time: DateTime<Utc>) -> Self {
        self.binds_by = Some(time);
        self
    }
}

/// A page of sessions, newest first.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// The sessions.
    pub sessions: Vec<Snapshot>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
}

impl Page {
    /// A page.
    pub const fn new(sessions: Vec<Snapshot>, next: Option<Cursor>) -> Self {
        Self { sessions, next }
    }
}

/// A number of sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Count {
    /// How many.
    pub value: u64,
    /// Whether that is exact, or an estimate.
    pub exact: bool,
}

impl Count {
    /// An exact number.
    pub const fn exact(value: u64) -> Self {
        Self { value, exact: true }
    }

    /// An estimate.
    pub const fn estimate(value: u64) -> Self {
        Self { value, exact: false }
    }
}

/// What a clean-up removed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Purged {
    /// The sessions, as they were.
    pub sessions: Vec<EndedSession>,
    /// Whether there is more of the kind.
    pub more: bool,
}

impl Purged {
    /// These were removed.
    pub const fn new(sessions: Vec<EndedSession>, more: bool) -> Self {
        Self { sessions, more }
    }
}
