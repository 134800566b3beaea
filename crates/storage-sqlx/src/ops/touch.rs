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
use crate::statement::{CHUNK, Channel, Statement, execute};
use crate::value::Value;

/// So many sessions are touched in one statement where there are no arrays: others wait for their rows until it ends.
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

    fn access(&self, _plan: &Plan) -> Access {
        if DB::TOUCH_FINDS_FIRST && self.batch.len() > 1 { Access::Writes } else { Access::Statement }
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<u64, Failure> {
        if let (Some(statement), true) = (&plan.touch_many, self.batch.len() > 1) {
            let values = self.arrays(plan).into_iter().chain(plan.live_values(self.now)).collect();
            return execute::<DB>(connection, statement, values).await;
        }
        let live = if DB::TOUCH_FINDS_FIRST { Some(self.live::<DB>(plan, connection).await?) } else { None };
        let is_live = |touch: &&Touch| live.as_ref().is_none_or(|live| live.contains(&touch.key.id));
        let batch: Vec<_> = self.batch.iter().filter(is_live).collect();
        match batch.as_slice() {
            [] => Ok(0),
            [touch] => {
                let mut values = vec![
                    plan.time(touch.last_activity),
                    plan.time(touch.idle_expires_at),
                    plan.mapping.id.encode(touch.key.id),
                    plan.time(touch.stale_before()),
                ];
                values.extend(plan.touch_values::<DB>(self.now));
                execute::<DB>(connection, &plan.touch, values).await
            }
            batch => self.together::<DB>(plan, batch).execute(connection).await,
        }
    }
}

impl Touches<'_> {
    /// Many sessions in one statement where there are no arrays: each column's value by the id.
    fn together<DB: Dialect>(&self, plan: &Plan, batch: &[&Touch]) -> Statement<DB> {
        let [last, idle, expires, id] =
            [Field::LastActivity, Field::IdleExpiresAt, Field::ExpiresAt, Field::Id].map(|field| plan.name(field));
        let by_id = |mut statement: Statement<DB>, time: fn(&Touch) -> DateTime<Utc>| {
            statement = statement.push(&format!("CASE s.{id}"));
            // As many as the list of ids has, so that few different texts are prepared.
            let last = batch.last().copied();
            let padding = batch.len().next_power_of_two() - batch.len();
            for touch in batch.iter().copied().chain(last.into_iter().cycle().take(padding)) {
                statement = statement.push(" WHEN ").bind(plan.mapping.id.encode(touch.key.id));
                statement = statement.push(" THEN ").bind(plan.time(time(touch)));
            }
            statement.push(" END")
        };
        let statement =
            Statement::<DB>::new(&format!("UPDATE {} AS s{} SET {last} = ", plan.table, DB::BY_PRIMARY_KEY));
        let statement = by_id(statement, |touch| touch.last_activity);
        let bounded = format!(", {idle} = {}(s.{idle}, {}(s.{expires}, ", DB::GREATEST, DB::LEAST);
        let statement = by_id(statement.push(&bounded), |touch| touch.idle_expires_at);
        let ids = batch.iter().map(|touch| plan.mapping.id.encode(touch.key.id)).collect();
        let statement = statement.push(&format!(")) WHERE s.{id}")).one_of(ids).push(&format!(" AND s.{last} < "));
        let statement = by_id(statement, Touch::stale_before);
        let values = plan.touch_values::<DB>(self.now);
        statement.condition(&plan.and_lives, values)
    }

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
