//! The conformance suite on everything that stands between two storages, in every mode.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests: a failed unwrap is a failed test, and a cast to a trait object loses nothing"
)]

use std::sync::Arc;

use session_manager_storage_memory::MemoryStorage;
use session_manager_storage_migration::{DualConfig, DualStorage, Lead, ShadowConfig, ShadowStorage};
use session_manager_testkit::{ReferenceStorage, storage_conformance};

fn dual(lead: Lead) -> DualStorage {
    let (old, new) = (Arc::new(ReferenceStorage::new()), Arc::new(MemoryStorage::default()));
    DualStorage::new(old, new, DualConfig::new(lead).clean_up(true)).unwrap()
}

async fn old_leads() -> DualStorage {
    dual(Lead::Old)
}

async fn new_then_old() -> DualStorage {
    dual(Lead::NewThenOld)
}

async fn new_leads() -> DualStorage {
    dual(Lead::New)
}

async fn shadowed() -> ShadowStorage {
    let (old, new) = (Arc::new(MemoryStorage::default()), Arc::new(ReferenceStorage::new()));
    ShadowStorage::new(old, new, ShadowConfig::new())
}

storage_conformance!(old, old_leads);
storage_conformance!(fallback, new_then_old);
storage_conformance!(new, new_leads);
storage_conformance!(shadow, shadowed);
