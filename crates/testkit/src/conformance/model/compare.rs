//! What of two answers must be equal: everything the contract fixes, and nothing it leaves open.

use session_manager_core::storage::{
    AdvanceOutcome, BumpOutcome, EndedSession, InsertOutcome, Page, Purged, RevokeTarget, Revoked, UpdateOutcome,
};
use session_manager_core::{Epochs, GlobalEpoch, Result, SessionRecord, Snapshot};

/// An answer, reduced to what is compared.
#[derive(PartialEq, Debug)]
pub(super) struct Answer {
    said: String,
    sessions: Vec<(SessionRecord, Epochs)>,
    ended: Vec<EndedSession>,
}

impl Answer {
    pub(super) fn said(text: impl Into<String>) -> Self {
        Self { said: text.into(), sessions: Vec::new(), ended: Vec::new() }
    }

    fn with<'a>(mut self, snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Self {
        self.sessions.extend(snapshots.into_iter().map(|one| (one.record(), plain(one.epochs))));
        self
    }

    fn ending(mut self, ended: &[EndedSession]) -> Self {
        // In which order they ended is open.
        self.ended = ended.to_vec();
        self.ended.sort_by_key(|ended| ended.session.id);
        self
    }
}

/// Two answers, or why they differ.
pub(super) fn equal(subject: &Answer, reference: &Answer) -> Result<(), String> {
    if subject == reference {
        return Ok(());
    }
    // Seeds are redacted, so that two texts may be equal where the answers are not.
    Err(format!("\n  the storage: {subject:?}\n  expected:    {reference:?}"))
}

/// Epochs without what a new incarnation leaves open.
pub(super) fn plain(epochs: Epochs) -> Epochs {
    let global = epochs.global.map(|global| GlobalEpoch::rotated(global.epoch, None, global.grace_until));
    Epochs::new(epochs.user, global)
}

/// Any answer; an error counts by its kind.
pub(super) fn answer<T>(result: &Result<T>, reduce: impl FnOnce(&T) -> Answer) -> Answer {
    match result {
        Ok(value) => reduce(value),
        Err(error) => Answer::said(format!("error {:?}", error.kind())),
    }
}

pub(super) fn insert(outcome: &InsertOutcome) -> Answer {
    match outcome {
        InsertOutcome::Inserted { snapshot, evicted } => Answer::said("inserted").with([snapshot]).ending(evicted),
        InsertOutcome::LimitReached { live } => Answer::said(format!("limit reached at {live}")),
        InsertOutcome::DuplicateId => Answer::said("duplicate"),
        other => panic!("the kit does not know {other:?} yet"),
    }
}

pub(super) fn advance(outcome: &AdvanceOutcome) -> Answer {
    match outcome {
        AdvanceOutcome::Advanced(snapshot) => Answer::said("advanced").with([snapshot]),
        AdvanceOutcome::Converge(snapshot) => Answer::said("converge").with([snapshot]),
        AdvanceOutcome::Behind(snapshot) => Answer::said("behind").with([snapshot]),
        AdvanceOutcome::BelowFloor(snapshot) => Answer::said("below floor").with([snapshot]),
        AdvanceOutcome::Ahead(snapshot) => Answer::said("ahead").with([snapshot]),
        AdvanceOutcome::Ended(state, snapshot) => Answer::said(state.as_str()).with([snapshot]),
        AdvanceOutcome::Missing => Answer::said("missing"),
        other => panic!("the kit does not know {other:?} yet"),
    }
}

pub(super) fn update(outcome: &UpdateOutcome) -> Answer {
    match outcome {
        UpdateOutcome::Updated(snapshot) => Answer::said("updated").with([snapshot]),
        UpdateOutcome::Conflict(snapshot) => Answer::said("conflict").with([snapshot]),
        UpdateOutcome::Ended(state, snapshot) => Answer::said(state.as_str()).with([snapshot]),
        UpdateOutcome::Missing => Answer::said("missing"),
        other => panic!("the kit does not know {other:?} yet"),
    }
}

pub(super) fn revoked(target: &RevokeTarget, revoked: &Revoked) -> Answer {
    let exact = matches!(target, RevokeTarget::One { .. } | RevokeTarget::External(_));
    let already = if exact { format!(", {} before", revoked.already_ended) } else { String::new() };
    Answer::said(format!("revoked {}{already}", revoked.sessions.len())).ending(&revoked.sessions)
}

pub(super) fn bump(outcome: &BumpOutcome) -> Answer {
    match outcome {
        BumpOutcome::Bumped(bumped) if bumped.applied => {
            Answer::said(format!("raised {:?} to {:?}", bumped.before, plain(bumped.epochs))).with(&bumped.kept)
        }
        BumpOutcome::Bumped(bumped) => Answer::said(format!("already at {:?}", plain(bumped.epochs))),
        BumpOutcome::Conflict { version } => Answer::said(format!("conflict at {version}")),
        BumpOutcome::KeepEnded => Answer::said("keep ended"),
        other => panic!("the kit does not know {other:?} yet"),
    }
}

pub(super) fn page(page: &Page) -> Answer {
    Answer::said(if page.next.is_some() { "more" } else { "the last page" }).with(&page.sessions)
}

pub(super) fn purged(purged: &Purged) -> Answer {
    Answer::said(format!("purged {}, more {}", purged.sessions.len(), purged.more)).ending(&purged.sessions)
}

pub(super) fn reads(found: &[Option<Snapshot>]) -> Answer {
    let there: Vec<_> = found.iter().map(Option::is_some).collect();
    Answer::said(format!("{there:?}")).with(found.iter().flatten())
}
