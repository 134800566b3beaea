//! Adding a session under the limit of its user's live sessions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::storage::{EndedSession, Insert, InsertOutcome};
use session_manager_core::{Actor, Epochs, Revocation, RevocationReason, Snapshot, UserId};

use super::quick::{change_many, changed_row, read_one};
use super::revoke::ending;
use super::{Operation, Quick, epochs, rows};
use crate::dialect::Dialect;
use crate::epoch_plan::Whose;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::statement::{Channel, Statement, execute, fetch};
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
        let snapshot = stamped(self, epochs);
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

/// The first to go of the user's live sessions, so many of them.
async fn going<DB: Dialect>(
    insert: &Insert,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    excess: u32,
    suffix: &str,
) -> Result<Vec<Snapshot>, Failure> {
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
    let rows = statement.push(suffix).fetch(connection).await?;
    rows.into_iter().map(|row| plan.snapshot(row)).collect()
}

/// Ends so many of the user's live sessions, the first to go first.
async fn evict<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    insert: &Insert,
    excess: u32,
) -> Result<Vec<EndedSession>, Failure> {
    let fresh = connection.fresh();
    let found = going::<DB>(insert, plan, connection, excess, fresh).await?;
    let order: Vec<_> = found.iter().map(|snapshot| snapshot.session.id).collect();
    let mut sessions = rows::still_held::<DB>(plan, connection, found).await?;
    // One that ended in the meantime has made its room already.
    sessions.retain(|snapshot| snapshot.state(insert.now, plan.live).is_live());
    sessions.sort_by_key(|snapshot| order.iter().position(|id| *id == snapshot.session.id));
    let revocation = Revocation::new(insert.now, RevocationReason::EVICTED, Actor::System);
    rows::end::<DB>(plan, connection, sessions, &revocation).await
}

/// Behind the lock of the user, one statement that looks, adds and evicts, where the database can. `None`: the id is taken, the storage's
/// table has a unique key of its own, or somebody has ended a session that was to make room.
#[async_trait]
impl<DB: Dialect> Operation<DB> for Quick<'_, Insert> {
    type Output = Option<InsertOutcome>;
    const NAME: &'static str = "insert";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Self::Output, Failure> {
        let request = self.request;
        if plan.quick.is_some() {
            let epochs = entered::<DB>(request, plan, connection).await?;
            return at_once::<DB>(request, plan, connection, epochs).await;
        }
        if plan.epochs.is_none() {
            return Ok(None);
        }
        match counted::<DB>(request, plan, connection).await {
            Err(Failure::Duplicate) => Ok(None),
            outcome => outcome,
        }
    }

    fn keeps(&self, outcome: &Self::Output) -> bool {
        matches!(outcome, Some(InsertOutcome::Inserted { .. }))
    }
}

/// Takes the user's lock and reads both epochs with it.
async fn entered<DB: Dialect>(
    request: &Insert,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
) -> Result<Epochs, Failure> {
    let user = &request.record.session.user_id;
    let Some(statements) = &plan.epochs else {
        epochs::lock_without_epochs::<DB>(plan, connection, user).await?;
        return Ok(Epochs::default());
    };
    let values = plan.begin_values(Whose::User(user), request.incarnations.user)?;
    let entered = epochs::returned::<DB>(plan, connection, &statements.user.enter_returning, values).await?;
    let entered = entered.ok_or_else(epochs::unknown_user)?;
    if entered.global.is_some() {
        return Ok(Epochs::new(Some(entered.epoch), entered.global));
    }
    epochs::create::<DB>(plan, connection, Whose::Everybody, request.incarnations.global).await?;
    epochs::read::<DB>(plan, connection, Whose::User(user)).await
}

