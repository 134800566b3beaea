//! The conformance suite: as it stands, and with every read of the suite answered from the cache where that is possible.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

mod eventually;

use std::sync::Arc;

use eventually::Eventually;
use session_manager_core::{LocalBus, SessionStorage};
use session_manager_storage_memory::MemoryStorage;
use session_manager_storage_tiered::{TieredConfig, TieredStorage, WhenDeaf};
use session_manager_testkit::{
    ReferenceStorage, storage_conformance, storage_defects, storage_histories, storage_races,
};

fn tiered(durable: impl SessionStorage + 'static) -> TieredStorage {
    TieredStorage::new(Arc::new(durable), TieredConfig::new()).unwrap()
}

async fn over_memory() -> TieredStorage {
    tiered(MemoryStorage::default())
}

async fn over_the_reference() -> Box<dyn SessionStorage> {
    Box::new(tiered(ReferenceStorage::new()))
}

async fn from_the_cache() -> Eventually {
    Eventually(tiered(MemoryStorage::default()))
}

/// Every change is published, and nobody listens: what this node does itself it knows all the same.
async fn from_a_deaf_cache() -> Eventually {
    let config = TieredConfig::new().when_deaf(WhenDeaf::Bounded(TieredConfig::new().max_age));
    let storage = TieredStorage::new(Arc::new(MemoryStorage::default()), config).unwrap();
    Eventually(storage.with_bus(Arc::new(LocalBus::new())))
}

async fn from_a_tiny_cache() -> Eventually {
    let config = TieredConfig::new().max_entries(3);
    Eventually(TieredStorage::new(Arc::new(ReferenceStorage::new()), config).unwrap())
}

storage_conformance!(memory, over_memory);
storage_conformance!(reference, over_the_reference);
storage_conformance!(cached, from_the_cache);
storage_conformance!(deaf, from_a_deaf_cache);
storage_conformance!(tiny, from_a_tiny_cache);

storage_defects!(defects, over_memory);

storage_histories!(histories, over_memory);
storage_histories!(histories_from_the_cache, from_the_cache);
storage_races!(races, over_memory);
