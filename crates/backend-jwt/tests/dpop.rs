//! Proofs of possession: each rule of RFC 9449 §4.3, and bound sessions through a manager.
#![cfg(feature = "dpop")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use session_manager_backend_jwt::{DpopVerifier, MAX_PROOF_BYTES, SigningKey};
use session_manager_core::{
    Binding, Clock, ErrorKind, ManualClock, NewSession, Possession, PossessionVerifier, PresentedProof, Rejection,
    RequestContext, SessionManager, UserId, Verification,
};
use session_manager_storage_memory::MemoryStorage;
use sha2::{Digest, Sha256};
use support::{EPOCH, Forger, backend, ed25519, encode, es256, hs256, now, rs256};

const TARGET: &str = "https://api.example/accounts";

fn public(key: &SigningKey) -> Value {
    let mut jwk = key.verifying_key().to_jwk().unwrap();
    let members = jwk.as_object_mut().unwrap();
    for name in ["kid", "use", "alg"] {
        members.remove(name);
    }
    jwk
}

fn header(key: &SigningKey) -> Value {
    json!({ "typ": "dpop+jwt", "alg": key.verifying_key().algorithm().as_str(), "jwk": public(key) })
}

fn claims() -> Value {
    json!({ "jti": "one", "htm": "GET", "htu": TARGET, "iat": EPOCH })
}

/// The same object with another member, or without it.
fn with(mut object: Value, name: &str, value: Option<Value>) -> Value {
    let members = object.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    object
}

fn signed(header: &Value, claims: &Value) -> String {
    Forger::Es256.sign(header.to_string(), claims.to_string())
}

fn verify(text: &str, token: Option<&str>, now: DateTime<Utc>) -> Result<Possession, Rejection> {
    DpopVerifier::new().verify(&PresentedProof::new(text, "GET", TARGET), token, now)
}

#[test]
fn a_good_proof_names_its_key() {
    for (forger, key) in [(Forger::Ed25519, ed25519()), (Forger::Es256, es256()), (Forger::Rs256, rs256())] {
        let text = forger.sign(header(&key).to_string(), claims().to_string());
        let possession = verify(&text, None, now()).unwrap();
        assert_eq!(possession.binding, Binding::Dpop(key.verifying_key().kid().to_owned()), "its thumbprint");
        assert!(possession.until > now());
    }
}

/// RFC 9449 §4.3 lists what must hold; each of these breaks one of it.
#[test]
fn every_rule_is_kept() {
    let key = es256();
    let good = header(&key);
    let headers = [
        (with(good.clone(), "typ", Some("JWT".into())), Rejection::BadProof),
        (with(good.clone(), "typ", None), Rejection::BadProof),
        (with(good.clone(), "alg", Some("none".into())), Rejection::WrongAlgorithm),
        (with(good.clone(), "alg", Some("HS256".into())), Rejection::WrongAlgorithm),
        (with(good.clone(), "alg", Some("es256".into())), Rejection::WrongAlgorithm),
        (with(good.clone(), "alg", None), Rejection::BadProof),
        (with(good.clone(), "jwk", None), Rejection::BadProof),
        (with(good.clone(), "jwk", Some(with(public(&key), "d", Some("AAAA".into())))), Rejection::BadProof),
        (with(good.clone(), "jwk", Some(json!({"kty": "oct", "k": encode([7; 32])}))), Rejection::BadProof),
        (with(good.clone(), "jwk", Some(public(&ed25519()))), Rejection::WrongAlgorithm),
        (with(good.clone(), "crit", Some(json!(["exp"]))), Rejection::BadProof),
    ];
    for (header, expected) in headers {
        assert_eq!(verify(&signed(&header, &claims()), None, now()), Err(expected), "{header}");
    }
    let others = [
        ("htm", Some(json!("POST"))),
        ("htm", Some(json!("get"))),
        ("htm", None),
        ("htu", Some(json!("https://api.example/account"))),
        ("htu", Some(json!("https://api.example:8443/accounts"))),
        ("htu", Some(json!("http://api.example/accounts"))),
        ("htu", Some(json!("https://evil@api.example/accounts"))),
        ("htu", Some(json!("/accounts"))),
        ("htu", None),
        ("jti", Some(json!(""))),
        ("jti", Some(json!("x".repeat(257)))),
        ("jti", Some(json!(1))),
        ("jti", None),
        ("iat", Some(json!(EPOCH - 60))),
        ("iat", Some(json!(EPOCH + 6))),
        ("iat", Some(json!("now"))),
        ("iat", None),
    ];
    for (name, value) in others {
        let claims = with(claims(), name, value);
        assert_eq!(verify(&signed(&good, &claims), None, now()), Err(Rejection::BadProof), "{claims}");
    }
    let same = ["HTTPS://API.example:443/accounts?page=2#top", "https://api.example/x/../accounts"];
    for target in same {
        assert!(verify(&signed(&good, &with(claims(), "htu", Some(target.into()))), None, now()).is_ok(), "{target}");
    }
    assert!(verify(&signed(&good, &with(claims(), "iat", Some(json!(EPOCH - 59)))), None, now()).is_ok());
    for text in ["", "a.b", "a.b.c.d", &"x".repeat(MAX_PROOF_BYTES + 1)] {
        assert!(verify(text, None, now()).is_err());
    }
}

