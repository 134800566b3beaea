//! Security events: what is told of whom, in a token that anybody with the public key can prove.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod support;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use session_manager_backend_jwt::{SESSION_REVOKED, SecurityEventReceiver, SecurityEventToken, SecurityEvents};
use session_manager_core::{
    Actor, ErrorKind, ManualClock, NewSession, Rejection, RequestContext, RevocationReason, Rotation, SessionBackend,
    SessionManager, TokenKind, UserId,
};
use session_manager_storage_memory::MemoryStorage;
use support::{backend, ed25519, es256, hs256, now, part};

const ISSUER: &str = "https://login.example";
const RECEIVER: &str = "https://receiver.example";

#[derive(Debug, Default)]
struct Told(Mutex<Vec<SecurityEventToken>>);

#[async_trait]
impl SecurityEventReceiver for Told {
    async fn deliver(&self, token: SecurityEventToken) {
        self.0.lock().unwrap().push(token);
    }
}

impl Told {
    fn take(&self) -> Vec<SecurityEventToken> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn bed() -> (SessionManager, Arc<Told>) {
    let told = Arc::new(Told::default());
    let events = SecurityEvents::new(es256(), ISSUER, RECEIVER, told.clone()).unwrap();
    let manager = SessionManager::builder()
        .storage(Arc::new(MemoryStorage::default()))
        .backend(Arc::new(backend(ed25519())))
        .clock(Arc::new(ManualClock::at(now())))
        .observer(Arc::new(events))
        .allow_volatile(true)
        .build()
        .unwrap();
    (manager, told)
}

fn alice() -> UserId {
    UserId::parse("alice").unwrap()
}

/// The one event of a token, whose claims are those of RFC 8417.
fn event(token: &SecurityEventToken) -> (Value, Value) {
    let (header, claims) = (part(&token.text, 0), part(&token.text, 1));
    assert_eq!(header["typ"], "secevent+jwt");
    assert_eq!(header["kid"], es256().verifying_key().kid());
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!(RECEIVER)));
    assert_eq!(claims["jti"], token.id.as_str());
    assert!(claims.get("exp").is_none() && claims.get("sub").is_none(), "it is no access token");
    (claims["sub_id"].clone(), claims["events"][SESSION_REVOKED].clone())
}

#[tokio::test]
async fn every_ended_session_is_told_of() {
    let (manager, told) = bed();
    let context = RequestContext::default();
    let mut created = Vec::new();
    for _ in 0..6 {
        created.push(manager.create(NewSession::of(alice()), &context).await.unwrap());
    }
    let evicted = told.take();
    assert_eq!(evicted.len(), 1);
    let (subject, members) = event(&evicted[0]);
    let user = json!({ "format": "iss_sub", "iss": ISSUER, "sub": "alice" });
    assert_eq!((&subject["format"], &subject["user"]), (&json!("complex"), &user));
    assert_eq!(members["initiating_entity"], "policy");

    // All have the same age, so any of the first five may have been the one to go.
    created.retain(|created| subject["session"]["id"] != created.snapshot.session.id.to_string());
    let id = created[4].snapshot.session.id;
    let admin = RequestContext::default().by(Actor::User(UserId::parse("root").unwrap()));
    manager.revoke(None, id, RevocationReason::BY_ADMIN, &admin).await.unwrap();
    manager.revoke_others(&alice(), created[0].snapshot.session.id, RevocationReason::OTHERS, &context).await.unwrap();
    let ended = told.take();
    assert_eq!(ended.len(), 4);
    let (subject, members) = event(&ended[0]);
    assert_eq!(subject["session"], json!({ "format": "opaque", "id": id.to_string() }));
    assert_eq!(members["initiating_entity"], "admin");
    assert_eq!(members["reason_admin"], json!({ "en": "revoked_by_admin" }));
    assert_eq!(members["event_timestamp"], now().timestamp());
    assert_eq!(event(&ended[1]).1["initiating_entity"], "user");

    manager.rotate_user(&alice(), &Rotation::new("password changed"), &context).await.unwrap();
    let rotated = told.take();
    assert_eq!(event(&rotated[0]).0, json!({ "format": "complex", "user": user }), "all of the user's");
    manager.rotate_all(&Rotation::new("keys may have leaked"), &context).await.unwrap();
    assert!(told.take().is_empty(), "there is no subject for everybody");
}

#[tokio::test]
async fn a_security_event_is_no_access_token() {
    let (manager, told) = bed();
    let created = manager.create(NewSession::of(alice()), &RequestContext::default()).await.unwrap();
    let id = created.snapshot.session.id;
    manager.revoke(None, id, RevocationReason::LOGOUT, &RequestContext::default()).await.unwrap();
    let text = told.take().remove(0).text;
    // Even by a backend that signs access tokens with the same key.
    let refused = backend(es256()).parse(TokenKind::Access, &text).unwrap_err();
    assert_eq!(refused, Rejection::WrongKind);
}

#[test]
fn receivers_cannot_forge_events() {
    let told = Arc::new(Told::default());
    let error = SecurityEvents::new(hs256(), ISSUER, RECEIVER, told.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(SecurityEvents::new(es256(), ISSUER, "", told).is_err());
}
