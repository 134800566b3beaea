//! New passwords: hashing, changing, resetting.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::sign_in::{Attempted, Origin, Refusal};
use super::tokens::{self, Grant, InvalidToken, MailToken, Purpose};
use super::user::{by_email, by_id};
use super::{Accounts, EmailAddress, Fault, User};
use crate::mail::Letter;
use crate::passwords::{Password, Violation, violations};
use crate::sql::{self, Transaction, retried};

/// So many links for a new password an account has at once.
const MOST_LINKS: i64 = 5;

/// The hash of a password that keeps the rules. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NewPassword(String);

impl NewPassword {
    /// A hash that was stored by us.
    pub(super) fn from_stored(hash: String) -> Self {
        Self(hash)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword(***)")
    }
}

/// A new password was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordRefusal {
    #[error("the password is too weak")]
    Weak(Vec<Violation>),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A password was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeRefusal {
    /// The current password was wrong, or cannot be tried now.
    #[error(transparent)]
    Current(Refusal),
    #[error("the new password is the current one")]
    Same,
    #[error(transparent)]
    New(#[from] PasswordRefusal),
}

impl Accounts {
    /// Checks the rules and hashes.
    pub(crate) async fn hash_new_password(&self, password: Password) -> Result<NewPassword, PasswordRefusal> {
        let violations = violations(password.expose());
        if !violations.is_empty() {
            return Err(PasswordRefusal::Weak(violations));
        }
        Ok(NewPassword(self.passwords.hash(password).await.map_err(Fault::from)?))
    }

    /// Checks the current password, with the delays and the lockout of sign-in, and hashes the new one. Stores nothing: that
    /// is [`Accounts::store_password`], in one transaction with the end of the other sessions.
    pub(crate) async fn prepare_password_change(
        &self,
        user: &User,
        current: Password,
        new: Password,
        origin: &Origin,
        now: DateTime<Utc>,
    ) -> Result<Attempted<NewPassword, ChangeRefusal>, Fault> {
        let same = current == new;
        let Attempted { delay, outcome } = self.check_password(user, current, origin, now).await?;
        let outcome = match outcome {
            Err(refusal) => Err(ChangeRefusal::Current(refusal)),
            Ok(()) if same => Err(ChangeRefusal::Same),
            Ok(()) => self.hash_new_password(new).await.map_err(ChangeRefusal::New),
        };
        Ok(Attempted { delay, outcome })
    }

    /// Stores a password. Links for a reset die, and so does a change of address that waits for its link: whoever had the account before must
    /// not take it along. Returns `false` when there is no such user.
    pub(crate) async fn store_password(
        &self,
        db: &mut Transaction,
        user: Uuid,
        password: &NewPassword,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let changed = sql::query("UPDATE users SET password_hash = ?, updated_at = ? WHERE id = ?")
            .bind(password.as_str())
            .bind(now.timestamp_millis())
            .bind(user.to_string())
            .execute(&mut *db)
            .await?;
        for purpose in [Purpose::Reset, Purpose::EmailChange] {
            tokens::revoke(&mut *db, user, purpose).await?;
        }
        Ok(changed == 1)
    }

    /// Tells the user that the password was changed. Send it after the commit.
    pub(crate) async fn notify_password_changed(&self, user: &User, now: DateTime<Utc>) -> Result<(), Fault> {
        self.send(&user.recipient(), &Letter::PasswordChanged, now).await
    }

    /// Mails a link for a new password when the address is that of an account that is open and confirmed.
    ///
    /// # Behaviour
    /// Up to five links live beside one another, and using one uses up all. Whoever asks for more gets none: so strangers who ask again and again
    /// can neither take the owner's link away nor fill the mailbox, and whatever they do, it has links that are good.
    ///
    /// # Security
    /// Takes longer for a known address: answer the request before this future ends. An address that was never confirmed is nobody's yet, and
    /// its owner might be made to activate a stranger's registration.
    pub(crate) async fn request_reset(&self, email: &EmailAddress, now: DateTime<Utc>) -> Result<(), Fault> {
        let Some(found) = by_email(&self.pool, email).await? else { return Ok(()) };
        let id = found.into_user(&self.admins).id;
        let Some((user, token)) = retried!(self.issue_reset(id, email, now))? else { return Ok(()) };
        self.send(&user.recipient(), &Letter::Reset { token: token.expose() }, now).await
    }

    /// Under the account's lock: those who ask at the same time count one another's links, and an account that closes meanwhile gets none.
    async fn issue_reset(
        &self,
        id: Uuid,
        email: &EmailAddress,
        now: DateTime<Utc>,
    ) -> Result<Option<(User, MailToken)>, Fault> {
        let mut transaction = self.pool.begin().await?;
        super::user::lock(&mut transaction, id).await?;
        let Some(stored) = by_email(&mut transaction, email).await? else { return Ok(None) };
        let user = stored.into_user(&self.admins);
        if user.id != id || user.disabled_at.is_some() || user.email_verified_at.is_none() {
            return Ok(None);
        }
        if tokens::pending(&mut transaction, id, Purpose::Reset, now).await? >= MOST_LINKS {
            tracing::info!(user = %id, "no further link for a new password: the mailbox has enough that are good");
            return Ok(None);
        }
        let token = tokens::issue(&mut transaction, id, &Grant::Reset, now).await?;
        transaction.commit().await?;
        Ok(Some((user, token)))
    }

    /// When the link for a new password expires, if it is good now.
    pub(crate) async fn reset_expiry(&self, token: &str, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Fault> {
        tokens::expiry(&self.pool, token, Purpose::Reset, now).await
    }

    /// Uses the link up and stores the password, in the caller's transaction with the end of all sessions. A link of an account that was
    /// disabled since is good for nothing.
    pub(crate) async fn reset_password(
        &self,
        db: &mut Transaction,
        token: &str,
        password: &NewPassword,
        now: DateTime<Utc>,
    ) -> Result<Result<User, InvalidToken>, Fault> {
        let Some(consumed) = tokens::consume(db, token, Purpose::Reset, now).await? else {
            return Ok(Err(InvalidToken));
        };
        let stored = by_id(&mut *db, consumed.user).await?.map(|stored| stored.into_user(&self.admins));
        let Some(user) = stored.filter(|user| user.disabled_at.is_none()) else {
            return Ok(Err(InvalidToken));
        };
        self.store_password(db, user.id, password, now).await?;
        Ok(Ok(user))
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
