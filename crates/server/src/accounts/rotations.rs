//! Why, and by whom, everybody's tokens were rotated.

use chrono::{DateTime, Utc};
use session_manager_core::Epoch;
use uuid::Uuid;

use super::user::time;
use super::{Accounts, Fault};
use crate::sql;

/// A rotation of everybody's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GlobalRotation {
    pub(crate) reason: String,
    /// The administrator. The account may be gone.
    pub(crate) by: Uuid,
    pub(crate) at: DateTime<Utc>,
}

impl Accounts {
    /// Notes the rotation that began an epoch.
    pub(crate) async fn note_rotation(&self, epoch: Epoch, rotation: &GlobalRotation) -> Result<(), Fault> {
        sql::query(
            "INSERT INTO global_rotations (incarnation, version, reason, rotated_by, rotated_at) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT DO NOTHING",
        )
        .mysql(
            "INSERT IGNORE INTO global_rotations (incarnation, version, reason, rotated_by, rotated_at) \
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(epoch.incarnation.to_string())
        .bind(i64::try_from(epoch.version).unwrap_or(i64::MAX))
        .bind(&rotation.reason)
        .bind(rotation.by.to_string())
        .bind(rotation.at.timestamp_millis())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The rotation that began an epoch, as far as it was noted.
    pub(crate) async fn rotation(&self, epoch: Epoch) -> Result<Option<GlobalRotation>, Fault> {
        let row = sql::query(
            "SELECT reason, rotated_by, rotated_at FROM global_rotations WHERE incarnation = ? AND version = ?",
        )
        .bind(epoch.incarnation.to_string())
        .bind(i64::try_from(epoch.version).unwrap_or(i64::MAX))
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let by: String = row.try_get("rotated_by")?;
        Ok(Some(GlobalRotation {
            reason: row.try_get("reason")?,
            by: by.parse().map_err(|_| sqlx::Error::Decode("an administrator's id is not a UUID".into()))?,
            at: time(row.try_get("rotated_at")?)?,
        }))
    }

    /// When the oldest account was made.
    pub(crate) async fn oldest(&self) -> Result<Option<DateTime<Utc>>, Fault> {
        // Ids are ordered by time.
        let row = sql::query("SELECT created_at FROM users ORDER BY id LIMIT 1").fetch_optional(&self.pool).await?;
        Ok(row.map(|row| time(row.only()?)).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::test_support::{Bench, at};

    #[tokio::test]
    async fn a_rotation_belongs_to_its_version_and_incarnation() {
        let bench = Bench::new().await;
        // Incarnations are random, and half of them are beyond what a column of integers holds.
        let epoch = Epoch { incarnation: u64::MAX - 1, version: 2 };
        let rotation = GlobalRotation { reason: "a key has leaked".into(), by: Uuid::from_u128(7), at: at(5) };
        bench.accounts.note_rotation(epoch, &rotation).await.unwrap();
        let other = GlobalRotation { reason: "another".into(), ..rotation.clone() };
        bench.accounts.note_rotation(epoch, &other).await.unwrap();
        assert_eq!(bench.accounts.rotation(epoch).await.unwrap(), Some(rotation), "the first note stays");
        for epoch in [Epoch { version: 3, ..epoch }, Epoch { incarnation: 1, ..epoch }] {
            assert_eq!(bench.accounts.rotation(epoch).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn the_oldest_account_is_the_first() {
        let bench = Bench::new().await;
        assert_eq!(bench.accounts.oldest().await.unwrap(), None);
        bench.register("b@b.example", "Ann", 3).await;
        bench.register("a@b.example", "Ann", 4).await;
        assert_eq!(bench.accounts.oldest().await.unwrap(), Some(at(3)));
    }
}
