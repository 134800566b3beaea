//! The callers of a history: each makes its calls one after another, all of them at once.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::{
    Advance, AdvanceOutcome, BumpOutcome, BumpTarget, Consistency, Purge, PurgeScope, Revoke, RevokeTarget,
    SessionPatch, Update, UpdateOutcome,
};
use session_manager_core::{Actor, Result, RevocationReason, Snapshot};
use tokio::sync::Barrier;

use super::plan::{Plan, Step};
use super::record::{Record, Recorder};
use super::spec::{Op, Ret, View};
use crate::fixture::{Fixture, GRACE};

/// The session that a history is about.
#[derive(Clone, Debug)]
pub(super) struct Session {
    lab: Fixture,
    first: Snapshot,
}

/// Lets all callers live through their steps, and says what they were told.
pub(super) async fn run(session: Session, plan: Plan) -> Record {
    let recorder = Arc::new(Recorder::default());
    let barrier = Arc::new(Barrier::new(plan.callers.len()));
    let tasks: Vec<_> = plan
        .callers
        .into_iter()
        .enumerate()
        .map(|(caller, steps)| {
            let (session, recorder, barrier) = (session.clone(), Arc::clone(&recorder), Arc::clone(&barrier));
            tokio::spawn(async move {
                let mut known = session.view(&session.first);
                for (number, step) in steps.into_iter().enumerate() {
                    if number == 0 || plan.in_rounds {
                        barrier.wait().await;
                    }
                    let op = with(step, &known, &format!("{caller}.{number}"));
                    recorder.called(caller, op.clone());
                    let answer = session.call(&op).await;
                    if let Some(view) = answer.as_ref().ok().and_then(Ret::view) {
                        known = view.clone();
                    }
                    recorder.ended(caller, answer.map_err(|error| error.kind()));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a caller");
    }
    recorder.record()
}

/// The call of a step, by what its caller knows.
fn with(step: Step, known: &View, tag: &str) -> Op {
    match step {
        Step::Refresh { offset, grace } => {
            Op::Refresh { presented: known.generation.saturating_add_signed(offset), grace }
        }
        Step::Read => Op::Read,
        Step::Revoke => Op::Revoke { reason: format!("reason {tag}") },
        Step::Rename => Op::Rename { expected: known.version, to: format!("name {tag}") },
        Step::RaiseFloor => Op::RaiseFloor { expected: known.version },
        Step::RaiseEpoch { keep } => Op::RaiseEpoch { keep },
        Step::RevokeUser => Op::RevokeUser { reason: format!("reason {tag}") },
        Step::ReadEpoch => Op::ReadEpoch,
        Step::Purge => Op::Purge,
    }
}

impl Session {
    pub(super) const fn new(lab: Fixture, first: Snapshot) -> Self {
        Self { lab, first }
    }

    fn view(&self, snapshot: &Snapshot) -> View {
        View::new(snapshot, snapshot.state(self.lab.now(), self.lab.live()))
    }

    async fn call(&self, op: &Op) -> Result<Ret> {
        let (storage, key, now) = (self.lab.storage(), self.first.key(), self.lab.now());
        Ok(match op {
            Op::Refresh { presented, grace } => {
                let grace = if *grace { GRACE } else { Duration::ZERO };
                match storage.advance(&Advance::new(key, *presented, grace, now)).await? {
                    AdvanceOutcome::Advanced(snapshot) => Ret::Advanced(self.view(&snapshot)),
                    AdvanceOutcome::Converge(snapshot) => Ret::Converge(self.view(&snapshot)),
                    AdvanceOutcome::Behind(snapshot) => Ret::Behind(self.view(&snapshot)),
                    AdvanceOutcome::BelowFloor(snapshot) => Ret::BelowFloor(self.view(&snapshot)),
                    AdvanceOutcome::Ahead(snapshot) => Ret::Ahead(self.view(&snapshot)),
                    AdvanceOutcome::Ended(state, snapshot) => Ret::Ended(View::new(&snapshot, state)),
                    AdvanceOutcome::Missing => Ret::Missing,
                    other => panic!("the kit does not know {other:?} yet"),
                }
            }
            Op::Rename { expected, to } => {
                let mut patch = SessionPatch::new();
                patch.device_name = Some(Some(to.clone()));
                self.update(*expected, patch).await?
            }
            Op::RaiseFloor { expected } => {
                let mut patch = SessionPatch::new();
                patch.raise_floor = true;
                self.update(*expected, patch).await?
            }
            Op::Revoke { reason } => {
                let revoked = storage.revoke(&self.revoke(RevokeTarget::One { key, owner: None }, reason)).await?;
                Ret::Revoked { ended: revoked.sessions.len(), already: revoked.already_ended }
            }
            Op::RevokeUser { reason } => {
                let target = RevokeTarget::User { user: self.first.session.user_id.clone(), except: None };
                Ret::RevokedUser { ended: storage.revoke(&self.revoke(target, reason)).await?.sessions.len() }
            }
            Op::RaiseEpoch { keep } => {
                let keep = keep.then_some(self.first.session.id);
                let target = BumpTarget::User { user: self.first.session.user_id.clone(), keep };
                match storage.bump(&self.lab.bump_of(target)).await? {
                    BumpOutcome::Bumped(bumped) => Ret::Raised {
                        version: bumped.epochs.user.map_or(0, |epoch| epoch.version),
                        kept: bumped.kept.map(|kept| self.view(&kept)),
                    },
                    BumpOutcome::KeepEnded => Ret::NotKept,
                    other => panic!("nothing was expected of the version: {other:?}"),
                }
            }
            Op::Read => {
                let found = storage.read(&key, Consistency::Latest).await?;
                found.map_or(Ret::Missing, |snapshot| Ret::Found(self.view(&snapshot)))
            }
            Op::ReadEpoch => {
                let epochs = storage.epochs(Some(&self.first.session.user_id)).await?;
                Ret::Epoch(epochs.user.map(|epoch| epoch.version))
            }
            Op::Purge => Ret::Purged(storage.purge(&Purge::new(PurgeScope::One(key), 1, now)).await?.sessions.len()),
        })
    }

    async fn update(&self, expected: u64, patch: SessionPatch) -> Result<Ret> {
        let update = Update::new(self.first.key(), expected, patch, self.lab.now());
        Ok(match self.lab.storage().update(&update).await? {
            UpdateOutcome::Updated(snapshot) => Ret::Updated(self.view(&snapshot)),
            UpdateOutcome::Conflict(snapshot) => Ret::Conflict(self.view(&snapshot)),
            UpdateOutcome::Ended(state, snapshot) => Ret::Ended(View::new(&snapshot, state)),
            UpdateOutcome::Missing => Ret::Missing,
            other => panic!("the kit does not know {other:?} yet"),
        })
    }

    fn revoke(&self, target: RevokeTarget, reason: &str) -> Revoke {
        Revoke::new(target, RevocationReason::parse(reason).expect("a reason"), Actor::System, self.lab.now())
    }
}
