//! The end of an event's retention: old rows are removed in batches.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::marks::{self, PURGED};
use crate::plan::Plan;
use crate::statement::{Channel, Statement};
use crate::step::Step;
use crate::walk::Read;

/// What one batch of a clean-up has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Purged {
    /// How many rows it has removed.
    pub removed: u64,
    /// Whether no more are due.
    pub complete: bool,
}

/// Removes some rows that are older than `before`.
pub(crate) struct Purge {
    pub(crate) before: DateTime<Utc>,
    pub(crate) limit: u32,
}

#[async_trait]
impl<DB: Dialect> Step<DB> for Purge {
    type Output = Purged;

    async fn run(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<Purged, Failure> {
        if plan.chain.is_some() { self.chained(plan, channel).await } else { self.plain(plan, channel).await }
    }
}

impl Purge {
    async fn plain<DB: Dialect>(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<Purged, Failure> {
        let (table, id, at) = (&plan.table, plan.column(Field::Id), plan.column(Field::At));
        let select = Statement::<DB>::new(format!("SELECT {id} FROM {table} WHERE {at} < "));
        let select = select.bind(plan.mapping.times.encode(self.before));
        let rows = select.push(&format!(" ORDER BY {at}, {id} LIMIT {}", self.limit)).fetch(channel).await?;
        let found = rows.len();
        let mut ids = Vec::with_capacity(found);
        for mut row in rows {
            let value = row.next().ok_or_else(|| Failure::decode(id, "an id"))?;
            ids.push(plan.mapping.ids.decode(value, id)?);
        }
        // In one order, so that two nodes that clean up at once wait for each other and do not deadlock.
        ids.sort_unstable();
        let mut removed = 0_u64;
        for several in ids.chunks(128) {
            let values = several.iter().map(|id| plan.mapping.ids.encode(*id)).collect();
            let delete = Statement::<DB>::new(format!("DELETE FROM {table} WHERE {id}")).one_of(values);
            removed = removed.saturating_add(delete.execute(channel).await?);
        }
        Ok(Purged { removed, complete: found < usize::try_from(self.limit).unwrap_or(usize::MAX) })
    }

    /// Removes from the beginning of the chain, and leaves a signed checkpoint. What was tampered with is not removed: it would be evidence.
    async fn chained<DB: Dialect>(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<Purged, Failure> {
        let start = marks::lock(plan, channel, PURGED).await?;
        let stretch = Read { after: start.seq, limit: self.limit }.run(plan, channel).await?;
        let mut end = start;
        for row in stretch.rows.iter().take_while(|(record, _)| record.at < self.before) {
            match stretch.check(plan, &end, row)? {
                Ok(head) => end = head,
                Err(broken) => {
                    return Err(Failure::Chain(format!("row {} does not hold; nothing is removed", broken.seq)));
                }
            }
        }
        let removed = end.seq.saturating_sub(start.seq);
        if removed > 0 {
            let (table, seq) = (&plan.table, plan.column(Field::Seq));
            let delete = Statement::<DB>::new(format!("DELETE FROM {table} WHERE {seq} <= "));
            delete.bind(marks::number(end.seq)).execute(channel).await?;
            marks::forget(plan, channel, end.seq).await?;
            marks::set(plan, channel, PURGED, end).await?;
        }
        Ok(Purged { removed, complete: removed < u64::from(self.limit) })
    }
}
