//! A user as stored and as seen, and who is an administrator.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Accounts, EmailAddress, Fault};
use crate::mail::Recipient;
use crate::sql::{self, FromRow, On, Row, Transaction};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    User,
    Admin,
}

/// Who is an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminRule {
    /// The account with the configured `admin.email`.
    Email(EmailAddress),
    /// The first account that was confirmed; only while the service is for this machine alone.
    FirstUser,
    /// Nobody.
    Nobody,
}

impl AdminRule {
    /// The rule for the configured address, and whether only this machine reaches the service.
    pub(crate) fn new(email: Option<EmailAddress>, is_local: bool) -> Self {
        match email {
            Some(email) => Self::Email(email),
            None if is_local => Self::FirstUser,
            None => Self::Nobody,
        }
    }

    /// Judged anew at every read, so that a changed configuration counts at once.
    fn role(&self, email: &EmailAddress, stored: &str) -> Role {
        let admin = match self {
            Self::Email(configured) => configured == email,
            Self::FirstUser => stored == "admin",
            Self::Nobody => false,
        };
        if admin { Role::Admin } else { Role::User }
    }
}

/// An account without its password hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) email: EmailAddress,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) email_verified_at: Option<DateTime<Utc>>,
    pub(crate) disabled_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl User {
    /// Whether the address waits for its confirmation. Until then it is nobody's: it can be registered again, or become the address of
    /// another account. Of a disabled account it stays taken.
    pub(super) fn is_pending(&self) -> bool {
        self.email_verified_at.is_none() && self.disabled_at.is_none()
    }

    /// As recipient of a letter.
    pub(crate) fn recipient(&self) -> Recipient {
        Recipient { name: self.name.clone(), email: self.email.clone() }
    }
}

/// A row of `users`.
pub(super) struct Stored {
    pub(super) password_hash: String,
    role: String,
    user: User,
}

impl Stored {
    /// The user with the role that the rule gives.
    pub(super) fn into_user(self, admins: &AdminRule) -> User {
        let role = admins.role(&self.user.email, &self.role);
        User { role, ..self.user }
    }
}

impl FromRow for Stored {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let id: String = row.try_get("id")?;
        Ok(Self {
            password_hash: row.try_get("password_hash")?,
            role: row.try_get("role")?,
            user: User {
                id: id.parse().map_err(|_| sqlx::Error::Decode("a user id is not a UUID".into()))?,
                email: EmailAddress::from_stored(row.try_get("email")?),
                name: row.try_get("name")?,
                role: Role::User,
                email_verified_at: row.try_get::<Option<i64>>("email_verified_at")?.map(time).transpose()?,
                disabled_at: row.try_get::<Option<i64>>("disabled_at")?.map(time).transpose()?,
                created_at: time(row.try_get("created_at")?)?,
                updated_at: time(row.try_get("updated_at")?)?,
            },
        })
    }
}

/// Stored milliseconds as a time.
pub(super) fn time(millis: i64) -> sqlx::Result<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis).ok_or_else(|| sqlx::Error::Decode("a stored time is out of range".into()))
}

impl Accounts {
    /// The user with this id.
    pub(crate) async fn find(&self, id: Uuid) -> Result<Option<User>, Fault> {
        Ok(by_id(&self.pool, id).await?.map(|stored| stored.into_user(&self.admins)))
    }

    /// The user with this address.
    pub(crate) async fn find_by_email(&self, email: &EmailAddress) -> Result<Option<User>, Fault> {
        Ok(by_email(&self.pool, email).await?.map(|stored| stored.into_user(&self.admins)))
    }
}

pub(super) async fn by_id(db: impl Into<On<'_>>, id: Uuid) -> sqlx::Result<Option<Stored>> {
    let row = sql::query("SELECT * FROM users WHERE id = ?").bind(id.to_string()).fetch_optional(db).await?;
    row.map(|row| row.read()).transpose()
}

/// Keeps others from changing the user, and what belongs to it, until the transaction ends. Everybody who changes more than one row of an account
/// begins with this one, so that nobody waits for somebody who waits for them.
pub(super) async fn lock(db: &mut Transaction, id: Uuid) -> sqlx::Result<()> {
    sql::query("SELECT id FROM users WHERE id = ? FOR UPDATE").bind(id.to_string()).fetch_optional(db).await?;
    Ok(())
}

/// The user with this id, once whoever is changing it has done so; nobody changes it until the transaction ends.
pub(super) async fn by_id_locked(db: &mut Transaction, id: Uuid) -> sqlx::Result<Option<Stored>> {
    let row = sql::query("SELECT * FROM users WHERE id = ? FOR UPDATE").bind(id.to_string()).fetch_optional(db).await?;
    row.map(|row| row.read()).transpose()
}

pub(super) async fn by_email(db: impl Into<On<'_>>, email: &EmailAddress) -> sqlx::Result<Option<Stored>> {
    let row = sql::query("SELECT * FROM users WHERE email = ?").bind(email.as_str()).fetch_optional(db).await?;
    row.map(|row| row.read()).transpose()
}
