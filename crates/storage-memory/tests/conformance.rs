//! The conformance suite, on the storage itself and through the pointers that applications hold it by.

use std::sync::Arc;

use session_manager_core::SessionStorage;
use session_manager_storage_memory::MemoryStorage;
use session_manager_testkit::{storage_conformance, storage_defects, storage_histories, storage_races};

async fn fresh() -> MemoryStorage {
    MemoryStorage::default()
}

async fn boxed() -> Box<dyn SessionStorage> {
    Box::new(fresh().await)
}

async fn shared() -> Arc<dyn SessionStorage> {
    Arc::new(fresh().await)
}

storage_conformance!(value, fresh);
storage_conformance!(through_a_box, boxed);
storage_conformance!(through_an_arc, shared);
storage_defects!(defects, fresh);
storage_histories!(histories, fresh);
storage_races!(races, fresh);
