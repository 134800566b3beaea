//! Moving last activity forward.

use std::cmp::Reverse;
use std::collections::HashSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::storage::Touch;

use super::{Access, Operation, rows};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::statement::{CHUNK, Channel, execute};
use crate::value::Value;

/// So many sessions are touched in one transaction where each takes a statement: others wait for their rows until it ends.
pub(crate) const TOUCHED: usize = 100;

/// Moves sessions forward by conditional updates, and says how many it moved.
pub(crate) struct Touches<'a> {
    /// As [`latest`] leaves it.
    pub(crate) batch: &'a [Touch],
    pub(crate) now: DateTime<Utc>,
}

/// The touches that count, in the order of the ids, in which rows are always locked: a session that is named several times counts once, with
/// its latest activity.
pub(crate) fn latest(batch: &[Touch]) -> Vec<Touch> {
    let mut latest = batch.to_vec();
    latest.sort_by_key(|touch| (touch.key.id, Reverse(touch.last_activity)));
    latest.dedup_by_key(|touch| touch.key.id);
    latest
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Touches<'_> {
    type Output = u64;
    const NAME: &'static str = "touch";

    fn access(&self, plan: &Plan) -> Access {
        if self.batch.len() <= 1 || plan.touch_many.is_some() { Access::Statement } else { Access::Writes }
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<u64, Failure> {
        if let (Some(statement), true) = (&plan.touch_many, self.batch.len() > 1) {
            let values = self.arrays(plan).into_iter().chain(plan.live_values(self.now)).collect();
            return execute::<DB>(connection, statement, values).await;
        }
        let live = if DB::TOUCH_FINDS_FIRST { Some(self.live::<DB>(plan, connection).await?) } else { None };
        let mut touched = 0_u64;
        for touch in self.batch {
            if live.as_ref().is_some_and(|live| !live.contains(&touch.key.id)) {
                continue;
            }
            let mut values = vec![
                plan.time(touch.last_activity),
                plan.time(touch.idle_expires_at),
                plan.mapping.id.encode(touch.key.id),
                plan.time(touch.stale_before()),
            ];
            values.extend(plan.touch_values::<DB>(self.now));
            touched += execute::<DB>(connection, &plan.touch, values).await?;
        }
        Ok(touched)
    }
}

impl Touches<'_> {
    /// The parameters of [`Plan::touch_many`] that come first.
    fn arrays(&self, plan: &Plan) -> [Value; 4] {
        let times = |time: fn(&Touch) -> DateTime<Utc>| {
            Value::Many(plan.mapping.times.kind(), self.batch.iter().map(|touch| plan.time(time(touch))).collect())
        };
        let ids = self.batch.iter().map(|touch| plan.mapping.id.encode(touch.key.id)).collect();
        let ids = Value::Many(plan.mapping.id.kind(), ids);
        [ids, times(|touch| touch.last_activity), times(|touch| touch.idle_expires_at), times(Touch::stale_before)]
    }

    /// Which of them live. A rotation in between makes a touch reach a session that is dead by its epoch, which revives nothing.
    async fn live<DB: Dialect>(
        &self,
        plan: &Plan,
        connection: &mut Channel<'_, DB>,
    ) -> Result<HashSet<session_manager_core::SessionId>, Failure> {
        let mut live = HashSet::new();
        for chunk in self.batch.chunks(CHUNK) {
            let ids: Vec<_> = chunk.iter().map(|touch| touch.key.id).collect();
            let select = format!("SELECT s.{}{}", plan.name(Field::Id), plan.from);
            let statement = rows::by_ids::<DB>(plan, &select, &ids).push(" AND ");
            let statement = statement.condition(&plan.is_live, plan.live_values(self.now)).push(connection.fresh());
            for mut row in statement.fetch(connection).await? {
                let id = row.next().ok_or(Failure::Driver("a row is too short"))?;
                live.insert(plan.mapping.id.decode(id, "id")?);
            }
        }
        Ok(live)
    }
}
