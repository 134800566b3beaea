//! Connections in the database: made, found, renamed, removed. Another user's is never found.

use chrono::{DateTime, Utc};
use sqlx::SqlitePool;
use uuid::Uuid;

use super::vault::Vault;
use super::{Alias, Connection, Fault};
use crate::random;

/// So many connections a user may have: more than anybody needs, and an end to what one account can store.
pub(super) const MOST: i64 = 1000;

/// The connections of all users. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pub(super) pool: SqlitePool,
    pub(super) vault: Vault,
}

/// A connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotCreated {
    AliasTaken,
    TooMany,
}

/// A connection was not renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRenamed {
    NoSuchConnection,
    AliasTaken,
}

impl Connections {
    pub(super) fn new(pool: SqlitePool, vault: Vault) -> Self {
        Self { pool, vault }
    }

    /// Makes a connection that waits for its authorisation.
    pub(crate) async fn create(
        &self,
        user: Uuid,
        provider_key: &str,
        alias: &Alias,
        now: DateTime<Utc>,
    ) -> Result<Result<Connection, NotCreated>, Fault> {
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random::bytes()?).into_uuid();
        let made = sqlx::query_as(
            "INSERT INTO provider_connections (id, user_id, provider_key, alias, created_at, updated_at) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?5 WHERE (SELECT count(*) FROM provider_connections WHERE user_id = ?2) < ?6 \
             ON CONFLICT (user_id, alias) DO NOTHING RETURNING *",
        )
        .bind(id.to_string())
        .bind(user.to_string())
        .bind(provider_key)
        .bind(alias.as_str())
        .bind(now.timestamp_millis())
        .bind(MOST)
        .fetch_optional(&self.pool)
        .await?;
        match made {
            Some(connection) => Ok(Ok(connection)),
            None if self.has_alias(user, alias).await? => Ok(Err(NotCreated::AliasTaken)),
            None => Ok(Err(NotCreated::TooMany)),
        }
    }

    /// A connection of the user.
    pub(crate) async fn find(&self, user: Uuid, id: Uuid) -> Result<Option<Connection>, Fault> {
        let found = sqlx::query_as("SELECT * FROM provider_connections WHERE id = ? AND user_id = ?")
            .bind(id.to_string())
            .bind(user.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(found)
    }

    /// A connection, whoever's it is: for work that was begun by its owner.
    pub(crate) async fn find_any(&self, id: Uuid) -> Result<Option<Connection>, Fault> {
        let found = sqlx::query_as("SELECT * FROM provider_connections WHERE id = ?").bind(id.to_string());
        Ok(found.fetch_optional(&self.pool).await?)
    }

    /// Gives a connection of the user another alias.
    pub(crate) async fn rename(
        &self,
        user: Uuid,
        id: Uuid,
        alias: &Alias,
        now: DateTime<Utc>,
    ) -> Result<Result<Connection, NotRenamed>, Fault> {
        let renamed = sqlx::query_as(
            "UPDATE OR IGNORE provider_connections SET alias = ?, updated_at = ? WHERE id = ? AND user_id = ? RETURNING *",
        )
        .bind(alias.as_str())
        .bind(now.timestamp_millis())
        .bind(id.to_string())
        .bind(user.to_string())
        .fetch_optional(&self.pool)
        .await?;
        match renamed {
            Some(connection) => Ok(Ok(connection)),
            None if self.find(user, id).await?.is_some() => Ok(Err(NotRenamed::AliasTaken)),
            None => Ok(Err(NotRenamed::NoSuchConnection)),
        }
    }

    /// Removes a connection of the user with all that belongs to it. Returns `false` when there is none.
    pub(crate) async fn remove(&self, user: Uuid, id: Uuid) -> Result<bool, Fault> {
        let done = sqlx::query("DELETE FROM provider_connections WHERE id = ? AND user_id = ?")
            .bind(id.to_string())
            .bind(user.to_string())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn has_alias(&self, user: Uuid, alias: &Alias) -> Result<bool, Fault> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM provider_connections WHERE user_id = ? AND alias = ?")
                .bind(user.to_string())
                .bind(alias.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Ok(found.is_some())
    }
}
