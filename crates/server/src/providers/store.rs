//! Connections in the database: made, found, renamed, removed. Another user's is never found.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::vault::Vault;
use super::{Alias, Connection, Fault};
use crate::random;
use crate::sql::{self, Pool, Transaction, retried};

/// So many connections a user may have: more than anybody needs, and an end to what one account can store.
pub(super) const MOST: usize = 1000;

/// The connections of all users. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pub(super) pool: Pool,
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
    pub(super) fn new(pool: Pool, vault: Vault) -> Self {
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
        retried!(self.create_once(user, provider_key, alias, now))
    }

    async fn create_once(
        &self,
        user: Uuid,
        provider_key: &str,
        alias: &Alias,
        now: DateTime<Utc>,
    ) -> Result<Result<Connection, NotCreated>, Fault> {
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random::bytes()?).into_uuid();
        let mut transaction = self.pool.begin().await?;
        lock_user(&mut transaction, user).await?;
        let others = sql::query("SELECT alias FROM provider_connections WHERE user_id = ?").bind(user.to_string());
        let others = others.fetch_all(&mut transaction).await?;
        for other in &others {
            if other.only::<String>()? == alias.as_str() {
                return Ok(Err(NotCreated::AliasTaken));
            }
        }
        if others.len() >= MOST {
            return Ok(Err(NotCreated::TooMany));
        }
        sql::query(
            "INSERT INTO provider_connections (id, user_id, provider_key, alias, created_at, updated_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        )
        .bind(id.to_string())
        .bind(user.to_string())
        .bind(provider_key)
        .bind(alias.as_str())
        .bind(now.timestamp_millis())
        .execute(&mut transaction)
        .await?;
        let made = sql::query("SELECT * FROM provider_connections WHERE id = ?").bind(id.to_string());
        let made = made.fetch_one(&mut transaction).await?.read()?;
        transaction.commit().await?;
        Ok(Ok(made))
    }

    /// A connection of the user.
    pub(crate) async fn find(&self, user: Uuid, id: Uuid) -> Result<Option<Connection>, Fault> {
        let found = sql::query("SELECT * FROM provider_connections WHERE id = ? AND user_id = ?")
            .bind(id.to_string())
            .bind(user.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.map(|row| row.read()).transpose()?)
    }

    /// A connection, whoever's it is: for work that was begun by its owner.
    pub(crate) async fn find_any(&self, id: Uuid) -> Result<Option<Connection>, Fault> {
        let found = sql::query("SELECT * FROM provider_connections WHERE id = ?").bind(id.to_string());
        Ok(found.fetch_optional(&self.pool).await?.map(|row| row.read()).transpose()?)
    }

    /// Gives a connection of the user another alias.
    pub(crate) async fn rename(
        &self,
        user: Uuid,
        id: Uuid,
        alias: &Alias,
        now: DateTime<Utc>,
    ) -> Result<Result<Connection, NotRenamed>, Fault> {
        let renamed =
            sql::query("UPDATE provider_connections SET alias = ?, updated_at = ? WHERE id = ? AND user_id = ?")
                .bind(alias.as_str())
                .bind(now.timestamp_millis())
                .bind(id.to_string())
                .bind(user.to_string())
                .execute(&self.pool)
                .await;
        match renamed {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(Err(NotRenamed::AliasTaken)),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(self.find(user, id).await?.ok_or(NotRenamed::NoSuchConnection)),
        }
    }

    /// Removes a connection of the user with all that belongs to it. Returns `false` when there is none.
    pub(crate) async fn remove(&self, user: Uuid, id: Uuid) -> Result<bool, Fault> {
        let done = sql::query("DELETE FROM provider_connections WHERE id = ? AND user_id = ?")
            .bind(id.to_string())
            .bind(user.to_string())
            .execute(&self.pool)
            .await?;
        Ok(done == 1)
    }
}

/// Keeps others from changing which connections the user has, until the transaction ends. Of a user who is gone the next statement says so.
async fn lock_user(transaction: &mut Transaction, user: Uuid) -> Result<(), Fault> {
    let lock = sql::query("SELECT id FROM users WHERE id = ? FOR UPDATE").bind(user.to_string());
    lock.fetch_optional(transaction).await?;
    Ok(())
}
