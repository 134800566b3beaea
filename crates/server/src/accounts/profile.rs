//! Changes that users, or administrators, make to an account.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::tokens::{self, Purpose};
use super::user::by_email;
use super::{Accounts, EmailAddress, Fault, PersonName, User};
use crate::mail::{Letter, Recipient};

/// What became of the wish for another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EmailChange {
    /// It is the address of the account already.
    Unchanged,
    /// A mail is on its way to the new address; the old one stays until it is confirmed.
    Pending,
}

impl Accounts {
    /// Changes the name. Returns nothing when there is no such user.
    pub(crate) async fn update_name(
        &self,
        user: Uuid,
        name: &PersonName,
        now: DateTime<Utc>,
    ) -> Result<Option<User>, Fault> {
        sqlx::query("UPDATE users SET name = ?, updated_at = ? WHERE id = ?")
            .bind(name.as_str())
            .bind(now.timestamp_millis())
            .bind(user.to_string())
            .execute(&self.pool)
            .await?;
        self.find(user).await
    }

    /// Mails the link that makes `new_email` the address of the account.
    ///
    /// # Security
    /// For an address that another account has, its owner is told instead; the result is the same.
    pub(crate) async fn request_email_change(
        &self,
        user: &User,
        new_email: &EmailAddress,
        now: DateTime<Utc>,
    ) -> Result<EmailChange, Fault> {
        if user.email == *new_email {
            return Ok(EmailChange::Unchanged);
        }
        if let Some(owner) = by_email(&self.pool, new_email).await? {
            let owner = owner.into_user(&self.admins);
            self.send(&owner.recipient(), &Letter::AlreadyRegistered, now).await?;
            return Ok(EmailChange::Pending);
        }
        let mut transaction = self.pool.begin().await?;
        let token = tokens::issue(&mut transaction, user.id, Purpose::EmailChange, Some(new_email), now).await?;
        transaction.commit().await?;
        let recipient = Recipient { name: user.name.clone(), email: new_email.clone() };
        self.send(&recipient, &Letter::EmailChange { token: token.expose() }, now).await?;
        Ok(EmailChange::Pending)
    }

    /// Closes the account to sign-in, or opens it again. End its sessions too. Returns `false` when there is no such user.
    #[cfg_attr(not(test), expect(dead_code, reason = "the administration pages will call it"))]
    pub(crate) async fn set_disabled(&self, user: Uuid, disabled: bool, now: DateTime<Utc>) -> Result<bool, Fault> {
        let done = sqlx::query("UPDATE users SET disabled_at = ?, updated_at = ? WHERE id = ?")
            .bind(disabled.then(|| now.timestamp_millis()))
            .bind(now.timestamp_millis())
            .bind(user.to_string())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
