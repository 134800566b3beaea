//! Adding a session under the limit of its user's live sessions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::storage::{EndedSession, Insert, InsertOutcome};
use session_manager_core::{Actor, Revocation, RevocationReason, Snapshot, UserId};

use super::{Operation, epochs, rows};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::statement::{Channel, Statement, execute};
use crate::value::Value;

#[async_trait]
impl<DB: Dialect> Operation<DB> for Insert {
    type Output = InsertOutcome;
    const NAME: &'static str = "insert";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<InsertOutcome, Failure> {
        let session = &self.record.session;
        let epochs = epochs::lock_or_create::<DB>(plan, connection, &session.user_id, self.incarnations).await?;
        if let Some(snapshot) = rows::locked::<DB>(plan, connection, session.id).await? {
            if same_insert(&snapshot, self) {
                return Ok(InsertOutcome::Inserted { snapshot, evicted: Vec::new() });
            }
            return Ok(InsertOutcome::DuplicateId);
        }
        let live = count_live::<DB>(plan, connection, &session.user_id, self.now).await?;
        if live >= self.limit.max && self.limit.rejects() {
            return Ok(InsertOutcome::LimitReached { live });
        }
        let excess = live.saturating_add(1).saturating_sub(self.limit.max);
        let evicted = evict::<DB>(plan, connection, self, excess).await?;
        let mut record = self.record.clone();
        record.control.stamped = epochs.stamp();
        let snapshot = Snapshot::new(record, epochs);
        execute::<DB>(connection, &plan.insert, plan.values(&snapshot)?).await?;
        Ok(InsertOutcome::Inserted { snapshot, evicted })
    }

    fn keeps(&self, outcome: &InsertOutcome) -> bool {
        matches!(outcome, InsertOutcome::Inserted { .. })
    }
}

/// Whether the stored session was made by this very insert.
fn same_insert(stored: &Snapshot, insert: &Insert) -> bool {
    stored.control.seed == insert.record.control.seed && stored.session.user_id == insert.record.session.user_id
}

async fn count_live<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    now: DateTime<Utc>,
) -> Result<u32, Failure> {
    let statement = Statement::<DB>::new("SELECT COUNT(*)")
        .push(&plan.from)
        .push(&format!(" WHERE s.{} = ", plan.name(Field::UserId)));
    let statement = statement.bind(plan.user(user)?).push(" AND ").condition(&plan.is_live, plan.live_values(now));
    let count =
        statement.push(connection.fresh()).fetch(connection).await?.into_iter().next().and_then(|mut row| row.next());
    let count = count.ok_or(Failure::Driver("a count has no row"))?.int("count")?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Ends so many of the user's live sessions, the first to go first.
async fn evict<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    insert: &Insert,
    excess: u32,
) -> Result<Vec<EndedSession>, Failure> {
    if excess == 0 {
        return Ok(Vec::new());
    }
    let [user, last, created, id] =
        [Field::UserId, Field::LastActivity, Field::CreatedAt, Field::Id].map(|field| plan.name(field));
    let idlest = if insert.limit.evicts_idlest() { format!("s.{last}, ") } else { String::new() };
    let statement = Statement::<DB>::new(&plan.select)
        .push(&format!(" WHERE s.{user} = "))
        .bind(plan.user(&insert.record.session.user_id)?);
    let statement = statement.push(" AND ").condition(&plan.is_live, plan.live_values(insert.now));
    let statement =
        statement.push(&format!(" ORDER BY {idlest}s.{created}, s.{id} LIMIT ")).bind(Value::Int(i64::from(excess)));
    let rows = statement.push(connection.fresh()).fetch(connection).await?;
    let found = rows.into_iter().map(|row| plan.snapshot(row)).collect::<Result<Vec<_>, _>>()?;
    let order: Vec<_> = found.iter().map(|snapshot| snapshot.session.id).collect();
    let mut sessions = rows::still_held::<DB>(plan, connection, found).await?;
    // One that ended in the meantime has made its room already.
    sessions.retain(|snapshot| snapshot.state(insert.now, plan.live).is_live());
    sessions.sort_by_key(|snapshot| order.iter().position(|id| *id == snapshot.session.id));
    let revocation = Revocation::new(insert.now, RevocationReason::EVICTED, Actor::System);
    rows::end::<DB>(plan, connection, sessions, &revocation).await
}
