//! What the cross-crate tests share: a manager of real parts on a manual clock, and a sink that remembers.
//!
//! The examples of the project's front page are compiled and run here.
#![doc = include_str!("../../README.md")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "test support: a failed step is a failed test"
)]

#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/putting-it-together.md")]
pub mod putting_it_together {}

pub mod bed;
pub mod client;
pub mod opaque;
pub mod server;
pub mod servers;
pub mod shown;
pub mod sink;
pub mod sqlite;
