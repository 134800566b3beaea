//! What the manager does besides the life of a session: watching, measuring, sampling, limits, and every other way to end.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use session_manager_core::storage::{Notice, Phase, SessionFilter, Subject};
use session_manager_core::{
    AuditEvent, AuditKind, Binding, BusEvent, ClientInfo, Enrichment, ErrorKind, ExternalId, Incident, InvalidationBus,
    IpRecording, LocalBus, NewSession, Operation, PolicyOverrides, RequestContext, Result, RevocationReason, Session,
    SessionEnricher, SessionObserver, State, Telemetry,
};
use session_manager_testkit::fault::{CountingStorage, Method};
use session_manager_tests::bed::{Bed, firefox, memory, phone, user};

/// A bus whose subscriptions break as soon as somebody listens.
#[derive(Debug)]
struct BrokenBus;

#[async_trait]
impl InvalidationBus for BrokenBus {
    async fn publish(&self, _: &Notice) -> Result<()> {
        Ok(())
    }

    fn subscribe(&self) -> BoxStream<'static, BusEvent> {
        // Panics when it is asked again after its end, as such streams may.
        stream::unfold((), |()| async { None }).boxed()
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

#[tokio::test]
async fn a_watcher_outlives_its_bus_and_reads_only_for_its_own_session() {
    let storage = Arc::new(CountingStorage::new(memory()));
    let bed = Bed::with(storage.clone(), |builder| builder.bus(Arc::new(BrokenBus)));
    let key = bed.sign_in("alice").await.snapshot.session.key();
    let manager = bed.manager.clone();
    let mut ended = Box::pin(manager.ended(key));
    storage.reset();
    for _ in 0..100 {
        assert!((&mut ended).now_or_never().is_none());
    }
    assert!(storage.calls(Method::Read) <= 1, "it waits for the timer");
    bed.manager.revoke(None, key, RevocationReason::LOGOUT, &firefox()).await.unwrap();
    bed.pass(Duration::from_secs(15));
    assert!(ended.now_or_never().is_some());

    let bus = Arc::new(LocalBus::new());
    let bed = Bed::with(storage.clone(), |builder| builder.bus(bus.clone()));
    let (key, other) =
        (bed.sign_in("alice").await.snapshot.session.key(), bed.sign_in("bob").await.snapshot.session.key());
    let manager = bed.manager.clone();
    let mut ended = Box::pin(manager.ended(key));
    assert!((&mut ended).now_or_never().is_none());
    storage.reset();
    let say = |subject, phase| bus.tell(BusEvent::Notice(Notice::new(subject, phase, bed.clock_now())));
    for _ in 0..50 {
        say(Subject::Session(other.id), Phase::Done);
        say(Subject::User(user("bob").locator()), Phase::Done);
        say(Subject::Session(key.id), Phase::Intent);
        bus.tell(BusEvent::Heartbeat);
        assert!((&mut ended).now_or_never().is_none());
    }
    assert_eq!(storage.total(), 0, "others' endings are no reason to read");
    for (number, event) in
        [Subject::Session(key.id), Subject::User(user("alice").locator()), Subject::Global].into_iter().enumerate()
    {
        say(event, Phase::Done);
        assert!((&mut ended).now_or_never().is_none());
        assert_eq!(storage.calls(Method::Read) + storage.calls(Method::TryRead), u64::try_from(number).unwrap() + 1);
    }
}

/// Remembers what it measures.
#[derive(Debug, Default)]
struct Measured {
    operations: Mutex<Vec<(Operation, Result<(), ErrorKind>)>>,
    incidents: Mutex<Vec<Incident>>,
}

impl Telemetry for Measured {
    fn operation(&self, operation: Operation, outcome: Result<(), ErrorKind>, _: Duration) {
        self.operations.lock().unwrap().push((operation, outcome));
    }

