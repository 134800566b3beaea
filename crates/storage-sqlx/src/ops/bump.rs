//! Raising an epoch.

use async_trait::async_trait;
use session_manager_core::clock::after;
use session_manager_core::storage::{Bump, BumpOutcome, BumpTarget, Bumped, SessionFilter};
use session_manager_core::{
    Actor, Epoch, Epochs, Error, ErrorKind, GlobalEpoch, Revocation, RevocationReason, SessionId, Snapshot, UserId,
};

use super::filter::Search;
use super::{Operation, epochs, rows};
use crate::dialect::Dialect;
use crate::epoch_plan::Whose;
use crate::error::Failure;
use crate::plan::Plan;
use crate::statement::Channel;

#[async_trait]
impl<DB: Dialect> Operation<DB> for Bump {
    type Output = BumpOutcome;
    const NAME: &'static str = "bump";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<BumpOutcome, Failure> {
        let unsupported = |message| Err(Error::new(ErrorKind::Unsupported, "bump").because(message).into());
        match (&self.target, &plan.epochs) {
            (BumpTarget::User { user, keep }, Some(_)) => user_epoch::<DB>(self, plan, connection, user, *keep).await,
            (BumpTarget::Global { grace }, Some(_)) => global_epoch::<DB>(self, plan, connection, *grace).await,
            (BumpTarget::User { user, keep }, None) => end_rows::<DB>(self, plan, connection, user, *keep).await,
            (BumpTarget::Global { .. }, None) => unsupported("no epoch table is mapped"),
            _ => unsupported("this storage does not know the target"),
        }
    }

    fn keeps(&self, outcome: &BumpOutcome) -> bool {
        matches!(outcome, BumpOutcome::Bumped(bumped) if bumped.applied)
    }
}

/// A record under its lock.
struct Record {
    current: Epoch,
    created: bool,
}

/// Locks a record, making it where it is missing.
async fn lock<DB: Dialect>(
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    whose: Whose<'_>,
    incarnation: u64,
) -> Result<(Record, Epochs), Failure> {
    let known = epochs::lock_record::<DB>(plan, connection, whose).await?;
    if !known {
        epochs::enter::<DB>(plan, connection, whose, incarnation).await?;
    }
    let (epochs, seq) = epochs::read_locked::<DB>(plan, connection, whose).await?;
    let current = match whose {
        Whose::Everybody => epochs.global.map(|global| global.epoch),
        Whose::User(_) => epochs.user,
    };
    let current = current.ok_or(Failure::Driver("an epoch record vanished under its lock"))?;
    Ok((Record { current, created: !known && seq == 1 }, epochs))
}

impl Record {
    /// The epoch before the step, where there was one.
    fn before(&self) -> Option<Epoch> {
        (!self.created).then_some(self.current)
    }
}

/// What the expectation says: to raise, to do nothing, or that somebody else was faster.
enum Expectation {
    Raise(Epoch),
    Done,
    Conflict,
}

fn expectation(request: &Bump, record: &Record, incarnation: u64) -> Expectation {
    let version = record.current.version;
    let first = Epoch::first(incarnation);
    let raised = if request.new_incarnation { first } else { record.current.next() };
    // Somebody else's raise is no new incarnation: that has begun only where the record is the very one asked for.
    let done = |expected: u64| {
        if request.new_incarnation { record.current == first } else { expected.saturating_add(1) == version }
    };
    match request.expected {
        Some(expected) if expected != version && done(expected) => Expectation::Done,
        Some(expected) if expected != version => Expectation::Conflict,
        // The first version of this very incarnation was expected, and stands: a repeated call must not move the floor again.
        Some(_) if request.new_incarnation && record.current == first && !record.created => Expectation::Done,
        _ => Expectation::Raise(raised),
    }
}

