//! The opaque backend of session-manager: access and refresh tokens that their session proves.

#![doc = include_str!("../README.md")]

mod backend;
mod builder;

pub use crate::backend::{CLOCK_LEEWAY, OpaqueBackend};
pub use crate::builder::OpaqueBackendBuilder;
