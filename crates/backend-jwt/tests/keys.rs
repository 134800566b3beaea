//! Keys in every form: as PEM, JWK and JWK Set, and what is refused of each.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use session_manager_backend_jwt::{JwtKeyRing, JwtVerifier, SigningKey, VerifyingKey};
use session_manager_core::token::RotatingKeys;
use session_manager_core::{ErrorKind, Result};
use support::{
    AUDIENCE, ISSUER, P256_JWK, RSA_JWK, all_keys, backend, ed25519, encode, es256, hs256, issue, now, p256_pkcs8, pem,
    rs256, rsa_pkcs1, with,
};

const WEAK_RSA: &str = include_str!("support/keys/rsa-1024.jwk.json");

fn refused<T: std::fmt::Debug>(key: Result<T>) {
    assert_eq!(key.unwrap_err().kind(), ErrorKind::Misconfigured);
}

#[test]
fn a_private_key_is_the_same_in_every_form() {
    let seed: &[u8] = support::SEED;
    let octets = json!({ "kty": "OKP", "crv": "Ed25519", "d": encode(seed), "x": public(&ed25519())["x"] });
    let der = [&[0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20], seed].concat();
    let forms = [
        (ed25519(), SigningKey::from_jwk(&octets.to_string())),
        (ed25519(), SigningKey::from_pem(&pem("PRIVATE KEY", &der))),
        (es256(), SigningKey::es256_from_pkcs8(&p256_pkcs8())),
        (es256(), SigningKey::from_pem(&pem("PRIVATE KEY", &p256_pkcs8()))),
        (rs256(), SigningKey::rs256_from_pkcs1(&rsa_pkcs1())),
        (rs256(), SigningKey::from_pem(&pem("RSA PRIVATE KEY", &rsa_pkcs1()))),
        (hs256(), SigningKey::from_jwk(&json!({ "kty": "oct", "k": encode(support::SECRET) }).to_string())),
    ];
    for (key, other) in forms {
        let other = other.unwrap();
        assert_eq!(other.verifying_key().kid(), key.verifying_key().kid());
        assert!(support::check(&backend(key), issue(&backend(other)).access.expose()).is_ok());
    }
}

fn public(key: &SigningKey) -> Value {
    key.verifying_key().to_jwk().unwrap()
}

#[test]
fn a_public_key_goes_out_and_comes_back_as_jwk() {
    for key in [ed25519(), es256(), rs256()] {
        let verifying = key.verifying_key();
        let jwk = public(&key);
        assert_eq!((jwk["use"].as_str(), jwk["alg"].as_str()), (Some("sig"), Some(verifying.algorithm().as_str())));
        assert!(["d", "p", "q", "dp", "dq", "qi", "k"].iter().all(|name| jwk.get(name).is_none()));
        let back = VerifyingKey::from_jwk(&jwk.to_string()).unwrap();
        assert_eq!((back.kid(), back.algorithm()), (verifying.kid(), verifying.algorithm()));
        let named = VerifyingKey::from_jwk(&with(jwk, "kid", Some("2026-11".into()))).unwrap();
        assert_eq!(named.kid(), "2026-11");
    }
    assert_eq!(hs256().verifying_key().to_jwk(), None);
}

#[test]
fn jwks_that_are_no_keys_of_ours_are_refused() {
    let ours = [public(&ed25519()), public(&es256()), public(&rs256())];
    for jwk in &ours {
        let change = |name: &str, value: Option<Value>| VerifyingKey::from_jwk(&with(jwk.clone(), name, value));
        assert!(change("alg", None).is_ok() && change("use", None).is_ok() && change("kid", None).is_ok());
        assert!(change("key_ops", Some(json!(["verify"]))).is_ok());
        for (name, value) in [
            ("use", json!("enc")),
            ("use", json!(1)),
            ("alg", json!("HS256")),
            ("alg", json!("none")),
            ("alg", json!("PS256")),
            ("key_ops", json!(["encrypt"])),
            ("key_ops", json!("verify")),
            ("kty", json!("oct")),
            ("kty", json!("AKP")),
            ("kid", json!(1)),
            ("kid", json!("")),
            ("kid", json!("x".repeat(129))),
            ("d", json!("AAAA")),
            ("k", json!(encode(support::SECRET))),
        ] {
            refused(change(name, Some(value)));
        }
        for name in ["kty", "x", "y", "n", "e", "crv"] {
            if jwk.get(name).is_some() {
                for value in [None, Some(json!("")), Some(json!("A")), Some(json!("_w==")), Some(json!([1]))] {
                    refused(change(name, value));
                }
            }
        }
    }
    for text in ["", "{}", "[]", "null", r#"{"kty":"OKP","kty":"OKP"}"#, r#"{"keys":[]}"#] {
        refused(VerifyingKey::from_jwk(text));
        refused(SigningKey::from_jwk(text));
    }
}

