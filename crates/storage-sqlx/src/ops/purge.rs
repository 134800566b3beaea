//! Removing sessions for good, in bounded batches.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::clock::before;
use session_manager_core::storage::{EndedSession, Purge, PurgeScope, Purged};
use session_manager_core::{Error, ErrorKind, SessionId, Snapshot, UserId};

use super::quick::{change_many, changed_row};
use super::{Access, Operation, Quick, epochs, rows};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::side_tables::Garbage;
use crate::statement::{CHUNK, Channel, Statement, execute, fetch};
use crate::value::{Row, Value};

/// So many remembered values and announcements are forgotten in a step, even where fewer sessions are removed.
const FORGOTTEN: u32 = 256;

/// So many times more sessions are looked at than removed where several may clean up at once, so that each finds some that nobody else holds.
const REACH: u32 = 4;

#[async_trait]
impl<DB: Dialect> Operation<DB> for Purge {
    type Output = Purged;
    const NAME: &'static str = "purge";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Purged, Failure> {
        let (sessions, more) = match &self.scope {
            PurgeScope::EndedBefore(time) => {
                forget::<DB>(self, plan, connection).await?;
                ended::<DB>(self, plan, connection, *time).await?
            }
            PurgeScope::One(key) => (rows::locked::<DB>(plan, connection, key.id).await?.into_iter().collect(), false),
            PurgeScope::User(user) => of_user::<DB>(self, plan, connection, user).await?,
            _ => {
                return Err(Error::new(ErrorKind::Unsupported, "purge")
                    .because("this storage does not know the scope")
                    .into());
            }
        };
        rows::remove::<DB>(plan, connection, &sessions).await?;
        Ok(Purged::new(removed(self, plan, sessions), more))
    }
}

fn removed(request: &Purge, plan: &Plan, sessions: Vec<Snapshot>) -> Vec<EndedSession> {
    let ended = |snapshot: Snapshot| {
        let state = snapshot.state(request.now, plan.live);
        EndedSession::new(snapshot.session, state, snapshot.control.revocation)
    };
    sessions.into_iter().map(ended).collect()
}

/// One statement for the sessions of a clean-up, or for one session, where the database returns what it removes.
#[async_trait]
impl<DB: Dialect> Operation<DB> for Quick<'_, Purge> {
    type Output = Option<Purged>;
    const NAME: &'static str = "purge";

    fn access(&self, plan: &Plan) -> Access {
        let forgets = plan.once.is_some() || plan.feed.is_some();
        let more = forgets && matches!(self.request.scope, PurgeScope::EndedBefore(_));
        if more { Access::Writes } else { Access::Statement }
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Self::Output, Failure> {
        let (Some(quick), request) = (&plan.quick, self.request) else { return Ok(None) };
        match (&request.scope, &quick.clean) {
            (PurgeScope::One(key), _) => {
                let values = vec![plan.mapping.id.encode(key.id)];
                let gone = change_many::<DB>(plan, connection, &quick.remove, values).await?;
                Ok(Some(Purged::new(removed(request, plan, gone), false)))
            }
            (PurgeScope::EndedBefore(time), Some(clean)) => {
                forget::<DB>(request, plan, connection).await?;
                let looked_at = i64::from(request.limit.saturating_mul(REACH)).saturating_add(1);
                let limits = [looked_at, i64::from(request.limit)].map(Value::Int);
                let values = [plan.bound(*time)].into_iter().chain(limits).collect();
                let (mut candidates, mut gone) = (0, Vec::new());
                for mut row in fetch::<DB>(connection, clean, values).await? {
                    candidates = row.next().ok_or(Failure::Driver("a row is too short"))?.int("count")?;
                    // A row of nothing tells that none was removed.
                    if !row.as_slice().first().is_none_or(|flag| matches!(flag, Value::Null(_))) {
                        gone.push(changed_row(plan, row)?);
                    }
                }
                gone.sort_unstable_by_key(|snapshot| snapshot.session.id);
                let more = more(usize::try_from(candidates).unwrap_or(usize::MAX), gone.len(), request.limit);
                Ok(Some(Purged::new(removed(request, plan, gone), more)))
            }
            _ => Ok(None),
        }
    }

    fn keeps(&self, outcome: &Self::Output) -> bool {
        outcome.is_some()
    }
}

/// Whether there is more to remove. Whoever finds nothing but what others hold ends: it would look again and again for as long as they hold
/// it, or removes what they do.
const fn more(candidates: usize, removed: usize, limit: u32) -> bool {
    candidates > removed && (removed > 0 || limit == 0)
}

/// Holds a batch of the sessions that ended before a time, passing over those that somebody else holds, and says whether there are more.
async fn ended<DB: Dialect>(
    request: &Purge,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    time: DateTime<Utc>,
) -> Result<(Vec<Snapshot>, bool), Failure> {
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let candidates = candidates::<DB>(request, plan, connection, time).await?;
    let held = if DB::ROW_LOCK.is_some() {
        lock_ended::<DB>(plan, connection, &candidates, time, limit).await?
    } else {
        candidates.iter().copied().take(limit).collect()
    };
    let sessions = rows::now::<DB>(plan, connection, &held).await?;
    let more = more(candidates.len(), sessions.len(), request.limit);
    Ok((sessions, more))
}

