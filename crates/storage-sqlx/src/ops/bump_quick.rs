//! Raising an epoch in its usual course: one statement, and with a session to keep one more behind the lock that the first one takes.

use async_trait::async_trait;
use session_manager_core::clock::after;
use session_manager_core::storage::{Bump, BumpOutcome, BumpTarget, Bumped};
use session_manager_core::{Epoch, Epochs, GlobalEpoch, SessionId, Snapshot, UserId};

use super::epochs::Returned;
use super::quick::{Changed, change, read_one};
use super::{Access, Operation, Quick, epochs};
use crate::dialect::Dialect;
use crate::epoch_plan::Whose;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::{Channel, execute};
use crate::value::Value;

/// `None`: there is no such record, it has another version than was expected, the session to keep may be over, or a new incarnation was
/// asked for.
#[async_trait]
impl<DB: Dialect> Operation<DB> for Quick<'_, Bump> {
    type Output = Option<BumpOutcome>;
    const NAME: &'static str = "bump";

    fn access(&self, _plan: &Plan) -> Access {
        let keeps = matches!(self.request.target, BumpTarget::User { keep: Some(_), .. });
        if DB::RETURNS && !keeps { Access::Statement } else { Access::Writes }
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Self::Output, Failure> {
        let request = self.request;
        if plan.epochs.is_none() || request.new_incarnation {
            return Ok(None);
        }
        match &request.target {
            BumpTarget::User { user, keep: None } => {
                let times = [plan.no_time(), plan.time(request.now)];
                let incarnation = request.incarnations.user;
                let raised = raise::<DB>(request, plan, connection, Whose::User(user), incarnation, times).await?;
                Ok(raised.map(|raised| {
                    let epochs = Epochs::new(Some(raised.epoch), raised.global);
                    BumpOutcome::Bumped(Bumped::new(before(&raised), epochs, None, true))
                }))
            }
            BumpTarget::User { user, keep: Some(keep) } => kept::<DB>(request, plan, connection, user, *keep).await,
            BumpTarget::Global { grace } => {
                let until = (!grace.is_zero()).then(|| after(request.now, *grace));
                let times = [plan.mapping.times.encode_option(until), plan.time(request.now)];
                let incarnation = request.incarnations.global;
                let raised = raise::<DB>(request, plan, connection, Whose::Everybody, incarnation, times).await?;
                Ok(raised.map(|raised| {
                    let global = GlobalEpoch::rotated(raised.epoch, Some(request.now), until);
                    BumpOutcome::Bumped(Bumped::new(before(&raised), Epochs::new(None, Some(global)), None, true))
                }))
            }
            _ => Ok(None),
        }
    }

    fn keeps(&self, outcome: &Self::Output) -> bool {
        outcome.is_some()
    }
}

/// The epoch before the raise; a record that the raise itself has made had none.
fn before(raised: &Returned) -> Option<Epoch> {
    let Epoch { incarnation, version } = raised.epoch;
    (raised.seq != 1).then_some(Epoch { incarnation, version: version.saturating_sub(1) })
}

async fn raise<DB: Dialect>(
    request: &Bump,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    whose: Whose<'_>,
    incarnation: u64,
    times: [Value; 2],
) -> Result<Option<Returned>, Failure> {
    let Some(statements) = plan.epochs.as_ref().map(|epochs| epochs.record(whose)) else { return Ok(None) };
    let (statement, values) = match request.expected {
        None => (&statements.raise, plan.raise_values(whose, incarnation, times)?),
        Some(expected) => {
            let mut values = plan.raise_known_values(whose, times)?;
            values.push(expected.into());
            (&statements.raise_expected, values)
        }
    };
    if DB::RETURNS {
        return epochs::returned::<DB>(plan, connection, statement, values).await;
    }
    if execute::<DB>(connection, statement, values).await? == 0 {
        return Ok(None);
    }
    let (epochs, seq) = epochs::read_locked::<DB>(plan, connection, whose).await?;
    let epoch = match whose {
        Whose::User(_) => epochs.user,
        Whose::Everybody => epochs.global.map(|global| global.epoch),
    };
    Ok(epoch.map(|epoch| Returned { epoch, seq, global: epochs.global }))
}

/// The raise is the lock; the session to keep is measured against the epoch before it.
async fn kept<DB: Dialect>(
    request: &Bump,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    keep: SessionId,
) -> Result<Option<BumpOutcome>, Failure> {
    let (Some(statements), whose) = (&plan.epochs, Whose::User(user)) else { return Ok(None) };
    let times = [plan.no_time(), plan.time(request.now)];
    let Some(quick) = &plan.quick else { return compared::<DB>(request, plan, connection, user, keep).await };
    let mut values = plan.raise_known_values(whose, times)?;
    let statement = match request.expected {
        None => &statements.user.raise_known,
        Some(expected) => {
            values.push(expected.into());
            &statements.user.raise_expected
        }
    };
    let Some(raised) = epochs::returned::<DB>(plan, connection, statement, values).await? else { return Ok(None) };
    let epochs = Epochs::new(Some(raised.epoch), raised.global);
    let Some(stamp) = epochs.stamp() else { return Ok(None) };
    let numbers = [stamp.user.incarnation, stamp.user.version, stamp.global.incarnation, stamp.global.version];
    let mut values = vec![plan.time(request.now)];
    values.extend(numbers.map(Value::from));
    values.extend([plan.mapping.id.encode(keep), plan.user(user)?]);
    values.extend(plan.live_values(request.now));
    match change::<DB>(plan, connection, &quick.keep, values, None).await? {
        Changed::Yes(mut snapshot) => {
            snapshot.epochs = epochs;
            Ok(Some(BumpOutcome::Bumped(Bumped::new(before(&raised), epochs, Some(snapshot), true))))
        }
        Changed::No(_) => Ok(None),
    }
}

/// Where nothing is returned: lock, read the session and the epochs, and write both if nobody has changed the session meanwhile.
async fn compared<DB: Dialect>(
    request: &Bump,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    keep: SessionId,
) -> Result<Option<BumpOutcome>, Failure> {
    let (Some(statements), Some(revise)) = (&plan.epochs, &plan.revise) else { return Ok(None) };
    if !epochs::lock::<DB>(plan, connection, user).await? {
        return Ok(None);
    }
    let found = read_one::<DB>(plan, connection, keep).await?;
    let live = |found: &Snapshot| found.session.user_id == *user && found.state(request.now, plan.live).is_live();
    let Some(mut snapshot) = found.filter(live) else { return Ok(None) };
    let Some(before) = snapshot.epochs.user.filter(|epoch| request.expected.is_none_or(|v| v == epoch.version)) else {
        return Ok(None);
    };
    let values = plan.raise_known_values(Whose::User(user), [plan.no_time(), plan.time(request.now)])?;
    execute::<DB>(connection, &statements.user.raise_known, values).await?;
    let version = snapshot.control.version;
    let epochs = Epochs::new(Some(before.next()), snapshot.epochs.global);
    snapshot.control.raise_floor(request.now);
    snapshot.control.stamped = epochs.stamp();
    snapshot.epochs = epochs;
    let values = plan.revised_values(&snapshot, version)?;
    let written = execute::<DB>(connection, revise, values).await? > 0;
    Ok(written.then(|| BumpOutcome::Bumped(Bumped::new(Some(before), epochs, Some(snapshot), true))))
}
