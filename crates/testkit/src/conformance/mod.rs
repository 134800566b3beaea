//! The conformance suite for storages: plain async functions, each the proof of one sentence of the contract.
//!
//! Most tests use [`storage_conformance!`](crate::storage_conformance); [`report`] runs everything from a program of its own.

mod table;

pub mod ability;
pub mod advance;
pub mod audit;
pub mod backend;
pub mod boundary;
pub mod bump;
pub mod cap;
pub mod concurrency;
pub mod declared;
mod drawn;
pub mod enricher;
mod eviction;
pub mod feed;
pub mod global;
#[cfg(feature = "linearizability")]
mod histories;
pub mod insert;
mod kit;
pub mod list;
mod model;
pub mod once;
pub mod purge;
pub mod read;
pub mod revival;
pub mod revoke;
mod run;
pub mod scan;
pub mod touch;
pub mod update;

pub use ability::Ability;
pub use eviction::{Evict, Kept, losing_a_kind_revives_nothing, losing_some_revives_nothing};
#[cfg(feature = "linearizability")]
pub use histories::{ConcurrentHistories, HistoryCount, Mix, linearizable, races_are_caught};
pub use kit::run_kit;
pub use model::Histories;
pub use run::{CheckOutcome, Report, ReportLine, abilities_are_as_declared, catches, report, run, run_model};
pub use table::{Check, checks};
