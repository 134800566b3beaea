//! Registration, and the confirmation of addresses.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::tokens::{self, Consumed, Credentials, Grant, InvalidToken, MailToken, Purpose};
use super::user::{by_email, by_id};
use super::{Accounts, AdminRule, EmailAddress, Fault, PasswordRefusal, PersonName, User};
use crate::mail::{Letter, Recipient};
use crate::passwords::Password;
use crate::random;
use crate::sql::{self, Engine, Overtaken, Transaction, retried};

/// What a new user gives.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) email: EmailAddress,
    pub(crate) name: PersonName,
    pub(crate) password: Password,
}

/// What became of a registration.
enum Noted {
    /// It waits for its link.
    Waits {
        token: MailToken,
        /// Another one of the same address waits too.
        earlier: bool,
    },
    Taken(User),
}

/// Who was confirmed.
enum Confirmed {
    New(User),
    /// The account before and after.
    Moved(User, User),
}

impl Accounts {
    /// Makes an account that waits for the confirmation of its address.
    ///
    /// # Behaviour
    /// - Whether the address is taken cannot be observed: the same result, one password hash, one commit that writes a token, one mail.
    /// - The owner of a taken address is told by mail; nothing of the account changes.
    /// - An address that was never confirmed can be registered again. Each registration waits beside the others with its own name, password
    ///   and link, and the link that is opened decides.
    /// - A dropped future may leave the account without its mail; registering again sends it.
    ///
    /// # Security
    /// Were the last registration the one that counts, a stranger could register an address once more and have its owner, who opens the
    /// newest mail, activate the stranger's password. The mail tells the registrations apart by their time.
    pub(crate) async fn register(&self, registration: Registration, now: DateTime<Utc>) -> Result<(), PasswordRefusal> {
        let Registration { email, name, password } = registration;
        let password = self.hash_new_password(password).await?;
        let chosen = Credentials { name, password };
        match retried!(self.note_registration(&email, &chosen, now))? {
            Noted::Waits { token, earlier } => {
                let recipient = Recipient { name: chosen.name.as_str().to_owned(), email };
                let letter = Letter::Verify { token: token.expose(), registered_at: now, earlier };
                Ok(self.send(&recipient, &letter, now).await?)
            }
            Noted::Taken(owner) => Ok(self.send(&owner.recipient(), &Letter::AlreadyRegistered, now).await?),
        }
    }

    async fn note_registration(
        &self,
        email: &EmailAddress,
        chosen: &Credentials,
        now: DateTime<Utc>,
    ) -> Result<Noted, Fault> {
        let mut transaction = self.pool.begin().await?;
        let noted = if let Some(id) = self.insert(&mut transaction, email, chosen, now).await? {
            let earlier = tokens::pending(&mut transaction, id, Purpose::Verify, now).await? > 0;
            let token = tokens::issue(&mut transaction, id, &Grant::Verify(chosen.clone()), now).await?;
            Noted::Waits { token, earlier }
        } else {
            let owner = by_email(&mut transaction, email).await?;
            let owner = owner.ok_or(sqlx::Error::RowNotFound)?.into_user(&self.admins);
            tokens::issue_spent(&mut transaction, owner.id, &Grant::Verify(chosen.clone()), now).await?;
            Noted::Taken(owner)
        };
        transaction.commit().await?;
        Ok(noted)
    }

