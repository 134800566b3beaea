//! A source of randomness that fails.

use std::sync::atomic::{AtomicU64, Ordering};

use session_manager_core::{Error, ErrorKind, Random, Result};

use crate::fixture::SequenceRandom;

/// A source of randomness that fails after so many successes.
#[derive(Debug)]
pub struct FailingRandom {
    good: AtomicU64,
    source: SequenceRandom,
}

impl FailingRandom {
    /// Succeeds `good` times and fails ever after.
    pub fn after(good: u64) -> Self {
        Self { good: AtomicU64::new(good), source: SequenceRandom::default() }
    }

    /// Fails always.
    pub fn always() -> Self {
        Self::after(0)
    }
}

impl Random for FailingRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        let one_less = |good: u64| good.checked_sub(1);
        if self.good.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
            return Err(Error::new(ErrorKind::Internal, "random"));
        }
        self.source.fill(buffer)
    }
}
