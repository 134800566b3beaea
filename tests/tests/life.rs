//! The life of a session through the manager: sign in, check, refresh, list, end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use session_manager_core::storage::SessionFilter;
use session_manager_core::{
    AuditKind, ClientInfo, Delivery, ErrorKind, NewSession, Rejection, RequestContext, RevocationReason, SessionChange,
    State,
};
use session_manager_testkit::fault::{CountingStorage, Method};
use session_manager_tests::bed::{Bed, firefox, memory, phone, user};
use session_manager_tests::sink::RememberingSink;

const GRACE: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn sign_in_on_two_devices_and_end_one() {
    let bed = Bed::in_memory();
    let laptop = bed.sign_in("alice").await;
    bed.pass(Duration::from_secs(1));
    let mobile = bed.manager.create(NewSession::of(user("alice")), &phone()).await.unwrap();

    let page = bed.manager.list(&user("alice"), SessionFilter::new(), None, 10).await.unwrap();
    let agents: Vec<_> = page.sessions.iter().map(|view| view.snapshot.session.user_agent.clone().unwrap()).collect();
    assert_eq!(agents, ["Safari/iPhone", "Firefox/143"]);

    let id = mobile.snapshot.session.id;
    let ended = bed.manager.revoke(Some(&user("alice")), id, RevocationReason::BY_USER, &firefox()).await.unwrap();
    assert_eq!(ended.session.id, id);
    let revoked = ErrorKind::SessionEnded(State::Revoked);
    assert_eq!(bed.access(&mobile.tokens.access).await, Err(revoked));
    let refused = bed.manager.refresh(mobile.tokens.refresh.expose(), &phone()).await.unwrap_err();
    assert_eq!(refused.kind(), revoked);
    assert_eq!(bed.access(&laptop.tokens.access).await, Ok(()));

    let again = bed.manager.revoke(Some(&user("alice")), id, RevocationReason::BY_USER, &firefox()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyEnded);
    // The end is told once, however often its tokens come.
    let told = [AuditKind::Created, AuditKind::Created, AuditKind::Revoked, AuditKind::Rejected, AuditKind::Accessed];
    assert_eq!(bed.sink.kinds(), told);
    let event = &bed.sink.events()[2];
    assert_eq!((event.session_id, event.reason.as_deref()), (Some(id), Some("revoked_by_user")));
    assert_eq!(event.request_id.as_deref(), Some("request-1"));
}

