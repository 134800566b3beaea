//! Ending sessions.

use async_trait::async_trait;
use session_manager_core::storage::{Revoke, RevokeTarget, Revoked, SessionFilter};
use session_manager_core::{Error, ErrorKind, SessionId, Snapshot, UserId};

use super::filter::Search;
use super::{Operation, epochs, rows};
use crate::dialect::Dialect;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::statement::Channel;

#[async_trait]
impl<DB: Dialect> Operation<DB> for Revoke {
    type Output = Revoked;
    const NAME: &'static str = "revoke";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Revoked, Failure> {
        match &self.target {
            RevokeTarget::One { key, owner } => {
                let found = rows::locked::<DB>(plan, connection, key.id).await?;
                let found =
                    found.filter(|snapshot| owner.as_ref().is_none_or(|owner| *owner == snapshot.session.user_id));
                these::<DB>(self, plan, connection, found.into_iter().collect()).await
            }
            RevokeTarget::External(external) => {
                if !plan.has(Field::ExternalSid) {
                    return Err(Error::new(ErrorKind::Unsupported, "revoke")
                        .because("no columns are mapped for external ids")
                        .into());
                }
                let found = rows::named::<DB>(plan, connection, external).await?;
                these::<DB>(self, plan, connection, found).await
            }
            RevokeTarget::User { user, except } => all_of::<DB>(self, plan, connection, user, *except).await,
            RevokeTarget::Matching { user, filter } => {
                matching::<DB>(self, plan, connection, user.as_ref(), filter).await
            }
            _ => Err(Error::new(ErrorKind::Unsupported, "revoke")
                .because("this storage does not know the target")
                .into()),
        }
    }
}

/// Ends those that live of sessions that are held, and counts the others.
async fn these<DB: Dialect>(
    request: &Revoke,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    held: Vec<Snapshot>,
) -> Result<Revoked, Failure> {
    let is_live = |snapshot: &Snapshot| snapshot.state(request.now(), plan.live).is_live();
    let (live, over): (Vec<_>, Vec<_>) = held.into_iter().partition(is_live);
    let already_ended = u64::try_from(over.len()).unwrap_or(u64::MAX);
    Ok(Revoked::new(rows::end::<DB>(plan, connection, live, &request.revocation).await?, already_ended))
}

async fn all_of<DB: Dialect>(
    request: &Revoke,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    except: Option<SessionId>,
) -> Result<Revoked, Failure> {
    let known = epochs::lock::<DB>(plan, connection, user).await?;
    let mut sessions = live::<DB>(request, plan, connection, Some(user), &SessionFilter::new()).await?;
    sessions.retain(|snapshot| Some(snapshot.session.id) != except);
    let ended = rows::end::<DB>(plan, connection, sessions, &request.revocation).await?;
    if known && except.is_none() {
        // A session that a broken index hides from the search ends by this.
        if let Some(epoch) = epochs::read::<DB>(plan, connection, user.as_str()).await?.user {
            epochs::write_user::<DB>(plan, connection, user, epoch.next(), plan.time(request.now())).await?;
        }
    }
    Ok(Revoked::new(ended, 0))
}

async fn matching<DB: Dialect>(
    request: &Revoke,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: Option<&UserId>,
    filter: &SessionFilter,
) -> Result<Revoked, Failure> {
    if let Some(user) = user {
        epochs::lock::<DB>(plan, connection, user).await?;
    }
    let sessions = live::<DB>(request, plan, connection, user, filter).await?;
    Ok(Revoked::new(rows::end::<DB>(plan, connection, sessions, &request.revocation).await?, 0))
}

/// The live sessions that a filter means.
async fn live<DB: Dialect>(
    request: &Revoke,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: Option<&UserId>,
    filter: &SessionFilter,
) -> Result<Vec<Snapshot>, Failure> {
    let mut filter = filter.clone();
    filter.active_only = true;
    let search = Search { user, filter: &filter, now: request.now() };
    let fresh = connection.fresh();
    let found = search.run::<DB>(plan, connection, None, usize::MAX, fresh).await?;
    let mut held = rows::still_held::<DB>(plan, connection, found).await?;
    held.retain(|snapshot| filter.matches(snapshot, request.now(), plan.live));
    Ok(held)
}
