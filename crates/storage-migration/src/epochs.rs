//! Keeping the epochs of two storages in step: never lowered, never begun anew where there is one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::storage::{Bump, BumpTarget, Incarnations};
use session_manager_core::{Epoch, Epochs, Error, ErrorKind, GlobalEpoch, Result, SessionStorage, UserId};

/// What happens where the other storage has no record yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing: the first session that is carried there brings it.
    Wait,
    /// It is made.
    Make,
}

/// More steps than that are a defect, not a user with many password changes.
const STEPS: usize = 10_000;

/// Raises a user's epoch in `to` until it is as high as `wanted`.
pub(crate) async fn raise_user(
    to: &dyn SessionStorage,
    user: &UserId,
    wanted: Epochs,
    missing: Missing,
    now: DateTime<Utc>,
) -> Result<()> {
    let Some(epoch) = wanted.user else { return Ok(()) };
    let global = wanted.global.map_or(epoch.incarnation, |global| global.epoch.incarnation);
    let incarnations = Incarnations { user: epoch.incarnation, global };
    for _ in 0..STEPS {
        let bump = Bump::new(BumpTarget::User { user: user.clone(), keep: None }, incarnations, now);
        let Some(bump) = next(bump, to.epochs(Some(user)).await?.user, epoch, missing)? else { return Ok(()) };
        to.bump(&bump).await?;
    }
    Err(out_of_step())
}

/// Raises everybody's epoch in `to` until it is as high as `wanted`, with its grace.
pub(crate) async fn raise_global(
    to: &dyn SessionStorage,
    wanted: GlobalEpoch,
    missing: Missing,
    now: DateTime<Utc>,
) -> Result<()> {
    let incarnations = Incarnations { user: wanted.epoch.incarnation, global: wanted.epoch.incarnation };
    for _ in 0..STEPS {
        let there = to.epochs(None).await?.global.map(|global| global.epoch);
        let is_last = there.is_some_and(|there| there.version.saturating_add(1) == wanted.epoch.version);
        let (at, grace) =
            if is_last { (wanted.rotated_at.unwrap_or(now), grace_of(wanted)) } else { (now, Duration::ZERO) };
        let bump = Bump::new(BumpTarget::Global { grace }, incarnations, at);
        let Some(bump) = next(bump, there, wanted.epoch, missing)? else { return Ok(()) };
        to.bump(&bump).await?;
    }
    Err(out_of_step())
}

/// The next step from what is there to what is wanted; `None` when it is there.
fn next(bump: Bump, there: Option<Epoch>, wanted: Epoch, missing: Missing) -> Result<Option<Bump>> {
    match there {
        Some(there) if there.incarnation != wanted.incarnation => Err(out_of_step()),
        Some(there) if there.version >= wanted.version => Ok(None),
        // Whoever is faster with the same step has done it for us.
        Some(there) => Ok(Some(bump.expecting(there.version))),
        None if missing == Missing::Wait => Ok(None),
        None => Ok(Some(bump.anew())),
    }
}

fn grace_of(global: GlobalEpoch) -> Duration {
    let (Some(since), Some(until)) = (global.rotated_at, global.grace_until) else { return Duration::ZERO };
    (until - since).to_std().unwrap_or_default()
}

fn out_of_step() -> Error {
    Error::new(ErrorKind::Internal, "migration")
        .because("the two storages hold epochs of different origin: the new one was not empty when the migration began")
}