#[test]
fn private_keys_that_are_weak_or_torn_are_refused() {
    refused(SigningKey::from_jwk(WEAK_RSA));
    refused(SigningKey::from_jwk(&json!({ "kty": "oct", "k": encode([7, 8, 9]) }).to_string()));
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    // The halves of two keys; a number that is not the key's; a public key where a private one belongs.
    let torn = [
        (P256_JWK, "x", public(&es256())["y"].clone()),
        (P256_JWK, "d", json!(encode([0; 32]))),
        (P256_JWK, "d", json!(encode([0xFF; 32]))),
        (P256_JWK, "d", json!(encode([3; 31]))),
        (P256_JWK, "crv", json!("P-384")),
        (RSA_JWK, "n", public(&rs256())["n"].as_str().unwrap().replacen('A', "B", 1).into()),
        (RSA_JWK, "d", json!("Aw")),
        (RSA_JWK, "e", json!("Aw")),
        (RSA_JWK, "p", json!("")),
    ];
    for (jwk, name, value) in torn {
        refused(SigningKey::from_jwk(&with(parse(jwk), name, Some(value))));
    }
    let seed = json!({ "kty": "OKP", "crv": "Ed25519", "d": encode(support::SEED), "x": encode([5; 32]) });
    refused(SigningKey::from_jwk(&seed.to_string()));
    for key in [ed25519(), es256(), rs256()] {
        refused(SigningKey::from_jwk(&public(&key).to_string()));
    }
    for text in ["", "no key", &pem("PRIVATE KEY", b"no key"), &pem("PUBLIC KEY", &p256_pkcs8())] {
        refused(SigningKey::from_pem(text));
        refused(VerifyingKey::from_pem(text));
    }
    refused(VerifyingKey::from_pem(&pem("PRIVATE KEY", &p256_pkcs8())));
    refused(VerifyingKey::from_pem(&pem("RSA PRIVATE KEY", &rsa_pkcs1())));
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys, "note": "of the issuer" }).to_string()
}

#[test]
fn a_key_set_is_read_and_what_is_of_no_use_is_skipped() {
    let others = [
        json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
        json!({ "kty": "RSA", "alg": "RSA-OAEP", "n": "AA", "e": "AQAB" }),
        json!({ "use": "sig" }),
    ];
    let ours = [public(&ed25519()), public(&es256()), public(&rs256())];
    let ring = JwtKeyRing::from_jwks(&set(&[&others[..], &ours[..]].concat())).unwrap();
    let names = all_keys().map(|key| key.verifying_key().kid().to_owned());
    assert_eq!(ring.kids().collect::<Vec<_>>(), [&names[0], &names[2], &names[3]]);
    assert_eq!(ring.jwks(now()), json!({ "keys": ours }));
    assert_eq!(JwtKeyRing::from_jwks(&set(&[])).unwrap().kids().count(), 0);
}

#[test]
fn a_public_set_holds_no_secret_and_every_key_once() {
    let secret = json!({ "kty": "oct", "k": encode(support::SECRET) });
    let private: Value = serde_json::from_str(P256_JWK).unwrap();
    let broken = json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" });
    for keys in [vec![secret.clone()], vec![private.clone()], vec![public(&es256()); 2], vec![broken], vec![json!(1)]] {
        refused(JwtKeyRing::from_jwks(&set(&keys)));
    }
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        refused(JwtKeyRing::from_jwks(text));
    }
    let ring = JwtKeyRing::from_private_jwks(&set(&[public(&ed25519()), private, secret])).unwrap();
    assert_eq!(ring.kids().count(), 3);
    // The set to publish is again free of secrets.
    assert!(JwtKeyRing::from_jwks(&ring.jwks(now()).to_string()).is_ok());
    assert_eq!(ring.jwks(now())["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn a_service_that_holds_public_keys_only_verifies_and_cannot_sign() {
    let jwks = set(&[public(&ed25519()), public(&es256()), public(&rs256())]);
    let keys = Arc::new(RotatingKeys::new(JwtKeyRing::from_jwks(&jwks).unwrap()));
    let verifier = JwtVerifier::builder(keys).issuer(ISSUER).audience(AUDIENCE).build().unwrap();
    for key in [ed25519(), es256(), rs256()] {
        let pair = issue(&backend(key));
        let told = verifier.check(pair.access.expose(), now()).unwrap();
        assert_eq!(told.user_id.unwrap().as_str(), "alice");
        assert!(verifier.check(pair.refresh.expose(), now()).is_err());
    }
    assert!(verifier.check(issue(&backend(hs256())).access.expose(), now()).is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_key_set_or_refused(text in "\\PC{0,200}|\\{\"keys\":\\[\\PC{0,80}\\]\\}") {
        let _ = JwtKeyRing::from_jwks(&text);
        let _ = JwtKeyRing::from_private_jwks(&text);
        let _ = VerifyingKey::from_pem(&text);
    }

    #[test]
    fn any_numbers_make_a_key_or_none(kty in "OKP|EC|RSA|oct", crv in "Ed25519|P-256", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let number = encode(&bytes);
        let jwk = json!({ "kty": kty, "crv": crv, "x": number, "y": number, "n": number, "e": "AQAB" });
        if let Ok(key) = VerifyingKey::from_jwk(&jwk.to_string()) {
            let Some(jwk) = key.to_jwk() else { return Ok(()) };
            let back = VerifyingKey::from_jwk(&jwk.to_string()).unwrap();
            prop_assert_eq!(back.kid(), key.kid());
        }
        let jwk = json!({ "kty": kty, "crv": crv, "x": number, "y": number, "n": number, "e": "AQAB", "d": number,
            "p": number, "q": number, "dp": number, "dq": number, "qi": number, "k": number });
        let _ = SigningKey::from_jwk(&jwk.to_string());
    }
}
