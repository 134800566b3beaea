//! Changes of an account and of its sessions that happen together or not at all.

use session_manager::factory::SqlStorage;
use session_manager_core::{
    ErrorKind, Refreshed, RequestContext, RevocationReason, Rotated, Rotation, SessionId, SessionStorage, UserId,
};
use session_manager_http::{Problem, ProblemType, RETRY_AFTER_OUTAGE};
use uuid::Uuid;

use super::{Sessions, with_role};
use crate::accounts::{Accounts, Fault, InvalidToken, NewPassword, User};
use crate::problem::{Rejection, chain};
use crate::sql::{Overtaken, Transaction, retried};

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
    /// With sessions elsewhere than in the accounts' database the two cannot be one: they end before the commit, so that no failure
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
        Ok(retried!(self.change_password_once(accounts, change, context))?)
    }

    async fn change_password_once(
        &self,
        accounts: &Accounts,
        change: PasswordChange<'_>,
        context: &RequestContext,
    ) -> Result<Refreshed, Undone> {
        let now = self.manager.clock().now();
        let PasswordChange { user, user_id, password, keep } = change;
        let mut transaction = self.pool.begin().await.map_err(Fault::from)?;
        if !accounts.store_password(&mut transaction, user.id, password, now).await? {
            return Err(Rejection::from(ProblemType::Revoked).into());
        }
        let mut after = None;
        let rotation = Rotation::new(PASSWORD_CHANGED).keeping(keep);
        let rotated = if let Some(storage) = self.joined(&mut transaction) {
            let scoped = self.manager.in_transaction(&*storage, &[])?;
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
        Ok(kept(rotated)?)
    }

    /// Closes the account to sign-in and ends all of its sessions, in one transaction. Returns `false` when there is no such account.
    ///
    /// # Behaviour
    /// With sessions elsewhere than in the accounts' database they end before the commit, as they do for a new password.
    ///
    /// # Errors
    /// Nothing was changed; in memory the sessions may have ended.
    pub(crate) async fn disable(
        &self,
        accounts: &Accounts,
        user: Uuid,
        context: &RequestContext,
    ) -> Result<bool, Rejection> {
        Ok(retried!(self.disable_once(accounts, user, context))?)
    }

    async fn disable_once(&self, accounts: &Accounts, user: Uuid, context: &RequestContext) -> Result<bool, Undone> {
        let now = self.manager.clock().now();
        let mut transaction = self.pool.begin().await.map_err(Fault::from)?;
        if !accounts.set_disabled(&mut transaction, user, true, now).await? {
            return Ok(false);
        }
        self.end_all_with(transaction, user, RevocationReason::ACCOUNT_DISABLED, context).await?;
        Ok(true)
    }

    /// Uses a mailed link up, stores the password and ends all sessions of the account, in one transaction. Returns whose it is.
    ///
    /// # Behaviour
    /// With sessions elsewhere than in the accounts' database they end before the commit, as they do for a changed password.
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
        Ok(retried!(self.reset_password_once(accounts, token, password, context))?)
    }

    async fn reset_password_once(
        &self,
        accounts: &Accounts,
        token: &str,
        password: &NewPassword,
        context: &RequestContext,
    ) -> Result<User, Undone> {
        let now = self.manager.clock().now();
        let mut transaction = self.pool.begin().await.map_err(Fault::from)?;
        let user = accounts.reset_password(&mut transaction, token, password, now).await??;
        self.end_all_with(transaction, user.id, RevocationReason::PASSWORD_RESET, context).await?;
        Ok(user)
    }

    /// Ends all sessions of a user together with what the transaction holds already, and commits both.
    async fn end_all_with(
        &self,
        mut transaction: Transaction,
        user: Uuid,
        reason: RevocationReason,
        context: &RequestContext,
    ) -> Result<(), Undone> {
        let user = UserId::from(user);
        let mut after = None;
        if let Some(storage) = self.joined(&mut transaction) {
            let scoped = self.manager.in_transaction(&*storage, &[])?;
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

    /// The sessions as a part of the transaction, where they are in the accounts' database.
    fn joined<'t>(&self, transaction: &'t mut Transaction) -> Option<Box<dyn SessionStorage + 't>> {
        match (self.sql.as_ref()?, transaction) {
            (SqlStorage::Sqlite(storage), Transaction::Sqlite(within)) => {
                Some(Box::new(storage.in_transaction(within)))
            }
            (SqlStorage::Postgres(storage), Transaction::Postgres(within)) => {
                Some(Box::new(storage.in_transaction(within)))
            }
            (SqlStorage::MySql(storage), Transaction::MySql(within)) => Some(Box::new(storage.in_transaction(within))),
            _ => None,
        }
    }
}

/// Why a transaction came to nothing.
enum Undone {
    Accounts(Fault),
    Sessions(session_manager_core::Error),
    Rejected(Rejection),
}

impl Overtaken for Undone {
    fn is_overtaken(&self) -> bool {
        match self {
            Self::Accounts(fault) => fault.is_overtaken(),
            // Within a transaction it means that the whole of it was overtaken.
            Self::Sessions(error) => error.kind() == ErrorKind::Conflict && error.is_retryable(),
            Self::Rejected(_) => false,
        }
    }
}

impl From<Fault> for Undone {
    fn from(fault: Fault) -> Self {
        Self::Accounts(fault)
    }
}

impl From<session_manager_core::Error> for Undone {
    fn from(error: session_manager_core::Error) -> Self {
        Self::Sessions(error)
    }
}

impl From<Rejection> for Undone {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<InvalidToken> for Undone {
    fn from(invalid: InvalidToken) -> Self {
        Self::Rejected(invalid.into())
    }
}

impl From<Undone> for Rejection {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Accounts(fault) => fault.into(),
            // After so many attempts it is a busy database, and nobody's mistake.
            Undone::Sessions(error) if error.kind() == ErrorKind::Conflict => {
                tracing::error!(error = %chain(&error), "the sessions were overtaken again and again");
                Problem::of(ProblemType::Unavailable).with_retry_after(RETRY_AFTER_OUTAGE).into()
            }
            Undone::Sessions(error) => error.into(),
            Undone::Rejected(rejection) => rejection,
        }
    }
}

/// The session was live when the request was admitted; that it has ended since is what any later request would hear.
fn ended_meanwhile(error: session_manager_core::Error) -> Undone {
    if error.kind() == ErrorKind::AlreadyEnded { Rejection::from(ProblemType::Revoked).into() } else { error.into() }
}

fn kept(rotated: Rotated) -> Result<Refreshed, Rejection> {
    rotated.kept.ok_or_else(|| {
        tracing::error!("a rotation did not return the session that it kept");
        ProblemType::Internal.into()
    })
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
