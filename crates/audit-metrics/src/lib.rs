#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod audit;
mod live;
mod names;
mod series;

pub use audit::MetricsAudit;
pub use names::{
    BUCKETS, EVENTS, INCIDENTS, LIVE_SESSIONS, LIVE_SESSIONS_EXACT, LIVE_SESSIONS_SAMPLED, OPERATION_SECONDS,
    OPERATIONS,
};