#[tokio::test]
async fn another_users_session_looks_absent() {
    let bed = Bed::in_memory();
    let alice = bed.sign_in("alice").await.snapshot.session.id;
    let mallory = user("mallory");
    let kinds = [
        bed.manager.revoke(Some(&mallory), alice, RevocationReason::BY_USER, &firefox()).await.unwrap_err().kind(),
        bed.manager.update(Some(&mallory), alice, &SessionChange::new(), &firefox()).await.unwrap_err().kind(),
        bed.manager.delete(Some(&mallory), alice, &firefox()).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::NotFound; 3]);
    assert!(bed.manager.get(Some(&mallory), alice).await.unwrap().is_none());
    assert!(bed.manager.get(Some(&user("alice")), alice).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_tabs_refresh_at_once_and_agree() {
    let bed = Arc::new(Bed::in_memory());
    let created = bed.sign_in("alice").await;
    let tabs = (0..64).map(|_| {
        let (bed, token) = (Arc::clone(&bed), created.tokens.refresh.clone());
        tokio::spawn(async move { bed.manager.refresh(token.expose(), &firefox()).await })
    });
    let answers: Vec<_> =
        join_all(tabs).await.into_iter().map(|tab| tab.unwrap().expect("no tab is signed out")).collect();
    let successor = &answers[0].tokens.refresh;
    assert!(
        answers.iter().all(|answer| answer.tokens.refresh == *successor && answer.snapshot.control.generation == 2)
    );
    assert_eq!(answers.iter().filter(|answer| !answer.converged).count(), 1);
    assert!(*successor != created.tokens.refresh);
}

#[tokio::test]
async fn the_grace_is_rooted_at_the_rotation_and_a_replay_ends_the_session() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let old = created.tokens.refresh.expose();
    let fresh = bed.manager.refresh(old, &firefox()).await.unwrap();
    for _ in 0..9 {
        bed.pass(Duration::from_secs(1));
        let retried = bed.manager.refresh(old, &firefox()).await.unwrap();
        assert!(retried.converged && retried.tokens.refresh == fresh.tokens.refresh);
    }
    bed.pass(Duration::from_millis(999));
    assert!(bed.manager.refresh(old, &firefox()).await.is_ok());
    bed.pass(Duration::from_millis(1));
    let replay = bed.manager.refresh(old, &firefox()).await.unwrap_err();
    assert_eq!(replay.kind(), ErrorKind::ReplayDetected);
    let ended = ErrorKind::SessionEnded(State::Revoked);
    assert_eq!(bed.access(&fresh.tokens.access).await, Err(ended));
    assert_eq!(bed.manager.refresh(fresh.tokens.refresh.expose(), &firefox()).await.unwrap_err().kind(), ended);
    let event = bed.sink.events().into_iter().find(|event| event.kind == AuditKind::Suspicious).unwrap();
    assert_eq!(event.reason.as_deref(), Some("refresh_replay_after_grace"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_replays_are_reported_once() {
    let bed = Arc::new(Bed::in_memory());
    let created = bed.sign_in("alice").await;
    bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap();
    bed.pass(GRACE);
    let thieves = (0..16).map(|_| {
        let (bed, token) = (Arc::clone(&bed), created.tokens.refresh.clone());
        tokio::spawn(async move { bed.manager.refresh(token.expose(), &phone()).await.map(drop).unwrap_err().kind() })
    });
    for kind in join_all(thieves).await {
        assert!(matches!(kind.unwrap(), ErrorKind::ReplayDetected | ErrorKind::SessionEnded(State::Revoked)));
    }
    assert_eq!(bed.sink.count(AuditKind::Suspicious), 1);
    assert_eq!(bed.sink.count(AuditKind::Revoked), 1);
}

#[tokio::test]
async fn a_refresh_loop_dies_at_the_absolute_deadline() {
    let bed = Bed::with_policy(|policy| policy.idle_timeout = None);
    let created = bed.sign_in("alice").await;
    let deadline = created.snapshot.session.expires_at;
    let mut tokens = created.tokens;
    for _ in 0..29 {
        bed.pass(DAY);
        let refreshed = bed.manager.refresh(tokens.refresh.expose(), &firefox()).await.unwrap();
        let session = &refreshed.snapshot.session;
        assert_eq!((session.expires_at, session.authentication.at), (deadline, created.snapshot.session.created_at));
        assert_eq!(refreshed.snapshot.control.last_activity, created.snapshot.control.last_activity);
        tokens = refreshed.tokens;
    }
    bed.pass(DAY.saturating_sub(Duration::from_millis(1)));
    let last = bed.manager.refresh(tokens.refresh.expose(), &firefox()).await.unwrap();
    assert!(last.tokens.access_expires_at <= deadline);
    bed.pass(Duration::from_millis(1));
    let error = bed.manager.refresh(last.tokens.refresh.expose(), &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(State::Expired));
    assert_eq!(bed.sink.last().kind, AuditKind::Expired);
}

#[tokio::test]
async fn activity_is_written_once_an_interval_and_never_by_programs() {
    let storage = Arc::new(CountingStorage::new(memory()));
    let bed = Bed::with(storage.clone(), |builder| builder);
    let created = bed.sign_in("alice").await;
    bed.pass(Duration::from_secs(59));
    bed.access(&created.tokens.access).await.unwrap();
    assert_eq!(storage.calls(Method::Touch), 0);
    bed.pass(Duration::from_secs(1));
    for _ in 0..10_000 {
        bed.access(&created.tokens.access).await.unwrap();
    }
    assert_eq!(storage.calls(Method::Touch), 1);
    bed.pass(Duration::from_mins(1));
    bed.manager.authenticate(created.tokens.access.expose(), &firefox().background()).await.unwrap();
    bed.manager.peek(created.tokens.access.expose()).await.unwrap();
    assert_eq!(storage.calls(Method::Touch), 1);
}

#[tokio::test]
async fn an_idle_session_ends_and_an_active_one_does_not() {
    let bed = Bed::with_policy(|policy| policy.idle_timeout = Some(Duration::from_mins(10)));
    let created = bed.sign_in("alice").await;
    let mut tokens = created.tokens;
    for _ in 0..20 {
        bed.pass(Duration::from_mins(4));
        bed.access(&tokens.access).await.unwrap();
        tokens = bed.manager.refresh(tokens.refresh.expose(), &firefox()).await.unwrap().tokens;
    }
    bed.pass(Duration::from_mins(10).saturating_sub(Duration::from_millis(1)));
    let background = bed.manager.refresh(tokens.refresh.expose(), &firefox()).await.unwrap();
    bed.pass(Duration::from_millis(1));
    let error = bed.manager.refresh(background.tokens.refresh.expose(), &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(State::Idle));
}

#[tokio::test]
async fn nothing_is_read_for_a_token_that_proves_nothing() {
    let storage = Arc::new(CountingStorage::new(memory()));
    let bed = Bed::with(storage.clone(), |builder| builder);
    let created = bed.sign_in("alice").await;
    storage.reset();
    let (access, refresh) = (created.tokens.access.expose(), created.tokens.refresh.expose());
    // The last character but one carries six bits of the signature; an `A` may be there already.
    let mut forged = access.to_owned();
    let at = forged.len() - 2;
    let other = if forged.as_bytes()[at] == b'A' { "B" } else { "A" };
    forged.replace_range(at..=at, other);
    for token in ["", "x", "a.b.c", &"x".repeat(100_000), &forged, refresh] {
        let error = bed.manager.authenticate(token, &firefox()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidToken(_)), "{error:?}");
    }
    for token in ["", "smr_", "smr_AAAA", access] {
        let error = bed.manager.refresh(token, &firefox()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidToken(_)), "{error:?}");
    }
    assert_eq!(storage.total(), 0);
}

#[tokio::test]
async fn a_forged_refresh_token_ends_nothing() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let token = created.tokens.refresh.expose();
    for position in [5, 20, 40, 60, 80, 94] {
        let mut forged = token.to_owned();
        let other = if forged.as_bytes()[position] == b'A' { "B" } else { "A" };
        forged.replace_range(position..=position, other);
        let error = bed.manager.refresh(&forged, &phone()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidToken(_)), "{position}: {error:?}");
    }
    assert_eq!(bed.access(&created.tokens.access).await, Ok(()));
    assert_eq!(bed.sink.count(AuditKind::Revoked), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_logins_at_once_leave_exactly_the_limit() {
    let bed = Arc::new(Bed::in_memory());
    let logins = (0..60).map(|_| {
        let bed = Arc::clone(&bed);
        tokio::spawn(async move { bed.sign_in("alice").await })
    });
    join_all(logins).await.into_iter().for_each(|login| drop(login.unwrap()));
    let live = bed.manager.count(Some(&user("alice")), SessionFilter::new()).await.unwrap();
    assert_eq!((live.value, live.exact), (5, true));
    assert_eq!(bed.sink.count(AuditKind::Evicted), 55);
}

#[tokio::test]
async fn texts_are_bounded_and_printable() {
    let bed = Bed::in_memory();
    let agent = format!("Bad\r\nAgent\u{1b}[31m{}", "é".repeat(600));
    let context = RequestContext::from_client(ClientInfo::new().agent(agent));
    let created = bed.manager.create(NewSession::of(user("alice")), &context).await.unwrap();
    let stored = created.snapshot.session.user_agent.clone().unwrap();
    assert!(stored.starts_with("BadAgent[31m") && stored.len() <= 512 && !stored.chars().any(char::is_control));

    let refused = [
        (NewSession::of(user("alice")), ClientInfo::new().named("x".repeat(101))),
        (NewSession::of(user("alice")), ClientInfo::new().named("a\nb")),
        (NewSession::of(user("alice")), ClientInfo::new().application("x".repeat(65))),
        (NewSession::of(user("alice")).attribute("k", "v".repeat(5000)), ClientInfo::new()),
        (NewSession::of(user("alice")).by(["pwd\n"]), ClientInfo::new()),
    ];
    for (new, client) in refused {
        let error = bed.manager.create(new, &RequestContext::from_client(client)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(bed.manager.count(None, SessionFilter::new()).await.unwrap().value, 1);
}

#[tokio::test]
async fn attributes_and_trust_change_by_compare_and_set() {
    let bed = Arc::new(Bed::in_memory());
    let id = bed.sign_in("alice").await.snapshot.session.id;
    let writers = (0..8).map(|n| {
        let bed = Arc::clone(&bed);
        async move {
            let change = SessionChange::new().attribute(format!("k{n}"), n);
            bed.manager.update(Some(&user("alice")), id, &change, &firefox()).await.unwrap();
        }
    });
    join_all(writers).await;
    let change = SessionChange::new()
        .trust(Some(DAY))
        .device_name(Some("Laptop".into()))
        .attribute("k0", serde_json::Value::Null);
    let view = bed.manager.update(None, id, &change, &firefox()).await.unwrap();
    let session = &view.snapshot.session;
    assert_eq!(session.attributes.len(), 7);
    assert_eq!((session.is_trusted, session.device_name.as_deref()), (true, Some("Laptop")));
}

#[tokio::test]
async fn ended_sessions_are_kept_a_day_and_then_removed_with_a_record() {
    let bed = Bed::with_policy(|policy| policy.absolute_lifetime = DAY);
    let created = bed.sign_in("alice").await;
    bed.pass(DAY + DAY);
    assert_eq!(bed.manager.delete_expired(10).await.unwrap().sessions.len(), 0);
    let listed = bed.manager.list(&user("alice"), SessionFilter::including_ended(), None, 10).await.unwrap();
    assert_eq!(listed.sessions[0].state, State::Expired);
    bed.pass(Duration::from_millis(1));
    bed.sink.clear();
    assert_eq!(bed.manager.delete_expired(10).await.unwrap().sessions.len(), 1);
    assert_eq!(
        (bed.sink.last().kind, bed.sink.last().session_id),
        (AuditKind::Expired, Some(created.snapshot.session.id))
    );
    let error = bed.manager.refresh(created.tokens.refresh.expose(), &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidToken(Rejection::UnknownSession));
}

#[tokio::test]
async fn a_user_can_be_forgotten() {
    let bed = Bed::in_memory();
    let created = bed.sign_in("alice").await;
    let other = bed.sign_in("bob").await;
    let forgotten = bed.manager.forget(&user("alice"), &firefox()).await.unwrap();
    assert_eq!((forgotten.sessions, forgotten.events), (1, 2), "its creation and its end");
    assert!(bed.sink.events().iter().all(|event| event.user_id != Some(user("alice"))));
    assert_eq!(bed.sink.count(AuditKind::Created), 1, "bob's");
    assert!(bed.manager.get(None, created.snapshot.session.id).await.unwrap().is_none());
    assert!(bed.access(&created.tokens.access).await.is_err());
    assert_eq!(bed.access(&other.tokens.access).await, Ok(()));
    bed.sink.fail(true);
    assert!(bed.manager.forget(&user("bob"), &firefox()).await.is_err(), "what is not erased is not called erased");
    bed.sink.fail(false);
    assert_eq!(bed.manager.forget(&user("bob"), &firefox()).await.unwrap().events, 3, "what was owed is erased too");
    assert!(bed.sink.events().iter().all(|event| event.user_id.is_none()));
}

#[tokio::test]
async fn a_sink_that_nobody_requires_is_erased_too() {
    let other = Arc::new(RememberingSink::named("other"));
    let given = other.clone();
    let bed = Bed::with(memory(), |builder| builder.audit(given, Delivery::BestEffort));
    bed.sign_in("alice").await;
    other.fail(true);
    let error = bed.manager.forget(&user("alice"), &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "what is not erased is not called erased");
    other.fail(false);
    assert_eq!(
        bed.manager.forget(&user("alice"), &firefox()).await.unwrap().events,
        1,
        "its creation: it missed the end"
    );
    assert!(other.events().iter().all(|event| event.user_id != Some(user("alice"))));
}
