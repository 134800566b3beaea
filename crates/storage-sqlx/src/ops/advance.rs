//! The step of a refresh.

use async_trait::async_trait;
use session_manager_core::Snapshot;
use session_manager_core::refresh::{Verdict, judge};
use session_manager_core::storage::{Advance, AdvanceOutcome};

use super::quick::{Changed, change, read_one};
use super::{Access, Operation, Quick, rows};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::{Channel, execute};
use crate::value::Value;

#[async_trait]
impl<DB: Dialect> Operation<DB> for Advance {
    type Output = AdvanceOutcome;
    const NAME: &'static str = "advance";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<AdvanceOutcome, Failure> {
        let Some(snapshot) = rows::locked_living::<DB>(plan, connection, self.key.id).await? else {
            return Ok(AdvanceOutcome::Missing);
        };
        let (verdict, mut snapshot) = match told(self, plan, snapshot) {
            Ok(outcome) => return Ok(outcome),
            Err(written) => written,
        };
        let values = advanced(self, plan, &mut snapshot);
        execute::<DB>(connection, &plan.advance, values).await?;
        Ok(if verdict == Verdict::Ahead { AdvanceOutcome::Ahead(snapshot) } else { AdvanceOutcome::Advanced(snapshot) })
    }

    fn keeps(&self, outcome: &AdvanceOutcome) -> bool {
        matches!(outcome, AdvanceOutcome::Advanced(_) | AdvanceOutcome::Ahead(_))
    }
}

/// SQL tests what `judge` tests for [`Verdict::Advance`]. Where it returns nothing, what was read is written back if nobody has changed it.
#[async_trait]
impl<DB: Dialect> Operation<DB> for Quick<'_, Advance> {
    type Output = Option<AdvanceOutcome>;
    const NAME: &'static str = "advance";

    fn access(&self, _plan: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Self::Output, Failure> {
        let request = self.request;
        let Some(next) = request.presented.checked_add(1) else { return Ok(None) };
        let Some(quick) = &plan.quick else { return compare_and_set::<DB>(request, plan, connection).await };
        let id = plan.mapping.id.encode(request.key.id);
        let mut values = vec![next.into(), plan.time(request.now), id, request.presented.into()];
        values.extend(plan.live_values(request.now));
        let read = self.judges.then_some(request.key.id);
        match change::<DB>(plan, connection, &quick.advance, values, read).await? {
            Changed::Yes(snapshot) => Ok(Some(AdvanceOutcome::Advanced(snapshot))),
            Changed::No(_) if !self.judges => Ok(None),
            Changed::No(None) => Ok(Some(AdvanceOutcome::Missing)),
            // One that would have to be written has been changed meanwhile, or the storage has lost a write.
            Changed::No(Some(snapshot)) => Ok(told(request, plan, snapshot).ok()),
        }
    }
}

async fn compare_and_set<DB: Dialect>(
    request: &Advance,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
) -> Result<Option<AdvanceOutcome>, Failure> {
    let Some(snapshot) = read_one::<DB>(plan, connection, request.key.id).await? else {
        return Ok(Some(AdvanceOutcome::Missing));
    };
    let (verdict, mut snapshot) = match told(request, plan, snapshot) {
        Ok(outcome) => return Ok(Some(outcome)),
        Err(written) => written,
    };
    let version = snapshot.control.version;
    let mut values = advanced(request, plan, &mut snapshot);
    values.push(version.into());
    let statement = match &plan.guarded {
        Some(guarded) => {
            values.extend(plan.guard_values(&snapshot.session.user_id, request.now)?);
            &guarded.advance
        }
        None => &plan.advance_if,
    };
    if execute::<DB>(connection, statement, values).await? == 0 {
        return Ok(None);
    }
    Ok(Some(if verdict == Verdict::Ahead {
        AdvanceOutcome::Ahead(snapshot)
    } else {
        AdvanceOutcome::Advanced(snapshot)
    }))
}

/// The outcome for a session as it was read, or the session where it has to be written.
#[allow(clippy::result_large_err, reason = "both sides are a session; a box would cost every call an allocation")]
fn told(request: &Advance, plan: &Plan, snapshot: Snapshot) -> Result<AdvanceOutcome, (Verdict, Snapshot)> {
    match judge(&snapshot, request.presented, request.now, request.grace, plan.live) {
        verdict @ (Verdict::Advance | Verdict::Ahead) => Err((verdict, snapshot)),
        Verdict::Converge => Ok(AdvanceOutcome::Converge(snapshot)),
        Verdict::Behind => Ok(AdvanceOutcome::Behind(snapshot)),
        Verdict::BelowFloor => Ok(AdvanceOutcome::BelowFloor(snapshot)),
        Verdict::Ended(state) => Ok(AdvanceOutcome::Ended(state, snapshot)),
    }
}

/// Moves the session to the generation after the presented one: the values of [`Plan::advance`].
fn advanced(request: &Advance, plan: &Plan, snapshot: &mut Snapshot) -> Vec<Value> {
    let control = &mut snapshot.control;
    control.advance_to(request.presented.saturating_add(1), request.now);
    vec![
        control.generation.into(),
        plan.time(control.rotated_at),
        plan.time(control.previous_rotated_at),
        control.version.into(),
        plan.mapping.id.encode(request.key.id),
    ]
}
