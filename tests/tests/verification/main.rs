//! Verification modes: what a check of an access token reads, and how late it may see that a session ended.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap is a failed test"
)]

mod activity;
mod cached;
mod feed;
mod nodes;
mod refusals;
mod stateless;
