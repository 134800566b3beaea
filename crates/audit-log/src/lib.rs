//! The audit sink of session-manager that writes structured `tracing` events.

#![doc = include_str!("../README.md")]

mod audit;
mod text;

pub use crate::audit::{LogAudit, TARGET, level};
