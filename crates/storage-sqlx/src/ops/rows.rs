//! What several operations do with rows: find a session, end sessions, write one back, remove some.

use std::sync::Arc;

use session_manager_core::storage::EndedSession;
use session_manager_core::{ExternalId, Revocation, SessionId, Snapshot, State};

use super::epochs;
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::statement::{CHUNK, Channel, Statement, execute, fetch};
use crate::value::Value;

/// Finds a session and holds its row until the step is over.
pub(super) async fn locked<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    id: SessionId,
) -> Result<Option<Snapshot>, Failure> {
    let id = plan.mapping.id.encode(id);
    if let Some(lock) = &plan.lock_one
        && fetch::<DB>(connection, lock, vec![id.clone()]).await?.is_empty()
    {
        return Ok(None);
    }
    let read = if connection.inside { &plan.read_fresh } else { &plan.read_one };
    let rows = fetch::<DB>(connection, read, vec![id]).await?;
    rows.into_iter().next().map(|row| plan.snapshot(row)).transpose()
}

/// [`locked`] for a step that changes the session because it lives: its user's record is held first, in the order in which everybody locks, so
/// that nobody raises it meanwhile.
pub(super) async fn locked_living<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    id: SessionId,
) -> Result<Option<Snapshot>, Failure> {
    // SQLite lets one step write at a time.
    if plan.epochs.is_some() && plan.lock_one.is_some() {
        let read = if connection.inside { &plan.read_fresh } else { &plan.read_one };
        let rows = fetch::<DB>(connection, read, vec![plan.mapping.id.encode(id)]).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let user = plan.snapshot(row)?.session.user_id.clone();
        epochs::lock::<DB>(plan, connection, &user).await?;
    }
    locked::<DB>(plan, connection, id).await
}

/// Holds these rows until the step is over and reads them as they are then, in the order of their ids: the order in which everybody locks.
pub(super) async fn held<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    mut ids: Vec<SessionId>,
) -> Result<Vec<Snapshot>, Failure> {
    ids.sort_unstable();
    ids.dedup();
    if let Some(lock) = DB::ROW_LOCK {
        for chunk in ids.chunks(CHUNK) {
            let statement = by_ids::<DB>(plan, &lock_many::<DB>(plan), chunk);
            let statement = statement.push(&format!(" ORDER BY s.{}", plan.name(Field::Id))).push(lock);
            statement.fetch(connection).await?;
        }
    }
    now::<DB>(plan, connection, &ids).await
}

/// Reads rows that are held, in the order of their ids.
pub(super) async fn now<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    ids: &[SessionId],
) -> Result<Vec<Snapshot>, Failure> {
    let mut sessions = Vec::with_capacity(ids.len());
    if connection.fresh().is_empty() {
        for chunk in ids.chunks(CHUNK) {
            sessions.extend(by_ids::<DB>(plan, &plan.select, chunk).fetch(connection).await?);
        }
    } else {
        // A read that locks must find each by its key, and look at no other row.
        for id in ids {
            sessions.extend(fetch::<DB>(connection, &plan.read_fresh, vec![plan.mapping.id.encode(*id)]).await?);
        }
    }
    let mut sessions = sessions.into_iter().map(|row| plan.snapshot(row)).collect::<Result<Vec<_>, _>>()?;
    sessions.sort_unstable_by_key(|snapshot| snapshot.session.id);
    Ok(sessions)
}

/// The same for sessions that were read without holding them; nothing is read again where a step excludes every other anyway.
pub(super) async fn still_held<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    found: Vec<Snapshot>,
) -> Result<Vec<Snapshot>, Failure> {
    if DB::ROW_LOCK.is_none() || found.is_empty() {
        return Ok(found);
    }
    held::<DB>(plan, connection, found.iter().map(|snapshot| snapshot.session.id).collect()).await
}

/// `SELECT id FROM …` for locking by ids.
pub(super) fn lock_many<DB: Dialect>(plan: &Plan) -> String {
    format!("SELECT s.{} FROM {} AS s{}", plan.name(Field::Id), plan.table, DB::BY_PRIMARY_KEY)
}

/// `… WHERE id IN (…)`.
pub(super) fn by_ids<DB: Dialect>(plan: &Plan, select: &str, ids: &[SessionId]) -> Statement<DB> {
    let ids = ids.iter().map(|id| plan.mapping.id.encode(*id)).collect();
    Statement::<DB>::new(select).push(" WHERE s.").push(plan.name(Field::Id)).one_of(ids)
}

