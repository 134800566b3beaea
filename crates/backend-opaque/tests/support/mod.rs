//! One session, its backend, and tokens of any form.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use session_manager_backend_opaque::OpaqueBackend;
use session_manager_core::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager_core::{
    Control, Epochs, IssueContext, Rejection, Result, Seed, Session, SessionBackend, SessionId, SessionRecord,
    Snapshot, TokenKind, TokenPair, UserId, Verified,
};
use uuid::Uuid;

pub(crate) const LIFETIME: Duration = Duration::from_mins(5);

/// 1 January 2026.
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_767_225_600_000).unwrap()
}

pub(crate) fn at(millis: i64) -> DateTime<Utc> {
    now() + TimeDelta::milliseconds(millis)
}

/// A session of generation 7 since now, of generation 6 since a minute, with floor 5.
pub(crate) fn snapshot() -> Snapshot {
    let user = UserId::parse("alice").unwrap();
    let session = Session::new(SessionId::from(Uuid::from_u128(7)), user, at(-60_000), now() + TimeDelta::days(30));
    let mut control = Control::new(Seed::from_bytes([9; 32]), at(-60_000), session.expires_at);
    (control.generation, control.floor, control.rotated_at) = (7, 5, now());
    Snapshot::new(SessionRecord::new(session, control), Epochs::default())
}

pub(crate) fn of_generation(generation: u64) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.control.generation = generation;
    snapshot
}

pub(crate) fn key(fill: u8) -> TokenKey {
    TokenKey::from_secret(&(0..32).map(|index| index ^ fill).collect::<Vec<_>>()).unwrap()
}

pub(crate) fn tokens(fill: u8) -> ReferenceTokens {
    ReferenceTokens::new(Arc::new(KeyRing::new(key(fill))))
}

pub(crate) fn backend() -> OpaqueBackend {
    OpaqueBackend::builder(tokens(1)).access_token_lifetime(LIFETIME).build().unwrap()
}

pub(crate) fn context() -> IssueContext {
    IssueContext::new(now(), now() + LIFETIME)
}

pub(crate) fn try_issue(backend: &OpaqueBackend, snapshot: &Snapshot, context: &IssueContext) -> Result<TokenPair> {
    backend.issue(snapshot, context).now_or_never().unwrap()
}

pub(crate) fn issue(backend: &OpaqueBackend) -> TokenPair {
    try_issue(backend, &snapshot(), &context()).unwrap()
}

/// The access token of a generation.
pub(crate) fn access(generation: u64) -> String {
    let snapshot = of_generation(generation);
    tokens(1).mint(TokenKind::Access, &snapshot.session, &snapshot.control).expose().to_owned()
}

/// Parses and verifies, as the manager does.
pub(crate) fn check_at(
    kind: TokenKind,
    token: &str,
    control: &Control,
    now: DateTime<Utc>,
) -> Result<Verified, Rejection> {
    let backend = backend();
    backend.verify(&backend.parse(kind, token)?, Some(control), now)
}

pub(crate) fn check(kind: TokenKind, token: &str) -> Result<Verified, Rejection> {
    check_at(kind, token, &snapshot().control, now())
}