#[test]
fn every_flipped_byte_is_found() {
    let text = signed(&header(&es256()), &claims());
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        if let Ok(changed) = String::from_utf8(bytes) {
            assert!(verify(&changed, None, now()).is_err(), "at {at}");
        }
    }
}

#[test]
fn a_proof_with_a_token_names_it() {
    let ath = |token: &str| encode(Sha256::digest(token));
    let text = signed(&header(&es256()), &with(claims(), "ath", Some(ath("the token").into())));
    assert!(verify(&text, Some("the token"), now()).is_ok());
    assert_eq!(verify(&text, Some("another"), now()), Err(Rejection::BadProof));
    assert_eq!(verify(&signed(&header(&es256()), &claims()), Some("the token"), now()), Err(Rejection::BadProof));
}

proptest! {
    /// Whatever comes, in a proof's form or in none, is read or refused.
    #[test]
    fn any_text_is_refused(text in ".{0,200}", header in "\\PC{0,80}", claims in "\\PC{0,80}", signature in any::<[u8; 64]>()) {
        let good = encode(self::header(&es256()).to_string());
        let all = [
            text,
            format!("{}.{}.{}", encode(&header), encode(&claims), encode(signature)),
            format!("{good}.{}.{}", encode(&claims), encode(signature)),
            format!("{good}.{}.{}", encode(self::claims().to_string()), encode(signature)),
        ];
        for proof in all {
            prop_assert!(verify(&proof, None, now()).is_err(), "{proof}");
        }
    }
}

/// A client with a key, and a manager that binds its session to it.
struct Bound {
    manager: SessionManager,
    clock: Arc<ManualClock>,
    count: std::cell::Cell<u32>,
}

impl Bound {
    fn new(verification: Verification) -> Self {
        let clock = Arc::new(ManualClock::at(now()));
        let (manager, _) = SessionManager::builder()
            .storage(Arc::new(MemoryStorage::default()))
            .backend(Arc::new(backend(ed25519())))
            .clock(clock.clone())
            .allow_volatile(true)
            .possession(Arc::new(DpopVerifier::new()))
            .verification(verification)
            .build_with_maintenance()
            .unwrap();
        Self { manager, clock, count: 0.into() }
    }

    /// A request that shows the key.
    fn request(&self, forger: Forger, key: &SigningKey, token: Option<&str>) -> RequestContext {
        self.count.set(self.count.get() + 1);
        let mut claims = with(claims(), "jti", Some(format!("proof {}", self.count.get()).into()));
        claims = with(claims, "iat", Some(self.clock.now().timestamp().into()));
        if let Some(token) = token {
            claims = with(claims, "ath", Some(encode(Sha256::digest(token)).into()));
        }
        let text = forger.sign(header(key).to_string(), claims.to_string());
        RequestContext::default().proof(PresentedProof::new(text, "GET", TARGET))
    }

