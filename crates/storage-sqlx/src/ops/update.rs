//! The compare-and-set of a live session.

use async_trait::async_trait;
use session_manager_core::Snapshot;
use session_manager_core::storage::{Update, UpdateOutcome};

use super::{Operation, rows};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::Channel;

#[async_trait]
impl<DB: Dialect> Operation<DB> for Update {
    type Output = UpdateOutcome;
    const NAME: &'static str = "update";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<UpdateOutcome, Failure> {
        let Some(snapshot) = rows::locked::<DB>(plan, connection, self.key.id).await? else {
            return Ok(UpdateOutcome::Missing);
        };
        let state = snapshot.state(self.now, plan.live);
        if !state.is_live() {
            return Ok(UpdateOutcome::Ended(state, snapshot));
        }
        if snapshot.control.version != self.expected_version {
            return Ok(UpdateOutcome::Conflict(snapshot));
        }
        let changed = Snapshot::new(self.patch.apply(&snapshot.record(), self.now), snapshot.epochs);
        rows::replace::<DB>(plan, connection, &changed).await?;
        Ok(UpdateOutcome::Updated(changed))
    }

    fn keeps(&self, outcome: &UpdateOutcome) -> bool {
        matches!(outcome, UpdateOutcome::Updated(_))
    }
}
