//! How many statements each operation takes in SQLite: as many as the README says. sqlx tells of each, but for `BEGIN` and `COMMIT`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed unwrap is a failed test")]

mod operations;

use std::sync::atomic::{AtomicUsize, Ordering};

use session_manager_storage_sqlx::{EpochTable, FeedTable, OnceTable, SessionTable, SqlxStorage, reference_ddl};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Sqlite};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use operations::{Stage, all, documented};

static STATEMENTS: AtomicUsize = AtomicUsize::new(0);

/// Counts the driver's notes of its statements.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, _: &Event<'_>) {
        STATEMENTS.fetch_add(1, Ordering::SeqCst);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn each_operation_takes_as_many_statements_as_documented() {
    // The driver's own threads tell; nothing else runs in this binary.
    tracing::subscriber::set_global_default(Counter).unwrap();
    let mapping = SessionTable::new("sessions")
        .epochs(EpochTable::new("session_epochs"))
        .once(OnceTable::new("session_once"))
        .feed(FeedTable::new("session_feed"));
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(directory.path().join("sessions.db")).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(reference_ddl::<Sqlite>(&mapping).unwrap())).execute(&pool).await.unwrap();
    let storage = SqlxStorage::new(pool, mapping).unwrap();
    let mut wrong = Vec::new();
    for operation in all() {
        let stage = Stage::set(&storage).await;
        STATEMENTS.store(0, Ordering::SeqCst);
        (operation.run)(&storage, &stage).await;
        let (taken, said) = (STATEMENTS.load(Ordering::SeqCst), documented(operation.name, 3));
        if taken != said {
            wrong.push(format!("{}: {taken}, and not {said}", operation.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