    /// Confirms the address of a new account, or the new address of an old one. A new account gets the name and the password of the
    /// registration whose link this is; the links of the others die.
    ///
    /// # Errors
    /// The token is unknown, used or expired, or somebody else took the new address meanwhile.
    pub(crate) async fn verify_email(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Result<User, InvalidToken>, Fault> {
        let (old, user) = match retried!(self.confirm_link(token, now)) {
            Ok(Some(Confirmed::New(user))) => return Ok(Ok(user)),
            Ok(Some(Confirmed::Moved(old, user))) => (old, user),
            Ok(None) => return Ok(Err(InvalidToken)),
            // Somebody else has the address after all.
            Err(Collided(fault)) if is_taken(&fault) => return Ok(Err(InvalidToken)),
            Err(Collided(fault)) => return Err(fault),
        };
        if let Err(error) = self.send(&old.recipient(), &Letter::EmailChanged, now).await {
            // It is changed all the same, and the link cannot be tried again.
            tracing::error!(%error, "the old address could not be told of the new one");
        }
        Ok(Ok(user))
    }

    /// Uses the link up, with all that it does, or changes nothing.
    async fn confirm_link(&self, token: &str, now: DateTime<Utc>) -> Result<Option<Confirmed>, Collided> {
        let mut transaction = self.pool.begin().await.map_err(Fault::from)?;
        let confirmed = if let Some(user) = self.confirm_registration(&mut transaction, token, now).await? {
            Some(Confirmed::New(user))
        } else {
            let moved = self.confirm_email_change(&mut transaction, token, now).await?;
            moved.map(|(old, user)| Confirmed::Moved(old, user))
        };
        if confirmed.is_some() {
            transaction.commit().await.map_err(Fault::from)?;
        }
        Ok(confirmed)
    }

    /// Activates what the link's own registration chose. Returns nothing when it is no such link.
    async fn confirm_registration(
        &self,
        db: &mut Transaction,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<User>, Fault> {
        let consumed = tokens::consume(db, token, Purpose::Verify, now).await?;
        let Some(Consumed { user, grant: Grant::Verify(chosen) }) = consumed else { return Ok(None) };
        if !self.confirm(db, user, now).await? {
            return Ok(None);
        }
        sql::query("UPDATE users SET name = ?, password_hash = ? WHERE id = ?")
            .bind(chosen.name.as_str())
            .bind(chosen.password.as_str())
            .bind(user.to_string())
            .execute(&mut *db)
            .await?;
        Ok(by_id(db, user).await?.map(|stored| stored.into_user(&self.admins)))
    }

    /// Marks the address as confirmed, which ends all links that could do so. The first account of all that gets there becomes the
    /// administrator where the rule says so: whoever only registers first has proved nothing. Returns `false` when it was confirmed before.
    async fn confirm(&self, db: &mut Transaction, user: Uuid, now: DateTime<Utc>) -> Result<bool, Fault> {
        let is_first = self.admins == AdminRule::FirstUser && is_first(db).await?;
        let changed = sql::query(
            "UPDATE users SET email_verified_at = ?2, updated_at = ?2, role = CASE WHEN ?3 THEN 'admin' ELSE role END \
             WHERE id = ?1 AND email_verified_at IS NULL",
        )
        .bind(user.to_string())
        .bind(now.timestamp_millis())
        .bind(is_first)
        .execute(&mut *db)
        .await?;
        // The one that was just used up as well: with it goes its copy of the password's hash.
        tokens::revoke(db, user, Purpose::Verify).await?;
        Ok(changed == 1)
    }

    /// Removes accounts that were never confirmed once none of their links is left. Those that are disabled stay: somebody meant them to.
    pub(super) async fn purge_unconfirmed(&self, limit: u32, now: DateTime<Utc>) -> Result<u64, Fault> {
        // Who registers once more at this moment has changed the row: it is looked at again under its lock.
        let done = sql::query(
            "DELETE FROM users WHERE id IN (SELECT id FROM users \
             WHERE email_verified_at IS NULL AND disabled_at IS NULL AND created_at <= ?1 \
             AND NOT EXISTS (SELECT 1 FROM mail_tokens WHERE user_id = users.id) ORDER BY created_at LIMIT ?2) \
             AND email_verified_at IS NULL AND disabled_at IS NULL AND updated_at <= ?1",
        )
        .mysql(
            "DELETE FROM users WHERE email_verified_at IS NULL AND disabled_at IS NULL AND created_at <= ?1 \
             AND updated_at <= ?1 AND NOT EXISTS (SELECT 1 FROM mail_tokens WHERE user_id = users.id) \
             ORDER BY created_at LIMIT ?2",
        )
        .bind((now - Purpose::Verify.lifetime()).timestamp_millis())
        .bind(limit)
        .execute(&self.pool)
        .await?;
        Ok(done)
    }

    /// Inserts the user, or notes the latest registration of one that was never confirmed. Returns nothing when the address is taken.
    async fn insert(
        &self,
        db: &mut Transaction,
        email: &EmailAddress,
        chosen: &Credentials,
        now: DateTime<Utc>,
    ) -> Result<Option<Uuid>, Fault> {
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random::bytes()?).into_uuid();
        let insert = sql::query(
            "INSERT INTO users (id, email, name, password_hash, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5) \
             ON CONFLICT (email) DO UPDATE SET name = ?3, password_hash = ?4, updated_at = ?5 \
             WHERE users.email_verified_at IS NULL AND users.disabled_at IS NULL \
             RETURNING id",
        )
        .mysql(
            "INSERT INTO users (id, email, name, password_hash, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5) \
             ON DUPLICATE KEY UPDATE \
               name = CASE WHEN email_verified_at IS NULL AND disabled_at IS NULL THEN ?3 ELSE name END, \
               password_hash = CASE WHEN email_verified_at IS NULL AND disabled_at IS NULL THEN ?4 ELSE password_hash END, \
               updated_at = CASE WHEN email_verified_at IS NULL AND disabled_at IS NULL THEN ?5 ELSE updated_at END",
        )
        .bind(id.to_string())
        .bind(email.as_str())
        .bind(chosen.name.as_str())
        .bind(chosen.password.as_str())
        .bind(now.timestamp_millis());
        let row = if db.engine() == Engine::MySql {
            insert.execute(&mut *db).await?;
            // The row is ours until the end of the transaction, whoever made it.
            sql::query("SELECT id FROM users WHERE email = ? AND email_verified_at IS NULL AND disabled_at IS NULL")
                .bind(email.as_str())
                .fetch_optional(db)
                .await?
        } else {
            insert.fetch_optional(db).await?
        };
        let id: Option<String> = row.map(|row| row.only()).transpose()?;
        let parsed = id.map(|id| id.parse()).transpose();
        Ok(parsed.map_err(|_| sqlx::Error::Decode("a user id is not a UUID".into()))?)
    }

    pub(super) async fn send(&self, to: &Recipient, letter: &Letter<'_>, now: DateTime<Utc>) -> Result<(), Fault> {
        self.mailer.send(to, letter, now).await?;
        Ok(())
    }
}

/// A fault that may have come of somebody who registered the same address meanwhile.
#[derive(Debug)]
struct Collided(Fault);

impl From<Fault> for Collided {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl Overtaken for Collided {
    fn is_overtaken(&self) -> bool {
        self.0.is_overtaken() || is_taken(&self.0)
    }
}

/// Whether a row with the same address was in the way.
fn is_taken(fault: &Fault) -> bool {
    let Fault::Storage(error) = fault else { return false };
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Whether nobody was confirmed yet, and nobody else is until the transaction ends.
async fn is_first(db: &mut Transaction) -> Result<bool, Fault> {
    if db.engine() != Engine::Sqlite {
        sql::query("SELECT id FROM first_account FOR UPDATE").fetch_one(&mut *db).await?;
    }
    let confirmed = sql::query("SELECT id FROM users WHERE email_verified_at IS NOT NULL LIMIT 1");
    Ok(confirmed.fetch_optional(db).await?.is_none())
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
