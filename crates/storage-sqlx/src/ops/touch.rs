//! Moving last activity forward.

use std::cmp::Reverse;
use std::collections::HashSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::storage::{Touch, TouchReport};

use super::{Access, Operation, rows};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::statement::{CHUNK, Channel, execute};

/// Moves sessions forward, each by one conditional update.
pub(crate) struct Touches<'a> {
    pub(crate) batch: &'a [Touch],
    pub(crate) now: DateTime<Utc>,
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Touches<'_> {
    type Output = TouchReport;
    const NAME: &'static str = "touch";

    fn access(&self, _plan: &Plan) -> Access {
        if self.batch.len() <= 1 { Access::Statement } else { Access::Writes }
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<TouchReport, Failure> {
        let mut batch: Vec<_> = self.batch.iter().collect();
        // Rows are always locked in the order of their ids; a session that is named twice counts once, with its latest activity.
        batch.sort_by_key(|touch| (touch.key.id, Reverse(touch.last_activity)));
        batch.dedup_by_key(|touch| touch.key.id);
        // What a later activity of the same batch has overtaken was as far already.
        let all = u64::try_from(self.batch.len()).unwrap_or(u64::MAX);
        if DB::TOUCH_FINDS_FIRST {
            // A rotation in between makes it touch a session that is dead by its epoch, which revives nothing.
            let mut live = HashSet::new();
            for chunk in batch.chunks(CHUNK) {
                let ids: Vec<_> = chunk.iter().map(|touch| touch.key.id).collect();
                let select = format!("SELECT s.{}{}", plan.name(Field::Id), plan.from);
                let statement = rows::by_ids::<DB>(plan, &select, &ids).push(" AND ");
                let statement = statement.condition(&plan.is_live, plan.live_values(self.now)).push(connection.fresh());
                for mut row in statement.fetch(connection).await? {
                    let id = row.next().ok_or(Failure::Driver("a row is too short"))?;
                    live.insert(plan.mapping.id.decode(id, "id")?);
                }
            }
            batch.retain(|touch| live.contains(&touch.key.id));
        }
        let mut touched = 0_u64;
        for touch in batch {
            let mut values = vec![
                plan.time(touch.last_activity),
                plan.time(touch.idle_expires_at),
                plan.mapping.id.encode(touch.key.id),
                plan.time(touch.stale_before()),
            ];
            values.extend(plan.touch_values::<DB>(self.now));
            touched += execute::<DB>(connection, &plan.touch, values).await?;
        }
        Ok(TouchReport::new(touched, all.saturating_sub(touched)))
    }
}
