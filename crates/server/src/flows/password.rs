//! The password again: to prove who one is, and to change it.

use session_manager_core::Refreshed;
use session_manager_middleware_axum::CurrentSession;

use super::profile::current_user;
use super::sign_in::{origin, told};
use crate::accounts::{Attempted, ChangeRefusal, DeviceToken};
use crate::app::App;
use crate::passwords::Password;
use crate::problem::Rejection;
use crate::sessions::{PasswordChange, with_role};

/// The current and the new password.
#[derive(Clone, Debug)]
pub(crate) struct NewPasswords {
    pub(crate) current: Password,
    pub(crate) new: Password,
}

/// Step-up: the user of the session gives the password again. Every token of the session so far ends; new ones are returned.
///
/// # Errors
/// 400 for a wrong password, with the lockout of sign-in: a stolen session must not become a way to guess; 403 while locked.
pub(crate) async fn reauthenticate(
    app: &App,
    session: &CurrentSession,
    password: Password,
    device: Option<DeviceToken>,
) -> Result<Refreshed, Rejection> {
    let user = current_user(app, session).await?;
    let origin = origin(session.context(), device);
    let Attempted { delay, outcome } = app.accounts().check_password(&user, password, &origin, app.now()).await?;
    // Wrong is not a 401 here: the session itself is good, and clients throw their tokens away at a 401.
    told(app, Attempted { delay, outcome: outcome.map_err(ChangeRefusal::Current) }).await?;
    let work = app.sessions().manager().reauthenticate(session.key(), &["pwd"], None, session.context());
    Ok(with_role(user.role, work).await?)
}

/// Changes the password. Every other session ends and this one gets new tokens, all in one transaction; the owner is told by mail.
///
/// # Errors
/// 403 with the step-up challenge unless the user proved who they are not long ago; 400 for a wrong, unchanged or weak password, with
/// the lockout and the delays of sign-in.
pub(crate) async fn change_password(
    app: &App,
    session: &CurrentSession,
    passwords: NewPasswords,
    device: Option<DeviceToken>,
) -> Result<Refreshed, Rejection> {
    session.require_fresh_by_policy().await?;
    let user = current_user(app, session).await?;
    let NewPasswords { current, new } = passwords;
    let origin = origin(session.context(), device);
    let attempted = app.accounts().prepare_password_change(&user, current, new, &origin, app.now()).await?;
    let password = told(app, attempted).await?;
    let change =
        PasswordChange { user: &user, user_id: session.user_id(), password: &password, keep: session.session_id() };
    let refreshed = app.sessions().change_password(app.accounts(), change, session.context()).await?;
    if let Err(error) = app.accounts().notify_password_changed(&user, app.now()).await {
        // It is changed all the same, and the client must get its tokens.
        tracing::error!(%error, "the owner could not be told of the new password");
    }
    Ok(refreshed)
}
