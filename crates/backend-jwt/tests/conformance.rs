//! The conformance suite for token backends, with a key of each algorithm.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod support;

use session_manager_testkit::backend_conformance;
use support::{backend, ed25519, hs256};

backend_conformance!(signed_with_ed25519, async || backend(ed25519()));
backend_conformance!(signed_with_hs256, async || backend(hs256()));
