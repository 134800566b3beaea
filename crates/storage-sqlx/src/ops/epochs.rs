//! Reading and locking epochs.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use session_manager_core::storage::Incarnations;
use session_manager_core::{Epoch, Epochs, Error, ErrorKind, GlobalEpoch, UserId};

use super::{Access, Operation};
use crate::dialect::{Dialect, UserLock};
use crate::epoch_plan::Whose;
use crate::error::Failure;
use crate::plan::Plan;
use crate::record::decode_epoch;
use crate::statement::{Channel, execute, fetch};
use crate::value::{Row, Value};

/// Reads the global epoch, and a user's.
pub(crate) struct EpochsOf<'a> {
    pub(crate) user: Option<&'a UserId>,
}

#[async_trait]
impl<DB: Dialect> Operation<DB> for EpochsOf<'_> {
    type Output = Epochs;
    const NAME: &'static str = "epochs";

    fn access(&self, _plan: &Plan) -> Access {
        Access::Statement
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Epochs, Failure> {
        read::<DB>(plan, connection, self.user.map_or(Whose::Everybody, Whose::User)).await
    }
}

/// Reads the epochs of somebody and of everybody.
pub(super) async fn read<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    whose: Whose<'_>,
) -> Result<Epochs, Failure> {
    read_locked::<DB>(plan, connection, whose).await.map(|(epochs, _)| epochs)
}

/// The same, and how often the lock of the record has been taken, from 1.
pub(super) async fn read_locked<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    whose: Whose<'_>,
) -> Result<(Epochs, i64), Failure> {
    let Some(statements) = &plan.epochs else { return Ok((Epochs::default(), 0)) };
    let (statement, values) = match (whose, connection.inside) {
        (Whose::User(_), false) => (&statements.read, vec![plan.epoch_key(whose)?]),
        (Whose::User(_), true) => (&statements.read_fresh, vec![plan.epoch_key(whose)?]),
        (Whose::Everybody, false) => (&statements.read_global, Vec::new()),
        (Whose::Everybody, true) => (&statements.read_global_fresh, Vec::new()),
    };
    let rows = fetch::<DB>(connection, statement, values).await?;
    decode(plan, rows, whose).map(|(epochs, taken, _)| (epochs, taken))
}

/// How many sessions of a user live, and the epochs.
pub(super) async fn room<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    now: DateTime<Utc>,
) -> Result<(Epochs, u32), Failure> {
    let Some(statements) = &plan.epochs else { return Ok((Epochs::default(), 0)) };
    let mut values = vec![plan.user(user)?];
    values.extend(plan.live_values(now));
    values.push(plan.epoch_key(Whose::User(user))?);
    let rows = fetch::<DB>(connection, &statements.room, values).await?;
    decode(plan, rows, Whose::User(user)).map(|(epochs, _, live)| (epochs, live))
}

/// Reads rows of (whose, incarnation, version, grace, rotation, seq), and perhaps how many sessions live.
fn decode(plan: &Plan, rows: Vec<Row>, whose: Whose<'_>) -> Result<(Epochs, i64, u32), Failure> {
    let (mut epochs, mut taken, mut live) = (Epochs::default(), 0, 0);
    for mut row in rows {
        let mut next = || row.next().ok_or(Failure::Driver("a row is too short"));
        let of_user = next()?.int("whose")? != 0;
        let epoch = decode_epoch(next()?, next()?)?;
        let grace_until = plan.mapping.times.decode_option(next()?, "grace_until")?;
        let rotated_at = plan.mapping.times.decode_option(next()?, "rotated_at")?;
        let seq = next()?.present().map_or(Ok(0), |seq| seq.int("seq"))?;
        if of_user == matches!(whose, Whose::User(_)) {
            taken = seq;
        }
        if of_user {
            epochs.user = epoch;
            let count = row.next().and_then(Value::present).map_or(Ok(0), |count| count.int("count"))?;
            live = u32::try_from(count).unwrap_or(u32::MAX);
        } else {
            epochs.global = epoch.map(|epoch| GlobalEpoch::rotated(epoch, rotated_at, grace_until));
        }
    }
    Ok((epochs, taken, live))
}

/// A record as a statement that changed it has returned it.
pub(super) struct Returned {
    pub(super) epoch: Epoch,
    /// How often its lock has been taken, from 1.
    pub(super) seq: i64,
    pub(super) global: Option<GlobalEpoch>,
}

