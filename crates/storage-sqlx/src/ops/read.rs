//! Reading sessions with both their epochs.

use std::collections::HashMap;

use async_trait::async_trait;
use session_manager_core::{SessionKey, Snapshot};

use super::{Access, Operation};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::statement::{CHUNK, Channel, Statement, fetch};

/// Reads sessions, in the order of the keys.
pub(crate) struct Read<'a> {
    pub(crate) keys: &'a [SessionKey],
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for Read<'_> {
    type Output = Vec<Option<Snapshot>>;
    const NAME: &'static str = "read";

    fn access(&self, _plan: &Plan) -> Access {
        if self.keys.len() <= CHUNK { Access::Statement } else { Access::Reads }
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Self::Output, Failure> {
        if let [key] = self.keys {
            let rows = fetch::<DB>(connection, &plan.read_one, vec![plan.mapping.id.encode(key.id)]).await?;
            return Ok(vec![rows.into_iter().next().map(|row| plan.snapshot(row)).transpose()?]);
        }
        let mut found = HashMap::with_capacity(self.keys.len());
        for chunk in self.keys.chunks(CHUNK) {
            let ids = chunk.iter().map(|key| plan.mapping.id.encode(key.id)).collect();
            let statement = Statement::<DB>::new(&plan.select).push(" WHERE s.").push(plan.name(Field::Id)).one_of(ids);
            for row in statement.fetch(connection).await? {
                let snapshot = plan.snapshot(row)?;
                found.insert(snapshot.session.id, snapshot);
            }
        }
        Ok(self.keys.iter().map(|key| found.get(&key.id).cloned()).collect())
    }
}