async fn at_once<DB: Dialect>(
    request: &Insert,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    epochs: Epochs,
) -> Result<Option<InsertOutcome>, Failure> {
    let Some(quick) = &plan.quick else { return Ok(None) };
    let limit = request.limit;
    let snapshot = stamped(request, epochs);
    let revocation = Revocation::new(request.now, RevocationReason::EVICTED, Actor::System);
    let by_idleness = usize::from(limit.evicts_idlest());
    let mut values = plan.values(&snapshot)?;
    values.extend([Value::Int(i64::from(limit.max)), Value::Bool(limit.rejects())]);
    values.extend(plan.live_values(request.now));
    let Some(add) = quick.insert.add.get(by_idleness) else { return Ok(None) };
    let mut evicted = Vec::new();
    if let Some(evict) = &quick.insert.evict {
        if execute::<DB>(connection, add, values).await? == 0 {
            return Ok(None);
        }
        if let (false, Some(evict)) = (limit.rejects(), evict.get(by_idleness)) {
            let session = &snapshot.session;
            let mut values = ending(plan, &revocation);
            values.extend([plan.user(&session.user_id)?, plan.mapping.id.encode(session.id)]);
            values.push(Value::Int(i64::from(limit.max) - 1));
            values.extend(plan.live_values(request.now));
            evicted = change_many::<DB>(plan, connection, evict, values).await?;
        }
    } else {
        values.extend(ending(plan, &revocation));
        let (mut added, mut live) = (0, 0);
        for mut row in fetch::<DB>(connection, add, values).await? {
            let mut count = || row.next().ok_or(Failure::Driver("a row is too short"))?.int("count");
            (added, live) = (count()?, count()?);
            // A row of nothing tells that none was evicted.
            if !row.as_slice().first().is_none_or(|flag| matches!(flag, Value::Null(_))) {
                evicted.push(changed_row(plan, row)?);
            }
        }
        if added == 0 {
            // Whether it is this very insert repeated comes before the limit.
            return Ok(match read_one::<DB>(plan, connection, snapshot.session.id).await? {
                Some(stored) if same_insert(&stored, request) => {
                    Some(InsertOutcome::Inserted { snapshot: stored, evicted: Vec::new() })
                }
                Some(_) => Some(InsertOutcome::DuplicateId),
                None if limit.rejects() && live >= i64::from(limit.max) => {
                    Some(InsertOutcome::LimitReached { live: u32::try_from(live).unwrap_or(u32::MAX) })
                }
                None => None,
            });
        }
    }
    evicted.sort_by_key(|snapshot| {
        let idlest = limit.evicts_idlest().then_some(snapshot.control.last_activity);
        (idlest, snapshot.session.created_at, snapshot.session.id)
    });
    Ok(Some(InsertOutcome::Inserted { snapshot, evicted: rows::ended(evicted, &revocation) }))
}

/// The new session, which belongs to these epochs.
fn stamped(request: &Insert, epochs: Epochs) -> Snapshot {
    let mut record = request.record.clone();
    record.control.stamped = epochs.stamp();
    Snapshot::new(record, epochs)
}

/// Where nothing is returned: count behind the lock, make room, add.
async fn counted<DB: Dialect>(
    request: &Insert,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
) -> Result<Option<InsertOutcome>, Failure> {
    let (user, limit) = (&request.record.session.user_id, request.limit);
    epochs::enter::<DB>(plan, connection, Whose::User(user), request.incarnations.user).await?;
    let (mut epochs, live) = epochs::room::<DB>(plan, connection, user, request.now).await?;
    if epochs.global.is_none() {
        epochs::create::<DB>(plan, connection, Whose::Everybody, request.incarnations.global).await?;
        epochs = epochs::read::<DB>(plan, connection, Whose::User(user)).await?;
    }
    let excess = live.saturating_add(1).saturating_sub(limit.max);
    if excess > 0 && limit.rejects() {
        return Ok(None);
    }
    let revocation = Revocation::new(request.now, RevocationReason::EVICTED, Actor::System);
    let going = going::<DB>(request, plan, connection, excess, "").await?;
    if !rows::end_all::<DB>(plan, connection, &going, &revocation).await? {
        return Ok(None);
    }
    let snapshot = stamped(request, epochs);
    execute::<DB>(connection, &plan.insert, plan.values(&snapshot)?).await?;
    Ok(Some(InsertOutcome::Inserted { snapshot, evicted: rows::ended(going, &revocation) }))
}
