//! Reading and locking epochs.

use async_trait::async_trait;
use session_manager_core::storage::Incarnations;
use session_manager_core::{Epoch, Epochs, Error, ErrorKind, GlobalEpoch, UserId};

use super::{Access, Operation};
use crate::dialect::{Dialect, UserLock};
use crate::error::Failure;
use crate::plan::Plan;
use crate::record::decode_epoch;
use crate::statement::{Channel, execute, fetch};
use crate::value::{Kind, Value};

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
        read::<DB>(plan, connection, self.user.map_or("", UserId::as_str)).await
    }
}

/// Reads the epochs of a subject and of everybody.
pub(super) async fn read<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    subject: &str,
) -> Result<Epochs, Failure> {
    read_locked::<DB>(plan, connection, subject).await.map(|(epochs, _)| epochs)
}

/// The same, and how often the lock of the subject has been taken, from 1.
pub(super) async fn read_locked<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    subject: &str,
) -> Result<(Epochs, i64), Failure> {
    let (mut epochs, mut taken) = (Epochs::default(), 0);
    let Some(statements) = &plan.epochs else { return Ok((epochs, taken)) };
    let statement = if connection.inside { &statements.read_fresh } else { &statements.read };
    for row in fetch::<DB>(connection, statement, vec![subject.into()]).await? {
        let mut next = {
            let mut row = row;
            move || row.next().ok_or(Failure::Driver("a row is too short"))
        };
        let found = next()?.text("subject")?;
        let epoch = decode_epoch(next()?, next()?)?;
        let grace_until = plan.mapping.times.decode_option(next()?, "grace_until")?;
        let rotated_at = plan.mapping.times.decode_option(next()?, "rotated_at")?;
        if found == subject {
            taken = next()?.int("seq")?;
        }
        if found.is_empty() {
            epochs.global = epoch.map(|epoch| GlobalEpoch::rotated(epoch, rotated_at, grace_until));
        } else if found == subject {
            epochs.user = epoch;
        }
    }
    Ok((epochs, taken))
}

/// Takes the user's lock by a write on the epoch row, and makes sure that both records are there.
pub(super) async fn lock_or_create<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    incarnations: Incarnations,
) -> Result<Epochs, Failure> {
    let Some(statements) = &plan.epochs else {
        lock_without_epochs::<DB>(plan, connection, user).await?;
        return Ok(Epochs::default());
    };
    execute::<DB>(connection, &statements.lock_or_create, vec![user.as_str().into(), incarnations.user.into()]).await?;
    let epochs = read::<DB>(plan, connection, user.as_str()).await?;
    if epochs.global.is_some() {
        return Ok(epochs);
    }
    create::<DB>(plan, connection, "", incarnations.global).await?;
    read::<DB>(plan, connection, user.as_str()).await
}

/// Makes the record of a subject where there is none, and says whether it did.
pub(super) async fn create<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    subject: &str,
    incarnation: u64,
) -> Result<bool, Failure> {
    let Some(statements) = &plan.epochs else { return Ok(false) };
    Ok(execute::<DB>(connection, &statements.create, vec![subject.into(), incarnation.into()]).await? == 1)
}

/// Takes the user's lock and says whether there is a record to take it by.
pub(super) async fn lock<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
) -> Result<bool, Failure> {
    match &plan.epochs {
        Some(_) => lock_subject::<DB>(plan, connection, user.as_str()).await,
        None => lock_without_epochs::<DB>(plan, connection, user).await.map(|()| false),
    }
}

/// Takes the lock of a subject and says whether there is a record to take it by.
pub(super) async fn lock_subject<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    subject: &str,
) -> Result<bool, Failure> {
    let Some(statements) = &plan.epochs else { return Ok(false) };
    Ok(execute::<DB>(connection, &statements.lock, vec![subject.into()]).await? > 0)
}

async fn lock_without_epochs<DB: Dialect>(
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
    let none = Value::Null(plan.mapping.times.kind());
    let values = vec![epoch.incarnation.into(), epoch.version.into(), none, rotated_at, user.as_str().into()];
    execute::<DB>(connection, &statements.write, values).await.map(drop)
}

/// Writes the global epoch.
pub(super) async fn write_global<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    global: GlobalEpoch,
) -> Result<(), Failure> {
    let Some(statements) = &plan.epochs else { return Ok(()) };
    let time = |time| plan.mapping.times.encode_option(time);
    let values = vec![
        global.epoch.incarnation.into(),
        global.epoch.version.into(),
        time(global.grace_until),
        time(global.rotated_at),
        "".into(),
    ];
    execute::<DB>(connection, &statements.write, values).await.map(drop)
}

/// No time of this mapping's encoding.
pub(super) fn no_time(plan: &Plan) -> Value {
    let kind: Kind = plan.mapping.times.kind();
    Value::Null(kind)
}
