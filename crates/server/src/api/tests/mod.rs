//! The API through the whole service, without a socket: every endpoint's success and each of its errors.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod account;
mod admin;
mod audit;
mod authorization;
mod authorization_failures;
mod authorization_server;
mod bench;
mod browser;
mod letters;
mod limits;
mod limits_refresh;
mod oauth;
mod openapi;
mod outage;
mod password;
mod providers;
mod resets;
mod rotation;
mod sessions;
mod sign_in;
mod table;
