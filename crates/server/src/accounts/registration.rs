//! Registration, and the confirmation of addresses.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::tokens::{self, InvalidToken, Purpose};
use super::user::{by_email, by_id};
use super::{Accounts, AdminRule, EmailAddress, Fault, PasswordRefusal, PersonName, User};
use crate::mail::{Letter, Recipient};
use crate::passwords::Password;
use crate::random;

/// What a new user gives.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) email: EmailAddress,
    pub(crate) name: PersonName,
    pub(crate) password: Password,
}

impl Accounts {
    /// Makes an account that waits for the confirmation of its address.
    ///
    /// # Behaviour
    /// - Whether the address is taken cannot be observed: the same result, one password hash, one mail.
    /// - The owner of a taken address is told by mail; nothing else changes.
    /// - An account that was never confirmed is replaced: the last registration counts, earlier links die.
    /// - A dropped future may leave the account without its mail; registering again sends it.
    pub(crate) async fn register(&self, registration: Registration, now: DateTime<Utc>) -> Result<(), PasswordRefusal> {
        let Registration { email, name, password } = registration;
        let hash = self.hash_new_password(password).await?;
        let mut transaction = self.pool.begin().await.map_err(Fault::from)?;
        let made = self.insert(&mut transaction, &email, &name, hash.as_str(), now).await?;
        if let Some(id) = made {
            let token = tokens::issue(&mut transaction, id, Purpose::Verify, None, now).await?;
            transaction.commit().await.map_err(Fault::from)?;
            let recipient = Recipient { name: name.as_str().to_owned(), email };
            self.send(&recipient, &Letter::Verify { token: token.expose() }, now).await?;
        } else {
            let owner = by_email(&mut *transaction, &email).await.map_err(Fault::from)?;
            transaction.rollback().await.map_err(Fault::from)?;
            if let Some(owner) = owner {
                let owner = owner.into_user(&self.admins);
                self.send(&owner.recipient(), &Letter::AlreadyRegistered, now).await?;
            }
        }
        Ok(())
    }

    /// Confirms the address of a new account, or the new address of an old one.
    ///
    /// # Errors
    /// The token is unknown, used or expired, or somebody else took the new address meanwhile.
    pub(crate) async fn verify_email(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Result<User, InvalidToken>, Fault> {
        let mut transaction = self.pool.begin().await?;
        let millis = now.timestamp_millis();
        let (user, old_email) =
            if let Some(consumed) = tokens::consume(&mut transaction, token, Purpose::Verify, now).await? {
                sqlx::query(
                "UPDATE users SET email_verified_at = coalesce(email_verified_at, ?1), updated_at = ?1 WHERE id = ?2",
            )
            .bind(millis)
            .bind(consumed.user.to_string())
            .execute(&mut *transaction)
            .await?;
                (consumed.user, None)
            } else if let Some(consumed) = tokens::consume(&mut transaction, token, Purpose::EmailChange, now).await? {
                let old = by_id(&mut *transaction, consumed.user).await?.map(|stored| stored.into_user(&self.admins));
                let new_email = consumed.new_email.as_ref().map(EmailAddress::as_str);
                let changed = sqlx::query(
                    "UPDATE OR IGNORE users SET email = ?2, email_verified_at = ?1, updated_at = ?1 WHERE id = ?3",
                )
                .bind(millis)
                .bind(new_email)
                .bind(consumed.user.to_string())
                .execute(&mut *transaction)
                .await?;
                if changed.rows_affected() == 0 {
                    return Ok(Err(InvalidToken));
                }
                // A link for a new password that lies in the old mailbox must not open the account any more.
                tokens::revoke(&mut transaction, consumed.user, Purpose::Reset).await?;
                (consumed.user, old)
            } else {
                return Ok(Err(InvalidToken));
            };
        let stored = by_id(&mut *transaction, user).await?.ok_or(sqlx::Error::RowNotFound)?;
        transaction.commit().await?;
        if let Some(old) = old_email {
            self.send(&old.recipient(), &Letter::EmailChanged, now).await?;
        }
        Ok(Ok(stored.into_user(&self.admins)))
    }

    /// Inserts the user, or replaces one that was never confirmed. Returns nothing when the address is taken.
    async fn insert(
        &self,
        db: &mut SqliteConnection,
        email: &EmailAddress,
        name: &PersonName,
        password_hash: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Uuid>, Fault> {
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random::bytes()?).into_uuid();
        let id: Option<String> = sqlx::query_scalar(
            "INSERT INTO users (id, email, name, password_hash, role, created_at, updated_at) \
             VALUES (?1, ?2, ?3, ?4, CASE WHEN ?5 AND NOT EXISTS (SELECT 1 FROM users) THEN 'admin' ELSE 'user' END, ?6, ?6) \
             ON CONFLICT (email) DO UPDATE SET name = ?3, password_hash = ?4, updated_at = ?6 \
             WHERE users.email_verified_at IS NULL AND users.disabled_at IS NULL \
             RETURNING id",
        )
        .bind(id.to_string())
        .bind(email.as_str())
        .bind(name.as_str())
        .bind(password_hash)
        .bind(self.admins == AdminRule::FirstUser)
        .bind(now.timestamp_millis())
        .fetch_optional(db)
        .await?;
        let parsed = id.map(|id| id.parse()).transpose();
        Ok(parsed.map_err(|_| sqlx::Error::Decode("a user id is not a UUID".into()))?)
    }

    pub(super) async fn send(&self, to: &Recipient, letter: &Letter<'_>, now: DateTime<Utc>) -> Result<(), Fault> {
        self.mailer.send(to, letter, now).await?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
