//! The opaque backend: nothing panics at any time, and nothing but the genuine token is accepted while it lives.

#![no_main]

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use session_manager_backend_opaque::OpaqueBackend;
use session_manager_core::{SessionBackend, Snapshot, TokenKind};
use session_manager_fuzz::{Candidates, now, snapshot, tokens};

static SET: LazyLock<(OpaqueBackend, Snapshot, [Candidates; 2])> = LazyLock::new(|| {
    let backend = OpaqueBackend::builder(tokens()).build().unwrap();
    (backend, snapshot(), [TokenKind::Access, TokenKind::Refresh].map(Candidates::of))
});

fuzz_target!(|data: &[u8]| {
    let (backend, snapshot, candidates) = &*SET;
    let (head, data) = data.split_at(data.len().min(16));
    let number =
        |from: usize| head.get(from..from + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    // The session may be in any state, and the clock show any time.
    let mut control = snapshot.control.clone();
    control.generation = number(0) % 16;
    control.floor = number(1) % 16;
    let millis = i64::from_le_bytes(number(8).to_le_bytes());
    let time = DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_else(now);
    for (kind, candidates) in [TokenKind::Access, TokenKind::Refresh].into_iter().zip(candidates) {
        for (text, genuine) in candidates.from(data) {
            let Ok(presented) = backend.parse(kind, &text) else { continue };
            let verified = backend.verify(&presented, Some(&control), time);
            assert!(genuine || verified.is_err(), "{text}");
            if let Ok(verified) = verified
                && kind == TokenKind::Access
                && verified.generation >= control.floor
            {
                assert!(verified.expires_at.is_some_and(|end| time < end), "{text} at {time}");
            }
            assert!(backend.verify(&presented, None, time).is_err());
        }
    }
});
