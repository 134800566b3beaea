//! What is issued, how long it lives, and how keys are changed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use session_manager_backend_opaque::OpaqueBackend;
use session_manager_core::token::{KeyRing, ReferenceTokens, RotatingKeys};
use session_manager_core::{ErrorKind, IssueContext, Rejection, SessionBackend, TokenKind};
use support::{LIFETIME, access, at, backend, check, check_at, context, issue, key, now, snapshot, tokens, try_issue};

#[test]
fn a_pair_is_proven_by_its_session_and_says_nothing() {
    let pair = issue(&backend());
    for (kind, token, prefix) in
        [(TokenKind::Access, &pair.access, "sms_"), (TokenKind::Refresh, &pair.refresh, "smr_")]
    {
        assert!(token.expose().starts_with(prefix) && token.expose().len() == 96);
        let verified = check(kind, token.expose()).unwrap();
        assert_eq!((verified.key, verified.generation), (snapshot().session.key(), 7));
        assert_eq!((verified.user_id, verified.claims, verified.epochs), (None, None, None));
    }
    assert_eq!(pair.access_expires_at, now() + LIFETIME);
    assert_eq!(pair.refresh_expires_at, snapshot().session.expires_at);
    assert_eq!(issue(&backend()), pair, "the tokens of one generation are always the same");
    assert!(!backend().capabilities().self_contained);
    assert_eq!(backend().capabilities().access_token_lifetime, Some(LIFETIME));
}

