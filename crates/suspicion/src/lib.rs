#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod changes;
mod country;
mod device;
mod history;
mod network;
mod rejections;
mod travel;

pub use country::NewCountry;
pub use device::{DeviceChange, NewDevice};
pub use history::History;
pub use network::NetworkChange;
pub use rejections::RejectedTokens;
pub use travel::ImpossibleTravel;
