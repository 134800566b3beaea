#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod changes;
mod config;
mod ending;
mod error;
mod externals;
mod feed;
mod file;
mod once;
mod query;
mod restore;
mod room;
mod scan;
mod shard;
mod storage;
mod table;
mod users;
mod writing;

#[cfg(test)]
mod tests;

pub use config::MemoryStorageConfig;
pub use storage::MemoryStorage;
