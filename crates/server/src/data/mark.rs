//! Tells a database that was restored from a backup: sessions that were ended since may be back in it.
//!
//! A number in the database rises every minute, and a file beside it follows. The file is never ahead of the database that it was written from.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::files;
use crate::sql::{self, Pool, retried};

const FILE: &str = "backup-mark";

/// The mark of an opened data folder.
#[derive(Clone, Debug)]
pub(crate) struct BackupMark {
    pool: Pool,
    folder: PathBuf,
}

impl BackupMark {
    pub(super) fn new(pool: &Pool, folder: &Path) -> Self {
        Self { pool: pool.clone(), folder: folder.to_owned() }
    }

    /// Moves on, and notes it where the database has fallen behind. What cannot be written is tried again at the next call.
    pub(crate) async fn advance(&self, now: DateTime<Utc>) -> sqlx::Result<()> {
        let path = self.folder.join(FILE);
        // A file that is missing or damaged says nothing.
        let ahead: i64 = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let value = retried!(self.raise(ahead, now))?;
        if let Err(error) = files::write_unique(&self.folder, FILE, value.to_string().as_bytes()) {
            tracing::warn!(%error, "the backup mark could not be written; a restored database may go unnoticed");
        }
        Ok(())
    }

    async fn raise(&self, ahead: i64, now: DateTime<Utc>) -> sqlx::Result<i64> {
        let mut transaction = self.pool.begin().await?;
        sql::query(
            "UPDATE backup_mark SET restored_at = CASE WHEN value < ?1 THEN ?2 ELSE restored_at END, \
             value = CASE WHEN value < ?1 THEN ?1 ELSE value END + 1",
        )
        .bind(ahead)
        .bind(now.timestamp_millis())
        .execute(&mut transaction)
        .await?;
        let value = sql::query("SELECT value FROM backup_mark").fetch_one(&mut transaction).await?.only()?;
        transaction.commit().await?;
        Ok(value)
    }

    /// When the database was last seen to be from a backup.
    pub(crate) async fn restored_at(&self) -> sqlx::Result<Option<DateTime<Utc>>> {
        let millis: Option<i64> =
            sql::query("SELECT restored_at FROM backup_mark").fetch_one(&self.pool).await?.only()?;
        Ok(millis.and_then(DateTime::from_timestamp_millis))
    }
}

#[cfg(test)]
mod tests {
    use session_manager_core::{Clock as _, SystemClock};

    use super::*;
    use crate::config::Settings;
    use crate::data::Data;

    #[tokio::test]
    async fn a_database_from_a_backup_is_noticed_and_no_other() {
        let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let settings = Settings { data: folder.path().to_owned(), ..Settings::default() };
        let now = SystemClock.now();
        for _ in 0..3 {
            let data = Data::open(&settings).await.unwrap();
            data.mark.advance(now).await.unwrap();
            assert_eq!(data.mark.restored_at().await.unwrap(), None);
            data.pool.close().await;
        }
        let database = folder.path().join("session-manager.sqlite3");
        let copy = backup.path().join("copy");
        std::fs::copy(&database, &copy).unwrap();
        // The backup is of this very moment: nothing is missing from it.
        std::fs::copy(&copy, &database).unwrap();
        let data = Data::open(&settings).await.unwrap();
        assert_eq!(data.mark.restored_at().await.unwrap(), None);
        data.mark.advance(now).await.unwrap();
        data.pool.close().await;
        drop(data);
        // And now it is older than the service.
        std::fs::copy(&copy, &database).unwrap();
        let data = Data::open(&settings).await.unwrap();
        let noticed = data.mark.restored_at().await.unwrap();
        assert!(noticed.is_some());
        // That stays, until somebody has done something about it.
        data.mark.advance(now).await.unwrap();
        data.pool.close().await;
        drop(data);
        let data = Data::open(&settings).await.unwrap();
        assert_eq!(data.mark.restored_at().await.unwrap(), noticed);
    }

    #[tokio::test]
    async fn a_damaged_file_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { data: folder.path().to_owned(), ..Settings::default() };
        Data::open(&settings).await.unwrap().pool.close().await;
        std::fs::write(folder.path().join(FILE), "x").unwrap();
        let data = Data::open(&settings).await.unwrap();
        assert_eq!(data.mark.restored_at().await.unwrap(), None);
        assert!(std::fs::read_to_string(folder.path().join(FILE)).unwrap().parse::<i64>().unwrap() > 1);
    }
}
