//! What issuing and checking an access token costs, beside bare `jsonwebtoken`: `cargo run --release --example checks`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for maintainers")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};
use session_manager_backend_jwt::{JwtBackend, SigningKey};
use session_manager_core::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager_core::{
    Authentication, Control, Epoch, Epochs, IssueContext, Seed, Session, SessionBackend, SessionId, SessionRecord,
    Snapshot, Stamp, TokenKind, UserId,
};
use uuid::Uuid;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const PKCS8: [u8; 16] = [0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20];

fn main() {
    let der = [&PKCS8[..], &SECRET[..]].concat();
    let public = (jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.key_utils.ed_pub_components_from_private_key)(
        &der,
        &jsonwebtoken::jwk::EllipticCurve::Ed25519,
    );
    let hs256 = (EncodingKey::from_secret(SECRET), DecodingKey::from_secret(SECRET));
    let ed25519 = (EncodingKey::from_ed_der(&der), DecodingKey::from_ed_der(&public.unwrap()));
    println!("the least of 30 rounds, in microseconds");
    compare("HS256", &SigningKey::hs256(SECRET).unwrap(), Algorithm::HS256, &hs256);
    compare("EdDSA", &SigningKey::ed25519_from_seed(SECRET).unwrap(), Algorithm::EdDSA, &ed25519);
}

fn compare(name: &str, key: &SigningKey, algorithm: Algorithm, (encoding, decoding): &(EncodingKey, DecodingKey)) {
    let refresh = ReferenceTokens::new(Arc::new(KeyRing::new(
        TokenKey::from_secret(b"a secret of more than thirty-two bytes").unwrap(),
    )));
    let build = |memo| {
        let builder = JwtBackend::builder(key.clone(), refresh.clone()).memo(memo);
        builder.issuer("https://login.example").audience("https://api.example").build().unwrap()
    };
    let (backend, remembering) = (build(0), build(10_000));
    // Far ahead, for the library asks the system's clock.
    let now = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let snapshot = snapshot(now);
    let context = IssueContext::new(now, now + TimeDelta::minutes(5));
    let token = backend.issue(&snapshot, &context).now_or_never().unwrap().unwrap().access;
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&["https://login.example"]);
    validation.set_audience(&["https://api.example"]);
    let bare = || jsonwebtoken::decode::<Map<String, Value>>(token.expose(), decoding, &validation).unwrap();
    let ours = || backend.verify(&backend.parse(TokenKind::Access, token.expose()).unwrap(), None, now).unwrap();
    let again =
        || remembering.verify(&remembering.parse(TokenKind::Access, token.expose()).unwrap(), None, now).unwrap();
    let claims = bare().claims;
    assert_eq!(*again().claims.unwrap(), claims);
    assert_eq!(*ours().claims.unwrap(), claims);
    let header = Header::new(algorithm);
    let bare_issue = || jsonwebtoken::encode(&header, &claims, encoding).unwrap();
    let our_issue = || backend.issue(&snapshot, &context).now_or_never().unwrap().unwrap();
    let first = fastest(ours);
    report(name, "check", fastest(bare), first);
    let hit = fastest(again);
    let (rate, ratio) = (1.0 / hit.as_secs_f64(), first.as_secs_f64() / hit.as_secs_f64());
    println!(
        "{name} remembered: {:.2}, {rate:.0} a second on one core, {ratio:.1} times as fast as the first check",
        micros(hit)
    );
    report(name, "issue", fastest(bare_issue), fastest(our_issue));
    println!("{name} token: {} bytes", token.expose().len());
}

fn report(name: &str, what: &str, bare: Duration, ours: Duration) {
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    println!("{name} {what}: jsonwebtoken {:.2}, ours {:.2}, ratio {ratio:.2}", micros(bare), micros(ours));
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The machine is shared: the fastest round is the one that was disturbed least.
fn fastest<T>(mut run: impl FnMut() -> T) -> Duration {
    const CALLS: u32 = 1000;
    let round = |_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(run());
        }
        start.elapsed() / CALLS
    };
    (0..30).map(round).min().unwrap()
}

fn snapshot(now: DateTime<Utc>) -> Snapshot {
    let user = UserId::parse("0190f5fe-7c00-7a00-8000-00000000000a").unwrap();
    let mut session = Session::new(SessionId::from(Uuid::from_u128(7)), user, now, now + TimeDelta::days(30));
    session.authentication = Authentication::at(now).by(["pwd", "otp"]);
    let mut control = Control::new(Seed::from_bytes([9; 32]), now, session.expires_at);
    control.stamped = Some(Stamp { user: Epoch::first(u64::MAX), global: Epoch::first(u64::MAX) });
    Snapshot::new(SessionRecord::new(session, control), Epochs::default())
}
