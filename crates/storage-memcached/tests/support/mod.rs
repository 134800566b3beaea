//! What the tests of this crate begin with: a real server, and storages with a prefix of their own.
#![allow(dead_code, reason = "each test file needs another part")]

pub(crate) mod fake;

use std::sync::OnceLock;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::Pool;
use session_manager_core::{Random, SystemRandom};
use session_manager_services::{Memcached, Service};
use session_manager_storage_memcached::{MemcachedStorage, MemcachedStorageConfig, PooledMemcached, Server};

pub(crate) type Storage = MemcachedStorage<PooledMemcached>;

/// The server that tests share, or one for this process, which ends with it.
pub(crate) fn shared_server() -> String {
    static OWN: OnceLock<Memcached> = OnceLock::new();
    let shared = std::env::var(Service::Memcached.variable()).ok().filter(|url| !url.is_empty());
    let url = shared.unwrap_or_else(|| OWN.get_or_init(|| Memcached::start().expect("memcached starts")).url());
    url.trim_start_matches("memcached://").to_owned()
}

pub(crate) fn client(address: &str, connections: usize) -> PooledMemcached {
    let pool = Pool::builder(Server::new(address)).max_size(connections).runtime(Runtime::Tokio1);
    PooledMemcached::new(pool.build().expect("a pool"))
}

/// A prefix that nobody else has.
pub(crate) fn config() -> MemcachedStorageConfig {
    let mut drawn = [0; 16];
    SystemRandom::new().and_then(|random| random.fill(&mut drawn)).expect("randomness");
    let prefix = format!("sm-test-{:032x}-", u128::from_be_bytes(drawn));
    // Histories of the kit go on for days, and compare what ended long ago.
    MemcachedStorageConfig::new().prefix(prefix).retention(Duration::from_hours(24 * 365))
}

/// An empty storage on a server.
pub(crate) fn storage_at(address: &str) -> Storage {
    MemcachedStorage::new(client(address, 8), config()).expect("a storage")
}
