//! The conformance suite on SQLite files, with epochs and without.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]

mod rows;

#[path = "operations/users.rs"]
mod users;

use std::sync::Arc;
use std::time::Duration;

use session_manager_core::SessionStorage;
use session_manager_storage_sqlx::{
    EpochTable, FeedTable, IdEncoding, OnceTable, SessionTable, SqlxStorage, TimeEncoding, UserEpochs, reference_ddl,
};
use session_manager_testkit::fault::HeldStorage;
use session_manager_testkit::{
    storage_conformance, storage_defects, storage_evictions, storage_histories, storage_races,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Sqlite, SqlitePool};
use tempfile::TempDir;

use rows::Rows;

rows::rows!(Sqlite, "HEX(COLUMN)");

type Held = HeldStorage<SqlxStorage<Sqlite>, TempDir>;

async fn file() -> (SqlitePool, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(directory.path().join("sessions.db")).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).busy_timeout(Duration::from_secs(30));
    (SqlitePoolOptions::new().max_connections(8).connect_with(options).await.unwrap(), directory)
}

async fn of(pool: SqlitePool, before: &str, mapping: SessionTable) -> SqlxStorage<Sqlite> {
    let ddl = format!("{before}{}", reference_ddl::<Sqlite>(&mapping).unwrap());
    sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&pool).await.unwrap();
    SqlxStorage::new(pool, mapping).unwrap()
}

async fn on(mapping: SessionTable) -> Held {
    on_tables("", mapping).await
}

/// On the tables of the mapping, and what the application has made before.
async fn on_tables(before: &str, mapping: SessionTable) -> Held {
    let (pool, directory) = file().await;
    HeldStorage::new(of(pool, before, mapping).await, directory)
}

fn full() -> SessionTable {
    let table = SessionTable::new("sessions").epochs(EpochTable::new("epochs"));
    table.once(OnceTable::new("once")).feed(FeedTable::new("feed"))
}

async fn fresh() -> Held {
    on(full()).await
}

async fn boxed() -> Box<dyn SessionStorage> {
    let table = SessionTable::new("s").id(IdEncoding::Text).times(TimeEncoding::Rfc3339).epochs(EpochTable::new("e"));
    Box::new(on(table.once(OnceTable::new("o")).feed(FeedTable::new("f"))).await)
}

async fn shared() -> Arc<dyn SessionStorage> {
    Arc::new(fresh().await)
}

async fn plain() -> Held {
    on(SessionTable::new("sessions")).await
}

/// The users' epochs stand in the application's users table, in which all users of the suite are.
async fn users_columns() -> Held {
    let mapping = SessionTable::new("sessions").epochs(EpochTable::new("epochs")).once(OnceTable::new("once"));
    let mapping = mapping.feed(FeedTable::new("feed")).user_epochs(UserEpochs::new("users", "name"));
    on_tables(&users::table("name TEXT PRIMARY KEY, joined INTEGER NOT NULL", "0"), mapping).await
}

storage_conformance!(value, fresh);
storage_conformance!(through_a_box, boxed);
storage_conformance!(through_an_arc, shared);
storage_conformance!(epochs_in_the_users_table, users_columns);
storage_conformance!(without_epochs, plain, lacking = [Epochs, RememberOnce, Feed]);

storage_defects!(defects, fresh);

storage_histories!(histories, fresh);
storage_races!(races, fresh);

async fn fresh_and_its_rows() -> (Held, Rows<Sqlite>) {
    let (pool, directory) = file().await;
    let storage = of(pool.clone(), "", full()).await;
    (HeldStorage::new(storage, directory), Rows { pool, tables: ["sessions", "epochs", "once", "feed"] })
}

storage_evictions!(evictions, fresh_and_its_rows);
