//! What the fuzz targets share: one session with its keys, and ways to make a token out of what the fuzzer made up.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use session_manager_core::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager_core::{Control, Epochs, Seed, Session, SessionId, SessionRecord, Snapshot, TokenKind, UserId};
use uuid::Uuid;

/// The bytes of a reference token, and those of the hint in it that the MAC is not over.
const BODY: usize = 69;
const HINT: std::ops::Range<usize> = 29..37;

/// 1 January 2026.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

/// A session of generation 7 with floor 5.
pub fn snapshot() -> Snapshot {
    let user = UserId::parse("alice").unwrap();
    let session = Session::new(SessionId::from(Uuid::from_u128(7)), user, now(), now() + TimeDelta::days(30));
    let mut control = Control::new(Seed::from_bytes([9; 32]), now(), session.expires_at);
    (control.generation, control.floor) = (7, 5);
    Snapshot::new(SessionRecord::new(session, control), Epochs::default())
}

/// Reference tokens of a fixed key.
pub fn tokens() -> ReferenceTokens {
    let secret: Vec<u8> = (0..32).collect();
    ReferenceTokens::new(Arc::new(KeyRing::new(TokenKey::from_secret(&secret).unwrap())))
}

/// The tokens that a reader is fed with, and whether each is genuine: with the session as it says, that is.
pub struct Candidates {
    prefix: &'static str,
    good: String,
    body: Vec<u8>,
}

impl Candidates {
    /// Around the good token of this kind.
    pub fn of(kind: TokenKind) -> Self {
        let snapshot = snapshot();
        let good = tokens().mint(kind, &snapshot.session, &snapshot.control).expose().to_owned();
        let body = URL_SAFE_NO_PAD.decode(&good[4..]).unwrap();
        assert_eq!(body.len(), BODY);
        let prefix = if kind == TokenKind::Access { "sms_" } else { "smr_" };
        Self { prefix, good, body }
    }

    /// Any text, any bytes in the right form, and the good token with some of its bits flipped.
    pub fn from(&self, data: &[u8]) -> [(String, bool); 3] {
        let text = String::from_utf8_lossy(data).into_owned();
        let genuine = text == self.good;
        let encoded = format!("{}{}", self.prefix, URL_SAFE_NO_PAD.encode(data));
        let mut flipped = self.body.clone();
        let mut is_same = true;
        for (index, (byte, mask)) in flipped.iter_mut().zip(data).enumerate() {
            *byte ^= mask;
            is_same &= *mask == 0 || HINT.contains(&index);
        }
        let flipped = format!("{}{}", self.prefix, URL_SAFE_NO_PAD.encode(flipped));
        let same_bytes = encoded == self.good;
        [(text, genuine), (encoded, same_bytes), (flipped, is_same)]
    }
}
