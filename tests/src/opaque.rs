//! The life of a session whose tokens are opaque, on any storage: run over several of them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use session_manager_backend_opaque::OpaqueBackend;
use session_manager_core::storage::SessionFilter;
use session_manager_core::token::{KeyRing, ReferenceTokens, TokenKey};
use session_manager_core::{
    AuditKind, ErrorKind, NewSession, Rejection, RequestContext, RevocationReason, SessionBackend, SessionStorage,
    State,
};
use session_manager_testkit::fault::CountingStorage;

use crate::bed::{Bed, firefox, phone, user};

const LIFETIME: Duration = Duration::from_mins(5);
const MILLISECOND: Duration = Duration::from_millis(1);
const REVOKED: ErrorKind = ErrorKind::SessionEnded(State::Revoked);
const EXPIRED: ErrorKind = ErrorKind::InvalidToken(Rejection::Expired);

/// An opaque backend with a fixed key and the default policy's lifetime.
pub fn backend() -> Arc<dyn SessionBackend> {
    let secret: Vec<u8> = (0..32).collect();
    let tokens = ReferenceTokens::new(Arc::new(KeyRing::new(TokenKey::from_secret(&secret).expect("a good secret"))));
    Arc::new(OpaqueBackend::builder(tokens).build().expect("a backend"))
}

fn bed(storage: Arc<dyn SessionStorage>) -> Bed {
    Bed::with(storage, |builder| builder.backend(backend()))
}

async fn refresh(bed: &Bed, token: &session_manager_core::Token, context: &RequestContext) -> Result<(), ErrorKind> {
    bed.manager.refresh(token.expose(), context).await.map(drop).map_err(|error| error.kind())
}

/// Two devices sign in, one is ended: both its tokens end at once, the other's live.
pub async fn ending_one_device(storage: Arc<dyn SessionStorage>) {
    let bed = bed(storage);
    let laptop = bed.sign_in("alice").await;
    let mobile = bed.manager.create(NewSession::of(user("alice")), &phone()).await.unwrap();
    assert!(laptop.tokens.access.expose().starts_with("sms_"));
    assert_eq!(bed.access(&mobile.tokens.access).await, Ok(()));
    let id = mobile.snapshot.session.id;
    bed.manager.revoke(Some(&user("alice")), id, RevocationReason::BY_USER, &firefox()).await.unwrap();
    assert_eq!(bed.access(&mobile.tokens.access).await, Err(REVOKED));
    assert_eq!(refresh(&bed, &mobile.tokens.refresh, &phone()).await, Err(REVOKED));
    assert_eq!(bed.access(&laptop.tokens.access).await, Ok(()));
    let live = bed.manager.count(Some(&user("alice")), SessionFilter::new()).await.unwrap();
    assert_eq!(live.value, 1);
}

/// An access token lives to the millisecond from the beginning of its generation, and a refresh leaves the one before alive.
pub async fn access_tokens_age(storage: Arc<dyn SessionStorage>) {
    let bed = bed(storage);
    let first = bed.sign_in("alice").await.tokens;
    bed.pass(Duration::from_mins(1));
    let second = bed.manager.refresh(first.refresh.expose(), &firefox()).await.unwrap().tokens;
    assert_eq!(bed.access(&first.access).await, Ok(()));
    bed.pass(Duration::from_millis(239_999));
    assert_eq!(bed.access(&first.access).await, Ok(()));
    bed.pass(MILLISECOND);
    assert_eq!(bed.access(&first.access).await, Err(EXPIRED));
    bed.pass(Duration::from_millis(59_999));
    assert_eq!(bed.access(&second.access).await, Ok(()));
    let third = bed.manager.refresh(second.refresh.expose(), &firefox()).await.unwrap().tokens;
    bed.pass(MILLISECOND);
    assert_eq!(bed.access(&second.access).await, Err(EXPIRED));
    assert_eq!(bed.access(&third.access).await, Ok(()));
    // Two rotations ago: when that began is not kept, so it has ended early, and never late.
    let fourth = bed.manager.refresh(third.refresh.expose(), &firefox()).await.unwrap().tokens;
    let fifth = bed.manager.refresh(fourth.refresh.expose(), &firefox()).await.unwrap().tokens;
    assert_eq!(bed.access(&third.access).await, Err(EXPIRED));
    assert_eq!(bed.access(&fifth.access).await, Ok(()));
    // What the client was told was never later than the truth.
    assert!(fifth.access_expires_at <= bed.clock_now() + LIFETIME);
}

