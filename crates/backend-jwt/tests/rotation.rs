//! Keys are announced, sign, retire and are taken away, while tokens of all of them are about.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use serde_json::Value;
use session_manager_backend_jwt::{JwtBackend, JwtKeyProvider, JwtKeyRing, JwtVerifier, RingKey, SigningKey};
use session_manager_core::token::RotatingKeys;
use session_manager_core::{ErrorKind, IssueContext, Rejection, Result, SessionBackend, TokenKind};
use support::{AUDIENCE, ISSUER, all_keys, ed25519, es256, hs256, issue, now, part, reference_tokens, rs256, snapshot};

const LIFETIME: Duration = Duration::from_mins(5);

fn at(seconds: i64) -> DateTime<Utc> {
    // Whole seconds, as the tokens' times are.
    DateTime::from_timestamp(support::EPOCH, 0).unwrap() + TimeDelta::seconds(seconds)
}

fn kid(key: &SigningKey) -> String {
    key.verifying_key().kid().to_owned()
}

fn ring() -> JwtKeyRing {
    JwtKeyRing::new().token_lifetime(LIFETIME)
}

fn backend(ring: JwtKeyRing) -> (Arc<RotatingKeys<JwtKeyRing>>, JwtBackend) {
    let keys = Arc::new(RotatingKeys::new(ring));
    let backend = JwtBackend::with_keys(keys.clone(), reference_tokens()).issuer(ISSUER).audience(AUDIENCE);
    (keys, backend.build().unwrap())
}

fn issue_at(backend: &JwtBackend, now: DateTime<Utc>) -> Result<String> {
    let context = IssueContext::new(now, now + LIFETIME);
    let pair = backend.issue(&snapshot(), &context).now_or_never().unwrap()?;
    Ok(pair.access.expose().to_owned())
}

fn signer(token: &str) -> Value {
    part(token, 0)["kid"].clone()
}

fn check(backend: &JwtBackend, token: &str, now: DateTime<Utc>) -> Result<(), Rejection> {
    let verified = backend.verify(&backend.parse(TokenKind::Access, token)?, None, now).map(drop);
    assert_eq!(backend.verifier().check(token, now).map(drop), verified, "also past `parse`");
    verified
}

/// The kids of the set to publish.
fn published(ring: &JwtKeyRing, now: DateTime<Utc>) -> Vec<String> {
    let keys = ring.jwks(now)["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_key_is_announced_then_signs_then_retires_and_verifies_until_its_last_token_has_expired() {
    let (old, new) = (ed25519(), es256());
    let change = at(1000);
    let ring = ring()
        .with(RingKey::from(old.clone()).retired_at(change))
        .and_then(|ring| ring.with(RingKey::from(new.clone()).active_from(change)))
        .unwrap();
    let (_, backend) = backend(ring.clone());
    let names = [kid(&old), kid(&new)];

    // Announced: published and accepted, and not yet used.
    assert_eq!(published(&ring, at(0)), names);
    let last_of_old = issue_at(&backend, at(999)).unwrap();
    assert_eq!(signer(&last_of_old), names[0]);
    // Its turn, to the millisecond.
    assert_eq!(signer(&issue_at(&backend, change - TimeDelta::milliseconds(1)).unwrap()), names[0]);
    let first_of_new = issue_at(&backend, change).unwrap();
    assert_eq!(signer(&first_of_new), names[1]);
    // A node whose clock is behind takes it already.
    assert_eq!(check(&backend, &first_of_new, at(980)), Ok(()));
    // Retired, and good for what it has signed.
    assert_eq!(check(&backend, &last_of_old, at(999 + 300) - TimeDelta::milliseconds(1)), Ok(()));
    assert_eq!(published(&ring, at(1300) - TimeDelta::milliseconds(1)), names);
    assert_eq!(published(&ring, at(1300)), names[1..]);
    // Whoever has stolen it signs no more, whatever times the token claims.
    let (_, thief) = support_backend(&old);
    let late = issue_at(&thief, at(1299)).unwrap();
    assert_eq!(check(&backend, &late, at(1300) - TimeDelta::milliseconds(1)), Ok(()));
    assert_eq!(check(&backend, &late, at(1300)), Err(Rejection::UnknownKey));
    assert_eq!(check(&backend, &late, at(1299)), Ok(()), "the verdict is of the time that is asked for");
}

fn support_backend(key: &SigningKey) -> (Arc<RotatingKeys<JwtKeyRing>>, JwtBackend) {
    backend(ring().with(key.clone()).unwrap())
}

#[test]
fn the_latest_active_key_signs_whatever_the_order() {
    let times = [None, Some(at(10)), Some(at(20)), Some(at(30))];
    let keyed: Vec<RingKey> = all_keys()
        .into_iter()
        .zip(times)
        .map(|(key, from)| from.map_or(RingKey::from(key.clone()), |from| RingKey::from(key).active_from(from)))
        .collect();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let ring = order.iter().try_fold(ring(), |ring, index| ring.with(keyed[*index].clone())).unwrap();
        let (_, backend) = backend(ring);
        for (seconds, expected) in [(0, 0), (9, 0), (10, 1), (20, 2), (29, 2), (30, 3), (1000, 3)] {
            assert_eq!(signer(&issue_at(&backend, at(seconds)).unwrap()), kid(&all_keys()[expected]), "{seconds}");
        }
    }
    let (_, same) = backend(ring().with(hs256()).and_then(|ring| ring.with(ed25519())).unwrap());
    assert_eq!(signer(&issue_at(&same, at(0)).unwrap()), kid(&hs256()), "of equal ones the first");
}

