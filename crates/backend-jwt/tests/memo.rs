//! What is remembered of proven tokens never says more than checking them again would.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod support;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::json;
use session_manager_backend_jwt::{JwtKeyRing, JwtVerifier, RingKey};
use session_manager_core::token::RotatingKeys;
use session_manager_core::{Rejection, Verified};
use support::{
    AUDIENCE, EPOCH, Forger, ISSUER, SECRET, backend, claims, ed25519, es256, header, hs256, issue, now, with,
};

type Keys = Arc<RotatingKeys<JwtKeyRing>>;

fn keys() -> Keys {
    let ring = JwtKeyRing::new().token_lifetime(Duration::from_mins(5));
    Arc::new(RotatingKeys::new(ring.with(hs256()).and_then(|ring| ring.with(ed25519())).unwrap()))
}

fn verifier(keys: &Keys, memo: usize) -> JwtVerifier {
    JwtVerifier::builder(keys.clone()).issuer(ISSUER).audience(AUDIENCE).memo(memo).build().unwrap()
}

fn signed(name: &str, value: serde_json::Value) -> String {
    Forger::Hs256(SECRET).sign(header(&hs256()).to_string(), with(claims(), name, Some(value)))
}

fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(EPOCH * 1000 + millis).unwrap()
}

#[test]
fn a_remembered_token_is_the_same_as_a_proven_one() {
    let (with, without) = (verifier(&keys(), 100), verifier(&keys(), 0));
    let token = issue(&backend(ed25519())).access;
    let proven: Vec<Verified> = (0..3).map(|_| with.check(token.expose(), now()).unwrap()).collect();
    assert_eq!(with.remembered(), 1);
    assert_eq!(without.remembered(), 0);
    for verified in &proven {
        assert_eq!(*verified, without.check(token.expose(), now()).unwrap());
    }
    assert_eq!(without.remembered(), 0);
    // They are the very same claims: nothing was read again.
    let claims = |index: usize| proven[index].claims.clone().unwrap();
    assert!(Arc::ptr_eq(&claims(1), &claims(2)) && Arc::ptr_eq(&claims(0), &claims(1)));
}

#[test]
fn every_hit_judges_the_times_again() {
    let verifier = verifier(&keys(), 100);
    let token = signed("nbf", (EPOCH + 60).into());
    assert!(verifier.check(&token, at(60_000)).is_ok());
    assert_eq!(verifier.remembered(), 1);
    for (millis, expected) in [
        (29_999, Some(Rejection::NotYetValid)),
        (30_000, None),
        (299_999, None),
        (300_000, Some(Rejection::Expired)),
        (400_000, Some(Rejection::Expired)),
    ] {
        assert_eq!(verifier.check(&token, at(millis)).err(), expected, "{millis}");
    }
    assert_eq!(verifier.check(&token, DateTime::<Utc>::MAX_UTC).unwrap_err(), Rejection::Expired);
    assert_eq!(verifier.check(&token, DateTime::<Utc>::MIN_UTC).unwrap_err(), Rejection::NotYetValid);
}

#[test]
fn only_successes_are_remembered() {
    let verifier = verifier(&keys(), 100);
    let refused = [
        signed("exp", 1.into()),
        signed("aud", json!("https://other.example")),
        signed("sub", json!(null)),
        Forger::Hs256(b"another secret of thirty-two bytes").sign(header(&hs256()).to_string(), claims().to_string()),
        Forger::Es256.sign(header(&es256()).to_string(), claims().to_string()),
        "a.b.c".to_owned(),
        "x".repeat(9000),
    ];
    for token in &refused {
        assert!(verifier.check(token, now()).is_err());
        assert!(verifier.check(token, now()).is_err());
    }
    assert_eq!(verifier.remembered(), 0);
    // A token that is good from tomorrow on is not refused for ever either.
    let early = signed("nbf", (EPOCH + 100).into());
    assert_eq!(verifier.check(&early, at(0)).unwrap_err(), Rejection::NotYetValid);
    assert!(verifier.check(&early, at(100_000)).is_ok());
}

/// What differs in one byte is another token, whatever is remembered of this one.
#[test]
fn all_bytes_of_a_token_count() {
    let verifier = verifier(&keys(), 100);
    let token = issue(&backend(ed25519())).access;
    let token = token.expose();
    assert!(verifier.check(token, now()).is_ok());
    for index in 0..token.len() {
        let other = if token.as_bytes()[index] == b'A' { "B" } else { "A" };
        let changed = format!("{}{other}{}", &token[..index], &token[index + 1..]);
        assert!(verifier.check(&changed, now()).is_err(), "{index}");
        assert!(verifier.check(&token[..index], now()).is_err(), "{index}");
    }
    assert_eq!(verifier.remembered(), 1);
}

