//! Single-use tokens sent by mail: 32 random bytes, of which only the SHA-256 is stored.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{EmailAddress, Fault, NewPassword, PersonName};
use crate::random;
use crate::sql::{self, Pool, Row, Transaction};

/// The token is unknown, expired or used; which of them is nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link is not valid any more")]
pub(crate) struct InvalidToken;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Verify,
    Reset,
    EmailChange,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Reset => "reset",
            Self::EmailChange => "email-change",
        }
    }

    pub(super) fn lifetime(self) -> TimeDelta {
        match self {
            Self::Verify | Self::EmailChange => TimeDelta::hours(24),
            Self::Reset => TimeDelta::hours(1),
        }
    }
}

/// What a token gives to whoever opens its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// The account, with what this registration chose.
    Verify(Credentials),
    /// A new password.
    Reset,
    /// This address.
    EmailChange(EmailAddress),
}

/// What somebody chose at registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) name: PersonName,
    pub(super) password: NewPassword,
}

impl Grant {
    fn purpose(&self) -> Purpose {
        match self {
            Self::Verify(_) => Purpose::Verify,
            Self::Reset => Purpose::Reset,
            Self::EmailChange(_) => Purpose::EmailChange,
        }
    }

    fn credentials(&self) -> Option<&Credentials> {
        if let Self::Verify(credentials) = self { Some(credentials) } else { None }
    }

    fn new_email(&self) -> Option<&EmailAddress> {
        if let Self::EmailChange(email) = self { Some(email) } else { None }
    }

    fn of_row(purpose: Purpose, row: &Row) -> sqlx::Result<Self> {
        Ok(match purpose {
            Purpose::Verify => Self::Verify(Credentials {
                name: PersonName::from_stored(row.try_get("name")?),
                password: NewPassword::from_stored(row.try_get("password_hash")?),
            }),
            Purpose::Reset => Self::Reset,
            Purpose::EmailChange => Self::EmailChange(EmailAddress::from_stored(row.try_get("new_email")?)),
        })
    }
}

/// A token in clear, on its way into a mail.
pub(super) struct MailToken(Zeroizing<String>);

impl MailToken {
    fn generate() -> Result<Self, Fault> {
        let bytes = Zeroizing::new(random::bytes::<32>()?);
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MailToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailToken(***)")
    }
}

/// A token that was just used up.
#[derive(Debug)]
pub(super) struct Consumed {
    pub(super) user: Uuid,
    pub(super) grant: Grant,
}

/// Makes a token. An earlier change of address dies by another one. Those of registrations and resets live on beside it: anybody can ask for one,
/// and must not take away the link of whoever did so first.
pub(super) async fn issue(
    db: &mut Transaction,
    user: Uuid,
    grant: &Grant,
    now: DateTime<Utc>,
) -> Result<MailToken, Fault> {
    write(db, user, grant, now + grant.purpose().lifetime(), None).await
}

/// Writes what [`issue`] would write, used up and expired already: a refusal has to cost what a success costs, or its time would tell it.
/// The clean-up removes it.
pub(super) async fn issue_spent(
    db: &mut Transaction,
    user: Uuid,
    grant: &Grant,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    write(db, user, grant, now, Some(now)).await.map(drop)
}

async fn write(
    db: &mut Transaction,
    user: Uuid,
    grant: &Grant,
    expires_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
) -> Result<MailToken, Fault> {
    let (token, purpose) = (MailToken::generate()?, grant.purpose());
    super::user::lock(db, user).await?;
    if purpose == Purpose::EmailChange {
        revoke(db, user, purpose).await?;
    }
    sql::query(
        "INSERT INTO mail_tokens (hash, user_id, purpose, name, password_hash, new_email, expires_at, used_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(hash(token.expose()))
    .bind(user.to_string())
    .bind(purpose.as_str())
    .bind(grant.credentials().map(|credentials| credentials.name.as_str()))
    .bind(grant.credentials().map(|credentials| credentials.password.as_str()))
    .bind(grant.new_email().map(EmailAddress::as_str))
    .bind(expires_at.timestamp_millis())
    .bind(used_at.map(|time| time.timestamp_millis()))
    .execute(db)
    .await?;
    Ok(token)
}

/// How many tokens for the purpose the user has that are good now.
pub(super) async fn pending(
    db: &mut Transaction,
    user: Uuid,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<i64, Fault> {
    let counted = sql::query(
        "SELECT count(*) FROM mail_tokens WHERE user_id = ? AND purpose = ? AND used_at IS NULL AND expires_at > ?",
    )
    .bind(user.to_string())
    .bind(purpose.as_str())
    .bind(now.timestamp_millis())
    .fetch_one(db)
    .await?;
    Ok(counted.only()?)
}

/// Removes the user's tokens for a purpose.
pub(super) async fn revoke(db: &mut Transaction, user: Uuid, purpose: Purpose) -> Result<(), Fault> {
    sql::query("DELETE FROM mail_tokens WHERE user_id = ? AND purpose = ?")
        .bind(user.to_string())
        .bind(purpose.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// Uses the token up. It is judged under the lock of its user, so that of two that come at once one finds it used.
pub(super) async fn consume(
    db: &mut Transaction,
    token: &str,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Option<Consumed>, Fault> {
    let owner = sql::query("SELECT user_id FROM mail_tokens WHERE hash = ?").bind(hash(token)).fetch_optional(&mut *db);
    let Some(owner) = owner.await? else { return Ok(None) };
    let owner: String = owner.only()?;
    let owner: Uuid = owner.parse().map_err(|_| sqlx::Error::Decode("a user id is not a UUID".into()))?;
    super::user::lock(db, owner).await?;
    let row = sql::query(
        "SELECT name, password_hash, new_email FROM mail_tokens \
         WHERE hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ? FOR UPDATE",
    )
    .bind(hash(token))
    .bind(purpose.as_str())
    .bind(now.timestamp_millis())
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    sql::query("UPDATE mail_tokens SET used_at = ? WHERE hash = ?")
        .bind(now.timestamp_millis())
        .bind(hash(token))
        .execute(db)
        .await?;
    Ok(Some(Consumed { user: owner, grant: Grant::of_row(purpose, &row)? }))
}

/// When the token expires, if it is good now. Those of a disabled account are not, however it came to be disabled.
pub(super) async fn expiry(
    pool: &Pool,
    token: &str,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Fault> {
    let row = sql::query(
        "SELECT mail_tokens.expires_at FROM mail_tokens JOIN users ON users.id = mail_tokens.user_id \
         WHERE hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ? AND users.disabled_at IS NULL",
    )
    .bind(hash(token))
    .bind(purpose.as_str())
    .bind(now.timestamp_millis())
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| super::user::time(row.only()?)).transpose()?)
}

/// Removes expired tokens.
pub(super) async fn purge(pool: &Pool, limit: u32, now: DateTime<Utc>) -> Result<u64, Fault> {
    let done = sql::query(
        "DELETE FROM mail_tokens WHERE hash IN (SELECT hash FROM mail_tokens WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
    )
    .mysql("DELETE FROM mail_tokens WHERE expires_at <= ? ORDER BY expires_at LIMIT ?")
    .bind(now.timestamp_millis())
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(done)
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
