//! What is issued, what verifying it gives back, and what is refused when a backend is built or asked to issue.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use serde_json::{Map, Value, json};
use session_manager_backend_jwt::{ClaimSource, JwtBackend, MAX_TOKEN_BYTES, RESERVED_CLAIMS};
use session_manager_core::{
    Actor, Binding, ClaimedEpoch, ClaimedEpochs, Error, ErrorKind, Random, Rejection, Result, Session, SessionBackend,
    Snapshot, TokenKind,
};
use support::{
    AUDIENCE, EPOCH, ISSUER, all_keys, backend, builder, check, check_at, ed25519, hs256, issue, now, part,
    reference_tokens, snapshot, try_issue,
};

#[test]
fn an_access_token_has_the_shape_of_rfc_9068() {
    for key in all_keys() {
        let token = issue(&backend(key.clone()));
        let verifying = key.verifying_key();
        assert_eq!(
            part(token.access.expose(), 0),
            json!({ "typ": "at+jwt", "alg": verifying.algorithm().as_str(), "kid": verifying.kid() })
        );
        let mut claims = part(token.access.expose(), 1);
        let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
        assert_eq!(id.as_str().unwrap().len(), 22);
        let expected = json!({
            "iss": ISSUER, "aud": AUDIENCE, "client_id": AUDIENCE, "sub": "alice", "sid": "00000000-0000-0000-0000-000000000007",
            "iat": EPOCH, "nbf": EPOCH, "exp": EPOCH + 300, "auth_time": EPOCH - 3600, "gen": 4,
            "uep": [3, 1], "gep": [5, 0xFFFF_FFFF_u32], "acr": "2", "amr": ["pwd", "otp"],
        });
        assert_eq!(claims, expected);
        // The client is told what the token says, which is no later than what the manager allowed.
        assert_eq!(token.access_expires_at.timestamp_millis(), (EPOCH + 300) * 1000);
        assert!(token.access_expires_at <= support::context().access_expires_at);
        assert_eq!(token.refresh_expires_at, snapshot().session.expires_at);
    }
}

#[test]
fn verifying_gives_back_all_that_was_issued() {
    for key in all_keys() {
        let backend = backend(key);
        let token = issue(&backend).access;
        let verified = check(&backend, token.expose()).unwrap();
        let snapshot = snapshot();
        assert_eq!(verified.key, snapshot.session.key());
        assert_eq!(verified.user_id.as_ref(), Some(&snapshot.session.user_id));
        assert_eq!(verified.generation, 4);
        assert_eq!(verified.expires_at, DateTime::from_timestamp(EPOCH + 300, 0));
        let stamp = snapshot.control.stamped.unwrap();
        let epochs = ClaimedEpochs { user: ClaimedEpoch::from(stamp.user), global: ClaimedEpoch::from(stamp.global) };
        assert_eq!(verified.epochs, Some(epochs));
        assert_eq!(Value::Object(Map::clone(&verified.claims.unwrap())), part(token.expose(), 1));
        assert!(backend.capabilities().self_contained);
    }
}

#[test]
fn what_a_session_lacks_its_token_lacks() {
    let backend = backend(hs256());
    let mut plain = snapshot();
    plain.control.stamped = None;
    let session = Arc::make_mut(&mut plain.session);
    session.authentication = session_manager_core::Authentication::at(now());
    let token = try_issue(&backend, &plain).unwrap().access;
    let claims = part(token.expose(), 1);
    for name in ["uep", "gep", "acr", "amr", "act", "cnf"] {
        assert!(claims.get(name).is_none(), "{name}");
    }
    assert_eq!(check(&backend, token.expose()).unwrap().epochs, None);
}

#[test]
fn binding_actor_and_application_are_told() {
    let backend = builder(hs256()).client_id("web").build().unwrap();
    let claims = |change: fn(&mut Session)| {
        let mut snapshot = snapshot();
        change(Arc::make_mut(&mut snapshot.session));
        part(try_issue(&backend, &snapshot).unwrap().access.expose(), 1)
    };
    assert_eq!(claims(|_| ())["client_id"], "web");
    assert_eq!(claims(|session| session.application = Some("ios".into()))["client_id"], "ios");
    assert_eq!(
        claims(|session| session.binding = Some(Binding::Dpop("thumb".into())))["cnf"],
        json!({ "jkt": "thumb" })
    );
    assert_eq!(
        claims(|session| session.binding = Some(Binding::Certificate("t".into())))["cnf"],
        json!({ "x5t#S256": "t" })
    );
    assert_eq!(
        claims(|session| session.actor = Some(Actor::Service("support".into())))["act"],
        json!({ "sub": "service:support" })
    );
}

#[test]
fn the_refresh_token_of_a_generation_is_always_the_same_and_needs_its_session() {
    let backend = backend(ed25519());
    let (one, two) = (issue(&backend), issue(&backend));
    assert_eq!(one.refresh, two.refresh);
    assert_ne!(one.access, two.access, "jti");
    let presented = backend.parse(TokenKind::Refresh, one.refresh.expose()).unwrap();
    assert_eq!(presented.key(), Some(snapshot().session.key()));
    let mut control = snapshot().control;
    let verified = backend.verify(&presented, Some(&control), now()).unwrap();
    assert_eq!((verified.key, verified.generation, verified.claims), (snapshot().session.key(), 4, None));
    assert_eq!(backend.verify(&presented, None, now()).unwrap_err(), Rejection::UnknownSession);
    control.seed = session_manager_core::Seed::from_bytes([1; 32]);
    assert_eq!(backend.verify(&presented, Some(&control), now()).unwrap_err(), Rejection::BadSignature);
}

