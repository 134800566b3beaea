//! Our half of the interoperation check (`cargo xtask interop`): `make FOLDER` writes keys and tokens for others to verify,
//! `verify FOLDER` verifies what others have written.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a check for maintainers: a panic is a failed check"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use serde_json::{Value, json};
use session_manager_backend_jwt::{DpopVerifier, JwtBackend, JwtKeyRing, JwtVerifier, SigningKey, VerifyingKey};
use session_manager_core::token::{KeyRing, ReferenceTokens, RotatingKeys, TokenKey};
use session_manager_core::{
    Authentication, Binding, Control, Epoch, Epochs, IssueContext, PossessionVerifier, PresentedProof, Rejection, Seed,
    Session, SessionBackend, SessionId, SessionRecord, Snapshot, Stamp, UserId,
};
use uuid::Uuid;

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "https://api.example";
const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const SEED: &[u8; 32] = b"fedcba9876543210fedcba9876543210";
/// RFC 7515, appendix A.3.
const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
const RSA: &str = include_str!("../tests/support/keys/rsa.jwk.json");

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", folder] => make(Path::new(folder)),
        ["verify", folder] => verify(Path::new(folder)),
        _ => println!("usage: interop make|verify FOLDER"),
    }
}

fn now() -> DateTime<Utc> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    DateTime::from_timestamp(since.as_secs().try_into().unwrap(), 0).unwrap()
}

/// `ours.json`: the key set that we publish, the secret, and a token of each key with its claims.
fn make(folder: &Path) {
    let keys = [
        SigningKey::ed25519_from_seed(SEED),
        SigningKey::from_jwk(P256),
        SigningKey::from_jwk(RSA),
        SigningKey::hs256(SECRET),
    ]
    .map(Result::unwrap);
    let ring = keys.iter().try_fold(JwtKeyRing::new(), |ring, key| ring.with(key.clone())).unwrap();
    let tokens: Vec<_> = keys.into_iter().map(token).collect();
    let secret = json!({ "kty": "oct", "alg": "HS256", "k": encode(SECRET), "kid": tokens[3]["kid"] });
    let ours =
        json!({ "issuer": ISSUER, "audience": AUDIENCE, "jwks": ring.jwks(now()), "secret": secret, "tokens": tokens });
    fs::write(folder.join("ours.json"), ours.to_string()).unwrap();
    println!("made a token of each of EdDSA, ES256, RS256 and HS256");
}

fn token(key: SigningKey) -> Value {
    let (alg, kid) = (key.verifying_key().algorithm().as_str(), key.verifying_key().kid().to_owned());
    let secret = b"a secret of more than thirty-two bytes";
    let refresh = ReferenceTokens::new(Arc::new(KeyRing::new(TokenKey::from_secret(secret).unwrap())));
    let backend = JwtBackend::builder(key, refresh).issuer(ISSUER).audience(AUDIENCE).build().unwrap();
    let now = now();
    let user = UserId::parse("Bjørn \u{1f511} \"O'Neil\" \\ +").unwrap();
    let mut session = Session::new(SessionId::from(Uuid::from_u128(7)), user, now, now + TimeDelta::days(30));
    session.authentication = Authentication::at(now).by(["pwd", "otp"]).level("2");
    let mut control = Control::new(Seed::from_bytes([9; 32]), now, session.expires_at);
    control.stamped = Some(Stamp { user: Epoch::first(u64::MAX), global: Epoch::first(u64::MAX) });
    let snapshot = Snapshot::new(SessionRecord::new(session, control), Epochs::default());
    let context = IssueContext::new(now, now + TimeDelta::minutes(10));
    let pair = backend.issue(&snapshot, &context).now_or_never().unwrap().unwrap();
    let verified = backend.verifier().check(pair.access.expose(), now).unwrap();
    json!({ "alg": alg, "kid": kid, "token": pair.access.expose(), "claims": *verified.claims.unwrap() })
}

