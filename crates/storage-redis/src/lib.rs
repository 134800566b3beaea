#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod body;
mod bus;
#[cfg(feature = "cluster")]
mod cluster;
mod config;
mod error;
mod keys;
mod link;
mod ops;
mod recent;
mod reply;
mod script;
mod shared_cache;
mod storage;
mod value;

pub use bus::RedisBus;
pub use config::{Acknowledge, RedisStorageConfig};
pub use shared_cache::RedisCache;
pub use storage::RedisStorage;
