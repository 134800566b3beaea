//! The tokens that providers gave, encrypted.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::connection::time;
use super::vault::{Field, Place};
use super::{Connection, Connections, Fault, Status};
use crate::sql::{self, Row, Transaction, retried};

/// Longer than a provider may take to answer: until then no other server asks it for newer tokens.
const CLAIM: TimeDelta = TimeDelta::seconds(20);

/// What a provider gave. `Debug` hides the tokens.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) access: Zeroizing<String>,
    /// Providers need not give one, and then nothing can be renewed.
    pub(crate) refresh: Option<Zeroizing<String>>,
    /// What was granted, where the provider said so.
    pub(crate) scope: Option<String>,
    /// The end of the access token, where the provider said so.
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("scope", &self.scope)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What is known of a connection's tokens without decrypting them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) scope: Option<String>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// Another one with each answer of the provider.
    pub(crate) generation: i64,
}

impl Connections {
    /// What a connection was granted, if it is authorised.
    pub(crate) async fn grant(&self, connection: Uuid) -> Result<Option<Grant>, Fault> {
        let row = sql::query("SELECT scope, expires_at, generation FROM provider_tokens WHERE connection_id = ?")
            .bind(connection.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(grant).transpose()
    }

    /// The tokens of a connection, if it is authorised, and their generation.
    pub(crate) async fn tokens(&self, connection: Uuid) -> Result<Option<(Tokens, i64)>, Fault> {
        let row = sql::query("SELECT * FROM provider_tokens WHERE connection_id = ?")
            .bind(connection.to_string())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let Grant { scope, expires_at, generation } = grant(&row)?;
        let open = |field, sealed: &[u8]| self.vault.open(Place { connection, field }, sealed);
        let access = open(Field::AccessToken, &row.try_get::<Vec<u8>>("access_token")?)?;
        let refresh: Option<Vec<u8>> = row.try_get("refresh_token")?;
        let refresh = refresh.map(|sealed| open(Field::RefreshToken, &sealed)).transpose()?;
        Ok(Some((Tokens { access, refresh, scope, expires_at }, generation)))
    }

    /// Stores what an authorisation gave, in place of what there was. Returns `false` when the connection, of which this was known before the
    /// code was exchanged, is gone or has been disconnected since, through another server perhaps.
    pub(crate) async fn authorised(
        &self,
        known: &Connection,
        tokens: &Tokens,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        retried!(self.authorised_once(known, tokens, now))
    }

    async fn authorised_once(&self, known: &Connection, tokens: &Tokens, now: DateTime<Utc>) -> Result<bool, Fault> {
        let (connection, is_since) = (known.id, known.updated_at.timestamp_millis());
        let (access, refresh) = self.sealed(connection, tokens)?;
        let mut transaction = self.pool.begin().await?;
        let done = sql::query(
            "UPDATE provider_connections SET status = 'active', updated_at = ? \
             WHERE id = ? AND (status <> 'disconnected' OR updated_at = ?)",
        )
        .bind(now.timestamp_millis())
        .bind(connection.to_string())
        .bind(is_since)
        .execute(&mut transaction)
        .await?;
        if done == 0 {
            return Ok(false);
        }
        sql::query(
            "INSERT INTO provider_tokens (connection_id, access_token, refresh_token, scope, expires_at, generation) \
             VALUES (?1, ?2, ?3, ?4, ?5, 1) ON CONFLICT (connection_id) DO UPDATE SET access_token = ?2, refresh_token = ?3, \
             scope = ?4, expires_at = ?5, generation = provider_tokens.generation + 1, claimed_until = NULL",
        )
        .mysql(
            "INSERT INTO provider_tokens (connection_id, access_token, refresh_token, scope, expires_at, generation) \
             VALUES (?1, ?2, ?3, ?4, ?5, 1) ON DUPLICATE KEY UPDATE access_token = ?2, refresh_token = ?3, \
             scope = ?4, expires_at = ?5, generation = generation + 1, claimed_until = NULL",
        )
        .bind(connection.to_string())
        .bind(access)
        .bind(refresh)
        .bind(&tokens.scope)
        .bind(tokens.expires_at.map(|time| time.timestamp_millis()))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Keeps the other servers of this database from renewing the same tokens. Returns `false` when one of them was faster.
    pub(crate) async fn claim(&self, connection: Uuid, generation: i64, now: DateTime<Utc>) -> Result<bool, Fault> {
        let done = sql::query(
            "UPDATE provider_tokens SET claimed_until = ? \
             WHERE connection_id = ? AND generation = ? AND (claimed_until IS NULL OR claimed_until <= ?)",
        )
        .bind((now + CLAIM).timestamp_millis())
        .bind(connection.to_string())
        .bind(generation)
        .bind(now.timestamp_millis())
        .execute(&self.pool)
        .await?;
        Ok(done == 1)
    }

    /// Ends a claim that came to nothing.
    pub(crate) async fn release(&self, connection: Uuid, generation: i64) -> Result<(), Fault> {
        sql::query("UPDATE provider_tokens SET claimed_until = NULL WHERE connection_id = ? AND generation = ?")
            .bind(connection.to_string())
            .bind(generation)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Stores renewed tokens, encrypted with the newest key, in place of those of this generation. Returns `false` when these are gone.
    pub(crate) async fn renewed(
        &self,
        connection: Uuid,
        generation: i64,
        tokens: &Tokens,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        retried!(self.renewed_once(connection, generation, tokens, now))
    }

    async fn renewed_once(
        &self,
        connection: Uuid,
        generation: i64,
        tokens: &Tokens,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let (access, refresh) = self.sealed(connection, tokens)?;
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction, connection).await?;
        let done = sql::query(
            "UPDATE provider_tokens SET access_token = ?, refresh_token = ?, scope = ?, expires_at = ?, \
             generation = generation + 1, claimed_until = NULL WHERE connection_id = ? AND generation = ?",
        )
        .bind(access)
        .bind(refresh)
        .bind(&tokens.scope)
        .bind(tokens.expires_at.map(|time| time.timestamp_millis()))
        .bind(connection.to_string())
        .bind(generation)
        .execute(&mut transaction)
        .await?;
        if done == 0 {
            return Ok(false);
        }
        set_status(&mut transaction, connection, Status::Active, now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Erases tokens that the provider no longer takes.
    pub(crate) async fn expired(&self, connection: Uuid, generation: i64, now: DateTime<Utc>) -> Result<(), Fault> {
        retried!(self.expired_once(connection, generation, now))
    }

    async fn expired_once(&self, connection: Uuid, generation: i64, now: DateTime<Utc>) -> Result<(), Fault> {
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction, connection).await?;
        let done = sql::query("DELETE FROM provider_tokens WHERE connection_id = ? AND generation = ?")
            .bind(connection.to_string())
            .bind(generation)
            .execute(&mut transaction)
            .await?;
        if done == 1 {
            set_status(&mut transaction, connection, Status::Expired, now).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Erases the tokens of a connection and the authorisation that may be under way.
    pub(crate) async fn disconnected(&self, connection: Uuid, now: DateTime<Utc>) -> Result<(), Fault> {
        retried!(self.disconnected_once(connection, now))
    }

    async fn disconnected_once(&self, connection: Uuid, now: DateTime<Utc>) -> Result<(), Fault> {
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction, connection).await?;
        for erase in [
            "DELETE FROM provider_authorizations WHERE connection_id = ?",
            "DELETE FROM provider_tokens WHERE connection_id = ?",
        ] {
            sql::query(erase).bind(connection.to_string()).execute(&mut transaction).await?;
        }
        // One that never was authorised is what it was.
        sql::query(
            "UPDATE provider_connections SET status = 'disconnected', updated_at = ? WHERE id = ? AND status <> 'pending'",
        )
        .bind(now.timestamp_millis())
        .bind(connection.to_string())
        .execute(&mut transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    fn sealed(&self, connection: Uuid, tokens: &Tokens) -> Result<(Vec<u8>, Option<Vec<u8>>), Fault> {
        let seal = |field, text: &str| self.vault.seal(Place { connection, field }, text);
        let refresh = tokens.refresh.as_deref().map(|token| seal(Field::RefreshToken, token)).transpose()?;
        Ok((seal(Field::AccessToken, &tokens.access)?, refresh))
    }
}

fn grant(row: &Row) -> Result<Grant, Fault> {
    let expires_at: Option<i64> = row.try_get("expires_at")?;
    Ok(Grant {
        scope: row.try_get("scope")?,
        expires_at: expires_at.map(time).transpose()?,
        generation: row.try_get("generation")?,
    })
}

/// Everybody who changes several rows of a connection begins with this one, so that nobody waits for somebody who waits for them.
async fn lock(db: &mut Transaction, connection: Uuid) -> Result<(), Fault> {
    let lock = sql::query("SELECT id FROM provider_connections WHERE id = ? FOR UPDATE").bind(connection.to_string());
    lock.fetch_optional(db).await?;
    Ok(())
}

async fn set_status(db: &mut Transaction, connection: Uuid, status: Status, now: DateTime<Utc>) -> Result<(), Fault> {
    sql::query("UPDATE provider_connections SET status = ?, updated_at = ? WHERE id = ?")
        .bind(status.as_str())
        .bind(now.timestamp_millis())
        .bind(connection.to_string())
        .execute(db)
        .await?;
    Ok(())
}