/// Runs a statement that changes a record and returns it; `None` where it changed none.
pub(super) async fn returned<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    statement: &Arc<str>,
    values: Vec<Value>,
) -> Result<Option<Returned>, Failure> {
    let Some(mut row) = fetch::<DB>(connection, statement, values).await?.into_iter().next() else { return Ok(None) };
    let mut next = || row.next().ok_or(Failure::Driver("a row is too short"));
    let Some(epoch) = decode_epoch(next()?, next()?)? else { return Ok(None) };
    let seq = next()?.int("seq")?;
    let global = decode_epoch(next()?, next()?)?;
    let grace_until = plan.mapping.times.decode_option(next()?, "grace_until")?;
    let rotated_at = plan.mapping.times.decode_option(next()?, "rotated_at")?;
    let global = global.map(|epoch| GlobalEpoch::rotated(epoch, rotated_at, grace_until));
    Ok(Some(Returned { epoch, seq, global }))
}

/// Takes the user's lock by a write on the epoch row, and makes sure that both records are there.
pub(super) async fn lock_or_create<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    incarnations: Incarnations,
) -> Result<Epochs, Failure> {
    if plan.epochs.is_none() {
        lock_without_epochs::<DB>(plan, connection, user).await?;
        return Ok(Epochs::default());
    }
    enter::<DB>(plan, connection, Whose::User(user), incarnations.user).await?;
    let epochs = read::<DB>(plan, connection, Whose::User(user)).await?;
    if epochs.global.is_some() {
        return Ok(epochs);
    }
    create::<DB>(plan, connection, Whose::Everybody, incarnations.global).await?;
    read::<DB>(plan, connection, Whose::User(user)).await
}

/// Takes the lock of a record, making it where it is missing.
pub(super) async fn enter<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    whose: Whose<'_>,
    incarnation: u64,
) -> Result<(), Failure> {
    let Some(statements) = &plan.epochs else { return Ok(()) };
    let values = plan.begin_values(whose, incarnation)?;
    match execute::<DB>(connection, &statements.record(whose).enter, values).await? {
        0 => Err(unknown_user()),
        _ => Ok(()),
    }
}

/// Only a users table of the application's, in which the application adds the rows, can lack one.
pub(super) fn unknown_user() -> Failure {
    Error::new(ErrorKind::InvalidInput, "epoch").because("the users table has no row of this user").into()
}

/// Makes a record where there is none, and says whether it did.
pub(super) async fn create<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    whose: Whose<'_>,
    incarnation: u64,
) -> Result<bool, Failure> {
    let Some(statements) = &plan.epochs else { return Ok(false) };
    let values = plan.begin_values(whose, incarnation)?;
    Ok(execute::<DB>(connection, &statements.record(whose).create, values).await? == 1)
}

/// Takes the user's lock and says whether there is a record to take it by.
pub(super) async fn lock<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
) -> Result<bool, Failure> {
    match &plan.epochs {
        Some(_) => lock_record::<DB>(plan, connection, Whose::User(user)).await,
        None => lock_without_epochs::<DB>(plan, connection, user).await.map(|()| false),
    }
}

/// Takes the lock of a record and says whether there is one to take it by.
pub(super) async fn lock_record<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    whose: Whose<'_>,
) -> Result<bool, Failure> {
    let Some(statements) = &plan.epochs else { return Ok(false) };
    let values = vec![plan.epoch_key(whose)?];
    Ok(execute::<DB>(connection, &statements.record(whose).lock, values).await? > 0)
}

/// Takes the lock of a user who has no record.
pub(super) async fn lock_without_epochs<DB: Dialect>(
    _plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
) -> Result<(), Failure> {
    let UserLock::Statement(statement) = DB::USER_LOCK else { return Ok(()) };
    let rows = fetch::<DB>(connection, &statement.into(), vec![user.as_str().into()]).await?;
    match rows.into_iter().next().and_then(|mut row| row.next()) {
        Some(Value::Bool(true)) => Ok(()),
        _ => Err(Error::new(ErrorKind::Unsupported, "session table")
            .because("without an epoch table a transaction of the application's has to be READ COMMITTED")
            .into()),
    }
}

/// Writes a user's epoch.
pub(super) async fn write_user<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    epoch: Epoch,
    rotated_at: Value,
) -> Result<(), Failure> {
    let Some(statements) = &plan.epochs else { return Ok(()) };
    let mut values = vec![epoch.incarnation.into(), epoch.version.into()];
    values.extend(plan.raise_known_values(Whose::User(user), [plan.no_time(), rotated_at])?);
    execute::<DB>(connection, &statements.user.write, values).await.map(drop)
}

/// Writes the global epoch.
pub(super) async fn write_global<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    global: GlobalEpoch,
) -> Result<(), Failure> {
    let Some(statements) = &plan.epochs else { return Ok(()) };
    let time = |time| plan.mapping.times.encode_option(time);
    let mut values = vec![global.epoch.incarnation.into(), global.epoch.version.into()];
    values.extend(plan.raise_known_values(Whose::Everybody, [time(global.grace_until), time(global.rotated_at)])?);
    execute::<DB>(connection, &statements.global.write, values).await.map(drop)
}
