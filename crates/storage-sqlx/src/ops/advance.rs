//! The step of a refresh.

use async_trait::async_trait;
use session_manager_core::Snapshot;
use session_manager_core::refresh::{Verdict, judge};
use session_manager_core::storage::{Advance, AdvanceOutcome};

use super::{Access, Operation, rows};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::{Channel, execute, fetch};

#[async_trait]
impl<DB: Dialect> Operation<DB> for Advance {
    type Output = AdvanceOutcome;
    const NAME: &'static str = "advance";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<AdvanceOutcome, Failure> {
        let Some(snapshot) = rows::locked::<DB>(plan, connection, self.key.id).await? else {
            return Ok(AdvanceOutcome::Missing);
        };
        Ok(match judge(&snapshot, self.presented, self.now, self.grace, plan.live) {
            Verdict::Advance => AdvanceOutcome::Advanced(advance::<DB>(self, plan, connection, snapshot).await?),
            Verdict::Ahead => AdvanceOutcome::Ahead(advance::<DB>(self, plan, connection, snapshot).await?),
            Verdict::Converge => AdvanceOutcome::Converge(snapshot),
            Verdict::Behind => AdvanceOutcome::Behind(snapshot),
            Verdict::BelowFloor => AdvanceOutcome::BelowFloor(snapshot),
            Verdict::Ended(state) => AdvanceOutcome::Ended(state, snapshot),
        })
    }

    fn keeps(&self, outcome: &AdvanceOutcome) -> bool {
        matches!(outcome, AdvanceOutcome::Advanced(_) | AdvanceOutcome::Ahead(_))
    }
}

/// The usual refresh, of the current generation, in one statement. `None`: it is not that, and [`Advance`] itself tells what it is.
///
/// SQL tests what `judge` tests for [`Verdict::Advance`].
pub(crate) struct AtOnce<'a>(pub(crate) &'a Advance);

#[async_trait]
impl<DB: Dialect> Operation<DB> for AtOnce<'_> {
    type Output = Option<AdvanceOutcome>;
    const NAME: &'static str = "advance";

    fn access(&self, _plan: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Self::Output, Failure> {
        let request = self.0;
        let (Some(statement), Some(next)) = (&plan.advance_at_once, request.presented.checked_add(1)) else {
            return Ok(None);
        };
        let id = plan.mapping.id.encode(request.key.id);
        let mut values = vec![next.into(), plan.time(request.now), id, request.presented.into()];
        values.extend(plan.live_values(request.now));
        let row = fetch::<DB>(connection, statement, values).await?.into_iter().next();
        row.map(|row| plan.snapshot(row).map(AdvanceOutcome::Advanced)).transpose()
    }
}

/// Moves the session to the generation after the presented one.
async fn advance<DB: Dialect>(
    request: &Advance,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    mut snapshot: Snapshot,
) -> Result<Snapshot, Failure> {
    let control = &mut snapshot.control;
    control.advance_to(request.presented.saturating_add(1), request.now);
    let values = vec![
        control.generation.into(),
        plan.time(control.rotated_at),
        plan.time(control.previous_rotated_at),
        control.version.into(),
        plan.mapping.id.encode(request.key.id),
    ];
    execute::<DB>(connection, &plan.advance, values).await?;
    Ok(snapshot)
}
