//! The usual course of an operation in as few statements as the database allows.

use std::sync::Arc;

use session_manager_core::{SessionId, Snapshot};

use crate::dialect::Dialect;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::{Channel, fetch};
use crate::value::{Row, Value};

/// The usual course of an operation. `None`: it was not that, nothing has been done, and the operation itself tells what it is behind its
/// locks.
///
/// # Behaviour
/// - What a single statement has changed it has changed knowing everything, and what a single statement has read was so while it ran.
/// - A plain read in the application's transaction may be older than the call, so that nothing is judged by it.
pub(crate) struct Quick<'a, T> {
    pub(crate) request: &'a T,
    /// Whether a session that was not changed may be judged as it was read.
    pub(crate) judges: bool,
}

/// What a statement that changes one session has done.
pub(super) enum Changed {
    /// It has changed it: as it is now.
    Yes(Snapshot),
    /// It has not: as it is, where there is one and it was asked for.
    No(Option<Snapshot>),
}

/// Runs a statement of [`QuickPlan`](crate::quick_plan::QuickPlan) that changes one session.
pub(super) async fn change<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    statement: &Arc<str>,
    values: Vec<Value>,
    read: Option<SessionId>,
) -> Result<Changed, Failure> {
    match (fetch::<DB>(connection, statement, values).await?.into_iter().next(), read) {
        (Some(row), _) => Ok(Changed::Yes(changed_row(plan, row)?)),
        (None, Some(id)) => read_one::<DB>(plan, connection, id).await.map(Changed::No),
        (None, None) => Ok(Changed::No(None)),
    }
}

/// Runs a statement of [`QuickPlan`](crate::quick_plan::QuickPlan) that changes several.
pub(super) async fn change_many<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    statement: &Arc<str>,
    values: Vec<Value>,
) -> Result<Vec<Snapshot>, Failure> {
    let rows = fetch::<DB>(connection, statement, values).await?.into_iter();
    rows.map(|row| changed_row(plan, row)).collect()
}

/// Reads a session that a statement has changed.
pub(super) fn changed_row(plan: &Plan, mut row: Row) -> Result<Snapshot, Failure> {
    row.next().ok_or(Failure::Driver("a row is too short"))?;
    plan.snapshot(row)
}

/// Reads one session as it is.
pub(super) async fn read_one<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    id: SessionId,
) -> Result<Option<Snapshot>, Failure> {
    let rows = fetch::<DB>(connection, &plan.read_one, vec![plan.mapping.id.encode(id)]).await?;
    rows.into_iter().next().map(|row| plan.snapshot(row)).transpose()
}