/// Finds the sessions with this name elsewhere, and holds them until the step is over.
pub(super) async fn named<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    external: &ExternalId,
) -> Result<Vec<Snapshot>, Failure> {
    let [issuer, sid] = [Field::ExternalIssuer, Field::ExternalSid].map(|field| plan.name(field));
    let statement =
        Statement::<DB>::new(&plan.select).push(&format!(" WHERE s.{issuer} = ")).bind(external.issuer.as_str().into());
    let statement =
        statement.push(&format!(" AND s.{sid} = ")).bind(external.sid.as_str().into()).push(connection.fresh());
    let rows = statement.fetch(connection).await?;
    let found = rows.into_iter().map(|row| plan.snapshot(row)).collect::<Result<Vec<_>, _>>()?;
    let mut held = still_held::<DB>(plan, connection, found).await?;
    // An import may have given one another name before it was held.
    held.retain(|snapshot| snapshot.session.external.as_ref() == Some(external));
    Ok(held)
}

/// Ends these live sessions, which are held.
pub(super) async fn end<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    sessions: Vec<Snapshot>,
    revocation: &Revocation,
) -> Result<Vec<EndedSession>, Failure> {
    end_all::<DB>(plan, connection, &sessions, revocation).await?;
    Ok(ended(sessions, revocation))
}

/// Ends those of these sessions that nobody has ended meanwhile, and says whether that were all.
pub(super) async fn end_all<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    sessions: &[Snapshot],
    revocation: &Revocation,
) -> Result<bool, Failure> {
    let fields = [Field::RevokedAt, Field::RevokedReason, Field::RevokedBy, Field::Version, Field::Id];
    let [at, reason, by, version, id] = fields.map(|field| plan.name(field));
    let mut all = true;
    for chunk in sessions.chunks(CHUNK) {
        let ids = chunk.iter().map(|snapshot| plan.mapping.id.encode(snapshot.session.id)).collect();
        let statement = Statement::<DB>::new("UPDATE ")
            .push(&plan.table)
            .push(DB::BY_PRIMARY_KEY)
            .push(&format!(" SET {at} = "))
            .bind(plan.time(revocation.at));
        let statement = statement.push(&format!(", {reason} = ")).bind(revocation.reason.as_str().into());
        let statement = statement.push(&format!(", {by} = ")).bind(Value::Text(revocation.by.to_string()));
        let statement = statement.push(&format!(", {version} = {version} + 1 WHERE {at} IS NULL AND {id}")).one_of(ids);
        let ended = statement.execute(connection).await?;
        all &= usize::try_from(ended).is_ok_and(|ended| ended == chunk.len());
    }
    Ok(all)
}

/// Sessions that have been ended by this revocation.
pub(super) fn ended(sessions: impl IntoIterator<Item = Snapshot>, revocation: &Revocation) -> Vec<EndedSession> {
    let revocation = Arc::new(revocation.clone());
    let ended = |snapshot: Snapshot| EndedSession::new(snapshot.session, State::Revoked, Some(Arc::clone(&revocation)));
    sessions.into_iter().map(ended).collect()
}

/// Writes all of a session's row that is there already.
pub(super) async fn replace<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    snapshot: &Snapshot,
) -> Result<(), Failure> {
    let mut values = plan.values(snapshot)?;
    values.push(plan.mapping.id.encode(snapshot.session.id));
    execute::<DB>(connection, &plan.replace, values).await.map(drop)
}

/// Removes these rows.
pub(super) async fn remove<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    sessions: &[Snapshot],
) -> Result<(), Failure> {
    for chunk in sessions.chunks(CHUNK) {
        let ids: Vec<_> = chunk.iter().map(|snapshot| snapshot.session.id).collect();
        let statement = if DB::REMOVES_BY_JOIN {
            joined::<DB>(plan, &ids)
        } else {
            by_ids::<DB>(plan, &format!("DELETE FROM {} AS s", plan.table), &ids)
        };
        statement.execute(connection).await?;
    }
    Ok(())
}

/// `DELETE` of these rows, each found by its key.
fn joined<DB: Dialect>(plan: &Plan, ids: &[SessionId]) -> Statement<DB> {
    let padding = ids.len().next_power_of_two() - ids.len();
    let padded = ids.iter().chain(ids.last().into_iter().cycle().take(padding));
    let mut statement = Statement::<DB>::new("DELETE s FROM (");
    for (number, id) in padded.enumerate() {
        statement = statement.push(if number == 0 { "SELECT " } else { " UNION ALL SELECT " });
        statement = statement.bind(plan.mapping.id.encode(*id)).push(if number == 0 { " AS id" } else { "" });
    }
    statement.push(&format!(") AS b STRAIGHT_JOIN {} AS s WHERE s.{} = b.id", plan.table, plan.name(Field::Id)))
}
