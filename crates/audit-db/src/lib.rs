#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod append;
mod audit;
mod background;
mod chain;
mod config;
mod dialect;
mod encoding;
mod erase;
mod error;
mod field;
mod identifier;
mod link;
mod marks;
mod plan;
mod purge;
mod query;
mod queue;
mod record;
mod schema;
mod spec;
mod statement;
mod step;
mod value;
mod verify;
mod walk;

pub use audit::{DEFAULT_RETENTION, DbAudit, DbAuditTransaction, SharedTransaction, share};
pub use chain::{ChainKey, Head};
pub use config::{AuditTable, ChainTable};
pub use dialect::Dialect;
pub use encoding::{AddressEncoding, IdEncoding, JsonEncoding, TimeEncoding, UserIdEncoding};
pub use field::Field;
pub use link::{Borrowed, Link};
pub use purge::Purged;
pub use query::{AuditCursor, AuditPage, AuditQuery, MAX_PAGE};
pub use queue::{AuditStats, Batching, Overflow};
pub use spec::reference_ddl;
pub use verify::{Verification, Verified};
pub use walk::{Broken, Defect};
