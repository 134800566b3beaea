//! The suites of sinks, enrichers and token backends: what is right passes, and what breaks one promise is caught by a check of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

mod audit;
mod backend;
mod enricher;
mod readme;

/// Whether a check fails.
fn fails(check: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err()
}
