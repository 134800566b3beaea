//! Reading and proving refresh tokens: nothing panics, and nothing but the genuine token is proven.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_manager_core::token::ReferenceTokens;
use session_manager_core::{Snapshot, TokenKind};
use session_manager_fuzz::{Candidates, snapshot, tokens};

static SET: LazyLock<(ReferenceTokens, Snapshot, Candidates)> =
    LazyLock::new(|| (tokens(), snapshot(), Candidates::of(TokenKind::Refresh)));

fuzz_target!(|data: &[u8]| {
    let (tokens, snapshot, candidates) = &*SET;
    for (text, genuine) in candidates.from(data) {
        let read = tokens.parse(TokenKind::Refresh, &text);
        let proven = read.as_ref().is_ok_and(|read| tokens.check(read, &snapshot.control).is_ok());
        // A wrong hint may be proven; it names no session.
        assert_eq!(proven, genuine, "{text}");
        let as_access = tokens.parse(TokenKind::Access, &text);
        assert!(!(as_access.is_ok() && read.is_ok()), "{text}");
    }
});
