//! Concurrent histories, checked for linearizability.

use session_manager_storage_memory::MemoryStorage;
use session_manager_testkit::storage_histories;

async fn fresh() -> MemoryStorage {
    MemoryStorage::default()
}

storage_histories!(memory, fresh);
