//! Closing an account, and opening it again.

use session_manager_core::RequestContext;
use uuid::Uuid;

use crate::accounts::Fault;
use crate::app::App;
use crate::problem::Rejection;
use crate::sql::retried;

/// Closes an account to sign-in and ends all of its sessions, in one step. Returns `false` when there is no such account.
pub(crate) async fn disable_account(app: &App, user: Uuid, context: &RequestContext) -> Result<bool, Rejection> {
    app.sessions().disable(app.accounts(), user, context).await
}

/// Opens an account again. Its sessions stay ended. Returns `false` when there is no such account.
pub(crate) async fn enable_account(app: &App, user: Uuid) -> Result<bool, Rejection> {
    Ok(retried!(enable_once(app, user))?)
}

async fn enable_once(app: &App, user: Uuid) -> Result<bool, Fault> {
    let mut transaction = app.data().pool.begin().await?;
    let is_there = app.accounts().set_disabled(&mut transaction, user, false, app.now()).await?;
    transaction.commit().await?;
    Ok(is_there)
}
