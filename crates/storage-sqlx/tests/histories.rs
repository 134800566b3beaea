//! Concurrent histories on SQLite, PostgreSQL and MariaDB, checked for linearizability.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]
#![allow(dead_code, reason = "the servers' own tests need more of them")]

use std::time::Duration;

use session_manager_services::{Service, url};
use session_manager_storage_sqlx::{EpochTable, SessionTable, SqlxStorage, reference_ddl};
use session_manager_testkit::fault::HeldStorage;
use session_manager_testkit::storage_histories;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, MySql, Postgres, Sqlite};
use tempfile::TempDir;

#[path = "servers/server.rs"]
mod server;

use server::Fixture;

async fn sqlite() -> HeldStorage<SqlxStorage<Sqlite>, TempDir> {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(directory.path().join("sessions.db")).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).busy_timeout(Duration::from_secs(30));
    let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
    let mapping = SessionTable::new("sessions").epochs(EpochTable::new("epochs"));
    sqlx::raw_sql(AssertSqlSafe(reference_ddl::<Sqlite>(&mapping).unwrap())).execute(&pool).await.unwrap();
    HeldStorage::new(SqlxStorage::new(pool, mapping).unwrap(), directory)
}

async fn on_server<S: server::Server>() -> SqlxStorage<S> {
    Fixture::<S>::new().await.storage
}

/// Ends the test that it stands in where there is no server for it.
macro_rules! on {
    ($service:expr, $factory:expr) => {{
        if url($service).is_none() {
            return;
        }
        $factory
    }};
}

storage_histories!(sqlite_file, sqlite);
storage_histories!(postgres, on!(Service::Postgres, on_server::<Postgres>));
storage_histories!(mariadb, on!(Service::MariaDb, on_server::<MySql>));
