//! Keeping the epochs of two storages in step: never lowered, never begun anew where there is one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::storage::{Bump, BumpOutcome, BumpTarget, Incarnations};
use session_manager_core::{Epoch, Epochs, Error, ErrorKind, GlobalEpoch, Result, SessionStorage, UserId};

/// More steps than that are a defect, not a user with many password changes.
const STEPS: usize = 10_000;

/// Raises everybody's epoch and a user's in `to` until they are as high as `wanted`, and makes what is missing there.
pub(crate) async fn raise_both(
    to: &dyn SessionStorage,
    user: &UserId,
    wanted: Epochs,
    now: DateTime<Utc>,
) -> Result<()> {
    if wanted == Epochs::default() {
        return Ok(());
    }
    let there = to.epochs(Some(user)).await?;
    if let Some(global) = wanted.global
        && !reaches(there.global.map(|global| global.epoch), global.epoch)
    {
        raise_global(to, global, now).await?;
    }
    if let Some(epoch) = wanted.user
        && !reaches(there.user, epoch)
    {
        raise_user(to, user, wanted, now).await?;
    }
    Ok(())
}

/// Raises a user's epoch in `to` until it is as high as `wanted`, and makes it where there is none.
pub(crate) async fn raise_user(
    to: &dyn SessionStorage,
    user: &UserId,
    wanted: Epochs,
    now: DateTime<Utc>,
) -> Result<()> {
    let Some(epoch) = wanted.user else { return Ok(()) };
    let global = wanted.global.map_or(epoch.incarnation, |global| global.epoch.incarnation);
    let incarnations = Incarnations { user: epoch.incarnation, global };
    let mut is_safe = true;
    for _ in 0..STEPS {
        let bump = Bump::new(BumpTarget::User { user: user.clone(), keep: None }, incarnations, now);
        match next(bump, to.epochs(Some(user)).await?.user, epoch)? {
            Some(bump) => is_safe &= acknowledged(&to.bump(&bump).await?),
            None => return safe(is_safe),
        }
    }
    Err(out_of_step())
}

/// Raises everybody's epoch in `to` until it is as high as `wanted`, with its grace, and makes it where there is none.
pub(crate) async fn raise_global(to: &dyn SessionStorage, wanted: GlobalEpoch, now: DateTime<Utc>) -> Result<()> {
    let incarnations = Incarnations { user: wanted.epoch.incarnation, global: wanted.epoch.incarnation };
    let mut is_safe = true;
    for _ in 0..STEPS {
        let there = to.epochs(None).await?.global.map(|global| global.epoch);
        let is_last = there.is_some_and(|there| there.version.saturating_add(1) == wanted.epoch.version);
        let (at, grace) =
            if is_last { (wanted.rotated_at.unwrap_or(now), grace_of(wanted)) } else { (now, Duration::ZERO) };
        let bump = Bump::new(BumpTarget::Global { grace }, incarnations, at);
        match next(bump, there, wanted.epoch)? {
            Some(bump) => is_safe &= acknowledged(&to.bump(&bump).await?),
            None => return safe(is_safe),
        }
    }
    Err(out_of_step())
}

/// The next step from what is there to what is wanted; `None` when it is there.
fn next(bump: Bump, there: Option<Epoch>, wanted: Epoch) -> Result<Option<Bump>> {
    match there {
        Some(there) if there.incarnation != wanted.incarnation => Err(out_of_step()),
        Some(there) if there.version >= wanted.version => Ok(None),
        // Whoever is faster with the same step has done it for us.
        Some(there) => Ok(Some(bump.expecting(there.version))),
        // The version that a missing record counts as: one that another node has made and raised meanwhile is not begun anew.
        None => Ok(Some(bump.anew().expecting(Epoch::first(wanted.incarnation).version))),
    }
}

fn reaches(there: Option<Epoch>, wanted: Epoch) -> bool {
    there.is_some_and(|there| there.incarnation == wanted.incarnation && there.version >= wanted.version)
}

/// Whether enough replicas have a step.
pub(crate) const fn acknowledged(outcome: &BumpOutcome) -> bool {
    !matches!(outcome, BumpOutcome::Bumped(bumped) if bumped.unconfirmed)
}

/// An error where not all steps are acknowledged.
pub(crate) fn safe(is_safe: bool) -> Result<()> {
    if is_safe {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unconfirmed, "migration")
        .because("the epochs were raised, but too few replicas have acknowledged it"))
}

fn grace_of(global: GlobalEpoch) -> Duration {
    let (Some(since), Some(until)) = (global.rotated_at, global.grace_until) else { return Duration::ZERO };
    (until - since).to_std().unwrap_or_default()
}

fn out_of_step() -> Error {
    Error::new(ErrorKind::Internal, "migration")
        .because("the two storages hold epochs of different origin: the new one was not empty when the migration began")
}
