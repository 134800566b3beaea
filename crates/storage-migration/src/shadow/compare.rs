//! What it means that two storages agree, and the counting of where they do not.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use session_manager_core::storage::{
    AdvanceOutcome, BumpOutcome, EndedSession, InsertOutcome, Purged, Revoked, UpdateOutcome,
};
use session_manager_core::{LivePolicy, SessionId, Snapshot};

/// How often the two storages differed, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Differences {
    /// The new one does not have a session.
    pub missing: u64,
    /// The new one has a session that there is not.
    pub surplus: u64,
    /// A session lives in one and not in the other.
    pub state: u64,
    /// Generation, floor or seed.
    pub tokens: u64,
    /// Last activity or a deadline.
    pub times: u64,
    /// How or when it was ended.
    pub revocation: u64,
    /// Anything else that is stored of a session.
    pub fields: u64,
    /// An operation came out differently.
    pub outcome: u64,
    /// A list or a count.
    pub list: u64,
}

impl Differences {
    /// All of them.
    pub const fn total(&self) -> u64 {
        let sessions = self.missing.saturating_add(self.surplus).saturating_add(self.state).saturating_add(self.tokens);
        let details = self.times.saturating_add(self.revocation).saturating_add(self.fields);
        sessions.saturating_add(details).saturating_add(self.outcome).saturating_add(self.list)
    }
}

/// What a [`ShadowStorage`](super::ShadowStorage) has found so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ShadowStats {
    /// Operations that were repeated.
    pub repeated: u64,
    /// Operations that were not, because too many waited.
    pub dropped: u64,
    /// Operations in which the new storage failed.
    pub failed: u64,
    /// Operations for which the new storage took too long.
    pub timed_out: u64,
    /// Differences that were gone when looked at again.
    pub settled: u64,
    /// Differences that stayed.
    pub differences: Differences,
}

/// One kind of difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Difference {
    Missing,
    Surplus,
    State,
    Tokens,
    Times,
    Revocation,
    Fields,
    Outcome,
    List,
}

/// The numbers behind [`ShadowStats`].
#[derive(Default)]
pub(crate) struct Tally(Mutex<ShadowStats>);

impl Tally {
    pub(crate) fn read(&self) -> ShadowStats {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, which: impl FnOnce(&mut ShadowStats) -> &mut u64) {
        let mut stats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = which(&mut stats);
        *number = number.saturating_add(1);
    }

    pub(crate) fn repeated(&self) {
        self.add(|stats| &mut stats.repeated);
    }

    pub(crate) fn dropped(&self) {
        self.add(|stats| &mut stats.dropped);
    }

    pub(crate) fn failed(&self) {
        self.add(|stats| &mut stats.failed);
    }

    pub(crate) fn timed_out(&self) {
        self.add(|stats| &mut stats.timed_out);
    }

    pub(crate) fn settled(&self) {
        self.add(|stats| &mut stats.settled);
    }

    pub(crate) fn differs(&self, difference: Difference) {
        self.add(|stats| {
            let found = &mut stats.differences;
            match difference {
                Difference::Missing => &mut found.missing,
                Difference::Surplus => &mut found.surplus,
                Difference::State => &mut found.state,
                Difference::Tokens => &mut found.tokens,
                Difference::Times => &mut found.times,
                Difference::Revocation => &mut found.revocation,
                Difference::Fields => &mut found.fields,
                Difference::Outcome => &mut found.outcome,
                Difference::List => &mut found.list,
            }
        });
    }
}

/// How a session in the new storage differs from the same in the old, the gravest first.
pub(crate) fn sessions(
    old: Option<&Snapshot>,
    new: Option<&Snapshot>,
    now: DateTime<Utc>,
    live: LivePolicy,
) -> Option<Difference> {
    let (old, new) = match (old, new) {
        (None, None) => return None,
        (Some(_), None) => return Some(Difference::Missing),
        (None, Some(_)) => return Some(Difference::Surplus),
        (Some(old), Some(new)) => (old, new),
    };
    let tokens = |snapshot: &Snapshot| (snapshot.control.generation, snapshot.control.floor);
    let times = |snapshot: &Snapshot| {
        let control = &snapshot.control;
        (control.rotated_at, control.previous_rotated_at, control.last_activity, control.idle_expires_at)
    };
    if old.state(now, live).is_live() != new.state(now, live).is_live() {
        Some(Difference::State)
    } else if tokens(old) != tokens(new) || old.control.seed != new.control.seed {
        Some(Difference::Tokens)
    } else if old.control.revocation != new.control.revocation {
        Some(Difference::Revocation)
    } else if times(old) != times(new) {
        Some(Difference::Times)
    } else if old.session != new.session || old.control.version != new.control.version {
        Some(Difference::Fields)
    } else {
        None
    }
}

