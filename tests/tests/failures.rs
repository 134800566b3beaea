//! What fails around a session, and what that may and may not do to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use session_manager_core::storage::SessionFilter;
use session_manager_core::{
    AuditKind, ClientInfo, Delivery, Enrichment, Error, ErrorKind, Location, ManualClock, NewSession, NoopAudit,
    Result, RevocationReason, SessionEnricher, SessionManager, SystemClock,
};
use session_manager_testkit::fault::{Effect, FailingRandom, FailingStorage, Method};
use session_manager_tests::bed::{Bed, backend, firefox, memory, user};
use session_manager_tests::sink::RememberingSink;

#[tokio::test]
async fn an_outage_is_never_a_verdict() {
    let storage = Arc::new(FailingStorage::new(memory()));
    let bed = Bed::with(storage.clone(), |builder| builder);
    let created = bed.sign_in("alice").await;
    storage.outage();
    let context = firefox();
    let id = created.snapshot.session.id;
    let kinds = [
        bed.manager.authenticate(created.tokens.access.expose(), &context).await.unwrap_err().kind(),
        bed.manager.refresh(created.tokens.refresh.expose(), &context).await.unwrap_err().kind(),
        bed.manager.revoke(None, id, RevocationReason::LOGOUT, &context).await.unwrap_err().kind(),
        bed.manager.create(NewSession::of(user("bob")), &context).await.unwrap_err().kind(),
        bed.manager.list(&user("alice"), SessionFilter::new(), None, 5).await.unwrap_err().kind(),
        bed.manager.reauthenticate(id, &["pwd"], None, &context).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Unavailable; 6]);
    storage.heal();
    assert_eq!(bed.access(&created.tokens.access).await, Ok(()));
    assert_eq!(bed.sink.count(AuditKind::Rejected), 0);
}

