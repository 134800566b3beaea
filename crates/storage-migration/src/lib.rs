#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod carry;
mod copy;
mod dual;
mod epochs;
mod shadow;

pub use copy::{CopyOptions, CopyProgress, copy};
pub use dual::{DualConfig, DualStats, DualStorage, Lead};
pub use shadow::{Differences, ShadowConfig, ShadowStats, ShadowStorage};
