//! The reference goes through the suite itself: as a value, through a box and through an arc, and without epochs.

use std::sync::Arc;

use session_manager_core::SessionStorage;
use session_manager_testkit::{ReferenceStorage, storage_conformance};

async fn fresh() -> ReferenceStorage {
    ReferenceStorage::new()
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
storage_conformance!(without_epochs, || async { ReferenceStorage::without_epochs() }, lacking = [Epochs]);