    fn incident(&self, incident: Incident) {
        self.incidents.lock().unwrap().push(incident);
    }
}

#[tokio::test]
async fn operations_and_incidents_are_measured() {
    let measured = Arc::new(Measured::default());
    let bed = Bed::with(memory(), |builder| builder.telemetry(measured.clone()));
    let created = bed.sign_in("alice").await;
    let _ = bed.access(&created.tokens.access).await;
    let _ = bed.manager.refresh("smr_nothing", &firefox()).await;
    bed.sink.fail(true);
    let _ = bed.manager.revoke_all(&user("alice"), RevocationReason::ALL, &firefox()).await;
    assert_eq!(
        *measured.operations.lock().unwrap(),
        [
            (Operation::Create, Ok(())),
            (Operation::Authenticate, Ok(())),
            (Operation::Refresh, Err(ErrorKind::InvalidToken(session_manager_core::Rejection::Malformed))),
            (Operation::Revoke, Err(ErrorKind::Unconfirmed)),
        ]
    );
    assert_eq!(*measured.incidents.lock().unwrap(), [Incident::TokenRejected, Incident::AuditSinkFailed]);
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<(AuditKind, bool)>>);

#[async_trait]
impl SessionObserver for Seen {
    async fn observe(&self, event: &AuditEvent, session: Option<&Arc<Session>>) {
        self.0.lock().unwrap().push((event.kind, session.is_some()));
    }
}

#[tokio::test]
async fn observers_see_the_session_and_one_access_in_so_many() {
    let seen = Arc::new(Seen::default());
    let every = NonZeroU32::new(10).unwrap();
    let bed = Bed::with(memory(), |builder| builder.observer(seen.clone()).record_accessed_every(every));
    let created = bed.sign_in("alice").await;
    for _ in 0..100 {
        bed.access(&created.tokens.access).await.unwrap();
    }
    let seen = seen.0.lock().unwrap();
    assert_eq!(seen.len(), 11);
    assert!(seen.iter().all(|(_, with_session)| *with_session));
}

#[tokio::test]
async fn touch_notes_activity_without_a_token() {
    let bed = Bed::with_policy(|policy| policy.idle_timeout = Some(Duration::from_mins(10)));
    let id = bed.sign_in("alice").await.snapshot.session.id;
    for _ in 0..10 {
        bed.pass(Duration::from_mins(9));
        assert_eq!(bed.manager.touch(id).await.unwrap().snapshot.control.last_activity, bed.clock_now());
    }
    bed.pass(Duration::from_mins(10));
    assert_eq!(bed.manager.touch(id).await.unwrap_err().kind(), ErrorKind::SessionEnded(State::Idle));
    let nobody = session_manager_core::SessionId::parse("00000000-0000-7000-8000-000000000000").unwrap();
    assert_eq!(bed.manager.touch(nobody).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn ten_thousand_requests_in_an_interval_write_once() {
    let storage = Arc::new(CountingStorage::new(memory()));
    let bed = Bed::with(storage.clone(), |builder| builder);
    let created = bed.sign_in("alice").await;
    bed.pass(Duration::from_mins(1));
    storage.reset();
    for _ in 0..10_000 {
        bed.access(&created.tokens.access).await.unwrap();
    }
    assert_eq!(storage.calls(Method::Touch), 1);
}

#[tokio::test]
async fn sessions_end_by_their_name_elsewhere_and_by_filter() {
    let bed = Bed::in_memory();
    let upstream = |sid: &str| ExternalId { issuer: "https://idp.test".into(), sid: sid.into() };
    let mut of = Vec::new();
    for (name, sid) in [("alice", "s1"), ("bob", "s1"), ("carol", "s2")] {
        of.push(bed.manager.create(NewSession::of(user(name)).external(upstream(sid)), &firefox()).await.unwrap());
    }
    // The same browser signs in again under the same session of the provider: no conflict.
    bed.manager.create(NewSession::of(user("alice")).external(upstream("s1")), &firefox()).await.unwrap();
    let ended =
        bed.manager.revoke_external(upstream("s1"), RevocationReason::UPSTREAM_LOGOUT, &firefox()).await.unwrap();
    assert_eq!(ended.len(), 3);
    assert_eq!(bed.access(&of[1].tokens.access).await, Err(ErrorKind::SessionEnded(State::Revoked)));
    assert_eq!(bed.access(&of[2].tokens.access).await, Ok(()));

    let filter = SessionFilter::new();
    assert_eq!(bed.manager.list_all(filter.clone(), None, 10).await.unwrap().sessions.len(), 1);
    let ended = bed.manager.revoke_matching(None, filter, RevocationReason::BY_ADMIN, &firefox()).await.unwrap();
    assert_eq!(ended[0].session.user_id, user("carol"));
}

#[tokio::test]
async fn what_a_sign_in_may_deviate_in_has_bounds() {
    let bed = Bed::in_memory();
    let sign_in = async |overrides: PolicyOverrides| {
        let outcome = bed.manager.create(NewSession::of(user("alice")).overriding(overrides), &firefox()).await;
        outcome.map(drop).map_err(|error| error.kind())
    };
    let new = PolicyOverrides::new;
    for bad in [
        new().absolute_lifetime(Duration::ZERO),
        new().absolute_lifetime(Duration::from_hours(24 * 36_500)),
        new().idle_timeout(Some(Duration::ZERO)),
    ] {
        assert_eq!(sign_in(bad.clone()).await, Err(ErrorKind::InvalidInput), "{bad:?}");
    }
    assert_eq!(sign_in(new().absolute_lifetime(Duration::from_secs(2))).await, Ok(()));

    let mut bound = NewSession::of(user("alice"));
    bound.binding = Some(Binding::Dpop("x".into()));
    let error = bed.manager.create(bound, &firefox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "nobody would enforce it");
    let many = NewSession::of(user("alice")).by((0..17).map(|number| number.to_string()));
    assert_eq!(bed.manager.create(many, &firefox()).await.unwrap_err().kind(), ErrorKind::InvalidInput);

    let mut ahead = NewSession::of(user("alice"));
    ahead.authenticated_at = Some(bed.clock_now() + Duration::from_hours(1));
    let created = bed.manager.create(ahead, &firefox()).await.unwrap();
    assert_eq!(created.snapshot.session.authentication.at, bed.clock_now(), "no proof lies in the future");
}

#[derive(Debug)]
struct Talkative;

#[async_trait]
impl SessionEnricher for Talkative {
    fn name(&self) -> &'static str {
        "talkative"
    }

    async fn enrich(&self, _: &ClientInfo, known: &mut Enrichment) -> Result<()> {
        known.attributes.insert("notes".into(), "x".repeat(1_000).into());
        known.device_info = Some("Firefox\non\u{1b}Windows".into());
        Ok(())
    }

    fn maintenance(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

#[tokio::test]
async fn enrichers_take_no_room_from_the_application() {
    let bed = Bed::with(memory(), |builder| builder.enricher(Arc::new(Talkative)));
    let full = NewSession::of(user("alice")).attribute("own", "y".repeat(3_900));
    let created = bed.manager.create(full, &firefox()).await.unwrap();
    let session = &created.snapshot.session;
    assert!(session.attributes.contains_key("own") && !session.attributes.contains_key("notes"));
    assert_eq!(session.device_info.as_deref(), Some("FirefoxonWindows"), "no control characters");
    let created = bed.sign_in("bob").await;
    assert!(created.snapshot.session.attributes.contains_key("notes"));
}

#[tokio::test]
async fn the_policy_decides_what_is_recorded_of_a_client() {
    let bed = Bed::with_policy(|policy| {
        policy.require_user_agent = true;
        policy.ip_recording = IpRecording::Truncated;
    });
    let nobody = RequestContext::from_client(ClientInfo::new());
    let error = bed.manager.create(NewSession::of(user("alice")), &nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let created = bed.manager.create(NewSession::of(user("alice")), &phone()).await.unwrap();
    let recorded = Some([198, 51, 100, 0].into());
    assert_eq!((created.snapshot.session.ip_address, bed.sink.last().client.ip_address), (recorded, recorded));
}
