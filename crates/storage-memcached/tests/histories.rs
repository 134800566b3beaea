//! Concurrent histories on a real memcached, checked for linearizability.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use session_manager_testkit::storage_histories;

async fn fresh() -> support::Storage {
    support::storage_at(&support::shared_server())
}

storage_histories!(memcached, fresh);