    async fn access(&self, token: &str, context: &RequestContext) -> Result<(), ErrorKind> {
        self.manager.authenticate(token, context).await.map(drop).map_err(|error| error.kind())
    }
}

fn refused(rejection: Rejection) -> Result<(), ErrorKind> {
    Err(ErrorKind::InvalidToken(rejection))
}

#[tokio::test]
async fn bound_tokens_are_worth_nothing_without_their_key() {
    let modes = [Verification::Always, Verification::Feed { max_age: Duration::from_secs(5) }, Verification::Stateless];
    for mode in modes {
        let bed = Bound::new(mode);
        let (key, other) = (es256(), ed25519());
        let binding = bed.manager.possession(&bed.request(Forger::Es256, &key, None)).await.unwrap();
        let new = NewSession::of(UserId::parse("alice").unwrap()).bound_to(binding);
        let created = bed.manager.create(new, &RequestContext::default()).await.unwrap();
        let access = created.tokens.access.expose();

        let shown = bed.request(Forger::Es256, &key, Some(access));
        assert_eq!(bed.access(access, &shown).await, Ok(()));
        assert_eq!(bed.access(access, &shown).await, refused(Rejection::ProofReplayed), "{mode:?}");
        assert_eq!(bed.access(access, &RequestContext::default()).await, refused(Rejection::ProofMissing));
        let thief = bed.request(Forger::Ed25519, &other, Some(access));
        assert_eq!(bed.access(access, &thief).await, refused(Rejection::WrongPossessor));
        let unnamed = bed.request(Forger::Es256, &key, None);
        assert_eq!(bed.access(access, &unnamed).await, refused(Rejection::BadProof), "made for no token");

        let refresh = created.tokens.refresh.expose();
        for context in [RequestContext::default(), bed.request(Forger::Ed25519, &other, None)] {
            assert!(bed.manager.refresh(refresh, &context).await.is_err());
        }
        let renewed = bed.manager.refresh(refresh, &bed.request(Forger::Es256, &key, None)).await.unwrap();
        assert_eq!(renewed.snapshot.control.generation, 2, "what was refused has used nothing up");
    }
}

#[tokio::test]
async fn a_proof_is_remembered_until_it_is_too_old() {
    let bed = Bound::new(Verification::Always);
    let key = es256();
    let context = bed.request(Forger::Es256, &key, None);
    assert!(bed.manager.possession(&context).await.unwrap().is_some());
    for seconds in [0, 30, 29] {
        bed.clock.advance(Duration::from_secs(seconds));
        let error = bed.manager.possession(&context).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidToken(Rejection::ProofReplayed), "after {seconds} s more");
    }
    bed.clock.advance(Duration::from_secs(2));
    let error = bed.manager.possession(&context).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidToken(Rejection::BadProof), "too old");
}

#[tokio::test]
async fn certificates_bind_too_and_nothing_is_bound_to_what_nobody_checks() {
    let bed = Bound::new(Verification::Always);
    let mut shown = RequestContext::default();
    shown.certificate = Some("thumbprint".to_owned());
    let binding = bed.manager.possession(&shown).await.unwrap();
    let new = || NewSession::of(UserId::parse("alice").unwrap());
    let created = bed.manager.create(new().bound_to(binding), &shown).await.unwrap();
    let access = created.tokens.access.expose();
    assert_eq!(bed.access(access, &shown).await, Ok(()));
    assert_eq!(bed.access(access, &RequestContext::default()).await, refused(Rejection::WrongPossessor));

    let plain = SessionManager::builder()
        .storage(Arc::new(MemoryStorage::default()))
        .backend(Arc::new(backend(hs256())))
        .allow_volatile(true)
        .build()
        .unwrap();
    let binding = Some(Binding::Dpop("thumbprint".to_owned()));
    let error = plain.create(new().bound_to(binding), &RequestContext::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
