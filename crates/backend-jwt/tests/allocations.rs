//! A token that is remembered is checked without a single allocation: for the verification mode that does no I/O.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod support;

use std::alloc::System;
use std::sync::Arc;

use session_manager_backend_jwt::JwtBackend;
use session_manager_core::token::RotatingKeys;
use session_manager_core::{SessionBackend, TokenKind};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{AUDIENCE, ISSUER, all_keys, issue, now, reference_tokens};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The only test of this file: another one's allocations would be counted as well.
#[test]
fn a_remembered_token_allocates_nothing() {
    for key in all_keys() {
        let keys = Arc::new(RotatingKeys::new(session_manager_backend_jwt::JwtKeyRing::new().with(key).unwrap()));
        let backend =
            JwtBackend::with_keys(keys, reference_tokens()).issuer(ISSUER).audience(AUDIENCE).build().unwrap();
        let token = issue(&backend).access;
        let check = || {
            let presented = backend.parse(TokenKind::Access, token.expose()).unwrap();
            backend.verify(&presented, None, now()).unwrap()
        };
        // The first time it is proven.
        let region = Region::new(ALLOCATOR);
        drop(check());
        assert!(region.change().allocations > 10, "the allocations are counted");
        // The harness has a thread of its own, which may allocate meanwhile; what a check allocates is there in every round.
        let rounds = (0..20).map(|_| {
            let region = Region::new(ALLOCATOR);
            for _ in 0..1000 {
                drop(check());
            }
            let change = region.change();
            change.allocations + change.reallocations + change.deallocations
        });
        assert_eq!(rounds.min(), Some(0));
    }
}
