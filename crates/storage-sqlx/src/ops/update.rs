//! The compare-and-set of a live session.

use async_trait::async_trait;
use session_manager_core::Snapshot;
use session_manager_core::storage::{Update, UpdateOutcome};

use super::quick::read_one;
use super::{Access, Operation, Quick, rows};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::{Channel, execute};

#[async_trait]
impl<DB: Dialect> Operation<DB> for Update {
    type Output = UpdateOutcome;
    const NAME: &'static str = "update";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<UpdateOutcome, Failure> {
        let snapshot = rows::locked_living::<DB>(plan, connection, self.key.id).await?;
        let changed = match changed(self, plan, snapshot) {
            Ok(changed) => changed,
            Err(outcome) => return Ok(outcome),
        };
        rows::replace::<DB>(plan, connection, &changed).await?;
        Ok(UpdateOutcome::Updated(changed))
    }

    fn keeps(&self, outcome: &UpdateOutcome) -> bool {
        matches!(outcome, UpdateOutcome::Updated(_))
    }
}

/// What was read is written back if nobody has changed it meanwhile; a touch counts as no change, and stays.
#[async_trait]
impl<DB: Dialect> Operation<DB> for Quick<'_, Update> {
    type Output = Option<UpdateOutcome>;
    const NAME: &'static str = "update";

    fn access(&self, _plan: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Self::Output, Failure> {
        let request = self.request;
        let Some(revise) = plan.revise.as_ref().filter(|_| self.judges) else { return Ok(None) };
        let snapshot = read_one::<DB>(plan, connection, request.key.id).await?;
        let changed = match changed(request, plan, snapshot) {
            Ok(changed) => changed,
            Err(outcome) => return Ok(Some(outcome)),
        };
        let mut values = plan.revised_values(&changed, request.expected_version)?;
        let statement = if let Some(guarded) = &plan.guarded {
            values.extend(plan.guard_values(&changed.session.user_id, request.now)?);
            &guarded.revise
        } else {
            if !DB::TOUCH_FINDS_FIRST {
                values.extend(plan.live_values(request.now));
            }
            revise
        };
        let written = execute::<DB>(connection, statement, values).await? > 0;
        Ok(written.then_some(UpdateOutcome::Updated(changed)))
    }
}

/// The session as it will be, or why it stays as it is.
#[allow(clippy::result_large_err, reason = "both sides are a session; a box would cost every call an allocation")]
fn changed(request: &Update, plan: &Plan, snapshot: Option<Snapshot>) -> Result<Snapshot, UpdateOutcome> {
    let snapshot = snapshot.ok_or(UpdateOutcome::Missing)?;
    let state = snapshot.state(request.now, plan.live);
    if !state.is_live() {
        return Err(UpdateOutcome::Ended(state, snapshot));
    }
    if snapshot.control.version != request.expected_version {
        return Err(UpdateOutcome::Conflict(snapshot));
    }
    Ok(Snapshot::new(request.patch.apply(&snapshot.record(), request.now), snapshot.epochs))
}
