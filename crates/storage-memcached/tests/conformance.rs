//! The conformance suite on a real memcached, on the in-memory cache of the fault tests, and through an arc.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::sync::Arc;

use session_manager_core::SessionStorage;
use session_manager_storage_memcached::MemcachedStorage;
use session_manager_testkit::{storage_conformance, storage_defects, storage_histories, storage_races};
use support::fake::FakeCache;

async fn fresh() -> support::Storage {
    support::storage_at(&support::shared_server())
}

async fn shared() -> Arc<dyn SessionStorage> {
    Arc::new(fresh().await)
}

async fn fake() -> MemcachedStorage<FakeCache> {
    MemcachedStorage::new(FakeCache::default(), support::config()).unwrap()
}

storage_conformance!(memcached, fresh, lacking = [ListAll, RememberOnce, External, CleanUp, Feed, Scan]);
storage_conformance!(through_an_arc, shared, lacking = [ListAll, RememberOnce, External, CleanUp, Feed, Scan]);
storage_conformance!(on_any_client, fake, lacking = [ListAll, RememberOnce, External, CleanUp, Feed, Scan]);
storage_defects!(defects, fresh, lacking = [ListAll, RememberOnce, External, CleanUp, Feed, Scan]);

storage_histories!(histories, fresh);
storage_races!(races, fresh);
