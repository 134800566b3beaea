//! The storage on real PostgreSQL and MariaDB servers: conformance, concurrency, mappings, the schema check and the application's transaction.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a failed unwrap is a failed test"
)]

/// One test a server of each of these functions of the module.
macro_rules! on_each {
    ($($test:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                if session_manager_services::url(session_manager_services::Service::Postgres).is_some() {
                    super::$test::<super::Postgres>().await;
                }
            })*
        }
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                if session_manager_services::url(session_manager_services::Service::MariaDb).is_some() {
                    super::$test::<super::MySql>().await;
                }
            })*
        }
    };
}

#[path = "../operations/mod.rs"]
mod operations;

mod concurrency;
mod conformance;
mod mapping;
mod million;
mod outages;
mod pooler;
mod relay;
mod round_trips;
#[path = "../rows/mod.rs"]
mod rows;
mod schema;
mod server;
mod transaction;
mod transactions;
mod users;