/// Sixty-four tabs refresh at once: one successor, whose access token all of them share.
pub async fn tabs_agree(storage: Arc<dyn SessionStorage>) {
    let bed = Arc::new(bed(storage));
    let created = bed.sign_in("alice").await;
    let tabs = (0..64).map(|_| {
        let (bed, token) = (Arc::clone(&bed), created.tokens.refresh.clone());
        tokio::spawn(async move { bed.manager.refresh(token.expose(), &firefox()).await })
    });
    let answers: Vec<_> =
        join_all(tabs).await.into_iter().map(|tab| tab.unwrap().expect("no tab is signed out")).collect();
    for answer in &answers {
        assert_eq!(
            (&answer.tokens.access, &answer.tokens.refresh),
            (&answers[0].tokens.access, &answers[0].tokens.refresh)
        );
    }
    assert_eq!(answers.iter().filter(|answer| !answer.converged).count(), 1);
    assert_eq!(bed.access(&answers[0].tokens.access).await, Ok(()));
}

/// The grace is rooted at the rotation; a replay after it ends the session, access tokens too, before the error returns.
pub async fn a_replay_ends_the_session(storage: Arc<dyn SessionStorage>) {
    let bed = bed(storage);
    let created = bed.sign_in("alice").await;
    let fresh = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap();
    bed.pass(Duration::from_millis(9_999));
    let retried = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap();
    assert!(retried.converged && retried.tokens.access == fresh.tokens.access);
    bed.pass(MILLISECOND);
    assert_eq!(refresh(&bed, &created.tokens.refresh, &phone()).await, Err(ErrorKind::ReplayDetected));
    assert_eq!(bed.access(&fresh.tokens.access).await, Err(REVOKED));
    assert_eq!(refresh(&bed, &fresh.tokens.refresh, &firefox()).await, Err(REVOKED));
    assert_eq!(bed.sink.count(AuditKind::Suspicious), 1);
}

/// Re-authentication gives new tokens; the old ones are superseded at once, and the session lives.
pub async fn reauthentication_supersedes(storage: Arc<dyn SessionStorage>) {
    let bed = bed(storage);
    let created = bed.sign_in("alice").await;
    bed.pass(Duration::from_secs(1));
    let renewed = bed.manager.reauthenticate(created.snapshot.session.id, &["pwd"], None, &firefox()).await.unwrap();
    assert_eq!(bed.access(&created.tokens.access).await, Err(ErrorKind::Superseded));
    assert_eq!(refresh(&bed, &created.tokens.refresh, &firefox()).await, Err(ErrorKind::Superseded));
    assert_eq!(bed.access(&renewed.tokens.access).await, Ok(()));
}

/// Nothing is read for a token whose form or key says that it is none of ours.
pub async fn garbage_reads_nothing(storage: Arc<dyn SessionStorage>) {
    let storage = Arc::new(CountingStorage::new(storage));
    let bed = bed(storage.clone());
    let created = bed.sign_in("alice").await;
    storage.reset();
    // The seventh character is of the key's name.
    let mut unknown_key = created.tokens.access.expose().to_owned();
    let other = if unknown_key.as_bytes()[6] == b'A' { "B" } else { "A" };
    unknown_key.replace_range(6..=6, other);
    let (access, relabelled) = (created.tokens.refresh.expose(), created.tokens.access.expose());
    for token in ["", "x", "a.b.c", "sms_", "sms_AAAA", &"x".repeat(100_000), &unknown_key, access] {
        let error = bed.manager.authenticate(token, &firefox()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidToken(_)), "{error:?}");
    }
    assert!(refresh(&bed, &session_manager_core::Token::new(relabelled.to_owned()), &firefox()).await.is_err());
    assert_eq!(storage.total(), 0);
}

/// A forged token, also one that names the session and lies about the user, is refused and ends nothing.
pub async fn forgeries_end_nothing(storage: Arc<dyn SessionStorage>) {
    let bed = bed(storage);
    let created = bed.sign_in("alice").await;
    for (token, is_access) in [(&created.tokens.access, true), (&created.tokens.refresh, false)] {
        for position in 4..token.expose().len() - 1 {
            let mut forged = token.expose().to_owned();
            let other = if forged.as_bytes()[position] == b'A' { "B" } else { "A" };
            forged.replace_range(position..=position, other);
            let forged = session_manager_core::Token::new(forged);
            let kind = if is_access { bed.access(&forged).await } else { refresh(&bed, &forged, &phone()).await };
            assert!(matches!(kind, Err(ErrorKind::InvalidToken(_))), "{position}: {kind:?}");
        }
    }
    assert_eq!(bed.access(&created.tokens.access).await, Ok(()));
    assert_eq!(refresh(&bed, &created.tokens.refresh, &firefox()).await, Ok(()));
    assert_eq!(bed.sink.count(AuditKind::Revoked), 0);
}
