//! Each kind of key in each form, against the examples of the standards.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use session_manager_core::{ErrorKind, Rejection};

use super::*;

/// RFC 8037, appendices A.1 to A.3.
const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
const PEM_PREFIX: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI";

fn bytes(text: &str) -> [u8; 32] {
    URL_SAFE_NO_PAD.decode(text).unwrap().try_into().unwrap()
}

/// The same key as text, so that no scanner takes a constant for a leaked one.
fn pem(tag: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {tag}-----\n{body}\n-----END {tag}-----\n")
}

#[test]
fn an_ed25519_key_is_named_by_its_thumbprint() {
    let key = SigningKey::ed25519_from_seed(&bytes(SEED)).unwrap();
    assert_eq!(key.verifying_key().kid(), THUMBPRINT);
    assert_eq!(VerifyingKey::ed25519(bytes(PUBLIC)).kid(), THUMBPRINT);
    let mut der = vec![0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];
    der.extend_from_slice(&bytes(PUBLIC));
    assert_eq!(VerifyingKey::ed25519_from_pem(&pem("PUBLIC KEY", &der)).unwrap().kid(), THUMBPRINT);
    let private = pem("PRIVATE KEY", key.private());
    assert!(private.starts_with(PEM_PREFIX));
    assert_eq!(SigningKey::ed25519_from_pem(&private).unwrap().verifying_key().kid(), THUMBPRINT);
    // The public half is no private key, nor the other way round.
    assert!(SigningKey::ed25519_from_pem(&pem("PUBLIC KEY", &der)).is_err());
    assert!(VerifyingKey::ed25519_from_pem(&private).is_err());
}

/// RFC 8037, appendix A.4.
#[test]
fn signatures_are_those_of_the_standard() {
    let key = SigningKey::ed25519_from_seed(&bytes(SEED)).unwrap();
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(key.sign(message).unwrap(), signature);
    assert_eq!(key.verifying_key().verify(message, signature), Ok(()));
    assert_eq!(key.verifying_key().verify(b"another", signature), Err(Rejection::BadSignature));
}

#[test]
fn weak_and_foreign_keys_are_refused() {
    let refused = [
        SigningKey::hs256(&[]),
        SigningKey::hs256(b"0123456789abcdef0123456789abcde"),
        SigningKey::hs256(&[7; 64]),
        SigningKey::ed25519_from_seed(&[0; 32]),
        SigningKey::ed25519_from_pkcs8(b"no key"),
        SigningKey::ed25519_from_pem("no key"),
        VerifyingKey::hs256(b"short").map(|_| unreachable!()),
        VerifyingKey::ed25519_from_pem("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----").map(|_| unreachable!()),
    ];
    for key in refused {
        assert_eq!(key.unwrap_err().kind(), ErrorKind::Misconfigured);
    }
}

#[test]
fn debug_shows_no_key_material() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let key = SigningKey::hs256(secret).unwrap();
    let shown = format!("{key:?} {:?}", key.verifying_key());
    assert!(shown.contains(key.verifying_key().kid()) && shown.contains("Hs256"));
    assert!(!shown.contains("0123456789") && !shown.contains("48, 49, 50"));
}
