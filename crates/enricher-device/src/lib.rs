#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod enricher;
mod hints;
mod kind;
mod names;
mod parse;

pub use enricher::DeviceEnricher;
