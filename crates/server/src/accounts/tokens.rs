//! Single-use tokens sent by mail: 32 random bytes, of which only the SHA-256 is stored.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::{Row as _, SqliteConnection, SqlitePool};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{EmailAddress, Fault};
use crate::random;

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

    fn lifetime(self) -> TimeDelta {
        match self {
            Self::Verify | Self::EmailChange => TimeDelta::hours(24),
            Self::Reset => TimeDelta::hours(1),
        }
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
    pub(super) new_email: Option<EmailAddress>,
}

/// Makes a token; earlier ones of the user for the same purpose die.
pub(super) async fn issue(
    db: &mut SqliteConnection,
    user: Uuid,
    purpose: Purpose,
    new_email: Option<&EmailAddress>,
    now: DateTime<Utc>,
) -> Result<MailToken, Fault> {
    let token = MailToken::generate()?;
    revoke(db, user, purpose).await?;
    sqlx::query("INSERT INTO mail_tokens (hash, user_id, purpose, new_email, expires_at) VALUES (?, ?, ?, ?, ?)")
        .bind(hash(token.expose()))
        .bind(user.to_string())
        .bind(purpose.as_str())
        .bind(new_email.map(EmailAddress::as_str))
        .bind((now + purpose.lifetime()).timestamp_millis())
        .execute(db)
        .await?;
    Ok(token)
}

/// Removes the user's tokens for a purpose.
pub(super) async fn revoke(db: &mut SqliteConnection, user: Uuid, purpose: Purpose) -> Result<(), Fault> {
    sqlx::query("DELETE FROM mail_tokens WHERE user_id = ? AND purpose = ?")
        .bind(user.to_string())
        .bind(purpose.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// Uses the token up in one statement, so that of two that come at once one finds it used.
pub(super) async fn consume(
    db: &mut SqliteConnection,
    token: &str,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Option<Consumed>, Fault> {
    let row = sqlx::query(
        "UPDATE mail_tokens SET used_at = ?1 WHERE hash = ?2 AND purpose = ?3 AND used_at IS NULL AND expires_at > ?1 \
         RETURNING user_id, new_email",
    )
    .bind(now.timestamp_millis())
    .bind(hash(token))
    .bind(purpose.as_str())
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let user: String = row.try_get("user_id")?;
    let new_email: Option<String> = row.try_get("new_email")?;
    Ok(Some(Consumed {
        user: user.parse().map_err(|_| sqlx::Error::Decode("a user id is not a UUID".into()))?,
        new_email: new_email.map(EmailAddress::from_stored),
    }))
}

/// When the token expires, if it is good now.
pub(super) async fn expiry(
    pool: &SqlitePool,
    token: &str,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Fault> {
    let millis: Option<i64> = sqlx::query_scalar(
        "SELECT expires_at FROM mail_tokens WHERE hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ?",
    )
    .bind(hash(token))
    .bind(purpose.as_str())
    .bind(now.timestamp_millis())
    .fetch_optional(pool)
    .await?;
    Ok(millis.map(super::user::time).transpose()?)
}

/// Removes expired tokens.
pub(super) async fn purge(pool: &SqlitePool, limit: u32, now: DateTime<Utc>) -> Result<u64, Fault> {
    let done = sqlx::query(
        "DELETE FROM mail_tokens WHERE hash IN (SELECT hash FROM mail_tokens WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
    )
    .bind(now.timestamp_millis())
    .bind(limit)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