async fn user_epoch<DB: Dialect>(
    request: &Bump,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    keep: Option<SessionId>,
) -> Result<BumpOutcome, Failure> {
    let incarnation = request.incarnations.user;
    let (record, found) = lock::<DB>(plan, connection, Whose::User(user), incarnation).await?;
    let kept = match keep {
        Some(id) => {
            rows::locked::<DB>(plan, connection, id).await?.filter(|snapshot| snapshot.session.user_id == *user)
        }
        None => None,
    };
    let before = record.before();
    let raised = match expectation(request, &record, incarnation) {
        Expectation::Conflict => return Ok(BumpOutcome::Conflict { version: record.current.version }),
        // The step is taken back, and with it a record that it made.
        Expectation::Done => {
            let epochs = Epochs::new(before, found.global);
            return Ok(BumpOutcome::Bumped(Bumped::new(before, epochs, kept, false)));
        }
        Expectation::Raise(epoch) => epoch,
    };
    let kept = kept.filter(|snapshot| snapshot.state(request.now, plan.live).is_live());
    if keep.is_some() && kept.is_none() {
        return Ok(BumpOutcome::KeepEnded);
    }
    epochs::write_user::<DB>(plan, connection, user, raised, plan.time(request.now)).await?;
    let epochs = Epochs::new(Some(raised), found.global);
    let kept = match kept {
        Some(snapshot) => Some(restamp::<DB>(request, plan, connection, snapshot, epochs).await?),
        None => None,
    };
    Ok(BumpOutcome::Bumped(Bumped::new(before, epochs, kept, true)))
}

/// The kept session belongs to the new epochs, and its older tokens are dead.
async fn restamp<DB: Dialect>(
    request: &Bump,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    mut snapshot: Snapshot,
    epochs: Epochs,
) -> Result<Snapshot, Failure> {
    snapshot.control.raise_floor(request.now);
    snapshot.control.stamped = epochs.stamp();
    snapshot.epochs = epochs;
    rows::replace::<DB>(plan, connection, &snapshot).await?;
    Ok(snapshot)
}

async fn global_epoch<DB: Dialect>(
    request: &Bump,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    grace: std::time::Duration,
) -> Result<BumpOutcome, Failure> {
    let incarnation = request.incarnations.global;
    let (record, found) = lock::<DB>(plan, connection, Whose::Everybody, incarnation).await?;
    let before = record.before();
    let raised = match expectation(request, &record, incarnation) {
        Expectation::Conflict => return Ok(BumpOutcome::Conflict { version: record.current.version }),
        Expectation::Done => {
            let epochs = Epochs::new(None, found.global.filter(|_| before.is_some()));
            return Ok(BumpOutcome::Bumped(Bumped::new(before, epochs, None, false)));
        }
        Expectation::Raise(epoch) => epoch,
    };
    let graceful = !grace.is_zero() && !request.new_incarnation;
    let global = GlobalEpoch::rotated(raised, Some(request.now), graceful.then(|| after(request.now, grace)));
    epochs::write_global::<DB>(plan, connection, global).await?;
    Ok(BumpOutcome::Bumped(Bumped::new(before, Epochs::new(None, Some(global)), None, true)))
}

/// Where no epochs are kept, the user's rows are ended one by one in the same step.
async fn end_rows<DB: Dialect>(
    request: &Bump,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    keep: Option<SessionId>,
) -> Result<BumpOutcome, Failure> {
    epochs::lock::<DB>(plan, connection, user).await?;
    let filter = SessionFilter::new();
    let search = Search { user: Some(user), filter: &filter, now: request.now };
    let fresh = connection.fresh();
    let found = search.run::<DB>(plan, connection, None, usize::MAX, fresh).await?;
    let mut live = rows::still_held::<DB>(plan, connection, found).await?;
    live.retain(|snapshot| snapshot.state(request.now, plan.live).is_live());
    let (mut kept, ended): (Vec<_>, Vec<_>) = live.into_iter().partition(|snapshot| Some(snapshot.session.id) == keep);
    let kept = kept.pop();
    if keep.is_some() && kept.is_none() {
        return Ok(BumpOutcome::KeepEnded);
    }
    let revocation = Revocation::new(request.now, RevocationReason::ROTATED, Actor::System);
    rows::end::<DB>(plan, connection, ended, &revocation).await?;
    let kept = match kept {
        Some(snapshot) => Some(restamp::<DB>(request, plan, connection, snapshot, Epochs::default()).await?),
        None => None,
    };
    Ok(BumpOutcome::Bumped(Bumped::new(None, Epochs::default(), kept, true)))
}
