//! A database in a temporary file, and sessions to put into it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_core::storage::{Incarnations, Insert, InsertOutcome, OnLimit, SessionLimit};
use session_manager_core::{
    Control, Seed, Session, SessionId, SessionRecord, SessionStorage, Snapshot, SystemRandom, UserId,
};
use session_manager_storage_sqlx::{EpochTable, FeedTable, OnceTable, SessionTable, SqlxStorage, reference_ddl};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Sqlite, SqlitePool};
use tempfile::TempDir;

pub(crate) const INCARNATIONS: Incarnations = Incarnations { user: u64::MAX - 6, global: 9 };
pub(crate) const GRACE: Duration = Duration::from_secs(10);

pub(crate) struct Fixture {
    pub(crate) pool: SqlitePool,
    pub(crate) storage: SqlxStorage<Sqlite>,
    _directory: TempDir,
}

pub(crate) fn full() -> SessionTable {
    SessionTable::new("sessions")
        .epochs(EpochTable::new("session_epochs"))
        .once(OnceTable::new("session_once"))
        .feed(FeedTable::new("session_feed"))
}

pub(crate) async fn pool() -> (SqlitePool, TempDir) {
    pool_waiting(Duration::from_secs(30)).await
}

pub(crate) async fn pool_waiting(busy: Duration) -> (SqlitePool, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(directory.path().join("sessions.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(busy);
    let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
    (pool, directory)
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(full()).await
    }

    pub(crate) async fn with(mapping: SessionTable) -> Self {
        let ddl = reference_ddl::<Sqlite>(&mapping).unwrap();
        Self::with_ddl(mapping, ddl).await
    }

    pub(crate) async fn with_ddl(mapping: SessionTable, ddl: String) -> Self {
        let (pool, directory) = pool().await;
        sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&pool).await.unwrap();
        let storage = SqlxStorage::new(pool.clone(), mapping).unwrap();
        Self { pool, storage, _directory: directory }
    }

    /// A new session of the user, under a limit that it does not meet.
    pub(crate) async fn sign_in(&self, name: &str, millis: i64) -> Snapshot {
        let outcome = self.storage.insert(&insert(record(name, millis), 100, millis)).await.unwrap();
        let InsertOutcome::Inserted { snapshot, .. } = outcome else { panic!("{outcome:?}") };
        snapshot
    }
}

pub(crate) fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_767_225_600_000 + millis).unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// A session from `millis` on for a thousand seconds.
pub(crate) fn record(name: &str, millis: i64) -> SessionRecord {
    let random = SystemRandom::new().unwrap();
    let id = SessionId::generate(&user(name), at(millis), &random).unwrap();
    let session = Session::new(id, user(name), at(millis), at(millis + 1_000_000));
    let control = Control::new(Seed::generate(&random).unwrap(), at(millis), at(millis + 500_000));
    SessionRecord::new(session, control)
}

pub(crate) fn insert(record: SessionRecord, max: u32, now: i64) -> Insert {
    Insert::new(record, SessionLimit::new(max, OnLimit::EvictOldest), INCARNATIONS, at(now))
}
