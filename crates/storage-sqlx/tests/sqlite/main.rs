//! The storage on real SQLite files: concurrency, mappings, the schema check, the application's transaction and filters.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a failed unwrap is a failed test"
)]

#[path = "../operations/mod.rs"]
mod operations;

mod concurrency;
mod contract;
mod fixture;
mod listing;
mod mapping;
mod schema;
mod transaction;
mod transactions;
mod users;
