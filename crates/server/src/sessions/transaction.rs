//! Changes of an account and of its sessions that happen together or not at all.

use session_manager_core::{
    ErrorKind, Refreshed, RequestContext, RevocationReason, Rotated, Rotation, SessionId, UserId,
};
use session_manager_http::ProblemType;
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use super::{Sessions, with_role};
use crate::accounts::{Accounts, Fault, NewPassword, User};
use crate::problem::Rejection;

/// The reason in the audit trail.
const PASSWORD_CHANGED: &str = "password_changed";

/// A new password for an account, of whose sessions one stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PasswordChange<'a> {
    pub(crate) user: &'a User,
    pub(crate) user_id: &'a UserId,
    pub(crate) password: &'a NewPassword,
    /// The session that asks. It gets new tokens.
    pub(crate) keep: SessionId,
}

impl Sessions {
    /// Stores the password, ends every other session and renews the tokens of the one that stays, in one transaction.
    ///
    /// # Behaviour
    /// With sessions elsewhere than in the accounts' file the two cannot be one: they end before the commit, so that no failure
    /// leaves a session that the old password opened beside the new password.
    ///
    /// # Errors
    /// Nothing was changed; in memory the sessions may have ended.
    pub(crate) async fn change_password(
        &self,
        accounts: &Accounts,
        change: PasswordChange<'_>,
        context: &RequestContext,
    ) -> Result<Refreshed, Rejection> {
        let now = self.manager.clock().now();
        let PasswordChange { user, user_id, password, keep } = change;
        // The lock at once: the transaction never has to wait for it in its middle.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(Fault::from)?;
        if !accounts.store_password(&mut transaction, user.id, password, now).await? {
            return Err(ProblemType::Revoked.into());
        }
        let mut after = None;
        let rotation = Rotation::new(PASSWORD_CHANGED).keeping(keep);
        let rotated = if let Some(storage) = &self.sql {
            let storage = storage.in_transaction(&mut transaction);
            let scoped = self.manager.in_transaction(&storage, &[])?;
            let work = scoped.rotate_user(user_id, &rotation, context);
            let rotated = with_role(user.role, work).await.map_err(ended_meanwhile)?;
            after = Some(scoped.after_commit());
            rotated
        } else {
            let work = self.manager.rotate_user(user_id, &rotation, context);
            with_role(user.role, work).await.map_err(ended_meanwhile)?
        };
        transaction.commit().await.map_err(Fault::from)?;
        if let Some(after) = after {
            after.publish().await;
        }
        kept(rotated)
    }

    /// Closes the account to sign-in and ends all of its sessions, in one transaction. Returns `false` when there is no such account.
    ///
    /// # Behaviour
    /// With sessions elsewhere than in the accounts' file they end before the commit, as they do for a new password.
    ///
    /// # Errors
    /// Nothing was changed; in memory the sessions may have ended.
    pub(crate) async fn disable(
        &self,
        accounts: &Accounts,
        user: Uuid,
        context: &RequestContext,
    ) -> Result<bool, Rejection> {
        let now = self.manager.clock().now();
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(Fault::from)?;
        if !accounts.set_disabled(&mut transaction, user, true, now).await? {
            return Ok(false);
        }
        self.end_all_with(transaction, user, RevocationReason::ACCOUNT_DISABLED, context).await?;
        Ok(true)
    }

    /// Uses a mailed link up, stores the password and ends all sessions of the account, in one transaction. Returns whose it is.
    ///
    /// # Behaviour
    /// With sessions elsewhere than in the accounts' file they end before the commit, as they do for a changed password.
    ///
    /// # Errors
    /// The link is not valid any more (400). Nothing was changed; in memory the sessions may have ended.
    pub(crate) async fn reset_password(
        &self,
        accounts: &Accounts,
        token: &str,
        password: &NewPassword,
        context: &RequestContext,
    ) -> Result<User, Rejection> {
        let now = self.manager.clock().now();
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(Fault::from)?;
        let user = accounts.reset_password(&mut transaction, token, password, now).await??;
        self.end_all_with(transaction, user.id, RevocationReason::PASSWORD_RESET, context).await?;
        Ok(user)
    }

    /// Ends all sessions of a user together with what the transaction holds already, and commits both.
    async fn end_all_with(
        &self,
        mut transaction: Transaction<'_, Sqlite>,
        user: Uuid,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<(), Rejection> {
        let user = UserId::from(user);
        let mut after = None;
        if let Some(storage) = &self.sql {
            let storage = storage.in_transaction(&mut transaction);
            let scoped = self.manager.in_transaction(&storage, &[])?;
            scoped.revoke_all(&user, reason, context).await?;
            after = Some(scoped.after_commit());
        } else {
            self.manager.revoke_all(&user, reason, context).await?;
        }
        transaction.commit().await.map_err(Fault::from)?;
        if let Some(after) = after {
            after.publish().await;
        }
        Ok(())
    }
}

/// The session was live when the request was admitted; that it has ended since is what any later request would hear.
fn ended_meanwhile(error: session_manager_core::Error) -> Rejection {
    if error.kind() == ErrorKind::AlreadyEnded { ProblemType::Revoked.into() } else { error.into() }
}

fn kept(rotated: Rotated) -> Result<Refreshed, Rejection> {
    rotated.kept.ok_or_else(|| {
        tracing::error!("a rotation did not return the session that it kept");
        ProblemType::Internal.into()
    })
}
