//! Token rotation: ending all sessions of a user, or of everybody, by raising one number, however many there are.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::storage::SessionFilter;
use session_manager_core::{
    Epochs, Error, ErrorKind, GlobalEpoch, LivePolicy, RequestContext, Rotated, Rotation, SessionManager, Snapshot,
    UserId,
};
use session_manager_http::ProblemType;
use session_manager_middleware_axum::CurrentSession;
use uuid::Uuid;

use super::RotationReason;
use super::administration::{Administrator, FreshAdministrator, account};
use super::profile::current_user;
use crate::accounts::GlobalRotation;
use crate::app::App;
use crate::limits::SessionMeter;
use crate::problem::Rejection;

/// What was ended is counted for so long.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// The most that a list gives at once.
const PAGE: u32 = 200;

/// A rotation that was done.
#[derive(Clone, Debug)]
pub(crate) struct RotationOutcome {
    /// None where there was no record of the user yet.
    pub(crate) old_version: Option<u64>,
    pub(crate) new_version: u64,
    /// What it ended; none where that is not known, or not within a second.
    pub(crate) ended: Option<Ended>,
    pub(crate) by: UserId,
    pub(crate) at: DateTime<Utc>,
}

/// What a rotation ended, at once or at the end of its grace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) sessions: u64,
    pub(crate) users: u64,
}

/// What tokens must be no older than.
#[derive(Clone, Debug)]
pub(crate) struct SecurityConfig {
    pub(crate) global: GlobalEpoch,
    /// Of the last rotation of everybody's tokens; while there was none, when the oldest account was made.
    pub(crate) updated_at: DateTime<Utc>,
    /// None where there was none, or its note is missing.
    pub(crate) rotation: Option<GlobalRotation>,
}

/// Whether this is the id of the session's own user, in whatever spelling.
pub(crate) fn is_own(session: &CurrentSession, id: &str) -> bool {
    id.parse::<Uuid>().is_ok_and(|id| UserId::from(id) == *session.user_id())
}

/// Ends all sessions of a user at once: one's own, that of the request included, or as an administrator anybody's.
///
/// # Errors
/// 403 to everybody who is no administrator and asks for another id, whether it exists or not; to administrators, 404 when it does not.
pub(crate) async fn rotate_user(
    app: &App,
    session: &CurrentSession,
    id: &str,
    reason: &RotationReason,
) -> Result<(Uuid, RotationOutcome), Rejection> {
    let (user, context) = if is_own(session, id) {
        (current_user(app, session).await?, RequestContext::clone(session.context()))
    } else {
        let admin = Administrator::of(app, session).await?;
        (account(app, &admin, id).await?, admin.context())
    };
    let (manager, owner) = (app.sessions().manager(), UserId::from(user.id));
    let (before, at) = (manager.epochs(Some(&owner)).await?, app.now());
    let rotated = manager.rotate_user(&owner, &Rotation::new(reason.for_the_trail()), &context).await?;
    let lived = |snapshot: &Snapshot| Epochs::new(before.user, snapshot.epochs.global);
    let count = count_ended(manager, Some(&owner), at, lived);
    let ended = count_if(before.user.map(|epoch| epoch.version), &rotated, count).await;
    Ok((user.id, done(&rotated, ended, session, at)))
}

/// Ends everybody's sessions: at once, or, where there is a grace, those exactly one version behind at its end.
///
/// # Behaviour
/// - Counted against the limit for everybody before anything is done, and given back when it was not.
/// - Reason and administrator are noted afterwards; where that fails they are in the audit trail only.
///
/// # Errors
/// 429 when it was done as often as it may be.
pub(crate) async fn rotate_everybody(
    app: &App,
    admin: &FreshAdministrator,
    reason: &RotationReason,
    grace: Duration,
    meter: &SessionMeter,
) -> Result<RotationOutcome, Rejection> {
    meter.for_everybody(end_everybodys(app, admin.administrator(), reason, grace)).await
}