#[test]
fn without_a_key_that_may_sign_nothing_is_issued() {
    let early = RingKey::from(ed25519()).active_from(at(10));
    let late = RingKey::from(es256()).retired_at(at(0));
    let public = RingKey::from(rs256().verifying_key().clone());
    for ring in [Ok(ring()), ring().with(early), ring().with(late), ring().with(public)] {
        let (_, backend) = backend(ring.unwrap());
        assert_eq!(issue_at(&backend, at(5)).unwrap_err().kind(), ErrorKind::Misconfigured);
    }
}

#[test]
fn a_token_that_would_outlive_its_key_is_not_issued() {
    let (keys, backend) = backend(ring().with(ed25519()).unwrap());
    let long = |backend: &JwtBackend| {
        let context = IssueContext::new(at(0), at(301));
        backend.issue(&snapshot(), &context).now_or_never().unwrap().map(drop).map_err(|error| error.kind())
    };
    assert_eq!(long(&backend), Ok(()));
    keys.try_update(|ring| ring.retiring(&kid(&ed25519()), at(100))).unwrap();
    assert_eq!(long(&backend), Err(ErrorKind::Misconfigured));
    assert!(issue_at(&backend, at(0)).is_ok());
}

#[test]
fn rings_that_contradict_themselves_are_refused() {
    let refused = |ring: Result<JwtKeyRing>| assert_eq!(ring.unwrap_err().kind(), ErrorKind::Misconfigured);
    let one = ring().with(ed25519()).unwrap();
    refused(one.with(ed25519()));
    refused(one.with(ed25519().verifying_key().clone()));
    refused(one.with(es256().with_kid(&kid(&ed25519())).unwrap()));
    refused(ring().with(RingKey::from(ed25519()).active_from(at(2)).retired_at(at(1))));
    refused(one.retiring("unknown", at(0)));
    let named = |number: usize| ed25519().with_kid(&number.to_string()).unwrap();
    let full = (0..64).try_fold(ring(), |ring, number| ring.with(named(number))).unwrap();
    refused(full.with(named(64)));
}

/// The drill after a leak: one call, and no token of the key is accepted any more, remembered or not.
#[test]
fn a_leaked_key_is_taken_away_at_once() {
    for key in all_keys() {
        let spare = SigningKey::hs256(b"another secret of at least 32 bytes").unwrap();
        let start = ring().with(key.clone()).and_then(|ring| ring.with(spare.clone())).unwrap();
        let (keys, backend) = backend(start);
        let stolen = issue_at(&backend, at(0)).unwrap();
        let parsed_before = stolen.clone();
        let parsed_before = backend.parse(TokenKind::Access, &parsed_before).unwrap();
        assert_eq!(check(&backend, &stolen, at(1)), Ok(()));
        assert_eq!(backend.verifier().remembered(), 1);
        keys.try_update(|ring| Ok(ring.without(&kid(&key)))).unwrap();
        assert_eq!(check(&backend, &stolen, at(1)), Err(Rejection::UnknownKey));
        assert_eq!(backend.verify(&parsed_before, None, at(1)).unwrap_err(), Rejection::UnknownKey);
        assert_eq!(backend.verifier().remembered(), 0);
        assert!(published(&keys.current(), at(1)).iter().all(|name| *name != kid(&key)));
        // The other key takes over, and repeating the drill changes nothing.
        keys.try_update(|ring| Ok(ring.without(&kid(&key)))).unwrap();
        let next = issue_at(&backend, at(1)).unwrap();
        assert_eq!(signer(&next), kid(&spare));
        assert_eq!(check(&backend, &next, at(1)), Ok(()));
    }
}

