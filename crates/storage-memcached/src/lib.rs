#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod account;
mod cache;
mod config;
mod encoding;
mod ending;
mod error;
mod key;
#[cfg(feature = "memcache-async")]
mod pooled;
mod reading;
mod storage;
mod swap;
mod writing;

pub use cache::{Added, CacheClient, CacheConnection, CacheError, CacheItem, CasToken, Swapped, TimeToLive};
pub use config::MemcachedStorageConfig;
pub use key::CacheKey;
#[cfg(feature = "memcache-async")]
pub use pooled::{PooledMemcached, Server, ServerConnection};
pub use storage::MemcachedStorage;
