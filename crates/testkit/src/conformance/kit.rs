//! What the suites of sinks, enrichers and token backends share: the runner, and texts that break things.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::run::runtime;

/// Runs one check on what `factory` makes, as a test, in a multi-thread runtime of tokio.
///
/// # Panics
/// When the check fails.
pub fn run_kit<S, F, Fut, C>(factory: F, check: C)
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = S>,
    C: AsyncFnOnce(S),
{
    let runtime = runtime();
    let result = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async { check(factory().await).await });
    }));
    // Whatever blocks a thread for ever has failed already, and must not hold the test.
    runtime.shutdown_background();
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

/// Texts that get lost, split lines, end quotes or break parsers.
pub(super) const HOSTILE: [&str; 14] = [
    "",
    " ",
    "\0",
    "a\r\nb: forged\n",
    "\u{1b}[2J\u{1b}[31mred",
    "'; DROP TABLE sessions; --",
    "\"}],\"kind\":\"created\",\"x\":[{\"",
    "%s%n${jndi:ldap://x}{{7*7}}",
    "\\",
    "\u{202e}txt.exe",
    "\u{2028}\u{85}\u{feff}",
    "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}e\u{301}",
    "Mozilla/5.0 (((((((((((((((((((((((((",
    "Mozilla/999999999999999999999999.99999999999999999999 (;;;;;) Gecko/-1",
];

/// A text longer than anything that a header holds.
pub(super) fn endless() -> String {
    "Mozilla/5.0 (X11; Linux) ".repeat(40_000)
}

/// What must be in no `Debug` text of a sink, enricher or backend.
pub(super) fn assert_silent(debug: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!debug.contains(secret), "`Debug` shows what it must not: {secret:?}");
    }
}
