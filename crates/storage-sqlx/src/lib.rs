#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "postgres")]
mod bus;
mod config;
#[cfg(all(test, feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod decisions;
mod details;
mod dialect;
mod draft;
mod encoding;
mod epoch_names;
mod epoch_plan;
mod error;
mod field;
mod identifier;
mod link;
mod ops;
mod plan;
mod quick_plan;
mod record;
mod schema;
mod side_config;
mod side_tables;
mod spec;
mod statement;
mod storage;
mod value;

#[cfg(feature = "postgres")]
pub use bus::PgBus;
pub use config::{ExtraKind, SessionTable};
pub use dialect::Dialect;
pub use encoding::{AddressEncoding, IdEncoding, JsonEncoding, TimeEncoding, UserIdEncoding};
pub use field::Field;
pub use link::{Borrowed, Link};
pub use side_config::{EpochColumns, EpochTable, FeedTable, OnceTable, UserEpochs};
pub use spec::reference_ddl;
pub use storage::{SqlxStorage, SqlxTransaction};
