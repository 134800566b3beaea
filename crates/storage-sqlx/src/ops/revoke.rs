//! Ending sessions.

use async_trait::async_trait;
use session_manager_core::storage::{Revoke, RevokeTarget, Revoked, SessionFilter};
use session_manager_core::{Error, ErrorKind, Revocation, SessionId, Snapshot, UserId};

use super::filter::Search;
use super::quick::{Changed, change, change_many, read_one};
use super::{Access, Operation, Quick, epochs, rows};
use crate::dialect::Dialect;
use crate::epoch_plan::Whose;
use crate::error::Failure;
use crate::field::Field;
use crate::plan::Plan;
use crate::statement::{Channel, execute};
use crate::value::Value;

#[async_trait]
impl<DB: Dialect> Operation<DB> for Revoke {
    type Output = Revoked;
    const NAME: &'static str = "revoke";

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Revoked, Failure> {
        match &self.target {
            RevokeTarget::One { key, owner } => {
                let found = rows::locked_living::<DB>(plan, connection, key.id).await?;
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
        if let Some(epoch) = epochs::read::<DB>(plan, connection, Whose::User(user)).await?.user {
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

/// One session by a statement that ends it and returns it, or by one that reads it and one that ends it if nobody else has; all of a user's
/// behind the lock of the user by one statement.
#[async_trait]
impl<DB: Dialect> Operation<DB> for Quick<'_, Revoke> {
    type Output = Option<Revoked>;
    const NAME: &'static str = "revoke";

    fn access(&self, _plan: &Plan) -> Access {
        if matches!(self.request.target, RevokeTarget::One { .. }) { Access::Statement } else { Access::Writes }
    }

    async fn run(&self, plan: &Plan, connection: &mut Channel<'_, DB>) -> Result<Self::Output, Failure> {
        let request = self.request;
        match (&request.target, plan.quick.is_some()) {
            (RevokeTarget::One { key, owner }, true) => one::<DB>(self, plan, connection, key.id, owner.as_ref()).await,
            (RevokeTarget::One { key, owner }, false) => {
                let found = read_one::<DB>(plan, connection, key.id).await?;
                if let Some(outcome) = untouched(request, plan, found.as_ref(), owner.as_ref()) {
                    return Ok(Some(outcome));
                }
                let mut values = ending(plan, &request.revocation);
                values.push(plan.mapping.id.encode(key.id));
                let statement = match (&plan.guarded, &found) {
                    (Some(guarded), Some(found)) => {
                        values.push(found.control.version.into());
                        values.extend(plan.guard_values(&found.session.user_id, request.now())?);
                        &guarded.end
                    }
                    _ => &plan.end_one,
                };
                if execute::<DB>(connection, statement, values).await? == 0 {
                    return Ok(None);
                }
                Ok(Some(Revoked::new(rows::ended(found, &request.revocation), 0)))
            }
            (RevokeTarget::User { user, except }, true) => {
                all_at_once::<DB>(request, plan, connection, user, *except).await.map(Some)
            }
            (RevokeTarget::User { user, except }, false) => {
                counted::<DB>(request, plan, connection, user, *except).await
            }
            _ => Ok(None),
        }
    }

    fn keeps(&self, outcome: &Self::Output) -> bool {
        outcome.is_some()
    }
}

/// Whether an operation has a quick form: otherwise its transaction need not be begun.
pub(crate) const fn is_quick(request: &Revoke) -> bool {
    matches!(request.target, RevokeTarget::One { .. } | RevokeTarget::User { .. })
}

async fn one<DB: Dialect>(
    quick: &Quick<'_, Revoke>,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    id: SessionId,
    owner: Option<&UserId>,
) -> Result<Option<Revoked>, Failure> {
    let (Some(statements), request) = (&plan.quick, quick.request) else { return Ok(None) };
    let mut values = ending(plan, &request.revocation);
    values.push(plan.mapping.id.encode(id));
    let statement = match owner {
        None => &statements.revoke,
        Some(owner) => {
            // Nobody in this table has such an id.
            let Ok(owner) = plan.user(owner) else { return Ok(Some(Revoked::new(Vec::new(), 0))) };
            values.push(owner);
            &statements.revoke_owned
        }
    };
    values.extend(plan.live_values(request.now()));
    match change::<DB>(plan, connection, statement, values, quick.judges.then_some(id)).await? {
        Changed::Yes(snapshot) => Ok(Some(Revoked::new(rows::ended([snapshot], &request.revocation), 0))),
        Changed::No(found) if quick.judges => Ok(untouched(request, plan, found.as_ref(), owner)),
        Changed::No(_) => Ok(None),
    }
}

/// The outcome where there is nothing to end.
fn untouched(request: &Revoke, plan: &Plan, found: Option<&Snapshot>, owner: Option<&UserId>) -> Option<Revoked> {
    match found.filter(|snapshot| owner.is_none_or(|owner| *owner == snapshot.session.user_id)) {
        None => Some(Revoked::new(Vec::new(), 0)),
        Some(snapshot) if !snapshot.state(request.now(), plan.live).is_live() => Some(Revoked::new(Vec::new(), 1)),
        Some(_) => None,
    }
}

/// What ending writes.
pub(super) fn ending(plan: &Plan, revocation: &Revocation) -> Vec<Value> {
    vec![plan.time(revocation.at), revocation.reason.as_str().into(), Value::Text(revocation.by.to_string())]
}

/// The raise of the user's epoch is the lock, and also ends a session that a broken index hides.
async fn all_at_once<DB: Dialect>(
    request: &Revoke,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    except: Option<SessionId>,
) -> Result<Revoked, Failure> {
    let known = match (&plan.epochs, except) {
        (Some(statements), None) => {
            let times = [plan.no_time(), plan.time(request.now())];
            let values = plan.raise_known_values(Whose::User(user), times)?;
            epochs::returned::<DB>(plan, connection, &statements.user.raise_known, values).await?.is_some()
        }
        (Some(_), Some(_)) => epochs::lock::<DB>(plan, connection, user).await?,
        (None, _) => epochs::lock_without_epochs::<DB>(plan, connection, user).await.map(|()| true)?,
    };
    // Without a record no session of the user lives.
    let Some(statements) = plan.quick.as_ref().filter(|_| known) else { return Ok(Revoked::new(Vec::new(), 0)) };
    let mut values = ending(plan, &request.revocation);
    values.push(plan.user(user)?);
    let statement = match except {
        None => &statements.revoke_all,
        Some(id) => {
            values.push(plan.mapping.id.encode(id));
            &statements.revoke_others
        }
    };
    values.extend(plan.live_values(request.now()));
    let mut found = change_many::<DB>(plan, connection, statement, values).await?;
    found.sort_unstable_by_key(|snapshot| snapshot.session.id);
    Ok(Revoked::new(rows::ended(found, &request.revocation), 0))
}

/// Where nothing is returned: as many must have been ended as were found.
async fn counted<DB: Dialect>(
    request: &Revoke,
    plan: &Plan,
    connection: &mut Channel<'_, DB>,
    user: &UserId,
    except: Option<SessionId>,
) -> Result<Option<Revoked>, Failure> {
    let Some(statements) = &plan.epochs else { return Ok(None) };
    if !epochs::lock::<DB>(plan, connection, user).await? {
        return Ok(Some(Revoked::new(Vec::new(), 0)));
    }
    let filter = SessionFilter::new();
    let search = Search { user: Some(user), filter: &filter, now: request.now() };
    let mut found = search.run::<DB>(plan, connection, None, usize::MAX, "").await?;
    found.retain(|snapshot| Some(snapshot.session.id) != except);
    found.sort_unstable_by_key(|snapshot| snapshot.session.id);
    if !rows::end_all::<DB>(plan, connection, &found, &request.revocation).await? {
        return Ok(None);
    }
    if except.is_none() {
        let values = plan.raise_known_values(Whose::User(user), [plan.no_time(), plan.time(request.now())])?;
        execute::<DB>(connection, &statements.user.raise_known, values).await?;
    }
    Ok(Some(Revoked::new(rows::ended(found, &request.revocation), 0)))
}
