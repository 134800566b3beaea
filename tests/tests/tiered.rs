//! The conformance suite on the cache before real storages: as it stands, and with every read of the suite answered from the cache where that
//! is possible.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]

// One test double for the crate's own tests and these.
#[path = "../../crates/storage-tiered/tests/eventually/mod.rs"]
mod eventually;
#[path = "../../crates/storage-redis/tests/keys/mod.rs"]
mod keys;
#[path = "../../crates/storage-sqlx/tests/rows/mod.rs"]
mod rows;

use std::sync::Arc;

use eventually::Eventually;
use session_manager_core::SessionStorage;
use session_manager_storage_tiered::{TieredConfig, TieredStorage};
use session_manager_testkit::{storage_conformance, storage_evictions, storage_histories};
use session_manager_tests::{servers, sqlite::Database};
use sqlx::Sqlite;

use keys::Keys;
use rows::Rows;

rows::rows!(Sqlite, "HEX(COLUMN)");

fn before(durable: Arc<dyn SessionStorage>) -> TieredStorage {
    TieredStorage::new(durable, TieredConfig::new()).unwrap()
}

async fn over_sqlite() -> TieredStorage {
    before(Database::new().await.into_storage())
}

async fn cached_over_sqlite() -> Eventually {
    Eventually(over_sqlite().await)
}

async fn over_redis() -> TieredStorage {
    before(Arc::new(servers::redis().await))
}

async fn cached_over_redis() -> Eventually {
    Eventually(over_redis().await)
}

storage_conformance!(sqlite, over_sqlite);
storage_conformance!(sqlite_cached, cached_over_sqlite);
storage_conformance!(redis, over_redis, lacking = [ListAll, CleanUp]);
storage_conformance!(redis_cached, cached_over_redis, lacking = [ListAll, CleanUp]);

storage_histories!(histories_on_sqlite, over_sqlite);
storage_histories!(histories_on_redis, over_redis);
storage_histories!(cached_histories_on_sqlite, cached_over_sqlite);
storage_histories!(cached_histories_on_redis, cached_over_redis);

async fn over_rows() -> (TieredStorage, Rows<Sqlite>) {
    let database = Database::new().await;
    let tables = ["sessions", "session_epochs", "session_once", "session_feed"];
    let rows = Rows { pool: database.pool.clone(), tables };
    (before(database.into_storage()), rows)
}

async fn cached_over_rows() -> (Eventually, Rows<Sqlite>) {
    let (storage, rows) = over_rows().await;
    (Eventually(storage), rows)
}

async fn over_keys() -> (TieredStorage, Keys) {
    let (storage, connection, prefix) = servers::lonely_redis().await;
    (before(Arc::new(storage)), Keys { prefix, servers: vec![connection] })
}

async fn cached_over_keys() -> (Eventually, Keys) {
    let (storage, keys) = over_keys().await;
    (Eventually(storage), keys)
}

storage_evictions!(evictions_on_sqlite, over_rows);
storage_evictions!(cached_evictions_on_sqlite, cached_over_rows);
storage_evictions!(evictions_on_redis, over_keys);
storage_evictions!(cached_evictions_on_redis, cached_over_keys);
