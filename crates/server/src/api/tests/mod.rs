//! The API through the whole service, without a socket: every endpoint's success and each of its errors.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod account;
mod authorization;
mod authorization_failures;
mod authorization_server;
mod bench;
mod browser;
mod letters;
mod outage;
mod password;
mod providers;
mod sessions;
mod sign_in;
mod table;
