//! Step-up, rotation, suspicion, and waiting for the end.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use session_manager_core::storage::SessionFilter;
use session_manager_core::{
    AuditKind, ErrorKind, Evidence, LocalBus, NewSession, Result, RevocationReason, Rotation, State, SuspicionAction,
    SuspicionRule,
};
use session_manager_tests::bed::{Bed, firefox, memory, phone, user};

#[tokio::test]
async fn reauthentication_ends_every_older_token_and_renews_freshness() {
    let bed = Bed::in_memory();
    let old = bed.sign_in("alice").await;
    let quarter = Duration::from_mins(15);
    bed.pass(quarter);
    assert!(bed.manager.require_fresh(&old.snapshot.session, quarter).is_ok());
    bed.pass(Duration::from_millis(1));
    let stale = bed.manager.require_fresh(&old.snapshot.session, quarter).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::StepUpRequired);

    let refreshed = bed.manager.refresh(old.tokens.refresh.expose(), &firefox()).await.unwrap();
    assert!(bed.manager.require_fresh(&refreshed.snapshot.session, quarter).is_err());
    let renewed =
        bed.manager.reauthenticate(old.snapshot.session.id, &["pwd", "otp"], Some("aal2"), &firefox()).await.unwrap();
    assert!(bed.manager.require_fresh(&renewed.snapshot.session, quarter).is_ok());
    assert_eq!(renewed.snapshot.session.created_at, old.snapshot.session.created_at);

    assert_eq!(bed.access(&refreshed.tokens.access).await, Err(ErrorKind::Superseded));
    for token in [&old.tokens.refresh, &refreshed.tokens.refresh] {
        let error = bed.manager.refresh(token.expose(), &firefox()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Superseded);
    }
    assert_eq!(bed.access(&renewed.tokens.access).await, Ok(()));
    assert!(bed.manager.refresh(renewed.tokens.refresh.expose(), &firefox()).await.is_ok());
    assert_eq!(bed.sink.count(AuditKind::Reauthenticated), 1);
}

#[tokio::test]
async fn rotating_a_user_keeps_one_session_with_new_tokens() {
    let bed = Bed::in_memory();
    let (kept, other, bob) = (bed.sign_in("alice").await, bed.sign_in("alice").await, bed.sign_in("bob").await);
    let rotated = bed
        .manager
        .rotate_user(&user("alice"), &Rotation::new("password").keeping(kept.snapshot.session.id), &firefox())
        .await
        .unwrap();
    assert_eq!((rotated.old_version, rotated.new_version), (Some(1), 2));
    assert_eq!(bed.access(&kept.tokens.access).await, Err(ErrorKind::Superseded));
    assert_eq!(bed.access(&other.tokens.access).await, Err(ErrorKind::SessionEnded(State::RotatedOut)));
    assert_eq!(bed.access(&rotated.kept.unwrap().tokens.access).await, Ok(()));
    assert_eq!(bed.access(&bob.tokens.access).await, Ok(()));

    let ended = bed
        .manager
        .rotate_user(&user("alice"), &Rotation::new("again").keeping(other.snapshot.session.id), &firefox())
        .await
        .unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::AlreadyEnded);
}

#[tokio::test]
async fn a_global_rotation_lets_sessions_run_out_within_its_grace() {
    let bed = Bed::in_memory();
    let old = bed.sign_in("alice").await;
    let grace = Duration::from_mins(2);
    let rotated = bed.manager.rotate_all(&Rotation::new("key leak").grace(grace), &firefox()).await.unwrap();
    let until = rotated.grace_until.unwrap();
    let new = bed.sign_in("bob").await;
    bed.pass(grace.saturating_sub(Duration::from_millis(1)));
    let renewed = bed.manager.refresh(old.tokens.refresh.expose(), &firefox()).await.unwrap();
    assert!(renewed.tokens.access_expires_at <= until);
    bed.pass(Duration::from_millis(1));
    let out = Err(ErrorKind::SessionEnded(State::RotatedOut));
    assert_eq!(
        bed.manager.refresh(renewed.tokens.refresh.expose(), &firefox()).await.map(drop).map_err(|e| e.kind()),
        out
    );
    assert_eq!(bed.access(&new.tokens.access).await, Ok(()));
    bed.manager.rotate_after_restore("backup", &firefox()).await.unwrap();
    assert_eq!(bed.access(&new.tokens.access).await, Err(ErrorKind::SessionEnded(State::EpochLost)));
}

