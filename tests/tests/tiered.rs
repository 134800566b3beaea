//! The conformance suite on the cache before real storages: as it stands, and with every read of the suite answered from the cache where that
//! is possible.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

// One test double for the crate's own tests and these.
#[path = "../../crates/storage-tiered/tests/eventually/mod.rs"]
mod eventually;

use std::sync::Arc;

use eventually::Eventually;
use session_manager_core::SessionStorage;
use session_manager_storage_tiered::{TieredConfig, TieredStorage};
use session_manager_testkit::{storage_conformance, storage_histories};
use session_manager_tests::{servers, sqlite::Database};

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