#[test]
fn a_verifier_follows_the_set_that_it_is_fed() {
    let keys = Arc::new(RotatingKeys::new(JwtKeyRing::new()));
    let verifier = JwtVerifier::builder(keys.clone()).issuer(ISSUER).audience(AUDIENCE).build().unwrap();
    let (_, issuer) = support_backend(&ed25519());
    let token = issue_at(&issuer, at(0)).unwrap();
    assert_eq!(verifier.check(&token, at(1)).unwrap_err(), Rejection::UnknownKey);
    let set = ring().with(ed25519()).unwrap().jwks(at(0)).to_string();
    keys.replace(JwtKeyRing::from_jwks(&set).unwrap());
    for _ in 0..3 {
        assert!(verifier.check(&token, at(1)).is_ok());
    }
    // Read again, with nothing changed in it.
    keys.replace(JwtKeyRing::from_jwks(&set).unwrap());
    assert!(verifier.check(&token, at(1)).is_ok());
    keys.replace(JwtKeyRing::from_jwks(r#"{"keys":[]}"#).unwrap());
    assert_eq!(verifier.check(&token, at(1)).unwrap_err(), Rejection::UnknownKey);
}

/// It is a backend too: for a manager that only checks.
#[test]
fn a_verifier_as_backend_issues_nothing() {
    let (keys, issuer) = support_backend(&ed25519());
    let verifier = JwtVerifier::builder(keys).issuer(ISSUER).audience(AUDIENCE).build().unwrap();
    let pair = issue(&issuer);
    let check = |kind, token: &str| verifier.verify(&verifier.parse(kind, token)?, None, now()).map(drop);
    assert_eq!(check(TokenKind::Access, pair.access.expose()), Ok(()));
    assert_eq!(check(TokenKind::Refresh, pair.refresh.expose()), Err(Rejection::WrongKind));
    assert_eq!(check(TokenKind::Refresh, pair.access.expose()), Err(Rejection::WrongKind));
    assert_eq!(check(TokenKind::Access, pair.refresh.expose()), Err(Rejection::Malformed));
    let context = IssueContext::new(now(), now() + LIFETIME);
    let refused = verifier.issue(&snapshot(), &context).now_or_never().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(verifier.capabilities().self_contained);
    let relabelled = session_manager_core::Presented::self_contained(TokenKind::Refresh, pair.access.expose());
    assert_eq!(verifier.verify(&relabelled, None, now()).unwrap_err(), Rejection::WrongKind);
}

/// An application that keeps its keys elsewhere.
#[derive(Debug)]
struct Vault(Arc<JwtKeyRing>);

impl JwtKeyProvider for Vault {
    fn ring(&self) -> Arc<JwtKeyRing> {
        Arc::clone(&self.0)
    }
}

#[test]
fn keys_may_come_from_the_applications_own_provider() {
    let vault = Arc::new(Vault(Arc::new(ring().with(es256()).unwrap())));
    let backend = JwtBackend::with_keys(vault, reference_tokens()).issuer(ISSUER).audience(AUDIENCE).build().unwrap();
    let token = issue_at(&backend, at(0)).unwrap();
    assert_eq!(signer(&token), kid(&es256()));
    assert_eq!(check(&backend, &token, at(0)), Ok(()));
}

#[test]
fn debug_shows_names_and_no_key() {
    let ring = all_keys().into_iter().try_fold(ring(), |ring, key| ring.with(key)).unwrap();
    let (keys, backend) = backend(ring);
    let shown = format!("{keys:?} {backend:?}");
    assert!(all_keys().iter().all(|key| shown.contains(&kid(key))));
    for secret in ["0123456789", "fedcba98", "48, 49, 50", "jpsQnn", "142, 155, 16"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}