/// Finds sessions that ended before a time, at least one more than asked for where there are more.
async fn candidates<DB: Dialect>(
    request: &Purge,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    time: DateTime<Utc>,
) -> Result<Vec<SessionId>, Failure> {
    let reach = if DB::ROW_LOCK.is_some() { REACH } else { 1 };
    let limit = i64::from(request.limit.saturating_mul(reach)).saturating_add(1);
    let id = plan.name(Field::Id);
    let mut statement = Statement::<DB>::new("");
    // Each part has an index of its own, and ends after the limit.
    for (number, field) in [Field::RevokedAt, Field::ExpiresAt, Field::IdleExpiresAt].into_iter().enumerate() {
        let column = plan.name(field);
        statement = statement.push(if number == 0 { "" } else { " UNION " });
        statement = statement.push(&format!("SELECT {id} FROM (SELECT s.{id} FROM {} AS s", plan.table));
        statement = statement.push(&format!(" WHERE s.{column} < ")).bind(plan.bound(time));
        statement = statement.push(&format!(" ORDER BY s.{column} LIMIT ")).bind(Value::Int(limit));
        statement = statement.push(&format!(") AS part{number}"));
    }
    let mut ids = ids(plan, statement.fetch(connection).await?)?;
    ids.sort_unstable();
    Ok(ids)
}

/// Takes the locks of so many of these sessions that nobody else has and that have still ended.
async fn lock_ended<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    candidates: &[SessionId],
    time: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<SessionId>, Failure> {
    let [revoked, expires, idle, id] =
        [Field::RevokedAt, Field::ExpiresAt, Field::IdleExpiresAt, Field::Id].map(|field| plan.name(field));
    let condition = format!(" AND (s.{revoked} < ? OR s.{expires} < ? OR s.{idle} < ?) ORDER BY s.{id} LIMIT ");
    let mut held = Vec::new();
    for chunk in candidates.chunks(CHUNK) {
        let left = limit.saturating_sub(held.len());
        if left == 0 {
            break;
        }
        let statement = rows::by_ids::<DB>(plan, &rows::lock_many::<DB>(plan), chunk);
        let statement = statement.condition(&condition, std::iter::repeat_n(plan.bound(time), 3));
        let statement = statement.bind(Value::Int(i64::try_from(left).unwrap_or(i64::MAX)));
        held.extend(ids(plan, statement.push(DB::ROW_LOCK_SKIPPING).fetch(connection).await?)?);
    }
    Ok(held)
}

/// Holds a batch of a user's sessions, and says whether there are more.
async fn of_user<DB: Dialect>(
    request: &Purge,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
) -> Result<(Vec<Snapshot>, bool), Failure> {
    epochs::lock::<DB>(plan, connection, user).await?;
    let [id, owner] = [Field::Id, Field::UserId].map(|field| plan.name(field));
    let statement = Statement::<DB>::new(&format!("SELECT s.{id} FROM {} AS s WHERE s.{owner} = ", plan.table));
    // One more than asked for tells whether there is more.
    let statement = statement
        .bind(plan.user(user)?)
        .push(" LIMIT ")
        .bind(Value::Int(i64::from(request.limit).saturating_add(1)))
        .push(connection.fresh());
    let mut ids = ids(plan, statement.fetch(connection).await?)?;
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let more = ids.len() > limit;
    ids.truncate(limit);
    Ok((rows::held::<DB>(plan, connection, ids).await?, more))
}

fn ids(plan: &Plan, rows: Vec<Row>) -> Result<Vec<SessionId>, Failure> {
    let id = |mut row: Row| {
        plan.mapping.id.decode(row.next().ok_or(Failure::Driver("a row is too short"))?, plan.name(Field::Id))
    };
    rows.into_iter().map(id).collect()
}

/// Forgets remembered values that have run out, and announcements that have been kept long enough: a bounded number of each.
async fn forget<DB: Dialect>(request: &Purge, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<(), Failure> {
    let limit = request.limit.max(FORGOTTEN);
    if let Some(once) = &plan.once {
        forget_rows::<DB>(&once.garbage, connection, plan.time(request.now), limit).await?;
    }
    if let (Some(feed), Some(mapped)) = (&plan.feed, &plan.mapping.feed) {
        let time = before(request.now, mapped.retention);
        forget_rows::<DB>(&feed.garbage, connection, plan.time(time), limit).await?;
    }
    Ok(())
}

/// Removes the rows of a table whose time is at most this one, by their keys.
async fn forget_rows<DB: Dialect>(
    garbage: &Garbage,
    connection: &mut Channel<'_, DB>,
    time: Value,
    limit: u32,
) -> Result<(), Failure> {
    let values = vec![time, Value::Int(i64::from(limit))];
    if let Some(sweep) = &garbage.sweep {
        return execute::<DB>(connection, sweep, values).await.map(drop);
    }
    let rows = fetch::<DB>(connection, &garbage.find, values).await?;
    let keys: Vec<_> = rows.into_iter().filter_map(|mut row| row.next()).collect();
    for chunk in keys.chunks(CHUNK) {
        Statement::<DB>::new(&garbage.remove).one_of(chunk.to_vec()).execute(connection).await?;
    }
    Ok(())
}