#[tokio::test]
async fn everything_of_a_user_ends_and_only_theirs() {
    let bed = Bed::in_memory();
    let (one, two, bob) = (bed.sign_in("alice").await, bed.sign_in("alice").await, bed.sign_in("bob").await);
    let keep = one.snapshot.session.id;
    let others = bed.manager.revoke_others(&user("alice"), keep, RevocationReason::OTHERS, &firefox()).await.unwrap();
    assert_eq!(others.iter().map(|ended| ended.session.id).collect::<Vec<_>>(), [two.snapshot.session.id]);
    assert_eq!(bed.access(&one.tokens.access).await, Ok(()));
    let all = bed.manager.revoke_all(&user("alice"), RevocationReason::ALL, &firefox()).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(bed.access(&one.tokens.access).await, Err(ErrorKind::SessionEnded(State::Revoked)));
    assert_eq!(bed.access(&bob.tokens.access).await, Ok(()));
    assert_eq!(bed.manager.count(Some(&user("alice")), SessionFilter::new()).await.unwrap().value, 0);
}

/// Looks at the user agent, and says what it is told to.
#[derive(Debug)]
struct OtherAgent(SuspicionAction);

#[async_trait]
impl SuspicionRule for OtherAgent {
    fn name(&self) -> &'static str {
        "other_agent"
    }

    async fn judge(&self, evidence: &Evidence<'_>) -> Result<Option<SuspicionAction>> {
        let differs = evidence.session.is_some_and(|session| evidence.client.user_agent != session.user_agent);
        Ok(differs.then_some(self.0))
    }
}

#[tokio::test]
async fn a_rule_records_asks_for_a_step_up_or_ends_the_session() {
    for action in [SuspicionAction::Record, SuspicionAction::StepUp, SuspicionAction::Revoke] {
        let bed = Bed::with(memory(), |builder| builder.rule(Arc::new(OtherAgent(action))));
        let created = bed.sign_in("alice").await;
        let id = created.snapshot.session.id;
        assert_eq!(bed.access(&created.tokens.access).await, Ok(()));
        assert_eq!(bed.sink.count(AuditKind::Suspicious), 0);
        bed.pass(Duration::from_millis(1));
        let outcome = bed.manager.authenticate(created.tokens.access.expose(), &phone()).await;
        assert_eq!(bed.sink.count(AuditKind::Suspicious), 1);
        let view = bed.manager.get(None, id).await.unwrap().unwrap();
        let hour = Duration::from_hours(1);
        let fresh = bed.manager.require_fresh(&view.snapshot.session, hour).is_ok();
        if let Ok(request) = &outcome {
            let bound = bed.manager.require_fresh(request.session().unwrap(), hour).is_ok();
            assert_eq!(bound, fresh, "the very request that raised the suspicion is bound by it");
        }
        match action {
            SuspicionAction::Record => assert!(outcome.is_ok() && fresh),
            SuspicionAction::StepUp => assert!(outcome.is_ok() && !fresh),
            _ => assert!(outcome.is_err() && view.state == State::Revoked),
        }
    }
}

#[tokio::test]
async fn a_watcher_hears_of_the_end_at_once() {
    let bed = Bed::with(memory(), |builder| builder.bus(Arc::new(LocalBus::new())));
    let created = bed.sign_in("alice").await;
    let manager = bed.manager.clone();
    let key = created.snapshot.session.key();
    let mut ended = Box::pin(manager.ended(key));
    assert!((&mut ended).now_or_never().is_none());
    bed.manager.revoke(None, key, RevocationReason::LOGOUT, &firefox()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("told by the bus: the clock stands still");
}

#[tokio::test]
async fn a_watcher_without_a_bus_hears_of_the_deadline() {
    let bed = Bed::with_policy(|policy| policy.idle_timeout = Some(Duration::from_secs(5)));
    let created = bed.sign_in("alice").await;
    let key = created.snapshot.session.key();
    let manager = bed.manager.clone();
    let mut ended = Box::pin(manager.ended(key));
    assert!((&mut ended).now_or_never().is_none());
    bed.pass(Duration::from_secs(5));
    assert!(ended.now_or_never().is_some());
}

/// An identity provider that authenticated the user earlier says so: freshness counts from then, and a session that it ends is found.
#[tokio::test]
async fn freshness_counts_from_the_upstream_auth_time() {
    let bed = Bed::in_memory();
    let hour = Duration::from_hours(1);
    let mut new = NewSession::of(user("alice"));
    new.authenticated_at = Some(bed.clock_now() - hour);
    let created = bed.manager.create(new, &firefox()).await.unwrap();
    let session = &created.snapshot.session;
    assert_eq!(session.authentication.at, bed.clock_now() - hour);
    assert!(bed.manager.require_fresh(session, hour).is_ok());
    let stale = bed.manager.require_fresh(session, Duration::from_mins(59)).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::StepUpRequired);
    let accepted = bed.manager.authenticate(created.tokens.access.expose(), &firefox()).await.unwrap();
    assert_eq!(accepted.verified.authenticated_at, Some(session.authentication.at), "and the token says so");
}
