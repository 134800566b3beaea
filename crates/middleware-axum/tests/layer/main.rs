//! The layer and its extractors against a real manager, over a real axum router.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod cookies;
mod credentials;
mod extractors;
mod harness;
mod renewal;
mod services;
