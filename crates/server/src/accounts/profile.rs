//! Changes that users, or administrators, make to an account.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::tokens::{self, Consumed, Grant, MailToken, Purpose};
use super::user::{by_email, by_id};
use super::{Accounts, EmailAddress, Fault, PersonName, User};
use crate::mail::{Letter, Recipient};
use crate::sql::{self, Transaction, retried};

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
        sql::query("UPDATE users SET name = ?, updated_at = ? WHERE id = ?")
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
    /// For an address that another account has, its owner is told instead. The result is the same, and so is what is written: earlier links
    /// of the account die, a token is committed, one mail is sent. An address that somebody registered and never confirmed is free: nobody
    /// can keep it from its owner.
    pub(crate) async fn request_email_change(
        &self,
        user: &User,
        new_email: &EmailAddress,
        now: DateTime<Utc>,
    ) -> Result<EmailChange, Fault> {
        if user.email == *new_email {
            return Ok(EmailChange::Unchanged);
        }
        match retried!(self.issue_email_change(user, new_email, now))? {
            Err(owner) => self.send(&owner.recipient(), &Letter::AlreadyRegistered, now).await?,
            Ok(token) => {
                let recipient = Recipient { name: user.name.clone(), email: new_email.clone() };
                self.send(&recipient, &Letter::EmailChange { token: token.expose() }, now).await?;
            }
        }
        Ok(EmailChange::Pending)
    }

    /// The token, or whose the address is already.
    async fn issue_email_change(
        &self,
        user: &User,
        new_email: &EmailAddress,
        now: DateTime<Utc>,
    ) -> Result<Result<MailToken, User>, Fault> {
        let grant = Grant::EmailChange(new_email.clone());
        let mut transaction = self.pool.begin().await?;
        super::user::lock(&mut transaction, user.id).await?;
        let owner = by_email(&mut transaction, new_email).await?.map(|stored| stored.into_user(&self.admins));
        let issued = if let Some(owner) = owner.filter(|owner| !owner.is_pending()) {
            tokens::issue_spent(&mut transaction, user.id, &grant, now).await?;
            Err(owner)
        } else {
            Ok(tokens::issue(&mut transaction, user.id, &grant, now).await?)
        };
        transaction.commit().await?;
        Ok(issued)
    }

    /// Takes back the wish for another address.
    pub(crate) async fn forget_email_change(&self, user: &User) -> Result<(), Fault> {
        let mut transaction = self.pool.begin().await?;
        super::user::lock(&mut transaction, user.id).await?;
        tokens::revoke(&mut transaction, user.id, Purpose::EmailChange).await?;
        Ok(transaction.commit().await?)
    }

    /// Makes the address of the link that of its account; whatever registration of it was never confirmed is gone then. Returns the account
    /// before and after; nothing when it is no such link, or when somebody else took the address meanwhile.
    pub(super) async fn confirm_email_change(
        &self,
        db: &mut Transaction,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<(User, User)>, Fault> {
        let consumed = tokens::consume(db, token, Purpose::EmailChange, now).await?;
        let Some(Consumed { user, grant: Grant::EmailChange(new_email) }) = consumed else { return Ok(None) };
        let Some(old) = by_id(&mut *db, user).await? else { return Ok(None) };
        let old = old.into_user(&self.admins);
        if old.disabled_at.is_some() {
            return Ok(None);
        }
        sql::query("DELETE FROM users WHERE email = ? AND email_verified_at IS NULL AND disabled_at IS NULL")
            .bind(new_email.as_str())
            .execute(&mut *db)
            .await?;
        if by_email(&mut *db, &new_email).await?.is_some() {
            return Ok(None);
        }
        // Who registers the address at this very moment makes this fail, and it is done again.
        let changed = sql::query("UPDATE users SET email = ?2, email_verified_at = ?1, updated_at = ?1 WHERE id = ?3")
            .bind(now.timestamp_millis())
            .bind(new_email.as_str())
            .bind(user.to_string())
            .execute(&mut *db)
            .await?;
        if changed == 0 {
            return Ok(None);
        }
        // A link for a new password that lies in the old mailbox must not open the account any more.
        tokens::revoke(db, user, Purpose::Reset).await?;
        let Some(new) = by_id(db, user).await? else { return Ok(None) };
        Ok(Some((old, new.into_user(&self.admins))))
    }

    /// Closes the account to sign-in, or opens it again, in the caller's transaction with the end of its sessions. Links that were mailed die
    /// when it is closed. Returns `false` when there is no such user.
    pub(crate) async fn set_disabled(
        &self,
        db: &mut Transaction,
        user: Uuid,
        disabled: bool,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let done = sql::query("UPDATE users SET disabled_at = ?, updated_at = ? WHERE id = ?")
            .bind(disabled.then(|| now.timestamp_millis()))
            .bind(now.timestamp_millis())
            .bind(user.to_string())
            .execute(&mut *db)
            .await?;
        if disabled {
            for purpose in [Purpose::Reset, Purpose::EmailChange] {
                tokens::revoke(&mut *db, user, purpose).await?;
            }
        }
        Ok(done == 1)
    }
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
