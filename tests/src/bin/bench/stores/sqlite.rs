//! An SQLite file, set up as by the reference service.

use std::{sync::Arc, time::Duration};

use session_manager_core::SessionStorage;
use session_manager_storage_sqlx::{EpochTable, FeedTable, OnceTable, SessionTable, SqlxStorage, reference_ddl};
use sqlx::{
    AssertSqlSafe, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{compare as compare_each, rows::bare_rows};
use crate::{
    measure::{Outcome, Plan},
    ours::Store,
    population::Population,
};

const CONNECTIONS: u16 = 8;

pub(crate) async fn compare(plan: Plan) -> Outcome {
    let plan = plan.in_flight(usize::from(CONNECTIONS));
    let folder = tempfile::tempdir()?;
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("bench.sqlite3"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(30));
    let pool = SqlitePoolOptions::new()
        .max_connections(u32::from(CONNECTIONS))
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    let table = SessionTable::new("sessions")
        .epochs(EpochTable::new("session_epochs"))
        .once(OnceTable::new("session_once"))
        .feed(FeedTable::new("session_feed"));
    sqlx::raw_sql(AssertSqlSafe(reference_ddl::<Sqlite>(&table)?)).execute(&pool).await?;
    let storage: Arc<dyn SessionStorage> = Arc::new(SqlxStorage::new(pool.clone(), table)?);
    let people = Population::insert(&storage, plan.sessions, 1).await?;
    let store = Store::new(storage, people, folder)?.sign_in(plan.sessions).await?;
    let bare = Rows::filled(pool).await?;
    compare_each("SQLite, 8 in flight, WAL, every commit on the disk", plan, store, bare).await
}

bare_rows!(
    SqlitePool,
    "CREATE TABLE bare (id BLOB NOT NULL PRIMARY KEY, user_id TEXT NOT NULL, generation INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE INDEX bare_user ON bare (user_id);"
);
