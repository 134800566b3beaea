//! A forgotten password: a link by mail, and a new password by the link.

use chrono::{DateTime, Utc};
use session_manager_core::RequestContext;

use crate::accounts::{ChangeRefusal, EmailAddress, InvalidToken};
use crate::app::App;
use crate::passwords::Password;
use crate::problem::Rejection;

/// Mails a link for a new password to the owner of an address, after the answer.
///
/// # Security
/// Whether there is an account, whether it is open and confirmed, and whether the mail could be sent, shows neither in the answer nor in its
/// time: all of it happens behind the answer.
pub(crate) async fn request_password_reset(app: &App, email: EmailAddress) {
    let inner = app.clone();
    let work = async move {
        if let Err(error) = inner.accounts().request_reset(&email, inner.now()).await {
            tracing::error!(%error, "a link for a new password could not be sent");
        }
    };
    app.background().spawn(work).await;
}

/// When a link for a new password expires; nothing when it is not valid. Looking uses nothing up.
pub(crate) async fn reset_link_expiry(app: &App, token: &str) -> Result<Option<DateTime<Utc>>, Rejection> {
    Ok(app.accounts().reset_expiry(token, app.now()).await?)
}

/// Sets a new password by the link from the mail. All sessions of the account end in the same transaction; the owner is told by mail.
///
/// # Errors
/// 400 for a link that is not valid any more and for a weak password, which leaves the link as it is.
pub(crate) async fn reset_password(
    app: &App,
    token: &str,
    password: Password,
    context: &RequestContext,
) -> Result<(), Rejection> {
    // A hash costs memory and time: nobody gets one for a link that they made up.
    if reset_link_expiry(app, token).await?.is_none() {
        return Err(InvalidToken.into());
    }
    let password = app.accounts().hash_new_password(password).await.map_err(ChangeRefusal::New)?;
    let user = app.sessions().reset_password(app.accounts(), token, &password, context).await?;
    if let Err(error) = app.accounts().notify_password_changed(&user, app.now()).await {
        // It is changed all the same, and the link cannot be tried again.
        tracing::error!(%error, "the owner could not be told of the new password");
    }
    Ok(())
}
