//! The conformance suite on a real memcached, on the in-memory cache of the fault tests, and through an arc.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod items;
mod support;

use std::sync::{Arc, OnceLock};

use items::Items;
use session_manager_core::SessionStorage;
use session_manager_services::Memcached;
use session_manager_storage_memcached::MemcachedStorage;
use session_manager_testkit::{
    storage_conformance, storage_defects, storage_evictions, storage_histories, storage_races,
};
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

/// A server of the test's own: the crawler answers one question at a time, and goes through everybody's items.
async fn fresh_and_its_items() -> (support::Storage, Items) {
    static OWN: OnceLock<Memcached> = OnceLock::new();
    let server = format!("127.0.0.1:{}", OWN.get_or_init(|| Memcached::start().unwrap()).port());
    let config = support::config();
    let items = Items { prefix: config.prefix.clone(), server: server.clone() };
    (MemcachedStorage::new(support::client(&server, 8), config).unwrap(), items)
}

storage_evictions!(evictions, fresh_and_its_items);
