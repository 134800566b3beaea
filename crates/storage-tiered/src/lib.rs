#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cache;
mod config;
mod effect;
mod entries;
mod flight;
mod listen;
mod marks;
mod seams;
mod shared_cache;
mod stats;
mod storage;
mod tiers;

pub use config::{TieredConfig, WhenDeaf};
pub use stats::TieredStats;
pub use storage::TieredStorage;