fn lives(generation: u64, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Rejection> {
    check_at(TokenKind::Access, &access(generation), &snapshot().control, now).map(|verified| verified.expires_at)
}

#[test]
fn an_access_token_lives_from_the_beginning_of_its_generation_to_the_millisecond() {
    for (generation, began) in [(7, 0), (6, -60_000)] {
        let end = began + 300_000;
        assert_eq!(lives(generation, at(end - 1)), Ok(Some(at(end))), "{generation}");
        assert_eq!(lives(generation, at(end)), Err(Rejection::Expired), "{generation}");
        assert_eq!(lives(generation, at(end + 1)), Err(Rejection::Expired), "{generation}");
        assert_eq!(lives(generation, DateTime::<Utc>::MAX_UTC), Err(Rejection::Expired), "{generation}");
        // Another node's clock may be ahead.
        assert_eq!(lives(generation, at(began - 30_000)), Ok(Some(at(end))), "{generation}");
        assert_eq!(lives(generation, at(began - 30_001)), Err(Rejection::NotYetValid), "{generation}");
        assert_eq!(lives(generation, DateTime::<Utc>::MIN_UTC), Err(Rejection::NotYetValid), "{generation}");
    }
}

#[test]
fn what_began_at_an_unknown_time_has_expired() {
    for generation in [5, 8, 9, u64::MAX] {
        assert_eq!(lives(generation, now()), Err(Rejection::Expired), "{generation}");
    }
    let mut control = snapshot().control;
    control.generation = 0;
    assert_eq!(check_at(TokenKind::Access, &access(u64::MAX), &control, now()).unwrap_err(), Rejection::Expired);
}

/// The manager asks for the floor, and says "superseded": better words than "expired" for whoever changed the password.
#[test]
fn below_the_floor_a_token_is_genuine_and_has_no_life() {
    for generation in [0, 4] {
        assert_eq!(lives(generation, now()), Ok(None));
        assert!(generation < snapshot().control.floor);
    }
}

#[test]
fn a_refresh_token_knows_no_time() {
    let pair = issue(&backend());
    for time in [DateTime::<Utc>::MIN_UTC, at(1_000_000_000_000), DateTime::<Utc>::MAX_UTC] {
        let verified = check_at(TokenKind::Refresh, pair.refresh.expose(), &snapshot().control, time).unwrap();
        assert_eq!(verified.expires_at, None);
    }
}

#[test]
fn a_repeated_refresh_is_told_when_the_token_really_expires() {
    let later = IssueContext::new(at(9_000), at(9_000) + LIFETIME);
    assert_eq!(try_issue(&backend(), &snapshot(), &later).unwrap().access_expires_at, now() + LIFETIME);
    let capped = IssueContext::new(now(), at(200_000));
    assert_eq!(try_issue(&backend(), &snapshot(), &capped).unwrap().access_expires_at, at(200_000));
}

#[test]
fn a_policy_that_says_another_lifetime_is_refused() {
    for (expires, good) in [(300_001, false), (300_000, true), (150_000, true), (149_999, false)] {
        let outcome = try_issue(&backend(), &snapshot(), &IssueContext::new(now(), at(expires)));
        assert_eq!(
            outcome.map_err(|error| error.kind()).map(drop),
            if good { Ok(()) } else { Err(ErrorKind::Misconfigured) }
        );
    }
    // The end of the session comes before the end of the lifetime.
    let mut ending = snapshot();
    ending.control.idle_expires_at = at(1000);
    assert!(try_issue(&backend(), &ending, &IssueContext::new(now(), at(1000))).is_ok());
}

#[test]
fn lifetimes_that_no_policy_has_are_refused() {
    for lifetime in [Duration::ZERO, Duration::from_millis(1999), Duration::MAX] {
        let error = OpaqueBackend::builder(tokens(1)).access_token_lifetime(lifetime).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
    }
    assert!(OpaqueBackend::builder(tokens(1)).build().is_ok());
}

/// Announce, use, retire, and the drill after a leak: while the application runs.
#[test]
fn keys_overlap_while_they_are_changed_and_a_leaked_one_ends_at_once() {
    let keys = Arc::new(RotatingKeys::new(KeyRing::new(key(1))));
    let backend = OpaqueBackend::builder(ReferenceTokens::new(keys.clone())).build().unwrap();
    let other_node = OpaqueBackend::builder(ReferenceTokens::new(Arc::new(KeyRing::new(key(1)).accepting(key(2)))));
    let other_node = other_node.build().unwrap();
    let check = |backend: &OpaqueBackend, token: &str| {
        let presented = backend.parse(TokenKind::Access, token)?;
        backend.verify(&presented, Some(&snapshot().control), now()).map(drop)
    };
    let old = issue(&backend).access;
    keys.try_update(|ring| Ok(ring.succeeded_by(key(2)))).unwrap();
    let new = issue(&backend).access;
    assert_ne!(old, new);
    for (backend, token) in [(&backend, &old), (&backend, &new), (&other_node, &old), (&other_node, &new)] {
        assert_eq!(check(backend, token.expose()), Ok(()));
    }
    let read_before = backend.parse(TokenKind::Access, old.expose()).unwrap();
    keys.try_update(|ring| ring.without(key(1).id())).unwrap();
    assert_eq!(check(&backend, old.expose()), Err(Rejection::UnknownKey));
    assert_eq!(backend.verify(&read_before, Some(&snapshot().control), now()).unwrap_err(), Rejection::UnknownKey);
    assert_eq!(check(&backend, new.expose()), Ok(()));
}

#[test]
fn debug_shows_no_secret_and_no_token() {
    let backend = backend();
    let pair = issue(&backend);
    let presented = backend.parse(TokenKind::Access, pair.access.expose()).unwrap();
    let builder = OpaqueBackend::builder(tokens(1));
    let shown = format!("{backend:?} {builder:?} {pair:?} {presented:?}");
    assert!(shown.contains(&key(1).id().to_string()));
    for secret in [&pair.access.expose()[20..], &pair.refresh.expose()[20..], "1, 0, 3, 2", "9, 9, 9"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn the_token_of_another_session_or_seed_is_forged() {
    let mut other = snapshot();
    other.control.seed = session_manager_core::Seed::from_bytes([8; 32]);
    let token = try_issue(&backend(), &other, &context()).unwrap().access;
    assert_eq!(check(TokenKind::Access, token.expose()).unwrap_err(), Rejection::BadSignature);
    let presented = backend();
    let presented = presented.parse(TokenKind::Access, token.expose()).unwrap();
    assert_eq!(backend().verify(&presented, None, now()).unwrap_err(), Rejection::UnknownSession);
}