async fn end_everybodys(
    app: &App,
    admin: &Administrator,
    reason: &RotationReason,
    grace: Duration,
) -> Result<RotationOutcome, Rejection> {
    let manager = app.sessions().manager();
    let (before, at) = (manager.epochs(None).await?, app.now());
    let rotation = Rotation::new(reason.for_the_trail()).grace(grace);
    let rotated = manager.rotate_all(&rotation, &admin.context()).await?;
    note(app, admin, &rotated, reason).await;
    let lived = |snapshot: &Snapshot| Epochs::new(snapshot.epochs.user, before.global);
    let count = count_ended(manager, None, at, lived);
    let ended = count_if(before.global.map(|global| global.epoch.version), &rotated, count).await;
    Ok(done(&rotated, ended, admin.session(), at))
}

/// The oldest version of everybody's tokens that is accepted, and how it came to be that.
pub(crate) async fn security_config(app: &App, _: &Administrator) -> Result<SecurityConfig, Rejection> {
    // Whoever asks has a session, and with the first session the record is made.
    let global = app.sessions().manager().epochs(None).await?.global.ok_or(ProblemType::Unavailable)?;
    let rotation = app.accounts().rotation(global.epoch).await?;
    let updated_at = match global.rotated_at {
        Some(time) => time,
        None => app.accounts().oldest().await?.unwrap_or_else(|| app.now()),
    };
    Ok(SecurityConfig { global, updated_at, rotation })
}

/// Notes why and by whom. A rotation that was done is not called failed because its note is missing.
async fn note(app: &App, admin: &Administrator, rotated: &Rotated, reason: &RotationReason) {
    let noted = async {
        let global = app.sessions().manager().epochs(None).await?.global;
        // Another one came after it, and its note is the one that counts.
        let Some(global) = global.filter(|global| global.epoch.version == rotated.new_version) else { return Ok(()) };
        let at = global.rotated_at.unwrap_or_else(|| app.now());
        let rotation = GlobalRotation { reason: reason.as_str().to_owned(), by: admin.user().id, at };
        Ok::<_, Rejection>(app.accounts().note_rotation(global.epoch, &rotation).await?)
    };
    if noted.await.is_err() {
        tracing::error!("why everybody's tokens were rotated could not be noted");
    }
}

fn done(rotated: &Rotated, ended: Option<Ended>, by: &CurrentSession, at: DateTime<Utc>) -> RotationOutcome {
    let (old_version, new_version) = (rotated.old_version, rotated.new_version);
    RotationOutcome { old_version, new_version, ended, by: by.user_id().clone(), at }
}

/// Counts where the version before is the one that was looked at: otherwise another rotation came between, and who ended what is not known.
async fn count_if(
    before: Option<u64>,
    rotated: &Rotated,
    count: impl Future<Output = Result<Ended, Error>>,
) -> Option<Ended> {
    if before == rotated.old_version { within(COUNTED_FOR, count).await } else { None }
}

/// What comes of the work within the limit.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Option<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            if error.kind() != ErrorKind::Unsupported {
                tracing::warn!(%error, "what a rotation ended could not be counted");
            }
            None
        }
        Err(_) => None,
    }
}

/// Counts the sessions that lived at a time under the epochs of before, which the rotation has ended or lets run out.
async fn count_ended(
    manager: &SessionManager,
    user: Option<&UserId>,
    at: DateTime<Utc>,
    before: impl Fn(&Snapshot) -> Epochs,
) -> Result<Ended, Error> {
    let (mut sessions, mut users, mut cursor) = (0_u64, HashSet::new(), None);
    loop {
        let filter = SessionFilter::including_ended();
        let page = match user {
            Some(user) => manager.list(user, filter, cursor, PAGE).await?,
            None => manager.list_all(filter, cursor, PAGE).await?,
        };
        for view in page.sessions {
            let then = Snapshot::new(view.snapshot.record(), before(&view.snapshot));
            if then.state(at, LivePolicy::TRACKED).is_live() {
                sessions = sessions.saturating_add(1);
                users.insert(then.session.user_id.clone());
            }
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(Ended { sessions, users: u64::try_from(users.len()).unwrap_or(u64::MAX) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_count_that_takes_too_long_is_not_known() {
        let slow = async |seconds| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(7)
        };
        assert_eq!(within(Duration::from_secs(2), slow(1)).await, Some(7));
        assert_eq!(within(Duration::from_secs(2), slow(3)).await, None);
        assert_eq!(within(Duration::from_secs(2), async { Err::<u8, _>(ErrorKind::Unsupported.into()) }).await, None);
    }
}
