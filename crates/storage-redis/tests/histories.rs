//! Concurrent histories on one Redis and on a cluster, checked for linearizability.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod servers;

use session_manager_testkit::storage_histories;

use servers::{clustered, single};

storage_histories!(redis, single);
storage_histories!(cluster, clustered);