#[tokio::test]
async fn a_lost_reply_to_a_refresh_is_healed_by_the_retry() {
    let storage = Arc::new(FailingStorage::new(memory()));
    let bed = Bed::with(storage.clone(), |builder| builder);
    let created = bed.sign_in("alice").await;
    storage.fail_next(Method::Advance, Effect::Done);
    let token = created.tokens.refresh.expose();
    assert_eq!(bed.manager.refresh(token, &firefox()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let retried = bed.manager.refresh(token, &firefox()).await.unwrap();
    assert!(retried.converged);
    assert_eq!(bed.access(&retried.tokens.access).await, Ok(()));
}

#[tokio::test]
async fn a_replay_that_cannot_be_committed_is_not_called_one() {
    let storage = Arc::new(FailingStorage::new(memory()));
    let bed = Bed::with(storage.clone(), |builder| builder);
    let created = bed.sign_in("alice").await;
    let token = created.tokens.refresh.expose();
    bed.manager.refresh(token, &firefox()).await.unwrap();
    bed.pass(Duration::from_mins(1));
    storage.fail_next(Method::Revoke, Effect::Nothing);
    assert_eq!(bed.manager.refresh(token, &firefox()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(bed.manager.refresh(token, &firefox()).await.unwrap_err().kind(), ErrorKind::ReplayDetected);
}

#[tokio::test]
async fn a_failed_touch_does_not_fail_the_request() {
    let storage = Arc::new(FailingStorage::new(memory()));
    let bed = Bed::with(storage.clone(), |builder| builder);
    let created = bed.sign_in("alice").await;
    bed.pass(Duration::from_mins(2));
    storage.fail_next(Method::Touch, Effect::Nothing);
    assert_eq!(bed.access(&created.tokens.access).await, Ok(()));
}

#[tokio::test]
async fn a_required_sink_that_fails_says_that_the_change_stands() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let id = created.snapshot.session.id;
    bed.sink.fail(true);
    let error = bed.manager.revoke(None, id, RevocationReason::LOGOUT, &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    assert!(error.is_retryable());
    bed.sink.fail(false);
    assert!(bed.access(&created.tokens.access).await.is_err());
    let again = bed.manager.revoke(None, id, RevocationReason::LOGOUT, &firefox()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyEnded);
}

#[tokio::test]
async fn a_sign_in_that_cannot_be_audited_leaves_no_live_session() {
    let bed = Bed::in_memory();
    bed.sink.fail(true);
    let error = bed.manager.create(NewSession::of(user("alice")), &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    assert_eq!(bed.manager.count(Some(&user("alice")), SessionFilter::new()).await.unwrap().value, 0);
}

#[tokio::test]
async fn a_best_effort_sink_fails_nothing_and_the_others_hear() {
    let (broken, good) = (Arc::new(RememberingSink::default()), Arc::new(RememberingSink::default()));
    broken.fail(true);
    let bed = Bed::with(memory(), |builder| {
        builder
            .audit(broken.clone(), Delivery::BestEffort)
            .audit(good.clone(), Delivery::BestEffort)
            .audit(Arc::new(NoopAudit), Delivery::Required)
    });
    bed.sign_in("alice").await;
    assert_eq!((good.count(AuditKind::Created), bed.sink.count(AuditKind::Created)), (1, 1));
}

#[tokio::test]
async fn without_randomness_nothing_is_issued() {
    let storage = memory();
    let bed = Bed::with(Arc::clone(&storage), |builder| builder.random(Arc::new(FailingRandom::always())));
    let error = bed.manager.create(NewSession::of(user("alice")), &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(bed.manager.count(None, SessionFilter::including_ended()).await.unwrap().value, 0);
}

/// An enricher that knows a place, fails, or never answers.
#[derive(Debug)]
enum Enricher {
    Good,
    Broken,
    Hanging,
}

#[async_trait]
impl SessionEnricher for Enricher {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn enrich(&self, _: &ClientInfo, enrichment: &mut Enrichment) -> Result<()> {
        match self {
            Self::Good => {
                let mut place = Location::default();
                place.city = Some("Berlin".into());
                enrichment.location = Some(place);
                enrichment.attributes.insert("source".into(), "enricher".into());
                Ok(())
            }
            Self::Broken => Err(Error::new(ErrorKind::Unavailable, "enrich")),
            Self::Hanging => std::future::pending().await,
        }
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

#[tokio::test]
async fn a_broken_or_hanging_enricher_costs_its_time_box_and_nothing_else() {
    let bed = Bed::with(memory(), |builder| {
        let mut policy = session_manager_core::SessionPolicy::default();
        policy.enricher_timeout = Duration::from_millis(50);
        builder
            .policy(policy)
            .clock(Arc::new(SystemClock))
            .enricher(Arc::new(Enricher::Broken))
            .enricher(Arc::new(Enricher::Hanging))
            .enricher(Arc::new(Enricher::Good))
    });
    let new = NewSession::of(user("alice")).attribute("source", "application");
    let created = tokio::time::timeout(Duration::from_secs(5), bed.manager.create(new, &firefox()))
        .await
        .expect("time-boxed")
        .unwrap();
    let session = &created.snapshot.session;
    assert_eq!(session.location.as_ref().and_then(|place| place.city.as_deref()), Some("Berlin"));
    assert_eq!(session.attributes["source"], "application");
}

#[tokio::test]
async fn no_event_holds_a_token() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let refreshed = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap();
    bed.pass(Duration::from_mins(1));
    let _ = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await;
    let _ = bed.manager.authenticate(refreshed.tokens.access.expose(), &firefox()).await;
    let told = format!("{:?} {:?} {created:?} {refreshed:?}", bed.sink.events(), bed.manager);
    let seed = created.snapshot.control.seed.as_bytes();
    for pair in [&created.tokens, &refreshed.tokens] {
        for token in [&pair.access, &pair.refresh] {
            let tail = &token.expose()[token.expose().len() - 20..];
            assert!(!told.contains(tail), "a token is told");
        }
    }
    assert!(!told.contains(&format!("{seed:?}")));
    assert!(bed.sink.count(AuditKind::Suspicious) == 1);
}

#[test]
fn parts_that_do_not_fit_are_refused_by_name() {
    let builder = || SessionManager::builder().clock(Arc::new(ManualClock::default()));
    let cases = [
        (builder().backend(backend()), "storage"),
        (builder().storage(memory()).allow_volatile(true), "backend"),
        (builder().storage(memory()).backend(backend()), "volatile"),
    ];
    for (builder, word) in cases {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains(word), "{error}");
    }
    let mut policy = session_manager_core::SessionPolicy::default();
    policy.max_sessions = 0;
    let error = builder().storage(memory()).backend(backend()).allow_volatile(true).policy(policy).build().unwrap_err();
    assert!(error.to_string().contains("max_sessions"));
}
