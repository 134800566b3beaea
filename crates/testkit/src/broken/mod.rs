//! Storages in which one thing is broken, as wrappers over any storage: proof that the conformance suite sees what it claims to see.

mod denied;
mod races;
mod reads;
mod table;
mod twist;
mod writes;

pub use denied::DenyList;
pub use races::Race;
pub use reads::*;
pub use table::{Defect, defects};
pub use twist::Twisted;
pub use writes::*;
