//! Sessions in an SQLite file of their own, as an application would set it up.

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::SessionStorage;
use session_manager_storage_sqlx::{EpochTable, FeedTable, OnceTable, SessionTable, SqlxStorage, reference_ddl};
use session_manager_testkit::fault::HeldStorage;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Sqlite, SqlitePool};
use tempfile::TempDir;

/// A database with the reference tables, and a storage on it.
#[derive(Debug)]
pub struct Database {
    /// The application's pool.
    pub pool: SqlitePool,
    /// The storage on it.
    pub storage: SqlxStorage<Sqlite>,
    folder: TempDir,
}

impl Database {
    /// Makes a file with eight connections to it.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("sessions.sqlite3"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(30));
        let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await.expect("a database");
        let table = SessionTable::new("sessions")
            .epochs(EpochTable::new("session_epochs"))
            .once(OnceTable::new("session_once"))
            .feed(FeedTable::new("session_feed"));
        let ddl = reference_ddl::<Sqlite>(&table).expect("a good mapping");
        sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&pool).await.expect("the tables");
        let storage = SqlxStorage::new(pool.clone(), table).expect("a good mapping");
        Self { pool, storage, folder }
    }

    /// The storage alone; the file lives as long as it does.
    pub fn into_storage(self) -> Arc<dyn SessionStorage> {
        Arc::new(HeldStorage::new(self.storage, self.folder))
    }
}