#[test]
fn another_ring_believes_nothing_that_was_remembered() {
    let keys = keys();
    let verifier = verifier(&keys, 100);
    let tokens = [issue(&backend(ed25519())).access, issue(&backend(hs256())).access];
    let check = |index: usize, now| verifier.check(tokens[index].expose(), now).err();
    let kid = |key: session_manager_backend_jwt::SigningKey| key.verifying_key().kid().to_owned();
    assert_eq!((check(0, now()), check(1, now())), (None, None));
    assert_eq!(verifier.remembered(), 2);
    // One key is taken away: its token is refused, and the other's is proven anew.
    keys.try_update(|ring| Ok(ring.without(&kid(ed25519())))).unwrap();
    assert_eq!(check(0, now()), Some(Rejection::UnknownKey));
    assert_eq!(verifier.remembered(), 0);
    assert_eq!(check(1, now()), None);
    // It retires: while time goes by in one ring, what is remembered goes with it.
    keys.try_update(|ring| ring.retiring(&kid(hs256()), at(-299_000))).unwrap();
    assert_eq!(check(1, at(900)), None);
    assert_eq!(verifier.remembered(), 1);
    assert_eq!(check(1, at(1000)), Some(Rejection::UnknownKey));
    // Another key of the same name is another key.
    let named = es256().with_kid(&kid(hs256())).unwrap();
    keys.replace(JwtKeyRing::new().with(RingKey::from(named)).unwrap());
    assert_eq!(check(1, at(900)), Some(Rejection::WrongAlgorithm));
}

#[test]
fn the_memory_is_bounded() {
    let verifier = verifier(&keys(), 50);
    let tokens: Vec<_> = (0..1000).map(|number| signed("jti", number.into())).collect();
    for token in &tokens {
        assert!(verifier.check(token, now()).is_ok());
        assert!(verifier.remembered() <= 50);
    }
    assert!(verifier.remembered() > 25);
    for token in &tokens {
        assert!(verifier.check(token, now()).is_ok(), "what was forgotten is proven again");
    }
}

#[test]
fn many_threads_and_changing_keys_agree() {
    let keys = keys();
    let verifier = verifier(&keys, 100);
    let stolen = issue(&backend(ed25519())).access;
    let good = issue(&backend(hs256())).access;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    assert!(verifier.check(good.expose(), now()).is_ok());
                    let _ = verifier.check(stolen.expose(), now());
                }
            });
        }
        for _ in 0..20 {
            let full = keys.current();
            keys.try_update(|ring| Ok(ring.without(ed25519().verifying_key().kid()))).unwrap();
            // Nobody who begins now is told that it is good, whatever the others are in the middle of.
            for _ in 0..20 {
                assert_eq!(verifier.check(stolen.expose(), now()).unwrap_err(), Rejection::UnknownKey);
            }
            keys.replace(JwtKeyRing::clone(&full));
        }
    });
}

static BOTH: LazyLock<[JwtVerifier; 2]> = LazyLock::new(|| [verifier(&keys(), 1000), verifier(&keys(), 0)]);

proptest! {
    /// Whatever the token and the order of the times at which it is presented.
    #[test]
    fn memory_changes_no_verdict(
        name in "iss|aud|exp|nbf|iat|jti",
        value in -400_i64..800,
        times in proptest::collection::vec(-500_000_i64..900_000, 1..8),
    ) {
        let token = match name.as_str() {
            "iss" if value < 0 => signed("iss", json!("https://other.example")),
            "aud" if value < 0 => signed("aud", json!(["https://other.example"])),
            "aud" => signed("aud", json!(["https://other.example", AUDIENCE])),
            "iss" | "jti" => signed("jti", value.into()),
            name => signed(name, (EPOCH + value).into()),
        };
        for time in times {
            let [with, without] = BOTH.each_ref().map(|verifier| verifier.check(&token, at(time)));
            prop_assert_eq!(with, without);
        }
    }
}

#[test]
fn a_hit_and_a_miss_are_told_the_same_deadline() {
    let verifier = verifier(&keys(), 10);
    let token = issue(&backend(hs256())).access;
    let expiry = |now| verifier.check(token.expose(), now).unwrap().expires_at;
    assert_eq!(expiry(now()), expiry(now() + TimeDelta::seconds(200)));
}
