//! The sink on SQLite and on real PostgreSQL and MariaDB servers.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a failed unwrap is a failed test"
)]

/// One test a database of each of these functions of the module.
macro_rules! on_each {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test::<sqlx::Sqlite>().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                if session_manager_services::url(session_manager_services::Service::Postgres).is_some() {
                    super::$test::<sqlx::Postgres>().await;
                }
            })*
        }
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                if session_manager_services::url(session_manager_services::Service::MariaDb).is_some() {
                    super::$test::<sqlx::MySql>().await;
                }
            })*
        }
    };
}

mod conformance;
mod erasure;
mod fixture;
mod queue;
mod reading;
mod recording;
mod restart;
mod retention;
mod schema;
mod tamper;
mod transaction;
