//! The step that adds events.

use std::collections::BTreeSet;

use async_trait::async_trait;
use session_manager_core::AuditEvent;
use uuid::Uuid;

use crate::chain::Link;
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::marks::{self, HEAD};
use crate::plan::Plan;
use crate::record::Record;
use crate::statement::{Channel, Statement};
use crate::step::{Access, Step};
use crate::value::{Kind, Value};

/// The most rows of one statement: twenty columns each stay below every database's limit of parameters.
const ROWS: usize = 128;

/// Adds events, those that are not there already.
#[derive(Debug)]
pub(crate) struct Append<'a>(pub(crate) &'a [AuditEvent]);

#[async_trait]
impl<DB: Dialect> Step<DB> for Append<'_> {
    type Output = ();

    fn access(&self, plan: &Plan) -> Access {
        if plan.chain.is_none() && chunks(self.0.len()).len() == 1 { Access::Statement } else { Access::Writes }
    }

    async fn run(&self, plan: &Plan, channel: &mut Channel<'_, DB>) -> Result<(), Failure> {
        let records = self.0.iter().map(|event| Record::of(event, plan));
        if plan.chain.is_some() {
            return chained(plan, channel, records.collect()).await;
        }
        let rows = records.map(|record| record.values(plan)).collect::<Result<Vec<_>, _>>()?;
        insert(plan, channel, rows, &DB::on_conflict_keep(plan.column(Field::Id))).await
    }
}

/// Adds to the chain: its head is locked first, so that writers follow each other.
async fn chained<DB: Dialect>(
    plan: &Plan,
    channel: &mut Channel<'_, DB>,
    mut records: Vec<Record>,
) -> Result<(), Failure> {
    let mut head = marks::lock(plan, channel, HEAD).await?;
    let mut known = known(plan, channel, &records).await?;
    // An event that comes twice in one batch is also recorded once.
    records.retain(|record| known.insert(record.id));
    if records.is_empty() {
        return Ok(());
    }
    let (chain, _) = marks::parts(plan)?;
    let mut rows = Vec::with_capacity(records.len());
    for record in &records {
        let (link, next) = chain.link(&head, record)?;
        head = next;
        let mut row = record.values(plan)?;
        row.extend(link_values(link));
        rows.push(row);
    }
    insert(plan, channel, rows, "").await?;
    marks::set(plan, channel, HEAD, head).await
}

/// In the order of [`Field::CHAIN`].
fn link_values(link: Link) -> impl Iterator<Item = Value> {
    let salts = link.salts.into_iter().map(|salt| salt.map_or(Value::Null(Kind::Bytes), Value::Bytes));
    [marks::number(link.seq), Value::Bytes(link.mac), Value::Bytes(link.commitments)].into_iter().chain(salts)
}

/// Those of the events that are there already.
async fn known<DB: Dialect>(
    plan: &Plan,
    channel: &mut Channel<'_, DB>,
    records: &[Record],
) -> Result<BTreeSet<Uuid>, Failure> {
    let id = plan.column(Field::Id);
    let ids = plan.mapping.ids;
    let mut known = BTreeSet::new();
    for several in records.chunks(ROWS) {
        let values = several.iter().map(|record| ids.encode(record.id)).collect();
        // With a lock, or an application's transaction at REPEATABLE READ would not see what another writer has committed.
        let select = Statement::<DB>::new(format!("SELECT {id} FROM {} WHERE {id}", plan.table)).one_of(values);
        for mut row in select.push(DB::ROW_LOCK).fetch(channel).await? {
            let value = row.next().ok_or_else(|| Failure::decode(id, "an id"))?;
            known.insert(ids.decode(value, id)?);
        }
    }
    Ok(known)
}

async fn insert<DB: Dialect>(
    plan: &Plan,
    channel: &mut Channel<'_, DB>,
    rows: Vec<Vec<Value>>,
    on_conflict: &str,
) -> Result<(), Failure> {
    let columns = if plan.chain.is_some() { plan.all_columns() } else { plan.event_columns() };
    let mut rows = rows.into_iter();
    for size in chunks(rows.len()) {
        let insert = Statement::<DB>::new(format!("INSERT INTO {} ({columns}) VALUES ", plan.table));
        insert.rows(rows.by_ref().take(size)).push(on_conflict).execute(channel).await?;
    }
    Ok(())
}

/// How many rows each statement takes: powers of two, so that few different texts are prepared.
fn chunks(mut rows: usize) -> Vec<usize> {
    let mut sizes = vec![ROWS; rows / ROWS];
    rows %= ROWS;
    let powers = (0..usize::BITS).rev().map(|bit| 1_usize << bit);
    sizes.extend(powers.filter(|size| rows & size != 0));
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_take_powers_of_two() {
        assert_eq!(chunks(0), Vec::<usize>::new());
        assert_eq!(chunks(1), [1]);
        assert_eq!(chunks(128), [128]);
        assert_eq!(chunks(299), [128, 128, 32, 8, 2, 1]);
    }
}
