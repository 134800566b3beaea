//! Each kind of key in each form, against the examples of the standards.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap is a failed test")]

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

/// RFC 7515, appendix A.3.
const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

#[test]
fn an_es256_signature_of_the_standard_is_proven() {
    let key = VerifyingKey::from_jwk(P256).unwrap();
    let message =
        b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert_eq!(key.verify(message, signature), Ok(()));
    assert_eq!(key.verify(b"another", signature), Err(Rejection::BadSignature));
    // In DER the same signature is another text, which is none of a JWT.
    assert_eq!(key.verify(message, &format!("MEUC{signature}")), Err(Rejection::BadSignature));
}

/// RFC 7638, §3.1.
#[test]
fn an_rsa_key_is_named_by_its_thumbprint() {
    let key = VerifyingKey::from_jwk(
        r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256"}"#,
    )
    .unwrap();
    assert_eq!(key.kid(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn weak_rsa_keys_are_refused() {
    let modulus = |bytes: usize| {
        let mut modulus = vec![0xC5; bytes];
        modulus[bytes - 1] = 1;
        modulus
    };
    assert!(VerifyingKey::rs256(&modulus(256), &[1, 0, 1]).is_ok());
    // Zeros before a number are no bits of it.
    assert!(VerifyingKey::rs256(&[&[0, 0], &*modulus(255)].concat(), &[1, 0, 1]).is_err());
    let mut short = modulus(256);
    short[0] = 0x7F;
    let even = vec![0xC4; 256];
    for (modulus, exponent) in [
        (short, vec![1, 0, 1]),
        (even, vec![1, 0, 1]),
        (modulus(1025), vec![1, 0, 1]),
        (modulus(128), vec![1, 0, 1]),
        (vec![], vec![1, 0, 1]),
        (modulus(256), vec![]),
        (modulus(256), vec![1]),
        (modulus(256), vec![1, 0, 0]),
        (modulus(256), vec![1, 0, 0, 0, 1]),
    ] {
        let error = VerifyingKey::rs256(&modulus, &exponent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
    }
}

#[test]
fn what_is_no_point_of_the_curve_is_refused() {
    for (x, y) in [(vec![0; 32], vec![0; 32]), (vec![1; 32], vec![1; 32]), (vec![], vec![]), (vec![1; 31], vec![1; 33])]
    {
        assert_eq!(VerifyingKey::es256(&x, &y).unwrap_err().kind(), ErrorKind::Misconfigured);
    }
}
