//! What administrators do to the accounts and sessions of others.

use http::StatusCode;
use session_manager_core::{Actor, Refreshed, RequestContext, RevocationReason, SessionId, UserId};
use session_manager_http::{Problem, ProblemType};
use session_manager_middleware_axum::CurrentSession;
use uuid::Uuid;

use super::closing::{disable_account, enable_account};
use super::listing::{ListQuery, Listing, list_of};
use super::password::reauthenticate;
use super::profile::current_user;
use super::revocation::end_listed;
use crate::accounts::{DeviceToken, Role, User, UserPage, UserSearch};
use crate::app::App;
use crate::passwords::Password;
use crate::problem::Rejection;

/// Somebody of whom it was found at this very request that they are an administrator. What only administrators may do asks for one.
#[derive(Clone, Debug)]
pub(crate) struct Administrator {
    session: CurrentSession,
    user: User,
}

/// An administrator who proved not long ago who they are.
#[derive(Clone, Debug)]
pub(crate) struct FreshAdministrator(Administrator);

impl Administrator {
    /// The user of a session, if that is an administrator.
    ///
    /// # Security
    /// The role travels in the token and is asked of the account as well, so that neither a token from before the role was taken away nor one
    /// from before it was given says more than the account and the token together. Where tokens carry no role, the account decides.
    ///
    /// # Errors
    /// 401 when the account is gone or disabled; 403 for everybody else.
    pub(crate) async fn of(app: &App, session: &CurrentSession) -> Result<Self, Rejection> {
        let user = current_user(app, session).await?;
        let is_claimed = session.claim("role").is_none_or(|role| role == "admin");
        if user.role == Role::Admin && is_claimed {
            Ok(Self { session: session.clone(), user })
        } else {
            Err(forbidden())
        }
    }

    /// The same, if they proved not long ago who they are.
    ///
    /// # Errors
    /// 403 with the step-up challenge.
    pub(crate) async fn fresh(self) -> Result<FreshAdministrator, Rejection> {
        self.session.require_fresh_by_policy().await?;
        Ok(FreshAdministrator(self))
    }

    /// The same, after they gave their password again. Their session has new tokens then.
    ///
    /// # Errors
    /// Those of [`reauthenticate`].
    pub(crate) async fn proven(
        self,
        app: &App,
        password: Password,
        device: Option<DeviceToken>,
    ) -> Result<(FreshAdministrator, Refreshed), Rejection> {
        let refreshed = reauthenticate(app, &self.session, password, device).await?;
        Ok((FreshAdministrator(self), refreshed))
    }

    /// The administrator's own account.
    pub(crate) fn user(&self) -> &User {
        &self.user
    }

    /// The session in which they act.
    pub(crate) fn session(&self) -> &CurrentSession {
        &self.session
    }

    /// The request, with the administrator as the one who acts.
    pub(super) fn context(&self) -> RequestContext {
        RequestContext::clone(self.session.context()).by(Actor::User(self.session.user_id().clone()))
    }
}

impl FreshAdministrator {
    /// Whoever it is.
    pub(crate) fn administrator(&self) -> &Administrator {
        &self.0
    }
}

/// Accounts by a part of their address.
pub(crate) async fn search_users(app: &App, _: &Administrator, search: &UserSearch) -> Result<UserPage, Rejection> {
    Ok(app.accounts().search(search).await?)
}

/// An account by its id.
///
/// # Errors
/// 404 when there is none, or it is no id at all.
pub(crate) async fn account(app: &App, _: &Administrator, id: &str) -> Result<User, Rejection> {
    let found = match id.parse::<Uuid>() {
        Ok(id) => app.accounts().find(id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| Problem::of(ProblemType::NotFound).with_detail("there is no such account").into())
}

/// A page of an account's sessions.
///
/// # Errors
/// 400 for a cursor that belongs to another list.
pub(crate) async fn sessions_of(
    app: &App,
    admin: &Administrator,
    user: &User,
    query: ListQuery,
) -> Result<Listing, Rejection> {
    list_of(app, &UserId::from(user.id), admin.session.session_id(), query).await
}

/// Ends a session of an account.
///
/// # Errors
/// 400 for the session of the request; 404 for what is unknown, another account's or no id at all; 409 for one that had ended before.
pub(crate) async fn end_session_of(
    app: &App,
    admin: &Administrator,
    user: &User,
    id: &str,
    reason: Option<RevocationReason>,
) -> Result<SessionId, Rejection> {
    let reason = reason.unwrap_or(RevocationReason::BY_ADMIN);
    end_listed(app, &admin.session, &UserId::from(user.id), id, reason, &admin.context()).await
}

/// Ends all sessions of an account. Returns how many.
pub(crate) async fn end_sessions_of(app: &App, admin: &Administrator, user: &User) -> Result<usize, Rejection> {
    let (manager, owner) = (app.sessions().manager(), UserId::from(user.id));
    Ok(manager.revoke_all(&owner, RevocationReason::BY_ADMIN, &admin.context()).await?.len())
}

/// Closes an account to sign-in and ends all of its sessions. Returns the account as it is then.
///
/// # Errors
/// 400 for the administrator's own: nobody could open it again; 404 when it is gone meanwhile; 409 when it is disabled already.
pub(crate) async fn close_account(app: &App, admin: &Administrator, user: &User) -> Result<User, Rejection> {
    if user.id == admin.user.id {
        return Err(Rejection::new(StatusCode::BAD_REQUEST, "own-account", "This is your own account")
            .detail("an administrator cannot disable the account that they act with"));
    }
    if user.disabled_at.is_some() {
        return Err(unchanged("already-disabled", "Already disabled", "the account is disabled already"));
    }
    disable_account(app, user.id, &admin.context()).await?;
    tracing::info!(user = %user.id, by = %admin.user.id, "an account was disabled");
    account(app, admin, &user.id.to_string()).await
}

/// Opens an account again. Its sessions stay ended. Returns the account as it is then.
///
/// # Errors
/// 404 when it is gone meanwhile; 409 when it is open already.
pub(crate) async fn reopen_account(app: &App, admin: &Administrator, user: &User) -> Result<User, Rejection> {
    if user.disabled_at.is_none() {
        return Err(unchanged("already-enabled", "Already enabled", "the account is not disabled"));
    }
    enable_account(app, user.id).await?;
    tracing::info!(user = %user.id, by = %admin.user.id, "an account was enabled");
    account(app, admin, &user.id.to_string()).await
}

fn unchanged(slug: &str, title: &'static str, detail: &str) -> Rejection {
    Rejection::new(StatusCode::CONFLICT, slug, title).detail(detail)
}

fn forbidden() -> Rejection {
    Rejection::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed").detail("only an administrator may do this")
}