/// Each file of `theirs`: a key set, a secret, and tokens of both for our issuer and audience.
fn verify(folder: &Path) {
    let mut files: Vec<_> = fs::read_dir(folder.join("theirs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let theirs: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let ring = JwtKeyRing::from_jwks(&theirs["jwks"].to_string()).unwrap();
        let ring = ring.with(SigningKey::from_jwk(&theirs["secret"].to_string()).unwrap()).unwrap();
        for jwk in theirs["jwks"]["keys"].as_array().unwrap() {
            thumbprint(&name, jwk);
        }
        let keys = Arc::new(RotatingKeys::new(ring));
        let verifier =
            |audience: &str| JwtVerifier::builder(keys.clone()).issuer(ISSUER).audience(audience).build().unwrap();
        let tokens = theirs["tokens"].as_array().unwrap();
        assert_eq!(tokens.len(), 4, "{name}: a token of each algorithm");
        for token in tokens {
            let (alg, text) = (token["alg"].as_str().unwrap(), token["token"].as_str().unwrap());
            let told = verifier(AUDIENCE).check(text, now()).unwrap_or_else(|why| panic(&name, alg, why));
            assert_eq!(told.user_id.unwrap().as_str(), token["sub"].as_str().unwrap(), "{name} {alg}");
            assert_eq!(told.generation, 3, "{name} {alg}");
            assert_eq!(verifier("https://other.example").check(text, now()).unwrap_err(), Rejection::WrongAudience);
            let later = now() + TimeDelta::from_std(Duration::from_hours(1)).unwrap();
            assert_eq!(verifier(AUDIENCE).check(text, later).unwrap_err(), Rejection::Expired, "{name} {alg}");
            // The last character but one carries six bits of the signature.
            let at = text.len() - 2;
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let forged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(verifier(AUDIENCE).check(&forged, now()).unwrap_err(), Rejection::BadSignature, "{name} {alg}");
            println!("{name}: {alg} verified by us");
        }
    }
    assert!(files.len() >= 3, "PyJWT, joserfc and jose");
    verify_proofs(&serde_json::from_slice(&fs::read(folder.join("proofs.json")).unwrap()).unwrap());
}

/// The kids of others are thumbprints of RFC 7638, made by their libraries.
fn thumbprint(name: &str, jwk: &Value) {
    let mut bare = jwk.clone();
    bare.as_object_mut().unwrap().remove("kid");
    assert_eq!(VerifyingKey::from_jwk(&bare.to_string()).unwrap().kid(), jwk["kid"].as_str().unwrap(), "{name}");
}

#[allow(clippy::panic, reason = "a failed check")]
fn panic(name: &str, alg: &str, why: Rejection) -> ! {
    panic!("{name}: {alg} is refused: {why:?}")
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// `proofs.json`: proofs of possession (RFC 9449) that jose made.
fn verify_proofs(theirs: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (target, token) = (text(&theirs["target"]), text(&theirs["accessToken"]));
    let verify = |proof: &Value, method: &str, token: Option<&str>| {
        DpopVerifier::new().verify(&PresentedProof::new(text(proof), method, &*target), token, now())
    };
    let proofs = theirs["proofs"].as_array().unwrap();
    assert_eq!(proofs.len(), 3, "one of each algorithm");
    for proof in proofs {
        let key = Binding::Dpop(text(&proof["thumbprint"]));
        assert_eq!(verify(&proof["bound"], "GET", Some(&token)).unwrap().binding, key);
        assert_eq!(verify(&proof["free"], "GET", None).unwrap().binding, key);
        assert_eq!(verify(&proof["free"], "GET", Some(&token)), Err(Rejection::BadProof), "made for no token");
        assert_eq!(verify(&proof["bound"], "POST", Some(&token)), Err(Rejection::BadProof), "made for another method");
        println!("jose: {} proof of possession verified by us", text(&proof["alg"]));
    }
}
