//! A secret is compared in as many machine instructions wherever the first difference is: nothing can be learnt from how long a refusal takes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a failed unwrap is a failed test")]

use std::{hint::black_box, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use futures_util::FutureExt as _;
use session_manager_backend_jwt::{JwtBackend, SigningKey};
use session_manager_core::token::{KeyRing, ReferenceToken, ReferenceTokens, TokenKey};
use session_manager_core::{
    Control, Epochs, IssueContext, Presented, Rejection, Seed, Session, SessionBackend, SessionId, SessionRecord,
    Snapshot, TokenKind,
};
use session_manager_services::instructions;
use session_manager_tests::bed::user;
use uuid::Uuid;

/// Bytes of an HMAC with SHA-256, the last of both kinds of tokens.
const MAC: usize = 32;

fn reference_tokens() -> ReferenceTokens {
    let secret: Vec<u8> = (0..32).collect();
    ReferenceTokens::new(Arc::new(KeyRing::new(TokenKey::from_secret(&secret).unwrap())))
}

fn session() -> (Session, Control) {
    let at = DateTime::UNIX_EPOCH + chrono::Duration::days(20_000);
    let until = at + chrono::Duration::days(1);
    let session = Session::new(SessionId::from(Uuid::from_u128(7)), user("alice"), at, until);
    (session, Control::new(Seed::from_bytes([9; 32]), at, until))
}

/// The token with a bit of this byte of its last 32 turned over.
fn differing_at(place: usize, token: &str) -> String {
    // Of a JWT the signature, of a reference token what follows the prefix.
    let start = token.rfind('.').or_else(|| token.find('_')).unwrap() + 1;
    let mut bytes = URL_SAFE_NO_PAD.decode(&token[start..]).unwrap();
    let first = bytes.len() - MAC;
    bytes[first + place] ^= 0x10;
    format!("{}{}", &token[..start], URL_SAFE_NO_PAD.encode(bytes))
}

/// Every place is tried twice: the first time, memory is asked for that is at hand the second time.
fn places() -> impl Iterator<Item = usize> {
    (0..MAC).chain(0..MAC)
}

/// The second time, all calls of a kind took as long.
fn all_alike(test: &str, function: &str, kinds: usize) {
    let path = format!("constant_time::{function}");
    let Some(counts) = instructions(test, &path).unwrap() else { return };
    assert_eq!(counts.len(), kinds * places().count(), "{counts:?}");
    for of_kind in counts.chunks(2 * MAC) {
        let settled = &of_kind[MAC..];
        assert!(settled.iter().all(|count| *count == settled[0] && *count > 1000), "{settled:?}");
    }
}

#[inline(never)]
fn is_reference(tokens: &ReferenceTokens, token: &ReferenceToken, control: &Control) -> Result<(), Rejection> {
    black_box(tokens.check(black_box(token), control))
}

/// An access token of the opaque backend and a refresh token of either, wrong at each byte in turn.
#[test]
fn reference_tokens_refused() {
    let (tokens, (session, control)) = (reference_tokens(), session());
    for kind in [TokenKind::Access, TokenKind::Refresh] {
        let genuine = tokens.mint(kind, &session, &control);
        for place in places() {
            let token = tokens.parse(kind, &differing_at(place, genuine.expose())).unwrap();
            assert_eq!(is_reference(&tokens, &token, &control), Err(Rejection::BadSignature));
        }
    }
}

#[test]
fn where_a_reference_token_differs_makes_no_difference() {
    all_alike("reference_tokens_refused", "is_reference", 2);
}

#[inline(never)]
fn is_jwt(backend: &JwtBackend, token: &str) -> Result<(), Rejection> {
    let presented = Presented::self_contained(TokenKind::Access, token);
    black_box(backend.verify(black_box(&presented), None, DateTime::UNIX_EPOCH).map(drop))
}

/// An access token with a symmetric signature, wrong at each byte in turn.
#[test]
fn symmetric_signatures_refused() {
    let key = SigningKey::hs256(b"0123456789abcdef0123456789abcdef").unwrap();
    let builder = JwtBackend::builder(key, reference_tokens());
    let backend = builder.issuer("https://issuer.test").audience("https://api.test").build().unwrap();
    let (session, control) = session();
    let (now, until) = (session.created_at, session.expires_at);
    let snapshot = Snapshot::new(SessionRecord::new(session, control), Epochs::default());
    let minted = backend.issue(&snapshot, &IssueContext::new(now, until)).now_or_never().unwrap().unwrap();
    for place in places() {
        let token = differing_at(place, minted.access.expose());
        assert_eq!(is_jwt(&backend, &token), Err(Rejection::BadSignature));
    }
}

#[test]
fn where_a_symmetric_signature_differs_makes_no_difference() {
    all_alike("symmetric_signatures_refused", "is_jwt", 1);
}