#[test]
fn nothing_is_minted_without_an_audience_or_issuer() {
    let bare = || JwtBackend::builder(hs256(), reference_tokens());
    for builder in [
        bare(),
        bare().issuer(ISSUER),
        bare().audience(AUDIENCE),
        bare().issuer(ISSUER).audience(" "),
        bare().issuer("").audience(AUDIENCE),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Misconfigured);
    }
}

#[test]
fn keys_overlap_while_they_are_changed() {
    let old = issue(&backend(hs256())).access;
    let both = builder(ed25519()).accepting(hs256().verifying_key().clone()).build().unwrap();
    assert!(check(&both, old.expose()).is_ok());
    assert!(check(&both, issue(&both).access.expose()).is_ok());
    assert_eq!(part(issue(&both).access.expose(), 0)["alg"], "EdDSA");
    assert_eq!(check(&backend(ed25519()), old.expose()).unwrap_err(), Rejection::UnknownKey);
}

#[derive(Debug)]
struct Own(Result<Map<String, Value>>);

#[async_trait]
impl ClaimSource for Own {
    async fn claims(&self, _: &Session) -> Result<Map<String, Value>> {
        self.0.clone()
    }
}

fn issue_with(own: Result<Map<String, Value>>) -> Result<String> {
    let backend = builder(hs256()).claims(Own(own)).build()?;
    Ok(try_issue(&backend, &snapshot())?.access.expose().to_owned())
}

fn member(name: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value)])
}

#[test]
fn the_application_adds_claims_but_not_ours() {
    let token = issue_with(Ok(member("roles", json!(["admin"])))).unwrap();
    let verified = check(&backend(hs256()), &token).unwrap();
    assert_eq!(verified.claims.unwrap()["roles"], json!(["admin"]));
    for name in RESERVED_CLAIMS {
        let error = issue_with(Ok(member(name, json!("mine")))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{name}");
    }
    let outage = issue_with(Err(Error::new(ErrorKind::Unavailable, "roles"))).unwrap_err();
    assert_eq!(outage.kind(), ErrorKind::Unavailable);
}

#[test]
fn every_claim_of_ours_is_reserved() {
    let mut full = snapshot();
    let session = Arc::make_mut(&mut full.session);
    session.binding = Some(Binding::Dpop("x".into()));
    session.actor = Some(Actor::System);
    let claims = part(try_issue(&backend(hs256()), &full).unwrap().access.expose(), 1);
    let mut ours: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    let mut reserved = RESERVED_CLAIMS;
    ours.sort_unstable();
    reserved.sort_unstable();
    assert_eq!(ours, reserved);
}

#[test]
fn a_token_that_would_be_refused_is_not_issued() {
    let long = |length| issue_with(Ok(member("x", "y".repeat(length).into())));
    assert_eq!(long(6200).unwrap_err().kind(), ErrorKind::Misconfigured);
    let token = long(5000).unwrap();
    assert!(token.len() < MAX_TOKEN_BYTES);
    assert!(check(&backend(hs256()), &token).is_ok());
}

#[derive(Debug)]
struct NoRandom;

impl Random for NoRandom {
    fn fill(&self, _: &mut [u8]) -> Result<()> {
        Err(Error::new(ErrorKind::Internal, "random"))
    }
}

#[test]
fn without_randomness_nothing_is_issued() {
    let backend = builder(hs256()).random(Arc::new(NoRandom)).build().unwrap();
    assert_eq!(try_issue(&backend, &snapshot()).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn debug_shows_no_secret_and_no_token() {
    let backend = builder(hs256()).accepting(ed25519().verifying_key().clone()).build().unwrap();
    let pair = issue(&backend);
    let presented = backend.parse(TokenKind::Access, pair.access.expose()).unwrap();
    let shown = format!("{backend:?} {:?} {pair:?} {presented:?}", builder(hs256()));
    assert!(shown.contains(hs256().verifying_key().kid()));
    let signature = pair.access.expose().rsplit('.').next().unwrap();
    for secret in ["0123456789", "fedcba98", "48, 49, 50", signature, &pair.refresh.expose()[20..]] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn a_session_about_to_end_gets_a_token_that_ends_before_it() {
    let backend = backend(hs256());
    let end = now() + TimeDelta::milliseconds(400);
    let context = session_manager_core::IssueContext::new(now(), end);
    let snapshot: Snapshot = snapshot();
    let pair = futures_util::FutureExt::now_or_never(backend.issue(&snapshot, &context)).unwrap().unwrap();
    assert!(pair.access_expires_at <= end);
    assert_eq!(check_at(&backend, TokenKind::Access, pair.access.expose(), now()).unwrap_err(), Rejection::Expired);
}
