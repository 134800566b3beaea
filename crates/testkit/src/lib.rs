#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test kit reports by panicking"
)]

pub mod broken;
pub mod conformance;
pub mod fault;
mod fixture;
mod reference;
mod session;

pub use fixture::{Fixture, GRACE, SequenceRandom, user};
pub use reference::{ReferenceAudit, ReferenceBackend, ReferenceStorage};
pub use session::SessionBuilder;
