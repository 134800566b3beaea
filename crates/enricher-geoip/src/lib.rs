#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod database;
mod enricher;
mod error;
mod place;
mod watch;

pub use address::is_public;
pub use enricher::{DatabaseStatus, GeoIpBuilder, GeoIpEnricher, Reload, ReloadOutcome};
pub use error::DatabaseError;
pub use place::Language;
