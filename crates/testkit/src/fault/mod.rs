//! Storages that misbehave on request: they fail before or after the effect, count, or wait.
//!
//! All are a [`Hooked`] storage with a different [`Hook`]; write your own hook for anything else.

mod counting;
mod failing;
mod forward;
mod hooked;
mod method;
mod pausing;
mod random;

pub use counting::{Counter, CountingStorage};
pub use failing::{Effect, FailingStorage, Failures};
pub use hooked::{HeldStorage, Hook, Hooked, Keep};
pub use method::Method;
pub use pausing::{Gate, Paused, PausingStorage};
pub use random::FailingRandom;
