//! The account of a session, and changes of it.

use session_manager_core::UserId;
use session_manager_http::ProblemType;
use session_manager_middleware_axum::CurrentSession;

use crate::accounts::{EmailAddress, EmailChange, PersonName, User};
use crate::app::App;
use crate::problem::Rejection;

/// What is to be changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProfileChange {
    pub(crate) name: Option<PersonName>,
    pub(crate) email: Option<EmailAddress>,
}

/// The account after a change.
#[derive(Clone, Debug)]
pub(crate) struct UpdatedProfile {
    pub(crate) user: User,
    /// The address that becomes the account's once it is confirmed.
    pub(crate) pending_email: Option<EmailAddress>,
}

/// The account of a session.
///
/// # Errors
/// 401 when it is gone or disabled. Its sessions have ended then; this only closes the moment in between.
pub(crate) async fn current_user(app: &App, session: &CurrentSession) -> Result<User, Rejection> {
    open_account(app, session.user_id()).await
}

/// The account that a session belongs to, while it is open.
pub(super) async fn open_account(app: &App, user: &UserId) -> Result<User, Rejection> {
    let found = match user.as_str().parse() {
        Ok(id) => app.accounts().find(id).await?,
        Err(_) => None,
    };
    found.filter(|user| user.disabled_at.is_none()).ok_or_else(|| ProblemType::Revoked.into())
}

/// Changes the name at once, and the address after it was confirmed by mail.
///
/// # Errors
/// For another address, 403 with the step-up challenge unless the user proved who they are not long ago: whoever has the address can reset
/// the password. 429 for the eleventh in an hour: with each a letter goes to whom the user names. Nothing is changed then.
pub(crate) async fn update_profile(
    app: &App,
    session: &CurrentSession,
    change: ProfileChange,
) -> Result<UpdatedProfile, Rejection> {
    let mut user = current_user(app, session).await?;
    let email = change.email.filter(|email| *email != user.email);
    if email.is_some() {
        session.require_fresh_by_policy().await?;
        if let Some(letters) = app.letters() {
            letters.charge(session.user_id()).await?;
        }
    }
    if let Some(name) = &change.name {
        let updated = app.accounts().update_name(user.id, name, app.now()).await?;
        user = updated.ok_or_else(|| Rejection::from(ProblemType::Revoked))?;
    }
    let mut pending_email = None;
    if let Some(email) = email
        && app.accounts().request_email_change(&user, &email, app.now()).await? == EmailChange::Pending
    {
        // A new password ends other sessions and their links. One that was asked for in the moment between must not outlive it.
        let view = app.sessions().manager().get(Some(session.user_id()), session.key()).await?;
        if !view.is_some_and(|view| view.state.is_live()) {
            app.accounts().forget_email_change(&user).await?;
            return Err(ProblemType::Revoked.into());
        }
        pending_email = Some(email);
    }
    Ok(UpdatedProfile { user, pending_email })
}
