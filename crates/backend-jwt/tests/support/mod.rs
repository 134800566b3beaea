//! One session, its backends, and a forger that signs whatever it is told.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use session_manager_backend_jwt::{JwtBackend, JwtBackendBuilder, SigningKey};
use session_manager_core::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager_core::{
    Authentication, Control, Epoch, Epochs, IssueContext, Rejection, Result, Seed, Session, SessionBackend, SessionId,
    SessionRecord, Snapshot, Stamp, TokenKind, TokenPair, UserId, Verified,
};
use uuid::Uuid;

pub(crate) const ISSUER: &str = "https://login.example";
pub(crate) const AUDIENCE: &str = "https://api.example";
pub(crate) const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
pub(crate) const SEED: &[u8; 32] = b"fedcba9876543210fedcba9876543210";
/// 1 January 2026, in seconds.
pub(crate) const EPOCH: i64 = 1_767_225_600;

/// A quarter of a second into 2026, so that cutting to whole seconds is seen.
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(EPOCH * 1000 + 250).unwrap()
}

pub(crate) fn context() -> IssueContext {
    IssueContext::new(now(), now() + TimeDelta::milliseconds(300_700))
}

pub(crate) fn snapshot() -> Snapshot {
    let user = UserId::parse("alice").unwrap();
    let mut session = Session::new(SessionId::from(Uuid::from_u128(7)), user, now(), now() + TimeDelta::days(30));
    session.authentication = Authentication::at(now() - TimeDelta::hours(1)).by(["pwd", "otp"]).level("2");
    let mut control = Control::new(Seed::from_bytes([9; 32]), now(), session.expires_at);
    control.generation = 4;
    let user = Epoch { incarnation: 0xAAAA_BBBB_0000_0001, version: 3 };
    control.stamped = Some(Stamp { user, global: Epoch { incarnation: 0xCCCC_DDDD_FFFF_FFFF, version: 5 } });
    Snapshot::new(SessionRecord::new(session, control), Epochs::default())
}

pub(crate) fn reference_tokens() -> ReferenceTokens {
    let key = TokenKey::from_secret(b"a secret of more than thirty-two bytes").unwrap();
    ReferenceTokens::new(Arc::new(KeyRing::new(key)))
}

pub(crate) fn ed25519() -> SigningKey {
    SigningKey::ed25519_from_seed(SEED).unwrap()
}

pub(crate) fn hs256() -> SigningKey {
    SigningKey::hs256(SECRET).unwrap()
}

/// RFC 7515, appendix A.3.
pub(crate) const P256_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
/// Made for these tests, as JWK and as PKCS#1.
pub(crate) const RSA_JWK: &str = include_str!("keys/rsa.jwk.json");
pub(crate) const RSA_PKCS1: &str = include_str!("keys/rsa.pkcs1.base64");

pub(crate) fn es256() -> SigningKey {
    SigningKey::from_jwk(P256_JWK).unwrap()
}

pub(crate) fn rs256() -> SigningKey {
    SigningKey::from_jwk(RSA_JWK).unwrap()
}

/// One key of each algorithm.
pub(crate) fn all_keys() -> [SigningKey; 4] {
    [ed25519(), hs256(), es256(), rs256()]
}

pub(crate) fn rsa_pkcs1() -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(RSA_PKCS1.replace('\n', "")).unwrap()
}

/// PKCS#8 of the key of [`P256_JWK`].
pub(crate) fn p256_pkcs8() -> Vec<u8> {
    let jwk: Value = serde_json::from_str(P256_JWK).unwrap();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let head = "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420";
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    [hex(head), number("d"), hex("a14403420004"), number("x"), number("y")].concat()
}

/// A key as text, so that no scanner takes a constant for a leaked one.
pub(crate) fn pem(tag: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", lines.join("\n"))
}

pub(crate) fn builder(key: SigningKey) -> JwtBackendBuilder {
    JwtBackend::builder(key, reference_tokens()).issuer(ISSUER).audience(AUDIENCE)
}

pub(crate) fn backend(key: SigningKey) -> JwtBackend {
    builder(key).build().unwrap()
}

pub(crate) fn try_issue(backend: &JwtBackend, snapshot: &Snapshot) -> Result<TokenPair> {
    backend.issue(snapshot, &context()).now_or_never().unwrap()
}

pub(crate) fn issue(backend: &JwtBackend) -> TokenPair {
    try_issue(backend, &snapshot()).unwrap()
}

/// Parses and verifies, as the manager does.
pub(crate) fn check_at(
    backend: &JwtBackend,
    kind: TokenKind,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Verified, Rejection> {
    let control: Control = snapshot().control;
    backend.verify(&backend.parse(kind, token)?, Some(&control), now)
}

pub(crate) fn check(backend: &JwtBackend, token: &str) -> Result<Verified, Rejection> {
    check_at(backend, TokenKind::Access, token, now())
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A part of a token as JSON.
pub(crate) fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

/// Signs any header and payload with a real key.
#[derive(Clone, Copy)]
pub(crate) enum Forger {
    Ed25519,
    Es256,
    Rs256,
    Hs256(&'static [u8]),
}

impl Forger {
    pub(crate) fn sign(self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let (algorithm, key) = match self {
            Self::Ed25519 => {
                let prefix = [0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20];
                (Algorithm::EdDSA, EncodingKey::from_ed_der(&[&prefix[..], &SEED[..]].concat()))
            }
            Self::Es256 => (Algorithm::ES256, EncodingKey::from_ec_der(&p256_pkcs8())),
            Self::Rs256 => (Algorithm::RS256, EncodingKey::from_rsa_der(&rsa_pkcs1())),
            Self::Hs256(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret)),
        };
        let message = format!("{}.{}", encode(header), encode(payload));
        let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &key).unwrap();
        let signature = encode(signer.try_sign(message.as_bytes()).unwrap());
        format!("{message}.{signature}")
    }
}

pub(crate) fn header(key: &SigningKey) -> Value {
    let key = key.verifying_key();
    json!({ "typ": "at+jwt", "alg": key.algorithm().as_str(), "kid": key.kid() })
}

/// The claims of a token that is accepted.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "sid": Uuid::from_u128(7).to_string(), "gen": 4,
        "iat": EPOCH, "nbf": EPOCH, "exp": EPOCH + 300, "uep": [3, 1], "gep": [5, 2],
    })
}

/// `value` with one member replaced; `None` removes it.
pub(crate) fn with(mut value: Value, name: &str, member: Option<Value>) -> String {
    let object = value.as_object_mut().unwrap();
    match member {
        Some(member) => drop(object.insert(name.to_owned(), member)),
        None => drop(object.remove(name)),
    }
    value.to_string()
}
