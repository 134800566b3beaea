//! Bound tokens over HTTP: a route behind the session layer, and a client with a key (RFC 9449).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response, header};
use serde_json::{Value, json};
use session_manager_backend_jwt::DpopVerifier;
use session_manager_core::{Clock, Created, NewSession, PresentedProof, RequestContext};
use session_manager_middleware_axum::{Credential, CurrentSession, SessionLayer};
use session_manager_tests::bed::{Bed, firefox, memory, user};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

const ORIGIN: &str = "https://api.example";

/// A client and its key.
struct Client {
    key: Ed25519KeyPair,
    proofs: AtomicU32,
}

impl Client {
    fn new() -> Self {
        Self { key: Ed25519KeyPair::generate().unwrap(), proofs: AtomicU32::new(0) }
    }

    fn proof(&self, bed: &Bed, method: &str, target: &str, token: Option<&str>) -> String {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.key.public_key()) });
        let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk });
        let number = self.proofs.fetch_add(1, Ordering::Relaxed);
        let mut claims = json!({ "jti": format!("proof {number}"), "htm": method, "htu": target,
            "iat": bed.clock.now().timestamp() });
        if let (Some(token), Some(members)) = (token, claims.as_object_mut()) {
            members.insert("ath".to_owned(), Value::from(URL_SAFE_NO_PAD.encode(Sha256::digest(token))));
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Signs in with its key.
    async fn sign_in(&self, bed: &Bed) -> Created {
        let target = format!("{ORIGIN}/token");
        let proof = PresentedProof::new(self.proof(bed, "POST", &target, None), "POST", target);
        let context = RequestContext::default().proof(proof);
        let binding = bed.manager.possession(&context).await.unwrap();
        assert!(binding.is_some());
        bed.manager.create(NewSession::of(user("alice")).bound_to(binding), &context).await.unwrap()
    }
}

fn bed() -> Bed {
    Bed::with(memory(), |builder| builder.possession(Arc::new(DpopVerifier::new())))
}

async fn ask(bed: &Bed, lines: &[(&str, String)]) -> Response<Body> {
    let app = Router::new()
        .route(
            "/me",
            get(|session: CurrentSession| async move {
                assert!(matches!(session.credential(), Credential::Dpop | Credential::Bearer));
                session.user_id().to_string()
            }),
        )
        .layer(SessionLayer::new(bed.manager.clone()).dpop(ORIGIN));
    let mut request = Request::get("/me?all=1");
    for (name, value) in lines {
        request = request.header(*name, value);
    }
    app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

fn challenge(response: &Response<Body>) -> (u16, String) {
    let line = response.headers().get(header::WWW_AUTHENTICATE).map(|line| line.to_str().unwrap().to_owned());
    (response.status().as_u16(), line.unwrap_or_default())
}

#[tokio::test]
async fn a_bound_token_needs_its_key_on_every_request() {
    let bed = bed();
    let (client, thief) = (Client::new(), Client::new());
    let created = client.sign_in(&bed).await;
    let token = created.tokens.access.expose();
    let target = format!("{ORIGIN}/me");
    let scheme = || ("authorization", format!("DPoP {token}"));

    let proof = client.proof(&bed, "GET", &target, Some(token));
    let good = [scheme(), ("dpop", proof.clone())];
    assert_eq!(ask(&bed, &good).await.status(), 200);
    let (status, line) = challenge(&ask(&bed, &good).await);
    assert_eq!(status, 401, "the same proof again");
    assert_eq!(line, "DPoP error=\"invalid_dpop_proof\", algs=\"EdDSA ES256 RS256\"");

    let elsewhere = client.proof(&bed, "GET", "https://other.example/me", Some(token));
    let posted = client.proof(&bed, "POST", &target, Some(token));
    for proof in [elsewhere, posted, "garbage".to_owned()] {
        assert_eq!(challenge(&ask(&bed, &[scheme(), ("dpop", proof)]).await).0, 401);
    }
    assert_eq!(challenge(&ask(&bed, &[scheme()]).await).0, 401, "without a proof");
    let stolen = [scheme(), ("dpop", thief.proof(&bed, "GET", &target, Some(token)))];
    assert!(challenge(&ask(&bed, &stolen).await).1.contains("DPoP error=\"invalid_token\""));
}

/// RFC 9449 §7.1 and §7.2: neither scheme stands for the other.
#[tokio::test]
async fn neither_scheme_stands_for_the_other() {
    let bed = bed();
    let client = Client::new();
    let target = format!("{ORIGIN}/me");
    let bound = client.sign_in(&bed).await;
    let token = bound.tokens.access.expose();
    let proof = client.proof(&bed, "GET", &target, Some(token));
    let bearer = [("authorization", format!("Bearer {token}")), ("dpop", proof)];
    assert_eq!(ask(&bed, &bearer).await.status(), 401, "a bound token is no bearer token");

    let plain = bed.manager.create(NewSession::of(user("bob")), &firefox()).await.unwrap();
    let token = plain.tokens.access.expose();
    assert_eq!(ask(&bed, &[("authorization", format!("Bearer {token}"))]).await.status(), 200);
    let proof = client.proof(&bed, "GET", &target, Some(token));
    let shown = [("authorization", format!("DPoP {token}")), ("dpop", proof)];
    assert_eq!(ask(&bed, &shown).await.status(), 401, "a token that is bound to nothing");
}