/// Which outcome it is, and the session that it is about.
fn advance(outcome: &AdvanceOutcome) -> (u8, Option<&Snapshot>) {
    match outcome {
        AdvanceOutcome::Advanced(snapshot) => (1, Some(snapshot)),
        AdvanceOutcome::Converge(snapshot) => (2, Some(snapshot)),
        AdvanceOutcome::Behind(snapshot) => (3, Some(snapshot)),
        AdvanceOutcome::BelowFloor(snapshot) => (4, Some(snapshot)),
        AdvanceOutcome::Ahead(snapshot) => (5, Some(snapshot)),
        AdvanceOutcome::Ended(_, snapshot) => (6, Some(snapshot)),
        AdvanceOutcome::Missing => (7, None),
        _ => (0, None),
    }
}

pub(crate) fn advances(
    old: &AdvanceOutcome,
    new: &AdvanceOutcome,
    now: DateTime<Utc>,
    live: LivePolicy,
) -> Option<Difference> {
    let ((old_kind, old), (new_kind, new)) = (advance(old), advance(new));
    sessions(old, new, now, live).or_else(|| (old_kind != new_kind).then_some(Difference::Outcome))
}

fn update(outcome: &UpdateOutcome) -> (u8, Option<&Snapshot>) {
    match outcome {
        UpdateOutcome::Updated(snapshot) => (1, Some(snapshot)),
        UpdateOutcome::Conflict(snapshot) => (2, Some(snapshot)),
        UpdateOutcome::Ended(_, snapshot) => (3, Some(snapshot)),
        UpdateOutcome::Missing => (4, None),
        _ => (0, None),
    }
}

pub(crate) fn updates(
    old: &UpdateOutcome,
    new: &UpdateOutcome,
    now: DateTime<Utc>,
    live: LivePolicy,
) -> Option<Difference> {
    let ((old_kind, old), (new_kind, new)) = (update(old), update(new));
    sessions(old, new, now, live).or_else(|| (old_kind != new_kind).then_some(Difference::Outcome))
}

pub(crate) fn inserts(
    old: &InsertOutcome,
    new: &InsertOutcome,
    now: DateTime<Utc>,
    live: LivePolicy,
) -> Option<Difference> {
    match (old, new) {
        (
            InsertOutcome::Inserted { snapshot: old, evicted: old_evicted },
            InsertOutcome::Inserted { snapshot: new, evicted: new_evicted },
        ) => sessions(Some(old), Some(new), now, live).or_else(|| ended(old_evicted, new_evicted)),
        (InsertOutcome::LimitReached { live: old }, InsertOutcome::LimitReached { live: new }) => {
            (old != new).then_some(Difference::Outcome)
        }
        (InsertOutcome::DuplicateId, InsertOutcome::DuplicateId) => None,
        _ => Some(Difference::Outcome),
    }
}

pub(crate) fn revokes(old: &Revoked, new: &Revoked) -> Option<Difference> {
    ended(&old.sessions, &new.sessions)
}

pub(crate) fn purges(old: &Purged, new: &Purged) -> Option<Difference> {
    ended(&old.sessions, &new.sessions)
}

pub(crate) fn bumps(old: &BumpOutcome, new: &BumpOutcome, now: DateTime<Utc>, live: LivePolicy) -> Option<Difference> {
    match (old, new) {
        (BumpOutcome::Bumped(old), BumpOutcome::Bumped(new)) => {
            sessions(old.kept.as_ref(), new.kept.as_ref(), now, live)
        }
        (BumpOutcome::Conflict { .. }, BumpOutcome::Conflict { .. })
        | (BumpOutcome::KeepEnded, BumpOutcome::KeepEnded) => None,
        _ => Some(Difference::Outcome),
    }
}

/// Whether the same sessions ended, in whatever order.
fn ended(old: &[EndedSession], new: &[EndedSession]) -> Option<Difference> {
    let ids = |ended: &[EndedSession]| ended.iter().map(|ended| ended.session.id).collect::<BTreeSet<SessionId>>();
    (ids(old) != ids(new)).then_some(Difference::Outcome)
}
